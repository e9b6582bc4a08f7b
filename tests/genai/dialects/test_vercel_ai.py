"""The AI SDK: outer spans repeat inner ones, and what the input holds depends on provider and version."""

from __future__ import annotations

import json
from typing import Any

import pytest
from span_making import sighting

from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_FRAMEWORK, TOOL


def inner(operation: str = "ai.generateText.doGenerate", provider: str = "openai.chat", **attributes: Any) -> dict[str, Any]:
    named = {"ai.operationId": operation, "ai.model.provider": provider, "gen_ai.system": provider, "ai.model.id": "gpt-4o"}
    return named | {key.replace("__", "."): value for key, value in attributes.items()}


def metadata(**sections: Any) -> dict[str, str]:
    return {"ai.response.providerMetadata": json.dumps(sections)}


OLD = {"ai.usage.promptTokens": 97, "ai.usage.completionTokens": 347, "gen_ai.usage.input_tokens": 97, "gen_ai.usage.output_tokens": 347}
RAW = {
    "input_tokens": 97, "output_tokens": 347, "cache_creation_input_tokens": 2810, "cache_read_input_tokens": 2111,
    "cache_creation": {"ephemeral_5m_input_tokens": 1801, "ephemeral_1h_input_tokens": 1009}, "service_tier": "standard",
}  # fmt: skip
WHOLE = {"input_uncached": 97, "cache_read": 2111, "cache_write_5m": 1801, "cache_write_1h": 1009, "output": 347}


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("ai.generateText", AGENT),
        ("ai.streamObject", AGENT),
        ("ai.embedMany", OTHER),
        ("ai.toolCall", TOOL),
        ("ai.streamText.doStream", CALL),
        ("ai.embed.doEmbed", CALL),
        ("ai.transcribe", CALL),
    ],
)
def test_only_inner_spans_and_media_are_calls(operation: str, kind: str) -> None:
    seen = sighting(inner(operation, **{"ai.telemetry.functionId": "weather-fn"}), scope="ai")
    assert (seen.kind, seen.attribution["agent"], seen.rank) == (kind, "weather-fn", RANK_FRAMEWORK)


def test_an_outer_span_without_a_name_is_no_agent() -> None:
    assert sighting(inner("ai.generateText")).kind == OTHER


def test_version_4_keeps_openais_cached_tokens_in_the_json_alone() -> None:
    counts = {"ai.usage.promptTokens": 2555, "ai.usage.completionTokens": 911}
    seen = sighting(inner(**counts, **metadata(openai={"reasoningTokens": 640, "cachedPromptTokens": 1024})))
    assert seen.usage == {"input_uncached": 1531, "cache_read": 1024, "output": 911, "reasoning": 640}
    assert (seen.provider, seen.operation, seen.streaming) == ("openai", "chat", False)


def test_version_4_leaves_anthropics_cached_tokens_out_of_the_input() -> None:
    """97 are uncached although the 60 read from the cache would fit into them."""
    seen = sighting(inner(provider="anthropic.messages", **OLD, **metadata(anthropic={"cacheReadInputTokens": 60})))
    assert (seen.usage, seen.usage_rule) == ({"input_uncached": 97, "cache_read": 60, "output": 347}, "vercel_ai.exclusive")


def test_version_5_has_anthropics_own_usage_with_lifetimes() -> None:
    assert sighting(inner(provider="anthropic.messages", **OLD, **metadata(anthropic={"usage": RAW}))).usage == WHOLE


def test_version_6_says_what_was_not_cached() -> None:
    counts = {
        "ai.usage.inputTokens": 5018, "ai.usage.inputTokenDetails.noCacheTokens": 97, "ai.usage.inputTokenDetails.cacheReadTokens": 2111,
        "ai.usage.inputTokenDetails.cacheWriteTokens": 2810, "ai.usage.outputTokens": 347, "ai.usage.totalTokens": 5365,
    }  # fmt: skip
    seen = sighting(inner(provider="anthropic.messages", **counts))
    assert (seen.usage, seen.usage_rule) == (
        {"input_uncached": 97, "cache_read": 2111, "cache_write_5m": 2810, "output": 347},
        "vercel_ai.uncached",
    )
    assert sighting(inner(provider="anthropic.messages", **counts, **metadata(anthropic={"usage": RAW}))).usage == WHOLE


@pytest.mark.parametrize(("agent", "uncached"), [("ai/5.0.277", 5018), ("ai-sdk-agent/tool-loop ai/6.0.326", 2907)])
def test_without_details_the_version_tells_whether_bedrocks_input_holds_the_cache(agent: str, uncached: int) -> None:
    counts = {"ai.usage.inputTokens": 5018, "ai.usage.cachedInputTokens": 2111, "ai.usage.outputTokens": 347}
    seen = sighting(inner(provider="amazon-bedrock", **counts, **{"ai.request.headers.user-agent": agent}))
    assert (seen.provider, seen.usage["input_uncached"]) == ("bedrock", uncached)


def test_gemini_thinks_beside_the_output_until_version_5() -> None:
    """221 + 512; version 6 adds them itself and must not get them twice."""
    usage = {"promptTokenCount": 3355, "candidatesTokenCount": 221, "thoughtsTokenCount": 512, "totalTokenCount": 4088}
    for output in (221, 733):
        counts = {"ai.usage.promptTokens": 3355, "ai.usage.completionTokens": output}
        seen = sighting(inner(provider="google.generative-ai", **counts, **metadata(google={"usageMetadata": usage})))
        assert (seen.provider, seen.usage) == ("gemini", {"input_uncached": 3355, "output": 733, "reasoning": 512})


