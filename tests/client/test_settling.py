"""Telling what calls came to behind the application's back: nothing waits for it, whatever it is interrupted by."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from otel_finops.client import settling
from otel_finops.client.settling import Came, Settlements


class Desk:
    """Takes what it is told, as soon as it may go on."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any, Any]] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def settle(self, reservation_id: str, actual_usd: str | None = None, tokens: int | None = None) -> bool:
        self.go_on.wait(10)
        self.told.append((reservation_id, actual_usd, tokens))
        return True

    def release(self, reservation_id: str) -> bool:
        self.told.append((reservation_id, "released", None))
        return True


def test_what_has_ended_is_told_in_order() -> None:
    desk = Desk()
    settlements = Settlements(desk)  # type: ignore[arg-type]
    settlements.add("r1", Came("0.01", 5))
    settlements.add("r2", Came(lambda: "0.02"))
    settlements.add("r3", Came(made=False))
    assert settlements.flush(10)
    assert desk.told == [("r1", "0.01", 5), ("r2", "0.02", None), ("r3", "released", None)]


def test_what_is_being_told_is_not_told_yet() -> None:
    desk = Desk()
    desk.go_on.clear()
    settlements = Settlements(desk)  # type: ignore[arg-type]
    settlements.add("r1", Came())
    assert not settlements.flush(0.05)
    desk.go_on.set()
    assert settlements.flush(10)


def test_a_stream_that_is_collected_while_the_thread_starts_keeps_nobody_waiting(monkeypatch: Any) -> None:
    """The collector runs within any step, and what it drops settles at that moment, on that thread."""
    desk = Desk()
    settlements = Settlements(desk)  # type: ignore[arg-type]
    started = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "otel-finops-client-settle" and not settlements.flush(0.0) and len(settlements._waiting) == 1:
            settlements.add("collected", Came())
        started(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    adding = threading.Thread(target=settlements.add, args=("r1", Came()), daemon=True)
    started(adding)
    adding.join(10)
    assert not adding.is_alive()
    assert settlements.flush(10)
    assert [told[0] for told in desk.told] == ["r1", "collected"]


def test_a_fault_within_ends_no_settling(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> str:
        raise LookupError

    desk = Desk()
    settlements = Settlements(desk)  # type: ignore[arg-type]
    settlements.add("r1", Came(fails))
    settlements.add("r2", Came("0.02"))
    assert settlements.flush(10)
    assert [told[0] for told in desk.told] == ["r2"]
    assert caplog.messages == ["A reservation was left to expire."]


def test_too_many_are_left_to_expire(monkeypatch: Any) -> None:
    monkeypatch.setattr(settling, "WAITING_MAX", 3)
    desk = Desk()
    desk.go_on.clear()
    settlements = Settlements(desk)  # type: ignore[arg-type]
    for number in range(5):
        settlements.add(f"r{number}", Came())
    desk.go_on.set()
    assert settlements.flush(10)
    assert [told[0] for told in desk.told] == ["r0", "r1", "r2"]
