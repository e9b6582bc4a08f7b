"""The desk where people ask for anomalies: what was found, why, and what they say of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.money import divide_half_even
from otel_finops.insight.anomaly_scan import Looked, Times, course, read_known
from otel_finops.insight.anomaly_store import (
    Finding,
    Mute,
    Note,
    Tenants,
    Wanted,
    add_mute,
    add_note,
    end_mute,
    find_anomaly,
    list_anomalies,
    read_notes,
    standing_mutes,
)
from otel_finops.insight.anomaly_watch import AnomalyWatch, Outcome
from otel_finops.insight.drivers import Driver, drivers_of
from otel_finops.insight.series import read_series
from otel_finops.insight.uses import read_uses
from otel_finops.ledger.reader import by_reference
from otel_finops.ledger.spend import Question, Tally, tally
from otel_finops.settings.anomalies import Anomalies
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases
from otel_finops.store.unit_of_work import Transaction
from otel_finops.trees.queries import TraceQuery, TraceSummary
from otel_finops.trees.ranking import search_traces

Filters = Mapping[str, Collection[str]]


class Compared(NamedTuple):
    """Why a time cost another amount than another one.

    Attributes:
        value, against: what either cost, pico-USD.
        expected: `against` for as long a time as the first one.
        calls, against_calls: of either.
        drivers: of value - expected.
    """

    value: int
    against: int
    expected: int
    calls: int
    against_calls: int
    drivers: tuple[Driver, ...]


class AnomalyDesk:
    """See `operations.insight_desks.Anomalies`. Safe to use from many threads."""

    def __init__(self, store: Store, clock: Clock, watch: AnomalyWatch, settings: Anomalies) -> None:
        self._store = store
        self._clock = clock
        self._watch = watch
        self._settings = settings

    def run(
        self, days: int | None = None, hours: int | None = None, *, is_stopping: Callable[[], bool] = lambda: False, dry_run: bool = False
    ) -> Outcome:
        """See `AnomalyWatch.run`."""
        return self._watch.run(days, hours, is_stopping=is_stopping, dry_run=dry_run)

    def page(self, wanted: Wanted) -> tuple[Sequence[Finding], Sequence[Mute]]:
        """Anomalies, newest first, and the mutes that hold."""
        with self._store.read() as transaction:
            return list_anomalies(transaction, wanted), standing_mutes(transaction, None, self._clock.now_ns())

    def find(self, no: int, tenants: Tenants) -> tuple[Finding, Sequence[Note], Sequence[Mute]]:
        """One of them, what was said of it, oldest first, and the mutes that hold; raises NotFound where these tenants have none."""
        with self._store.read() as transaction:
            found = find_anomaly(transaction, no, tenants)
            return found, read_notes(transaction, no), standing_mutes(transaction, None, self._clock.now_ns())

    def traces(self, one: Finding, limit: int) -> Sequence[TraceSummary]:
        """The dearest traces of an anomaly; sums are of the calls that belong to it."""
        filters = {name: next(iter(allowed)) for name, allowed in one.scope.filters.items()}
        query = TraceQuery(None, one.start_ns, one.end_ns, filters, limit=limit)
        with self._store.read() as transaction:
            return search_traces(transaction, query).traces

    def note(self, no: int, tenants: Tenants, said: Note, *, dry_run: bool) -> tuple[Finding, Finding]:
        """Put on record what somebody says of an anomaly; returns it before and after, the same where that was its state already."""
        with self._store.write_or_try(dry_run=dry_run) as transaction:
            before = after = find_anomaly(transaction, no, tenants)
            if (before.note.verb if before.note else "reopen") != said.verb:
                add_note(transaction, no, said)
                after = before._replace(note=said)
        return before, after

    def mutes(self, tenants: Tenants) -> Sequence[Mute]:
        """The mutes that hold, oldest first."""
        with self._store.read() as transaction:
            return standing_mutes(transaction, tenants, self._clock.now_ns())

    def mute(self, mute: Mute, *, dry_run: bool) -> Mute:
        """Mute from now on; raises BadInput when there are too many."""
        with self._store.write_or_try(dry_run=dry_run) as transaction:
            return add_mute(transaction, mute)

    def unmute(self, no: int, tenants: Tenants, *, who: str, dry_run: bool) -> Mute:
        """End a mute; raises NotFound where none holds that these tenants may change."""
        with self._store.write_or_try(dry_run=dry_run) as transaction:
            return end_mute(transaction, no, tenants, who, self._clock.now_ns())

    def course(self, tenants: Tenants, filters: Filters, times: Times) -> Sequence[Looked]:
        """Any group's last pieces of time, judged as those of scopes are."""
        with self._store.read() as transaction:
            found = read_series(transaction, tenants, (), times.known_from(transaction), times.to_ns, times.step, times.zone, filters)
        return course(found.starts_ns, found.groups[()], times, self._settings).looked

    def compare(self, question: Question, span: tuple[int, int], against: tuple[int, int]) -> Compared:
        """What drives the difference between two times, of any group; the other time is stretched to the length of the first one."""
        with self._store.read() as transaction:
            asked = question._replace(filters=by_reference(transaction, question.filters))
            value, compared = (_sum(transaction, asked, one) for one in (span, against))
            expected = divide_half_even(compared.cost_pico * (span[1] - span[0]), against[1] - against[0])
            now = read_uses(transaction, asked, [span], value.calls)
            usual = read_uses(transaction, asked, [against], compared.calls)
            known = read_known(transaction, asked, *against)
        drivers = drivers_of(now, usual, value.cost_pico, expected, known)
        return Compared(value.cost_pico, compared.cost_pico, expected, value.calls, compared.calls, drivers)


def _sum(transaction: Transaction, question: Question, span: tuple[int, int]) -> Tally:
    return tally(transaction, question._replace(from_ns=span[0], to_ns=span[1])).get((), Tally())


def anomaly_desk(store: Store, leases: Leases, clock: Clock, settings: Anomalies, zone: str) -> AnomalyDesk:
    """The desk over a ledger whose days begin in a zone."""
    return AnomalyDesk(store, clock, AnomalyWatch(store, leases, clock, settings, zone), settings)
