"""Langfuse: observations with types, and usage in the provider's words or in buckets that add up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from span_making import sighting

from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_FRAMEWORK, TOOL, Sighting

OBSERVATION = "langfuse.observation."


def observation(kind: str = "generation", **fields: Any) -> dict[str, Any]:
    """Attributes of an observation; maps become JSON, `__` a dot."""
    texts = {key.replace("__", "."): json.dumps(value) if isinstance(value, dict) else value for key, value in fields.items()}
    return {f"{OBSERVATION}type": kind} | {OBSERVATION + key: value for key, value in texts.items()}


def with_usage(**details: Any) -> Sighting:
    return sighting(observation(model__name="gpt-4o-2024-08-06", usage_details=details), scope="langfuse-sdk", kind=1)


def test_buckets_add_up_so_the_input_is_without_the_cached_tokens() -> None:
    seen = with_usage(input=1213, output=419, total=3936, input_audio=0, input_cache_read=2304, output_audio=0, output_reasoning=0)
    assert seen.usage == {"input_uncached": 1213, "cache_read": 2304, "output": 419}
    assert (seen.kind, seen.operation, seen.rank, seen.usage_rule) == (CALL, "chat", RANK_FRAMEWORK, "langfuse.uncached")


def test_reasoning_and_audio_are_taken_out_of_their_sides_and_put_back() -> None:
    """911 tokens of output are 335 and 576 of thoughts; 400 of input are 300 and 100 of audio."""
    seen = with_usage(
        input=1531, output=335, total=3466, input_cached_tokens=1024, output_reasoning_tokens=576, output_accepted_prediction_tokens=0
    )
    assert seen.usage == {"input_uncached": 1531, "cache_read": 1024, "output": 911, "reasoning": 576}
    heard = with_usage(input=300, output=40, total=500, input_audio_tokens=100, output_audio_tokens=60)
    assert heard.usage == {"input_uncached": 400, "audio_in": 100, "output": 100, "audio_out": 60}


def test_the_providers_own_object_is_read_in_its_own_sense() -> None:
    openai = with_usage(
        prompt_tokens=3517, completion_tokens=419, total_tokens=3936, prompt_tokens_details={"cached_tokens": 2304, "audio_tokens": 0}
    )
    assert openai.usage == {"input_uncached": 1213, "cache_read": 2304, "output": 419}
    responses = with_usage(
        input_tokens=2555, output_tokens=911, total_tokens=3466,
        input_tokens_details={"cached_tokens": 1024}, output_tokens_details={"reasoning_tokens": 576},
    )  # fmt: skip
    assert responses.usage == {"input_uncached": 1531, "cache_read": 1024, "output": 911, "reasoning": 576}


@pytest.mark.parametrize("lifetimes", [
    {"cache_creation_ephemeral_5m_input_tokens": 3072, "cache_creation_ephemeral_1h_input_tokens": 4111},
    {"cache_creation": {"ephemeral_5m_input_tokens": 3072, "ephemeral_1h_input_tokens": 4111}},
])  # fmt: skip
def test_anthropics_counts_lie_beside_the_input_and_say_how_long_writes_live(lifetimes: dict[str, Any]) -> None:
    """Newer SDKs put the lifetimes in one row with the rest, older ones leave them nested; 7183 is their sum and not added."""
    seen = with_usage(input=87, output=223, cache_read_input_tokens=11, cache_creation_input_tokens=7183, **lifetimes)
    assert seen.usage == {"input_uncached": 87, "cache_read": 11, "cache_write_5m": 3072, "cache_write_1h": 4111, "output": 223}


def test_langchains_lifetimes_replace_its_sum() -> None:
    """Its sum is 0 when it knows the lifetimes; where it repeats them, the input was made smaller twice, which the total shows."""
    once = with_usage(input=87, output=223, total=7493, input_cache_creation=0, input_ephemeral_1h_input_tokens=7183)
    twice = with_usage(input=0, output=223, total=7493, input_cache_creation=7183, input_ephemeral_1h_input_tokens=7183)
    assert once.usage == twice.usage == {"input_uncached": 87, "cache_write_1h": 7183, "output": 223}


def test_a_tiers_tokens_are_the_uncached_ones_wherever_they_are_counted() -> None:
    """Older SDKs take them out of the input, newer ones leave it whole."""
    for rest_in, rest_out in ((0, 0), (3517, 419)):
        seen = with_usage(
            input=rest_in, output=rest_out, total=3936, input_priority=1213, input_priority_cache_read=2304,
            output_priority=400, output_priority_reasoning=19,
        )  # fmt: skip
        assert seen.usage == {"input_uncached": 1213, "cache_read": 2304, "output": 419, "reasoning": 19}
        assert seen.service_tier == "priority"


def test_googles_modalities_add_up_and_thoughts_are_output() -> None:
    seen = with_usage(
        input=0, output=0, total=4088, input_modality_TEXT=3000, cached_modality_TEXT=355, cached_content_token_count=355,
        output_modality_TEXT=221, thoughts_token_count=512,
    )  # fmt: skip
    assert seen.usage == {"input_uncached": 3000, "cache_read": 355, "output": 733, "reasoning": 512}


def test_a_users_own_sums_that_hold_the_cached_tokens_are_told_by_the_total() -> None:
    seen = with_usage(input=3517, output=419, total=3936, cache_read_input_tokens=2304)
    assert seen.usage == {"input_uncached": 1213, "cache_read": 2304, "output": 419}


def test_a_prompt_of_nothing_is_no_usage() -> None:
    """LangChain streams Anthropic's counts in parts, and the last part has the output alone: not the call's price but no usage."""
    seen = with_usage(input=0, output=231, total=231)
    assert (seen.usage, seen.missing_reason) == ({}, "no_usage")
    assert with_usage(output=231).usage == {"output": 231}


def test_embeddings_have_input_alone() -> None:
    seen = sighting(observation("embedding", model__name="text-embedding-3-small", usage_details={"input": 977}))
    assert (seen.kind, seen.operation, seen.usage) == (CALL, "embeddings", {"input_uncached": 977})


def test_what_is_no_count_spoils_the_usage() -> None:
    seen = with_usage(input=-5, output=7)
    assert (seen.usage, seen.missing_reason) == ({}, "bad_usage")


def test_types_say_what_is_a_call() -> None:
    usage = {"input": 7, "output": 9}
    for kind in ("span", "chain", "retriever", "evaluator", "guardrail", "event"):
        assert sighting(observation(kind, usage_details=usage)).kind == OTHER
    assert sighting(observation("tool"), name="get_weather").attribution == {"tool": "get_weather"}
    assert sighting(observation("tool")).kind == TOOL
    helper = sighting(observation("agent"), name="helper")
    assert (helper.kind, helper.attribution) == (AGENT, {"agent": "helper"})
    assert sighting(observation("agent"), name="LangGraph").attribution == {}


def test_a_model_without_an_answer_is_the_one_asked_for() -> None:
    assert sighting(observation(model__name="gpt-4o-mini")).request_model == "gpt-4o-mini"
    chain = observation(model__name="gpt-4o-2024-08-06", metadata__ls_model_name='"gpt-4o"', metadata__ls_provider='"openai"')
    seen = sighting(chain | {f"{OBSERVATION}usage_details": '{"input": 7, "output": 9}'})
    assert (seen.provider, seen.request_model, seen.response_model) == ("openai", "gpt-4o", "gpt-4o-2024-08-06")


def test_parameters_and_the_first_token_tell_tier_and_stream() -> None:
    asked = observation(model__name="gpt-4o", model__parameters={"stream": True, "service_tier": "flex"})
    seen = sighting(asked)
    assert (seen.streaming, seen.service_tier, seen.missing_reason) == (True, "flex", "no_usage_stream")
    assert sighting(observation(completion_start_time='"2026-11-21T20:39:59Z"')).streaming is True


def test_given_costs_are_reported_and_zeros_mean_nothing() -> None:
    total = sighting(observation(model__name="m", cost_details={"input": 0.1, "output": 0.2, "total": 0.25}))
    assert (total.reported_pico, total.reported_source) == (250_000_000_000, "langfuse.observation.cost_details")
    assert sighting(observation(cost_details={"input": 0.1, "output": 0.2})).reported_pico == 300_000_000_000
    assert sighting(observation(cost_details={"input": 0, "output": 0, "total": 0})).reported_pico is None


@pytest.mark.parametrize(("message", "error", "reason"), [
    ("Error: 429 scripted failure", "429", None),
    ("Error code: 500 - {'error': {'message': 'no'}}", "500", None),
    ("Error: Request timed out.", "timeout", "no_usage_timeout"),
    ("Connection error.", "connection", "no_usage"),
    ("the secret of 429 users", "error", None),
])  # fmt: skip
def test_an_error_is_known_by_its_level_and_only_its_sort_is_kept(message: str, error: str, reason: str | None) -> None:
    seen = sighting(observation(model__name="gpt-4o", level="ERROR", status_message=message))
    assert (seen.error_type, seen.missing_reason) == (error, reason)
    failed = observation(model__name="gpt-4o", level="ERROR", status_message=message)
    assert sighting(failed, is_error=True).error_type == error


def test_user_session_and_metadata() -> None:
    metadata = observation(metadata__lc_agent_name='"researcher"', metadata__langgraph_node='"model"', metadata__team='"growth"')
    trace = {"user.id": "user-7", "session.id": "sess-9", "langfuse.trace.name": "nightly", "langfuse.trace.metadata.tenant": "acme"}
    assert sighting(metadata | trace).attribution == {
        "agent": "researcher", "step": "model", "cost_center": "growth", "user": "user-7", "session": "sess-9", "workflow": "nightly",
        "tenant": "acme",
    }  # fmt: skip


def test_a_trace_does_not_say_which_agent_is_at_work() -> None:
    """Every span of a trace carries the outermost agent's name in the trace's metadata."""
    trace = {"langfuse.trace.metadata.lc_agent_name": '"supervisor"'}
    assert sighting(observation() | trace).attribution == {}
    assert sighting(observation(metadata__lc_agent_name='"researcher"') | trace).attribution == {"agent": "researcher"}


def test_user_and_session_alone_make_no_observation() -> None:
    assert sighting({"user.id": "user-7", "langfuse.trace.name": "nightly"}).genai is False
