"""Read a recipe from a file, a mapping, an object, or the built-in ones."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from agentic_synth.errors import RecipeError
from agentic_synth.recipes.answers_schema import schema_of
from agentic_synth.recipes.load_faults import recipe_error
from agentic_synth.recipes.load_graph import check_graph, check_parts
from agentic_synth.recipes.load_yaml import Source, parse, parse_value
from agentic_synth.recipes.model import Recipe
from agentic_synth.recipes.near import nearest

__all__ = ["builtin_recipes", "check_graph", "load_recipe", "schema_of"]

_SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
_ELSEWHERE: Final = re.compile(r"[a-z][a-z0-9+.-]+:")
"""Seeds that no directory holds, such as ``hf:owner/name``; one letter and a colon is a Windows drive."""
_MAX_BYTES: Final = 8_000_000


def builtin_recipes() -> dict[str, str]:
    """The names of the recipes that come with the package, with what they make."""
    found = {}
    for file in resources.files("agentic_synth.recipes").joinpath("builtin").iterdir():
        if file.name.endswith(".yaml"):
            value, _ = parse(file.read_text("utf-8"), file.name)
            found[file.name.removesuffix(".yaml")] = str(value["description"])
    return dict(sorted(found.items()))


def load_recipe(source: str | Path | Mapping[str, Any] | Recipe, *, overrides: Mapping[str, str] = {}) -> Recipe:
    """The recipe in a file, of a built-in name, or in a mapping, with *overrides* laid over it.

    *overrides* are dotted paths and YAML values (``columns.tone.choice``, ``[calm, angry]``). Every part that stands by
    itself is tried; names are checked by `check_graph`, when the columns of the seeds are known.

    Raises:
        RecipeError: there is no such recipe, or it is wrong; says where, and how to mend it.
    """
    if isinstance(source, Recipe) and not overrides:
        recipe = source
    else:
        value, origin = _read(source)
        if not isinstance(value, dict):
            mend = "Begin with `columns:` and a column under it."
            raise RecipeError("a recipe is a mapping of keys", where=origin.where(()), mend=mend)
        for path, text in overrides.items():
            _override(value, path, text)
            origin.overridden.append(tuple(path.split(".")))
        try:
            recipe = Recipe.model_validate(value).written_at(origin)
        except ValidationError as error:
            raise recipe_error(error, origin) from None
    check_parts(recipe)
    return recipe


def _read(source: str | Path | Mapping[str, Any] | Recipe) -> tuple[Any, Source]:
    if isinstance(source, Recipe):
        return source.model_dump(by_alias=True, exclude_unset=True), Source(source.recipe)
    if isinstance(source, Mapping):
        return copy.deepcopy(dict(source)), Source("recipe")
    if isinstance(source, str) and Path(source).suffix not in _SUFFIXES and Path(source).name == source:
        builtin = resources.files("agentic_synth.recipes").joinpath("builtin", f"{source}.yaml")
        if builtin.is_file():
            return parse(builtin.read_text("utf-8"), f"{source} (built in)")
    return _read_file(Path(source))


def _read_file(path: Path) -> tuple[Any, Source]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            message = f"{path} has more than {_MAX_BYTES // 1_000_000} MB, which is no recipe"
            raise RecipeError(message, mend="Give rows as seeds: --seeds FILE.")
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise _not_found(path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read: {error}") from None
    value, origin = parse(text, str(path))
    if isinstance(value, dict):
        value.setdefault("recipe", path.stem)
        seeds = value.get("seeds")
        if isinstance(seeds, str) and seeds != "-" and not _ELSEWHERE.match(seeds):
            value["seeds"] = str(path.parent / seeds)
    return value, origin


def _not_found(path: Path) -> RecipeError:
    directory = path.parent
    files = [file.name for file in directory.iterdir() if file.suffix in _SUFFIXES] if directory.is_dir() else []
    builtin = builtin_recipes()
    mend = nearest(path.name, [*files, *builtin], sentence=True) or f"Built in are {', '.join(builtin)}."
    return RecipeError(f"there is no recipe {str(path)!r}", mend=mend)


def _override(recipe: dict[str, Any], path: str, text: str) -> None:
    where = f"--set {path}"
    *parents, last = path.split(".")
    if not all((*parents, last)):
        mend = "Write --set columns.tone.constant=calm."
        raise RecipeError("a path is keys with points between", where=where, mend=mend)
    part: Any = recipe
    for number, word in enumerate(parents):
        if isinstance(part, dict):
            child = part.setdefault(word, {})
            if word in recipe.get("columns", {}) and number == 1 and isinstance(child, list):
                child = part[word] = {"choice": child}  # the shorthand, written out to be changed
            part = child
        elif isinstance(part, list) and word.isdigit() and int(word) < len(part):
            part = part[int(word)]
        else:
            raise RecipeError(f"`{'.'.join(parents[:number])}` has nothing called `{word}`", where=where)
    value = parse_value(text, where)
    if isinstance(part, list) and last.isdigit() and int(last) < len(part):
        part[int(last)] = value
    elif isinstance(part, dict):
        part[last] = value
    else:
        raise RecipeError(f"`{'.'.join(parents)}` has nothing called `{last}`", where=where)
