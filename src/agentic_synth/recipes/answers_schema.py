"""What a recipe's ``schema:`` means: a JSON Schema, and the type's own checks where it is a type."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import jsonschema_rs
import msgspec
from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

from agentic_synth.errors import RecipeError
from agentic_synth.recipes.near import nearest
from agentic_synth.types import Json

__all__ = ["Checked", "checked", "schema_of", "validator_of"]

Finish = Callable[[Json], tuple[Json, str]]


class Checked(msgspec.Struct, frozen=True):
    """A JSON Schema; *finish* gives a type's own form of a value, or a reason against it."""

    schema: dict[str, Json]
    finish: Finish | None = None


def schema_of(schema: Any) -> dict[str, Json]:
    """The JSON Schema that *schema* means: itself, or that of a type or ``module:Model``.

    Raises:
        RecipeError: it is no schema.
    """
    return checked(schema).schema


def checked(schema: Any) -> Checked:
    """Read ``schema:`` as the user wrote it.

    Raises:
        RecipeError: it is no schema, or the module or model is not there.
    """
    if isinstance(schema, str):
        schema = _imported(schema)
    if isinstance(schema, Mapping):
        plain = dict(schema)
        validator_of(plain)
        return Checked(plain)
    return _described(schema)


def validator_of(schema: Mapping[str, Any]) -> Any:
    """A validator of *schema* that never fetches anything.

    Raises:
        RecipeError: it is no valid JSON Schema.
    """
    try:
        return jsonschema_rs.validator_for(dict(schema), validate_formats=True, retriever=_no_retrieval)
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        message = getattr(error, "message", str(error))
        path = ".".join(str(part) for part in getattr(error, "instance_path", ()))
        where = f" at `{path}`" if path else ""
        raise RecipeError(f"the schema is no valid JSON Schema{where}: {message}") from None


def _no_retrieval(uri: str) -> NoReturn:
    raise ValueError(f"a schema may not refer to {uri}: write the definition into $defs")


def _imported(reference: str) -> Any:
    module_name, _, path = reference.partition(":")
    with _working_directory_importable():
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            missing = error.name or module_name
            mend = f"Start from the directory that holds {missing.split('.')[0]}.py, or install it."
            raise RecipeError(f"there is no module {missing!r} for the schema {reference!r}", mend=mend) from None
        except Exception as error:  # the user's own module runs here, and may raise anything
            message = f"the module {module_name!r} cannot be imported: {type(error).__name__}: {error}"
            raise RecipeError(message) from error
    for name in path.split("."):
        if not hasattr(found, name):
            known = [one for one in vars(found) if not one.startswith("_")]
            raise RecipeError(f"{module_name!r} has no `{name}`{nearest(name, known)}")
        found = getattr(found, name)
    return found


@contextmanager
def _working_directory_importable() -> Iterator[None]:
    here = str(Path.cwd())
    if here in sys.path or "" in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _described(kind: Any) -> Checked:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _described_struct(kind)
    name = getattr(kind, "__qualname__", repr(kind))
    mend = "Give a Pydantic model, a dataclass, a TypedDict, a msgspec Struct, or a JSON Schema."
    if inspect.isroutine(kind) or inspect.ismodule(kind):
        raise RecipeError(f"{name} is no type", mend=mend)
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        schema = adapter.json_schema()
    except (PydanticUserError, PydanticInvalidForJsonSchema, TypeError) as error:
        why = str(error).partition("\n")[0]
        raise RecipeError(f"{name} has no JSON Schema: {why}", mend=mend) from error
    validator_of(schema)

    def finish(value: Json) -> tuple[Json, str]:
        try:
            read = adapter.validate_json(msgspec.json.encode(value))
            return adapter.dump_python(read, mode="json", by_alias=True), ""
        except ValidationError as error:
            return None, "; ".join(_worded(one["loc"], one["msg"]) for one in error.errors(include_url=False)[:4])

    return Checked(schema, finish)


def _described_struct(kind: type[msgspec.Struct]) -> Checked:
    schema = msgspec.json.schema(kind)
    validator_of(schema)

    def finish(value: Json) -> tuple[Json, str]:
        try:
            return msgspec.to_builtins(msgspec.convert(value, kind)), ""
        except msgspec.ValidationError as error:
            return None, str(error)

    return Checked(schema, finish)


def _worded(path: tuple[Any, ...], message: str) -> str:
    return f"at `{'.'.join(map(str, path))}`: {message}" if path else message
