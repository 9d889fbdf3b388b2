"""Say in one message what is wrong with a recipe, where, and how to mend it."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from agentic_synth.errors import RecipeError
from agentic_synth.recipes.load_yaml import Source
from agentic_synth.recipes.model import KINDS, ModelColumn, json_schema, kinds_of
from agentic_synth.recipes.near import nearest

__all__ = ["recipe_error"]

_MAX_FAULTS: Final = 5
_BRANCH: Final = re.compile(r"<\w+>|str|(?:list|dict|literal|tuple|function-\w+)\[.*")
"""What pydantic puts into a path to say which of several forms it tried."""
_PARAMETERS: Final = frozenset(
    {"temperature", "max_tokens", "max_completion_tokens", "top_p", "top_k", "min_p", "stop", "seed", "n"}
    | {"presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "reasoning_effort", "response_format"}
)


def recipe_error(error: ValidationError, source: Source) -> RecipeError:
    """*error* in the words of the recipe's author; further faults are named after the first."""
    faults: dict[tuple[str, ...], tuple[str, str, str]] = {}
    for one in error.errors(include_url=False):
        path = [part for place, part in enumerate(one["loc"]) if place < 2 or not _BRANCH.fullmatch(str(part))]
        context: Mapping[str, Any] = one.get("ctx", {})
        if one["type"] == "recipe" and context["key"]:
            path.append(context["key"])
        faults.setdefault(tuple(map(str, path)), (source.where(path), *_worded(one, path, context)))
    (where, message, mend), *others = faults.values()
    for other, text, hint in others[:_MAX_FAULTS]:
        message += f"\n  also {other}: {text}" + (f" {hint}" if hint else "")
    return RecipeError(message, where=where, mend=mend)


def _worded(one: Any, path: Sequence[int | str], context: Mapping[str, Any]) -> tuple[str, str]:
    """The message and the mend of one fault."""
    name = ".".join(str(part) for part in path)
    match one["type"]:
        case "recipe":
            return f"`{name}`: {context['fault']}", context["mend"]
        case "extra_forbidden":
            return _unknown_key(one["loc"], name)
        case "missing":
            return f"`{name}` is missing", ""
        case "union_tag_not_found":
            return _unknown_kind(one["input"], name)
        case _:
            message = one["msg"].removeprefix("Input ").removeprefix("Value error, ")
            value = one["input"]
            shown = repr(value) if isinstance(value, (str, int, float, bool, type(None))) else f"a {_kind(value)}"
            return f"`{name}` {message}, not {shown[:80]}", ""


def _kind(value: object) -> str:
    return "mapping" if isinstance(value, dict) else "list" if isinstance(value, list) else type(value).__name__


def _unknown_key(path: Sequence[int | str], name: str) -> tuple[str, str]:
    key, known = str(path[-1]), _keys_at(path[:-1])
    mend = nearest(key, known, sentence=True)
    if key in _PARAMETERS and f"<{ModelColumn.__name__}>" in path:
        mend = f"Write it under `parameters`: {{{key}: ...}}."
    elif not mend and known:
        mend = f"Known are {', '.join(f'`{one}`' for one in known)}."
    return f"there is no key `{key}` here ({name})", mend


def _unknown_kind(value: object, name: str) -> tuple[str, str]:
    if not isinstance(value, Mapping):
        mend = "Write what it is: {choice: [...]}, {constant: ...}, {template: ...} or {prompt: ...}."
        return f"`{name}` is a column, so a mapping or a list of choices, not {value!r}"[:200], mend
    kinds = kinds_of(value)
    if kinds:
        return f"`{name}` is {' and '.join(f'`{kind}`' for kind in kinds)} at once", "Keep one, or make two columns."
    for key in value:
        mend = nearest(str(key), KINDS, sentence=True)
        if mend:
            return f"`{name}` does not say what it is: `{key}` is no kind of column", mend
    return f"`{name}` does not say what it is", f"Write one of {', '.join(f'`{kind}`' for kind in KINDS)}."


@functools.cache
def _schema() -> dict[str, Any]:
    return json_schema()


def _keys_at(path: Sequence[int | str]) -> list[str]:
    """The keys that the recipe's schema knows at *path*, which names a column's class as ``<Class>``."""
    definitions = _schema()["$defs"]
    part: Any = _schema()
    for step in path:
        word = str(step)
        if word.startswith("<"):
            part = definitions[word.strip("<>")]
            continue
        part = _resolved(part, definitions)
        part = part.get("properties", {}).get(word) or part.get("items") or part.get("additionalProperties") or {}
    return list(_resolved(part, definitions).get("properties", {}))


def _resolved(part: Any, definitions: Mapping[str, Any]) -> Any:
    """The first object that *part* may be."""
    if not isinstance(part, dict):
        return {}
    if "$ref" in part:
        return definitions[part["$ref"].rsplit("/", 1)[-1]]
    for branch in part.get("anyOf", ()):
        found = _resolved(branch, definitions)
        if found.get("type") in ("object", "array"):
            return found
    return part
