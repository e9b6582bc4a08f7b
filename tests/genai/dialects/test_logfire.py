"""Logfire's instrumentations and Pydantic AI, from their first releases on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from span_making import START_NS, chat, sighting

from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_CLIENT, RANK_FRAMEWORK, TOOL, Sighting

SECOND = 1_000_000_000
ANTHROPIC = {
    "cache_creation": {"ephemeral_1h_input_tokens": 4111, "ephemeral_5m_input_tokens": 3072}, "cache_creation_input_tokens": 7183,
    "cache_read_input_tokens": 0, "input_tokens": 87, "output_tokens": 223, "service_tier": "priority",
}  # fmt: skip
OPENAI = {"completion_tokens": 419, "prompt_tokens": 3517, "total_tokens": 3936, "prompt_tokens_details": {"cached_tokens": 2304}}


def client(vendor: str, attributes: dict[str, Any], **more: Any) -> Sighting:
    texts = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in attributes.items()}
    return sighting({"logfire.span_type": "span"} | texts, scope=f"logfire.{vendor}", **more)


def test_the_providers_object_has_the_cached_tokens() -> None:
    sums = chat(usage__input_tokens=3517, usage__output_tokens=419, response__id="chatcmpl-0000")
    seen = client("openai", sums | {"gen_ai.usage.raw": OPENAI, "operation.cost": 0.0101025})
    assert seen.usage == {"input_uncached": 1213, "cache_read": 2304, "output": 419}
    assert (seen.rank, seen.reported_pico, seen.response_id) == (RANK_CLIENT, 10_102_500_000, "chatcmpl-0000")


@pytest.mark.parametrize("stated", [7270, 87])
@pytest.mark.parametrize("place", ["gen_ai.usage.raw", "response_data"])
def test_anthropics_object_is_believed_whether_or_not_the_sum_has_the_cached_tokens(stated: int, place: str) -> None:
    """For some releases the sum was Anthropic's own count, 87, without the 7183 written to the cache."""
    sums = chat(provider__name="anthropic", usage__input_tokens=stated, usage__output_tokens=223, response__id="msg_0000")
    seen = client("anthropic", sums | {place: ANTHROPIC if place == "gen_ai.usage.raw" else {"usage": ANTHROPIC}})
    assert seen.usage == {"input_uncached": 87, "cache_write_5m": 3072, "cache_write_1h": 4111, "output": 223}
    assert seen.service_tier == "priority"


def test_the_oldest_releases_have_nothing_but_request_and_response() -> None:
    seen = client("openai", {
        "request_data": {"messages": [], "model": "gpt-4o", "service_tier": "flex"}, "response_data": {"message": {}, "usage": OPENAI},
    }, name="Chat Completion with {request_data[model]!r}")  # fmt: skip
    assert (seen.kind, seen.operation, seen.provider, seen.request_model, seen.service_tier) == (CALL, "chat", "openai", "gpt-4o", "flex")
    assert seen.usage == {"input_uncached": 1213, "cache_read": 2304, "output": 419}


def test_usage_spelled_out_in_a_message_is_not_believed() -> None:
    said = {"message": {"content": '{"usage": {"prompt_tokens": 999999}}'}}
    assert client("openai", chat(response__id="c") | {"response_data": said}).usage == {}


