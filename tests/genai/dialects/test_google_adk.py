"""Google's ADK: the generations of its spans."""

from __future__ import annotations

import json
from typing import Any

from span_making import sighting

from otel_finops.genai.sighting import AGENT, CALL, OTHER, TOOL

SCOPE = "gcp.vertex.agent"
USAGE = {
    "prompt_token_count": 3517, "cached_content_token_count": 2304, "candidates_token_count": 286, "thoughts_token_count": 133,
    "total_token_count": 3936,
}  # fmt: skip


def call_llm(**attributes: Any) -> dict[str, Any]:
    counts = {"gen_ai.usage.input_tokens": 3517, "gen_ai.usage.output_tokens": 286}
    return {"gen_ai.system": SCOPE, "gen_ai.request.model": "gemini-2.5-flash", **counts, **attributes}


def answer(**usage: int) -> dict[str, str]:
    return {"gcp.vertex.agent.llm_response": json.dumps({"content": {"parts": []}, "usage_metadata": usage})}


def test_thoughts_and_cache_stand_in_the_answers_json() -> None:
    """286 candidates and 133 thoughts: 3936 in all less 3517 of prompt is 419."""
    seen = sighting(call_llm(**answer(**USAGE)), scope=SCOPE, name="call_llm")
    assert (seen.kind, seen.dialect, seen.operation, seen.provider) == (CALL, "google_adk", "generate_content", None)
    assert seen.usage == {"input_uncached": 1213, "cache_read": 2304, "output": 419, "reasoning": 133}


def test_what_a_built_in_tool_read_is_prompt_and_not_output() -> None:
    """A page of 10309 tokens: 27 + 10309 in, 45 + 31 out, 10412 in all."""
    page = {"prompt_token_count": 27, "candidates_token_count": 45, "thoughts_token_count": 31, "total_token_count": 10412}
    seen = sighting(call_llm(**answer(**page, tool_use_prompt_token_count=10309)), scope=SCOPE, name="call_llm")
    assert seen.usage == {"input_uncached": 10336, "output": 76, "reasoning": 31}


def test_models_of_others_count_thoughts_in_the_output_which_the_total_shows() -> None:
    seen = sighting(
        call_llm(**answer(prompt_token_count=100, candidates_token_count=50, thoughts_token_count=20, total_token_count=150)),
        scope=SCOPE, name="call_llm",
    )  # fmt: skip
    assert seen.usage == {"input_uncached": 100, "output": 50, "reasoning": 20}


def test_without_content_the_attributes_stand_and_thoughts_are_added_where_they_are_sent() -> None:
    bare = {"gcp.vertex.agent.llm_response": "{}"}
    assert sighting(call_llm(**bare), scope=SCOPE, name="call_llm").usage == {"input_uncached": 3517, "output": 286}
    thoughts = sighting(call_llm(**bare, **{"gen_ai.usage.experimental.reasoning_tokens": 133}), scope=SCOPE, name="call_llm")
    assert thoughts.usage == {"input_uncached": 3517, "output": 419, "reasoning": 133}


def test_an_agents_span_without_attributes_names_its_agent() -> None:
    seen = sighting({}, scope=SCOPE, name="agent_run [billing]")
    assert (seen.kind, seen.attribution) == (AGENT, {"agent": "billing"})


def test_the_span_below_a_call_that_repeats_it_is_no_call_but_alone_it_is_one() -> None:
    counts = {"gen_ai.operation.name": "generate_content", "gen_ai.request.model": "gemini-2.5-pro", "gen_ai.usage.input_tokens": 7}
    assert sighting(counts | {"gen_ai.system": "gemini"}, scope=SCOPE, name="generate_content gemini-2.5-pro").kind == OTHER
    alone = sighting(counts | {"gen_ai.provider.name": "gcp.gemini"}, scope=SCOPE, name="generate_content gemini-2.5-pro")
    assert (alone.kind, alone.provider) == (CALL, "gemini")


def test_tools_and_sessions() -> None:
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "get_weather", "gcp.vertex.agent.llm_response": "{}"}
    assert sighting(tool, scope=SCOPE).kind == TOOL
    assert sighting(call_llm(**{"gcp.vertex.agent.session_id": "s-1"}), scope=SCOPE, name="call_llm").attribution == {"session": "s-1"}
