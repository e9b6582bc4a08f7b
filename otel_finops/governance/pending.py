"""Calls that are journalled and not yet settled, counted for the budgets that are for them (`ledger.projection.PendingCalls`).

What a batch adds to a trace is noted with the trace's version, so that settling takes back exactly what it has seen; sums stand in
stripes, one for each writer, so that nobody waits for another one's row. A sum is that of all stripes: what one writer adds, another
one takes back. Calls whose span names a reservation are left out where that one holds something: what it holds counts them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import orjson

from otel_finops.base.errors import Busy, Unavailable
from otel_finops.base.limits import BUDGET_PENDING_SWEPT_MAX
from otel_finops.base.money import PICO_PER_USD
from otel_finops.base.protocols import DEFAULT_TENANT
from otel_finops.genai.forest import Forest
from otel_finops.genai.inheritance import Inheritance
from otel_finops.genai.sighting import CALL, Sighting
from otel_finops.genai.usage import total_tokens
from otel_finops.governance.budgets import Budget, BudgetSet
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.counts import Matches, carried, minute_of, slots
from otel_finops.governance.followed import Followed
from otel_finops.ledger.projection import Journalled
from otel_finops.store.unit_of_work import Row, Transaction

WRITERS: Final = 16
"""Journalling and settling of eight processes; more of them share."""

_INSERT: Final = "INSERT INTO budget_pending_traces (trace_no, version, payload) VALUES"
_TAKE: Final = (
    "DELETE FROM budget_pending_traces WHERE (trace_no, version) IN "
    "(SELECT p.trace_no, p.version FROM budget_pending_traces AS p JOIN (VALUES"
)
_SEEN: Final = ") AS v ON p.trace_no = v.column1 AND p.version <= v.column2) RETURNING payload"
_ADD: Final = "INSERT INTO budget_pending (count_no, start_ns, stripe, usd, pico, tokens, calls) VALUES"
_SUM: Final = (
    f"ON CONFLICT (count_no, start_ns, stripe) DO UPDATE SET {carried('budget_pending', '')}, "
    "tokens = budget_pending.tokens + excluded.tokens, calls = budget_pending.calls + excluded.calls"
)
_HELD: Final = (
    "SELECT h.reservation_id, r.tenant, h.count_no FROM budget_holds AS h JOIN reservations AS r ON r.reservation_id = h.reservation_id "
    "WHERE h.reservation_id IN ({})"
)
_ANY: Final = "SELECT 1 FROM budget_pending_traces LIMIT 1"
_LEFT: Final = (
    "SELECT p.trace_no, t.version FROM budget_pending_traces AS p LEFT JOIN traces AS t ON t.trace_no = p.trace_no "
    f"WHERE t.due_ns IS NULL ORDER BY p.trace_no LIMIT {BUDGET_PENDING_SWEPT_MAX}"
)
_EVEN: Final = (
    "SELECT count_no, start_ns FROM budget_pending GROUP BY count_no, start_ns "
    f"HAVING SUM(usd) * 1000000000000 + SUM(pico) = 0 AND SUM(tokens) = 0 AND SUM(calls) = 0 LIMIT {BUDGET_PENDING_SWEPT_MAX}"
)
_STRIPES: Final = "SELECT stripe, usd, pico, tokens, calls FROM budget_pending"
_FORGET: Final = "DELETE FROM budget_pending WHERE count_no = ? AND start_ns = ? AND stripe = ?"
_ALL_VERSIONS: Final = 2**62

_Amounts: TypeAlias = dict[str, list[int]]
"""Money in pico-USD, tokens and calls, by the windows that they fall into: count and start of each, as JSON."""
_Held: TypeAlias = Mapping[tuple[str, str], frozenset[int]]
"""Counts by reservation and its tenant: one tenant's call is not what another one's reservation holds for."""
_NONE: Final[frozenset[int]] = frozenset()


class PendingCalls:
    """Notes what comes to the journal, and takes it back when it settles.

    Args:
        budgets: as this process knows them; a change is followed within half a second, and until then what is pending counts as before.
    """

    def __init__(self, budgets: Followed[BudgetSet]) -> None:
        self._budgets = budgets
        self._matches = Matches(BudgetSet(0, {}))
        self._stripe = os.getpid() % (WRITERS // 2) * 2

    @property
    def is_asked(self) -> bool:
        """Whether anybody counts what is pending: with no budget journalling does nothing at all for it."""
        try:
            return len(self._budgets.current()) > 0
        except (Busy, Unavailable):
            return False  # nothing is known of any budget, and the journal's own transaction says what is wrong

    def note(self, transaction: Transaction, traces: Sequence[Journalled], now_ns: int) -> None:
        """Count the calls among what was journalled for these traces."""
        batch = _Batch(self._matches_of(self._budgets.current()), _held(transaction, traces), now_ns)
        rows: list[Row] = []
        for trace in traces:
            noted = batch.noted(trace)
            if noted:
                rows.append((trace.trace_no, trace.version, orjson.dumps(list(noted.items()))))
        transaction.write_values(_INSERT, rows)
        _write(transaction, batch.total, 1, self._stripe)

    def settled(self, transaction: Transaction, versions: Sequence[tuple[int, int]]) -> None:
        """Take back what was noted of these traces (number, version) up to these versions."""
        if not versions or (not self.is_asked and not transaction.execute(_ANY)):
            return
        _write(transaction, _taken(transaction, versions), -1, self._stripe + 1)

    def sweep(self, transaction: Transaction) -> int:
        """Take back what was noted of traces that wait no more, for somebody settled them who took nothing back, and forget sums that came
        out even; returns of how many traces."""
        left = {int(trace_no): _ALL_VERSIONS if version is None else int(version) for trace_no, version in transaction.execute(_LEFT)}
        _write(transaction, _taken(transaction, sorted(left.items())), -1, self._stripe + 1)
        _forget_even(transaction)
        return len(left)

    def _matches_of(self, budgets: BudgetSet) -> Matches:
        matches = self._matches
        if matches.budgets is not budgets:
            matches = self._matches = Matches(budgets)
        return matches


class _Batch:
    """Calls of one group commit. Those that fall into the same windows are added up: many budgets may be for each of them.

    Attributes:
        total: amounts of all that was noted, by windows.
    """

    def __init__(self, matches: Matches, held: _Held, now_ns: int) -> None:
        self.total: _Amounts = {}
        self._matches = matches
        self._held = held
        self._now_ns = now_ns
        self._readers = [_reader(name) for name in matches.asked]
        self._windows: dict[tuple[int, int, frozenset[int]], tuple[Sequence[Budget], str]] = {}

    def noted(self, trace: Journalled) -> _Amounts:
        """The amounts of a trace's calls, by windows."""
        noted: _Amounts = {}
        if not any(sighting.kind == CALL for sighting, _ in trace.rows):
            return noted
        forest = Forest([sighting for sighting, _ in trace.rows])
        inheritance = Inheritance(forest)
        quotes = {id(sighting): quote for sighting, quote in trace.rows}
        for node, sighting in enumerate(forest.sightings):
            if sighting.kind == CALL:
                windows = self._windows_of(sighting, inheritance.full(node))
                if windows:
                    quote = quotes[id(sighting)]
                    pico = 0 if quote is None else quote.cost_pico or 0
                    for amounts in (noted.setdefault(windows, [0, 0, 0]), self.total.setdefault(windows, [0, 0, 0])):
                        amounts[0] += pico
                        amounts[1] += total_tokens(sighting.usage)
                        amounts[2] += 1
        return noted

    def _windows_of(self, sighting: Sighting, known: Mapping[str, str]) -> str:
        """Into which windows a call falls; "" where into none."""
        found = self._matches.found(
            tuple([read(sighting, known) for read in self._readers]), lambda: call_of(sighting, known)
        )  # fmt: skip
        if not found:
            return ""
        held = self._held.get((known.get("reservation", ""), known.get("tenant") or DEFAULT_TENANT), _NONE)
        minute = minute_of(sighting.start_ns)
        key = id(found), minute, held
        known_windows = self._windows.get(key)
        if known_windows is None:
            asked = [one for one in found if one.counting not in held and not _is_over(one, minute, self._now_ns)]
            places = sorted((one.counting, slots(one.period, minute)[0][1]) for one in asked)
            known_windows = self._windows[key] = found, orjson.dumps(places).decode() if places else ""  # `found` keeps its id
        return known_windows[1]


