"""Anomalies, their drivers and mutes as answers show them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import urlencode

from pydantic import Field

from otel_finops.base.money import format_usd
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.base.times import format_ns
from otel_finops.operations.context import Context
from otel_finops.operations.registry import Output
from otel_finops.operations.shapes import At, Count, Usd

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.insight.anomaly_store import Finding, Mute, Note
    from otel_finops.trees.queries import TraceSummary

ScopeName: TypeAlias = Literal["global", "tenant", "model", "agent", "cost_center"]
StepName: TypeAlias = Literal["day", "hour"]
DriverName: TypeAlias = Literal[
    "new_tenant", "new_agent", "new_model", "volume", "model_mix", "price", "tokens_per_call", "cache_hits", "unknown"
]  # fmt: skip


class DriverDetail(Output):
    """A part of a driver; names are null where they are not known, or where it is about several."""

    amount_usd: Usd
    tenant: str | None
    agent: str | None
    provider: str | None
    model: str | None
    unit: str | None = Field(description="Of a price, or what a call takes more of: output, prompt, web_searches, ...")
    before: str | None = Field(
        description="What is usual: calls; USD a unit (price), units a call (tokens_per_call), share of prompts (cache_hits)."
    )
    after: str | None = Field(description="What it is in the time in question.")
    text: str


class DriverSum(Output):
    """What of the difference is due to one kind of cause."""

    kind: DriverName
    amount_usd: Usd


class DriverShown(DriverSum):
    """The same with its largest parts."""

    details: list[DriverDetail] = Field(description="The largest parts, at most five.")


class NoteShown(Output):
    """What somebody said of it."""

    verb: Literal["ack", "reopen"]
    why: str
    who: str
    at: At


class AnomalyRow(Output):
    """A day or an hour of spend that stands out."""

    no: int
    scope: ScopeName
    tenant: str | None = Field(description="Null: all tenants together.")
    name: str | None = Field(description="Of the model, agent or cost centre.")
    step: StepName
    from_: At = Field(alias="from")
    to: At
    running: bool = Field(description="It was not over when it was last looked at: it can only become more.")
    state: Literal["open", "acked", "cleared"] = Field(description="cleared: late calls or corrections made it ordinary.")
    muted: bool = Field(description="A mute covers it: nobody is told of it.")
    value_usd: Usd
    expected_usd: Usd = Field(description="What would have been usual.")
    difference_usd: Usd
    spread_usd: Usd = Field(description="One robust standard deviation.")
    score: float = Field(description="By how many of them it lies above what was expected.")
    compared_with: Count = Field(description="How many other days or hours.")
    calls: Count
    drivers: list[DriverSum] | None = Field(description="They add up to the difference exactly. Null: not worked out yet.")
    text: str = Field(description="One or two sentences.")
    found_at: At
    seen_at: At = Field(description="When the figures were last worked out.")
    cleared_at: At | None
    note: NoteShown | None = Field(description="What was last said of it.")


class Anomaly(AnomalyRow):
    """The same with the parts of its drivers."""

    drivers: list[DriverShown] | None = Field(  # type: ignore[assignment]  # each is a DriverSum, and nobody adds to an answer's list
        description="They add up to the difference exactly. Null: not worked out yet."
    )


class AnomalyTrace(Output):
    """A trace; sums are of the calls that belong to the anomaly."""

    trace_id: str
    cost_usd: Usd
    calls: Count
    tokens: Count
    started_at: At


class MuteShown(Output):
    """A mute."""

    no: int | None = Field(description="Null: of a dry run.")
    tenant: str | None = Field(description="Null: of all tenants.")
    scope: str | None
    name: str | None
    step: str | None
    until: At | None
    why: str
    who: str
    since: At


def shown(context: Context, one: Finding, mutes: Iterable[Mute]) -> dict[str, Any]:
    """An anomaly with the parts of its drivers."""
    from otel_finops.insight.anomaly_words import said_of, sentence  # noqa: PLC0415 - `--help` must not load the database rooms

    now_ns = context.clock.now_ns()
    whose = said_of(one.scope.kind, one.scope.tenant, one.scope.name)
    when = f"{one.step} of {format_ns(one.start_ns)[: 13 if one.step == 'hour' else 10]}"
    return {
        "no": one.no,
        "scope": one.scope.kind,
        "tenant": None if one.scope.tenant == ANY_TENANT else one.scope.tenant,
        "name": one.scope.name or None,
        "step": one.step,
        "from": format_ns(one.start_ns),
        "to": format_ns(one.end_ns),
        "running": one.is_running,
        "state": one.state,
        "muted": any(mute.covers(one, now_ns) for mute in mutes),
        "value_usd": format_usd(one.value),
        "expected_usd": format_usd(one.expected),
        "difference_usd": format_usd(one.value - one.expected),
        "spread_usd": format_usd(one.spread),
        "score": round(one.score, 2),
        "compared_with": one.points,
        "calls": one.calls,
        "drivers": one.drivers,
        "text": f"{whose[0].upper()}{whose[1:]}, {when}: {sentence(one.value, one.expected, one.drivers)}",
        "found_at": format_ns(one.found_ns),
        "seen_at": format_ns(one.seen_ns),
        "cleared_at": None if one.cleared_ns is None else format_ns(one.cleared_ns),
        "note": None if one.note is None else note_json(one.note),
    }


def row(context: Context, one: Finding, mutes: Iterable[Mute]) -> dict[str, Any]:
    """Without the parts of its drivers."""
    sums = None if one.drivers is None else [{name: driver[name] for name in DriverSum.model_fields} for driver in one.drivers]
    return {**shown(context, one, mutes), "drivers": sums}


def note_json(note: Note) -> dict[str, Any]:
    """What somebody said."""
    return {"verb": note.verb, "why": note.why, "who": note.who, "at": format_ns(note.at_ns)}


def trace_json(one: TraceSummary) -> dict[str, Any]:
    """A trace with its sums."""
    return {
        "trace_id": one.trace_id,
        "cost_usd": format_usd(one.cost_pico),
        "calls": one.calls,
        "tokens": one.tokens,
        "started_at": format_ns(one.started_ns),
    }


def traces_path(one: Finding) -> str:
    """Where all traces of an anomaly are found."""
    named = {name: value for name, allowed in one.scope.filters.items() for value in allowed}
    return "traces?" + urlencode({**named, "from": format_ns(one.start_ns), "to": format_ns(one.end_ns)})


def mute_json(one: Mute) -> dict[str, Any]:
    """A mute."""
    return {
        "no": one.no or None,
        "tenant": None if one.tenant == ANY_TENANT else one.tenant,
        "scope": one.scope or None,
        "name": one.name or None,
        "step": one.step or None,
        "until": None if one.until_ns is None else format_ns(one.until_ns),
        "why": one.why,
        "who": one.who,
        "since": format_ns(one.at_ns),
    }
