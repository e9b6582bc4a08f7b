"""Price changes of models that somebody watches, and what they would have cost by the calls of the last days.

Everything is asked of the price book itself, just before and just after each moment at which something changes: lists that were
activated, dates of the second source (those announced for later among them), and the operator's own rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

from otel_finops.base.times import NS_PER_DAY
from otel_finops.ledger.entry import Entry
from otel_finops.pricing.book import PriceRow
from otel_finops.pricing.dated import season_at
from otel_finops.pricing.diff import PriceChange, price_changes
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.match import Match
from otel_finops.pricing.quote import PriceableCall
from otel_finops.pricing.snapshot import Fields

Kind: TypeAlias = Literal["changed", "retired", "appeared", "unpriced"]
"""Other prices; the list no longer has the row, which holds on as a retired one; a row where there was none; none where there was one."""

_WEEK_NS: Final = 7 * NS_PER_DAY
_LAST_NS: Final = 2**62
"""Later than every date that a list announces."""


class Change(NamedTuple):
    """A change of what a name is priced by.

    Attributes:
        at_ns: calls that start from this moment on are charged by the new prices.
        kind: what happened.
        before, after: keys of the rows; None where there is none.
        version: of the list, or the rule, that made the new price; None where there is none.
        prices: what moved.
        hourly: the prices depend on the hour of the call.
    """

    at_ns: int
    kind: Kind
    before: str | None
    after: str | None
    version: str | None
    prices: tuple[PriceChange, ...]
    hourly: bool = False


class Impact(NamedTuple):
    """What calls would have cost before and after a change.

    Attributes:
        calls: how many were priced both ways.
        before_pico, after_pico: exact sums, pico-USD.
        left_out: calls that one of the two cannot price.
    """

    calls: int
    before_pico: int
    after_pico: int
    left_out: int


def changes_of(engine: PriceEngine, provider: str | None, model: str, from_ns: int) -> list[Change]:
    """Every change of what prices a model since a moment (exclusive), those that are announced included; oldest first."""
    found = []
    for at_ns in sorted(moment for moment in _moments(engine, provider, model, from_ns) if moment > from_ns):
        change = _change(engine.resolve(provider, model, at_ns - 1), engine.resolve(provider, model, at_ns), at_ns)
        if change is not None:
            found.append(change)
    return found


def impact_of(engine: PriceEngine, change: Change, calls: Iterable[Entry]) -> Impact:
    """What standing calls would have cost by the prices just before and just after the change, each call priced anew twice."""
    count = before = after = left_out = 0
    for call in calls:
        old, new = (engine.quote(_priceable(call, moment)).cost_pico for moment in _moments_around(change, call.started_ns))
        if old is None or new is None:
            left_out += 1
        else:
            count, before, after = count + 1, before + old, after + new
    return Impact(count, before, after, left_out)


def _moments(engine: PriceEngine, provider: str | None, model: str, from_ns: int) -> set[int]:
    """When something may change: at the book's own moments, and where a season of one of the model's rows begins."""
    moments = {moment for moment in engine.book.moments if moment > from_ns}
    rows = (engine.resolve(provider, model, at_ns) for at_ns in (from_ns, *moments, _LAST_NS))
    return moments | {season.start_ns for match in rows if match is not None for season in match.row.seasons or ()}


def _change(before: Match | None, after: Match | None, at_ns: int) -> Change | None:
    old, new = _prices(before, at_ns - 1), _prices(after, at_ns)
    moved = price_changes(old or {}, new or {})
    kind = _kind(before, after)
    if not moved and kind == "changed":
        return None
    return Change(
        at_ns,
        kind,
        before and before.key,
        after and after.key,
        after and after.row.version,
        moved,
        any(match is not None and _is_hourly(match.row) for match in (before, after)),
    )


def _kind(before: Match | None, after: Match | None) -> Kind:
    if before is None and after is not None:
        return "appeared"
    if after is None and before is not None:
        return "unpriced"
    if before is not None and after is not None and after.row.retired and not before.row.retired:
        return "retired"
    return "changed"


def _prices(match: Match | None, at_ns: int) -> Fields | None:
    if match is None:
        return None
    return match.row.fields if match.row.seasons is None else season_at(match.row.seasons, at_ns).at(at_ns)


def _is_hourly(row: PriceRow) -> bool:
    return "off_peak_pricing" in row.fields or any(len(season.parts) > 1 for season in row.seasons or ())


def _moments_around(change: Change, started_ns: int) -> Iterator[int]:
    """Two moments at which to price a call: just before the change and at it; where hours count the same hour of the same weekday
    in the week before and in the week after.
    """
    if not change.hourly:
        yield from (change.at_ns - 1, change.at_ns)
        return
    after = change.at_ns + (started_ns - change.at_ns) % _WEEK_NS
    yield from (after - _WEEK_NS, after)


def _priceable(call: Entry, at_ns: int) -> PriceableCall:
    """A booked call as if it had started at another moment, by the very row that priced it."""
    return PriceableCall(
        None, (call.price_key or "",), call.usage, at_ns, call.usage_source, None, call.error_type, call.service_tier,
        call.region_kind, call.region, call.speed, account=call.account,
    )  # fmt: skip
