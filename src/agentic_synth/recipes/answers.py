"""Read a model's answer as the JSON that was asked for, mending its form but never its content.

The rungs, from cheap to dear: the text as it is; the JSON inside fences or prose; values brought to their types; broken
JSON repaired. What still does not fit the schema is invalid, with a reason that a model understands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, TypeAlias

import jsonschema_rs
import msgspec

from agentic_synth.recipes.answers_coerce import Coercer
from agentic_synth.recipes.answers_schema import Checked, checked, validator_of
from agentic_synth.recipes.answers_text import found_json, repaired_json, without_fences
from agentic_synth.types import Json

__all__ = ["Answers", "Invalid", "Read"]

MAX_CHARACTERS: Final = 4_000_000
_MAX_ERRORS: Final = 4
_MAX_ERROR_CHARACTERS: Final = 200

Mend: TypeAlias = Literal["", "fenced", "coerced", "repaired"]


class Read(msgspec.Struct, frozen=True):
    """A valid value; *repaired* says what its form needed."""

    value: Any
    repaired: Mend = ""


class Invalid(msgspec.Struct, frozen=True):
    """No valid value, and why."""

    reason: str


class Answers:
    """Reads the answers to one schema; compiled once, used for every row."""

    def __init__(self, read_as: Checked) -> None:
        self.schema = read_as.schema
        self._finish = read_as.finish
        self._validator = validator_of(self.schema)
        self._is_valid = self._validator.is_valid
        self._coerce = Coercer(self.schema, self._validator)
        self._decode = msgspec.json.Decoder().decode
        self._scalar = not (self._validator.is_valid({}) or _mentions_containers(self.schema))

    @classmethod
    def compile(cls, schema: Any) -> Answers:
        """Make *schema* ready: a JSON Schema, ``module:Model``, or a type that Pydantic can describe.

        A type's own validators judge the answer too, and its form of the value is the one kept.

        Raises:
            RecipeError: it is no schema.
        """
        return cls(checked(schema))

    def read(self, text: str) -> Read | Invalid:
        """The value in *text*, or the reason why there is none."""
        try:
            value = self._decode(text)
        except (msgspec.DecodeError, RecursionError):
            pass
        else:
            if self._finish is None and self._is_valid(value):
                return Read(value)
        return self._climb(text)

    def correction(self, reason: str) -> str:
        """What to tell the model about an invalid answer."""
        return (
            f"Your answer does not fit what was asked: {reason}. "
            "Answer again with the whole corrected JSON and nothing else: no explanation, no code fences."
        )

    def _climb(self, text: str) -> Read | Invalid:
        if len(text) > MAX_CHARACTERS:
            return Invalid(f"the answer is longer than {MAX_CHARACTERS:,} characters")
        if not text.strip():
            return Invalid("the answer is empty")
        best = ""
        rungs = (self._as_scalar(text),) if self._scalar else (found_json(text), repaired_json(text))
        for rung in rungs:
            for value, mend in rung:
                read = self._judge(value, mend)
                if isinstance(read, Read):
                    return read
                best = best or read.reason
        return Invalid(best or self._why_no_json(text))

    def _as_scalar(self, text: str) -> Iterator[tuple[Json, Mend]]:
        """A schema for a single value takes the text itself, where it is no JSON."""
        plain = without_fences(text)
        try:
            yield self._decode(plain), "" if plain == text else "fenced"
        except (msgspec.DecodeError, RecursionError):
            yield plain, "coerced"

    def _judge(self, value: Json, mend: Mend) -> Read | Invalid:
        if not self._is_valid(value):
            value = self._coerce(value)
            mend = "repaired" if mend == "repaired" else "coerced"
            if not self._is_valid(value):
                return Invalid(self._reason(value))
        if self._finish is None:
            return Read(value, mend)
        finished, reason = self._finish(value)
        return Invalid(reason) if reason else Read(finished, mend)

    def _reason(self, value: Json) -> str:
        errors = []
        for error in self._validator.iter_errors(value):
            errors.append(_worded(error))
            if len(errors) > _MAX_ERRORS:
                errors[-1] = "and more"
                break
        return "; ".join(errors)

    def _why_no_json(self, text: str) -> str:
        start = text.lstrip()[:1]
        if start in ("{", "["):
            return "the JSON is broken or breaks off before its end"
        return "there is no JSON in the answer"


def _worded(error: jsonschema_rs.ValidationError) -> str:
    message = error.message
    if len(message) > _MAX_ERROR_CHARACTERS:
        half = _MAX_ERROR_CHARACTERS // 2
        message = f"{message[:half]} ... {message[-half:]}"
    path = ".".join(str(part) for part in error.instance_path)
    return f"at `{path}`: {message}" if path else message


def _mentions_containers(schema: Json) -> bool:
    """Whether objects or arrays may be valid; a schema that cannot be told is taken to allow them."""
    if not isinstance(schema, dict):
        return True
    types = schema.get("type")
    if types is not None:
        return bool({"object", "array"} & ({types} if isinstance(types, str) else set(types)))
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    return values is None or any(isinstance(value, (dict, list)) for value in values)
