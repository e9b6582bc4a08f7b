"""Logs as a second source: spans of a session stand, its log records repeat them; without spans the records are the calls."""

from __future__ import annotations

import random
from typing import Any

import pytest
from scenes import TRACE, agent, call, charged, decided, span

from otel_finops.genai.roles import decide
from otel_finops.genai.sighting import RANK_LOG, WORKFLOW, Sighting
from otel_finops.trees.notes import RULES as EXPLAINED

LOGS = "d" * 32
"""The trace of records that have none."""
SESSION: dict[str, Any] = {"attribution": {"session": "s"}}


def seen(name: str, parent: str | None = None, tokens: tuple[int, int] | None = (100, 10), **facts: Any) -> Sighting:
    """A span of a call in the session."""
    return call(name, parent, tokens, **{**SESSION, **facts})


def log(name: str, parent: str | None = None, tokens: tuple[int, int] | None = (100, 10), **facts: Any) -> Sighting:
    """A log record of a call in the session."""
    return call(name, parent, tokens, **{"rank": RANK_LOG, "scope": "answer of events", "trace": LOGS, **SESSION, **facts})


def test_without_spans_the_records_are_the_calls() -> None:
    decisions = decided(log("a"), log("b", at=5, to=6))
    assert charged(decisions) == ["a", "b"]


def test_a_record_repeats_the_span_with_its_numbers_and_fills_its_gaps() -> None:
    decisions = decided(
        seen("a"), log("la", response_model="gpt-4o-2024-08-06", reported_pico=7, reported_source="cost_usd"),
    )  # fmt: skip
    assert decisions["la"][1:] == ("duplicate", (TRACE, "a"), "log.repeats_span")
    booked = decisions["a"].sighting
    assert (booked.response_model, booked.reported_pico, booked.reported_source) == ("gpt-4o-2024-08-06", 7, "cost_usd")


def test_a_record_may_know_cached_tokens_and_thoughts_that_the_span_lost() -> None:
    """The span counts 3,355 tokens in and 221 out; 2,048 of them were cached, and 512 thoughts make 733 out."""
    known = {"input_uncached": 1307, "cache_read": 2048, "output": 733, "reasoning": 512}
    decisions = decided(seen("a", tokens=(3355, 221)), log("la", usage=known, input_readings=(3355, 5403)))
    assert charged(decisions) == ["a"]
    assert decisions["a"].sighting.usage == known


def test_a_record_that_no_span_explains_is_a_duplicate_all_the_same() -> None:
    decisions = decided(seen("a"), log("la"), log("lb", tokens=(50, 5), at=60, to=61))
    assert charged(decisions) == ["a"]
    assert decisions["lb"][1:] == ("duplicate", None, "log.spans_known")


@pytest.mark.parametrize("other", [{"attribution": {"session": "another"}}, {"instance": "another process"}, {"attribution": {}}])
def test_another_sessions_or_instances_spans_say_nothing_of_it(other: dict[str, Any]) -> None:
    decisions = decided(seen("a", **other), log("l", at=60, to=61))
    assert charged(decisions) == ["a", "l"]


def test_records_and_spans_without_a_session_meet_in_their_trace() -> None:
    nobody: dict[str, Any] = {"attribution": {}}
    decisions = decided(seen("a", **nobody), log("l", "a", trace=TRACE, **nobody), log("m", trace=TRACE, at=60, to=61, **nobody))
    assert charged(decisions) == ["a"]
    assert (decisions["l"].counted_in, decisions["m"].counted_in) == ((TRACE, "a"), None)


def test_the_session_may_be_an_ancestors_or_the_resources() -> None:
    above = span("turn", **SESSION)
    assert charged(decided(above, call("a", "turn"), log("l", tokens=(1, 1), at=60, to=61))) == ["a"]
    assert charged(decided(call("a", defaults={"session": "s"}), log("l", tokens=(1, 1), at=60, to=61))) == ["a"]


