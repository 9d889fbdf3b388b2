"""The whole answer that the deltas of a stream add up to."""

from __future__ import annotations

import msgspec

from agentic_synth.types import Delta, Finish, Json, Response, Usage

__all__ = ["Joined"]


class Joined:
    """Takes the deltas of one answer, in order; *finish* is None until the answer said that it was whole."""

    __slots__ = ("_calls", "_cost", "_model", "_reasonings", "_texts", "_usage", "finish")

    def __init__(self) -> None:
        self.finish: Finish | None = None
        self._texts: list[str] = []
        self._reasonings: list[str] = []
        self._calls: dict[Json, dict[str, Json]] = {}
        self._usage: Usage | None = None
        self._cost: float | None = None
        self._model = ""

    def add(self, delta: Delta) -> None:
        """The next delta; what it says of model, usage, cost and finish takes the place of what was said before."""
        if delta.text:
            self._texts.append(delta.text)
        if delta.reasoning:
            self._reasonings.append(delta.reasoning)
        for fragment in delta.tool_calls:
            self._join_call(fragment)
        self.finish = delta.finish or self.finish
        self._usage = delta.usage or self._usage
        self._model = delta.model or self._model
        if delta.cost is not None:
            self._cost = delta.cost

    def response(self, head: Response) -> Response:
        """The answer so far; *head* says what the deltas do not."""
        return msgspec.structs.replace(
            head,
            text="".join(self._texts),
            reasoning="".join(self._reasonings),
            tool_calls=tuple(self._calls.values()),
            finish=self.finish or head.finish,
            usage=self._usage or head.usage,
            cost=head.cost if self._cost is None else self._cost,
            model=self._model or head.model,
            body=None,
        )

    def _join_call(self, fragment: dict[str, Json]) -> None:
        """Add a fragment to the tool call it belongs to (OpenAI's ``index``)."""
        index = fragment.get("index", len(self._calls))
        call = self._calls.get(index)
        if call is None:
            call = self._calls[index] = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        call["id"] = fragment.get("id") or call["id"]
        function = fragment.get("function") or {}
        for part in ("name", "arguments"):
            call["function"][part] += function.get(part) or ""