def test_a_stream_is_charged_where_it_was_read_and_not_where_it_was_opened() -> None:
    """The first span ends with the first byte; the record behind it is written at the end and began its duration before."""
    opened = client("openai", chat(response__model="gpt-4o") | {"request_data": '{"model":"gpt-4o"}'})
    assert (opened.kind, opened.is_candidate) == (OTHER, False)
    read = client(
        "openai",
        chat(response__model="gpt-4o", usage__input_tokens=3517, usage__output_tokens=419)
        | {"gen_ai.usage.raw": OPENAI, "logfire.span_type": "log", "duration": 2.5},
        name="streaming response from {request_data[model]!r} took {duration:.2f}s",
        end_ns=START_NS,
        kind=1,
    )
    assert (read.kind, read.streaming, read.response_model) == (CALL, True, None)
    assert (read.start_ns, read.end_ns) == (START_NS - 5 * SECOND // 2, START_NS)


def test_a_stream_without_usage_is_one_unpriced_call() -> None:
    read = client("openai", chat() | {"logfire.span_type": "log", "duration": 0.5}, kind=1)
    assert (read.kind, read.missing_reason) == (CALL, "no_usage_stream")


@pytest.mark.parametrize(("attributes", "more"), [
    ({"request_data": '{"model":"gpt-4o","stream":false}'}, {}),
    ({"response_data": {"message": {}}}, {}),
    ({"gen_ai.response.id": "chatcmpl-1"}, {}),
    ({}, {"is_error": True, "exception_type": "openai.APITimeoutError"}),
])  # fmt: skip
def test_spans_of_answers_and_failures_stay_calls(attributes: dict[str, Any], more: dict[str, Any]) -> None:
    assert client("openai", chat() | attributes, **more).kind == CALL


def test_a_failure_costs_nothing_and_a_time_out_is_unpriced() -> None:
    refused = client("openai", chat(), is_error=True, exception_type="openai.RateLimitError")
    late = client("openai", chat(), is_error=True, exception_type="openai.APITimeoutError")
    assert (refused.missing_reason, late.missing_reason) == (None, "no_usage_timeout")


def test_endpoints_that_are_not_billed_by_the_call_are_no_calls() -> None:
    count = {"url": "/v1/messages/count_tokens", "gen_ai.request.model": "claude-sonnet-4-5", "gen_ai.system": "anthropic"}
    assert client("anthropic", count).kind == OTHER
    speech = client("openai", {"url": "/audio/speech", "gen_ai.request.model": "tts-1", "gen_ai.system": "openai"})
    assert (speech.kind, speech.operation) == (CALL, "speech")


def test_all_output_of_the_images_endpoint_is_images() -> None:
    usage = {
        "input_tokens": 50,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": 50},
        "output_tokens": 4160,
        "total_tokens": 4210,
    }
    seen = client("openai", chat(operation__name="image_generation", request__model="gpt-image-1") | {"gen_ai.usage.raw": usage})
    assert seen.usage == {"input_uncached": 50, "output": 4160, "image_out": 4160}


def test_anthropics_client_for_bedrock_is_known_by_its_models() -> None:
    asked = chat(provider__name="anthropic", request__model="us.anthropic.claude-sonnet-4-5-20250929-v1:0", response__id="msg_1")
    assert client("anthropic", asked | {"gen_ai.usage.raw": ANTHROPIC}).provider == "bedrock"


def test_pending_copies_are_no_calls() -> None:
    pending = chat(usage__input_tokens=3, usage__output_tokens=4) | {"logfire.span_type": "pending_span"}
    assert client("openai", pending).kind == OTHER


def pydantic(attributes: dict[str, Any], **more: Any) -> Sighting:
    return sighting(attributes, scope="pydantic-ai", **more)


def details(**counts: int) -> dict[str, Any]:
    return {f"gen_ai.usage.details.{name}": count for name, count in counts.items()}


def test_pydantics_details_say_how_long_cache_writes_live() -> None:
    sums = chat(provider__name="anthropic", usage__input_tokens=7270, usage__output_tokens=223, usage__cache_creation__input_tokens=7183)
    seen = pydantic(
        sums | details(cache_creation_input_tokens=7183, cache_read_input_tokens=0, ephemeral_1h_input_tokens=4111, cache_write_tokens=7183)
    )
    assert seen.usage == {"input_uncached": 87, "cache_write_5m": 3072, "cache_write_1h": 4111, "output": 223}
    assert (seen.rank, seen.dialect) == (RANK_FRAMEWORK, "logfire")


@pytest.mark.parametrize("name", ["cached_tokens", "cache_read_tokens", "cached_content_tokens", "cache_read_input_tokens"])
def test_before_the_conventions_had_a_name_cached_tokens_stood_in_the_details_alone(name: str) -> None:
    seen = pydantic(chat(usage__input_tokens=3517, usage__output_tokens=419) | details(**{name: 2304, "reasoning_tokens": 19}))
    assert seen.usage == {"input_uncached": 1213, "cache_read": 2304, "output": 419, "reasoning": 19}


def test_googles_thoughts_were_outside_of_the_output_once() -> None:
    sums = chat(provider__name="google-gla", request__model="gemini-2.5-pro", usage__input_tokens=3355, usage__output_tokens=221)
    assert pydantic(sums | details(thoughts_tokens=51), scope_version="0.4.0").usage["output"] == 272
    for version in ("0.8.0", "2.68.0", ""):
        assert pydantic(sums | details(thoughts_tokens=51), scope_version=version).usage["output"] == 221


def test_an_agents_run_repeats_its_calls() -> None:
    old = pydantic({"model_name": "gpt-4o", "agent_name": "router", "gen_ai.usage.input_tokens": 7042, "gen_ai.usage.output_tokens": 508})
    assert (old.kind, old.attribution) == (AGENT, {"agent": "router"})
    new = pydantic({"gen_ai.operation.name": "invoke_agent", "agent_name": "router", "gen_ai.aggregated_usage.input_tokens": 7042})
    assert (new.kind, new.usage) == (AGENT, {})


def agents(span_name: str, **attributes: Any) -> Sighting:
    texts = {key.replace("__", "."): json.dumps(value) if isinstance(value, dict) else value for key, value in attributes.items()}
    return sighting({"gen_ai.system": "openai"} | texts, scope="logfire.openai_agents", name=span_name, kind=1)


def test_spans_of_openais_agents() -> None:
    assert agents("Agent run: {name!r}", name="triage").attribution == {"agent": "triage"}
    assert (agents("Agent run: {name!r}").kind, agents("Function: {name}").kind) == (AGENT, TOOL)
    assert agents("Function: {name}", name="get_weather").attribution == {"tool": "get_weather"}
    for name in ("OpenAI Agents trace: {name}", "Handoff: {from_agent} → {to_agent}", "Guardrail {name!r} {triggered=}", "Task: x"):
        assert agents(name, name="x").kind == OTHER


def test_an_agents_response_object_has_id_tier_and_cached_tokens() -> None:
    usage = {"input_tokens": 2555, "input_tokens_details": {"cached_tokens": 1024}, "output_tokens": 911, "total_tokens": 3466}
    seen = agents(
        "Responses API with {gen_ai.request.model!r}", gen_ai__request__model="gpt-5-mini", gen_ai__usage__input_tokens=2555,
        gen_ai__usage__output_tokens=911, response={"id": "resp_1", "service_tier": "flex", "usage": usage},
    )  # fmt: skip
    assert (seen.kind, seen.operation, seen.response_id, seen.service_tier) == (CALL, "chat", "resp_1", "flex")
    assert seen.usage == {"input_uncached": 1531, "cache_read": 1024, "output": 911}


def test_an_agents_chat_completion_has_its_details_in_an_attribute_of_its_own() -> None:
    usage = {"requests": 1, "input_tokens": 3502, "output_tokens": 402, "input_tokens_details": {"cached_tokens": 2304}}
    seen = agents(
        "Chat completion with {gen_ai.request.model!r}", gen_ai__request__model="gpt-4o", gen_ai__usage__input_tokens=3502,
        gen_ai__usage__output_tokens=402, usage=usage,
    )  # fmt: skip
    assert seen.usage == {"input_uncached": 1198, "cache_read": 2304, "output": 402}
    turn = agents("Turn {turn} for agent triage", agent_name="triage", usage=usage)
    assert (turn.kind, turn.usage, turn.attribution) == (OTHER, {}, {"agent": "triage"})


def test_claudes_agents_are_charged_by_their_run() -> None:
    """The counts of their single messages are too low, and are named so that nobody adds them up."""
    message = chat(provider__name="anthropic") | {"gen_ai.usage.partial.input_tokens": 7, "gen_ai.usage.partial.output_tokens": 1}
    assert sighting(message, scope="logfire.claude_agent_sdk").kind == OTHER
    whole = chat(operation__name="invoke_agent", usage__input_tokens=7270, usage__output_tokens=223)
    assert sighting(whole, scope="logfire.claude_agent_sdk").kind == AGENT


def test_spans_that_logfire_merely_exports_keep_their_dialect() -> None:
    assert sighting(chat() | {"logfire.span_type": "span"}, scope="com.anthropic.sdk.python").dialect == "semconv"
    assert sighting({"logfire.msg_template": "hello"}, scope="logfire").genai is False
