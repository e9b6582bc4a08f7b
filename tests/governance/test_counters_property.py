"""Counters equal what a recount of the whole ledger gives, after any course of events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from counting_rig import CountingRig
from empty_ledgers import empty_store
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from ledger_rig import SECOND, call, plain

from otel_finops.governance.periods import Period
from otel_finops.store.engine import Store

DAY_S = 86_400
PERIODS = [
    Period.of("daily", "Asia/Kathmandu"),
    Period.of("weekly", "America/New_York", start_day=3),
    Period.of("monthly", "Europe/Berlin"),
    Period.of("rolling_days", "Australia/Lord_Howe", length=7),
    Period.of("rolling_hours", length=5),
]
SCOPES: list[dict[str, str]] = [
    {}, {"tenant": "acme"}, {"agent": "planner"}, {"model": "gpt-4o*", "tenant": "acme"}, {"user": "ann"}, {"tag:team": "a"},
]  # fmt: skip
_names = count(1)

calls = st.tuples(
    st.just("call"),
    st.integers(1, 6),
    st.sampled_from([-400 * DAY_S, -3 * DAY_S, -7200, 0]),
    st.sampled_from([100, 200, 300]),
    st.sampled_from([{}, {"tenant": "acme"}, {"tenant": "acme", "user": "ann"}, {"user": "bob"}]),
    st.sampled_from(["gpt-4o", "gpt-4o-mini", "no-such-model"]),
)
agents = st.tuples(st.just("agent"), st.integers(1, 6), st.sampled_from(["planner", "writer"]))
budgets = st.tuples(st.just("budget"), st.sampled_from(SCOPES), st.sampled_from(PERIODS))
edits = st.tuples(st.just("edit"), st.integers(0, 5), st.sampled_from(SCOPES), st.sampled_from(PERIODS))
deletes = st.tuples(st.just("delete"), st.integers(0, 5))
holds = st.tuples(st.just("hold"), st.integers(1, 3))
releases = st.tuples(st.just("release"), st.integers(1, 3))
fills = st.just(("fill",))
settles = st.just(("settle",))
courses = st.lists(st.one_of(calls, calls, agents, budgets, edits, deletes, holds, releases, fills, settles), min_size=4, max_size=14)


class Course:
    """Does what a course of events says."""

    def __init__(self, store: Store) -> None:
        self.rig = CountingRig(store)
        self.ends = count(1)
        self.held: set[str] = set()

    def do(self, step: tuple[Any, ...]) -> None:
        verb: Callable[..., None] = getattr(self, step[0])
        verb(*step[1:])

    def call(self, trace: int, at_s: int, output: int, said: dict[str, str], model: str) -> None:
        one = call(2, trace=trace, parent=1, at_s=at_s, request_model=model, price_models=(model,), attribution=said, tags={"team": "a"})
        usage = {"input_uncached": 1000, "output": output}
        self.rig.send(one._replace(usage=usage, end_ns=one.end_ns + next(self.ends) * SECOND))

    def agent(self, trace: int, name: str) -> None:
        at = next(self.ends)
        self.rig.send(plain(1, trace=trace, kind="agent", genai=True, attribution={"agent": name}, end_ns=plain(1).end_ns + at * SECOND))

    def budget(self, scope: dict[str, str], period: Period) -> None:
        self.rig.make(f"b{next(_names)}", scope, period=period, hard=True)

    def edit(self, place: int, scope: dict[str, str], period: Period) -> None:
        if standing := list(self.rig.budgets.all()):
            self.rig.edit(standing[place % len(standing)], scope, period=period)

    def delete(self, place: int) -> None:
        if standing := list(self.rig.budgets.all()):
            self.rig.delete(standing[place % len(standing)])

    def hold(self, number: int) -> None:
        if f"r{number}" not in self.held:
            self.held.add(f"r{number}")
            self.rig.hold(f"r{number}", number * 10**9, tenant="acme", agent="planner")

    def release(self, number: int) -> None:
        self.held.discard(f"r{number}")
        self.rig.release(f"r{number}")

    def fill(self) -> None:
        self.rig.filler.run()

    def settle(self) -> None:
        self.rig.settle()


def check(store: Store, course: list[tuple[Any, ...]]) -> None:
    done = Course(store)
    for step in course:
        done.do(step)
    done.settle()
    done.fill()
    assert done.rig.stored() == done.rig.recounted()
    assert done.rig.pending_sums() == {}
    assert done.rig.held_sums() == done.rig.noted_holds()
    twins = [done.rig.make(f"twin of {one.name}", period=one.period).no for one in list(done.rig.budgets.all())[:2]]
    done.fill()
    assert len(twins) <= 2
    assert done.rig.stored() == done.rig.recounted()


@contextmanager
def opened(url: str) -> Iterator[Store]:
    store = empty_store(url)
    try:
        yield store
    finally:
        store.close()


@pytest.fixture
def few_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that ledgers of a dozen rows are large ones."""
    monkeypatch.setattr("otel_finops.governance.budget_fill.BUDGET_FILL_ROWS", 2)


# Shrinking a course takes minutes and says little more than the course itself.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@settings(max_examples=80, deadline=None, suppress_health_check=SLOW, phases=PHASES)
@given(course=courses)
def test_counters_equal_a_recount(course: list[tuple[Any, ...]], tmp_path: Path, few_rows_at_once: None) -> None:
    with opened(f"sqlite:///{tmp_path / f'{next(_names)}.db'}") as store:
        check(store, course)


@pytest.mark.postgres
@settings(max_examples=12, deadline=None, suppress_health_check=SLOW, phases=PHASES)
@given(course=courses)
def test_counters_equal_a_recount_on_postgresql(course: list[tuple[Any, ...]], postgres_database: str, few_rows_at_once: None) -> None:
    with opened(postgres_database) as store:
        check(store, course)


@pytest.mark.long
@settings(max_examples=1500, deadline=None, suppress_health_check=SLOW, phases=PHASES)
@given(course=st.lists(st.one_of(calls, calls, agents, budgets, edits, deletes, holds, releases, fills, settles), min_size=10, max_size=40))
def test_counters_equal_a_recount_after_long_courses(course: list[tuple[Any, ...]], tmp_path: Path, few_rows_at_once: None) -> None:
    with opened(f"sqlite:///{tmp_path / f'{next(_names)}.db'}") as store:
        check(store, course)
