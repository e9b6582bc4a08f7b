"""Which traces are looked through for waste where there are more calls than can be read one by one: those with most to lose."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import starmap
from typing import Final, Literal, NamedTuple, TypeAlias

from otel_finops.base.money import PICO_PER_USD
from otel_finops.base.progress import tell
from otel_finops.insight.waste import CACHE_CALLS_MIN, GROWTH_CALLS_MIN, Kind
from otel_finops.ledger.spend import Question, tally
from otel_finops.settings.waste import Waste
from otel_finops.store.unit_of_work import Transaction

Chosen: TypeAlias = Literal["all", "dearest", "newest"]
_TOLD_EVERY: Final = 50_000
_SUMS: Final = "SELECT trace_no, SUM(calls), SUM(cost_usd), SUM(cost_pico) FROM trace_sums WHERE started_ns < ? AND ended_ns >= ?"


class Choice(NamedTuple):
    """What is looked through.

    Attributes:
        chosen: all traces; the dearest ones that are long enough for waste, then the dearest others; or, where no sums by trace are kept,
            the newest.
        trace_nos: of the dearest, ascending; empty of the others.
        calls, cost_pico: of all traces.
    """

    chosen: Chosen
    trace_nos: Sequence[int]
    calls: int
    cost_pico: int


class _Trace(NamedTuple):
    """Ordered by what there is to lose."""

    is_suspect: bool
    pico: int
    trace_no: int
    calls: int


def choose(transaction: Transaction, question: Question, kinds: Collection[Kind], rules: Waste, calls_max: int) -> Choice:
    """Choose among the traces of a time that has two ends.

    Args:
        calls_max: how many calls are read.

    Raises:
        BadInput: the time cuts an hour of which rows were pruned.
    """
    found = tally(transaction, question).get(())
    calls, cost_pico = (0, 0) if found is None else (found.calls, found.cost_pico)
    if calls <= calls_max:
        return Choice("all", (), calls, cost_pico)
    least = least_calls(kinds, rules)
    traces = starmap(lambda trace_no, own, pico: _Trace(own >= least, pico, trace_no, own), _sums(transaction, question))
    numbers = _dearest(traces, calls, calls_max)
    return Choice("newest", (), calls, cost_pico) if numbers is None else Choice("dearest", numbers, calls, cost_pico)


def least_calls(kinds: Collection[Kind], rules: Waste) -> int:
    """Of how many calls a trace has to be for any of these kinds, but oversized models, which show in single calls too."""
    least: Mapping[Kind, int] = {
        "runaway_loop": rules.loop_calls + 1, "repeated_calls": 2, "billed_retries": 2, "growing_context": GROWTH_CALLS_MIN,
        "cache_potential": CACHE_CALLS_MIN,
    }  # fmt: skip
    return min((least[kind] for kind in kinds if kind in least), default=1)


def _sums(transaction: Transaction, question: Question) -> Iterator[tuple[int, int, int]]:
    """Number, calls and cost of traces that have a call in that time; of one that lies across its ends all calls."""
    sql = _SUMS
    values: list[int | str | None] = [question.to_ns, question.from_ns]
    if question.tenants is not None:
        sql += f" AND tenant IN ({', '.join('?' * len(question.tenants)) or 'NULL'})"
        values += sorted(question.tenants)
    for number, (trace_no, calls, usd, pico) in enumerate(transaction.iterate(f"{sql} GROUP BY trace_no ORDER BY trace_no", values), 1):
        if number % _TOLD_EVERY == 0:
            tell("traces", number)
        yield int(trace_no), int(calls), int(usd) * PICO_PER_USD + int(pico)


def _dearest(traces: Iterator[_Trace], expected: int, calls_max: int) -> list[int] | None:
    """The numbers of as many of the first traces in order as have so many calls; None where the sums are not of all calls."""
    kept: list[_Trace] = []
    known = held = 0
    for one in traces:
        known += one.calls
        held += one.calls
        heapq.heappush(kept, one)
        while held > calls_max and len(kept) > 1:
            held -= heapq.heappop(kept).calls
    return sorted(one.trace_no for one in kept) if known >= expected else None
