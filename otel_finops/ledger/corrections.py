"""Corrections of money by a run: standing calls of a time are compared with what they should cost, round after round.

A round reads some traces as settling does, under the lease of their shard, so that what it compares is what stands; it decides
them anew, since only the sightings know all names to look a price up by, and touches no more than money (of estimates, usage).
Each round is one transaction. A run that is broken off leaves whole rounds; asked again it finds those done and goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput
from otel_finops.base.limits import CORRECTION_PAGE_ROWS, GROUPS_MAX
from otel_finops.base.progress import tell
from otel_finops.base.times import format_ns
from otel_finops.genai.sighting import Decision
from otel_finops.ledger.append import append
from otel_finops.ledger.booking import NO_RULES, Booking
from otel_finops.ledger.bound_rules import Rules, bound_cascade, reader_of
from otel_finops.ledger.changes import changes
from otel_finops.ledger.correction_runs import Asked, begin, record_round
from otel_finops.ledger.entry import ROLE_CALL, Entry
from otel_finops.ledger.held_lease import held_lease
from otel_finops.ledger.journal import TraceState, standing_sightings, trace_states
from otel_finops.ledger.neighbours import Neighbourhood, neighbourhoods
from otel_finops.ledger.period_bounds import closed_until_ns
from otel_finops.ledger.projection import Projection
from otel_finops.ledger.rows import entries_of_traces
from otel_finops.ledger.settle import bounded, decided
from otel_finops.ledger.shards import lease_name
from otel_finops.ledger.standing import EntryKey, Standing, real_amounts, states
from otel_finops.ledger.tenants import Tenants, restricted
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.providers import canonical
from otel_finops.store.engine import Store
from otel_finops.store.lease import Lease, Leases
from otel_finops.store.unit_of_work import Transaction


class Selection(NamedTuple):
    """Which standing calls are meant.

    Attributes:
        from_ns, to_ns: start of the calls, from inclusive, to exclusive.
        tenants: whose; None for all.
        provider: family, in any spelling; None for all.
        model: the response's or the request's model as sent, or the key of the price that was booked; capitals do not count.
        unpriced_only: leave alone what has a price.
        force: also rows that started in a closed month; what is corrected there is late and belongs to the open month.
    """

    from_ns: int
    to_ns: int
    tenants: Tenants = None
    provider: str | None = None
    model: str | None = None
    unpriced_only: bool = False
    force: bool = False

    def fits(self, net: Entry) -> bool:
        """Whether a standing call is meant, but for tenant and time."""
        if self.unpriced_only and net.cost_pico is not None:
            return False
        if self.provider is not None and (net.provider is None or canonical(net.provider) != canonical(self.provider)):
            return False
        if self.model is None:
            return True
        return self.model.lower() in {name.lower() for name in (net.response_model, net.request_model, net.price_key) if name}

    def to_json(self) -> dict[str, Any]:
        """The selection for the record."""
        said = {"from": format_ns(self.from_ns), "to": format_ns(self.to_ns), "provider": self.provider, "model": self.model}
        allowed = restricted(self.tenants)
        flags = {name: True for name in ("unpriced_only", "force") if getattr(self, name)}
        return {**{name: value for name, value in said.items() if value is not None}, **flags, "tenants": sorted(allowed or ("*",))}


class Aim(Protocol):
    """What a run wants of a standing call."""

    verb: str

    def wants(self, net: Entry) -> bool:
        """Whether the run looks at such a row at all."""
        ...

    def prepare(self, transaction: Transaction, nets: Sequence[Entry]) -> None:
        """Read what the targets of these rows need."""
        ...

    def target(self, booking: Booking, decision: Decision | None, net: Entry) -> Entry | None:
        """The row that should stand in place of `net`; None when the journal knows other facts, which wait to be settled.

        Without a decision the journal does not hold the call's spans any longer.
        """
        ...


class Group(NamedTuple):
    """Sums over the rows of one provider and model; money in pico-USD, unpriced rows as 0.

    Attributes:
        rows: standing calls that were looked at.
        changed: those that get another price.
        priced, unpriced: of these, those that had none before, and those that have none any more.
        before_pico, after_pico: what the changed rows cost.
    """

    provider: str | None
    model: str | None
    rows: int = 0
    changed: int = 0
    priced: int = 0
    unpriced: int = 0
    before_pico: int = 0
    after_pico: int = 0

    def plus(self, other: Group) -> Group:
        """Both together, under the first one's names."""
        return Group(*self[:2], *(mine + theirs for mine, theirs in zip(self[2:], other[2:], strict=True)))


