"""Unit costs: what one of each costs, and what caches of prompts save."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from otel_finops.base.limits import UNIT_COST_DAYS
from otel_finops.base.money import format_usd
from otel_finops.base.times import NS_PER_DAY, format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import CallFilters, TenantScoped, Windowed, given_filters
from otel_finops.operations.outcomes import OutcomeSums, outcome_sums
from otel_finops.operations.registry import Json, Output, operation
from otel_finops.operations.retention import pruned_until
from otel_finops.operations.shapes import At, Count, Usd
from otel_finops.operations.spend import FinerFilters

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.insight.cache_savings import Pair, Savings
    from otel_finops.insight.unit_costs import Units


class UnitCostQuery(Windowed, TenantScoped, CallFilters, FinerFilters):
    """Which calls, and by what they are grouped."""

    group_by: str = Field(
        default="",
        max_length=200,
        description="Comma-separated, any of tenant, provider, model, operation, cost_method, unpriced_reason, agent, cost_center, "
        "service, environment, realm, step, tool, workflow, purpose, service_tier, region, price_key, error_type. Nothing for one sum.",
    )


class UnitCosts(Output):
    """Sums, and what one of each costs on average; null where there is none."""

    cost_usd: Usd = Field(description="With unpriced calls it is at least that.")
    calls: Count
    unpriced_calls: Count
    tokens: Count
    traces: Count
    sessions: Count
    users: Count
    usd_per_call: Usd | None
    usd_per_trace: Usd | None = Field(description="Of the calls whose entries are there; so are sessions and users.")
    usd_per_session: Usd | None = Field(description="Of the calls that name a session.")
    usd_per_user: Usd | None = Field(description="Of the calls that name a user.")
    usd_per_1k_tokens: Usd | None
    prompt_tokens: Count
    cache_read_tokens: Count
    cache_hit_rate: float | None = Field(description="Share of the prompts' tokens that was read from a cache.")


class UnitCostGroup(UnitCosts):
    """One group."""

    key: dict[str, str | None]


class CacheSums(Output):
    """What caches of prompts saved, by the rates at which each call was charged."""

    calls: Count = Field(description="Calls that read from a cache or wrote to one, and of which it is known what they had cost without.")
    unknown_calls: Count = Field(description="Others of which nobody can tell; they are in no sum.")
    read_tokens: Count
    written_tokens: Count
    saved_usd: Usd = Field(description="By what was read.")
    premium_usd: Usd = Field(description="Charged for writes beyond what the same tokens cost uncached.")
    net_usd: Usd = Field(description="Saved less premium; negative where caches were written and hardly read.")


class CacheModel(CacheSums):
    """Those of one model."""

    provider: str | None
    model: str | None = Field(description="Null: models beyond those that are told apart.")


class CacheReport(CacheSums):
    """Those of all models, and of each, most saved first."""

    models: list[CacheModel]


class OutcomeCost(OutcomeSums):
    """What successes of one kind cost."""

    name: str


class UnitCostReport(Output):
    """What one of each costs."""

    from_: At = Field(alias="from")
    to: At
    pruned_until: At | None = Field(
        description="Traces, sessions, users, cache savings and outcomes of calls before this were pruned and are in no figure of these; "
        "cost, calls and tokens are whole. Null: none were."
    )
    groups: list[UnitCostGroup] = Field(description="Dearest first.")
    total: UnitCosts = Field(description="A trace, session or user that several groups share is one here.")
    cache: CacheReport
    outcomes: list[OutcomeCost] | None = Field(
        description="Of the same time and tenants, as `outcomes.report` has them; null where calls are filtered."
    )


@operation(
    "unit_costs.report",
    "unit-costs",
    takes=UnitCostQuery,
    output=UnitCostReport,
    permission="view",
    feature="unit_costs",
    summary="Show what a call, trace, session, user, outcome and thousand tokens cost, and what caches save.",
)
def report(context: Context, principal: Principal, given: UnitCostQuery) -> Json:
    """Of the last thirty days where no time is given."""
    from otel_finops.insight.unit_costs import UnitAsked  # noqa: PLC0415 - `--help` must not load the database rooms

    window = given.window()
    to_ns = context.clock.now_ns() + 1 if window.to_ns is None else window.to_ns
    from_ns = max(0, to_ns - UNIT_COST_DAYS * NS_PER_DAY) if window.from_ns is None else window.from_ns
    group_by = tuple(dict.fromkeys(name.strip() for name in given.group_by.split(",") if name.strip()))
    filters = {name: (value,) for name, value in given_filters(given, CallFilters, FinerFilters).items()}
    found = context.unit_costs.report(UnitAsked(given.tenants(principal), from_ns, to_ns, group_by, filters))
    outcomes = found.outcomes if context.features.outcomes else None
    return {
        "from": format_ns(from_ns),
        "to": format_ns(to_ns),
        "pruned_until": pruned_until(context, window._replace(from_ns=from_ns)),
        "groups": [
            {"key": {name: value or None for name, value in zip(group_by, key, strict=True)}, **_shown(units)}
            for key, units in found.groups
        ],
        "total": _shown(found.total),
        "cache": _cache(list(found.savings.items())),
        "outcomes": None if outcomes is None else [{"name": name, **outcome_sums(tally)} for name, tally in outcomes.items()],
    }


def _shown(units: Units) -> dict[str, Any]:
    amounts, distinct = units.amounts, units.distinct
    return {
        "cost_usd": format_usd(amounts.amount),
        "calls": amounts.calls,
        "unpriced_calls": amounts.unknown,
        "tokens": amounts.tokens,
        "traces": distinct.traces,
        "sessions": distinct.sessions,
        "users": distinct.users,
        "usd_per_call": _usd(units.per_call),
        "usd_per_trace": _usd(units.per_trace),
        "usd_per_session": _usd(units.per_session),
        "usd_per_user": _usd(units.per_user),
        "usd_per_1k_tokens": _usd(units.per_1k_tokens),
        "prompt_tokens": amounts.prompt,
        "cache_read_tokens": amounts.cache_read,
        "cache_hit_rate": units.cache_hit_rate,
    }


def _cache(by_model: list[tuple[Pair, Savings]]) -> dict[str, Any]:
    from otel_finops.insight.cache_savings import Savings  # noqa: PLC0415 - `--help` must not load the database rooms

    total = Savings()
    for _, one in by_model:
        total = total.plus(one)
    models = [{"provider": provider, "model": model, **_sums(one)} for (provider, model), one in by_model]
    return {**_sums(total), "models": models}


def _sums(one: Savings) -> dict[str, Any]:
    return {
        "calls": one.calls,
        "unknown_calls": one.unknown_calls,
        "read_tokens": one.read_tokens,
        "written_tokens": one.written_tokens,
        "saved_usd": format_usd(one.saved),
        "premium_usd": format_usd(one.premium),
        "net_usd": format_usd(one.net),
    }


def _usd(pico: int | None) -> str | None:
    return None if pico is None else format_usd(pico)
