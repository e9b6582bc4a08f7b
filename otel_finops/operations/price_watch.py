"""Watching models' prices: subscribe, see what changed, and what it would have cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from otel_finops.base.errors import NotFound
from otel_finops.base.money import format_usd
from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Name, Paged, page_of
from otel_finops.operations.prices import PriceMove
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.scope_fields import owner_of
from otel_finops.operations.shapes import At, Count, Usd

if TYPE_CHECKING:  # the rooms load a database toolkit, which `--help` must not wait for
    from otel_finops.ledger.price_watches import Watch
    from otel_finops.operations.watch_desk import Watched

_DAYS_MAX: Final = 366


class NewWatch(Input):
    """Which model."""

    model: Name = Field(min_length=1, description="A model's name as spans carry it, or a price key.")
    provider: Name | None = Field(default=None, description="The provider, in any spelling.")
    tenant: Name | None = Field(default=None, description="Whose calls it is about; all that one may see when not given.")


class WatchShown(Output):
    """A watched model."""

    no: int
    model: str
    provider: str | None
    tenant: str = Field(description="Whose calls it is about; `*`: all.")
    since: At
    who: str


class Watches(Output):
    """A page of those that one may see, oldest first."""

    watches: list[WatchShown]
    next_cursor: str | None


class WatchNumber(Input):
    """Which watch."""

    no: int = Field(ge=1, le=2**53, description="The watch's number, as prices.watches shows it.")


@operation(
    "prices.watch",
    "prices/watches",
    takes=NewWatch,
    output=WatchShown,
    permission="manage",
    feature="prices",
    changes=True,
    summary="Watch the price of a model.",
)
def watch(context: Context, principal: Principal, given: NewWatch) -> Changed | Unchanged:
    """The watch; one that is there already is given back as it is."""
    made, new = context.watches.add(owner_of(principal, given.tenant), given.provider, given.model, who=principal.who)
    return Changed(_shown(made), None, _shown(made), made.tenant) if new else Unchanged(_shown(made))


@operation(
    "prices.watches",
    "prices/watches",
    takes=Paged,
    output=Watches,
    permission="view",
    feature="prices",
    summary="List the watched models.",
)
def watches(context: Context, principal: Principal, given: Paged) -> Json:
    """Watches of all tenants are shown to everybody: prices are everybody's."""
    page, more = page_of(context.watches.all(principal.tenants), given, "prices.watches", lambda one: (one.no,))
    return {"watches": [_shown(one) for one in page], "next_cursor": more}


@operation(
    "prices.unwatch",
    "prices/watches/{no}/end",
    takes=WatchNumber,
    output=WatchShown,
    permission="manage",
    feature="prices",
    changes=True,
    summary="Watch the price of a model no longer.",
)
def unwatch(context: Context, principal: Principal, given: WatchNumber) -> Changed | Unchanged:
    """The watch that was ended; it stays on record."""
    ended, now = context.watches.end(given.no, principal.tenants, who=principal.who)
    return Changed(_shown(ended), _shown(ended), None, ended.tenant) if now else Unchanged(_shown(ended))


class ChangeQuery(Paged):
    """Over how many days."""

    days: int | None = Field(
        default=None,
        ge=1,
        le=_DAYS_MAX,
        description="Changes of so many days, costed by the calls of as many days; prices.watch_days when not given.",
    )
    no: int | None = Field(default=None, ge=1, le=2**53, description="Only of this watch.")


class PriceChanged(Output):
    """A change of a watched model's price."""

    no: int = Field(description="The watch.")
    model: str
    provider: str | None
    at: At = Field(description="Calls that start from then on are charged by the new prices; it may lie ahead.")
    announced: bool = Field(description="It lies ahead.")
    kind: str = Field(description="changed; retired: the list has the row no longer and it holds on; appeared; unpriced.")
    key: str | None
    version: str | None = Field(description="Of the list, or the rule, that made the new price.")
    prices: list[PriceMove]
    calls: Count = Field(description="Standing calls of the last days that were priced by the row, priced anew both ways.")
    left_out_calls: Count = Field(description="Calls that one of the two cannot price.")
    before_usd: Usd
    after_usd: Usd
    difference_usd: Usd


class PriceChanges(Output):
    """A page of them, latest first."""

    days: int
    changes: list[PriceChanged]
    next_cursor: str | None


@operation(
    "prices.changes",
    "prices/changes",
    takes=ChangeQuery,
    output=PriceChanges,
    permission="view",
    feature="prices",
    summary="Say which watched models' prices changed or will, and what the last days' calls would have cost by either.",
)
def changes(context: Context, principal: Principal, given: ChangeQuery) -> Json:
    """Exact sums over the calls that the principal may see."""
    days = given.days or context.watches.days
    found = context.watches.changes(principal.tenants, days, given.no)
    if given.no is not None and given.no not in {one.no for one in context.watches.all(principal.tenants)}:
        raise NotFound(f"There is no watch {given.no}.")
    now_ns = context.clock.now_ns()
    page, more = page_of(found, given, "prices.changes", lambda one: (-one.change.at_ns, one.watch.no))
    return {"days": days, "changes": [_change(one, now_ns) for one in page], "next_cursor": more}


def _shown(one: Watch) -> dict[str, Any]:
    return {
        "no": one.no,
        "model": one.model,
        "provider": one.provider,
        "tenant": one.tenant,
        "since": format_ns(one.since_ns),
        "who": one.who,
    }


def _change(one: Watched, now_ns: int) -> dict[str, Any]:
    from otel_finops.pricing.diff import in_usd  # noqa: PLC0415 - `--help` must not load the price rooms

    change, impact = one.change, one.impact
    prices = [
        {
            "field": price.field,
            "before": None if price.before is None else in_usd(price.before),
            "after": None if price.after is None else in_usd(price.after),
        }
        for price in change.prices
    ]
    return {
        "no": one.watch.no,
        "model": one.watch.model,
        "provider": one.watch.provider,
        "at": format_ns(change.at_ns),
        "announced": change.at_ns > now_ns,
        "kind": change.kind,
        "key": change.after or change.before,
        "version": change.version,
        "prices": prices,
        "calls": impact.calls,
        "left_out_calls": impact.left_out,
        "before_usd": format_usd(impact.before_pico),
        "after_usd": format_usd(impact.after_pico),
        "difference_usd": format_usd(impact.after_pico - impact.before_pico),
    }