class Corrected(NamedTuple):
    """What a run did, or in a dry run would do.

    Attributes:
        run_no: its number on record; None where nothing was written.
        groups: by provider and model, those with the largest difference first.
        total: of all groups.
        entries: entries appended.
        protected: rows that would change but started in a closed month.
        skipped: rows that could not be compared: they wait to be settled, or the journal holds them no longer.
        lost_terms: changed rows that lose an account, a discount or a flat fee, because no rule of this run gives it.
    """

    run_no: int | None
    groups: tuple[Group, ...]
    total: Group
    entries: int
    protected: int
    skipped: int
    lost_terms: int = 0


class _Fix(NamedTuple):
    """A row that changes."""

    net: Entry
    target: Entry
    entries: list[Entry]


class _Page(NamedTuple):
    """Rows of a tenant that started in [from_ns, to_ns), and their traces by shard."""

    tenant: str
    from_ns: int
    to_ns: int
    traces: dict[int, list[int]]


class _Found:
    """What rounds came to."""

    def __init__(self) -> None:
        self.groups: dict[tuple[str | None, str | None], Group] = {}
        self.fixes: list[_Fix] = []
        self.entries = self.protected = self.skipped = self.lost_terms = 0

    def saw(self, net: Entry, fix: _Fix | None) -> None:
        """Count a row that was compared."""
        before, after = net.cost_pico, (fix.target if fix else net).cost_pico
        changed = int(fix is not None)
        one = Group(
            net.provider, net.response_model or net.request_model, 1, changed,
            changed * (before is None and after is not None), changed * (before is not None and after is None),
            changed * (before or 0), changed * (after or 0),
        )  # fmt: skip
        self._add(one)
        if fix is not None:
            self.fixes.append(fix)
            self.entries += len(fix.entries)
            self.lost_terms += _loses_terms(net, fix.target)

    def take(self, other: _Found) -> None:
        """Add another round's sums; its fixes are not kept."""
        for one in other.groups.values():
            self._add(one)
        self.entries += other.entries
        self.protected += other.protected
        self.skipped += other.skipped
        self.lost_terms += other.lost_terms

    def _add(self, one: Group) -> None:
        held = self.groups.get(one[:2])
        if held is None and len(self.groups) >= GROUPS_MAX:
            raise BadInput(f"more than {GROUPS_MAX} models; name one (--model), or a shorter time")
        self.groups[one[:2]] = one if held is None else held.plus(one)

    def outcome(self, run_no: int | None) -> Corrected:
        """All of it."""
        total = Group(None, None)
        for one in self.groups.values():
            total = total.plus(one)
        groups = sorted(self.groups.values(), key=lambda one: (-abs(one.after_pico - one.before_pico), one.provider or "", one.model or ""))
        return Corrected(run_no, tuple(groups), total, self.entries, self.protected, self.skipped, self.lost_terms)


