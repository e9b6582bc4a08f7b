"""A thread that looks every now and then, and is not ended by what it finds."""

from __future__ import annotations

import logging
from threading import Event

import pytest

from otel_finops.base.errors import Unavailable
from otel_finops.store.follower import Follower


def test_it_looks_again_and_again_until_it_is_stopped() -> None:
    looks, third = [0], Event()

    def look() -> None:
        looks[0] += 1
        if looks[0] == 3:
            third.set()

    follower = Follower("the weather", look, 0.001)
    follower.start()
    assert third.wait(10)
    follower.stop(10)
    stood_at = looks[0]
    assert not third.clear()
    assert looks[0] == stood_at


def test_troubles_are_told_once_each_and_end_nothing(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = iter([Unavailable("away"), Unavailable("away"), None, Unavailable("away"), KeyError("ours"), KeyError("ours")])
    done = Event()

    def look() -> None:
        outcome = next(outcomes, done)
        if outcome is done:
            done.set()
        elif isinstance(outcome, Exception):
            raise outcome

    follower = Follower("the weather", look, 0.001)
    with caplog.at_level(logging.WARNING):
        follower.start()
        assert done.wait(10)
        follower.stop(10)
    away = ("WARNING", "the weather cannot be looked up, what is known holds on: away")
    ours = ("ERROR", "the weather cannot be taken up, what is known holds on")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [away, away, ours]
    assert caplog.records[-1].exc_info is not None


def test_one_that_was_never_started_can_be_stopped() -> None:
    Follower("the weather", lambda: None, 1).stop(0)
