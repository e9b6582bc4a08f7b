"""Mastra: generations, steps and inferences, by generation of the exporter."""

from __future__ import annotations

import json
from typing import Any

import pytest
from span_making import sighting

from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_FRAMEWORK, TOOL, WORKFLOW

BODY = {
    "id": "msg_1", "model": "claude-sonnet-4-5-20250929",
    "usage": {
        "input_tokens": 97, "output_tokens": 347, "cache_creation_input_tokens": 2810, "cache_read_input_tokens": 2111,
        "cache_creation": {"ephemeral_5m_input_tokens": 1801, "ephemeral_1h_input_tokens": 1009},
    },
}  # fmt: skip
ASKED = json.dumps({"modelId": "claude-sonnet-4-5", "modelVersion": "v2", "modelProvider": "anthropic.messages"})
WHOLE = {"input_uncached": 97, "cache_read": 2111, "cache_write_5m": 1801, "cache_write_1h": 1009, "output": 347}


def generation(**counts: int) -> dict[str, Any]:
    said = {"mastra.span.type": "model_generation", "gen_ai.operation.name": "chat", "gen_ai.system": "anthropic.messages"}
    return said | {f"gen_ai.usage.{name.replace('__', '.')}": count for name, count in counts.items()}


@pytest.mark.parametrize("prefix", ["", "mastra.metadata."])
def test_a_step_has_the_providers_answer_unless_it_was_streamed(prefix: str) -> None:
    step = {"mastra.span.type": "model_step", "gen_ai.operation.name": "model_step", f"{prefix}modelMetadata": ASKED}
    seen = sighting(step | {f"{prefix}body": json.dumps(BODY)}, scope="@mastra/otel-exporter")
    assert (seen.kind, seen.usage, seen.response_id, seen.operation) == (CALL, WHOLE, "msg_1", "chat")
    assert (seen.provider, seen.request_model, seen.response_model) == ("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929")
    assert sighting(step).kind == OTHER


def test_the_first_exporter_leaves_anthropics_cached_tokens_out() -> None:
    """60 read from the cache would fit into the 97."""
    counts = generation(input_tokens=97, output_tokens=347, cached_input_tokens=60)
    seen = sighting(counts, scope="@mastra/otel")
    assert (seen.usage, seen.rank) == ({"input_uncached": 97, "cache_read": 60, "output": 347}, RANK_FRAMEWORK)


def test_early_1_x_adds_cache_writes_but_not_reads_to_the_input() -> None:
    """2907 = 97 + 2810 written; 2111 were read."""
    counts = generation(input_tokens=2907, output_tokens=347, cached_input_tokens=2111, cache_write_tokens=2810)
    seen = sighting(counts, scope="@mastra/otel-exporter")
    assert seen.usage == {"input_uncached": 97, "cache_read": 2111, "cache_write_5m": 2810, "output": 347}


def test_an_inference_counts_cached_tokens_in_the_input() -> None:
    inference = {
        "mastra.span.type": "model_inference", "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic.messages",
        "gen_ai.request.model": "claude-sonnet-4-5", "gen_ai.usage.input_tokens": 5018, "gen_ai.usage.output_tokens": 347,
        "gen_ai.usage.cache_read.input_tokens": 2111, "gen_ai.usage.cache_creation.input_tokens": 2810,
        "gen_ai.usage.cache_creation.5m_input_tokens": 1801, "gen_ai.usage.cache_creation.1h_input_tokens": 1009,
        "gen_ai.agent.name": "specialist", "mastra.metadata.userId": "u-7", "mastra.metadata.sessionId": "s-9",
    }  # fmt: skip
    seen = sighting(inference, scope="@mastra/otel-exporter")
    assert (seen.kind, seen.usage) == (CALL, WHOLE)
    assert seen.attribution == {"agent": "specialist", "user": "u-7", "session": "s-9"}


@pytest.mark.parametrize(
    ("span_type", "operation", "kind"),
    [
        ("agent_run", "agent.run", AGENT),
        ("workflow_run", "invoke_workflow", WORKFLOW),
        ("mcp_tool_call", "execute_tool", TOOL),
        ("model_generation", "model_generation", OTHER),
        ("model_inference", "model_inference", OTHER),
        ("model_chunk", "model.chunk", OTHER),
        ("rag_embedding", "embeddings", CALL),
    ],
)
def test_kinds(span_type: str, operation: str, kind: str) -> None:
    """Before inferences are calls they say nothing, and since they are, generations say nothing."""
    assert sighting({"mastra.span.type": span_type, "gen_ai.operation.name": operation}).kind == kind


def test_the_first_exporter_writes_ids_and_metadata_under_bare_names() -> None:
    run = {
        "mastra.span.type": "agent_run",
        "gen_ai.operation.name": "agent.run",
        "gen_ai.agent.id": "router",
        "userId": "u",
        "sessionId": "s",
    }
    assert sighting(run).attribution == {"agent": "router", "user": "u", "session": "s"}
    workflow = {"mastra.span.type": "workflow_run", "gen_ai.operation.name": "workflow.run", "workflow.id": "billing"}
    assert sighting(workflow).attribution == {"workflow": "billing"}


def test_an_inference_that_ended_in_an_error_costs_nothing_though_its_span_is_fine() -> None:
    failed = {"mastra.span.type": "model_inference", "gen_ai.operation.name": "chat", "gen_ai.response.finish_reasons": '["error"]'}
    assert (sighting(failed).error_type, sighting(failed).missing_reason) == ("error", None)