def test_spans_without_usage_leave_the_records_to_be_the_calls() -> None:
    """The record is written within the span of the call, so that both are one call, at the span's place with the record's numbers."""
    decisions = decided(seen("a", tokens=None, missing_reason="no_usage"), log("l", "a", trace=TRACE))
    assert charged(decisions) == ["a"]
    assert (decisions["a"].sighting.usage, decisions["l"].counted_in) == ({"input_uncached": 100, "output": 10}, (TRACE, "a"))
    apart = decided(agent("other", **SESSION), log("l"), log("m", at=9, to=10))
    assert charged(apart) == ["l", "m"]


def test_two_events_of_one_call_are_one_call() -> None:
    """One event knows the thoughts, the other does not; neither has a span."""
    known = {"input_uncached": 1307, "cache_read": 2048, "output": 733, "reasoning": 512}
    both = [
        log("full", usage=known, input_readings=(3355, 5403)),
        log("bare", tokens=(3355, 221), scope="details of events", at=1.001, to=1.001),
    ]
    decisions = decided(*both)
    assert (charged(decisions), decisions["bare"].counted_in) == (["full"], (LOGS, "full"))
    decisions = decided(*both, seen("a", tokens=(3355, 221)))
    assert (charged(decisions), decisions["full"].counted_in, decisions["bare"].counted_in) == (["a"], (TRACE, "a"), (TRACE, "a"))


def test_equal_parallel_calls_meet_their_records_one_to_one() -> None:
    spans = [seen(f"s{i}", at=i / 10, to=1 + i / 10) for i in range(3)]
    records = [log(f"l{i}", at=i / 10, to=1 + i / 10) for i in range(3)]
    decisions = decided(*spans, *records)
    assert {f"l{i}": decisions[f"l{i}"].counted_in for i in range(3)} == {f"l{i}": (TRACE, f"s{i}") for i in range(3)}
    assert charged(decided(*records)) == ["l0", "l1", "l2"]


def test_a_failures_record_repeats_the_failed_span() -> None:
    failed: dict[str, Any] = {"tokens": None, "error_type": "529", "at": 3, "to": 4}
    decisions = decided(seen("a"), seen("f", **failed), log("la"), log("lf", **failed, scope="error of events"))
    assert charged(decisions) == ["a", "f"]
    assert decisions["lf"].counted_in == (TRACE, "f")


def test_records_make_a_sessions_sums_wrappers() -> None:
    """A turn that reports the sum of two calls, which only log records show, in a trace of their own."""
    turn = span("turn", kind=WORKFLOW, genai=True, usage={"input_uncached": 300, "output": 30}, usage_source="reported", **SESSION)
    decisions = decided(turn, log("a", tokens=(100, 10)), log("b", tokens=(200, 20), at=5, to=6))
    assert (charged(decisions), decisions["turn"].role) == (["a", "b"], "wrapper")
    assert charged(decided(turn)) == ["turn"]


def test_a_record_never_stands_where_a_span_can() -> None:
    """The record starts earlier and lies under the agent; the span, in a trace of its own, stands."""
    decisions = decided(agent("helper", trace=LOGS), log("l", "helper"), seen("a", at=0.5, to=0.9))
    assert charged(decisions) == ["a"]
    assert decisions["a"].sighting.attribution["agent"] == "helper"


def test_the_order_says_nothing_and_every_rule_is_explained() -> None:
    sightings = [
        seen("a"), seen("b", at=2, to=3), log("la"), log("lb", at=2, to=3), log("lc", tokens=(7, 7)),
        log("x", attribution={"session": "other"}, trace=TRACE, tokens=(9, 9)),
    ]  # fmt: skip
    expected = decide(sightings)
    shuffled = list(sightings)
    for seed in range(20):
        random.Random(seed).shuffle(shuffled)
        assert decide(shuffled) == expected
    assert {decision.rule for decision in expected} <= EXPLAINED.keys()
