"""Settling: what the journal holds for a trace becomes entries, appended under the lease of the trace's shard.

Reading and deciding happen on a snapshot, before the writing transaction. That is sound: the lease means that nobody else
appends to the shard, and a span that is journalled meanwhile raises its trace's version, so that the trace stays due.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from traceback import extract_tb
from typing import Final, NamedTuple, TypeAlias

from otel_finops.base import limits
from otel_finops.base.clock import Clock
from otel_finops.base.errors import Busy
from otel_finops.base.money import PICO_MAX
from otel_finops.genai.roles import decide
from otel_finops.genai.sighting import Decision, Sighting
from otel_finops.ledger.append import append
from otel_finops.ledger.booking import NO_RULES, Booking
from otel_finops.ledger.bound_rules import Rules, bound_cascade, reader_of
from otel_finops.ledger.changes import changes
from otel_finops.ledger.counted_in import kept
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.faults import is_of_surroundings
from otel_finops.ledger.journal import TraceState, clear_due, due_traces, standing_traces
from otel_finops.ledger.neighbours import Neighbourhood, neighbourhoods
from otel_finops.ledger.projection import PendingCalls, Projection, SettledTrace, TraceProjection, Write
from otel_finops.ledger.recent import RecentTraces
from otel_finops.ledger.rows import entries_of_traces
from otel_finops.ledger.shards import SHARDS, lease_name
from otel_finops.ledger.standing import EntryKey, Standing, states
from otel_finops.pricing.cascade import Cascade
from otel_finops.pricing.engine import PriceEngine
from otel_finops.store.engine import Store
from otel_finops.store.lease import Lease, Leases
from otel_finops.store.unit_of_work import Transaction

_log: Final = logging.getLogger(__name__)

TRACES_PER_ROUND_MAX: Final = 1_024
"""Due traces looked at in one round: real traces hold some ten spans, so this is about `limits.SETTLE_SPANS_MAX`."""
LEASE_HELD_S: Final = 1.0
"""After this time a lease is given back between two rounds, so that others get it; taking and giving back are commits of their own."""
LEASE_WAIT_S: Final = 0.1
"""Pause between two tries at a lease that somebody else holds."""
PARKED_S: Final = 300.0
"""How long a trace that cannot be settled is left alone."""
_ALL_TIMES: Final = PICO_MAX


class Round(NamedTuple):
    """What one settling round found and wants to write.

    Attributes:
        traces: all traces that were read; they are no longer due unless the journal has moved on.
        entries: what to append, in a fixed order.
        settled: the traces as they are once that is appended.
    """

    traces: list[TraceState]
    entries: list[Entry]
    settled: list[SettledTrace]


class Settler:
    """Settles shards; safe to run in several processes, since every round holds the shard's lease."""

    def __init__(
        self,
        store: Store,
        leases: Leases,
        engine: Callable[[], PriceEngine] | PriceEngine,
        projections: Sequence[Projection],
        clock: Clock,
        sleep: Callable[[float], None] = time.sleep,
        cascade: Rules = NO_RULES,
        recent: RecentTraces | None = None,
        trace_projections: Sequence[TraceProjection] = (),
        pending: PendingCalls | None = None,
    ) -> None:
        """
        Args:
            engine: the prices, or what gives the current ones.
            projections: kept in the settling transaction, in this order.
            cascade: decides which cost of a call stands, or what gives the one of now.
            sleep: waits seconds; tests replace it.
            recent: traces that the journal's writer in this process has just written.
            trace_projections: made anew for each trace that settles, after the entries are written.
            pending: told which traces wait no more.
        """
        self._store = store
        self._leases = leases
        self._engine = engine if callable(engine) else lambda: engine
        self._cascade = reader_of(cascade)
        self._projections = tuple(projections)
        self._trace_projections = tuple(trace_projections)
        self._pending = pending
        self._clock = clock
        self._sleep = sleep
        self._recent = recent or RecentTraces()
        self._parked: dict[int, float] = {}

    @property
    def parked(self) -> int:
        """Traces that could not be settled by a fault of ours and are put aside for a while; the log names them."""
        return len(self._parked)

    def settle_due(self, shard: int) -> int:
        """Settle the shard's due traces, round after round for at most a second; returns how many, 0 when the lease is held elsewhere.

        Raises:
            Busy, Unavailable: the store is, or the lease was lost; nothing of the last round is booked and it can be run again.
        """
        if not self._is_due(shard, self._clock.now_ns()):
            return 0
        lease = self._leases.acquire(lease_name(shard))
        return 0 if lease is None else self._rounds_under(lease, shard, self._clock.now_ns)

    def settle_all(self, wait_s: float = 30.0) -> int:
        """Settle everything that is journalled, due or not; returns how many traces.

        Raises:
            Busy: somebody else held a shard's lease longer than `wait_s`; `holder` says who.
        """
        give_up_at = self._clock.monotonic() + wait_s
        return sum(self._settle_shard(shard, give_up_at) for shard in range(SHARDS))

    def _settle_shard(self, shard: int, give_up_at: float) -> int:
        settled = 0
        while self._is_due(shard, _ALL_TIMES):
            lease = self._leases.acquire(lease_name(shard))
            if lease is not None:
                settled += self._rounds_under(lease, shard, lambda: _ALL_TIMES)
            elif self._clock.monotonic() >= give_up_at:
                holder = self._leases.holder_of(lease_name(shard))
                raise Busy(f"the ledger is busy: {holder or 'another process'} is settling it", holder=holder)
            else:
                self._sleep(LEASE_WAIT_S)
        return settled

    def _is_due(self, shard: int, now_ns: int) -> bool:
        with self._store.read() as transaction:
            return bool(self._due(transaction, shard, now_ns, 1))

    def _due(self, transaction: Transaction, shard: int, now_ns: int, limit: int) -> list[TraceState]:
        """Due traces without those that are put aside."""
        now = self._clock.monotonic()
        self._parked = {trace_no: until for trace_no, until in self._parked.items() if until > now}
        due = due_traces(transaction, shard, now_ns, limit + len(self._parked))
        return [trace for trace in due if trace.trace_no not in self._parked][:limit]

    def _rounds_under(self, lease: Lease, shard: int, due_by: Callable[[], int]) -> int:
        """Settle rounds until nothing is due or the lease was held long enough; the lease is given back in any case."""
        give_back_at = self._clock.monotonic() + LEASE_HELD_S
        settled = 0
        try:
            while traces := self._round(lease, shard, due_by()):
                settled += traces
                if self._clock.monotonic() >= give_back_at:
                    break
        finally:
            lease.release()
        return settled

    def _round(self, lease: Lease, shard: int, now_ns: int) -> int:
        """Settle one round; how many traces it read."""
        with self._store.read() as transaction:
            seeds = bounded(transaction, self._due(transaction, shard, now_ns, TRACES_PER_ROUND_MAX), self._recent)
        found, writes = self._planned(seeds)
        if found.traces:
            with self._store.write() as transaction:
                append(transaction, lease, found.entries, self._projections, self._clock.now_ns())
                clear_due(transaction, found.traces)
                if self._pending is not None:
                    self._pending.settled(transaction, [(trace.trace_no, trace.version) for trace in found.traces])
                for write in writes:
                    write(transaction)
            self._recent.forget(trace.trace_no for trace in found.traces)
        return len(found.traces)

    def _planned(self, seeds: list[TraceState]) -> tuple[Round, Sequence[Write]]:
        """The plan for as many of the seeds, from the front, as can be planned; a trace that fails alone is put aside.

        A fault of ours in one trace must not keep all others from being settled for ever. Faults of the store and of the machine
        concern no trace: the round is tried again.
        """
        engine = self._engine()
        while seeds:
            try:
                with self._store.read() as transaction:
                    found = plan(transaction, seeds, engine, self._recent, self._cascade(transaction))
                return found, [projection.planned(found.settled) for projection in self._trace_projections]
            except Exception as error:  # whatever else it is, it concerns some of these traces only; the log names the one
                if is_of_surroundings(error):
                    raise
                if len(seeds) == 1:
                    self._park(seeds[0], error)
                seeds = seeds[: len(seeds) // 2]
        return Round([], [], []), ()

    def _park(self, trace: TraceState, error: Exception) -> None:
        if len(self._parked) < limits.PARKED_TRACES_MAX:
            self._parked[trace.trace_no] = self._clock.monotonic() + PARKED_S
        frames = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(extract_tb(error.__traceback__)[-5:]))
        _log.error("trace %s cannot be settled and waits: %s at %s", trace.trace_id, type(error).__name__, frames)


