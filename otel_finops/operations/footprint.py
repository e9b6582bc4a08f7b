"""The footprint of calls: electricity and greenhouse gases, each as a range."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import TREND_PIECES_MAX
from otel_finops.base.times import format_ns
from otel_finops.base.zones import ZONE_CHARS_MAX, back, instant_in, pieces, zone_of
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import CallFilters, Instant, Name, TenantScoped, given_filters
from otel_finops.operations.registry import Input, Json, Output, operation
from otel_finops.operations.shapes import At, Count
from otel_finops.operations.spend import FinerFilters

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from datetime import tzinfo

    from otel_finops.insight.energy_models import Range
    from otel_finops.insight.footprint import Footprint
    from otel_finops.insight.footprints import Asked, FootprintGroup

_DAYS: Final = 30
_DIGITS: Final = 6


class FootprintQuery(TenantScoped, CallFilters, FinerFilters):
    """Which calls, and by what."""

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
    by: str = Field(
        default="",
        max_length=200,
        description="Groups: at most two keys of spend reports that are no times, parted by a comma, e.g. model or tenant,region.",
    )
    by_region: bool = Field(
        default=False,
        description="Reckon by the electricity of the region that each call says; entries are read for it, which takes longer. Otherwise "
        "by the country of the provider.",
    )

    def asked(self, context: Context, principal: Principal) -> tuple[Asked, tzinfo]:
        """What is asked of the footprints, and in which zone.

        Raises:
            BadInput: a zone that there is not, or a time that ends before it begins.
        """
        from otel_finops.insight.footprints import Asked  # noqa: PLC0415 - `--help` must not load the database rooms

        zone, now_ns = zone_of(self.zone or context.zone), context.clock.now_ns()
        to_ns = now_ns if self.to is None else instant_in(self.to, zone)
        from_ns = back("day", max(0, to_ns - 1), _DAYS - 1, zone) if self.from_ is None else instant_in(self.from_, zone)
        if to_ns < from_ns:
            raise BadInput("`to` lies before `from`")
        by = tuple(dict.fromkeys(name.strip() for name in self.by.split(",") if name.strip()))
        filters = {name: (value,) for name, value in given_filters(self, CallFilters, FinerFilters).items()}
        return Asked(self.tenants(principal), filters, by, from_ns, to_ns, self.by_region or "region" in by), zone


class ShownRange(Output):
    """Between these two it lies, as far as anybody knows."""

    low: float
    high: float


class FootprintFigures(Output):
    """What some calls took."""

    energy_kwh: ShownRange = Field(description="Electricity, data centres included.")
    co2e_g: ShownRange = Field(description="Grams of CO2 equivalents: electricity and hardware.")
    electricity_g: ShownRange = Field(description="Of making the electricity.")
    hardware_g: ShownRange = Field(description="The calls' share of making the hardware.")
    calls: Count
    tokens: Count
    output_tokens: Count
    flat_share: float | None = Field(
        description="What part of the energy (upper end) is by the flat factor, which has no range; null: there is none."
    )


class FootprintRow(FootprintFigures):
    """What a group took."""

    key: dict[str, str | None]


class FootprintQueryPaged(FootprintQuery):
    """How many groups are shown."""

    limit: int = Field(default=50, ge=1, le=1000, description="How many groups, those with the most CO2e: 1 to 1000.")


class FootprintSummary(Output):
    """What calls took in a time."""

    from_: At = Field(alias="from")
    to: At
    source: str | None = Field(description="What models are known from; null: from nothing, the flat factor holds for all.")
    total: FootprintFigures
    groups: list[FootprintRow] = Field(description="Those with the most CO2e first.")
    others: Count = Field(description="How many groups there are besides.")


@operation(
    "footprint.summary",
    "footprint",
    takes=FootprintQueryPaged,
    output=FootprintSummary,
    permission="view",
    feature="footprint",
    summary="Estimate the electricity and CO2e of calls, low and high, in all and by any keys.",
)
def summary(context: Context, principal: Principal, given: FootprintQueryPaged) -> Json:
    """The groups together are the total."""
    asked, _ = given.asked(context, principal)
    total, groups = context.footprints.summary(asked)
    return {
        "from": format_ns(asked.from_ns),
        "to": format_ns(asked.to_ns),
        "source": context.footprints.source,
        "total": _figures(total),
        "groups": [_row(one) for one in groups[: given.limit]],
        "others": max(0, len(groups) - given.limit),
    }


class FootprintTrendQuery(FootprintQuery):
    """In which pieces."""

    every: Literal["hour", "day", "week", "month"] = Field(default="day", description="hour, day, week (from Monday) or month.")


class FootprintPiece(FootprintFigures):
    """One hour, day, week or month; the first and the last may be cut."""

    from_: At = Field(alias="from")
    to: At
    groups: list[FootprintRow] = Field(description="Those that took anything in it.")


class FootprintTrend(Output):
    """The course, oldest first; pieces in which nothing was are there as zeros."""

    every: Literal["hour", "day", "week", "month"]
    zone: str
    source: str | None = Field(description="What models are known from; null: from nothing, the flat factor holds for all.")
    pieces: list[FootprintPiece]


@operation(
    "footprint.trend",
    "footprint/trend",
    takes=FootprintTrendQuery,
    output=FootprintTrend,
    permission="view",
    feature="footprint",
    summary="Show the course of the electricity and CO2e of calls by hour, day, week or month.",
)
def trend(context: Context, principal: Principal, given: FootprintTrendQuery) -> Json:
    """The pieces together are what footprint.summary says of the whole time."""
    asked, zone = given.asked(context, principal)
    spans: list[tuple[int, int]] = []
    for piece in pieces(given.every, asked.from_ns, asked.to_ns, zone):
        if len(spans) >= TREND_PIECES_MAX:
            raise BadInput(
                f"every: there are more than {TREND_PIECES_MAX} {given.every}s in this time; take longer ones, or a shorter time"
            )
        spans.append(piece)
    shown = [
        {"from": format_ns(start), "to": format_ns(end), **_figures(total), "groups": [_row(one) for one in groups]}
        for (start, end), (total, groups) in zip(spans, context.footprints.course(asked, spans), strict=True)
    ]
    return {"every": given.every, "zone": given.zone or context.zone, "source": context.footprints.source, "pieces": shown}


class FactorsQuery(Input):
    """Of which model, and where."""

    provider: Name = Field(min_length=1, description="Provider family, e.g. openai.")
    model: Name = Field(min_length=1, description="As it is sent.")
    region: Name | None = Field(default=None, description="Where it runs, e.g. eu-west-3 or swedencentral.")


class Factors(Output):
    """By what a model's calls are reckoned."""

    source: str | None = Field(description="What it is known from; null: the flat factor of the settings.")
    known_as: str | None = Field(description="The name by which it is known there; null: the flat factor of the settings.")
    guessed: bool | None = Field(description="Its maker does not tell its size: it was estimated. Null: not known at all.")
    country: str | None = Field(description="Whose electricity, ISO 3166; null: nobody knows.")
    g_per_kwh: float = Field(description="Grams of CO2e of a kilowatt-hour.")
    kwh_per_1k_output: ShownRange | None = Field(description="Electricity of 1,000 generated tokens; null: see `kwh_per_1k_tokens`.")
    kwh_per_call: ShownRange | None = Field(description="Of a call besides.")
    hardware_g_per_1k_output: ShownRange | None = Field(description="Grams of CO2e of the hardware's share.")
    kwh_per_1k_tokens: float | None = Field(description="The flat factor, of prompt and output, where it holds.")


