"""T23: one call, written down by emitters that count cached tokens into the input and by emitters that leave them out, costs the same.

The call: 5,000 tokens uncached, 2,000 read from the cache, 1,000 written to it for five minutes, 300 out. The cached part is smaller than
the rest, so that the numbers alone cannot tell how they were counted: who wrote them must be known. Claude Sonnet 4.5 costs 3.00, 0.30,
3.75 and 15.00 USD a million tokens: 0.015 + 0.0006 + 0.00375 + 0.0045 = 0.02385 USD.
"""

from __future__ import annotations

from typing import Any

import pytest
from ledger_rig import PRICES
from span_making import sighting

USAGE = {"input_uncached": 5_000, "cache_read": 2_000, "cache_write_5m": 1_000, "output": 300}
PICO = 23_850_000_000
MODEL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "claude-sonnet-4-5",
    "gen_ai.response.model": "claude-sonnet-4-5-20250929",
}

INCLUSIVE: dict[str, tuple[str, dict[str, Any]]] = {
    "OpenInference": (
        "openinference.instrumentation.anthropic",
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "claude-sonnet-4-5-20250929",
            "llm.provider": "anthropic",
            "llm.token_count.prompt": 8_000,
            "llm.token_count.completion": 300,
            "llm.token_count.total": 8_300,
            "llm.token_count.prompt_details.cache_read": 2_000,
            "llm.token_count.prompt_details.cache_write": 1_000,
        },
    ),
    "Anthropic's SDK": (
        "com.anthropic.sdk.python",
        {
            **MODEL,
            "gen_ai.provider.name": "anthropic",
            "gen_ai.usage.input_tokens": 8_000,
            "gen_ai.usage.cache_read.input_tokens": 2_000,
            "gen_ai.usage.cache_write.input_tokens": 1_000,
            "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 1_000,
            "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 0,
            "gen_ai.usage.output_tokens": 300,
        },
    ),
    "OpenLLMetry": (
        "opentelemetry.instrumentation.anthropic",
        {
            **MODEL,
            "gen_ai.provider.name": "anthropic",
            "gen_ai.is_streaming": False,
            "gen_ai.usage.input_tokens": 8_000,
            "gen_ai.usage.cache_read.input_tokens": 2_000,
            "gen_ai.usage.cache_creation.input_tokens": 1_000,
            "gen_ai.usage.output_tokens": 300,
            "gen_ai.usage.total_tokens": 8_300,
        },
    ),
}
EXCLUSIVE: dict[str, tuple[str, dict[str, Any]]] = {
    "OpenLIT": (
        "openlit.instrumentation.anthropic",
        {
            **MODEL,
            "telemetry.sdk.name": "openlit",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.sdk.version": "0.125.0",
            "gen_ai.request.stream": False,
            "gen_ai.usage.input_tokens": 5_000,
            "gen_ai.usage.cache_read.input_tokens": 2_000,
            "gen_ai.usage.cache_creation.input_tokens": 1_000,
            "gen_ai.usage.output_tokens": 300,
            "gen_ai.client.token.usage": 5_300,
            "gen_ai.usage.cost": 0,
        },
    ),
    "AI SDK 4": (
        "ai",
        {
            "operation.name": "ai.generateText.doGenerate",
            "ai.operationId": "ai.generateText.doGenerate",
            "ai.model.provider": "anthropic.messages",
            "ai.model.id": "claude-sonnet-4-5",
            "gen_ai.system": "anthropic.messages",
            "gen_ai.request.model": "claude-sonnet-4-5",
            "gen_ai.response.model": "claude-sonnet-4-5-20250929",
            "ai.response.model": "claude-sonnet-4-5-20250929",
            "ai.response.finishReason": "stop",
            "ai.response.providerMetadata": '{"anthropic":{"cacheCreationInputTokens":1000,"cacheReadInputTokens":2000}}',
            "ai.usage.promptTokens": 5_000,
            "ai.usage.completionTokens": 300,
            "gen_ai.usage.input_tokens": 5_000,
            "gen_ai.usage.output_tokens": 300,
        },
    ),
    "Claude Code": (
        "com.anthropic.claude_code.tracing",
        {
            "span.type": "llm_request",
            "model": "claude-sonnet-4-5",
            "gen_ai.system": "anthropic",
            "gen_ai.request.model": "claude-sonnet-4-5",
            "input_tokens": 5_000,
            "output_tokens": 300,
            "cache_read_tokens": 2_000,
            "cache_creation_tokens": 1_000,
            "stop_reason": "end_turn",
        },
    ),
    "Langfuse": (
        "langfuse-sdk",
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.model.name": "claude-sonnet-4-5-20250929",
            "langfuse.observation.metadata.ls_provider": '"anthropic"',
            "langfuse.observation.usage_details": '{"input": 5000, "output": 300, "total": 8300, "input_cache_read": 2000, '
            '"input_cache_creation": 1000}',
        },
    ),
}
EMITTERS = INCLUSIVE | EXCLUSIVE


@pytest.mark.parametrize("emitter", EMITTERS)
def test_t23_cached_tokens_cost_the_same_whoever_wrote_them(emitter: str) -> None:
    scope, attributes = EMITTERS[emitter]
    seen = sighting(attributes, scope=scope, name="a model call")
    assert (seen.kind, seen.usage) == ("call", USAGE)
    quote = PRICES.quote(PRICES.priceable(seen))
    assert (quote.cost_pico, quote.price_key) == (PICO, "claude-sonnet-4-5-20250929" if seen.response_model else "claude-sonnet-4-5")


@pytest.mark.parametrize("cached", ["inclusive", "exclusive"])
def test_t23_one_vendors_model_on_bedrock(cached: str) -> None:
    """Botocore's own instrumentation leaves cached tokens out of the input, OpenInference's counts them in.

    The regional profile costs a tenth more: 0.0165 + 0.00066 + 0.004125 + 0.00495 = 0.026235 USD.
    """
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    if cached == "exclusive":
        said = {
            "gen_ai.system": "aws.bedrock",
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": model,
            "gen_ai.usage.input_tokens": 5_000,
            "gen_ai.usage.cache_read.input_tokens": 2_000,
            "gen_ai.usage.cache_creation.input_tokens": 1_000,
            "gen_ai.usage.output_tokens": 300,
        }
        seen = sighting(said, scope="opentelemetry.instrumentation.botocore.bedrock-runtime")
    else:
        said = {
            "openinference.span.kind": "LLM",
            "llm.model_name": model,
            "llm.provider": "aws",
            "llm.token_count.prompt": 8_000,
            "llm.token_count.completion": 300,
            "llm.token_count.prompt_details.cache_read": 2_000,
            "llm.token_count.prompt_details.cache_write": 1_000,
        }
        seen = sighting(said, scope="openinference.instrumentation.bedrock")
    assert (seen.provider, seen.usage) == ("bedrock", USAGE)
    assert PRICES.quote(PRICES.priceable(seen)).cost_pico == 26_235_000_000
