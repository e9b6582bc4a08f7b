"""Days and hours of spend that stand out, in all that there is or in one tenant, model, agent or cost centre, read from the ledger."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from itertools import groupby
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from otel_finops.base.limits import ANOMALY_SCOPES_MAX, DASHBOARD_CELLS_MAX
from otel_finops.base.money import PICO_PER_USD
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.base.zones import back, date_in, next_start, zone_of
from otel_finops.insight.anomaly import Judged, Point, Rule, judge_at
from otel_finops.insight.anomaly_rules import DAYS_BACK, HOURS_BACK, HOURS_OF_DAY, day_rule, hour_rule
from otel_finops.insight.drivers import Driver, Known, drivers_of
from otel_finops.insight.series import Step, cut_from, read_series
from otel_finops.insight.uses import read_uses
from otel_finops.ledger.spend import Question, tally
from otel_finops.ledger.spend_entries import Amounts
from otel_finops.settings.anomalies import Anomalies
from otel_finops.store.unit_of_work import Transaction

ScopeKind: TypeAlias = Literal["global", "tenant", "model", "agent", "cost_center"]
SCOPE_KINDS: Final[tuple[ScopeKind, ...]] = get_args(ScopeKind)
_COMPARED: Final[Mapping[Step, int]] = {"day": 7, "hour": 48}
"""So many pieces before one tell what calls usually use."""
_SCOPES_AT_ONCE: Final = 200
_PIECES_BACK: Final[Mapping[Step, int]] = {"day": DAYS_BACK, "hour": HOURS_BACK}


class Scope(NamedTuple):
    """Whose spend: all of it, a tenant's, or that of a model, an agent or a cost centre of a tenant.

    Attributes:
        tenant: `*` for all.
        name: of the model, agent or cost centre; "" otherwise.
    """

    kind: ScopeKind
    tenant: str = ANY_TENANT
    name: str = ""

    @property
    def filters(self) -> Mapping[str, Collection[str]]:
        """The same as filters of spend reports, the tenant included."""
        whose = {} if self.tenant == ANY_TENANT else {"tenant": (self.tenant,)}
        return {**whose, self.kind: (self.name,)} if self.name else whose


class Looked(NamedTuple):
    """A piece of time of a series, judged.

    Attributes:
        end_ns: where it ends, or will.
        is_running: it is not over; what it costs can only become more.
        judged: None where there is too little to compare it with.
    """

    start_ns: int
    end_ns: int
    amounts: Amounts
    is_running: bool
    judged: Judged | None


class Course(NamedTuple):
    """A scope's series.

    Attributes:
        pieces: all that were read, those that others are compared with included.
        looked: the last so many of them, judged.
    """

    starts_ns: tuple[int, ...]
    pieces: tuple[Amounts, ...]
    looked: tuple[Looked, ...]


class Times(NamedTuple):
    """Which pieces of time are looked at.

    Attributes:
        step: days as the zone has them, or hours.
        now_ns: within the last piece that is looked at, the running one.
        looked: so many, the running one included.
    """

    step: Step
    now_ns: int
    looked: int
    zone: str = "UTC"

    @property
    def from_ns(self) -> int:
        """Where the first piece begins with which the first one looked at is compared."""
        return max(0, back(self.step, self.now_ns, self.looked - 1 + _PIECES_BACK[self.step], self._cut))

    def known_from(self, transaction: Transaction) -> int:
        """The same, or later where retention left nothing that could be told apart by such pieces."""
        return cut_from(transaction, self.from_ns, self.zone) if self.step == "day" else self.from_ns

    @property
    def first_ns(self) -> int:
        """Where the first piece that is looked at begins."""
        return max(0, back(self.step, self.now_ns, self.looked - 1, self._cut))

    @property
    def to_ns(self) -> int:
        """Where the running piece ends."""
        return next_start(self.step, self.now_ns, self._cut)

    @property
    def _cut(self) -> tzinfo:
        return zone_of(self.zone) if self.step == "day" else UTC


def scopes_of(transaction: Transaction, kind: ScopeKind, times: Times, tenants: Collection[str] | None = None) -> list[Scope]:
    """The scopes of a kind in which anything was spent in the pieces that are looked at, at most so many, those that spent most first."""
    if kind == "global":
        return [Scope("global")]
    by = ("tenant",) if kind == "tenant" else ("tenant", kind)
    found = tally(transaction, Question(tenants, by, times.first_ns, times.to_ns), DASHBOARD_CELLS_MAX)
    order = sorted((key for key, sums in found.items() if sums.cost_pico > 0 and all(key)), key=lambda key: (-found[key].cost_pico, key))
    return [Scope(kind, key[0], key[1] if len(key) > 1 else "") for key in order[:ANOMALY_SCOPES_MAX]]


def courses_of(transaction: Transaction, scopes: Sequence[Scope], times: Times, settings: Anomalies) -> Iterator[tuple[Scope, Course]]:
    """The series of scopes of one kind, judged."""
    for some in _together(scopes):
        kind = some[0].kind
        by = () if kind == "global" else ("tenant",) if kind == "tenant" else ("tenant", kind)
        names = {name: sorted({value for one in some for value in one.filters.get(name, ())}) for name in by}
        series = read_series(transaction, None, by, times.known_from(transaction), times.to_ns, times.step, times.zone, names)
        for scope in some:
            key = tuple(next(iter(scope.filters[name])) for name in by)
            if key in series.groups:
                yield scope, course(series.starts_ns, series.groups[key], times, settings)


def _together(scopes: Sequence[Scope]) -> Iterator[list[Scope]]:
    """Scopes to be read in one go: of few tenants each, since names of one tenant are read of all of them."""
    ordered = sorted(scopes)
    for place in range(0, len(ordered), _SCOPES_AT_ONCE):
        piece = ordered[place : place + _SCOPES_AT_ONCE]
        if len({one.tenant for one in piece}) * len({one.name for one in piece}) <= 2 * _SCOPES_AT_ONCE:
            yield piece
        else:
            yield from (list(group) for _, group in groupby(piece, key=lambda one: one.tenant))


def course(starts_ns: Sequence[int], pieces: Sequence[Amounts], times: Times, settings: Anomalies) -> Course:
    """Judge the last pieces of a series. It begins where anything was spent first; the last piece is not over yet."""
    rule = (day_rule if times.step == "day" else hour_rule)(settings, float(PICO_PER_USD))
    begun = next((place for place, amounts in enumerate(pieces) if amounts.amount or amounts.calls), len(pieces))
    series = [Point(float(amounts.amount), _slot(start, times)) for start, amounts in zip(starts_ns[begun:], pieces[begun:], strict=True)]
    ends = (*starts_ns[1:], times.to_ns)
    closed = sum(1 for end in ends[begun:] if end <= times.now_ns)
    looked = []
    for place in range(max(0, len(pieces) - times.looked), len(pieces)):
        judged = None if place < begun else _judged(series, place - begun, rule, closed, times.step)
        looked.append(Looked(starts_ns[place], ends[place], pieces[place], ends[place] > times.now_ns, judged))
    return Course(tuple(starts_ns), tuple(pieces), tuple(looked))


def _judged(series: Sequence[Point], at: int, rule: Rule, closed: int, step: Step) -> Judged | None:
    return judge_at(series, at, rule, closed=closed, back=_PIECES_BACK[step])


def _slot(start_ns: int, times: Times) -> int:
    """The weekday, from Monday on, or the hour of the week, as the zone has them."""
    zone = zone_of(times.zone)
    if times.step == "day":
        return date_in(start_ns, zone).weekday()
    local = datetime.fromtimestamp(start_ns // NS_PER_SECOND, zone)
    return local.weekday() * HOURS_OF_DAY + local.hour


def explain(transaction: Transaction, scope: Scope, one: Looked, of: Course, times: Times) -> tuple[Driver, ...]:
    """What drives the difference between what a piece cost and what was expected."""
    assert one.judged is not None
    expected = round(one.judged.expected)
    compared = _compared(one, of, times)
    now = read_uses(transaction, _question(scope), [(one.start_ns, one.end_ns)], one.amounts.calls)
    spans = [(of.starts_ns[place], _end(of, place, times)) for place in compared]
    usual = read_uses(transaction, _question(scope), _joined(spans), sum(of.pieces[place].calls for place in compared))
    known = read_known(transaction, _question(scope), of.starts_ns[0], max([one.start_ns, *(end for _, end in spans)]), one)
    return drivers_of(now, usual, one.amounts.amount, expected, known)


def _question(scope: Scope) -> Question:
    return Question(None, filters=scope.filters)


def _compared(one: Looked, of: Course, times: Times) -> list[int]:
    """Pieces near this one in which something was spent and that do not stand out by its own measure, those before it first."""
    assert one.judged is not None
    edge = one.judged.expected + 3 * one.judged.spread
    at = of.starts_ns.index(one.start_ns)
    order = [*range(at - 1, -1, -1), *(place for place in range(at + 1, len(of.pieces)) if _end(of, place, times) <= times.now_ns)]
    spent = [place for place in order if of.pieces[place].amount > 0]
    usual = [place for place in spent if of.pieces[place].amount <= edge]
    return sorted((usual or spent)[: _COMPARED[times.step]])


def _end(of: Course, place: int, times: Times) -> int:
    return of.starts_ns[place + 1] if place + 1 < len(of.starts_ns) else times.to_ns


def _joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for lower, upper in spans:
        if joined and joined[-1][1] == lower:
            joined[-1] = joined[-1][0], upper
        else:
            joined.append((lower, upper))
    return joined


def read_known(transaction: Transaction, question: Question, from_ns: int, to_ns: int, one: Looked | None = None) -> Known:
    """Who was seen in [from_ns, to_ns), the piece in question left out; users and sessions are filtered by reference."""
    spans = [(from_ns, to_ns)] if one is None else [(from_ns, one.start_ns), (one.end_ns, to_ns)]
    agents: set[tuple[str, str]] = set()
    models: set[tuple[str, str]] = set()
    for lower, upper in spans:
        if lower < upper:
            within = question._replace(from_ns=lower, to_ns=upper)
            agents.update(_pairs(transaction, within, ("tenant", "agent")))
            models.update(_pairs(transaction, within, ("provider", "model")))
    return Known(frozenset(tenant for tenant, _ in agents), frozenset(agents), frozenset(models))


def _pairs(transaction: Transaction, question: Question, by: tuple[str, str]) -> Iterator[tuple[str, str]]:
    yield from ((str(first), str(second)) for first, second in tally(transaction, question._replace(group_by=by), DASHBOARD_CELLS_MAX))
