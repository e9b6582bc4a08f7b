"""Proving the ledger, and correcting its money."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from otel_finops.base.errors import BadInput, NotFound
from otel_finops.base.money import format_usd
from otel_finops.base.times import NS_PER_DAY, format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Name, Paged, TenantScoped, Windowed, place_cursor
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.retention import MonthGone, months_gone
from otel_finops.operations.shapes import At, Count, Usd

if TYPE_CHECKING:  # these load a database toolkit, which `--help` must not wait for
    from otel_finops.ledger.correction_runs import CorrectionRun
    from otel_finops.ledger.corrections import Corrected, Group, Selection

_HEAD_CHARS_MAX = 65_536
_WHY_CHARS_MAX = 500
_EVER_NS = 2**63 - 1
_RUNS_ORDER = "runs"
_ENTRY_ID = re.compile(r"(\d{1,5})-(\d{1,18})-\d{1,9}")


class VerifyQuery(Input):
    """What to hold the ledger against."""

    head: str | None = Field(
        default=None, max_length=_HEAD_CHARS_MAX, description="A signed head that `ledger head` printed earlier, as JSON."
    )
    public_key: str | None = Field(default=None, max_length=64, description="Hex of the key that must have signed the head.")


class ChainFault(Output):
    """The first place at which a shard's chain breaks."""

    shard: int
    block: int
    row: int | None
    place: str
    message: str


class Verification(Output):
    """Outcome of walking all blocks."""

    ok: bool
    shards: Count
    blocks: Count
    entries: Count
    total_usd: Usd
    head_compared: bool
    faults: list[ChainFault]
    pruned: list[MonthGone] = Field(
        description="Months of which rows were pruned: their number and sum are proved by the blocks, what the rows said no longer is."
    )
    note: str | None = Field(description="What can no longer be proved; null when everything can.")


@operation(
    "ledger.verify",
    "ledger/verify",
    takes=VerifyQuery,
    output=Verification,
    permission="view",
    feature="ledger",
    summary="Walk the chain of blocks and name the first block or row that was changed.",
)
def verify(context: Context, principal: Principal, given: VerifyQuery) -> Json:
    """The verdict; a chain is shared by tenants, so only those who see all of them may ask."""
    principal.must_see_all("ledger.verify reads all tenants' rows")
    report, against_head = context.verify(given.head, given.public_key)
    faults = [*report.faults, *(against_head or ())]
    return {
        "ok": not faults,
        "shards": report.shards,
        "blocks": report.blocks,
        "entries": report.entries,
        "total_usd": format_usd(report.total_pico),
        "head_compared": against_head is not None,
        "faults": [{"shard": f.shard, "block": f.seq, "row": f.idx, "place": f.place, "message": f.what} for f in faults],
        "pruned": months_gone(report.pruned),
        "note": _note(sorted(report.pruned)),
    }


def _note(months: Sequence[str]) -> str | None:
    if not months:
        return None
    return f"Rows of {', '.join(months)} were pruned: the blocks prove their number and sum, what they said can no longer be proved."


class Correction(Windowed, TenantScoped):
    """Which standing calls are corrected."""

    provider: Name | None = Field(default=None, description="Only this provider family, e.g. openai.")
    model: Name | None = Field(
        default=None,
        description="Only this model: the response's or the request's as sent, or the price's key; capitals do not count.",
    )
    force: bool = Field(default=False, description="Also calls of closed months; their corrections are late and count in the open month.")
    dry_run: bool = Field(default=False, description="Come to the same numbers and write nothing.")

    def selection(self, principal: Principal, latest_ns: int, *, unpriced_only: bool) -> Selection:
        """The calls, up to `latest_ns` where no end is given."""
        from otel_finops.ledger.corrections import Selection  # noqa: PLC0415 - as above

        return Selection(*_window(self, latest_ns), self.tenants(principal), self.provider, self.model, unpriced_only, self.force)


class Repricing(Correction):
    """What to reprice, and why."""

    unpriced_only: bool = Field(default=False, description="Only calls without a price.")
    why: str = Field(default="prices changed", min_length=1, max_length=_WHY_CHARS_MAX, description="Goes on record.")


