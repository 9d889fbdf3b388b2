"""``synth check``: is the recipe right, and what will it make of what?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from agentic_synth.cli.options import Recipe, Seeds, Sets, overrides
from agentic_synth.cli.outcome import before_asking
from agentic_synth.cli.terminal import say, table, write
from agentic_synth.settings import load_config
from agentic_synth.telemetry.figures import counted

if TYPE_CHECKING:
    from agentic_synth.recipes.plan import Plan

__all__ = ["check"]

DEPTH = 2
"""How far a type is told in full."""


def check(recipe: Recipe, seeds: Seeds = None, sets: Sets = None) -> None:
    """Validate a recipe and show its columns.

    Each column with what it is made from and the type of its values, in the order in which a row is made. The models
    are looked up by their names; no key is needed, and nothing is sent anywhere.

    \b
      synth check tickets.yaml
      synth check tickets.yaml --seeds users.csv
    """
    from agentic_synth.recipes.load import load_recipe  # noqa: PLC0415 - keeps --help fast
    from agentic_synth.recipes.plan import Plan  # noqa: PLC0415
    from agentic_synth.sources.open import open_seeds  # noqa: PLC0415

    loaded = load_recipe(recipe, overrides=overrides(sets))
    file = seeds or loaded.seeds
    with before_asking():
        source = open_seeds(file) if file else None
        seed_columns = source.columns() if source else []
    plan = Plan(loaded, seed_columns=seed_columns, model_of=_known_model)
    rows = counted(loaded.rows, "row") if loaded.rows else ("a row a seed" if source else "say --rows N")
    write(f"{loaded.recipe}: {loaded.description}" if loaded.description else loaded.recipe)
    write(f"{rows}, seed {loaded.seed}" + (f", seeds from {file}" if file else "") + "\n")
    lines = [(name, "seed", "", "", "yes") for name in seed_columns]
    write(table(["column", "kind", "made from", "type", "kept"], [*lines, *_columns(plan)]))
    for gate in loaded.accept:
        write(f"accept  {gate}")
    calls = f"{counted(len(plan.asked), 'call')} a row" if plan.asked else "no model is needed"
    say(f"\nok: {counted(len(loaded.columns), 'column')}, {calls}")


def _known_model(model: str | None, base_url: str | None) -> str:
    """The reference of the upstream that a column or the recipe names, if it names one."""
    from agentic_synth.upstreams import resolve_upstream  # noqa: PLC0415 - keeps --help fast

    if model is None:
        return ""  # said by --model or the settings, when it is asked
    return resolve_upstream(model, base_url=base_url, config=load_config(), key_wanted=False).reference


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
