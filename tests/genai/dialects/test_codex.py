"""Codex: counts on one span, the model on those above it, the turn's sum on the turn."""

from __future__ import annotations

from scenes import decided
from span_making import sighting, span

from otel_finops.genai.sighting import CALL, OTHER, WORKFLOW

SCOPE = "codex_exec"
ANSWER = {
    "gen_ai.usage.input_tokens": 2555, "gen_ai.usage.cache_read.input_tokens": 1024, "gen_ai.usage.cache_write.input_tokens": 0,
    "gen_ai.usage.output_tokens": 911, "codex.usage.reasoning_output_tokens": 576, "codex.usage.total_tokens": 3466,
}  # fmt: skip
TURN = {
    "thread.id": "01a1ffaa-d2a9-7150-bde0-8623f0cdcb50", "turn.id": "t-1", "model": "gpt-5-mini",
    "codex.turn.token_usage.input_tokens": 2555, "codex.turn.token_usage.cached_input_tokens": 1024,
    "codex.turn.token_usage.cache_write_input_tokens": 0, "codex.turn.token_usage.non_cached_input_tokens": 1531,
    "codex.turn.token_usage.output_tokens": 911, "codex.turn.token_usage.reasoning_output_tokens": 576,
    "codex.turn.token_usage.total_tokens": 3466,
}  # fmt: skip
USAGE = {"input_uncached": 1531, "cache_read": 1024, "output": 911, "reasoning": 576}
TURN_ID, STEP_ID, ANSWER_ID = bytes(7) + b"\1", bytes(7) + b"\2", bytes(7) + b"\3"


def test_the_span_of_an_answer_is_the_call() -> None:
    call = sighting(ANSWER, scope=SCOPE)
    assert (call.kind, call.dialect, call.operation, call.provider, call.request_model) == (CALL, "codex", "chat", "openai", None)
    assert call.usage == USAGE


def test_older_answers_have_the_conventions_counts_alone() -> None:
    older = {key: value for key, value in ANSWER.items() if key.startswith("gen_ai.")}
    call = sighting(older, scope="codex_cli_rs")
    assert (call.dialect, call.usage) == ("codex", {"input_uncached": 1531, "cache_read": 1024, "output": 911})


def test_the_turn_has_the_sum_and_its_thread_is_the_session() -> None:
    turn = sighting(TURN, scope=SCOPE)
    assert (turn.kind, turn.usage, turn.attribution) == (WORKFLOW, USAGE, {"session": TURN["thread.id"]})
    assert sighting(TURN | {"thread.id": 4}, scope=SCOPE).attribution == {}  # the operating system's


def test_hundreds_of_other_spans_are_no_genai_spans() -> None:
    for attributes in ({"thread.id": 3}, {"model": "gpt-5-mini"}, {"turn.id": "t-1", "conversation.id": "c"}, {}):
        assert sighting(attributes, scope=SCOPE).dialect is None
    assert sighting({"turn_id": "t-1", "model": "gpt-5-mini"}, scope=SCOPE).kind == OTHER
    assert sighting({"turn_id": "t-1", "model": "gpt-5-mini"}, scope="shop").dialect is None


def test_a_call_takes_the_model_of_the_step_above_it_and_is_not_charged_with_the_turn() -> None:
    turn = sighting(TURN, scope=SCOPE, span_id=TURN_ID)
    step = sighting({"turn_id": "t-1", "model": "gpt-5-mini"}, scope=SCOPE, span_id=STEP_ID, parent_span_id=TURN_ID)
    decisions = decided(turn, step, sighting(ANSWER, scope=SCOPE, span_id=ANSWER_ID, parent_span_id=STEP_ID))
    assert decisions[TURN_ID.hex()][1:] == ("wrapper", (span({}).trace_id.hex(), ANSWER_ID.hex()), "aggregate.calls_known")
    booked = decisions[ANSWER_ID.hex()].sighting
    assert (booked.request_model, booked.attribution["session"]) == ("gpt-5-mini", TURN["thread.id"])
