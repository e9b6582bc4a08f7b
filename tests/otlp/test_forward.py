"""What a sender hears while the next hop is well, away, or refuses."""

from __future__ import annotations

from collections import deque

import pytest

from otel_finops.base.errors import Unavailable
from otel_finops.otlp.forward import KNOWN_AWAY_S, PROBE_S, REFUSED, InlineForwarder
from otel_finops.otlp.next_hop import Reply
from otel_finops.testing import FakeClock

TAKEN, REFUSES, AWAY = Reply("taken"), Reply("refused", detail="HTTP 400"), Reply("away", detail="HTTP 503")


class Hop:
    """A next hop that answers what it was told, the last answer again and again."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = deque(replies)
        self.seen: list[bytes] = []

    def send(self, body: bytes, timeout_s: float) -> Reply:
        self.seen.append(body)
        return self.replies.popleft() if len(self.replies) > 1 else self.replies[0]

    def close(self) -> None:
        self.seen.append(b"closed")


def forwarder(hop: Hop, clock: FakeClock | None = None, *, required: bool = False) -> InlineForwarder:
    return InlineForwarder(hop, clock or FakeClock(), timeout_s=2, patience_s=30, required=required)


def test_what_the_hop_takes_is_passed() -> None:
    passing = forwarder(hop := Hop(TAKEN))
    assert passing.pass_on(b"one", 512) == ()
    assert hop.seen == [b"one"]
    assert passing.counters.snapshot() == {"passed": 512}
    assert passing.fault is None


def test_a_refusal_for_good_is_partial_success_and_never_tried_again() -> None:
    passing = forwarder(hop := Hop(REFUSES))
    [rejection] = passing.pass_on(b"one", 512)
    assert (rejection.reason, rejection.spans) == (REFUSED, 512)
    assert len(hop.seen) == 1
    assert passing.counters.snapshot() == {"passed": 0, "refused": 512}


def test_spans_that_the_hop_rejected_are_told_to_the_sender() -> None:
    passing = forwarder(Hop(Reply("taken", rejected=3)))
    [rejection] = passing.pass_on(b"one", 512)
    assert rejection.spans == 3
    assert passing.counters.snapshot() == {"passed": 509, "refused": 3}


def test_a_hop_cannot_reject_more_than_it_got() -> None:
    [rejection] = forwarder(Hop(Reply("taken", rejected=10**9))).pass_on(b"one", 2)
    assert rejection.spans == 2


def test_while_we_are_patient_the_sender_repeats_and_nothing_is_skipped() -> None:
    clock = FakeClock()
    passing = forwarder(hop := Hop(AWAY), clock)
    for _ in range(3):
        with pytest.raises(Unavailable):
            passing.pass_on(b"one", 1)
        clock.advance(9)
    hop.replies = deque([TAKEN])
    assert passing.pass_on(b"one", 1) == ()
    assert passing.counters.snapshot() == {"passed": 1}


def test_after_patience_the_ledger_alone_is_enough_until_the_hop_answers() -> None:
    clock = FakeClock()
    passing = forwarder(hop := Hop(AWAY), clock)
    with pytest.raises(Unavailable):
        passing.pass_on(b"one", 1)
    clock.advance(30)
    assert passing.pass_on(b"two", 1) == ()
    assert passing.pass_on(b"three", 1) == ()  # not even tried: one request in PROBE_S is enough
    assert hop.seen == [b"one", b"two"]
    assert passing.counters.snapshot() == {"skipped": 2}
    assert passing.fault == "the next hop has been away for 30 s"

    hop.replies = deque([TAKEN])
    clock.advance(PROBE_S)
    assert passing.pass_on(b"four", 1) == ()
    assert passing.pass_on(b"five", 1) == ()
    assert hop.seen[-2:] == [b"four", b"five"]
    assert passing.counters.snapshot() == {"skipped": 2, "passed": 2}
    assert passing.fault is None


@pytest.mark.parametrize("required", [False, True])
def test_a_hop_that_is_known_to_be_away_holds_one_request_at_a_time(required: bool) -> None:
    """All are refused, so that none is missing later, but only one in PROBE_S waits for the hop's time-out."""
    clock = FakeClock()
    passing = forwarder(hop := Hop(AWAY), clock, required=required)
    with pytest.raises(Unavailable):
        passing.pass_on(b"one", 1)
    clock.advance(KNOWN_AWAY_S)
    for _ in range(9):
        with pytest.raises(Unavailable):
            passing.pass_on(b"again", 1)
        clock.advance(PROBE_S / 4)
    assert hop.seen == [b"one", *[b"again"] * 3]

    hop.replies = deque([TAKEN])
    clock.advance(PROBE_S)
    assert [passing.pass_on(b"again", 1) for _ in range(3)] == [(), (), ()]
    assert passing.counters.snapshot() == {"passed": 3}


def test_patience_begins_anew_with_the_next_failure() -> None:
    clock = FakeClock()
    passing = forwarder(Hop(AWAY, TAKEN, AWAY), clock)
    with pytest.raises(Unavailable):
        passing.pass_on(b"one", 1)
    clock.advance(60)
    assert passing.pass_on(b"one", 1) == ()
    with pytest.raises(Unavailable):
        passing.pass_on(b"two", 1)


def test_a_required_hop_keeps_refusing() -> None:
    clock = FakeClock()
    passing = forwarder(Hop(AWAY), clock, required=True)
    for _ in range(3):
        with pytest.raises(Unavailable):
            passing.pass_on(b"one", 1)
        clock.advance(3_600)
    assert passing.counters.snapshot() == {}
