"""Filling counts in with what was booked before they were begun: a new budget knows the whole ledger.

When a count is begun, in the transaction that makes the budget and while nobody appends, the last block of every shard is noted. What is
behind it the projection counts as it is booked; what is before it is counted here, tenant by tenant in order of time, in bounded
transactions that each move the place up to where it is done. Whoever fills reads whole traces and counts each entry as the projection
would have, so that it does not matter what is booked, corrected or pruned meanwhile. Budgets that wait together are filled in one walk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import orjson

from otel_finops.base.clock import Clock
from otel_finops.base.limits import BUDGET_FILL_ROWS, BUDGET_FILLS_AT_ONCE
from otel_finops.base.money import PICO_MAX
from otel_finops.governance.budget_store import hold_budgets
from otel_finops.governance.budgets import Budget, BudgetSet
from otel_finops.governance.counts import Matches, Sums, count_entries, write
from otel_finops.governance.followed import Followed
from otel_finops.governance.thresholds import Thresholds
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.rows import entries_of_traces
from otel_finops.ledger.shards import SHARDS
from otel_finops.ledger.standing import with_before
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import LIST_VALUES_MAX, Transaction

_BEGIN: Final = "INSERT INTO budget_fills (count_no, heads, at_tenant, at_ns) VALUES"
_FIRST: Final = "SELECT at_tenant, at_ns FROM budget_fills ORDER BY at_tenant DESC, at_ns DESC LIMIT 1"
_AT: Final = f"SELECT count_no, heads FROM budget_fills WHERE at_tenant = ? AND at_ns = ? ORDER BY count_no LIMIT {BUDGET_FILLS_AT_ONCE}"
_MOVE: Final = "UPDATE budget_fills SET at_tenant = ?, at_ns = ? WHERE count_no = ?"
_END: Final = "DELETE FROM budget_fills WHERE count_no = ?"
_TENANT: Final = "SELECT MIN(tenant) FROM entries WHERE tenant > ?"
_BEHIND: Final = "FROM entries WHERE tenant = ? AND started_ns >= ?"
_PAGE_END: Final = f"SELECT started_ns {_BEHIND} ORDER BY started_ns LIMIT 1 OFFSET ?"
_TRACES: Final = f"SELECT DISTINCT trace_no {_BEHIND} AND started_ns < ? AND role = 'call'"
_ROWS: Final = "SELECT COUNT(*) FROM (SELECT 1 FROM entries {} LIMIT ?) AS first_rows"
_HEAD: Final = "SELECT MAX(seq) FROM blocks WHERE shard = ?"
_OF_COUNT: Final = ("budget_holds", "budget_counters", "budget_fills", "budget_crossings")
"""Tables whose rows go with their count, in the order in which whoever gives back locks them; what is pending comes out even when it
settles, and goes then."""
_LOCK_HELD: Final = (
    "SELECT reservation_id FROM reservations WHERE reservation_id IN (SELECT reservation_id FROM budget_holds WHERE count_no = ?) "
    "ORDER BY reservation_id FOR UPDATE"
)
_HELD_SINCE: Final = (
    "DELETE FROM budget_holds WHERE count_no = ? AND reservation_id IN "
    "(SELECT reservation_id FROM budget_holds WHERE count_no = ? FOR UPDATE SKIP LOCKED)"
)


_Heads: TypeAlias = dict[int, int]
"""The last block of each shard that has any."""


class _Place(NamedTuple):
    """Up to where entries are counted: all of tenants before `tenant`, and of that one all that started before `from_ns`."""

    tenant: str
    from_ns: int


_START: Final = _Place("", 0)


class CountBeginnings:
    """Begins and ends counts as budgets change (`governance.budgets.Counting`), and looks anew at what thresholds they crossed."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds

    def changed(self, transaction: Transaction, before: Budget | None, after: Budget | None) -> None:
        """Begin the count of a budget that counts something new, and end that of one that does so no more.

        Small ledgers are counted at once. What was held from a count that ends is held no more.
        """
        if before is not None and (after is None or after.counting != before.counting):
            _end(transaction, before.counting)
        if after is None:
            return
        if before is None or after.counting != before.counting:
            _begin(transaction, after)
        self._thresholds.look_at(transaction, [after], after.changed_ns)


