"""How long data is kept: what the settings say, what was pruned, and pruning by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from otel_finops.base.money import format_usd
from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.desks import CLASSES, ClassOfData, ClassPruned
from otel_finops.operations.fields import NoInput
from otel_finops.operations.readers import Window
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.shapes import At, Count, Usd

if TYPE_CHECKING:  # the room loads a database toolkit, which `--help` must not wait for
    from otel_finops.ledger.pruned import PrunedMonth

_HOURS_PER_DAY: Final = 24
_DAYS_MAX: Final = 36_500

SETTINGS: Final[Mapping[ClassOfData, str]] = {
    "entries": "retention.entries_days",
    "journal": "retention.journal_days",
    "skeletons": "retention.skeletons_hours",
    "quarantine": "retention.quarantine_days",
    "audit": "retention.audit_days",
    "idempotency_keys": "",
    "correction_runs": "retention.correction_runs_days",
    "price_refreshes": "retention.price_refreshes_days",
    "decisions": "retention.decisions_days",
    "reservations": "retention.decisions_days",
    "approvals": "retention.decisions_days",
    "approval_uses": "retention.decisions_days",
    "guardrail_rulings": "retention.decisions_days",
    "outcomes": "retention.outcomes_days",
    "deliveries": "retention.deliveries_days",
    "delivery_attempts": "retention.deliveries_days",
}
"""Which setting says how long a class is kept; '' where that is fixed."""
LOST: Final[Mapping[ClassOfData, str]] = {
    "entries": "Rows of closed months, their traces' spans and trees; sums by month, day, model, tenant ... and the chain's blocks stay.",
    "journal": "Names and trees of spans, and late spans of these traces are refused; entries and sums stay.",
    "skeletons": "Spans of traces in which no GenAI span ever came.",
    "quarantine": "Spans that could not be recorded can no longer be retried.",
    "audit": "Who changed what; what is left of each chain still proves itself.",
    "idempotency_keys": "A repeated change is made again.",
    "correction_runs": "Who corrected money and why, once no entry of the run is left.",
    "price_refreshes": "Attempts to refresh the prices, but for the last one; the lists themselves are the price book and stay.",
    "decisions": "What was decided on which call, and why; a repeated question is decided anew.",
    "reservations": "What was held for calls; what is held now stays.",
    "approvals": "Requests for approval and passes, counted from when they expired; those that wait or hold stay.",
    "approval_uses": "Which decisions passes let through.",
    "guardrail_rulings": "What guardrails said of calls that were asked for; what spans tell of them stays with the spans.",
    "outcomes": "What somebody said of how traces came out; what spans tell of it goes with their traces.",
    "deliveries": "What became of notices in channels; what waits stays.",
    "delivery_attempts": "Every attempt to deliver a notice.",
}
"""What is lost with a class."""
WHY_HELD: Final[Mapping[str, str]] = {
    "reaching": "they have entries in a month that stays",
    "unsettled": "they wait to be settled",
    "shared": "a trace that stays could not be settled again without them",
}
_ADVICE: Final = (
    "Export what goes first: `otel-finops ledger export --format jsonl > ledger.jsonl`.",
    "Keep a signed head elsewhere: `otel-finops ledger head > head.json`; it fits the pruned ledger too.",
)


class ClassKept(Output):
    """A class of data, and how long it is kept."""

    name: str = Field(alias="class")
    keeps_days: float | None = Field(description="Null: for ever.")
    setting: str | None = Field(description="Which setting says so; null where it is fixed.")
    lost: str = Field(description="What is lost with it.")


class PrunedMonthRow(Output):
    """A month that was pruned."""

    month: str
    begun_at: At
    begun_by: str
    entries: Count = Field(description="Entries that went so far.")
    usd: Usd = Field(description="The sum of their money; all reports still have it.")


class RetentionStatus(Output):
    """What is kept for how long, and what was pruned."""

    classes: list[ClassKept]
    pruned_until: At | None = Field(description="Of calls that started before this instant no unknown trace is taken; null: all is.")
    months: list[PrunedMonthRow] = Field(description="Oldest first.")


@operation(
    "retention.status",
    "retention",
    takes=NoInput,
    output=RetentionStatus,
    permission="view",
    feature="retention",
    summary="Show for how long each class of data is kept, and which months were pruned.",
)
def status(context: Context, principal: Principal, given: NoInput) -> Json:
    """Sums are those of all tenants, so only those who see all of them may ask."""
    principal.must_see_all("retention.status tells sums of all tenants")
    until_ns = context.retention.until_ns()
    return {
        "classes": [
            {
                "class": name,
                "keeps_days": _days(context.retention.hours(name)),
                "setting": SETTINGS[name] or None,
                "lost": LOST[name],
            }
            for name in CLASSES
        ],
        "pruned_until": format_ns(until_ns) if until_ns else None,
        "months": [_month(one) for one in context.retention.months()],
    }


class Pruning(Input):
    """What to prune."""

    class_: ClassOfData | None = Field(default=None, alias="class", description=f"Only this class of data: {', '.join(CLASSES)}.")
    days: int | None = Field(
        default=None,
        ge=1,
        le=_DAYS_MAX,
        description="Take what is older than this many days instead of what the settings say; without a class, of entries.",
    )
    dry_run: bool = Field(default=False, description="Only count what would go.")


class MonthGone(Output):
    """What went of a month."""

    month: str
    entries: Count
    usd: Usd


class Stay(Output):
    """Traces with something old that stay."""

    why: str
    traces: Count


class ClassGone(Output):
    """What went of a class of data."""

    name: str = Field(alias="class")
    keeps_days: float | None = Field(description="Null: for ever.")
    rows: Count
    oldest: At | None = Field(description="Of entries the start of the first call that went.")
    newest: At | None
    traces: Count
    spans: Count
    months: list[MonthGone]
    held: list[Stay]
    finished: bool
    lost: str


class PruningDone(Output):
    """What went, or in a dry run would go."""

    dry_run: bool
    classes: list[ClassGone]
    freed_bytes: int | None = Field(description="Room in the SQLite file that can be used again; null elsewhere and in a dry run.")
    advice: list[str] = Field(description="What to do before; empty but in a dry run.")


@operation(
    "retention.prune",
    "retention/prune",
    takes=Pruning,
    output=PruningDone,
    permission="admin",
    feature="retention",
    changes=True,
    runs=True,
    agents=False,
    summary="Take away data that is older than it is kept for: closed months of entries whole, with their sums and blocks left.",
)
def prune(context: Context, principal: Principal, given: Pruning) -> Changed | Unchanged:
    """What went. It concerns the rows of all tenants, so only those who see all of them may ask."""
    principal.must_see_all("retention.prune takes rows of all tenants")
    before = context.retention.free_bytes()
    done = context.retention.prune(given.class_, given.days, who=principal.who, dry_run=given.dry_run)
    after = None if before is None or given.dry_run else context.retention.free_bytes()
    answer = {
        "dry_run": given.dry_run,
        "classes": [_gone(one) for one in done],
        "freed_bytes": None if after is None or before is None else max(0, after - before),
        "advice": list(_ADVICE) if given.dry_run else [],
    }
    if given.dry_run or not any(one.rows or one.traces for one in done):
        return Unchanged(answer)
    return Changed(answer, None, _recorded(done))


def months_gone(months: Mapping[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """Rows of `MonthGone`, oldest first."""
    return [{"month": month, "entries": rows, "usd": format_usd(pico)} for month, (rows, pico) in sorted(months.items())]


def pruned_until(context: Context, window: Window) -> str | None:
    """Up to when rows of a window were pruned; None where none of it was."""
    until_ns = context.retention.until_ns()
    return format_ns(until_ns) if until_ns > (window.from_ns or 0) else None


def pruned_hint(context: Context) -> str:
    """A sentence for who does not find something: it may have been pruned; "" while nothing was."""
    until_ns = context.retention.until_ns()
    return f" What started before {format_ns(until_ns)[:10]} was pruned (retention.status)." if until_ns else ""


def _days(hours: float) -> float | None:
    return round(hours / _HOURS_PER_DAY, 3) or None


def _month(one: PrunedMonth) -> dict[str, Any]:
    return {
        "month": one.month,
        "begun_at": format_ns(one.begun_ns),
        "begun_by": one.begun_by,
        "entries": one.entries,
        "usd": format_usd(one.sum_pico),
    }


def _gone(one: ClassPruned) -> dict[str, Any]:
    return {
        "class": one.name,
        "keeps_days": _days(one.hours),
        "rows": one.rows,
        "oldest": None if one.oldest_ns is None else format_ns(one.oldest_ns),
        "newest": None if one.newest_ns is None else format_ns(one.newest_ns),
        "traces": one.traces,
        "spans": one.spans,
        "months": months_gone(one.months),
        "held": [{"why": WHY_HELD[why], "traces": traces} for why, traces in one.held.items() if traces],
        "finished": one.finished,
        "lost": LOST[one.name],
    }


def _recorded(done: Sequence[ClassPruned]) -> list[dict[str, Any]]:
    """For the trail: what went, with counts and sums."""
    return [{name: value for name, value in _gone(one).items() if name != "lost"} for one in done if one.rows or one.traces]