class Estimating(Correction):
    """What to estimate, and why."""

    why: str = Field(default="usage is missing", min_length=1, max_length=_WHY_CHARS_MAX, description="Goes on record.")


class Granting(Windowed):
    """Whose free searches to book, and why."""

    force: bool = Field(default=False, description="Also calls of closed months; their corrections are late and count in the open month.")
    dry_run: bool = Field(default=False, description="Come to the same numbers and write nothing.")
    why: str = Field(default="free allowances", min_length=1, max_length=_WHY_CHARS_MAX, description="Goes on record.")


class CorrectedModel(Output):
    """What became of one model's calls; without a price counts as 0."""

    provider: str | None
    model: str | None
    rows: Count = Field(description="Standing calls that were compared.")
    changed: Count
    priced: Count = Field(description="Of the changed ones, those that had no price before.")
    unpriced: Count = Field(description="Of the changed ones, those that have none any more.")
    before_usd: Usd = Field(description="What the changed calls cost before.")
    after_usd: Usd
    difference_usd: Usd


class CorrectedCalls(CorrectedModel):
    """What a run did, or in a dry run would do."""

    run: int | None = Field(description="Its number on record; null where nothing was written.")
    dry_run: bool
    entries: Count = Field(description="Ledger rows appended.")
    protected: Count = Field(description="Calls that would change but started in a closed month; see `force`.")
    skipped: Count = Field(description="Calls that wait to be settled, or whose spans are no longer kept.")
    lost_terms: Count = Field(description="Changed calls that lose an account, a discount or a flat fee, because no rule of now gives it.")
    warning: str | None = Field(description="What to look at when calls lose such terms.")
    models: list[CorrectedModel] = Field(description="By provider and model, the largest difference first.")


@operation(
    "ledger.reprice",
    "ledger/reprice",
    takes=Repricing,
    output=CorrectedCalls,
    permission="manage",
    feature="ledger",
    changes=True,
    runs=True,
    agents=False,
    summary="Book what calls cost by today's prices more or less than what stands, as corrections.",
)
def reprice(context: Context, principal: Principal, given: Repricing) -> Changed | Unchanged:
    """The numbers; asked again it finds nothing to do."""
    selection = given.selection(principal, _EVER_NS, unpriced_only=given.unpriced_only)
    done = context.corrections.reprice(selection, who=principal.who, why=given.why, dry_run=given.dry_run)
    return _answer(done, selection, given.why, dry_run=given.dry_run)


@operation(
    "ledger.estimate",
    "ledger/estimate",
    takes=Estimating,
    output=CorrectedCalls,
    permission="manage",
    feature="ledger",
    changes=True,
    runs=True,
    agents=False,
    summary="Charge calls without usage by the median of such calls, as corrections; without `to` those of the last 24 hours are left.",
)
def estimate(context: Context, principal: Principal, given: Estimating) -> Changed | Unchanged:
    """The numbers; what is estimated already stands."""
    selection = given.selection(principal, context.clock.now_ns() - NS_PER_DAY, unpriced_only=True)
    done = context.corrections.estimate(selection, who=principal.who, why=given.why, dry_run=given.dry_run)
    return _answer(done, selection, given.why, dry_run=given.dry_run)


@operation(
    "ledger.allowances",
    "ledger/allowances",
    takes=Granting,
    output=CorrectedCalls,
    permission="manage",
    feature="ledger",
    changes=True,
    runs=True,
    agents=False,
    summary="Book the searches that free allowances (`pricing.allowances`) cover in days and months that are over, as corrections.",
)
def allowances(context: Context, principal: Principal, given: Granting) -> Changed | Unchanged:
    """The numbers; an allowance is shared by tenants, so only those who see all of them may ask."""
    from otel_finops.ledger.corrections import Selection  # noqa: PLC0415 - as above

    principal.must_see_all("ledger.allowances counts all tenants' searches")
    selection = Selection(*_window(given, _EVER_NS), force=given.force)
    done = context.corrections.allowances(selection, who=principal.who, why=given.why, dry_run=given.dry_run)
    return _answer(done, selection, given.why, dry_run=given.dry_run)