class Corrector:
    """Runs corrections over a ledger; safe beside settlers and beside other correctors, in any number of processes."""

    def __init__(
        self,
        store: Store,
        leases: Leases,
        engine: Callable[[], PriceEngine] | PriceEngine,
        projections: Sequence[Projection],
        clock: Clock,
        cascade: Rules = NO_RULES,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """
        Args:
            engine: the prices, or what gives the current ones; a run keeps to those that it began with.
            projections: kept in the transactions that append, as settling keeps them.
            cascade: decides which cost of a call stands, or what gives the one of now.
            sleep: waits seconds; tests replace it.
        """
        self._store = store
        self._leases = leases
        self._engine = engine if callable(engine) else lambda: engine
        self._projections = tuple(projections)
        self._clock = clock
        self._cascade = reader_of(cascade)
        self._sleep = sleep

    @property
    def store(self) -> Store:
        """The ledger's database."""
        return self._store

    @property
    def now_ns(self) -> int:
        """Our time."""
        return self._clock.now_ns()

    def prices(self) -> PriceEngine:
        """The prices of now."""
        return self._engine()

    def run(self, aim: Aim, selection: Selection, *, who: str, why: str, dry_run: bool = False) -> Corrected:
        """Correct what is selected; a dry run comes to the same numbers and writes nothing.

        Raises:
            Busy: somebody else held a shard for longer than 30 s, or a lease was lost; what was done so far stands, and asking
                again goes on from there.
            BadInput: more models than an answer can hold.
        """
        engine = self._engine()
        asked = Asked(aim.verb, who, why, selection.to_json(), engine.version, self._clock.now_ns())
        run, traces = _Run(self, aim, selection, engine, asked), 0
        for page in self._pages(selection, aim):
            for shard, trace_nos in sorted(page.traces.items()):
                run.rounds(page, shard, trace_nos, dry_run=dry_run)
                traces += len(trace_nos)
                tell("traces", traces)
        return run.found.outcome(run.run_no)

    def _pages(self, selection: Selection, aim: Aim) -> Iterator[_Page]:
        with self._store.read() as transaction:
            tenants = list(booked_tenants(transaction, selection.tenants))
        for tenant in tenants:
            from_ns = selection.from_ns
            while from_ns < selection.to_ns:
                with self._store.read() as transaction:
                    page = _page(transaction, tenant, from_ns, selection)
                if page.traces:
                    yield page
                from_ns = page.to_ns


class _Run:
    """One run: what it found so far, and its number once something is written."""

    def __init__(self, corrector: Corrector, aim: Aim, selection: Selection, engine: PriceEngine, asked: Asked) -> None:
        self._corrector = corrector
        self._aim = aim
        self._selection = selection
        self._engine = engine
        self._asked = asked
        self.found = _Found()
        self.run_no: int | None = None

    def rounds(self, page: _Page, shard: int, trace_nos: Sequence[int], *, dry_run: bool) -> None:
        """Go through the traces of a shard, a lease for each round."""
        done = 0
        while done < len(trace_nos):
            if dry_run:
                done += self._round(page, trace_nos[done:], None)
                continue
            desk = self._corrector
            with held_lease(desk._leases, lease_name(shard), desk._clock, desk._sleep) as lease:
                done += self._round(page, trace_nos[done:], lease)

    def _round(self, page: _Page, trace_nos: Sequence[int], lease: Lease | None) -> int:
        """One round over the first of the traces; returns how many it took. Without a lease nothing is written."""
        desk = self._corrector
        with desk._store.read() as transaction:
            seeds = bounded(transaction, trace_states(transaction, trace_nos))
            found = self._planned(transaction, page, seeds)
        run_no = self.run_no
        if lease is not None and found.fixes:
            with desk._store.write() as transaction:
                run_no = self._written(transaction, lease, found)
        self.run_no = run_no
        self.found.take(found)
        return len(seeds)

    def _written(self, transaction: Transaction, lease: Lease, found: _Found) -> int:
        desk = self._corrector
        entries = [entry for fix in found.fixes for entry in fix.entries]
        placed = append(transaction, lease, entries, desk._projections, desk._clock.now_ns())
        run_no = self.run_no or begin(transaction, self._asked)
        before = sum(fix.net.cost_pico or 0 for fix in found.fixes)
        after = sum(fix.target.cost_pico or 0 for fix in found.fixes)
        record_round(transaction, run_no, (placed[0].shard, placed[0].block_seq), len(found.fixes), before, after)
        return run_no

    def _planned(self, transaction: Transaction, page: _Page, seeds: Sequence[TraceState]) -> _Found:
        """What these traces come to. A seed that found no room in its neighbourhood is looked at alone."""
        found = _Found()
        groups = neighbourhoods(transaction, seeds)
        reached = {trace.trace_no for group in groups for trace in group.traces}
        self._compare(transaction, page, groups, {seed.trace_no for seed in seeds} & reached, found)
        for seed in seeds:
            if seed.trace_no not in reached:
                self._compare(transaction, page, neighbourhoods(transaction, [seed]), {seed.trace_no}, found)
        return found

    def _compare(
        self, transaction: Transaction, page: _Page, groups: Sequence[Neighbourhood], wanted: Collection[int], found: _Found
    ) -> None:
        traces = [trace for group in groups for trace in group.traces]
        booked = states(entries_of_traces(transaction, [trace.trace_no for trace in traces if trace.booked]))
        nets = self._meant(page, booked, wanted)
        self._aim.prepare(transaction, nets)
        touched = {net.trace_no for net in nets}
        read = [group for group in groups if any(trace.trace_no in touched for trace in group.traces)]
        sightings = standing_sightings(transaction, [trace.trace_no for group in read for trace in group.seen])
        decisions: dict[EntryKey, Decision] = {}
        for group in read:
            decisions.update(_calls(decided(group, sightings)))
        cascade = bound_cascade(transaction, self._corrector._cascade(transaction), {trace.realm for trace in traces})
        booking = Booking(self._engine, booked, cascade)
        closed_ns = 0 if self._selection.force else closed_until_ns(transaction)
        for net in nets:
            self._compare_row(net, booked[net.key], decisions.get(net.key), booking, closed_ns, found)

    def _meant(self, page: _Page, booked: dict[EntryKey, Standing], wanted: Collection[int]) -> list[Entry]:
        nets = [state.net for state in booked.values() if state.net is not None and state.net.trace_no in wanted]
        return sorted((net for net in nets if self._is_meant(page, net)), key=lambda net: net.key)

    def _is_meant(self, page: _Page, net: Entry) -> bool:
        here = net.role == ROLE_CALL and net.tenant == page.tenant and page.from_ns <= net.started_ns < page.to_ns
        return here and self._selection.fits(net) and self._aim.wants(net)

    def _compare_row(self, net: Entry, state: Standing, decision: Decision | None, booking: Booking, closed_ns: int, found: _Found) -> None:
        target = self._aim.target(booking, decision, net)
        if target is None:
            found.skipped += 1
            return
        entries = [] if target is net else changes(state, target)
        if entries and net.started_ns < closed_ns:
            found.protected += 1
            return
        found.saw(net, _Fix(net, target, entries) if entries else None)


def _loses_terms(net: Entry, target: Entry) -> bool:
    """Whether what was agreed for a row is not agreed any more: an account, a flat fee, or a price below the list's."""
    if (net.account is not None and target.account is None) or (net.coverage_id is not None and target.coverage_id is None):
        return True
    before, after = real_amounts(net), real_amounts(target)
    return before["contracted_pico"] != before["list_pico"] and after["contracted_pico"] == after["list_pico"]


def _calls(decisions: Iterable[Decision]) -> dict[EntryKey, Decision]:
    return {(one.sighting.realm, *one.sighting.key): one for one in decisions if one.role == ROLE_CALL}


def booked_tenants(transaction: Transaction, tenants: Tenants) -> Iterator[str]:
    """The tenants to look through; without a restriction every one that has entries, by jumps through the index."""
    allowed = restricted(tenants)
    if allowed is not None:
        yield from sorted(allowed)
        return
    found = transaction.execute("SELECT MIN(tenant) FROM entries")[0][0]
    while found is not None:
        yield found
        found = transaction.execute("SELECT MIN(tenant) FROM entries WHERE tenant > ?", (found,))[0][0]


_IN_TIME: Final = "FROM entries WHERE tenant = ? AND started_ns >= ? AND started_ns < ?"
_PAGE_END: Final = f"SELECT started_ns {_IN_TIME} ORDER BY started_ns LIMIT 1 OFFSET {CORRECTION_PAGE_ROWS}"
_SAME_MODEL: Final = " OR ".join(f"LOWER({name}) = LOWER(?)" for name in ("response_model", "request_model", "price_key"))


def _page(transaction: Transaction, tenant: str, from_ns: int, selection: Selection) -> _Page:
    """The next rows of a tenant. Every row of one instant is on one page, so that no row is on two."""
    further = transaction.execute(_PAGE_END, (tenant, from_ns, selection.to_ns))
    to_ns = max(int(further[0][0]), from_ns + 1) if further else selection.to_ns
    where, values = "role = 'call'", [tenant, from_ns, to_ns]
    if selection.unpriced_only:
        where += " AND cost_pico IS NULL"
    if selection.model is not None:
        where += f" AND ({_SAME_MODEL})"
        values += [selection.model] * 3
    traces: dict[int, list[int]] = {}
    for shard, trace_no in transaction.execute(f"SELECT DISTINCT shard, trace_no {_IN_TIME} AND {where} ORDER BY trace_no", values):
        traces.setdefault(shard, []).append(trace_no)
    return _Page(tenant, from_ns, to_ns, traces)
