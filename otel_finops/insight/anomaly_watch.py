"""Looking for anomalies: what stands out is stored once, with what drives it; its figures follow while calls come late or are corrected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import Busy
from otel_finops.base.limits import ANOMALIES_EXPLAINED_MAX, ANOMALY_SCOPES_MAX, ANOMALY_SERIES_MAX
from otel_finops.base.progress import tell
from otel_finops.base.times import NS_PER_DAY
from otel_finops.insight.anomaly_scan import SCOPE_KINDS, Course, Looked, Scope, ScopeKind, Times, courses_of, explain, scopes_of
from otel_finops.insight.anomaly_store import (
    Finding,
    clear_anomalies,
    forget_anomalies,
    put_anomaly,
    replace_scores,
    stored_anomalies,
)
from otel_finops.insight.anomaly_words import drivers_json
from otel_finops.insight.series import Step
from otel_finops.settings.anomalies import Anomalies
from otel_finops.store.engine import Store
from otel_finops.store.lease import Lease, Leases

HOURS_LOOKED: Final = 6
"""Hours that are looked at again by the clock, the running one included: spans that come later change the day."""
_LEASE: Final = "anomalies"
_LEASE_TTL_S: Final = 60.0
"""Longer than it takes to read what one anomaly is made of."""


class Outcome(NamedTuple):
    """What a look came to.

    Attributes:
        judged: scopes whose series were judged, days and hours counted apart.
        standing: days and hours that stand out.
        new, renewed, cleared: of the stored ones: that were not there before, whose figures changed, that stand out no more.
        left: whose drivers are worked out next time, since there were too many.
    """

    judged: int = 0
    standing: int = 0
    new: int = 0
    renewed: int = 0
    cleared: int = 0
    left: int = 0

    def plus(self, other: Outcome) -> Outcome:
        """Both together."""
        return Outcome(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def __str__(self) -> str:
        """One line for people."""
        later = f", {self.left} to be explained later" if self.left else ""
        return (
            f"{self.judged} series judged: {self.standing} days and hours stand out, {self.new} of them new, {self.renewed} with other "
            f"figures; {self.cleared} cleared{later}"
        )


class _Standing(NamedTuple):
    scope: Scope
    looked: Looked
    course: Course


class _Seen(NamedTuple):
    """What a reading of the ledger found.

    Attributes:
        scopes: that were judged.
        whole: kinds of which all scopes were judged that there are.
    """

    standing: list[_Standing]
    scores: list[tuple[Scope, int, float]]
    scopes: set[Scope]
    whole: set[ScopeKind]


class AnomalyWatch:
    """Looks for anomalies in one ledger. Safe to use from many threads and processes: one looks at a time.

    Args:
        zone: in which days begin.
    """

    def __init__(self, store: Store, leases: Leases, clock: Clock, settings: Anomalies, zone: str) -> None:
        self._store = store
        self._leases = leases
        self._clock = clock
        self._settings = settings
        self._zone = zone

    def run(
        self, days: int | None = None, hours: int | None = None, *, is_stopping: Callable[[], bool] = lambda: False, dry_run: bool = False
    ) -> Outcome:
        """Look at the last days and hours, the running ones included.

        Args:
            days, hours: how many; 0 for none, None for as many as by the clock.
            dry_run: only say how many stand out.

        Raises:
            Busy: somebody else is looking.
        """
        now_ns = self._clock.now_ns()
        wanted: tuple[tuple[Step, int], ...] = (
            ("day", self._settings.look_back if days is None else days), ("hour", HOURS_LOOKED if hours is None else hours)
        )  # fmt: skip
        times = [Times(step, now_ns, looked, self._zone) for step, looked in wanted if looked]
        if dry_run:
            seen = [self._look(one) for one in times]
            return Outcome(sum(len(one.scopes) for one in seen), sum(len(one.standing) for one in seen))
        lease = self._leases.acquire(_LEASE, _LEASE_TTL_S)
        if lease is None:
            raise Busy("Somebody else is looking for anomalies just now; the findings will be there in a moment.")
        try:
            return self._run(times, lease, is_stopping)
        finally:
            lease.release()

    def _run(self, times: Sequence[Times], lease: Lease, is_stopping: Callable[[], bool]) -> Outcome:
        done = Outcome()
        for one in times:
            done = done.plus(self._follow(one, self._look(one), lease, is_stopping))
        with self._store.write() as transaction:
            lease.confirm(transaction)
            forget_anomalies(transaction, self._clock.now_ns() - self._settings.keep_days * NS_PER_DAY)
        return done

    def _look(self, times: Times) -> _Seen:
        seen = _Seen([], [], set(), set())
        with self._store.read() as transaction:
            for kind in SCOPE_KINDS:
                scopes = scopes_of(transaction, kind, times)
                seen.scopes.update(scopes)
                if len(scopes) < ANOMALY_SCOPES_MAX:
                    seen.whole.add(kind)
                for scope, course in courses_of(transaction, scopes, times, self._settings):
                    seen.standing.extend(_Standing(scope, one, course) for one in course.looked if one.judged and one.judged.stands_out)
                    seen.scores.extend(_score(scope, course))
        return seen

    def _follow(self, times: Times, seen: _Seen, lease: Lease, is_stopping: Callable[[], bool]) -> Outcome:
        """Store what stands out and is not stored so, the newest first, and clear what does not any more."""
        with self._store.read() as transaction:
            stored = stored_anomalies(transaction, times.step, times.first_ns, times.to_ns)
        fresh = [one for one in seen.standing if not _is_stored(one, stored)]
        fresh.sort(key=lambda one: (-one.looked.start_ns, one.scope))
        new = renewed = 0
        for place, one in enumerate(fresh[:ANOMALIES_EXPLAINED_MAX]):
            if is_stopping():
                break
            lease.renew()
            before = stored.get((one.scope, one.looked.start_ns))
            self._put(one, before, times, lease)
            new, renewed = new + (before is None), renewed + (before is not None)
            tell("anomalies", place + 1, len(fresh))
        standing = {(one.scope, one.looked.start_ns) for one in seen.standing}
        over = [
            one.no for one in stored.values()
            if one.cleared_ns is None and one.place not in standing and (one.scope in seen.scopes or one.scope.kind in seen.whole)
        ]  # fmt: skip
        with self._store.write() as transaction:
            lease.confirm(transaction)
            clear_anomalies(transaction, over, self._clock.now_ns())
            replace_scores(transaction, times.step, sorted(seen.scores, key=lambda score: -score[2])[:ANOMALY_SERIES_MAX])
        return Outcome(len(seen.scopes), len(seen.standing), new, renewed, len(over), len(fresh) - new - renewed)

    def _put(self, one: _Standing, before: Finding | None, times: Times, lease: Lease) -> None:
        with self._store.read() as transaction:
            drivers = drivers_json(explain(transaction, one.scope, one.looked, one.course, times))
        now_ns = self._clock.now_ns()
        finding = _finding(one, times.step, now_ns)._replace(drivers=drivers)
        if before is not None:
            finding = finding._replace(no=before.no, found_ns=before.found_ns)
        with self._store.write() as transaction:
            lease.confirm(transaction)
            put_anomaly(transaction, finding)


def _finding(one: _Standing, step: Step, now_ns: int) -> Finding:
    looked, judged = one.looked, one.looked.judged
    assert judged is not None
    return Finding(
        0, one.scope, step, looked.start_ns, looked.end_ns, looked.is_running, now_ns, now_ns, looked.amounts.amount,
        round(judged.expected), round(judged.spread), judged.score, judged.points, looked.amounts.calls, None,
    )  # fmt: skip


def _is_stored(one: _Standing, stored: dict[tuple[Scope, int], Finding]) -> bool:
    before, judged = stored.get((one.scope, one.looked.start_ns)), one.looked.judged
    assert judged is not None
    if before is None or before.cleared_ns is not None:
        return False
    figures = (one.looked.amounts.amount, round(judged.expected), round(judged.spread), one.looked.is_running)
    return (before.value, before.expected, before.spread, before.is_running) == figures


def _score(scope: Scope, course: Course) -> Iterator[tuple[Scope, int, float]]:
    """How a scope stands: by the last piece that is over, or by the running one where that is more already."""
    last = [(one.judged.score, one.start_ns) for one in course.looked[-2:] if one.judged is not None]
    if last:
        score, start_ns = max(last)
        yield scope, start_ns, score
