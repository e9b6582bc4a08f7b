"""The models that the price book knows."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Name, Paged, place_cursor
from otel_finops.operations.registry import Json, Output, operation
from otel_finops.operations.shapes import Count


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
