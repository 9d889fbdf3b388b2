"""Recipes and schemas that the tests of the Python face ask for."""

from __future__ import annotations

from typing import Any

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["subject", "priority"],
    "properties": {"subject": {"type": "string"}, "priority": {"enum": ["low", "high"]}},
}


def tickets(**more: Any) -> dict[str, Any]:
    """A small recipe: two samplers, one answer."""
    return {
        "recipe": "tickets",
        "rows": 12,
        "columns": {
            "product": {"choice": ["router", "phone", "tv"]},
            "ticket": {"prompt": "Write a ticket about a {{ product }}.", "schema": SCHEMA},
            "number": {"sequence": {"start": 1}},
        },
        **more,
    }
