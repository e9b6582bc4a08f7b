"""MLflow: every value is JSON."""

from __future__ import annotations

import json
from typing import Any

from span_making import chat, sighting

from otel_finops.genai.sighting import AGENT, CALL, OTHER, TOOL, Sighting

SCOPE = "mlflow.tracing.provider"


def span(kind: str, name: str = "Completions", **values: Any) -> Sighting:
    """A span of MLflow; keys with `__` for dots, every value dumped as MLflow does."""
    attributes = {key.replace("__", "."): json.dumps(value) for key, value in values.items()}
    return sighting({"mlflow.spanType": json.dumps(kind), **attributes}, scope=SCOPE, name=name, kind=1)


def test_counts_include_cached_tokens_for_anthropic_too() -> None:
    """7270 = 87 + 7183, of which 4111 live for an hour."""
    usage = {
        "input_tokens": 7270, "output_tokens": 223, "total_tokens": 7493, "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 7183, "cache_creation_input_tokens_above_1hr": 4111,
    }  # fmt: skip
    seen = span("CHAT_MODEL", mlflow__chat__tokenUsage=usage, mlflow__llm__model="claude-sonnet-4-5", mlflow__llm__provider="anthropic")
    assert (seen.kind, seen.dialect, seen.provider, seen.request_model) == (CALL, "mlflow", "anthropic", "claude-sonnet-4-5")
    assert seen.usage == {"input_uncached": 87, "cache_write_5m": 3072, "cache_write_1h": 4111, "output": 223}
    small = {"input_tokens": 900, "output_tokens": 5, "total_tokens": 905, "cache_read_input_tokens": 100}
    assert span("CHAT_MODEL", mlflow__chat__tokenUsage=small).usage == {"input_uncached": 800, "cache_read": 100, "output": 5}


def test_the_answer_gives_id_model_tier_and_lifetimes() -> None:
    answer = {
        "id": "chatcmpl-1",
        "model": "gpt-4o-2024-08-06",
        "service_tier": "flex",
        "usage": {"prompt_tokens": 9, "completion_tokens": 8},
    }
    seen = span("CHAT_MODEL", model="gpt-4o", mlflow__chat__tokenUsage={"input_tokens": 9, "output_tokens": 8}, mlflow__spanOutputs=answer)
    assert (seen.request_model, seen.response_model) == ("gpt-4o", "gpt-4o-2024-08-06")
    assert (seen.response_id, seen.service_tier, seen.usage) == ("chatcmpl-1", "flex", {"input_uncached": 9, "output": 8})


def test_where_mlflow_knows_of_no_cached_tokens_the_providers_counts_are_better() -> None:
    usage = {"input_tokens": 900, "output_tokens": 5, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 0}
    seen = span("CHAT_MODEL", mlflow__chat__tokenUsage={"input_tokens": 900, "output_tokens": 5}, mlflow__spanOutputs={"usage": usage})
    assert seen.usage == {"input_uncached": 900, "cache_read": 100, "output": 5}


def test_embeddings_have_counts_in_the_answer_alone() -> None:
    answer = {"model": "text-embedding-3-small", "usage": {"prompt_tokens": 1516, "total_tokens": 1516, "completion_tokens": 0}}
    seen = span("EMBEDDING", "Embeddings", mlflow__llm__model="text-embedding-3-small", mlflow__spanOutputs=answer)
    assert (seen.operation, seen.usage) == ("embeddings", {"input_uncached": 1516})


def test_googles_thoughts_are_the_rest_of_the_total() -> None:
    usage = {"input_tokens": 4507, "output_tokens": 430, "total_tokens": 5112, "cache_read_input_tokens": 2688}
    seen = span("LLM", "Models.generate_content", mlflow__llm__provider="gemini", mlflow__chat__tokenUsage=usage)
    assert seen.usage == {"input_uncached": 1819, "cache_read": 2688, "output": 605}


def test_the_beginning_of_a_bedrock_id_is_no_provider() -> None:
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    body = {"id": "msg_1", "model": "claude-sonnet-4-5-20250929", "usage": {"input_tokens": 7, "output_tokens": 9}}
    seen = span(
        "LLM", "BedrockRuntime.invoke_model", mlflow__llm__provider="us", mlflow__llm__model=model, mlflow__spanOutputs={"body": body}
    )
    assert (seen.provider, seen.request_model, seen.response_id) == ("bedrock", model, "msg_1")
    assert seen.price_models[0] == model


def test_a_stream_without_usage_is_one() -> None:
    seen = span("CHAT_MODEL", model="gpt-4o", stream=True, mlflow__spanOutputs={"id": "chatcmpl-1", "usage": None})
    assert (seen.kind, seen.streaming, seen.missing_reason) == (CALL, True, "no_usage_stream")


def test_kinds_and_names() -> None:
    assert span("AGENT", "my_agent").attribution == {"agent": "my_agent"}
    assert (span("AGENT", "Agent.run").kind, span("TOOL", "get_weather").kind, span("CHAIN").kind) == (AGENT, TOOL, OTHER)
    assert span("TOOL", "get_weather").attribution == {"tool": "get_weather"}
    assert span("LLM", "helper").kind == OTHER
    metadata = {"lc_agent_name": "researcher", "langgraph_node": "model", "ls_provider": "openai"}
    assert span("CHAT_MODEL", "ChatOpenAI", metadata=metadata).attribution == {"agent": "researcher", "step": "model"}


def test_an_agents_total_is_kept_for_where_no_call_is_known() -> None:
    seen = span("AGENT", "crew", mlflow__chat__tokenUsage={"input_tokens": 7, "output_tokens": 9})
    assert (seen.kind, seen.usage) == (AGENT, {"input_uncached": 7, "output": 9})


def test_the_senders_cost_and_trace_metadata() -> None:
    seen = span(
        "CHAT_MODEL", model="gpt-4o", mlflow__llm__cost={"input_cost": 0.1, "output_cost": 0.2, "total_cost": 0.3},
        mlflow__trace__user="u-1", mlflow__trace__session="s-1", mlflow__traceTag__tenant="acme",
    )  # fmt: skip
    assert (seen.reported_pico, seen.reported_source) == (300_000_000_000, "mlflow.llm.cost")
    assert seen.attribution == {"user": "u-1", "session": "s-1", "tenant": "acme"}


def test_spans_translated_to_the_conventions_are_read_as_such() -> None:
    model = "us.amazon.nova-pro-v1:0"
    seen = sighting(chat(provider__name="us", request__model=model, usage__input_tokens=7, usage__output_tokens=9), scope=SCOPE)
    assert (seen.dialect, seen.provider, seen.usage) == ("mlflow", "bedrock", {"input_uncached": 7, "output": 9})