def _reader(name: str) -> Callable[[Sighting, Mapping[str, str]], str | None]:
    """Reads a dimension of a scope as `call_of` would say it."""
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda sighting, known: sighting.tags.get(key)
    if name == "model":
        return lambda sighting, known: sighting.response_model or sighting.request_model
    if name == "provider":
        return lambda sighting, known: sighting.provider
    return (lambda sighting, known: sighting.trace_id) if name == "trace" else (lambda sighting, known: known.get(name))


def call_of(sighting: Sighting, attribution: Mapping[str, str]) -> GovernedCall:
    """A journalled call with the attribution that it has, as far as is known by now."""
    said = attribution.get
    return GovernedCall(
        said("tenant") or DEFAULT_TENANT, sighting.realm, sighting.provider, sighting.response_model or sighting.request_model,
        sighting.operation, said("user"), said("session"), said("agent"), said("step"), said("purpose"), said("cost_center"),
        said("service"), said("environment"), sighting.trace_id, sighting.tags, sighting.start_ns,
    )  # fmt: skip


def _is_over(budget: Budget, at_ns: int, now_ns: int) -> bool:
    """Whether a call lies before the rolling window already; of other windows each has a sum of its own."""
    return budget.period.is_rolling and at_ns < budget.period.window(now_ns).start_ns