class BudgetFiller:
    """Counts for all budgets that lack entries, some rows in each transaction.

    Args:
        thresholds: looks at budgets that are filled.
    """

    def __init__(self, store: Store, clock: Clock, budgets: Followed[BudgetSet], thresholds: Thresholds) -> None:
        self._store = store
        self._clock = clock
        self._budgets = budgets
        self._thresholds = thresholds

    def run(self, is_stopped: Callable[[], bool] = lambda: False) -> int:
        """Go on until no budget lacks anything, or it is stopped; returns how many transactions that took."""
        steps = 0
        while not is_stopped() and self._is_left():
            self._step()
            steps += 1
        return steps

    def _is_left(self) -> bool:
        with self._store.read() as transaction:
            return bool(transaction.execute(_FIRST))

    def _step(self) -> None:
        """Read on a snapshot, so that nobody waits for it: what is behind the heads is not looked at, and what is before them stays."""
        with self._store.read() as transaction:
            rows = transaction.execute(_FIRST)
            if not rows:
                return
            place = _Place(rows[0][0], int(rows[0][1]))
            heads = _waiting(transaction, place)
            walk = _Walk(self._budgets.seen_by(transaction), heads)
            sums, following = _counted(transaction, walk, place)
        with self._store.write() as transaction:
            hold_budgets(transaction)
            left = heads.keys() & _waiting(transaction, place, locking=True).keys()  # without those begun or ended meanwhile
            sums.keep(left)
            _move(transaction, sorted(left), sums, following)
            if following is None:
                budgets = self._budgets.seen_by(transaction)
                self._thresholds.look_at(transaction, [one for one in budgets if one.counting in left], self._clock.now_ns())


class _Walk:
    """Budgets that are filled together, with the heads of each count."""

    def __init__(self, budgets: BudgetSet, heads: Mapping[int, _Heads]) -> None:
        self.budgets = BudgetSet(budgets.revision, {one.no: one for one in budgets if one.counting in heads})
        self.matches = Matches(self.budgets)
        self.tenants = _tenants(self.budgets)
        self._heads = heads
        self._all_have = {shard: min(one.get(shard, -1) for one in heads.values()) for shard in range(SHARDS)} if heads else {}

    def lacking(self, found: Sequence[Budget], entry: Entry) -> Sequence[Budget]:
        """Of some budgets those whose count was begun behind an entry, so that nobody counted it for them."""
        shard, seq = entry.shard, entry.block_seq
        if seq <= self._all_have.get(shard, -1):
            return found
        return [one for one in found if seq <= self._heads[one.counting].get(shard, -1)]


def _end(transaction: Transaction, count: int) -> None:
    """Forget a count: reservations first, as whoever settles or gives them back, so that neither waits for the other in a circle."""
    shared = transaction.engine_name == "postgresql"
    if shared:
        transaction.execute(_LOCK_HELD, (count,))
    for table in _OF_COUNT:
        transaction.execute(f"DELETE FROM {table} WHERE count_no = ?", (count,))
    if shared:  # decisions that had locked the count's row have held from it since
        transaction.execute(_HELD_SINCE, (count, count))


def _begin(transaction: Transaction, budget: Budget) -> None:
    """Begin a count, and end it where that is little work."""
    heads = _heads(transaction)
    if not heads:
        return
    transaction.write_values(_BEGIN, [(budget.counting, _written(heads), *_START)])
    if _is_small(transaction, budget):
        walk = _Walk(BudgetSet(budget.revision, {budget.no: budget}), {budget.counting: heads})
        place: _Place | None = _START
        while place is not None:
            sums, place = _counted(transaction, walk, place)
            _move(transaction, [budget.counting], sums, place)


