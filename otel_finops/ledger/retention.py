"""Retention of the ledger: whole traces of months that are closed and old enough go, their blocks and all sums stay.

A trace goes with all that is kept of it, its entries, its spans and its keys, once it is settled and all its entries belong to months that
go; so no correction is ever left without its charge. A month is gone but for traces that reach into a month that stays.

Nothing of what went may be charged again. Of months that were pruned no unknown trace is taken any more (`ledger.journal`). A trace that
goes is *sealed* first: nothing more is taken of it, and settling its neighbours changes nothing of it. And as long as a trace that is open
shares an answer, equal numbers, a session or a link with it, it stays whole, since that one could not be settled again without it.

A step is one transaction under the shard's lease, and what was done stands: who is broken off goes on from there when asked again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.limits import PRUNE_PAGE_ROWS, PRUNE_STEP_ENTRIES, PRUNE_STEP_TRACES
from otel_finops.base.times import NS_PER_DAY, month_start_ns
from otel_finops.ledger.call_keys import keys_of
from otel_finops.ledger.codec import decode
from otel_finops.ledger.corrections import booked_tenants
from otel_finops.ledger.held_lease import held_lease
from otel_finops.ledger.period_bounds import closed_until_ns, month_name
from otel_finops.ledger.pruned import Months, add_months, begin_months, pruned_until_ns
from otel_finops.ledger.rollups import Rollups
from otel_finops.ledger.shards import lease_name
from otel_finops.ledger.write_off import WrittenOff, write_off
from otel_finops.store.engine import Store
from otel_finops.store.lease import Lease, Leases
from otel_finops.store.unit_of_work import Transaction

_MONTH: Final = "CASE WHEN {0}late THEN {0}recorded_ns ELSE {0}started_ns END"
"""An instant in the month to which an entry belongs (`period_bounds.month_of`)."""
_PAGE_START: Final = (
    f"SELECT started_ns FROM entries WHERE tenant = ? AND started_ns < ? ORDER BY started_ns DESC LIMIT 1 OFFSET {PRUNE_PAGE_ROWS}"
)
_PAGE: Final = "SELECT DISTINCT shard, trace_no FROM entries WHERE tenant = ? AND started_ns >= ? AND started_ns < ? ORDER BY trace_no"
_SILENT: Final = (
    "SELECT t.trace_no, t.shard, t.first_seen_ns, t.has_genai AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.trace_no = t.trace_no) "
    f"FROM traces t WHERE t.trace_no > ? ORDER BY t.trace_no LIMIT {PRUNE_PAGE_ROWS}"
)
_JOURNALLED: Final = (
    "SELECT t.trace_no, t.shard, t.first_seen_ns, t.booked AND t.has_genai FROM "
    f"(SELECT DISTINCT trace_no FROM journal WHERE trace_no > ? ORDER BY trace_no LIMIT {PRUNE_PAGE_ROWS}) AS j "
    "JOIN traces t ON t.trace_no = j.trace_no ORDER BY t.trace_no"
)
_SETTLED: Final = (
    "SELECT trace_no FROM traces WHERE trace_no IN ({}) AND has_genai AND due_ns IS NULL AND pending_calls = 0 ORDER BY trace_no"
)
_WHERE_COUNTED: Final = (
    "SELECT trace_no, MIN(tenant), MAX(CASE WHEN tenant = ? THEN started_ns END) FROM entries "
    "WHERE trace_no IN ({}) AND started_ns < ? GROUP BY trace_no"
)
_LAST_ENTRY: Final = f"SELECT trace_no, MAX({_MONTH.format('')}) FROM entries WHERE trace_no IN ({{}}) GROUP BY trace_no"
_LAST_SPAN: Final = "SELECT trace_no, COUNT(*), MAX(end_ns) FROM journal WHERE trace_no IN ({}) GROUP BY trace_no"
_SEAL: Final = "UPDATE traces SET sealed_ns = ? WHERE trace_no = ? AND sealed_ns IS NULL"
_OPEN: Final = "t.sealed_ns IS NULL"
_STAYS: Final = (
    f"{_OPEN} AND (t.due_ns IS NOT NULL OR t.pending_calls > 0 OR EXISTS (SELECT 1 FROM entries e WHERE e.trace_no = t.trace_no "
    f"AND {_MONTH.format('e.')} >= ?) OR (t.first_seen_ns >= ? AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.trace_no = t.trace_no)))"
)
"""An open neighbour that would not be sealed by the same pruning: what a dry run asks, of entries and of spans."""
_SPANS_STAY: Final = (
    f"{_OPEN} AND (t.due_ns IS NOT NULL OR t.pending_calls > 0 OR NOT t.booked OR t.first_seen_ns >= ? "
    "OR EXISTS (SELECT 1 FROM journal e WHERE e.trace_no = t.trace_no AND e.end_ns >= ?))"
)
_SHARING: Final = """
SELECT DISTINCT a.trace_no FROM call_keys a WHERE a.trace_no IN ({{}}) AND EXISTS (
  SELECT 1 FROM call_keys b JOIN traces t ON t.trace_no = b.trace_no
  WHERE b.bucket = a.bucket AND b.key = a.key AND b.trace_no <> a.trace_no AND {0}
)"""
_LINKING: Final = """
SELECT DISTINCT o.trace_no FROM traces o JOIN trace_links l ON l.trace_no = o.trace_no
JOIN traces t ON t.trace_id = l.linked_trace_id AND t.realm = o.realm
WHERE o.trace_no IN ({{}}) AND t.trace_no <> o.trace_no AND {0}"""
_LINKED: Final = """
SELECT DISTINCT o.trace_no FROM traces o JOIN trace_links l ON l.linked_trace_id = o.trace_id
JOIN traces t ON t.trace_no = l.trace_no AND t.realm = o.realm
WHERE o.trace_no IN ({{}}) AND t.trace_no <> o.trace_no AND {0}"""
_GENAI_SPANS: Final = (
    "SELECT j.trace_no, t.realm, t.trace_id, j.span_id, j.payload FROM journal j JOIN traces t ON t.trace_no = j.trace_no "
    "WHERE j.trace_no IN ({}) AND j.genai"
)
_PASSES: Final = 2
"""The first seals all that is old and takes what no open trace needs; the second takes what only sealed ones had kept."""


class Held(NamedTuple):
    """Traces with something old that stay, by why.

    Attributes:
        reaching: they have entries in a month that stays.
        unsettled: they wait to be settled.
        shared: an open trace that stays could not be settled again without them.
    """

    reaching: int = 0
    unsettled: int = 0
    shared: int = 0


class Pruned(NamedTuple):
    """What a pruning took, or in a dry run would take.

    Attributes:
        traces, entries, spans: how many.
        months: entries and their money by month.
        oldest_ns, newest_ns: starts of the first and the last entry, of the journal ends of spans; None when nothing went.
        held: what stays although something of it is old.
        finished: False when it was stopped before its end.
    """

    traces: int = 0
    entries: int = 0
    spans: int = 0
    months: Months = {}  # noqa: RUF012 - never written to
    oldest_ns: int | None = None
    newest_ns: int | None = None
    held: Held = Held()
    finished: bool = True

    @property
    def sum_pico(self) -> int:
        """Sum of the entries' money."""
        return sum(pico for _, pico in self.months.values())

    def plus(self, other: Pruned) -> Pruned:
        """Both together."""
        months = dict(self.months)
        add_months(months, other.months)
        return Pruned(
            self.traces + other.traces, self.entries + other.entries, self.spans + other.spans, months,
            _first(min, self.oldest_ns, other.oldest_ns), _first(max, self.newest_ns, other.newest_ns),
            Held(*(mine + theirs for mine, theirs in zip(self.held, other.held, strict=True))), self.finished and other.finished,
        )  # fmt: skip


