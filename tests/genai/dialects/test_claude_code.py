"""Claude Code's spans: counts without a prefix, cached tokens outside of the input."""

from __future__ import annotations

from typing import Any

import pytest
from span_making import sighting

from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_VENDOR_SDK, TOOL

SCOPE = "com.anthropic.claude_code.tracing"
REQUEST = {
    "span.type": "llm_request", "session.id": "s-1", "model": "claude-sonnet-4-5", "gen_ai.system": "anthropic",
    "gen_ai.request.model": "claude-sonnet-4-5", "speed": "normal", "input_tokens": 87, "output_tokens": 223, "cache_read_tokens": 0,
    "cache_creation_tokens": 7183, "success": True, "stop_reason": "tool_use",
}  # fmt: skip


def seen(**changes: Any) -> Any:
    return sighting({key: value for key, value in (REQUEST | changes).items() if value is not None}, scope=SCOPE)


def test_a_request_leaves_cached_tokens_out_of_the_input() -> None:
    call = seen()
    assert (call.kind, call.dialect, call.provider, call.operation, call.rank) == (
        CALL,
        "claude_code",
        "anthropic",
        "chat",
        RANK_VENDOR_SDK,
    )
    assert (call.usage, call.usage_rule) == ({"input_uncached": 87, "cache_write_5m": 7183, "output": 223}, "claude_code.exclusive")
    assert (call.request_model, call.response_model, call.attribution) == ("claude-sonnet-4-5", None, {"session": "s-1"})
    small = seen(cache_read_tokens=50, cache_creation_tokens=None)  # less than the input: numbers alone would not tell
    assert small.usage == {"input_uncached": 87, "cache_read": 50, "output": 223}


def test_the_conventions_counts_are_inclusive_where_they_stand_alone() -> None:
    own = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")
    call = seen(
        **dict.fromkeys(own),
        **{"gen_ai.usage.input_tokens": 137, "gen_ai.usage.output_tokens": 9, "gen_ai.usage.cache_read.input_tokens": 50},
    )
    assert call.usage == {"input_uncached": 87, "cache_read": 50, "output": 9}


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("claude-sonnet-4-5-20250929", "anthropic"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "bedrock"),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc", "bedrock"),
        ("claude-sonnet-4-5@20250929", "vertex_ai"),
    ],
)
def test_models_names_tell_who_serves_them(model: str, provider: str) -> None:
    assert seen(model=model, **{"gen_ai.request.model": model}).provider == provider


def test_only_fast_is_a_speed_and_a_requests_id_is_no_answers() -> None:
    assert seen().speed is None
    assert seen(speed="fast").speed == "fast"
    assert seen(**{"gen_ai.response.id": "req_011C"}).response_id is None
    assert seen(**{"gen_ai.response.id": "msg_01A"}).response_id == "msg_01A"


@pytest.mark.parametrize(
    ("said", "error", "missing"),
    [
        ({"status_code": 529, "error": "overloaded"}, "529", None),
        ({"error": "Request timed out."}, "timeout", "no_usage_timeout"),
        ({"error": "Request was aborted."}, "aborted", "no_usage"),
        ({"error": "something with a secret in it"}, "error", None),
    ],
)
def test_a_failed_request_is_told_by_its_status_else_by_one_word(said: dict[str, Any], error: str, missing: str | None) -> None:
    counts = dict.fromkeys(("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens", "stop_reason"))
    call = seen(success=False, **counts, **said)
    assert (call.kind, call.error_type, call.missing_reason) == (CALL, error, missing)


def test_the_spans_around_requests_are_no_calls() -> None:
    assert sighting({"span.type": "interaction", "session.id": "s-1"}, scope=SCOPE).kind == AGENT
    tool = sighting({"span.type": "tool", "tool_name": "Bash", "success": False, "status_code": 500}, scope=SCOPE)
    assert (tool.kind, tool.attribution, tool.error_type) == (TOOL, {"tool": "Bash"}, None)
    assert sighting({"span.type": "tool.execution"}, scope=SCOPE).kind == OTHER
    assert sighting({"span.type": "llm_request", "input_tokens": 7}, scope="my app").dialect is None
