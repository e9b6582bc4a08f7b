"""The dashboard: key figures with their change, their course, and what costs most."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pydantic import Field

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import TREND_PIECES_MAX
from otel_finops.base.money import divide_half_even, format_usd
from otel_finops.base.times import format_ns
from otel_finops.base.zones import ZONE_CHARS_MAX, back, instant_in, pieces, start_of, zone_of
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import BASIS, BasisName, CallFilters, Instant, TenantScoped, given_filters
from otel_finops.operations.registry import Json, Output, operation
from otel_finops.operations.shapes import At, Count, Usd

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from datetime import tzinfo

    from otel_finops.ledger.course import Span
    from otel_finops.ledger.dashboard import Compared, Figures
    from otel_finops.ledger.spend import Question, Tally

KeyName: TypeAlias = Literal[
    "model", "provider", "tenant", "agent", "service", "cost_center", "operation", "environment", "cost_method", "unpriced_reason",
    "step", "tool", "workflow", "user", "session", "purpose", "realm", "service_tier", "region", "price_key", "error_type",
]  # fmt: skip
"""Keys of spend reports but for the times."""
_DAYS: Final = 30
_PIECES: Final[Mapping[Literal["hour", "day", "week", "month"], int]] = {"hour": 24, "day": _DAYS, "week": 12, "month": 12}
"""How many are shown when nobody says from when."""


class DashboardQuery(TenantScoped, CallFilters):
    """Which calls, in which time."""

    from_: Instant | None = Field(
        default=None, alias="from", description="Calls that started then or later; without an offset in the zone. 30 days when not given."
    )
    to: Instant | None = Field(default=None, description="Calls that started before; now when not given.")
    zone: str | None = Field(
        default=None,
        min_length=1,
        max_length=ZONE_CHARS_MAX,
        description="IANA time zone in which days begin, e.g. Europe/Rome; `display.zone` when not given.",
    )
    basis: BasisName = BASIS

    def place(self, context: Context) -> tzinfo:
        """The time zone."""
        return zone_of(self.zone or context.zone)

    def question(self, principal: Principal) -> Question:
        """Whose calls and which, without a time."""
        from otel_finops.ledger.spend import Question  # noqa: PLC0415 - `--help` must not load the database rooms

        filters = {name: (value,) for name, value in given_filters(self, CallFilters).items()}
        return Question(self.tenants(principal), filters=filters, basis=self.basis)

    def span(self, now_ns: int, first_ns: int, zone: tzinfo) -> Span:
        """The time that is meant.

        Args:
            first_ns: where it begins when nobody says.

        Raises:
            BadInput: it ends before it begins.
        """
        from_ns = first_ns if self.from_ is None else instant_in(self.from_, zone)
        to_ns = max(now_ns, from_ns) if self.to is None else instant_in(self.to, zone)
        if to_ns < from_ns:
            raise BadInput("`to` lies before `from`")
        if from_ns < 0:
            raise BadInput("from: out of range; instants lie between 1970 and 2262")
        return from_ns, to_ns


def _before(span: Span) -> Span:
    """The same length of time before."""
    return max(0, 2 * span[0] - span[1]), span[0]


# --- key figures -------------------------------------------------------------------------------------------------------


class KeyFigures(Output):
    """Sums over the standing calls of a time."""

    from_: At = Field(alias="from")
    to: At
    cost_usd: Usd
    calls: Count
    tokens: Count
    average_usd: Usd | None = Field(description="Of a call that has a price; null when there is none.")
    models: Count = Field(description="Different ones, by provider and name.")
    unpriced_calls: Count
    unpriced_tokens_share: float = Field(ge=0, le=1, description="Tokens of calls without a price, of all tokens.")
    failed_calls: Count = Field(description="Answered with an error.")
    cache_share: float | None = Field(ge=0, le=1, description="Prompt tokens read from a cache, of all prompt tokens; null without any.")


class ComparedFigures(KeyFigures):
    """Figures beside those of the same length of time of the period before."""

    before: KeyFigures
    change_usd: str = Field(description="By how much the cost is more, or with a minus less.")
    change_percent: float | None = Field(description="The same of the cost before, in per cent; null when that was 0.")


class Kpis(Output):
    """Today, the month so far, and the time that was asked for."""

    zone: str
    basis: BasisName
    at: At = Field(description="Now; to here `today` and `month` reach.")
    today: ComparedFigures = Field(description="Since midnight; before: as long of the day before.")
    month: ComparedFigures = Field(description="Since the first; before: as long of the month before, at most all of it.")
    window: ComparedFigures = Field(description="From `from` to `to`; before: as long before.")
    pending_usd: Usd = Field(description="Quotes of calls that are received and not settled yet; in no sum.")


@operation(
    "dashboard.kpis",
    "dashboard/kpis",
    takes=DashboardQuery,
    output=Kpis,
    permission="view",
    feature="dashboard",
    summary="Show cost, calls, tokens and more of today, this month and any time, with the change against the time before.",
)
def kpis(context: Context, principal: Principal, given: DashboardQuery) -> Json:
    """The figures are those of a spend report over the same time."""
    zone, now_ns = given.place(context), context.clock.now_ns()
    today, month = _so_far("day", now_ns, zone), _so_far("month", now_ns, zone)
    window = given.span(now_ns, back("day", now_ns, _DAYS - 1, zone), zone)
    found, pending_pico = context.dashboard.kpis(given.question(principal), [today, month, (window, _before(window))])
    names = ("today", "month", "window")
    return {
        "zone": given.zone or context.zone,
        "basis": given.basis,
        "at": format_ns(now_ns),
        **{name: _compared(one) for name, one in zip(names, found, strict=True)},
        "pending_usd": format_usd(pending_pico),
    }


def _so_far(unit: Literal["day", "month"], now_ns: int, zone: tzinfo) -> tuple[Span, Span]:
    """The unit up to now, and as long of the one before, at most all of it."""
    start, earlier = start_of(unit, now_ns, zone), back(unit, now_ns, 1, zone)
    return (start, now_ns), (earlier, min(earlier + now_ns - start, start))


def _compared(one: Compared) -> dict[str, Any]:
    now, before = one.figures.cost_pico, one.before.cost_pico
    return {**_figures(one.span, one.figures), "before": _figures(one.before_span, one.before), **_change(now, before)}


def _change(now_pico: int, before_pico: int) -> dict[str, Any]:
    percent = None if not before_pico else round(float(Fraction(100 * (now_pico - before_pico), abs(before_pico))), 2)
    return {"change_usd": format_usd(now_pico - before_pico), "change_percent": percent}


def _figures(span: Span, found: Figures) -> dict[str, Any]:
    priced = found.calls - found.unpriced_calls
    return {
        "from": format_ns(span[0]),
        "to": format_ns(span[1]),
        "cost_usd": format_usd(found.cost_pico),
        "calls": found.calls,
        "tokens": found.tokens,
        "average_usd": format_usd(divide_half_even(found.cost_pico, priced)) if priced else None,
        "models": found.models,
        "unpriced_calls": found.unpriced_calls,
        "unpriced_tokens_share": found.unpriced_tokens / found.tokens if found.tokens else 0.0,
        "failed_calls": found.failed_calls,
        "cache_share": found.cache_read / found.prompt if found.prompt else None,
    }


# --- what costs most ---------------------------------------------------------------------------------------------------


class TopQuery(DashboardQuery):
    """What costs most by which key."""

    by: KeyName = Field(
        default="model",
        description="model, provider, tenant, agent, service, cost_center, operation, environment, cost_method or unpriced_reason; "
        "slower, as only entries know them: step, tool, workflow, user, session, purpose, realm, service_tier, region, price_key or "
        "error_type.",
    )
    limit: int = Field(default=10, ge=1, le=100, description="How many, 1 to 100.")


class Sums(Output):
    """Sums of a part."""

    cost_usd: Usd
    calls: Count
    tokens: Count
    unpriced_calls: Count
    share: float | None = Field(description="Of the whole cost; null when that is 0.")
    change_usd: str = Field(description="By how much it is more than in the time before, or with a minus less.")
    change_percent: float | None


class TopRow(Sums):
    """One of what costs most."""

    name: str | None = Field(description="Null: not known.")


class Rest(Sums):
    """All others together."""

    count: Count


class Top(Output):
    """What costs most, dearest first."""

    by: KeyName
    zone: str
    basis: BasisName
    from_: At = Field(alias="from")
    to: At
    top: list[TopRow]
    others: Rest
    total_usd: Usd
    change_usd: str
    change_percent: float | None


@operation(
    "dashboard.top",
    "dashboard/top",
    takes=TopQuery,
    output=Top,
    permission="view",
    feature="dashboard",
    summary="Show what costs most, models, tenants, agents, steps and the like, with share and change.",
)
def top(context: Context, principal: Principal, given: TopQuery) -> Json:
    """The rows and the others add up to the total."""
    zone, now_ns = given.place(context), context.clock.now_ns()
    span = given.span(now_ns, back("day", now_ns, _DAYS - 1, zone), zone)
    found = context.dashboard.top(given.question(principal), given.by, span, _before(span), given.limit)
    total = found.total.cost_pico
    return {
        "by": given.by,
        "zone": given.zone or context.zone,
        "basis": given.basis,
        "from": format_ns(span[0]),
        "to": format_ns(span[1]),
        "top": [{"name": row.name, **_part(row.sums, total, row.before_pico)} for row in found.rows],
        "others": {"count": found.others, **_part(found.rest, total, found.rest_before_pico)},
        "total_usd": format_usd(total),
        **_change(total, found.before_pico),
    }


def _part(sums: Tally, total_pico: int, before_pico: int) -> dict[str, Any]:
    share = float(Fraction(sums.cost_pico, total_pico)) if total_pico else None
    return {**_sums(sums), "unpriced_calls": sums.unpriced_calls, "share": share, **_change(sums.cost_pico, before_pico)}


def _sums(sums: Tally) -> dict[str, Any]:
    return {"cost_usd": format_usd(sums.cost_pico), "calls": sums.calls, "tokens": sums.tokens}


# --- the course --------------------------------------------------------------------------------------------------------


class TrendQuery(DashboardQuery):
    """In which pieces, split by what."""

    by: Literal["hour", "day", "week", "month"] = Field(
        default="day", description="hour, day, week (from Monday) or month. Without `from` 24 hours, 30 days, 12 weeks or 12 months."
    )
    split: KeyName | None = Field(default=None, description="Also the parts of the dearest by this key, as in dashboard.top.")
    limit: int = Field(default=5, ge=1, le=20, description="How many of them are kept apart, 1 to 20; the others are one more part.")


class TrendLine(Output):
    """What the parts of each piece belong to, in their order."""

    name: str | None = Field(description="Null: not known, or all others.")
    others: bool
    cost_usd: Usd
    calls: Count
    tokens: Count


class PartSums(Output):
    """Sums of one line in one piece."""

    cost_usd: Usd
    calls: Count
    tokens: Count


class Piece(Output):
    """One hour, day, week or month; the first and the last may be cut by the time that was asked for."""

    from_: At = Field(alias="from")
    to: At
    cost_usd: Usd
    calls: Count
    tokens: Count
    unpriced_calls: Count
    parts: list[PartSums] = Field(description="In the order of `lines`.")


class Trend(Output):
    """The course, oldest first; empty pieces are there as zeros."""

    by: Literal["hour", "day", "week", "month"]
    split: KeyName | None
    zone: str
    basis: BasisName
    lines: list[TrendLine]
    pieces: list[Piece]
    total_usd: Usd


@operation(
    "dashboard.trend",
    "dashboard/trend",
    takes=TrendQuery,
    output=Trend,
    permission="view",
    feature="dashboard",
    summary="Show the course of spend by hour, day, week or month of a time zone, on demand split by what costs most.",
)
def trend(context: Context, principal: Principal, given: TrendQuery) -> Json:
    """Pieces follow each other without gaps and add up to a spend report over the whole time."""
    zone, now_ns = given.place(context), context.clock.now_ns()
    until = now_ns if given.to is None else instant_in(given.to, zone)
    span = given.span(now_ns, back(given.by, max(0, until - 1), _PIECES[given.by] - 1, zone), zone)
    spans = _cut(given.by, span, zone)
    found = context.dashboard.trend(given.question(principal), spans, given.split, given.limit) if spans else None
    cells = [] if found is None else list(zip(found.spans, found.sums, found.parts or [()] * len(found.spans), strict=True))
    return {
        "by": given.by,
        "split": given.split,
        "zone": given.zone or context.zone,
        "basis": given.basis,
        "lines": [{"name": one.name, "others": one.rest, **_sums(one.sums)} for one in (found.lines if found else ())],
        "pieces": [_piece(span, sums, parts) for span, sums, parts in cells],
        "total_usd": format_usd(sum(sums.cost_pico for _, sums, _ in cells)),
    }


def _cut(unit: Literal["hour", "day", "week", "month"], span: Span, zone: tzinfo) -> list[Span]:
    found: list[Span] = []
    for piece in pieces(unit, *span, zone):
        if len(found) >= TREND_PIECES_MAX:
            raise BadInput(f"by: there are more than {TREND_PIECES_MAX} {unit}s in this time; take longer pieces, or a shorter time")
        found.append(piece)
    return found


def _piece(span: Span, sums: Tally, parts: tuple[Tally, ...]) -> dict[str, Any]:
    return {
        "from": format_ns(span[0]),
        "to": format_ns(span[1]),
        **_sums(sums),
        "unpriced_calls": sums.unpriced_calls,
        "parts": [_sums(part) for part in parts],
    }
