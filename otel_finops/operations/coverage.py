"""The coverage report: which calls the ledger cannot price or had to guess, and what to do about it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from pydantic import Field

from otel_finops.identity.principals import Principal
from otel_finops.operations.advice import ADVICE, Advised, advice_on
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Name, TenantScoped, Windowed
from otel_finops.operations.registry import Json, Output, operation
from otel_finops.operations.shapes import Count

if TYPE_CHECKING:
    from otel_finops.ledger.coverage import Covered, GroupKey

_MODELS_NAMED: Final = 5
"""Models named with each advice, those with most calls first."""


class CoverageQuery(Windowed, TenantScoped):
    """Which calls to look at."""

    service: Name | None = Field(default=None, description="Only this service.")


class Advice(Output):
    """What to do about some calls."""

    cause: str
    calls: Count = Field(description="How many calls; of the causes `no_calls` and `agent_totals` how many traces.")
    advice: str
    models: list[str] = Field(description="The models with most of these calls.")


class CoverageGroup(Output):
    """What one instrumentation scope showed of one service."""

    service: str | None
    scope: str | None = Field(description="The instrumentation scope whose span stands; null when the span is no longer kept.")
    dialects: list[str]
    calls: Count = Field(description="Calls that are counted at a span of this scope, failed and unpriced ones too.")
    unpriced_calls: Count
    unpriced_share: float = Field(ge=0, le=1)
    unpriced: dict[str, Count] = Field(description="Unpriced calls by reason.")
    without_usage_calls: Count = Field(description="Calls without token counts that may have been billed.")
    estimated_calls: Count = Field(description="Calls whose counts the sender estimated.")
    partial_calls: Count = Field(description="Calls that may have cost more than was counted.")
    failed_calls: Count = Field(description="Calls that the provider answered with an error; they cost nothing.")
    duplicates: Count = Field(description="Further sightings of calls that are counted elsewhere.")
    wrappers: Count = Field(description="Spans that repeat the sum of calls, agents' own totals among them.")
    gateway_copies: Count = Field(description="A gateway's copies of calls, answers from its cache among them.")
    traces_without_calls: Count = Field(description="Traces in which its agents ran and nothing shows a call; nothing is charged there.")
    traces_beyond_calls: Count = Field(description="Traces in which it reports a total of more tokens than the calls known there have.")
    advice: list[Advice]


class Coverage(Output):
    """Services and scopes, those with most unpriced calls first."""

    groups: list[CoverageGroup]
    calls: Count
    unpriced_calls: Count
    complete: bool = Field(description="False: there are older rows that were not looked at; narrow the time to see them.")


@operation(
    "coverage.report",
    "coverage",
    takes=CoverageQuery,
    output=Coverage,
    permission="view",
    feature="coverage",
    summary="Show which calls are unpriced, estimated or merged, by service and instrumentation scope, and what to do about it.",
)
def report(context: Context, principal: Principal, given: CoverageQuery) -> Json:
    """The report; services and scopes that have only merged sightings, or agents without calls, are there too."""
    found = context.reads.coverage(given.tenants(principal), given.window(), given.service)
    groups = [_group(key, covered) for key, covered in sorted(found.groups.items(), key=_most_unpriced)]
    return {
        "groups": groups,
        "calls": sum(covered.calls for covered in found.groups.values()),
        "unpriced_calls": sum(covered.unpriced.total() for covered in found.groups.values()),
        "complete": found.complete,
    }


def _most_unpriced(item: tuple[GroupKey, Covered]) -> tuple[int, int, str, str]:
    (service, scope), covered = item
    return -covered.unpriced.total(), -covered.calls, service or "", scope or ""


def _group(key: GroupKey, covered: Covered) -> Json:
    unpriced = covered.unpriced.total()
    reasons: Counter[str] = Counter()
    for lack, calls in covered.unpriced.items():
        reasons[lack.reason] += calls
    return {
        "service": key[0],
        "scope": key[1],
        "dialects": sorted(covered.dialects),
        "calls": covered.calls,
        "unpriced_calls": unpriced,
        "unpriced_share": unpriced / covered.calls if covered.calls else 0.0,
        "unpriced": dict(sorted(reasons.items())),
        "without_usage_calls": covered.without_usage,
        "estimated_calls": covered.estimated,
        "partial_calls": covered.partial,
        "failed_calls": covered.failed,
        "duplicates": covered.merged["duplicate"],
        "wrappers": covered.merged["wrapper"],
        "gateway_copies": covered.merged["gateway_copy"],
        "traces_without_calls": covered.silent,
        "traces_beyond_calls": covered.beyond,
        "advice": [_advice(one) for one in advice_on(covered, _MODELS_NAMED)],
    }


def _advice(one: Advised) -> Json:
    return {"cause": one.cause, "calls": one.calls, "advice": ADVICE[one.cause], "models": list(one.models)}
