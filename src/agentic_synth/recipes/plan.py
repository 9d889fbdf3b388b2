"""A recipe that is ready to run: what is made at admission, what is asked after it, and what leaves."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeAlias

from agentic_synth.recipes.asked import Asked
from agentic_synth.recipes.lineage import digest_of
from agentic_synth.recipes.load import check_graph
from agentic_synth.recipes.model import Column, ExpressionColumn, ModelColumn, Recipe, TemplateColumn
from agentic_synth.recipes.model_samplers import ConstantColumn, CycleColumn, SequenceColumn
from agentic_synth.recipes.samplers import compile_sampler
from agentic_synth.recipes.templates import RowError, compile_expression, compile_template
from agentic_synth.types import Json

__all__ = ["Gate", "Made", "Plan", "RowRejected", "Wave"]

Values: TypeAlias = dict[str, Any]
_NOT_DRAWN = (ConstantColumn, CycleColumn, SequenceColumn)


class RowRejected(Exception):
    """This candidate does not become a row; *column* and *raw* tell of the answer that failed, if one did."""

    def __init__(self, reason: str, *, column: str = "", raw: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.column = column
        self.raw = raw

    def bare(self) -> RowRejected:
        """The same without a traceback, which would keep alive everything that the row was made of."""
        return RowRejected(self.reason, column=self.column, raw=self.raw)


class Made:
    """A column that is drawn or computed here."""

    def __init__(self, name: str, column: Column, stream: str) -> None:
        """*stream* tells what the column draws over many rows (a walk, arrivals) apart from others."""
        self.name = name
        self.names: frozenset[str] = frozenset()
        self.schema: Json = None
        self._salt = int.from_bytes(digest_of(name)[:8], "little")
        self._sampler = self._compute = None
        if isinstance(column, ExpressionColumn):
            expression = compile_expression(column.expression, f"columns.{name}.expression")
            self._compute, self.names = expression.evaluate, expression.names
            self.schema = {"type": column.type} if column.type else None
        elif isinstance(column, TemplateColumn):
            template = compile_template(column.template, f"columns.{name}.template")
            self._compute, self.names = template.render, template.names
            self.schema = {"type": "string"}
        else:
            assert not isinstance(column, ModelColumn)
            self._sampler = compile_sampler(column, stream=stream)
            self.schema = self._sampler.schema
            self._draws = not isinstance(column, _NOT_DRAWN)
        self.when = compile_expression(column.when, f"columns.{name}.when") if column.when is not None else None
        if self.when is not None:
            self.names |= self.when.names

    def __call__(self, values: Values, rng: random.Random, seed: int, index: int) -> None:
        """Put this column's value into *values*; *seed* is the candidate's, *index* the slot's."""
        if self.when is not None and not self.when.evaluate(values):
            values[self.name] = None
        elif self._sampler is not None:
            if self._draws:
                rng.seed(seed ^ self._salt)
            values[self.name] = self._sampler(rng, index)
        else:
            assert self._compute is not None
            values[self.name] = self._compute(values)


class Gate:
    """An expression of ``accept``."""

    def __init__(self, text: str, number: int) -> None:
        self._expression = compile_expression(text, f"accept.{number}")
        self._text = text
        self.names = self._expression.names

    def __call__(self, values: Values, rng: random.Random, seed: int, index: int) -> None:
        """Let the row pass, or raise RowRejected."""
        if not self._expression.evaluate(values):
            raise RowRejected(f"accept: {self._text}")


Step: TypeAlias = Made | Gate


class Wave:
    """Model columns that can be asked at the same time, and what follows from their answers."""

    def __init__(self, asked: Sequence[Asked]) -> None:
        self.asked = tuple(asked)
        self.then: list[Step] = []


class Plan:
    """The columns of a recipe in the order in which a row is made.

    *first* needs no model. Gates stand as early as their names are known, so that a row which cannot pass costs nothing
    more. *outputs* are the names that leave, with the JSON Schema of their values where it is known.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        seed_columns: Collection[str] = (),
        model_of: Callable[[str | None, str | None], str],
        run: str = "",
    ) -> None:
        """*model_of* gives the reference that a column's model and base URL mean to this *run*, which has a name."""
        self.recipe = recipe
        self.run = run
        self.first: list[Step] = []
        self.waves: list[Wave] = []
        self.asked: dict[str, Asked] = {}
        self._made: dict[str, Made] = {}
        self._place(recipe, set(seed_columns), model_of)
        kept = [name for name, column in recipe.columns.items() if column.keep]
        self.outputs: dict[str, Json] = dict.fromkeys(seed_columns)
        self.outputs |= {name: self._output_schema(name) for name in kept}
        self.inputs = {name: self._inputs(name) for name in self._dependent()}

    def _place(self, recipe: Recipe, known: set[str], model_of: Callable[[str | None, str | None], str]) -> None:
        gates = [Gate(text, number) for number, text in enumerate(recipe.accept)]
        level = dict.fromkeys(known, 0)
        for name in check_graph(recipe, list(known)):
            column = recipe.columns[name]
            if isinstance(column, ModelColumn):
                named = column.model is not None or column.base_url is not None
                model = model_of(column.model or recipe.model, column.base_url if named else recipe.base_url)
                asked = self.asked[name] = Asked(name, column, recipe, model=model, run=self.run)
                level[name] = 1 + max((level[parent] for parent in asked.names), default=0)
                while len(self.waves) < level[name]:
                    self.waves.append(Wave(()))
                self.waves[level[name] - 1].asked += (asked,)
            else:
                made = self._made[name] = Made(name, column, f"{recipe.seed}:{name}")
                level[name] = max((level[parent] for parent in made.names), default=0)
                self._steps(level[name]).append(made)
            gates = self._pass(gates, level)
        self._pass(gates, level)

    def _pass(self, gates: list[Gate], level: dict[str, int]) -> list[Gate]:
        """Place the gates whose names are all known; the others are returned."""
        for gate in gates:
            if gate.names <= level.keys():
                self._steps(max((level[name] for name in gate.names), default=0)).append(gate)
        return [gate for gate in gates if not gate.names <= level.keys()]

    def _steps(self, level: int) -> list[Step]:
        return self.waves[level - 1].then if level else self.first

    def _dependent(self) -> list[str]:
        """The model columns that wait for another model column."""
        return [asked.name for wave in self.waves[1:] for asked in wave.asked]

    def _inputs(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What a dependent column is made from: values known at admission, and the model columns before it.

        What those columns are made from counts too, so that rows are told apart by what they are about, and a row put
        in front moves none of the others.
        """
        early = {step.name for step in self.first if isinstance(step, Made)}
        values, parents = set[str](), set[str]()
        seen, todo = set[str](), list(self.asked[name].names)
        while todo:
            source = todo.pop()
            if source in seen:
                continue
            seen.add(source)
            if source in self.asked:
                parents.add(source)
                todo += self.asked[source].names
            elif source in self._made and source not in early:
                todo += self._made[source].names
            else:
                values.add(source)
        return tuple(sorted(values)), tuple(sorted(parents))

    def _output_schema(self, name: str) -> Json:
        if name in self.asked:
            return self.asked[name].schema or {"type": "string"}
        return self._made[name].schema


def make(steps: Sequence[Step], values: Values, rng: random.Random, seed: int, index: int) -> None:
    """Run *steps* on *values*.

    Raises:
        RowRejected: a gate said no, or a value cannot be computed.
    """
    try:
        for step in steps:
            step(values, rng, seed, index)
    except RowError as error:
        raise RowRejected(str(error)) from None
