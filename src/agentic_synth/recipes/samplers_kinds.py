"""What a compiled sampler is: a draw, and the JSON Schema of what it draws."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

__all__ = ["Draw", "Sampler", "schema_of_values"]

Draw: TypeAlias = Callable[[random.Random, int], Any]


class Sampler:
    """Draws one cell; *schema* says what all its values are, for typed outputs."""

    __slots__ = ("draw", "schema")

    def __init__(self, draw: Draw, schema: dict[str, Any]) -> None:
        self.draw = draw
        self.schema = schema

    def __call__(self, rng: random.Random, index: int) -> Any:
        """The value of the row at place *index*, from *rng* alone."""
        return self.draw(rng, index)


_TYPES = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}


def schema_of_values(values: Iterable[Any], *, enum: bool = False) -> dict[str, Any]:
    """The narrowest JSON Schema type that all *values* have, with the values themselves if *enum*."""
    listed = list(values)
    types = list(dict.fromkeys(_TYPES.get(type(value), "object") for value in listed))
    if "number" in types and "integer" in types:
        types.remove("integer")
    schema: dict[str, Any] = {"type": types[0] if len(types) == 1 else types}
    if enum:
        schema["enum"] = listed
    return schema