def _counted(transaction: Transaction, walk: _Walk, place: _Place) -> tuple[Sums, _Place | None]:
    """What the next rows add, and where to go on; None when that was all."""
    begun = place if place.tenant else _next_tenant(transaction, "", walk)
    if begun is None or not len(walk.budgets):
        return Sums(), None
    sums, to_ns = _page(transaction, walk, begun)
    return sums, _next_tenant(transaction, begun.tenant, walk) if to_ns is None else _Place(begun.tenant, to_ns)


def _move(transaction: Transaction, counts: Sequence[int], sums: Sums, following: _Place | None) -> None:
    """Write what was counted, and how far."""
    write(transaction, sums)
    if following is None:
        transaction.executemany(_END, [(count,) for count in counts])
    else:
        transaction.executemany(_MOVE, [(*following, count) for count in counts])


def _page(transaction: Transaction, walk: _Walk, place: _Place) -> tuple[Sums, int | None]:
    """What the calls of a tenant add that started from an instant on, some rows of them, and up to when; None: no more are left.

    All rows of one instant are counted together.
    """
    tenant, from_ns = place
    further = transaction.execute(_PAGE_END, (*place, BUDGET_FILL_ROWS))
    to_ns = max(int(further[0][0]), from_ns + 1) if further else None
    end_ns = PICO_MAX if to_ns is None else to_ns
    traces = [int(trace_no) for (trace_no,) in transaction.execute(_TRACES, (*place, end_ns))]

    def narrowed(found: Sequence[Budget], entry: Entry, part: Entry) -> Sequence[Budget]:
        return walk.lacking(found, entry) if part.tenant == tenant and from_ns <= part.started_ns < end_ns else ()

    sums = Sums()
    for start in range(0, len(traces), LIST_VALUES_MAX):
        entries = entries_of_traces(transaction, traces[start : start + LIST_VALUES_MAX])
        count_entries(with_before(entries), walk.matches, sums, narrowed)
    return sums, to_ns


def _waiting(transaction: Transaction, place: _Place, *, locking: bool = False) -> dict[int, _Heads]:
    """The counts that wait at a place, with their heads."""
    lock = " FOR UPDATE" if locking and transaction.engine_name == "postgresql" else ""
    return {int(count): _read_heads(text) for count, text in transaction.execute(f"{_AT}{lock}", place)}


def _next_tenant(transaction: Transaction, after: str, walk: _Walk) -> _Place | None:
    """Where the entries of the next tenant begin that has any and for which one of the budgets may be."""
    if walk.tenants is None:
        found = transaction.execute(_TENANT, (after,))[0][0]
        return None if found is None else _Place(found, 0)
    return next((_Place(tenant, 0) for tenant in walk.tenants if tenant > after), None)


def _tenants(budgets: BudgetSet) -> list[str] | None:
    """The tenants that budgets are for; None: any."""
    named = {one.tenant for one in budgets}
    return None if None in named else sorted(name for name in named if name is not None)


def _is_small(transaction: Transaction, budget: Budget) -> bool:
    where, params = ("", ()) if budget.tenant is None else ("WHERE tenant = ?", (budget.tenant,))
    return int(transaction.execute(_ROWS.format(where), (*params, BUDGET_FILL_ROWS + 1))[0][0]) <= BUDGET_FILL_ROWS


def _heads(transaction: Transaction) -> _Heads:
    found = {shard: transaction.execute(_HEAD, (shard,))[0][0] for shard in range(SHARDS)}
    return {shard: int(seq) for shard, seq in found.items() if seq is not None}


def _read_heads(text: str) -> _Heads:
    return {int(shard): seq for shard, seq in orjson.loads(text).items()}


def _written(heads: _Heads) -> str:
    return orjson.dumps(heads, option=orjson.OPT_NON_STR_KEYS).decode()
