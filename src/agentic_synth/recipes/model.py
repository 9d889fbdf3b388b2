"""What a recipe says: a table of columns, each drawn, computed, or asked of a model.

Everything here is frozen and says only what the user wrote. `load` reads it from files, `samplers`, `templates` and
`answers` make its columns run. In Python a recipe is ``Recipe(columns={...})`` with the same words as in YAML; a
column is a dict, or one of the classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    JsonValue,
    PrivateAttr,
    Tag,
    WithJsonSchema,
    model_validator,
)

from agentic_synth.recipes import model_samplers as drawn
from agentic_synth.recipes import model_series as serial
from agentic_synth.recipes.model_parts import CONFIG, ColumnSpec, fault
from agentic_synth.recipes.model_samplers import SamplerColumn
from agentic_synth.types import Reuse

__all__ = [
    "KINDS",
    "Column",
    "Example",
    "ExpressionColumn",
    "ModelColumn",
    "Origin",
    "Recipe",
    "SamplerColumn",
    "TemplateColumn",
    "Turn",
    "json_schema",
    "kinds_of",
]

JsonType: TypeAlias = Literal["string", "integer", "number", "boolean", "array", "object"]
_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def _schema(value: object) -> object:
    if isinstance(value, (Mapping, type)):
        return value
    if isinstance(value, str) and not _REFERENCE.fullmatch(value):
        mend = "Write a JSON Schema, or module:Model with the import path of a Pydantic model."
        raise fault(f"{value!r} is no schema", mend=mend)
    if value is None or isinstance(value, (bool, int, float, list)):
        raise fault(f"a schema is a mapping, not {value!r}", mend="Write a JSON Schema, or module:Model.")
    return value


Schema: TypeAlias = Annotated[
    Any,
    BeforeValidator(_schema),
    WithJsonSchema(
        {
            "anyOf": [{"type": "object"}, {"type": "string", "pattern": f"^{_REFERENCE.pattern}$"}],
            "description": "a JSON Schema, or module:Model",
        }
    ),
]
"""A JSON Schema as a dict, ``module:Model``, or (from Python) any type Pydantic can describe."""


def _pack(value: object) -> object:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value is None or value == "auto" or (whole and value in range(2, 101)):
        return value
    raise fault(f"a call cannot hold {value!r} rows", mend="Write how many rows share a call, 2 to 100, or auto.")


PackSize: TypeAlias = Annotated[Literal["auto"] | Annotated[int, Field(ge=2, le=100)], BeforeValidator(_pack)]
"""How many rows are asked in one call."""


class ExpressionColumn(ColumnSpec):
    """A value computed from other columns by a Jinja expression; *type* names its JSON type for typed outputs."""

    expression: str
    type: JsonType | None = None


class TemplateColumn(ColumnSpec):
    """A text rendered from other columns."""

    template: str


class Turn(BaseModel):
    """One message of a conversation; every text in *content* is a template."""

    model_config = CONFIG

    role: str
    content: str | list[dict[str, JsonValue]]


class Example(BaseModel):
    """A question and its good answer, shown to the model before the real one; both are taken literally."""

    model_config = CONFIG

    input: str
    output: JsonValue

    @model_validator(mode="before")
    @classmethod
    def _synonym(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and "prompt" in value and "input" not in value:
            return {("input" if key == "prompt" else key): inner for key, inner in value.items()}
        return value


class ModelColumn(ColumnSpec):
    """An answer of a model: text, or what *schema* describes.

    Say *prompt*, or *messages* for a whole conversation. *model*, *base_url* and *system* take the place of the
    recipe's; *parameters* are laid over the recipe's. *draws* ``shared`` gives rows with an equal request the same
    answer. *regenerate* is how often an answer that cannot be used is asked again. *pack* asks several rows in one
    call: so many, or as many as do no harm (``auto``).
    """

    prompt: str | None = None
    messages: list[Turn] | None = Field(default=None, min_length=1)
    system: str | None = None
    examples: tuple[Example, ...] = ()
    answer: Schema | None = Field(default=None, alias="schema")
    model: str | None = None
    base_url: str | None = None
    parameters: dict[str, JsonValue] = Field(default={})
    extra_body: dict[str, JsonValue] = Field(default={})
    draws: Literal["distinct", "shared"] = "distinct"
    reuse: Reuse = "exact"
    pack: PackSize | None = None
    regenerate: Annotated[int, Field(ge=0, le=100)] = 2

    @model_validator(mode="after")
    def _asks_once(self) -> ModelColumn:
        if (self.prompt is None) == (self.messages is None):
            raise fault("a model column has either `prompt` or `messages`", mend="Keep one of the two.")
        return self


_CLASSES: dict[str, type[ColumnSpec]] = {
    "choice": drawn.ChoiceColumn,
    "int": drawn.IntColumn,
    "float": drawn.FloatColumn,
    "uniform": drawn.FloatColumn,
    "normal": drawn.NormalColumn,
    "lognormal": drawn.LognormalColumn,
    "bernoulli": drawn.BernoulliColumn,
    "poisson": drawn.PoissonColumn,
    "date": drawn.DateColumn,
    "datetime": drawn.DatetimeColumn,
    "uuid": drawn.UuidColumn,
    "sequence": drawn.SequenceColumn,
    "cycle": drawn.CycleColumn,
    "constant": drawn.ConstantColumn,
    "fake": drawn.FakeColumn,
    "person": drawn.PersonColumn,
    "timeseries": serial.TimeseriesColumn,
    "ticks": serial.TicksColumn,
    "arrivals": serial.ArrivalsColumn,
    "expression": ExpressionColumn,
    "template": TemplateColumn,
    "prompt": ModelColumn,
    "messages": ModelColumn,
}
KINDS: Mapping[str, type[ColumnSpec]] = _CLASSES
"""The key that tells what a column is, and the class that reads it."""


def kinds_of(column: Mapping[str, Any]) -> list[str]:
    """The keys of *column* that say what it is; a good column has one."""
    return [key for key in column if key in KINDS]


def _tag(value: Any) -> str | None:
    if isinstance(value, ColumnSpec):
        return f"<{type(value).__name__}>"
    classes = {KINDS[key] for key in kinds_of(value)} if isinstance(value, Mapping) else set()
    return f"<{classes.pop().__name__}>" if len(classes) == 1 else None


def _choice(value: object) -> object:
    return {"choice": value} if isinstance(value, list) else value


Column: TypeAlias = Annotated[
    Annotated[drawn.ChoiceColumn, Tag("<ChoiceColumn>")]
    | Annotated[drawn.IntColumn, Tag("<IntColumn>")]
    | Annotated[drawn.FloatColumn, Tag("<FloatColumn>")]
    | Annotated[drawn.NormalColumn, Tag("<NormalColumn>")]
    | Annotated[drawn.LognormalColumn, Tag("<LognormalColumn>")]
    | Annotated[drawn.BernoulliColumn, Tag("<BernoulliColumn>")]
    | Annotated[drawn.PoissonColumn, Tag("<PoissonColumn>")]
    | Annotated[drawn.DateColumn, Tag("<DateColumn>")]
    | Annotated[drawn.DatetimeColumn, Tag("<DatetimeColumn>")]
    | Annotated[drawn.UuidColumn, Tag("<UuidColumn>")]
    | Annotated[drawn.SequenceColumn, Tag("<SequenceColumn>")]
    | Annotated[drawn.CycleColumn, Tag("<CycleColumn>")]
    | Annotated[drawn.ConstantColumn, Tag("<ConstantColumn>")]
    | Annotated[drawn.FakeColumn, Tag("<FakeColumn>")]
    | Annotated[drawn.PersonColumn, Tag("<PersonColumn>")]
    | Annotated[serial.TimeseriesColumn, Tag("<TimeseriesColumn>")]
    | Annotated[serial.TicksColumn, Tag("<TicksColumn>")]
    | Annotated[serial.ArrivalsColumn, Tag("<ArrivalsColumn>")]
    | Annotated[ExpressionColumn, Tag("<ExpressionColumn>")]
    | Annotated[TemplateColumn, Tag("<TemplateColumn>")]
    | Annotated[ModelColumn, Tag("<ModelColumn>")],
    Discriminator(_tag),
    BeforeValidator(_choice),
]


class Origin(Protocol):
    """The text that a recipe was read from."""

    def where(self, path: Sequence[str | int]) -> str:
        """``file:line:column`` of the part at *path*, or of what holds it."""
        ...


class Recipe(BaseModel):
    """A table to make.

    *recipe* is its name. *seeds* is a file of rows to start from, whose columns templates may use; each row is used
    *rows_per_seed* times. Without *rows* there is one row a seed (times *rows_per_seed*). *accept* are expressions
    that a row must satisfy; a rejected row is tried again up to *refills* times. *model*, *base_url*, *system* and
    *parameters* hold for every model column that does not say otherwise.
    """

    model_config = CONFIG

    recipe: str = "recipe"
    description: str = ""
    rows: Annotated[int, Field(ge=1)] | None = None
    seed: int = 0
    seeds: str | None = None
    rows_per_seed: Annotated[int, Field(ge=1)] = 1
    model: str | None = None
    base_url: str | None = None
    system: str | None = None
    parameters: dict[str, JsonValue] = {}
    columns: Annotated[dict[str, Column], Field(min_length=1)]
    accept: list[str] = []
    refills: Annotated[int, Field(ge=0, le=10_000)] = 8

    _origin: Origin | None = PrivateAttr(default=None)

    def where(self, *path: str | int) -> str:
        """Where *path* (``"columns", "ticket", "prompt"``) is written: ``file:line:column``, or its dotted name."""
        return self._origin.where(path) if self._origin is not None else ".".join(map(str, path))

    def written_at(self, origin: Origin) -> Recipe:
        """The same recipe, which now knows where its parts are written."""
        recipe = self.model_copy()
        recipe.__pydantic_private__ = {"_origin": origin}
        return recipe


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe file, for editors."""
    schema = Recipe.model_json_schema(by_alias=True)
    column = schema["properties"]["columns"]["additionalProperties"]
    shorthand = {"type": "array", "minItems": 1, "description": "one of these values"}
    schema["properties"]["columns"]["additionalProperties"] = {"anyOf": [column, shorthand]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "agentic-synth recipe"}
