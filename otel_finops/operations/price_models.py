"""The models that the price book knows, and how their prices came to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Name, Paged, page_of, place_cursor
from otel_finops.operations.prices import ListedPrice
from otel_finops.operations.registry import Json, Output, operation
from otel_finops.operations.shapes import At, Count


class ModelsQuery(Paged):
    """Which models."""

    search: Name | None = Field(default=None, description="Part of a price key, in any capitals; all when it is not given.")
    provider: Name | None = Field(default=None, description="Only this provider family, in any spelling.")
    source: Name | None = Field(default=None, description="Only rows of this source's list, e.g. litellm.")


class Model(Output):
    """A row of the price book, as it holds now."""

    key: str
    provider: str
    mode: str | None
    rates: dict[str, Any] = Field(description="The price list's own fields, USD for one unit.")
    prices: list[ListedPrice] = Field(description="The standard ones of them, tokens per million; prices.show has all.")
    version: str = Field(description="Of the list that brought the row.")
    source: str | None = Field(description="Whose list that is.")
    retired: bool = Field(description="The list no longer has the row; it answers only where no live one does.")


class Models(Output):
    """A page of models by key, those that lists no longer have behind the live ones."""

    models: list[Model]
    next_cursor: str | None
    total: Count = Field(description="Over all pages.")


@operation(
    "prices.models",
    "prices/models",
    takes=ModelsQuery,
    output=Models,
    permission="view",
    feature="prices",
    summary="List the models that the price book knows, with their prices; house rules are listed by pricing.rules.",
)
def models(context: Context, principal: Principal, given: ModelsQuery) -> Json:
    """The book is the same for all tenants."""
    order = "prices.models"
    place = given.place(order)
    start = place[0] if place else 0
    rows, total = context.prices.models(given.search, given.provider, given.source, start, given.limit, context.clock.now_ns())
    beyond = start + len(rows)
    return {"models": list(rows), "next_cursor": place_cursor(order, [beyond]) if rows and beyond < total else None, "total": total}


class HistoryQuery(Paged):
    """Of which model."""

    model: Name = Field(min_length=1, description="A model's name as spans carry it, or a price key.")
    provider: Name | None = Field(default=None, description="The provider, in any spelling.")


class PricePeriod(Output):
    """What a model is priced by from one change to the next."""

    from_: At | None = Field(alias="from", description="Of calls that start from then on; null: from the beginning.")
    to: At | None = Field(description="Until then, exclusive; null: nothing else is known.")
    holds: bool = Field(description="It is what holds now.")
    announced: bool = Field(description="It begins later than now.")
    kind: Literal["first", "changed", "retired", "appeared", "unpriced"] = Field(
        description="What began it; first: nothing that is known. retired: the list has the row no longer and it holds on."
    )
    key: str | None = Field(description="The row's; null: there was no price.")
    version: str | None = Field(description="Of the list, or the rule, that made the price.")
    retired: bool
    prices: list[ListedPrice]


class PriceHistory(Output):
    """Periods, newest first."""

    periods: list[PricePeriod]
    next_cursor: str | None


@operation(
    "prices.history",
    "prices/history",
    takes=HistoryQuery,
    output=PriceHistory,
    permission="view",
    feature="prices",
    summary="Show how a model's price came to be what it is: every period with its prices, those that are announced included.",
)
def history(context: Context, principal: Principal, given: HistoryQuery) -> Json:
    """By the lists that were activated, their dates, and the house rules as they stand now."""
    now_ns = context.clock.now_ns()
    found = context.prices.history(given.provider, given.model, now_ns)
    page, more = page_of(found, given, "prices.history", lambda one: (-(one["from_ns"] or 0),))
    return {"periods": [_period(one, now_ns) for one in page], "next_cursor": more}


def _period(one: Mapping[str, Any], now_ns: int) -> Json:
    begin_ns, end_ns = one["from_ns"], one["to_ns"]
    began = begin_ns is None or begin_ns <= now_ns
    times = {"from": _at(begin_ns), "to": _at(end_ns), "holds": began and (end_ns is None or now_ns < end_ns), "announced": not began}
    return {**times, **{name: one[name] for name in ("kind", "key", "version", "retired", "prices")}}


def _at(at_ns: int | None) -> str | None:
    return None if at_ns is None else format_ns(at_ns)
