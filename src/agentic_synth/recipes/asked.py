"""A model column that is ready to run: it turns a row's values into a request, and an answer into a cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from agentic_synth.cache.key import key_of
from agentic_synth.recipes.answers import Answers, Invalid, Read
from agentic_synth.recipes.lineage import digest_of
from agentic_synth.recipes.model import ModelColumn, Recipe
from agentic_synth.recipes.slots import Slots
from agentic_synth.recipes.templates import compile_expression, compile_template
from agentic_synth.types import Draw, Json, Message, Pack, Request, Response

__all__ = ["Asked"]

Values = Mapping[str, Any]

_canonical = msgspec.json.Encoder(order="sorted").encode


class Asked:
    """What to ask for one cell, and how to judge the answer."""

    def __init__(self, name: str, column: ModelColumn, recipe: Recipe, *, model: str, run: str = "") -> None:
        """*model* is the reference that the run resolved, *run* the name under which its requests queue."""
        self.name = name
        self.regenerate = column.regenerate
        self.answers = Answers.compile(column.answer) if column.answer is not None else None
        self.schema = self.answers.schema if self.answers is not None else None
        self.when = compile_expression(column.when, f"columns.{name}.when") if column.when is not None else None
        self.parameters = {**recipe.parameters, **column.parameters, **column.extra_body}
        self.model = model
        self.run = run
        self.reuse = "replay" if column.reuse == "exact" else column.reuse
        self._constant = digest_of(self.model, self.parameters, self.schema)
        self.shared = column.draws == "shared" or self.parameters.get("temperature") == 0 or "seed" in self.parameters
        self._names: set[str] = set(self.when.names) if self.when else set()
        turns = _turns(column, recipe)
        self._messages = [self._turn(role, content) for role, content in turns]
        self._slots = self._own_words(turns[-1][1]) if column.pack is not None or column.reuse == "semantic" else None
        self._pack = 0 if column.pack == "auto" else column.pack
        self.names = frozenset(self._names)

    def _turn(self, role: str, content: Json) -> Callable[[Values], Message]:
        part = self._part(content)
        if isinstance(part, _Constant):
            message = Message(role, part.value)
            return lambda values: message
        return lambda values: Message(role, part(values))

    def _part(self, content: Json) -> Callable[[Values], Json]:
        """Compile every text inside *content*, which may be a text, a list of parts, or already literal."""
        if isinstance(content, _Constant):
            return content
        if isinstance(content, str):
            template = compile_template(content, f"columns.{self.name}")
            self._names |= template.names
            return template.render if template.names or "{" in content else _Constant(content)
        if isinstance(content, list):
            parts = [self._part(part) for part in content]
            return lambda values: [part(values) for part in parts]
        if isinstance(content, dict):
            fields = {key: self._part(value) for key, value in content.items()}
            return lambda values: {key: field(values) for key, field in fields.items()}
        return _Constant(content)

    def _own_words(self, content: Json) -> Slots | None:
        return Slots(content, f"columns.{self.name}") if isinstance(content, str) else None

    def request(self, values: Values, draw: Draw) -> Request:
        """The request for the row with these values.

        Raises:
            RowError: a template cannot be rendered with these values.
        """
        meaning = pack = None
        if self._slots is not None and (filled := self._slots.fill(values)) is not None:
            meaning = filled.meaning
            pack = Pack(filled.task, filled.values, self._pack) if self._pack is not None else None
        return Request(
            model=self.model,
            messages=tuple([message(values) for message in self._messages]),
            parameters=self.parameters,
            schema=self.schema,
            draw=draw,
            reuse=self.reuse,
            dedup=self.shared,
            run=self.run,
            meaning=meaning,
            pack=pack,
            judged=True,
        )

    def specification(self, request: Request) -> bytes:
        """16 bytes that are equal for equal requests, of this column or of one that asks alike.

        What is the same for every row was hashed once; the key of the response store hashes it every time.

        Raises:
            InvalidRequest: the prompt holds what JSON cannot say.
        """
        try:
            messages = _canonical(request.messages)
        except (TypeError, ValueError, RecursionError):
            return key_of(request, "").spec  # which says what is wrong
        return blake2b(messages, digest_size=16, key=self._constant).digest()

    def recalled(self, request: Request) -> Request:
        """The same request for a row that is made again: its answer is the one that was stored the first time."""
        return msgspec.structs.replace(request, reuse="replay") if self.reuse in {"refresh", "never"} else request

    def read(self, response: Response) -> Read | Invalid:
        """The cell in *response*, or why there is none."""
        if response.finish == "refusal":
            return Invalid("the model refused to answer")
        if response.finish == "length":
            return Invalid("the answer was cut at max_tokens")
        if self.answers is not None:
            return self.answers.read(response.text)
        text = response.text.strip()
        return Read(text) if text else Invalid("the answer is empty")

    def correction(self, request: Request, response: Response, reason: str) -> Request:
        """The turn that shows the model its invalid answer and what is wrong with it."""
        assert self.answers is not None
        turns = (Message("assistant", response.text), Message("user", self.answers.correction(reason)))
        return self.again(msgspec.structs.replace(request, messages=request.messages + turns))

    def again(self, request: Request) -> Request:
        """The same request as the next attempt of its draw: an answer of its own, asked alone."""
        draw = msgspec.structs.replace(request.draw, attempt=request.draw.attempt + 1)
        reuse = "replay" if request.reuse == "semantic" else request.reuse
        return msgspec.structs.replace(request, draw=draw, reuse=reuse, meaning=None, pack=None)


class _Constant:
    """A part of a message that is the same for every row."""

    def __init__(self, value: Json) -> None:
        self.value = value

    def __call__(self, values: Values) -> Json:
        return self.value


def _turns(column: ModelColumn, recipe: Recipe) -> list[tuple[str, Json]]:
    turns: list[tuple[str, Json]] = []
    system = column.system if column.system is not None else recipe.system
    if system is not None:
        turns.append(("system", system))
    for example in column.examples:
        output = example.output
        answer = output if isinstance(output, str) else msgspec.json.encode(output).decode()
        turns += [("user", _Constant(example.input)), ("assistant", _Constant(answer))]
    if column.messages is not None:
        turns += [(turn.role, turn.content) for turn in column.messages]
    else:
        turns.append(("user", column.prompt))
    return turns
