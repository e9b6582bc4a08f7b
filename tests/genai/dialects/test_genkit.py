"""Genkit: the usage stands only in the answer's JSON, and the provider's own object knows most."""

from __future__ import annotations

import json
from typing import Any

import pytest
from span_making import sighting

from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_FRAMEWORK, TOOL, WORKFLOW

GEMINI = "googleai/gemini-2.5-pro"


def action(subtype: str, name: str, output: Any = None, **attributes: Any) -> dict[str, Any]:
    said = {"genkit:type": "action", "genkit:metadata:subtype": subtype, "genkit:name": name, "genkit:state": "success"}
    return said | ({} if output is None else {"genkit:output": json.dumps(output)}) | attributes


def test_googles_own_answer_has_cache_and_thoughts() -> None:
    """3355 with 2048 of them cached; 221 beside 512 thoughts."""
    raw = {
        "usageMetadata": {
            "promptTokenCount": 3355, "candidatesTokenCount": 221, "totalTokenCount": 4088, "cachedContentTokenCount": 2048,
            "thoughtsTokenCount": 512,
        },
        "modelVersion": "gemini-2.5-pro", "responseId": "gem-0",
    }  # fmt: skip
    answer = {"custom": raw, "usage": {"inputTokens": 3355, "outputTokens": 221, "thoughtsTokens": 512, "totalTokens": 4088}}
    seen = sighting(action("model", GEMINI, answer), scope="genkit-tracer")
    assert seen.usage == {"input_uncached": 1307, "cache_read": 2048, "output": 733, "reasoning": 512}
    assert (seen.provider, seen.request_model, seen.response_model, seen.response_id) == (
        "gemini",
        "gemini-2.5-pro",
        "gemini-2.5-pro",
        "gem-0",
    )
    assert (seen.kind, seen.operation, seen.rank, seen.dialect) == (CALL, "chat", RANK_FRAMEWORK, "genkit")


def test_openais_answer_stands_under_another_name() -> None:
    usage = {"prompt_tokens": 3517, "completion_tokens": 419, "prompt_tokens_details": {"cached_tokens": 2304}}
    raw = {"id": "chatcmpl-2", "model": "gpt-4o-2024-08-06", "service_tier": "flex", "usage": usage}
    seen = sighting(action("model", "openai/gpt-4o", {"raw": raw, "usage": {"inputTokens": 3517, "outputTokens": 419}}))
    assert seen.usage == {"input_uncached": 1213, "cache_read": 2304, "output": 419}
    assert (seen.provider, seen.price_models, seen.service_tier) == ("openai", ("gpt-4o-2024-08-06", "gpt-4o"), "flex")


def test_genkits_own_usage_where_the_provider_says_nothing() -> None:
    answer = {"custom": {}, "usage": {"inputTokens": 853, "outputTokens": 66, "thoughtsTokens": 101, "totalTokens": 1020}}
    assert sighting(action("model", GEMINI, answer)).usage == {"input_uncached": 853, "output": 167, "reasoning": 101}


def test_custom_counts_of_a_plugin_are_read_beside_the_usual_ones() -> None:
    usage = {"inputTokens": 97, "outputTokens": 347, "custom": {"cache_read_input_tokens": 60, "cache_creation_input_tokens": 30}}
    seen = sighting(action("model", "anthropic/claude-sonnet-4-5", {"usage": usage}))
    assert seen.usage == {"input_uncached": 97, "cache_read": 60, "cache_write_5m": 30, "output": 347}


@pytest.mark.parametrize(
    ("subtype", "kind", "said"),
    [
        ("flow", WORKFLOW, {"workflow": "x"}),
        ("tool", TOOL, {"tool": "x"}),
        ("agent", AGENT, {"agent": "x"}),
        ("retriever", OTHER, {}),
        ("embedder", CALL, {}),
    ],
)
def test_kinds(subtype: str, kind: str, said: dict[str, str]) -> None:
    seen = sighting(action(subtype, "x"))
    assert (seen.kind, seen.attribution) == (kind, said)


def test_generate_spans_repeat_an_answer_and_are_no_calls() -> None:
    answer = {"usage": {"inputTokens": 853, "outputTokens": 66}}
    seen = sighting({"genkit:type": "util", "genkit:name": "generate", "genkit:output": json.dumps(answer)})
    assert (seen.kind, seen.usage) == (OTHER, {})


def test_a_failed_model_costs_nothing() -> None:
    seen = sighting(action("model", GEMINI, **{"genkit:state": "error"}), is_error=True, exception_type="GenkitError")
    assert (seen.kind, seen.error_type, seen.missing_reason) == (CALL, "GenkitError", None)


def test_an_answer_without_usage_is_unpriced() -> None:
    assert sighting(action("model", "ollama/llama3", {"message": {}})).missing_reason == "no_usage"