@operation(
    "footprint.factors",
    "footprint/factors",
    takes=FactorsQuery,
    output=Factors,
    permission="view",
    feature="footprint",
    summary="Explain by what the electricity and CO2e of a model's calls are reckoned.",
)
def factors(context: Context, principal: Principal, given: FactorsQuery) -> Json:
    """Nothing of any tenant's is in it."""
    from otel_finops.pricing.providers import canonical  # noqa: PLC0415 - beside the rooms that are loaded for an answer alone

    basis = context.footprints.basis(canonical(given.provider), given.model, given.region or "")
    known = basis.model
    return {
        "source": None if known is None else context.footprints.source,
        "known_as": None if known is None else known.name,
        "guessed": None if known is None else known.guessed,
        "country": basis.country,
        "g_per_kwh": _rounded(basis.g_per_kwh),
        "kwh_per_1k_output": None if known is None else _range(known.token_kwh.times(1000)),
        "kwh_per_call": None if known is None else _range(known.call_kwh),
        "hardware_g_per_1k_output": None if known is None else _range(known.token_kg.times(1_000_000)),
        "kwh_per_1k_tokens": context.settings.footprint.kwh_per_1k_tokens if known is None else None,
    }


def _row(one: FootprintGroup) -> dict[str, Any]:
    return {"key": dict(one.key), **_figures(one.footprint)}


def _figures(one: Footprint) -> dict[str, Any]:
    return {
        "energy_kwh": _range(one.kwh),
        "co2e_g": _range(one.co2e_g),
        "electricity_g": _range(one.electricity_g),
        "hardware_g": _range(one.hardware_g),
        "calls": one.calls,
        "tokens": one.tokens,
        "output_tokens": one.output_tokens,
        "flat_share": _rounded(one.flat_kwh / one.kwh.high) if one.kwh.high > 0 else None,
    }


def _range(one: Range) -> dict[str, float]:
    return {"low": _rounded(one.low), "high": _rounded(one.high)}


def _rounded(value: float) -> float:
    """Six digits: estimates know fewer."""
    return float(f"{value:.{_DIGITS}g}")
