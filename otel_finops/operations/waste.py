"""Waste: what was spent for nothing, in dollars, with its traces and what would have stopped it."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pydantic import Field

from otel_finops.base.limits import PAGE_ROWS_MAX, WASTE_CALLS_MAX, WASTE_DAYS
from otel_finops.base.money import format_usd
from otel_finops.base.times import NS_PER_DAY, format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Amount, TenantScoped, Windowed, amount_of
from otel_finops.operations.registry import Json, Output, operation
from otel_finops.operations.retention import pruned_until
from otel_finops.operations.shapes import At, Count, Usd

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.insight.waste import Kind
    from otel_finops.insight.waste_findings import Finding, Policy

KindName: TypeAlias = Literal[
    "runaway_loop", "repeated_calls", "billed_retries", "growing_context", "cache_potential", "oversized_model", "failing_agent"
]
ADVICE: Final[dict[Kind, str]] = {
    "runaway_loop": "The agent calls models one after the other beyond the threshold; give it an end, and a guard that holds it to it.",
    "repeated_calls": "Calls with the same counts in the same trace: keep the first answer, in the application or in a gateway's cache.",
    "billed_retries": "Calls that failed, were charged and were made again: longer time-outs, fewer retries, or none once an answer began.",
    "growing_context": "Each prompt carries all that came before: summarise or drop what is no longer needed.",
    "cache_potential": "Prompts begin as the one before did and are sent uncached: have the provider cache them. No policy does that.",
    "oversized_model": "Short answers to short prompts: a smaller model of the same provider would most likely do.",
    "failing_agent": "Runs that failed after they had cost something: what they cost bought nothing.",
}


class WasteQuery(Windowed, TenantScoped):
    """Where to look, and for what."""

    kind: KindName | None = Field(default=None, description="Only this kind of waste.")
    min_usd: Amount | None = Field(default=None, description="Only findings of so much or more.")
    limit: int = Field(default=50, ge=1, le=PAGE_ROWS_MAX, description="Findings that are shown, the dearest; sums cover all.")


class WastedTrace(Output):
    """What of a trace was for nothing."""

    trace_id: str
    usd: Usd


class StoppingPolicy(Output):
    """A policy that would have stopped the dearest trace where its waste began."""

    name: str
    ready: str | None = Field(description="The policy that ships with the product (policies.ready); null: it stands for itself.")
    action: str
    limit: str | None = Field(description="The number in its condition: how far the dearest trace was, or what no run that succeeded cost.")
    downgrade_to: str | None
    scope: dict[str, str]
    command: str = Field(description="What makes it; add `--dry-run` to look first.")


class WasteFinding(Output):
    """Waste of one kind, by one agent (or step) and model."""

    kind: KindName
    usd: Usd = Field(description="What was spent for nothing, or could have been saved; no dollar twice within a kind.")
    calls: Count = Field(description="Calls it was spent on; of failing agents, runs.")
    tenant: str
    service: str | None
    agent: str | None
    step: str | None
    provider: str | None
    model: str | None
    instead: str | None = Field(description="Of oversized models: the smaller one.")
    first_at: At
    last_at: At
    traces: Count = Field(description="Traces in which it was found.")
    dearest: list[WastedTrace] = Field(description="Some of them, the dearest first; `traces.show` shows each.")
    policy: StoppingPolicy | None = Field(description="Null: no policy stops this.")
    advice: str


class WasteKind(Output):
    """All findings of one kind."""

    kind: KindName
    usd: Usd
    findings: Count


class WasteShown(Output):
    """What was spent for nothing."""

    from_: At = Field(alias="from")
    to: At
    findings: list[WasteFinding] = Field(description="The dearest first.")
    kinds: list[WasteKind] = Field(description="They look at the same calls and are not to be added up.")
    calls: Count = Field(description="Calls that were looked at.")
    cost_usd: Usd = Field(description="Of these.")
    all_calls: Count = Field(description="Calls that there are in that time.")
    all_cost_usd: Usd = Field(description="Of these; compare `cost_usd` to see how much was looked at.")
    chosen: Literal["all", "dearest", "newest"] = Field(
        description=f"Which calls were looked at, of more than {WASTE_CALLS_MAX} so many: those of the dearest traces with enough calls "
        "for waste, then of the dearest others; or of the newest traces, where no sums by trace are kept (features.runs, .sessions)."
    )
    complete: bool = Field(description="All were looked at; else narrow the time, or name a tenant, to see the others.")
    pruned_until: At | None = Field(description="Calls before this were pruned and were not looked at; null: none were.")


@operation(
    "waste.report",
    "waste",
    takes=WasteQuery,
    output=WasteShown,
    permission="view",
    feature="waste",
    summary="Find what was spent for nothing: loops, repetitions, retries, grown contexts, missing caches, large models, failed runs.",
)
def report(context: Context, principal: Principal, given: WasteQuery) -> Json:
    """Of the last seven days where no time is given."""
    from otel_finops.insight.waste_reads import WasteAsked  # noqa: PLC0415 - `--help` must not load the database rooms

    window = given.window()
    to_ns = context.clock.now_ns() + 1 if window.to_ns is None else window.to_ns
    from_ns = max(0, to_ns - WASTE_DAYS * NS_PER_DAY) if window.from_ns is None else window.from_ns
    asked = WasteAsked(given.tenants(principal), from_ns, to_ns)
    found = context.waste.report(asked if given.kind is None else asked._replace(kinds=(given.kind,)))
    least = 0 if given.min_usd is None else amount_of("min_usd", given.min_usd)
    kept = [one for one in found.findings if one.pico >= least]
    return {
        "from": format_ns(from_ns),
        "to": format_ns(to_ns),
        "findings": [_shown(one) for one in kept[: given.limit]],
        "kinds": _kinds(kept),
        "calls": found.calls,
        "cost_usd": format_usd(found.cost_pico),
        "all_calls": found.choice.calls,
        "all_cost_usd": format_usd(found.choice.cost_pico),
        "chosen": found.choice.chosen,
        "complete": found.choice.chosen == "all",
        "pruned_until": pruned_until(context, window._replace(from_ns=from_ns)),
    }


def _kinds(found: list[Finding]) -> list[dict[str, Any]]:
    names = dict.fromkeys(one.where.kind for one in found)
    sums = {name: [one.pico for one in found if one.where.kind == name] for name in names}
    return [
        {"kind": name, "usd": format_usd(sum(amounts)), "findings": len(amounts)}
        for name, amounts in sorted(sums.items(), key=lambda item: -sum(item[1]))
    ]


def _shown(one: Finding) -> dict[str, Any]:
    return {
        **one.where._asdict(),
        "usd": format_usd(one.pico),
        "calls": one.calls,
        "instead": one.instead,
        "first_at": format_ns(one.first_ns),
        "last_at": format_ns(one.last_ns),
        "traces": one.traces,
        "dearest": [{"trace_id": trace.trace_id, "usd": format_usd(trace.pico)} for trace in one.dearest],
        "policy": None
        if one.policy is None
        else {**one.policy._asdict(), "scope": dict(one.policy.scope), "command": _command(one.policy)},
        "advice": ADVICE[one.where.kind],
    }


def _policy(policy: Policy) -> dict[str, Any]:
    return {**policy._asdict(), "scope": dict(policy.scope), "command": _command(policy)}


def _command(policy: Policy) -> str:
    """What makes the policy on a command line."""
    words = ["otel-finops", "policies", "create"]
    if policy.ready is None:
        words += [policy.name, policy.action, "--downgrade-to", policy.downgrade_to or ""]
    else:
        words += ["--ready", policy.ready, "--limit", policy.limit or ""]
    return shlex.join([*words, "--scope", _scope(policy)])


def _scope(policy: Policy) -> str:
    plain = all(not set(value) & set(',="{}[]') for value in policy.scope.values())
    if plain:
        return ",".join(f"{name}={value}" for name, value in policy.scope.items())
    return json.dumps(dict(policy.scope))
