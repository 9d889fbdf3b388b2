"""``synth cache explain``: what the store would serve for a prompt, and how a stored answer came to be there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentic_synth.cli.opened import existing_store, opened_store
from agentic_synth.cli.options import BaseUrl, Json, Model, Store, overrides
from agentic_synth.cli.outcome import run_async
from agentic_synth.cli.terminal import message_lines, say, table, write, write_json
from agentic_synth.errors import ConfigError, NotCached
from agentic_synth.telemetry.figures import counted, dollars

if TYPE_CHECKING:
    from agentic_synth.cache.explain import Explained
    from agentic_synth.cache.semantics import Looked, Match
    from agentic_synth.types import Request, Response

__all__ = ["explain"]

_RULES = {
    "length": "they are long, and too much of them differs",
    "probability": "the rules let it pass, but it is not likely enough",
    "bound": "the rules let it pass",
    "literal": "it is about the words themselves",
    "inflection": "one asks for one thing, the other for several",
    "quoted": "what stands in quotation marks differs",
    "addresses": "an address or a path differs",
    "codes": "a code differs",
    "data": "what follows the colon or the line break differs",
    "unit": "a unit differs",
    "name": "a name differs",
    "order": "the words stand in another order",
    "number": "a number differs",
    "antonym": "they are opposites",
    "question": "another question is asked",
    "negation": "one of them negates",
    "comparative": "a comparison differs",
    "quantifier": "a quantity differs",
    "modality": "what may or must be differs",
    "tense": "the time differs",
    "date": "a date differs",
    "direction": "a small word of place or direction differs",
    "role": "another person is meant",
    "symbol": "a sign differs",
    "word": "a word differs",
}


def explain(
    prompt: Annotated[str | None, typer.Argument(help="The prompt, as it would be asked.", show_default=False)] = None,
    model: Model = None,
    base_url: BaseUrl = None,
    system: Annotated[str | None, typer.Option(help="The system prompt it would be asked with.")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter it would be asked with.", metavar="KEY=VALUE")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="A stored answer instead, by its key or the beginning of it.", metavar="HEX")
    ] = None,
    json: Json = False,
    store: Store = None,
) -> None:
    """Tell what the store would serve for a prompt, or how a stored answer came to be there.

    Shows the exact answer, if there is one, and the nearest prompts that were asked before, with what the verifier
    says of each. Nothing is asked, nothing is changed, and no key of a provider is needed.

    \b
      synth cache explain "What's the capital of France?" --model openai/gpt-4.1-mini --set temperature=0
      synth cache explain --key 3fa0c1
    """
    if (prompt is None) == (key is None):
        raise ConfigError(
            "give a prompt or --key, one of them",
            mend='e.g. synth cache explain "What is rain?" --model openai/gpt-4.1-mini',
        )
    file = existing_store(store)
    if file is None:
        say("nothing is stored yet")
    elif key is not None:
        run_async(_tell_answer(file, key, json))
    else:
        run_async(_tell_prompt(file, prompt or "", model, base_url, system, _parameters(sets), json))


def _parameters(sets: list[str] | None) -> dict[str, Any]:
    import msgspec  # noqa: PLC0415 - keeps --help fast

    found: dict[str, Any] = {}
    for name, value in overrides(sets).items():
        try:
            found[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            found[name] = value
    return found


async def _tell_prompt(
    file: Path,
    prompt: str,
    model: str | None,
    base_url: str | None,
    system: str | None,
    parameters: dict[str, Any],
    json: bool,
) -> None:
    from agentic_synth.cache.explain import remembered  # noqa: PLC0415 - keeps --help fast
    from agentic_synth.sdk.synth import Synth  # noqa: PLC0415
    from agentic_synth.types import Message, Request  # noqa: PLC0415

    turns = (*([Message("system", system)] if system is not None else []), Message("user", prompt))
    async with Synth(model, base_url=base_url, store=str(file), sends=False) as synth:
        if synth.upstream.wire == "offline":
            raise ConfigError(
                "the local generator's answers cost nothing and are never looked up", mend="name the --model"
            )
        name = synth.session.name_of(None, None)
        request = Request(model=name, messages=turns, parameters=parameters, reuse="semantic")
        exact = synth.session.engine.recall(request)
        if not json:
            for line in _exact_lines(exact):
                write(line)
        looked = await _near(synth, request)
    if json:
        write_json({"exact": _told_exact(exact), **_told_near(looked)})
        return
    async with opened_store(file) as store:
        count = store.read(remembered)
    for line in _near_lines(looked, count):
        write(line)


async def _near(synth: Any, request: Request) -> Looked | None:
    try:
        looked: Looked | None = await synth.session.engine.near(request)
    except NotCached:
        raise ConfigError(
            "the embedder is an upstream's, and it was never asked for this prompt",
            mend="ask the prompt once with reuse: semantic, or set semantic.embedder to a local one",
        ) from None
    return looked


def _exact_lines(exact: Response | None) -> list[str]:
    if exact is None or exact.hit is None:
        return ["exact     no valid answer to this very request is stored"]
    hit = exact.hit
    if hit.kind != "semantic":
        return [f"exact     yes, under the key {hit.key}"]
    return [f"exact     yes, a copy of {hit.key}", f"          {_first_given(hit)}"]


def _first_given(hit: Any) -> str:
    measured = f" (similarity {hit.similarity or 0.0:.3f}, probability {hit.probability or 0.0:.0%})"
    return f"first given to: {hit.asked}{measured}" if hit.asked else ""


def _near_lines(looked: Looked | None, count: int) -> list[str]:
    if looked is None:
        return ["semantic  nothing of this prompt is compared"]
    if not looked.matches:
        others = f"; {counted(count, 'prompt')} with others" if count else ""
        return ["semantic  a miss: no prompt is remembered with this model, system prompt and parameters" + others]
    hit = looked.hit
    told = "a miss: none of the nearest may serve" if hit is None else f"a hit: the answer of {hit.entry.key.hex()}"
    rows = [
        (
            f"{match.entry.similarity:.3f}",
            f"{match.verdict.probability:.0%}",
            _verdict(match),
            match.entry.text,
            _reason(match),
        )
        for match in looked.matches
    ]
    lines = [
        f"semantic  {told}",
        "",
        *table(["similar", "probable", "verdict", "asked before", "because"], rows, whole=3).splitlines(),
    ]
    lines += [
        "",
        f"because   {_reason(hit or looked.matches[0])}",
        f"key       {(hit or looked.matches[0]).entry.key.hex()}",
    ]
    return lines


def _verdict(match: Match) -> str:
    return "serves" if match.verdict.hit else "unproven" if match.verdict.unproven else "refused"


def _reason(match: Match) -> str:
    rule, _, detail = match.verdict.reason.partition(": ")
    said = _RULES.get(rule)
    if said is None:
        return detail
    return said if not detail or detail.startswith("<") else f"{said}: {detail}"


def _told_exact(exact: Response | None) -> Any:
    import msgspec  # noqa: PLC0415 - keeps --help fast

    return None if exact is None else msgspec.to_builtins(exact.hit) | {"text": exact.text}


def _told_near(looked: Looked | None) -> dict[str, Any]:
    matches = [
        {
            "key": match.entry.key.hex(),
            "asked": match.entry.text,
            "similarity": match.entry.similarity,
            "probability": match.verdict.probability,
            "verdict": _verdict(match),
            "because": _reason(match),
        }
        for match in (looked.matches if looked is not None else ())
    ]
    hit = looked.hit.entry.key.hex() if looked is not None and looked.hit is not None else None
    return {"semantic": hit, "nearest": matches}


async def _tell_answer(file: Path, key: str, json: bool) -> None:
    from agentic_synth.cache.explain import explained  # noqa: PLC0415 - keeps --help fast

    async with opened_store(file) as store:
        try:
            found = store.read(lambda connection: explained(connection, key))
        except ValueError:
            raise ConfigError(f"{key!r} is no key", mend="a key is up to 32 hexadecimal digits") from None
    if len(found) != 1:
        raise ConfigError(
            f"{'several keys begin' if found else 'no stored answer has a key that begins'} with {key}",
            mend="give more of it" if found else "`synth cache export` tells the keys of all answers",
        )
    if json:
        import msgspec  # noqa: PLC0415 - keeps --help fast

        write_json(msgspec.to_builtins(found[0]))
        return
    for line in _answer_lines(found[0]):
        write(line)


def _answer_lines(told: Explained) -> list[str]:
    response, hit = told.response, told.response.hit
    made = time.strftime("%Y-%m-%d %H:%M", time.localtime(told.created))
    usage = response.usage
    cost = f", {dollars(response.cost)}" if response.cost else ""
    lines = [
        f"key       {told.key}",
        f"status    {told.status}" + (f": {told.reason}" if told.reason else ""),
        f"asked     of {told.model}" + (f", by the run of {told.lineage}" if told.lineage else ""),
        f"answered  by {told.served_by}, {made}: {usage.input_tokens:,} tokens in, {usage.output_tokens:,} out{cost}",
    ]
    if hit is None:
        lines.append("came      from the model")
    else:
        lines.append(f"came      as a copy of {hit.key} ({hit.kind})")
        lines += [f"          {_first_given(hit)}"] if hit.asked else []
    lines.append(f"served    {counted(told.lookups, 'lookup')} of this very draw{_copies(told.copies)}")
    if told.wording:
        lines.append(f"found by  {told.wording}")
    lines.append("")
    for message in told.request.get("messages", ()):
        lines += message_lines(message["role"], message.get("content"))
    return [*lines, *message_lines("answer", response.text)]


def _copies(copies: dict[str, int]) -> str:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in copies.items())
    return f", {counted(sum(copies.values()), 'other draw')} ({kinds})" if copies else ""