def _first(choose: Callable[[list[int]], int], *instants: int | None) -> int | None:
    known = [instant for instant in instants if instant is not None]
    return choose(known) if known else None


class _Looked(NamedTuple):
    """Traces that were looked at: those that may go, and why the others stay."""

    going: list[int]
    held: Held


class _Page(NamedTuple):
    """Traces to look at, by shard, each on one page only; rows before `from_ns` are on further ones."""

    shards: dict[int, list[int]]
    from_ns: int = 0


class Rule(NamedTuple):
    """What is old.

    Attributes:
        until_ns: entries of months before it, or spans that ended before it.
        entries: the entries go, with all that is kept of their traces; else only spans and keys of booked traces go.
    """

    until_ns: int
    entries: bool


class LedgerPruner:
    """Prunes entries and journal; safe beside receivers and settlers, in any number of processes.

    Args:
        further: tables of other rooms whose rows belong to traces (`trace_no`) and go with their entries.
        sleep: waits seconds; tests replace it.
    """

    def __init__(
        self, store: Store, leases: Leases, clock: Clock, further: Sequence[str] = (), sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._store = store
        self._further = tuple(further)
        self._leases = leases
        self._clock = clock
        self._sleep = sleep
        self._rollups = Rollups()

    def months_before(self, days: int) -> Rule:
        """Months that ended so many days ago and are closed."""
        old_ns = month_start_ns(max(0, self._clock.now_ns() - days * NS_PER_DAY))
        with self._store.read() as transaction:
            return Rule(min(old_ns, closed_until_ns(transaction)), entries=True)

    def spans_before(self, days: int) -> Rule:
        """Spans of booked traces that ended so many days ago."""
        return Rule(max(0, self._clock.now_ns() - days * NS_PER_DAY), entries=False)

    def would_prune(self, rule: Rule) -> Pruned:
        """What `prune` would take, in constant memory and page by page; nothing is written."""
        found = Pruned()
        for page in self._pages(rule):
            for _, trace_nos in sorted(page.shards.items()):
                with self._store.read() as transaction:
                    found = found.plus(_counted(transaction, rule, trace_nos))
        return found

    def prune(self, rule: Rule, who: str, stop: Callable[[], bool] = lambda: False) -> Pruned:
        """Take all that is old.

        Args:
            stop: asked before every step; what was done by then stands.

        Raises:
            Busy: somebody else held a shard for longer than 30 s, or a lease was lost; what was done stands, and asking again goes on.
            BrokenLedger: a block that would lose rows does not verify; nothing of it is taken.
        """
        if rule.entries:
            self._begin(rule, who)
        total = Pruned()
        for _ in range(_PASSES):
            done = self._pass(rule, who, stop)
            total = done.plus(total._replace(held=Held()))
            if stop() or not done.held.shared:
                break
        return total._replace(finished=not stop())

    def _begin(self, rule: Rule, who: str) -> None:
        """Say first which months go, so that nobody takes what would be charged twice."""
        with self._store.read() as transaction:
            known = pruned_until_ns(transaction) >= rule.until_ns
        if not known:
            with self._store.write() as transaction:
                begin_months(transaction, rule.until_ns, self._clock.now_ns(), who)

    def _pass(self, rule: Rule, who: str, stop: Callable[[], bool]) -> Pruned:
        done = Pruned()
        for page in self._pages(rule):
            for shard, trace_nos in sorted(page.shards.items()):
                for piece in self._steps(trace_nos):
                    if stop():
                        return done
                    with self._store.read() as transaction:
                        stays = _all_stay(transaction, rule, piece)
                    if stays is not None:
                        done = done.plus(Pruned(held=stays))
                        continue
                    with held_lease(self._leases, lease_name(shard), self._clock, self._sleep) as lease:
                        done = done.plus(self._step(lease, shard, rule, piece, who))
        return done

    def _step(self, lease: Lease, shard: int, rule: Rule, trace_nos: Sequence[int], who: str) -> Pruned:
        """One transaction: seal what is old, and take of it what no open trace needs."""
        with self._store.write() as transaction:
            lease.confirm(transaction)
            old = _old(transaction, rule, trace_nos, lock=transaction.engine_name == "postgresql")
            transaction.executemany(_SEAL, [(self._clock.now_ns(), number) for number in old.going])
            shared = _needed(transaction, old.going, _OPEN)
            going = [number for number in old.going if number not in shared]
            done = Pruned(len(going), held=old.held._replace(shared=len(shared)))
            if not going:
                return done
            spans, last_ns = _forget(transaction, going)
            if not rule.entries:
                return done._replace(spans=spans, oldest_ns=last_ns[0], newest_ns=last_ns[1])
            gone = write_off(transaction, shard, going, self._rollups, who, self._clock.now_ns())
            for table in (*self._further, "traces"):
                transaction.executemany(f"DELETE FROM {table} WHERE trace_no = ?", [(number,) for number in going])
            return _with_entries(done._replace(spans=spans), gone)

    def _steps(self, trace_nos: Sequence[int]) -> Iterator[list[int]]:
        """The traces in pieces, each of which one transaction can take."""
        with self._store.read() as transaction:
            sizes: dict[int, int] = dict(
                transaction.select_in("SELECT trace_no, COUNT(*) FROM entries WHERE trace_no IN ({}) GROUP BY trace_no", trace_nos)
            )
        piece, entries = list[int](), 0
        for number in trace_nos:
            size = sizes.get(number, 0)
            if piece and (len(piece) >= PRUNE_STEP_TRACES or entries + size > PRUNE_STEP_ENTRIES):
                yield piece
                piece, entries = [], 0
            piece.append(number)
            entries += size
        if piece:
            yield piece

    def _pages(self, rule: Rule) -> Iterator[_Page]:
        if not rule.entries:
            yield from self._in_order(_JOURNALLED, rule.until_ns)
            return
        yield from self._in_order(_SILENT, rule.until_ns)
        with self._store.read() as transaction:
            tenants = list(booked_tenants(transaction, None))
        for tenant in tenants:
            to_ns = rule.until_ns
            while to_ns > 0:
                with self._store.read() as transaction:
                    page = _page(transaction, tenant, to_ns, rule.until_ns)
                if page.shards:
                    yield page
                to_ns = page.from_ns

    def _in_order(self, sql: str, until_ns: int) -> Iterator[_Page]:
        """Traces in the order in which they were first seen, as far as that was before an instant."""
        after = -1
        while True:
            with self._store.read() as transaction:
                rows = transaction.execute(sql, (after,))
            shards: dict[int, list[int]] = {}
            for number, shard, first_seen_ns, wanted in rows:
                if wanted and first_seen_ns < until_ns:
                    shards.setdefault(shard, []).append(number)
            if shards:
                yield _Page(shards)
            if not rows or all(row[2] >= until_ns for row in rows):
                return
            after = rows[-1][0]


def _page(transaction: Transaction, tenant: str, to_ns: int, until_ns: int) -> _Page:
    """The last rows of a tenant before an instant. Every row of one instant is on one page, and a trace with several tenants on those
    of the first one."""
    further = transaction.execute(_PAGE_START, (tenant, to_ns))
    from_ns = int(further[0][0]) if further else 0
    shard_of = {number: shard for shard, number in transaction.execute(_PAGE, (tenant, from_ns, to_ns))}
    shards: dict[int, list[int]] = {}
    for number, first_tenant, last_ns in transaction.select_in(_WHERE_COUNTED, list(shard_of), before=(tenant,), after=(until_ns,)):
        if first_tenant == tenant and from_ns <= last_ns < to_ns:
            shards.setdefault(shard_of[number], []).append(number)
    return _Page(shards, from_ns)


def _old(transaction: Transaction, rule: Rule, trace_nos: Sequence[int], *, lock: bool = False) -> _Looked:
    """Which of the traces are settled and have nothing that is younger than the rule says."""
    numbers = sorted(set(trace_nos))
    settled = [number for (number,) in transaction.select_in(_SETTLED + (" FOR UPDATE" if lock else ""), numbers)]
    last = {number: int(last_ns) for number, _, last_ns in transaction.select_in(_LAST_SPAN, settled)}
    if rule.entries:
        last |= {number: int(last_ns) for number, last_ns in transaction.select_in(_LAST_ENTRY, settled)}
    going = [number for number in settled if last.get(number, 0) < rule.until_ns]
    return _Looked(going, Held(reaching=len(settled) - len(going), unsettled=len(numbers) - len(settled)))


def _all_stay(transaction: Transaction, rule: Rule, trace_nos: Sequence[int]) -> Held | None:
    """Why all of the traces stay; None when there is something to do: nobody's lease is taken for nothing."""
    old = _old(transaction, rule, trace_nos)
    if any(True for _ in transaction.select_in("SELECT 1 FROM traces WHERE trace_no IN ({}) AND sealed_ns IS NULL", old.going)):
        return None
    shared = _needed(transaction, old.going, _OPEN)
    return old.held._replace(shared=len(shared)) if len(shared) == len(old.going) else None


def _needed(transaction: Transaction, trace_nos: Sequence[int], neighbour: str, params: Sequence[Any] = ()) -> set[int]:
    """Those of the traces that share a key or a link with a neighbour of this kind."""
    queries = (sql.format(neighbour) for sql in (_SHARING, _LINKING, _LINKED))
    return {number for sql in queries for (number,) in transaction.select_in(sql, trace_nos, after=params)}


def _forget(transaction: Transaction, trace_nos: Sequence[int]) -> tuple[int, tuple[int | None, int | None]]:
    """Delete spans, keys and links of traces; how many spans, and the ends of the first and last trace."""
    ended = list(transaction.select_in(_LAST_SPAN, trace_nos))
    lone: set[tuple[int, int]] = set()
    for number, realm, trace_id, span_id, payload in transaction.select_in(_GENAI_SPANS, trace_nos):
        sighting = decode(bytes(payload), realm, bytes(trace_id).hex(), bytes(span_id).hex())
        lone.update((key.area, number) for key in keys_of(sighting))
    transaction.executemany("DELETE FROM lone_keys WHERE area = ? AND trace_no = ?", sorted(lone))
    for table in ("journal", "call_keys", "trace_links"):
        transaction.executemany(f"DELETE FROM {table} WHERE trace_no = ?", [(number,) for number in trace_nos])
    ends = [int(end_ns) for _, _, end_ns in ended]
    return sum(count for _, count, _ in ended), (min(ends, default=None), max(ends, default=None))


def _with_entries(done: Pruned, gone: WrittenOff) -> Pruned:
    entries = sum(count for count, _ in gone.months.values())
    return done._replace(entries=entries, months=gone.months, oldest_ns=gone.oldest_ns, newest_ns=gone.newest_ns)


def _counted(transaction: Transaction, rule: Rule, trace_nos: Sequence[int]) -> Pruned:
    """What a pruning would take of these traces."""
    old = _old(transaction, rule, trace_nos)
    shared = _needed(transaction, old.going, _STAYS if rule.entries else _SPANS_STAY, (rule.until_ns, rule.until_ns))
    going = [number for number in old.going if number not in shared]
    spans = list(transaction.select_in(_LAST_SPAN, going))
    done = Pruned(len(going), 0, sum(row[1] for row in spans), held=old.held._replace(shared=len(shared)))
    if rule.entries:
        return _with_entries(done, _sums(transaction, going))
    ends = [int(row[2]) for row in spans]
    return done._replace(oldest_ns=min(ends, default=None), newest_ns=max(ends, default=None))


def _sums(transaction: Transaction, trace_nos: Sequence[int]) -> WrittenOff:
    months: Months = {}
    starts: list[int] = []
    sql = f"SELECT {_MONTH.format('')}, cost_pico, started_ns FROM entries WHERE trace_no IN ({{}})"
    for belongs_ns, cost_pico, started_ns in transaction.select_in(sql, trace_nos):
        add_months(months, {month_name(belongs_ns): (1, cost_pico or 0)})
        starts.append(started_ns)
    return WrittenOff(months, min(starts, default=None), max(starts, default=None))
