"""Every value is valid, every draw is repeatable, and a schema without values is told, for schemas of all shapes."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentic_synth.errors import InvalidRequest
from tests.offline.offline_schemas import Schema, ask, record, satisfiable, wild

SLOW_TO_BUILD = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@given(satisfiable, st.integers(0, 1_000))
@settings(max_examples=150, deadline=None, suppress_health_check=SLOW_TO_BUILD)
def test_a_satisfiable_schema_always_gets_a_valid_and_repeatable_value(schema: Schema, sample: int) -> None:
    assert ask(schema, sample) == ask(schema, sample)


@given(wild, st.integers(0, 1_000))
@settings(max_examples=150, deadline=None, suppress_health_check=SLOW_TO_BUILD)
def test_any_schema_gets_a_valid_value_or_a_clear_refusal(schema: Schema, sample: int) -> None:
    try:
        ask(schema, sample)
    except InvalidRequest as caught:
        refusal = caught
    else:
        return
    assert refusal.message.startswith("no value can be made for the schema: ")
    assert refusal.mend


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=200))
def test_any_name_description_and_prompt_is_understood_somehow(name: str, description: str, prompt: str) -> None:
    part = {"description": description}
    schema = record(**{name: {"type": "string", **part}, f"{name}_n": {"type": "number", **part}, "all": part})
    assert ask(schema, prompt=prompt).keys() == schema["properties"].keys()
