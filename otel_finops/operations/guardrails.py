"""Guardrails: what was flagged and blocked, and what it cost or would have cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import Field

from otel_finops.base.money import format_usd
from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import TenantScoped, Windowed
from otel_finops.operations.registry import Json, Output, operation
from otel_finops.operations.shapes import At, Count, Usd

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.governance.verdicts import Asked, Told


class ReportQuery(Windowed, TenantScoped):
    """Which calls: when they were asked for, or made."""


class Amount(Output):
    """Calls, and what they cost."""

    calls: Count
    usd: Usd = Field(description="Of calls that were asked for, the sum of their estimates; of calls that were made, what they cost.")


class AskedGuardrail(Output):
    """What a guardrail said when decisions asked it."""

    guardrail: str
    flagged: Amount
    blocked: Amount = Field(description="Stopped, or nobody answered and the settings stop calls then.")
    observed: Amount = Field(description="Would have been stopped; observe mode let them go on.")
    unanswered: Count = Field(description="It did not answer in time and in order; such calls that were stopped are among the others.")
    without_estimate: Count = Field(description="Of all of these, calls whose cost nobody could estimate: the sums leave them out.")


class ToldGuardrail(Output):
    """What a guardrail in an application said, as spans tell."""

    guardrail: str = Field(description="`provider`: the provider ended the answer for its content.")
    flagged: Amount
    blocked: Amount = Field(description="What was spent on calls whose content or answer was stopped all the same.")
    without_call: Count = Field(description="Of all of these, verdicts about no call that is known, e.g. since it was never made.")


class GuardrailReport(Output):
    """Flagged and blocked spend."""

    from_: At | None = Field(alias="from")
    to: At | None
    asked: list[AskedGuardrail]
    told: list[ToldGuardrail]


@operation(
    "guardrails.report",
    "guardrails/report",
    takes=ReportQuery,
    output=GuardrailReport,
    permission="view",
    feature="guardrails",
    summary="Report what guardrails flagged and blocked: asked by decisions, and told by spans.",
)
def report(context: Context, principal: Principal, given: ReportQuery) -> Json:
    """Calls of the principal's tenants."""
    window = given.window()
    found = context.guardrails.report(given.tenants(principal), window.from_ns, window.to_ns)
    return {
        "from": None if window.from_ns is None else format_ns(window.from_ns),
        "to": None if window.to_ns is None else format_ns(window.to_ns),
        "asked": [_asked(name, [one for one in found.asked if one.guardrail == name]) for name in _names(found.asked)],
        "told": [_told(name, [one for one in found.told if one.guardrail == name]) for name in _names(found.told)],
    }


def _names(rows: Iterable[Asked | Told]) -> list[str]:
    return sorted({one.guardrail for one in rows})


def _asked(name: str, rows: list[Asked]) -> dict[str, Any]:
    def amount(chosen: Iterable[Asked]) -> dict[str, Any]:
        kept = list(chosen)
        return {"calls": sum(one.calls for one in kept), "usd": format_usd(sum(one.pico for one in kept))}

    return {
        "guardrail": name,
        "flagged": amount(one for one in rows if one.said == "flagged"),
        "blocked": amount(one for one in rows if one.stopped and not one.observed),
        "observed": amount(one for one in rows if one.stopped and one.observed),
        "unanswered": sum(one.calls for one in rows if one.said == "unanswered"),
        "without_estimate": sum(one.calls - one.estimated for one in rows),
    }


def _told(name: str, rows: list[Told]) -> dict[str, Any]:
    def amount(verdict: str) -> dict[str, Any]:
        kept = [one for one in rows if one.verdict == verdict]
        return {"calls": sum(one.verdicts for one in kept), "usd": format_usd(sum(one.pico for one in kept))}

    without = sum(one.verdicts - one.calls for one in rows)
    return {"guardrail": name, "flagged": amount("flag"), "blocked": amount("block"), "without_call": without}