def plan(
    transaction: Transaction, seeds: Sequence[TraceState], engine: PriceEngine, recent: RecentTraces, cascade: Cascade = NO_RULES
) -> Round:
    """What a round over these due traces would write; reads one snapshot, or what is kept of it, and changes nothing."""
    groups = neighbourhoods(transaction, seeds)
    traces = [trace for group in groups for trace in group.traces]
    seen = {trace.trace_no: trace for group in groups for trace in group.seen}
    sightings = _sightings(transaction, seen.values(), recent)
    booked = states(entries_of_traces(transaction, [trace.trace_no for trace in traces if trace.booked]))
    booking = Booking(engine, booked, bound_cascade(transaction, cascade, {trace.realm for trace in traces}))
    entries: list[Entry] = []
    standing = _standing(booked)
    for group in groups:
        entries += _group_entries(group, sightings, booked, booking, standing)
    settled = [
        SettledTrace(trace.trace_no, trace.booked, sightings.get(trace.trace_no, ()), standing.get(trace.trace_no, {}))
        for trace in traces
        if not trace.sealed
    ]
    return Round(traces, entries, settled)


_Standing: TypeAlias = dict[int, dict[str, Entry]]
"""What stands, by trace number and span id."""


def _standing(booked: Mapping[EntryKey, Standing]) -> _Standing:
    found: _Standing = {}
    for state in booked.values():
        if state.net is not None:
            found.setdefault(state.net.trace_no, {})[state.net.span_id] = state.net
    return found


