"""Log records as sightings: what each known event says of a call, and the ids that it gets."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from otel_finops.base.protocols import Credential
from otel_finops.base.span import LogRecord
from otel_finops.genai.logs import LogNormaliser
from otel_finops.genai.sighting import CALL, RANK_LOG, Sighting
from otel_finops.otlp.decode import decode_logs
from otel_finops.testing import NOON

TRACE, SPAN = bytes(range(1, 17)), bytes(range(1, 9))
CLAUDE: dict[str, Any] = {
    "event.name": "api_request", "session.id": "s-1", "model": "claude-sonnet-4-5-20250929", "input_tokens": 87, "output_tokens": 223,
    "cache_read_tokens": 0, "cache_creation_tokens": 7183, "cost_usd": 0.039792, "cost_usd_micros": 39792, "duration_ms": 23,
    "speed": "normal",
}  # fmt: skip
CODEX: dict[str, Any] = {
    "event.kind": "response.completed", "input_token_count": "2555", "output_token_count": "911", "cached_token_count": 1024,
    "cache_write_token_count": 0, "reasoning_token_count": 576, "conversation.id": "c-1", "model": "gpt-5-mini",
}  # fmt: skip
GEMINI: dict[str, Any] = {
    "model": "gemini-2.5-pro", "duration_ms": 153, "input_token_count": 3355, "output_token_count": 221,
    "cached_content_token_count": 2048, "thoughts_token_count": 512, "tool_token_count": 0, "total_token_count": 4088,
    "status_code": 200, "http.status_code": 200, "auth_type": "gemini-api-key",
}  # fmt: skip


def seen(
    event: str, attributes: dict[str, Any], *, scope: str = "events", resource: dict[str, Any] | None = None, **ids: Any
) -> Sighting | None:
    record = LogRecord(event, NOON, ids.get("trace_id"), ids.get("span_id"), attributes, resource or {"service.name": "tool"}, scope, "1")
    return LogNormaliser()(record, Credential())


def call(event: str, attributes: dict[str, Any], **more: Any) -> Sighting:
    found = seen(event, attributes, **more)
    assert found is not None
    return found


def hashed(*parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()


def test_claude_codes_request_with_its_own_cost() -> None:
    made = call("claude_code.api_request", CLAUDE)
    assert (made.kind, made.rank, made.dialect, made.provider) == (CALL, RANK_LOG, "claude_code", "anthropic")
    assert (made.response_model, made.usage) == (
        "claude-sonnet-4-5-20250929",
        {"input_uncached": 87, "cache_write_5m": 7183, "output": 223},
    )
    assert (made.reported_pico, made.reported_source) == (39_792_000_000, "cost_usd")
    assert (made.start_ns, made.end_ns) == (NOON - 23_000_000, NOON)


def test_claude_codes_short_names_mean_its_events_in_its_scopes_only() -> None:
    assert call("api_request", CLAUDE, scope="com.anthropic.claude_code.events").name == "claude_code.api_request"
    assert seen("api_request", CLAUDE, scope="shop") is None


def test_millionths_stand_in_for_a_cost_that_is_missing() -> None:
    made = call("claude_code.api_request", {key: value for key, value in CLAUDE.items() if key != "cost_usd"})
    assert (made.reported_pico, made.reported_source) == (39_792_000_000, "cost_usd_micros")
    free = call("claude_code.api_request", CLAUDE | {"cost_usd": 0, "cost_usd_micros": 0})
    assert (free.reported_pico, free.reported_source) == (None, None)


@pytest.mark.parametrize(
    ("event", "said", "error", "missing"),
    [
        ("claude_code.api_error", {"status_code": 529, "error": "overloaded"}, "529", None),
        ("claude_code.api_error", {"status_code": "undefined", "error": "Request timed out"}, "timeout", "no_usage_timeout"),
        ("gemini_cli.api_error", {"status_code": 429, "error.message": "quota", "error.type": "ApiError"}, "ApiError", None),
        ("gemini_cli.api_error", {"error": "fetch failed"}, "connection", "no_usage"),
    ],
)
def test_failed_requests(event: str, said: dict[str, Any], error: str, missing: str | None) -> None:
    made = call(event, {"model": "m", "duration_ms": 10} | said)
    assert (made.usage, made.error_type, made.missing_reason, made.request_model) == ({}, error, missing, "m")


def test_codexs_last_event_of_an_answer_and_no_other() -> None:
    made = call("codex.sse_event", CODEX)
    assert made.usage == {"input_uncached": 1531, "cache_read": 1024, "output": 911, "reasoning": 576}
    assert (made.provider, made.request_model, made.streaming, made.attribution) == ("openai", "gpt-5-mini", True, {"session": "c-1"})
    assert seen("codex.sse_event", CODEX | {"event.kind": "response.created"}) is None
    assert seen("codex.sse_event", {"event.kind": "response.completed", "model": "gpt-5-mini"}) is None
    unreadable = call("codex.sse_event", CODEX | {"output_token_count": "many"})
    assert (unreadable.usage, unreadable.missing_reason) == ({}, "bad_usage")


def test_geminis_thoughts_are_output_and_its_tools_prompts_are_prompt() -> None:
    made = call("gemini_cli.api_response", GEMINI)
    assert made.usage == {"input_uncached": 1307, "cache_read": 2048, "output": 733, "reasoning": 512}
    assert (made.provider, made.operation, made.error_type) == ("gemini", "generate_content", None)
    with_tools = call("gemini_cli.api_response", GEMINI | {"tool_token_count": 40, "total_token_count": 4128})
    assert with_tools.usage["input_uncached"] == 1347
    assert call("gemini_cli.api_response", GEMINI | {"auth_type": "vertex-ai"}).provider == "vertex_ai"


def test_the_conventions_event_counts_where_it_carries_usage() -> None:
    said = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
    assert seen("gen_ai.client.inference.operation.details", said) is None
    made = call("gen_ai.client.inference.operation.details", said | {"gen_ai.usage.input_tokens": 12, "gen_ai.usage.output_tokens": 3})
    assert (made.usage, made.rank, made.dialect) == ({"input_uncached": 12, "output": 3}, RANK_LOG, "semconv")


def test_unknown_events_are_no_calls() -> None:
    assert seen("codex.user_prompt", CODEX) is None


def test_ids_are_hashes_over_instance_event_and_request() -> None:
    """The instance is realm, namespace (none) and name."""
    by_request = call("claude_code.api_request", CLAUDE | {"request_id": "req_1"})
    assert by_request.span_id == hashed("default||tool", "claude_code.api_request", "req_1")[:16]
    assert by_request.trace_id == hashed("default||tool", "s-1")[:32]
    by_counts = call("claude_code.api_request", CLAUDE)
    assert by_counts.span_id == hashed("default||tool", "claude_code.api_request", str(NOON), "87", "223", "0", "7183")[:16]


@pytest.mark.parametrize(
    ("event", "attributes", "parts"),
    [
        ("codex.sse_event", CODEX, ("2555", "911", "1024", "0", "576")),
        ("gemini_cli.api_response", GEMINI, ("3355", "221", "2048", "512")),
        ("claude_code.api_error", {"model": "m"}, ()),
        (
            "gen_ai.client.inference.operation.details",
            {"gen_ai.usage.input_tokens": 12, "gen_ai.usage.output_tokens": 3, "gen_ai.response.id": "a-1"},
            ("12", "3", "a-1"),
        ),
    ],
)
def test_what_is_hashed_never_changes(event: str, attributes: dict[str, Any], parts: tuple[str, ...]) -> None:
    """Otherwise a later program would take a record that is sent again for another call."""
    assert call(event, attributes).span_id == hashed("default||tool", event, str(NOON), *parts)[:16]


def test_the_records_own_trace_and_span_come_first() -> None:
    placed = call("claude_code.api_request", CLAUDE, trace_id=TRACE, span_id=SPAN)
    assert (placed.trace_id, placed.parent_span_id) == (TRACE.hex(), SPAN.hex())
    nowhere = call("claude_code.api_request", CLAUDE, span_id=SPAN)
    assert nowhere.parent_span_id is None


def test_a_call_without_a_session_is_a_trace_of_its_own() -> None:
    made = call("claude_code.api_request", {key: value for key, value in CLAUDE.items() if key != "session.id"})
    assert made.trace_id == hashed("default||tool", made.span_id)[:32]


def test_the_session_may_be_the_resources() -> None:
    made = call("gemini_cli.api_response", GEMINI, resource={"service.name": "tool", "session.id": "r-1"})
    assert made.trace_id == hashed("default||tool", "r-1")[:32]


@pytest.mark.parametrize("duration", ["soon", -1, True, 1e12, None, float("nan")])
def test_a_duration_that_is_none_makes_a_moment(duration: object) -> None:
    made = call("claude_code.api_request", CLAUDE | {"duration_ms": duration})
    assert made.start_ns == made.end_ns == NOON


def test_recorded_events(corpus: Path) -> None:
    """The truth of the case: 87 tokens uncached, 7,183 written to the cache, 223 out; then 91, 7,183 read from it, 241."""
    normaliser = LogNormaliser()
    body = (corpus / "claude-code__tool-run" / "logs-1.binpb").read_bytes()
    batch = decode_logs(body, "protobuf", normaliser.wanted, normaliser.events, NOON)
    calls = [found for record in batch.records if (found := normaliser(record, Credential())) is not None]
    assert (batch.received, batch.ignored) == (4, 2)
    assert [made.usage for made in calls] == [
        {"input_uncached": 87, "cache_write_5m": 7183, "output": 223}, {"input_uncached": 91, "cache_read": 7183, "output": 241},
    ]  # fmt: skip
    assert {made.scope for made in calls} == {"claude_code.api_request of com.anthropic.claude_code.events"}
