"""What the active price book says."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from otel_finops.base.errors import NotFound
from otel_finops.base.times import parse_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Instant, Name, NoInput
from otel_finops.operations.registry import Input, Json, Output, operation
from otel_finops.operations.shapes import Count


class Status(Output):
    """The active price book."""

    source: str
    source_version: str
    version: str = Field(description="Digest of the snapshot; every priced row carries it.")
    date: str = Field(description="Day of the snapshot; empty when unknown.")
    rows: Count
    retired_rows: Count


@operation(
    "prices.status",
    "prices/status",
    takes=NoInput,
    output=Status,
    permission="view",
    feature="prices",
    summary="Say which price book is active and how old it is.",
)
def status(context: Context, principal: Principal, given: NoInput) -> Json:
    """The book's identity; it is the same for all tenants."""
    return context.prices.status()._asdict()


class PriceQuery(Input):
    """Which price."""

    model: Name = Field(min_length=1, description="A model's name as spans carry it.")
    provider: Name | None = Field(default=None, description="The provider, in any spelling.")
    at: Instant | None = Field(default=None, description="The billing moment; now when it is not given.")


class PriceRow(Output):
    """The row that prices a model."""

    key: str
    match: str
    provider: str
    mode: str | None
    rates: dict[str, Any] = Field(description="The price list's own fields, USD for one unit.")


@operation(
    "prices.show",
    "prices",
    takes=PriceQuery,
    output=PriceRow,
    permission="view",
    feature="prices",
    summary="Show the price row that a model's calls are charged by.",
)
def show(context: Context, principal: Principal, given: PriceQuery) -> Json:
    """The row, or NotFound: such calls stay unpriced."""
    at_ns = context.clock.now_ns() if given.at is None else parse_ns(given.at)
    row = context.prices.show(given.provider, given.model, at_ns)
    if row is None:
        raise NotFound(
            f"The price book has no row for this model{'' if given.provider is None else ' of this provider'}; its calls stay unpriced."
        )
    return row