def test_a_raw_usage_that_is_only_one_of_several_requests_fills_gaps_alone() -> None:
    """The SDK summed two requests of one call; the provider's object is the last one's."""
    counts = {"ai.usage.inputTokens": 200, "ai.usage.outputTokens": 700}
    seen = sighting(
        inner(provider="anthropic.messages", **counts, **metadata(anthropic={"usage": {"input_tokens": 97, "output_tokens": 347}}))
    )
    assert seen.usage == {"input_uncached": 200, "output": 700}


def test_made_up_answer_ids_join_nothing() -> None:
    assert sighting(inner(**{"ai.response.id": "aitxt-9hQuuNohU3z85eyBHP8p36oJ"})).response_id is None
    assert sighting(inner(**{"ai.response.id": "chatcmpl-7"})).response_id == "chatcmpl-7"


def test_what_javascript_could_not_sum_up_is_missing_and_not_bad() -> None:
    counts = {"ai.usage.promptTokens": float("nan"), "ai.usage.completionTokens": float("nan")}
    seen = sighting(inner("ai.streamText.doStream", **counts))
    assert (seen.usage, seen.missing_reason) == ({}, "no_usage_stream")


def test_the_gateway_and_resellers_say_what_they_charged() -> None:
    seen = sighting(inner(provider="gateway", **metadata(gateway={"cost": "0.0012"})))
    assert (seen.provider, seen.reported_pico) == ("vercel_ai_gateway", 1_200_000_000)
    said = metadata(
        openrouter={"usage": {"cost": 0.002, "promptTokens": 7, "completionTokens": 9, "promptTokensDetails": {"cachedTokens": 5}}}
    )
    seen = sighting(inner(provider="openrouter.chat", **said))
    assert (seen.provider, seen.usage, seen.reported_pico) == (
        "openrouter",
        {"input_uncached": 2, "cache_read": 5, "output": 9},
        2_000_000_000,
    )


def test_what_perplexity_and_xai_charged_stands_in_their_own_units() -> None:
    """60,000,000 ticks of 1e-10 USD are 0.006 USD."""
    seen = sighting(inner(provider="perplexity", **metadata(perplexity={"cost": {"requestCost": 0.005, "totalCost": 0.006}})))
    assert (seen.provider, seen.reported_pico, seen.reported_source) == ("perplexity", 6_000_000_000, "usage.cost.total_cost")
    seen = sighting(inner(provider="xai.responses", **metadata(xai={"costInUsdTicks": 60_000_000})))
    assert (seen.provider, seen.reported_pico, seen.reported_source) == ("xai", 6_000_000_000, "usage.cost_in_usd_ticks")


def test_the_tier_served_stands_in_the_json() -> None:
    assert sighting(inner(**metadata(openai={"responseId": "resp_1", "serviceTier": "flex"}))).service_tier == "flex"


def test_embeddings_count_tokens_under_a_name_of_their_own() -> None:
    seen = sighting(inner("ai.embed.doEmbed", "openai.embedding", **{"ai.usage.tokens": 251}))
    assert (seen.usage, seen.operation) == ({"input_uncached": 251}, "embeddings")


def test_the_applications_own_metadata_names_user_session_and_tenant() -> None:
    said = {"ai.telemetry.metadata.userId": "u-7", "ai.telemetry.metadata.sessionId": "s-9", "ai.telemetry.metadata.tenant": "acme"}
    assert sighting(inner(**said)).attribution == {"user": "u-7", "session": "s-9", "tenant": "acme"}
    assert sighting(inner(**{"ai.settings.context.userId": "u-7"})).attribution == {"user": "u-7"}


def test_keys_of_other_dialects_on_the_same_span_are_not_added() -> None:
    both = inner(**OLD, **{"openinference.span.kind": "LLM", "llm.token_count.prompt": 97, "llm.token_count.completion": 347})
    assert (sighting(both).dialect, sighting(both).usage) == ("vercel_ai", {"input_uncached": 97, "output": 347})


def test_the_conventions_spans_of_version_7() -> None:
    attributes = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-sonnet-4-5",
        "gen_ai.usage.input_tokens": 5018, "gen_ai.usage.output_tokens": 347, "gen_ai.usage.cache_read.input_tokens": 2111,
        "gen_ai.usage.cache_creation.input_tokens": 2810, "gen_ai.client.operation.time_to_first_chunk": 0.05,
    }  # fmt: skip
    seen = sighting(attributes, scope="gen_ai")
    assert (seen.dialect, seen.kind, seen.streaming, seen.rank) == ("vercel_ai", CALL, True, RANK_FRAMEWORK)
    assert seen.usage == {"input_uncached": 97, "cache_read": 2111, "cache_write_5m": 2810, "output": 347}
    speech = sighting({"gen_ai.operation.name": "ai.generateSpeech", "gen_ai.request.model": "tts-1"}, scope="gen_ai")
    assert (speech.kind, speech.operation, speech.missing_reason) == (CALL, "speech", "no_usage")
    assert sighting({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "weather-fn"}, scope="gen_ai").kind == AGENT


def test_spans_that_openllmetrys_processor_went_over() -> None:
    """It took the provider's JSON off the span, and wrote the conventions' name for what was written to the cache."""
    counts = {"ai.usage.inputTokens": 97, "ai.usage.cachedInputTokens": 2111, "ai.usage.outputTokens": 347}
    more = {"gen_ai.usage.cache_creation.input_tokens": 2810, "traceloop.association.properties.userId": "u-7"}
    seen = sighting(inner(provider="anthropic.messages", **counts, **more))
    assert (seen.dialect, seen.usage) == ("vercel_ai", {"input_uncached": 97, "cache_read": 2111, "cache_write_5m": 2810, "output": 347})
    assert seen.attribution == {"user": "u-7"}
