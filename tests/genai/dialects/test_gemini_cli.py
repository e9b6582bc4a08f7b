"""Gemini CLI's spans: operations of its own, no provider, the output without thoughts."""

from __future__ import annotations

from typing import Any

import pytest
from span_making import sighting

from otel_finops.genai.sighting import AGENT, CALL, OTHER, TOOL

SCOPE = "gemini-cli"
CALLED = {
    "gen_ai.request.model": "gemini-2.5-pro", "gen_ai.conversation.id": "c-1", "gen_ai.operation.name": "llm_call",
    "gen_ai.agent.name": "gemini-cli", "gen_ai.usage.input_tokens": 3355, "gen_ai.usage.output_tokens": 221,
}  # fmt: skip


def test_a_call_has_the_whole_prompt_and_is_served_by_google() -> None:
    call = sighting(CALLED, scope=SCOPE)
    assert (call.kind, call.dialect, call.provider, call.operation) == (CALL, "gemini_cli", "gemini", "generate_content")
    assert (call.usage, call.request_model) == ({"input_uncached": 3355, "output": 221}, "gemini-2.5-pro")
    assert call.attribution == {"agent": "gemini-cli", "session": "c-1"}


def test_a_provider_that_is_named_beats_the_guess() -> None:
    assert sighting(CALLED | {"gen_ai.provider.name": "gcp.vertex_ai"}, scope=SCOPE).provider == "vertex_ai"


@pytest.mark.parametrize(("operation", "kind"), [("tool_call", TOOL), ("agent_call", AGENT), ("user_prompt", OTHER)])
def test_its_other_operations_are_no_calls(operation: str, kind: str) -> None:
    attributes: dict[str, Any] = {"gen_ai.operation.name": operation, "gen_ai.agent.name": "gemini-cli"}
    assert sighting(attributes, scope=SCOPE).kind == kind
    assert sighting(attributes, scope="shop").dialect == "semconv"