def _sightings(transaction: Transaction, traces: Iterable[TraceState], recent: RecentTraces) -> dict[int, list[Sighting]]:
    """The spans of each trace as they stand; what is not kept in memory is read, and kept."""
    found, unknown = _kept(traces, recent)
    for state, sightings in standing_traces(transaction, unknown):
        found[state.trace_no] = sightings
        recent.keep(state.trace_no, state.version, sightings)
    return found


def _kept(traces: Iterable[TraceState], recent: RecentTraces) -> tuple[dict[int, list[Sighting]], list[int]]:
    """The spans of the traces that are kept, and the numbers of the others."""
    found: dict[int, list[Sighting]] = {}
    unknown: list[int] = []
    for trace in traces:
        sightings = recent.find(trace.trace_no, trace.version, trace.trace_id)
        if sightings is None:
            unknown.append(trace.trace_no)
        else:
            found[trace.trace_no] = sightings
    return found, unknown


def bounded(transaction: Transaction, due: Sequence[TraceState], recent: RecentTraces | None = None) -> list[TraceState]:
    """The first of the traces, with at most `limits.SETTLE_SPANS_MAX` spans together, one trace at least."""
    kept, unknown = _kept(due, recent or RecentTraces())
    sql = "SELECT trace_no, COUNT(*) FROM journal WHERE trace_no IN ({}) GROUP BY trace_no"
    sizes: dict[int, int] = dict(transaction.select_in(sql, unknown))
    taken: list[TraceState] = []
    spans = 0
    for trace in due:
        spans += len(kept[trace.trace_no]) if trace.trace_no in kept else sizes.get(trace.trace_no, 0)
        if taken and spans > limits.SETTLE_SPANS_MAX:
            break
        taken.append(trace)
    return taken


def _group_entries(
    group: Neighbourhood,
    sightings: Mapping[int, Sequence[Sighting]],
    booked: dict[EntryKey, Standing],
    booking: Booking,
    standing: _Standing,
) -> list[Entry]:
    """The entries of one neighbourhood, ordered by trace and span; `standing` follows them."""
    own = [sighting for trace in group.traces for sighting in sightings.get(trace.trace_no, ())]
    if not any(sighting.genai for sighting in own):
        return []
    numbers = {(trace.realm, trace.trace_id): trace.trace_no for trace in group.traces}
    targets: dict[EntryKey, Entry] = {}
    for decision in decided(group, sightings):
        entry = booking.target(decision, numbers[decision.sighting.realm, decision.sighting.trace_id])
        targets[entry.key] = entry
    if booked:
        targets = {key: kept(target, _net(booked.get(key)), targets) for key, target in targets.items()}
    sealed = {(trace.realm, trace.trace_id) for trace in group.traces if trace.sealed}
    keys = sorted(key for key in _keys(targets, own, booked) if key[:2] not in sealed)
    for key in keys:
        target = targets.get(key)
        if target is not None:
            standing.setdefault(target.trace_no, {})[target.span_id] = target
        elif (gone := _net(booked[key])) is not None:
            del standing[gone.trace_no][gone.span_id]
    return [entry for key in keys for entry in changes(booked.get(key), targets.get(key))]


def _net(state: Standing | None) -> Entry | None:
    return None if state is None else state.net


def decided(group: Neighbourhood, sightings: Mapping[int, Sequence[Sighting]]) -> list[Decision]:
    """What is decided about the spans of a neighbourhood's traces.

    Args:
        sightings: those of all traces that are to be seen, by trace number.
    """
    decisions = decide([sighting for trace in group.seen for sighting in sightings.get(trace.trace_no, ())])
    if not group.originals:
        return decisions
    own = {(trace.realm, trace.trace_id) for trace in group.traces}
    return [decision for decision in decisions if (decision.sighting.realm, decision.sighting.trace_id) in own]


def _keys(targets: Iterable[EntryKey], seen: Iterable[Sighting], booked: dict[EntryKey, Standing]) -> set[EntryKey]:
    """Spans to compare: those that should stand, and those seen that stand and should not any more.

    A booked span that the journal no longer holds is left as it stands: its absence says nothing.
    """
    keys = set(targets)
    if booked:
        keys.update(key for key in ((s.realm, s.trace_id, s.span_id) for s in seen) if key in booked)
    return keys