def _window(given: Windowed, latest_ns: int) -> tuple[int, int]:
    """From and to, up to `latest_ns` where no end is given."""
    from_ns, to_ns = given.window()
    if from_ns is not None and to_ns is not None and to_ns < from_ns:
        raise BadInput("`to` lies before `from`")
    return from_ns or 0, latest_ns if to_ns is None else to_ns


_LOST: Final = (
    "Calls were booked with an account, a discount or a flat fee that no rule of this run gives. If these are not the settings of the "
    "service (pricing.accounts, .discounts, .subscriptions), run it again with them."
)


def _answer(done: Corrected, selection: Selection, why: str, *, dry_run: bool) -> Changed | Unchanged:
    total = _sums(done.total)
    counts = {
        "run": done.run_no,
        "dry_run": dry_run,
        "entries": done.entries,
        "protected": done.protected,
        "skipped": done.skipped,
        "lost_terms": done.lost_terms,
        "warning": _LOST if done.lost_terms else None,
    }
    answer = {**counts, **total, "models": [_sums(group) for group in done.groups]}
    if dry_run:
        return Unchanged(answer)
    before = {"usd": total["before_usd"]}
    return Changed(
        answer, before, {"usd": total["after_usd"], "calls": done.total.changed, "run": done.run_no, "why": why, **selection.to_json()}
    )


def _sums(group: Group) -> dict[str, Any]:
    return {
        "provider": group.provider,
        "model": group.model,
        "rows": group.rows,
        "changed": group.changed,
        "priced": group.priced,
        "unpriced": group.unpriced,
        "before_usd": format_usd(group.before_pico),
        "after_usd": format_usd(group.after_pico),
        "difference_usd": format_usd(group.after_pico - group.before_pico),
    }


class RunsQuery(Paged):
    """Which runs."""

    entry: Name | None = Field(default=None, description="Only the run that wrote this entry, by its `entry_id`.")


class Run(Output):
    """A run that corrected money."""

    run: int
    verb: str = Field(description="reprice, estimate, allowances or spread.")
    who: str
    why: str
    at: At
    selection: Mapping[str, Any]
    price_version: str
    rows: Count
    before_usd: Usd
    after_usd: Usd
    difference_usd: Usd
    blocks: Count = Field(description="Blocks of the ledger that it wrote.")


class Runs(Output):
    """Runs, newest first."""

    runs: list[Run]
    next_cursor: str | None


@operation(
    "ledger.corrections",
    "ledger/corrections",
    takes=RunsQuery,
    output=Runs,
    permission="view",
    feature="ledger",
    summary="List the runs that corrected money: who, why, what and by how much; or the run that wrote an entry.",
)
def corrections(context: Context, principal: Principal, given: RunsQuery) -> Json:
    """The runs; they may concern several tenants, so only those who see all of them may ask."""
    principal.must_see_all("ledger.corrections tells of all tenants' rows")
    if given.entry is not None:
        return {"runs": [_run(_run_of(context, given.entry))], "next_cursor": None}
    place = given.place(_RUNS_ORDER)
    found = context.corrections.runs(place[0] if place else None, given.limit)
    more = len(found) == given.limit
    return {"runs": [_run(one) for one in found], "next_cursor": place_cursor(_RUNS_ORDER, [found[-1].run_no]) if more else None}


def _run_of(context: Context, entry_id: str) -> CorrectionRun:
    place = _ENTRY_ID.fullmatch(entry_id)
    if place is None:
        raise BadInput("entry: not an entry_id; `usage list --json` and `ledger export` show them, e.g. 3-118-0")
    found = context.corrections.run_of(int(place[1]), int(place[2]))
    if found is None:
        raise NotFound("No run wrote this entry: it was booked by settling, or there is none of this id.")
    return found


def _run(one: CorrectionRun) -> Json:
    asked = one.asked
    return {
        "run": one.run_no,
        "verb": asked.verb,
        "who": asked.who,
        "why": asked.why,
        "at": format_ns(asked.started_ns),
        "selection": asked.selection,
        "price_version": asked.price_version,
        "rows": one.rows,
        "before_usd": format_usd(one.before_pico),
        "after_usd": format_usd(one.after_pico),
        "difference_usd": format_usd(one.after_pico - one.before_pico),
        "blocks": one.blocks,
    }
