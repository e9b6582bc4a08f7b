"""The settling thread: it goes on whatever a round does, and says what is wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from otel_finops.base.errors import Unavailable
from otel_finops.ledger import settle_loop
from otel_finops.ledger.settle_loop import SettleLoop
from otel_finops.ledger.shards import SHARDS


def test_one_round_visits_every_shard_and_counts_what_was_settled() -> None:
    told: list[int] = []
    visited: list[int] = []

    def settle_due(shard: int) -> int:
        visited.append(shard)
        return 2 if shard == 3 else 0

    assert SettleLoop(settle_due, told.append).run_once() == 2
    assert (visited, told) == (list(range(SHARDS)), [2])


def test_a_shard_that_fails_does_not_keep_the_others_waiting() -> None:
    def settle_due(shard: int) -> int:
        if shard == 0:
            raise Unavailable("the database is away")
        return 1

    loop = SettleLoop(settle_due, _nothing)
    assert loop.run_once() == SHARDS - 1
    assert loop.fault == "the database is away"


@pytest.mark.parametrize("error", [Unavailable("the database is away"), RuntimeError("a bug")])
def test_a_round_that_fails_is_tried_again_and_told_meanwhile(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(settle_loop, "FAULT_S", 0.01)
    mended = threading.Event()
    rounds: list[int] = []
    faults: list[str | None] = []

    def settle_due(shard: int) -> int:
        rounds.append(shard)
        if len(rounds) <= SHARDS:
            raise error
        faults.append(loop.fault)
        mended.set()
        return 0

    loop = SettleLoop(settle_due, _nothing)
    loop.start()
    assert mended.wait(5)
    assert loop.stop(5)
    assert faults[0] == ("the database is away" if isinstance(error, Unavailable) else "RuntimeError")
    assert loop.fault is None


def test_stopping_waits_for_the_running_round() -> None:
    running, release = threading.Event(), threading.Event()

    def settle_due(shard: int) -> int:
        running.set()
        release.wait(5)
        return 0

    loop = SettleLoop(settle_due, _nothing)
    loop.start()
    assert running.wait(5)
    assert not loop.stop(0.01)
    release.set()
    assert loop.stop(5)


_nothing: Callable[[int], None] = lambda traces: None  # noqa: E731
