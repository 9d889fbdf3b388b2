"""Each wire format against replies of the shape that the provider's public API reference shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import msgspec
import pytest

from agentic_synth.transport.wire import anthropic, gemini, openai_chat
from agentic_synth.transport.wire.format import WireFault, WireFormat, assemble, data_url
from agentic_synth.types import Call, Delta, Message, Request, Response, Usage
from tests.transport.loopback import config_of

CONFIG = config_of("https://api.example.com/v1")
OPENAI = config_of("https://api.openai.com/v1")
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "required": ["n"]}
PIXEL = "data:image/png;base64,iVBORw0KGgo="
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a place",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
    },
}
CALLED = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"place":"Oslo"}'}}
CONVERSATION = (
    Message("system", "Be brief."),
    Message("user", [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]),
    Message("assistant", "Let me look.", tool_calls=[CALLED]),
    Message("tool", "12 degrees", tool_call_id="call_1"),
    Message("user", "And now?"),
)


def encoded(wire: ModuleType, stream: bool = False, config: Any = CONFIG, schema: Any = None, **fields: Any) -> Any:
    fields.setdefault("messages", (Message("user", "hi"),))
    call = Call(request=Request(model="p/m-1", **fields), model="m-1")
    part = wire.schema_part(config, schema) if schema else None
    raw = None if part is None else {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in part.items()}
    return json.loads(wire.encode(config, call, stream=stream, schema_part=raw))


def decoded(wire: WireFormat, value: Any) -> Response:
    return wire.decode(json.dumps(value).encode())


def streamed(wire: WireFormat, events: Sequence[Any]) -> list[Delta]:
    """What a stream of *events* brings, its end included."""
    decoder = wire.decoder()
    deltas: list[Delta] = []
    for event in events:
        delta = decoder.push(event if isinstance(event, bytes) else json.dumps(event).encode())
        if delta is not None:
            deltas.append(delta)
            if delta.finish is not None:
                return deltas
    last = decoder.end()
    return deltas if last is None else [*deltas, last]


class TestOpenAI:
    def test_request(self) -> None:
        body = encoded(openai_chat, messages=CONVERSATION, tools=(WEATHER,), tool_choice="auto")
        assert body["messages"][2] == {"role": "assistant", "content": "Let me look.", "tool_calls": [CALLED]}
        assert body["messages"][3] == {"role": "tool", "content": "12 degrees", "tool_call_id": "call_1"}
        assert (body["tools"], body["tool_choice"]) == ([WEATHER], "auto")
        assert "stream" not in body
        assert encoded(openai_chat, stream=True)["stream_options"] == {"include_usage": True}
        mistral = config_of("https://api.mistral.ai/v1")
        assert "stream_options" not in encoded(openai_chat, stream=True, config=mistral)

    def test_parameters_pass_untouched_and_win(self) -> None:
        own = {"type": "json_object"}
        body = encoded(openai_chat, schema=SCHEMA, parameters={"min_p": 0.1, "response_format": own, "max_tokens": 5})
        assert (body["min_p"], body["response_format"], body["max_tokens"]) == (0.1, own, 5)

    def test_openai_itself_is_told_max_completion_tokens(self) -> None:
        body = encoded(openai_chat, config=OPENAI, parameters={"max_tokens": 5})
        assert body["max_completion_tokens"] == 5
        assert "max_tokens" not in body

    def test_strict_schema_at_openai_and_the_schema_untouched_elsewhere(self) -> None:
        at_openai = encoded(openai_chat, config=OPENAI, schema=SCHEMA)["response_format"]["json_schema"]
        assert at_openai["strict"] is True
        assert at_openai["schema"]["additionalProperties"] is False
        assert at_openai["schema"]["properties"]["n"] == {"type": "integer", "description": "(minimum: 1)"}
        elsewhere = encoded(openai_chat, schema=SCHEMA)["response_format"]["json_schema"]
        assert elsewhere == {"name": "answer", "schema": SCHEMA, "strict": False}

    def test_a_schema_that_strict_mode_refuses_is_sent_unstrict(self) -> None:
        schema = {"title": "Open map!", "type": "object", "additionalProperties": {"type": "string"}}
        body = encoded(openai_chat, config=OPENAI, schema=schema)["response_format"]["json_schema"]
        assert body == {"name": "Open_map_", "schema": schema, "strict": False}

    @pytest.mark.parametrize(
        ("base_url", "url"),
        [
            ("https://h/v1/", "https://h/v1/chat/completions"),
            ("https://r.openai.azure.com", "https://r.openai.azure.com/openai/v1/chat/completions"),
            ("https://r.openai.azure.com/openai/v1/", "https://r.openai.azure.com/openai/v1/chat/completions"),
        ],
    )
    def test_url(self, base_url: str, url: str) -> None:
        assert openai_chat.url(config_of(base_url), "m", stream=False) == url

    def test_answer_with_all_kinds_of_tokens(self) -> None:
        response = decoded(
            openai_chat,
            {
                "model": "gpt-4.1-mini-2025-04-14",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": "Hi", "refusal": None, "annotations": []},
                        "logprobs": None,
                        "finish_reason": "stop",
                    }
                ],
                "usage": {
                    "prompt_tokens": 19,
                    "completion_tokens": 10,
                    "total_tokens": 29,
                    "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
                    "completion_tokens_details": {"reasoning_tokens": 4, "accepted_prediction_tokens": 0},
                },
                "service_tier": "default",
            },
        )
        assert response == Response(text="Hi", usage=Usage(19, 10, 8, 4), model="gpt-4.1-mini-2025-04-14")

    @pytest.mark.parametrize(
        ("reason", "finish"),
        [
            ("stop", "stop"),
            ("eos", "stop"),
            ("length", "length"),
            ("content_filter", "refusal"),
            ("tool_calls", "tool_calls"),
            ("function_call", "tool_calls"),
            ("weird", "other"),
            (None, "other"),
        ],
    )
    def test_finish(self, reason: str | None, finish: str) -> None:
        value = {"choices": [{"message": {"content": "x"}, "finish_reason": reason}]}
        assert decoded(openai_chat, value).finish == finish

    def test_refusal(self) -> None:
        value = {"choices": [{"message": {"content": None, "refusal": "I cannot."}, "finish_reason": "stop"}]}
        response = decoded(openai_chat, value)
        assert (response.text, response.finish) == ("I cannot.", "refusal")

    @pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
    def test_reasoning(self, field: str) -> None:
        value = {"choices": [{"message": {"content": "x", field: "hm"}, "finish_reason": "stop"}]}
        assert decoded(openai_chat, value).reasoning == "hm"
        assert streamed(openai_chat, [{"choices": [{"delta": {field: "hm"}}]}])[0].reasoning == "hm"

    def test_content_in_parts_and_deepseek_cache_count(self) -> None:
        parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        usage = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 3}
        value = {"choices": [{"message": {"content": parts}, "finish_reason": "stop"}], "usage": usage}
        assert decoded(openai_chat, value) == Response(text="ab", usage=Usage(9, 1, 3))

    def test_tool_calls(self) -> None:
        value = {"choices": [{"message": {"content": None, "tool_calls": [CALLED]}, "finish_reason": "tool_calls"}]}
        response = decoded(openai_chat, value)
        assert (response.tool_calls, response.finish, response.text) == ((CALLED,), "tool_calls", "")

    def test_streamed_tool_calls_join_by_index(self) -> None:
        def fragment(index: int, **fields: Any) -> dict[str, Any]:
            return {"choices": [{"delta": {"tool_calls": [{"index": index, **fields}]}}]}

        events = [
            fragment(0, id="call_1", type="function", function={"name": "weather", "arguments": ""}),
            fragment(0, function={"arguments": '{"place":'}),
            fragment(1, id="call_2", function={"name": "time", "arguments": "{}"}),
            fragment(0, function={"arguments": '"Oslo"}'}),
            {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
            b"[DONE]",
        ]
        response = assemble(streamed(openai_chat, events))
        assert response.tool_calls[0] == CALLED
        assert response.tool_calls[1]["function"] == {"name": "time", "arguments": "{}"}
        assert response.finish == "tool_calls"

    def test_the_usage_chunk_after_the_finish_is_waited_for(self) -> None:
        events = [
            {"choices": [{"delta": {"content": "Hi"}}], "model": "m"},
            {"choices": [{"delta": {}, "finish_reason": "length"}], "usage": None},
            {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
            b"[DONE]",
        ]
        assert streamed(openai_chat, events) == [Delta("Hi"), Delta(finish="length", usage=Usage(1, 2), model="m")]

    def test_a_streamed_refusal(self) -> None:
        events = [{"choices": [{"delta": {"refusal": "No."}}]}, {"choices": [{"delta": {}, "finish_reason": "stop"}]}]
        assert assemble(streamed(openai_chat, events)).finish == "refusal"

    def test_the_end_without_done_needs_a_finish_reason(self) -> None:
        assert streamed(openai_chat, [{"choices": [{"delta": {"content": "x"}}]}])[-1].finish is None
        assert streamed(openai_chat, [{"choices": [{"delta": {}, "finish_reason": "stop"}]}])[-1].finish == "stop"
        assert streamed(openai_chat, [b"[DONE]"])[-1].finish == "other"

    def test_models_as_object_and_as_array(self) -> None:
        assert openai_chat.decode_models(b'{"object":"list","data":[{"id":"a","object":"model"}]}') == ["a"]
        assert openai_chat.decode_models(b'[{"id":"a"},{"id":"b"}]') == ["a", "b"]


ANTHROPIC_ANSWER = {
    "id": "msg_013Zva2CMHLNnjNjJJKqJ2EF",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5-20251001",
    "content": [
        {"type": "thinking", "thinking": "Greet.", "signature": "EqQB"},
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"place": "Oslo"}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 10,
        "cache_creation_input_tokens": 3,
        "cache_read_input_tokens": 7,
        "output_tokens": 25,
        "service_tier": "standard",
    },
}
ANTHROPIC_EVENTS = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": "claude-haiku-4-5-20251001",
            "stop_reason": None,
            "usage": {"input_tokens": 25, "cache_read_input_tokens": 5, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "EqQB"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hel"}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "lo"}},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
    },
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"place":'}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '"Oslo"}'}},
    {"type": "content_block_stop", "index": 2},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 15},
    },
    {"type": "message_stop"},
]


class TestAnthropic:
    def test_request(self) -> None:
        body = encoded(anthropic, messages=CONVERSATION, tools=(WEATHER,), tool_choice="required", stream=True)
        assert body["system"] == "Be brief."
        assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
        assert body["messages"][0]["content"][1] == {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
        }
        assert body["messages"][1]["content"] == [
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"place": "Oslo"}},
        ]
        assert body["messages"][2]["content"] == [
            {"type": "tool_result", "tool_use_id": "call_1", "content": "12 degrees"},
            {"type": "text", "text": "And now?"},
        ]
        assert body["tools"] == [
            {
                "name": "weather",
                "description": "The weather in a place",
                "input_schema": WEATHER["function"]["parameters"],  # type: ignore[index]
            }
        ]
        assert body["tool_choice"] == {"type": "any"}
        assert (body["stream"], body["max_tokens"], body["model"]) == (True, 8192, "m-1")

    def test_parameters_are_translated(self) -> None:
        parameters = {"max_tokens": 5, "temperature": 0.1, "stop": "END", "seed": 7, "user": "u", "top_k": 3}
        body = encoded(anthropic, parameters={**parameters, "reasoning_effort": "minimal"}, schema=SCHEMA)
        assert {name: body[name] for name in ("max_tokens", "temperature", "stop_sequences", "top_k")} == {
            "max_tokens": 5,
            "temperature": 0.1,
            "stop_sequences": ["END"],
            "top_k": 3,
        }
        assert "seed" not in body
        assert body["metadata"] == {"user_id": "u"}
        assert body["output_config"]["effort"] == "low"
        assert body["output_config"]["format"]["schema"]["additionalProperties"] is False

    def test_parallel_tool_calls(self) -> None:
        body = encoded(anthropic, tools=(WEATHER,), parameters={"parallel_tool_calls": False})
        assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}

    def test_a_schema_that_the_decoder_cannot_hold_is_asked_for_in_words(self) -> None:
        schema = {"type": "object", "additionalProperties": {"type": "string"}}
        body = encoded(anthropic, schema=schema, messages=(Message("system", "Be brief."), Message("user", "hi")))
        assert "output_config" not in body
        assert body["system"].startswith("Be brief.\n\nAnswer with one JSON value")

    @pytest.mark.parametrize("base_url", ["https://api.anthropic.com", "https://api.anthropic.com/v1/"])
    def test_url_and_headers(self, base_url: str) -> None:
        assert anthropic.url(config_of(base_url), "m", stream=True) == "https://api.anthropic.com/v1/messages"
        assert anthropic.headers("k") == {
            "content-type": "application/json",
            "anthropic-version": "2023-06-01",
            "x-api-key": "k",
        }

    def test_answer(self) -> None:
        response = decoded(anthropic, ANTHROPIC_ANSWER)
        assert (response.text, response.reasoning, response.finish) == ("Hi", "Greet.", "tool_calls")
        assert response.tool_calls[0]["id"] == "toolu_1"
        assert json.loads(response.tool_calls[0]["function"]["arguments"]) == {"place": "Oslo"}
        assert response.usage == Usage(20, 25, 7)

    @pytest.mark.parametrize(
        ("reason", "finish"),
        [
            ("end_turn", "stop"),
            ("stop_sequence", "stop"),
            ("max_tokens", "length"),
            ("refusal", "refusal"),
            ("x", "other"),
        ],
    )
    def test_finish(self, reason: str, finish: str) -> None:
        assert decoded(anthropic, {**ANTHROPIC_ANSWER, "stop_reason": reason}).finish == finish

    def test_stream(self) -> None:
        response = assemble(streamed(anthropic, ANTHROPIC_EVENTS))
        assert (response.text, response.reasoning, response.finish) == ("Hello", "Hm.", "tool_calls")
        assert response.tool_calls[0] == {**CALLED, "id": "toolu_1"}
        assert response.usage == Usage(30, 15, 5)
        assert response.model == "claude-haiku-4-5-20251001"

    def test_a_cut_stream_is_seen(self) -> None:
        assert streamed(anthropic, ANTHROPIC_EVENTS[:9])[-1].finish is None
        assert streamed(anthropic, ANTHROPIC_EVENTS[:-1])[-1].finish == "tool_calls"

    def test_errors(self) -> None:
        error = {"type": "overloaded_error", "message": "Overloaded"}
        with pytest.raises(WireFault) as fault:
            decoded(anthropic, {"type": "error", "error": error})
        assert fault.value.error == error
        with pytest.raises(WireFault):
            streamed(anthropic, [*ANTHROPIC_EVENTS[:3], {"type": "error", "error": error}])

    def test_models(self) -> None:
        assert anthropic.decode_models(b'{"data":[{"type":"model","id":"claude-x"}],"has_more":false}') == ["claude-x"]


GEMINI_ANSWER = {
    "candidates": [
        {
            "content": {
                "parts": [{"text": "Greet.", "thought": True}, {"text": "Hi"}, {"text": " there"}],
                "role": "model",
            },
            "finishReason": "STOP",
            "index": 0,
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 9,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 20,
        "cachedContentTokenCount": 4,
        "totalTokenCount": 32,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9}],
    },
    "modelVersion": "gemini-2.5-flash",
    "responseId": "x",
}


class TestGemini:
    def test_request(self) -> None:
        choice = {"type": "function", "function": {"name": "weather"}}
        body = encoded(gemini, messages=CONVERSATION, tools=(WEATHER,), tool_choice=choice)
        assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
        assert [turn["role"] for turn in body["contents"]] == ["user", "model", "user"]
        assert body["contents"][0]["parts"][1] == {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
        assert body["contents"][1]["parts"][1] == {"functionCall": {"name": "weather", "args": {"place": "Oslo"}}}
        assert body["contents"][2]["parts"] == [
            {"functionResponse": {"name": "weather", "response": {"result": "12 degrees"}}},
            {"text": "And now?"},
        ]
        assert body["tools"][0]["functionDeclarations"][0]["name"] == "weather"
        assert body["toolConfig"]["functionCallingConfig"] == {"mode": "ANY", "allowedFunctionNames": ["weather"]}

    def test_parameters_are_translated(self) -> None:
        parameters = {
            "max_tokens": 5,
            "temperature": 0.1,
            "top_p": 0.9,
            "stop": ["END"],
            "seed": 7,
            "safetySettings": [],
        }
        body = encoded(gemini, parameters={**parameters, "reasoning_effort": "low"}, schema=SCHEMA)
        assert body["generationConfig"] == {
            "maxOutputTokens": 5,
            "temperature": 0.1,
            "topP": 0.9,
            "stopSequences": ["END"],
            "seed": 7,
            "thinkingConfig": {"thinkingLevel": "low"},
            "responseMimeType": "application/json",
            "responseJsonSchema": SCHEMA,
        }
        assert body["safetySettings"] == []

    @pytest.mark.parametrize("base_url", ["https://g.com/v1beta", "https://g.com/"])
    def test_url_and_headers(self, base_url: str) -> None:
        config = config_of(base_url)
        assert gemini.url(config, "models/g", stream=False) == "https://g.com/v1beta/models/g:generateContent"
        assert gemini.url(config, "g", stream=True).endswith("/models/g:streamGenerateContent?alt=sse")
        assert gemini.headers("k")["x-goog-api-key"] == "k"

    def test_answer(self) -> None:
        response = decoded(gemini, GEMINI_ANSWER)
        assert response == Response(
            text="Hi there", reasoning="Greet.", usage=Usage(9, 23, 4, 20), model="gemini-2.5-flash"
        )

    def test_tool_calls(self) -> None:
        parts = [{"functionCall": {"name": "weather", "args": {"place": "Oslo"}}}]
        value = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
        for response in (decoded(gemini, value), assemble(streamed(gemini, [value]))):
            assert response.finish == "tool_calls"
            assert response.tool_calls == ({**CALLED, "id": "call_0"},)

    @pytest.mark.parametrize(
        ("reason", "finish"),
        [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "refusal"), ("RECITATION", "refusal"), ("X", "other")],
    )
    def test_finish(self, reason: str, finish: str) -> None:
        value = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": reason}]}
        assert decoded(gemini, value).finish == finish

    def test_a_blocked_prompt_is_a_refusal(self) -> None:
        value = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 5}}
        assert decoded(gemini, value) == Response(finish="refusal", usage=Usage(5))
        assert streamed(gemini, [value])[-1].finish == "refusal"

    def test_stream(self) -> None:
        def chunk(text: str, **fields: Any) -> dict[str, Any]:
            return {"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, **fields}]}

        usage = {"promptTokenCount": 4, "candidatesTokenCount": 2}
        events = [chunk("Hel"), {**chunk("lo", finishReason="STOP"), "usageMetadata": usage, "modelVersion": "g"}]
        assert streamed(gemini, events) == [
            Delta("Hel"),
            Delta("lo"),
            Delta(finish="stop", usage=Usage(4, 2), model="g"),
        ]
        assert streamed(gemini, events[:1])[-1].finish is None

    def test_an_answer_without_a_finished_candidate_is_malformed(self) -> None:
        with pytest.raises(msgspec.ValidationError):
            decoded(gemini, {"candidates": []})

    def test_models(self) -> None:
        assert gemini.decode_models(b'{"models":[{"name":"models/gemini-2.5-flash"}]}') == ["gemini-2.5-flash"]


@pytest.mark.parametrize("wire", [openai_chat, anthropic, gemini])
class TestEveryWire:
    @pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b'{"choices": 7}', b"\xff", b'"x"'])
    def test_garbage_is_malformed(self, wire: WireFormat, body: bytes) -> None:
        with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
            wire.decode(body)

    def test_an_error_inside_a_reply_is_told_apart(self, wire: WireFormat) -> None:
        with pytest.raises(WireFault):
            decoded(wire, {"error": {"message": "no"}})
        with pytest.raises(WireFault):
            streamed(wire, [{"type": "error", "error": {"message": "no"}}])

    def test_unknown_fields_and_events_do_not_matter(self, wire: WireFormat) -> None:
        assert streamed(wire, [{"object": "ping", "new": [1, {"a": None}]}]) == []


def test_data_urls() -> None:
    assert data_url(PIXEL) == ("image/png", "iVBORw0KGgo=")
    assert data_url("https://x/y.png") is None
    assert data_url("data:text/plain,hi") is None
