"""A single completion that must fit a schema: the same repair ladder that rows climb."""

from __future__ import annotations

import msgspec

from agentic_synth.errors import BadReply
from agentic_synth.recipes.ask import Answerer, Unusable, ask
from agentic_synth.recipes.asked import Asked
from agentic_synth.recipes.model import ModelColumn, Recipe
from agentic_synth.types import Json, Request, Response

__all__ = ["complete_structured"]


async def complete_structured(engine: Answerer, request: Request, schema: Json) -> Response:
    """The answer to *request* as *schema* wants it, with its value in ``Response.data``.

    Raises:
        BadReply: nothing that the model said fits the schema.
        SynthError: the request could not be answered.
    """
    column = ModelColumn(prompt="-", schema=schema)
    asked = Asked("answer", column, Recipe(columns={"answer": column}), model=request.model)
    # What was rejected before is read again rather than paid again, on the way to the answer that fits.
    reuse = "replay" if request.reuse == "exact" else request.reuse
    try:
        answered = await ask(
            engine, asked, msgspec.structs.replace(request, schema=asked.schema, reuse=reuse, judged=True), None
        )
    except Unusable as unusable:
        raise BadReply(
            f"no answer of {request.model} fits the schema: {unusable.reason}",
            mend="make the schema or the prompt plainer, or take a stronger model",
        ) from None
    return msgspec.structs.replace(answered.response, data=answered.value)
