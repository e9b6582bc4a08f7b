"""Calls of the past in the order in which they were asked for: those that stand in the ledger, and those that were asked for and stopped.

A call that a decision let through is asked for when that decision was made, at its estimate; any other one when it began, at what it came
to. What decisions stopped was never made, and stands in no ledger.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any, Final, NamedTuple

from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_SECOND
from otel_finops.genai.usage import total_tokens
from otel_finops.governance.calls import GovernedCall, call_of_entry
from otel_finops.governance.decisions import halted_between, made_by_ids
from otel_finops.ledger.entry import ROLE_CALL, Entry
from otel_finops.ledger.rows import entries_of_traces
from otel_finops.ledger.standing import fold
from otel_finops.store.unit_of_work import Transaction

_AT_ONCE_NS: Final = NS_PER_HOUR
_AT_ONCE_MOST_NS: Final = 8 * NS_PER_DAY
"""Calls are read by an hour of their beginning; by twice as long a time after one with few calls, by half as long after one with many."""
_FEW: Final = 1_000
_MANY: Final = 10_000
_AHEAD_NS: Final = 600 * NS_PER_SECOND
"""A call begins at most so long after its decision; one that does later is asked for when what was read before it is done."""
_NEXT: Final = "SELECT MIN(started_ns) FROM entries WHERE tenant = ? AND started_ns >= ?"
_TENANTS_FIRST: Final = "SELECT MIN(tenant) FROM entries"
_TENANTS_NEXT: Final = "SELECT MIN(tenant) FROM entries WHERE tenant > ?"
_TRACES: Final = "SELECT DISTINCT trace_no FROM entries WHERE tenant = ? AND started_ns >= ? AND started_ns < ?"


class PastCall(NamedTuple):
    """A call of the past.

    Attributes:
        asked: as it was asked for; `at_ns` is when, `pico` and `tokens` are the estimate.
        call: as it was made: `at_ns` is its start, `pico` what it came to, None where nobody knows; None: it was stopped.
        ended_ns: when it was over.
        entry: what stands in the ledger; None: it was stopped.
        decision_id: by which it was let through or stopped; None where nobody was asked.
        gate: what stopped it; None: nothing did.
    """

    asked: GovernedCall
    call: GovernedCall | None
    ended_ns: int
    entry: Entry | None = None
    decision_id: str | None = None
    gate: str | None = None


def past_calls(transaction: Transaction, tenants: Collection[str] | None, from_ns: int, to_ns: int, *, stopped: bool) -> Iterator[PastCall]:
    """Calls of these tenants (None: of all) that began, or were stopped, in a span of time (to is exclusive), in order of asking.

    Args:
        stopped: with what decisions stopped; what they would only have stopped was made.
    """
    ready: list[tuple[int, int, PastCall]] = []
    known = _all_tenants(transaction) if tenants is None else sorted(tenants)
    drawn, at_ns, step_ns = 0, from_ns, _AT_ONCE_NS
    while at_ns < to_ns:
        until_ns, before = min(at_ns + step_ns, to_ns), drawn
        for one in _begun(transaction, known, at_ns, until_ns):
            heappush(ready, (one.asked.at_ns, drawn, one))
            drawn += 1
        if stopped:
            for decision in halted_between(transaction, tenants, at_ns, until_ns):
                asked = decision.call
                heappush(ready, (asked.at_ns, drawn, PastCall(asked, None, asked.at_ns, None, decision.id, decision.gate)))
                drawn += 1
        while ready and ready[0][0] < until_ns - _AHEAD_NS:
            yield heappop(ready)[2]
        step_ns = _next_step(step_ns, drawn - before)
        at_ns = until_ns if stopped else _next_ns(transaction, known, until_ns, to_ns)
    while ready:
        yield heappop(ready)[2]


def _next_step(step_ns: int, calls: int) -> int:
    """How long a time is read next, after one with so many calls."""
    if calls > _MANY:
        return max(step_ns // 2, _AT_ONCE_NS // 60)
    return min(step_ns * 2, _AT_ONCE_MOST_NS) if calls < _FEW else step_ns


def _begun(transaction: Transaction, tenants: Sequence[str], from_ns: int, to_ns: int) -> Iterator[PastCall]:
    """Calls that stand and began in a span of time."""
    traces: set[int] = set()
    for tenant in tenants:
        traces.update(int(trace_no) for (trace_no,) in transaction.execute(_TRACES, (tenant, from_ns, to_ns)))
    if not traces:
        return
    wanted = frozenset(tenants)
    standing = fold(entries_of_traces(transaction, traces)).values()
    calls = [one for one in standing if one.role == ROLE_CALL and from_ns <= one.started_ns < to_ns and one.tenant in wanted]
    calls.sort(key=lambda one: (one.started_ns, one.key))
    decided = made_by_ids(transaction, {one.reservation_id for one in calls if one.reservation_id})
    for one in calls:
        call = call_of_entry(one, total_tokens(one.usage))
        said = None if one.reservation_id is None else decided.get((one.tenant, one.reservation_id))
        asked = call if said is None else call._replace(at_ns=said.at_ns, pico=said.pico, tokens=said.tokens)
        yield PastCall(asked, call, one.started_ns + (one.duration_ns or 0), one, None if said is None else one.reservation_id)


def _next_ns(transaction: Transaction, tenants: Sequence[str], at_ns: int, to_ns: int) -> int:
    """When the next call began, so that nights are not walked through; `to_ns` where none did."""
    found: list[Any] = [transaction.execute(_NEXT, (tenant, at_ns))[0][0] for tenant in tenants]
    return min((int(one) for one in found if one is not None), default=to_ns)


def _all_tenants(transaction: Transaction) -> list[str]:
    """Everybody who has entries, found by jumps through the index."""
    found: list[str] = []
    name = transaction.execute(_TENANTS_FIRST)[0][0]
    while name is not None:
        found.append(str(name))
        name = transaction.execute(_TENANTS_NEXT, (name,))[0][0]
    return found
