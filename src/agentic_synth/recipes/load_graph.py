"""Which column needs which: the order a row is made in, and what is wrong with names, texts and samplers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from agentic_synth.errors import RecipeError
from agentic_synth.recipes.answers_schema import schema_of
from agentic_synth.recipes.model import Column, ExpressionColumn, ModelColumn, Recipe, SamplerColumn, TemplateColumn
from agentic_synth.recipes.near import nearest
from agentic_synth.recipes.samplers import compile_sampler
from agentic_synth.recipes.templates import RESERVED, compile_expression, compile_template

__all__ = ["check_graph", "check_parts"]


class _Text(NamedTuple):
    """A template or an expression, and where it stands in the recipe."""

    path: tuple[str | int, ...]
    text: str
    is_expression: bool = False


def _texts(recipe: Recipe, name: str, column: Column) -> Iterator[_Text]:
    here = ("columns", name)
    if column.when is not None:
        yield _Text((*here, "when"), column.when, True)
    match column:
        case ExpressionColumn():
            yield _Text((*here, "expression"), column.expression, True)
        case TemplateColumn():
            yield _Text((*here, "template"), column.template)
        case ModelColumn():
            if column.system is not None:
                yield _Text((*here, "system"), column.system)
            elif recipe.system is not None:
                yield _Text(("system",), recipe.system)
            if column.prompt is not None:
                yield _Text((*here, "prompt"), column.prompt)
            for number, turn in enumerate(column.messages or ()):
                path = (*here, "messages", number, "content")
                for text in _strings(turn.content):
                    yield _Text(path, text)


def _strings(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, (list, dict)):
        for part in content.values() if isinstance(content, dict) else content:
            yield from _strings(part)


def _names(recipe: Recipe, text: _Text) -> frozenset[str]:
    where = recipe.where(*text.path)
    return (compile_expression if text.is_expression else compile_template)(text.text, where).names


def check_parts(recipe: Recipe) -> None:
    """Try every part that stands by itself: templates, expressions, samplers, schemas.

    Raises:
        RecipeError: the first that is wrong, with its place.
    """
    for name, column in recipe.columns.items():
        for text in _texts(recipe, name, column):
            _names(recipe, text)
        try:
            if isinstance(column, ModelColumn):
                if column.answer is not None:
                    schema_of(column.answer)
            elif isinstance(column, SamplerColumn):
                compile_sampler(column)
        except RecipeError as error:
            path = ("schema",) if isinstance(column, ModelColumn) else ()
            raise _placed(error, recipe, "columns", name, *path) from None
    for number, gate in enumerate(recipe.accept):
        _names(recipe, _Text(("accept", number), gate, True))


def _placed(error: RecipeError, recipe: Recipe, *path: str | int) -> RecipeError:
    name = ".".join(map(str, path))
    return RecipeError(f"`{name}`: {error.message}", where=recipe.where(*path), mend=error.mend)


def check_graph(recipe: Recipe, seed_columns: Collection[str] = ()) -> list[str]:
    """The columns in the order to make them: as written, but each after those it reads.

    Raises:
        RecipeError: a name is unknown, taken or reserved, or columns need each other in a circle.
    """
    for name in recipe.columns:
        _check_name(recipe, name, seed_columns)
    known = {*recipe.columns, *seed_columns}
    needs: dict[str, list[str]] = {}
    for name, column in recipe.columns.items():
        read: set[str] = set()
        for text in _texts(recipe, name, column):
            names = _names(recipe, text)
            _check_known(recipe, text.path, names, known)
            read |= names
        needs[name] = [other for other in recipe.columns if other in read]
    for number, gate in enumerate(recipe.accept):
        text = _Text(("accept", number), gate, True)
        _check_known(recipe, text.path, _names(recipe, text), known)
    return _ordered(recipe, needs)


def _check_name(recipe: Recipe, name: str, seed_columns: Collection[str]) -> None:
    where = recipe.where("columns", name)
    if not name.isidentifier() or name.startswith("_"):
        mend = "Write a letter first, then letters, digits and underscores."
        raise RecipeError(f"`{name}` is no name for a column", where=where, mend=mend)
    if name in RESERVED:
        raise RecipeError(f"`{name}` is a word of the template language", where=where, mend="Choose another name.")
    if name in seed_columns:
        mend = "Choose another name; the columns of the seeds stay as they are."
        raise RecipeError(f"`{name}` is a column of the seeds already", where=where, mend=mend)


def _check_known(recipe: Recipe, path: tuple[str | int, ...], names: frozenset[str], known: Collection[str]) -> None:
    for name in sorted(names - set(known)):
        mend = nearest(name, known, sentence=True) or f"There are {', '.join(f'`{one}`' for one in sorted(known))}."
        place = ".".join(map(str, path))
        raise RecipeError(f"`{place}` reads `{name}`, which no column is called", where=recipe.where(*path), mend=mend)


def _ordered(recipe: Recipe, needs: dict[str, list[str]]) -> list[str]:
    order: dict[str, None] = {}
    while len(order) < len(needs):
        ready = next((name for name, read in needs.items() if name not in order and order.keys() >= set(read)), None)
        if ready is None:
            circle = _circle({name: read for name, read in needs.items() if name not in order})
            mend = "Take one of the names out of the column that comes first."
            message = f"columns need each other in a circle: {' -> '.join(circle)}"
            raise RecipeError(message, where=recipe.where("columns", circle[0]), mend=mend)
        order[ready] = None
    return list(order)


def _circle(needs: dict[str, list[str]]) -> list[str]:
    path = [next(iter(needs))]
    while True:
        follower = next(name for name in needs[path[-1]] if name in needs)
        if follower in path:
            return [*path[path.index(follower) :], follower]
        path.append(follower)
