"""Whatever happens to a pool, in whatever order: its books add up to nothing, a hard one never holds less than nothing, and what it spent
is what stands in the ledger of the calls that it pays."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from credit_rig import ANN, CreditRig
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_rig import SECOND, call

from otel_finops.genai.sighting import OTHER, Sighting
from otel_finops.governance.credit_desk import PoolState
from otel_finops.governance.credits import Pool
from otel_finops.governance.postings import Book, Cause, locked_books
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.standing import fold
from otel_finops.store.engine import Store

UNIT = 10**12
AMOUNTS = st.one_of(st.integers(0, 9), st.integers(UNIT - 2, UNIT + 2), st.integers(0, 5 * UNIT))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("fund"), AMOUNTS),
        st.tuples(st.just("grant"), AMOUNTS, st.integers(1, 60)),
        st.tuples(st.just("debit"), AMOUNTS),
        st.tuples(st.just("refund"), st.integers(0, 100)),
        st.tuples(st.just("hold"), AMOUNTS),
        st.tuples(st.just("release"), st.integers(0, 9)),
        st.tuples(st.just("pass"), st.integers(1, 60)),
        st.tuples(st.just("harden"), st.booleans()),
    ),
    max_size=14,
)
NAMES = count()
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def rig(store: Store) -> CreditRig:
    return CreditRig(store)


def _stepped(rig: CreditRig, pool: Pool, step: tuple[Any, ...], held: list[str], spent: int) -> int:
    """Take one step; how much the pool has spent after it."""
    what, *given_ = step
    now_ns = rig.clock.now_ns()
    if what == "fund":
        rig.desk.fund(pool.no, given_[0], None, ANN)
    elif what == "grant":
        rig.desk.fund(pool.no, given_[0], now_ns + given_[1] * SECOND, ANN)
    elif what in ("debit", "refund"):
        amount = given_[0] if what == "debit" else -(spent * given_[0] // 100)  # no more is given back than was taken
        with rig.store.write() as transaction:
            book = locked_books(transaction, [pool.no])[pool.no]
            book.debit(amount, Cause(now_ns))
            book.save(now_ns)
        return spent + amount
    elif what == "hold":
        name = f"{pool.no}-{len(held)}"
        if rig.hold(name, f"{given_[0] / UNIT:.12f}", agent=pool.name) is None:
            held.append(name)
    elif what == "release":
        rig.release(*held[given_[0] : given_[0] + 1])
    elif what == "pass":
        rig.clock.advance(given_[0])
        rig.desk.expire()
    else:
        rig.desk.update(pool.no, {"hard": given_[0]}, ANN, None)
    return spent


def _checked(rig: CreditRig, pool: Pool, hard: bool, spent: int) -> PoolState:
    state = rig.state(pool)
    assert state.spent == spent
    assert state.balance - state.owed == state.funded + state.adjusted - state.spent - state.expired
    assert (state.balance >= 0 and min(state.balance, state.owed) == 0) if hard else state.owed == 0
    assert state.held >= 0
    return state


@QUICK
@given(steps=STEPS)
def test_the_books_add_up_after_any_course_of_events(rig: CreditRig, steps: list[tuple[Any, ...]]) -> None:
    name = f"pool {next(NAMES)}"
    pool = rig.pool(name, scope={"agent": name})
    held: list[str] = []
    hard, spent = True, 0
    for step in steps:
        spent = _stepped(rig, pool, step, held, spent)
        hard = step[1] if step[0] == "harden" else hard
        _checked(rig, pool, hard, spent)


@QUICK
@given(grants=st.lists(st.tuples(AMOUNTS, st.integers(1, 9)), max_size=4), taken=st.lists(AMOUNTS, max_size=4), more=AMOUNTS)
def test_what_is_given_back_leaves_the_pool_as_if_it_had_not_been_taken(
    rig: CreditRig, grants: list[tuple[int, int]], taken: list[int], more: int
) -> None:
    """Two pools of the same money: from one of them something is taken in between, and given back at the end."""
    books: list[tuple[PoolState, list[int]]] = []
    for extra in (0, more):
        pool = rig.pool(f"pool {next(NAMES)}", scope={"agent": "nobody"})
        for amount, seconds in grants:
            rig.desk.fund(pool.no, amount, rig.clock.now_ns() + (100 + seconds) * SECOND, ANN)
        rig.desk.fund(pool.no, UNIT, None, ANN)
        for amount in (*taken[:2], extra, *taken[2:], -extra):
            _debited(rig, pool, amount)
        left = [one.left for one in rig.desk.grants(pool.no, 2**62, 10)]
        books.append((rig.state(pool)._replace(next_expiry_ns=None), left))
    assert books[0] == books[1]


def _debited(rig: CreditRig, pool: Pool, amount: int) -> None:
    with rig.store.write() as transaction:
        book: Book = locked_books(transaction, [pool.no])[pool.no]
        book.debit(amount, Cause(rig.clock.now_ns()))
        book.save(rig.clock.now_ns())


# --- against the ledger ------------------------------------------------------------------------------------------------

AGENTS = ("planner", "writer", None)
VERSIONS = st.tuples(st.integers(1, 3), st.sampled_from(AGENTS), st.integers(0, 900), st.integers(1, 900), st.booleans())
"""Span, agent, prompt, output, and whether it is a call."""
COURSE = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.lists(VERSIONS, min_size=1, max_size=3)),
        st.tuples(st.just("make"), st.sampled_from(({}, {"agent": "planner"}, {"agent": "writer", "model": "gpt-*"}))),
        st.tuples(st.just("close"), st.integers(0, 3)),
    ),
    min_size=2,
    max_size=10,
)


def _versions(versions: list[tuple[Any, ...]], trace: int, ends: Iterator[int]) -> list[Sighting]:
    made = []
    for span, agent, prompt, output, is_call in versions:
        said = {} if agent is None else {"agent": agent}
        usage = {"input_uncached": prompt, "output": output}
        one = call(span, trace=10 * trace + span, attribution=said, usage=usage, end_ns=call(1).end_ns + next(ends))
        made.append(one if is_call else one._replace(kind=OTHER, usage={}, input_readings=(), usage_source="missing"))
    return made


def _payer(pools: list[Pool], net: Entry) -> int | None:
    """By the rules of the text alone: for the call, open when its charge was booked; most dimensions, then the oldest."""
    fitting = []
    for pool in pools:
        wanted = dict(pool.scope.parts)
        agrees = wanted.get("agent") in (None, net.agent)
        after = net.block_seq > pool.heads[net.shard]
        before = pool.closed_heads is None or net.block_seq <= pool.closed_heads[net.shard]
        if agrees and after and before:
            fitting.append((-len(wanted), pool.no))
    return min(fitting)[1] if fitting else None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(course=COURSE)
def test_what_pools_spent_is_what_stands_of_their_calls(rig: CreditRig, course: list[tuple[Any, ...]]) -> None:
    for pool in [one for one in rig.desk.all() if one.is_open]:
        rig.desk.close(pool.no, ANN)
    mine, trace, ends = list[int](), next(NAMES) + 1, count(1)
    for what, said in course:
        if what == "send":
            rig.settle(*_versions(said, trace, ends))
        elif what == "make":
            mine.append(rig.pool(f"pool {next(NAMES)}", scope=said).no)
        elif said < len(mine):
            pool = rig.desk.find(mine[said], None)
            if pool.is_open:
                rig.desk.close(pool.no, ANN)
    pools = list(rig.desk.all())
    expected = dict.fromkeys((one.no for one in pools), 0)
    for net in fold(rig.entries()).values():
        if net.role == "call" and (payer := _payer(pools, net)) is not None:
            expected[payer] += net.cost_pico or 0
    assert {no: state.spent for no, state in rig.desk.states(pools).items()} == expected
    assert rig.desk.faults(pools) == []