def _held(transaction: Transaction, traces: Iterable[Journalled]) -> _Held:
    """Which counts are held from, by the reservations that the calls name."""
    named = {one for trace in traces for row in trace.rows if (one := row[0].attribution.get("reservation"))}
    held: dict[tuple[str, str], frozenset[int]] = {}
    for reservation, tenant, count in transaction.select_in(_HELD, sorted(named)):
        held[reservation, tenant] = held.get((reservation, tenant), _NONE) | {int(count)}
    return held


def _taken(transaction: Transaction, versions: Sequence[tuple[int, int]]) -> _Amounts:
    total: _Amounts = {}
    for (payload,) in transaction.write_values(_TAKE, versions, _SEEN):
        for windows, amounts in orjson.loads(payload):
            held = total.setdefault(windows, [0, 0, 0])
            for at, value in enumerate(amounts):
                held[at] += value
    return total


def _write(transaction: Transaction, noted: _Amounts, sign: int, stripe: int) -> None:
    """Add amounts to the sums of their windows (sign 1), or take them back (-1)."""
    sums: dict[tuple[int, int], list[int]] = {}
    for windows, amounts in noted.items():
        for count, start in orjson.loads(windows):
            held = sums.setdefault((count, start), [0, 0, 0])
            for at, value in enumerate(amounts):
                held[at] += sign * value
    rows = [(*key, stripe, *divmod(pico, PICO_PER_USD), tokens, calls) for key, (pico, tokens, calls) in sorted(sums.items())]
    transaction.write_values(_ADD, rows, _SUM)


def _forget_even(transaction: Transaction) -> None:
    """Delete sums that came out even; they are locked and looked at again, since somebody may add to them meanwhile."""
    lock = " FOR UPDATE" if transaction.engine_name == "postgresql" else ""
    for key in transaction.execute(_EVEN):
        rows = transaction.execute(f"{_STRIPES} WHERE count_no = ? AND start_ns = ? ORDER BY stripe{lock}", key)
        usd, pico, tokens, calls = (sum(int(row[at]) for row in rows) for at in range(1, 5))
        if (usd * PICO_PER_USD + pico, tokens, calls) == (0, 0, 0):
            transaction.executemany(_FORGET, [(*key, row[0]) for row in rows])
