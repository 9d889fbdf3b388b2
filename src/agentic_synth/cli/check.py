"""``synth check``: is the recipe right, and what will it make of what?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from agentic_synth.cli.options import Recipe, Seeds, Sets, overrides
from agentic_synth.cli.terminal import say, table, write

if TYPE_CHECKING:
    from agentic_synth.recipes.plan import Plan

__all__ = ["check"]

DEPTH = 2
"""How far a type is told in full."""


def check(recipe: Recipe, seeds: Seeds = None, sets: Sets = None) -> None:
    """Validate a recipe and show its columns.

    Each column with what it is made from and the type of its values, in the order in which a row is made. Nothing is
    sent anywhere.

    \b
      synth check tickets.yaml
      synth check tickets.yaml --seeds users.csv
    """
    from agentic_synth.recipes.load import load_recipe  # noqa: PLC0415 - keeps --help fast
    from agentic_synth.recipes.plan import Plan  # noqa: PLC0415
    from agentic_synth.sources.open import open_seeds  # noqa: PLC0415

    loaded = load_recipe(recipe, overrides=overrides(sets))
    file = seeds or loaded.seeds
    source = open_seeds(file) if file else None
    seed_columns = source.columns() if source else []
    plan = Plan(loaded, seed_columns=seed_columns, model_of=lambda model, base_url: model or "")
    rows = f"{loaded.rows:,} rows" if loaded.rows else ("a row a seed" if source else "say --rows N")
    write(f"{loaded.recipe}: {loaded.description}" if loaded.description else loaded.recipe)
    write(f"{rows}, seed {loaded.seed}" + (f", seeds from {file}" if file else "") + "\n")
    lines = [(name, "seed", "", "", "yes") for name in seed_columns]
    write(table(["column", "kind", "made from", "type", "kept"], [*lines, *_columns(plan)]))
    for gate in loaded.accept:
        write(f"accept  {gate}")
    asked = len(plan.asked)
    calls = f"{asked} call{'s' * (asked != 1)} a row" if asked else "no model is needed"
    say(f"\nok: {len(loaded.columns)} columns, {calls}")


def _columns(plan: Plan) -> Iterator[tuple[str, str, str, str, str]]:
    made_from = _made_from(plan)
    for name, column in plan.recipe.columns.items():
        kind = type(column).__name__.removesuffix("Column").lower()
        sources = ", ".join(sorted(made_from.get(name, ())))
        shown = type_name(plan.outputs.get(name)) if column.keep else ""
        yield name, kind, sources, shown, "yes" if column.keep else "no"


def _made_from(plan: Plan) -> dict[str, frozenset[str]]:
    from agentic_synth.recipes.plan import Made  # noqa: PLC0415 - keeps --help fast

    steps = [*plan.first, *(step for wave in plan.waves for step in wave.then)]
    names = {step.name: frozenset(step.names) for step in steps if isinstance(step, Made)}
    return names | {name: frozenset(asked.names) for name, asked in plan.asked.items()}


def type_name(schema: Any, depth: int = 0) -> str:
    """A JSON Schema in a few words: ``{subject: string, priority: low | mid | high}``."""
    deep = depth >= DEPTH
    match schema:
        case {"enum": [*values]}:
            said = " | ".join(str(one) for one in values[:6]) + (" | ..." if len(values) > 6 else "")
        case {"const": value}:
            said = str(value)
        case {"properties": dict(properties)} if properties and not deep:
            said = "{" + ", ".join(f"{name}: {type_name(one, depth + 1)}" for name, one in properties.items()) + "}"
        case {"items": dict(items)} if not deep:
            said = f"list of {type_name(items, depth + 1)}"
        case {"anyOf": [*options]} | {"oneOf": [*options]} if not deep:
            said = " | ".join(type_name(one, depth + 1) for one in options)
        case {"type": [*kinds]}:
            said = " | ".join(kinds)
        case {"format": str(said)} | {"type": str(said)}:
            pass
        case _:
            said = "any"
    return said
