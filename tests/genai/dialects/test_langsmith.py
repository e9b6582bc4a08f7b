"""LangSmith: the span's kind decides, LangChain's usage object has the details."""

from __future__ import annotations

import json
from typing import Any

from span_making import sighting

from otel_finops.genai.sighting import CALL, OTHER, RANK_FRAMEWORK, TOOL

METADATA = "langsmith.metadata."
SUMS = {"gen_ai.usage.input_tokens": 3517, "gen_ai.usage.output_tokens": 419, "gen_ai.usage.total_tokens": 3936}


def run(kind: str = "llm", **attributes: Any) -> dict[str, Any]:
    base = {"langsmith.span.kind": kind, "gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o"}
    return base | attributes


def test_the_usage_object_has_what_the_attributes_leave_out() -> None:
    usage = {"input_tokens": 3517, "output_tokens": 419, "total_tokens": 3936, "input_token_details": {"audio": 0, "cache_read": 2304}}
    for key in (f"{METADATA}usage_metadata", "langsmith.usage_metadata"):
        seen = sighting(run(**SUMS, **{key: json.dumps(usage)}), scope="langsmith", kind=1)
        assert seen.usage == {"input_uncached": 1213, "cache_read": 2304, "output": 419}
        assert (seen.kind, seen.rank, seen.dialect) == (CALL, RANK_FRAMEWORK, "langsmith")


def test_lifetimes_of_cache_writes_are_inside_of_the_input() -> None:
    details = {"cache_read": 0, "cache_creation": 0, "ephemeral_5m_input_tokens": 3072, "ephemeral_1h_input_tokens": 4111}
    usage = {"input_tokens": 7270, "output_tokens": 223, "total_tokens": 7493, "input_token_details": details}
    seen = sighting(run(**{f"{METADATA}usage_metadata": json.dumps(usage)}))
    assert seen.usage == {"input_uncached": 87, "cache_write_5m": 3072, "cache_write_1h": 4111, "output": 223}


def test_details_by_side_are_literals_in_python_and_json_in_javascript() -> None:
    for inputs, outputs in (("{'cache_read': 2304}", "{'reasoning': 19}"), ('{"cache_read":2304}', '{"reasoning":19}')):
        seen = sighting(run(**SUMS, **{
            "gen_ai.usage.input_token_details": inputs, "gen_ai.usage.output_token_details": outputs, "gen_ai.response.id": "chatcmpl-1",
            "gen_ai.response.model": "gpt-4o-2024-08-06", "gen_ai.response.service_tier": "flex", "langsmith.request.streaming": True,
        }))  # fmt: skip
        assert seen.usage == {"input_uncached": 1213, "cache_read": 2304, "output": 419, "reasoning": 19}
        assert (seen.response_id, seen.service_tier, seen.streaming) == ("chatcmpl-1", "flex", True)


def test_a_tier_is_named_by_the_details() -> None:
    details = {"priority": 1213, "priority_cache_read": 2304}
    usage = {"input_tokens": 3517, "output_tokens": 419, "input_token_details": details}
    seen = sighting(run(**{f"{METADATA}usage_metadata": json.dumps(usage)}))
    assert (seen.usage["cache_read"], seen.usage["input_uncached"], seen.service_tier) == (2304, 1213, "priority")


def test_prompts_parsers_and_chains_are_no_calls_though_they_are_named_chat_or_repeat_usage() -> None:
    prompt = {"langsmith.span.kind": "prompt", "gen_ai.operation.name": "chat", "gen_ai.system": "langchain"}
    assert sighting(prompt).kind == OTHER
    chain = sighting({"langsmith.span.kind": "chain", "gen_ai.operation.name": "chain", "gen_ai.system": "langchain", **SUMS})
    assert (chain.kind, chain.provider, chain.usage) == (OTHER, None, {"input_uncached": 3517, "output": 419})
    assert sighting({"langsmith.span.kind": "parser"}).kind == OTHER


def test_tools_and_embeddings() -> None:
    tool = sighting({"langsmith.span.kind": "tool"}, name="get_weather")
    assert (tool.kind, tool.attribution) == (TOOL, {"tool": "get_weather"})
    assert (sighting(run("embedding")).kind, sighting(run("embedding")).operation) == (CALL, "embeddings")


def test_the_provider_is_not_guessed_from_the_model() -> None:
    seen = sighting(run(**{f"{METADATA}ls_provider": "azure"}))
    assert seen.provider == "azure"
    assert sighting(run(**{f"{METADATA}ls_provider": "google_vertexai"})).provider == "vertex_ai"
    assert sighting(run()).provider == "openai"


def test_a_users_own_cost_is_reported() -> None:
    usage = {"input_tokens": 7, "output_tokens": 9, "total_cost": 0.5}
    seen = sighting(run(**{f"{METADATA}usage_metadata": json.dumps(usage)}))
    assert (seen.reported_pico, seen.reported_source) == (500_000_000_000, "langsmith.metadata.usage_metadata")


def test_metadata_names_agent_step_user_session_and_tenant() -> None:
    said = {
        "lc_agent_name": "researcher",
        "langgraph_node": "model",
        "user_id": "u-7",
        "thread_id": "t-1",
        "tenant": "acme",
        "team": "growth",
    }
    seen = sighting(run(**{METADATA + key: value for key, value in said.items()}))
    assert seen.attribution == {
        "agent": "researcher", "step": "model", "user": "u-7", "session": "t-1", "tenant": "acme", "cost_center": "growth",
    }  # fmt: skip


def test_a_run_that_timed_out_or_was_cut_may_be_billed() -> None:
    late = sighting(run(), exception_type="APITimeoutError", is_error=True)
    assert (late.error_type, late.missing_reason) == ("APITimeoutError", "no_usage_timeout")
    cut = sighting(run(**{"langsmith.request.streaming": True}), exception_type="CancelledError", is_error=True)
    assert (cut.error_type, cut.missing_reason) == ("CancelledError", "no_usage_stream")
    assert sighting(run(), exception_type="RateLimitError", is_error=True).missing_reason is None


def test_a_failed_run_is_known_by_its_exception_whatever_its_status_says() -> None:
    failed = sighting(run(), exception_type="Exception", is_error=False)
    assert (failed.error_type, failed.missing_reason) == ("Exception", None)
    assert sighting(run(**SUMS), exception_type="Exception").error_type is None
