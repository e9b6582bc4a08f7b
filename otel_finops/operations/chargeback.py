"""Showback and chargeback: what each cost centre's calls cost, and what it bears in the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pydantic import Field

from otel_finops.base.errors import BadInput
from otel_finops.base.money import format_usd
from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import TenantScoped, Windowed
from otel_finops.operations.registry import Json, Output, operation
from otel_finops.operations.shapes import At, Usd
from otel_finops.operations.streams import Column, Stream, Streamed

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.insight.allocation import Entity, Line, Outcome
    from otel_finops.insight.chargeback import Asked, Chargeback
    from otel_finops.insight.cost_centers import Book, CostCenter

Mode: TypeAlias = Literal["showback", "chargeback"]


class ReportQuery(Windowed, TenantScoped):
    """Of which time, and how it is made."""

    period: str | None = Field(
        default=None,
        max_length=7,
        description="A month of the ledger, e.g. 2026-10: with late rows where they belong, so that a closed month stays as it is; in "
        "place of `from` and `to`. Without any of them: the month that runs.",
    )
    mode: Mode = Field(
        default="chargeback",
        description="showback: what the calls of each cost centre cost. chargeback: what it bears, with shared costs, fees and credits.",
    )
    revision: int | None = Field(
        default=None, ge=1, le=2**53, description="By the cost centres and rules as they stood at this revision, which every report names."
    )


class Row(Output):
    """A cost centre, or what is not allocated."""

    cost_center: str | None = Field(description="Its code; null: calls without one, and what nobody bears.")
    tenant: str | None = Field(description="Whose own cost centre it is; null: one of all tenants, or none that was made.")
    name: str | None
    owner: str | None
    department: str | None
    parent: str | None
    defined: bool = Field(description="False: calls bear the code, and nobody made such a cost centre.")
    calls: int = Field(description="Below 0 where a month holds little but what late entries took back; tokens too.")
    tokens: int
    unpriced_calls: int = Field(description="Calls whose cost nobody knows; they add nothing to it.")
    direct_usd: Usd = Field(description="What its own calls cost.")
    given_usd: Usd = Field(description="Of that, what rules took away as shared.")
    received_usd: Usd = Field(description="What rules brought of shared costs.")
    fees_usd: Usd = Field(description="Its part of flat fees, of subscriptions and of rules.")
    credits_usd: Usd = Field(description="Its part of credits, negative: those of rules, and what prepaid pools paid.")
    total_usd: Usd = Field(description="direct - given + received + fees + credits.")
    subtree_usd: Usd = Field(description="With all cost centres within it.")


class Part(Output):
    """What one of them was given."""

    cost_center: str | None
    tenant: str | None
    usd: Usd


class RuleShare(Output):
    """What a rule did."""

    no: int
    name: str
    method: str
    pool_usd: Usd = Field(description="What it found to share, or its amount.")
    parts: list[Part]
    rest_usd: Usd = Field(description="What stayed where it was; of an amount: what nobody bears.")


class ExtraShare(Output):
    """A subscription's fee, or what a pool of credits paid, and who bears it."""

    name: str
    usd: Usd
    parts: list[Part]


class Report(Output):
    """Who bears what, dearest first; what is not allocated stands last."""

    period: str | None
    from_: At = Field(alias="from")
    to: At
    mode: Mode
    revision: int = Field(description="Of the cost centres and rules by which it was made; 0: there never was any.")
    rows: list[Row]
    rules: list[RuleShare]
    extras: list[ExtraShare]
    ledger_usd: Usd = Field(description="What the ledger says of the same calls: the sum of direct_usd.")
    fees_usd: Usd
    credits_usd: Usd
    total_usd: Usd = Field(description="The sum of all rows: ledger_usd + fees_usd + credits_usd.")
    notes: list[str]


class ReportExport(ReportQuery, Streamed):
    """Which report, and how it is written."""


@operation(
    "chargeback.report",
    "chargeback/report",
    takes=ReportQuery,
    output=Report,
    permission="view",
    feature="chargeback",
    summary="Show what each cost centre bears in a month or any time, with what is not allocated.",
)
def report(context: Context, principal: Principal, given: ReportQuery) -> Json:
    """The sum of all rows is what the ledger says, with fees and credits, to the picodollar."""
    asked = _asked(context, principal, given)
    return _shown(asked, given.mode, context.chargebacks.report(asked))


@operation(
    "chargeback.export",
    "chargeback/export",
    takes=ReportExport,
    output=Row,
    permission="view",
    feature="chargeback",
    agents=False,
    streams=True,
    summary="Write what each cost centre bears to a file.",
)
def export(context: Context, principal: Principal, given: ReportExport) -> Stream:
    """The rows of `chargeback.report`."""
    asked = _asked(context, principal, given)
    answer = _shown(asked, given.mode, context.chargebacks.report(asked))
    return Stream(given.mode, _COLUMNS, iter([answer["rows"]]))


_TEXTS: Final = ("cost_center", "tenant", "name", "owner", "department", "parent")
_COUNTS: Final = ("calls", "tokens", "unpriced_calls")
_MONEY: Final = ("direct_usd", "given_usd", "received_usd", "fees_usd", "credits_usd", "total_usd", "subtree_usd")
_COLUMNS: Final = (
    *(Column(name, "text", (name,)) for name in _TEXTS),
    Column("defined", "flag", ("defined",)),
    *(Column(name, "integer", (name,)) for name in _COUNTS),
    *(Column(name, "money", (name,)) for name in _MONEY),
)


def _asked(context: Context, principal: Principal, given: ReportQuery) -> Asked:
    from otel_finops.insight.chargeback import Asked  # noqa: PLC0415 - `--help` must not load the database rooms

    tenants, of_all, allocated = given.tenants(principal), principal.tenants is None, given.mode == "chargeback"
    window = given.window()
    if window.from_ns is None and window.to_ns is None:
        month = given.period or format_ns(context.clock.now_ns())[:7]
        return Asked.of_month(tenants, of_all, month, allocated=allocated, revision=given.revision)
    if given.period is not None:
        raise BadInput("period: takes the place of `from` and `to`; give one or the other")
    if window.from_ns is None or window.to_ns is None:
        raise BadInput("from, to: give both, or a month as `period`: fees and credits belong to a time with a beginning and an end")
    return Asked(tenants, of_all, None, window.from_ns, window.to_ns, allocated, given.revision)


def _shown(asked: Asked, mode: Mode, made: Chargeback) -> dict[str, Any]:
    rows = list(_rows(made))
    fees = sum(line.fees for line in made.allocation.lines.values())
    credits_ = sum(line.credits for line in made.allocation.lines.values())
    return {
        "period": asked.month,
        "from": format_ns(asked.from_ns),
        "to": format_ns(asked.to_ns),
        "mode": mode,
        "revision": made.book.revision,
        "rows": rows,
        "rules": [_rule(one) for one in made.allocation.outcomes],
        "extras": [{"name": one.name, "usd": format_usd(one.amount), "parts": _parts(parts)} for one, parts in made.allocation.extras],
        "ledger_usd": format_usd(made.ledger_pico),
        "fees_usd": format_usd(fees),
        "credits_usd": format_usd(credits_),
        "total_usd": format_usd(sum(line.total for line in made.allocation.lines.values())),
        "notes": list(made.notes),
    }


def _rule(one: Outcome) -> dict[str, Any]:
    return {
        "no": one.rule.no, "name": one.rule.name, "method": one.rule.method, "pool_usd": format_usd(one.pool), "parts": _parts(one.parts),
        "rest_usd": format_usd(one.rest),
    }  # fmt: skip


def _parts(parts: tuple[tuple[Entity, int], ...]) -> list[dict[str, Any]]:
    return [{"cost_center": code or None, "tenant": tenant or None, "usd": format_usd(part)} for (tenant, code), part in parts]


def _rows(made: Chargeback) -> Iterator[dict[str, Any]]:
    """Dearest with all within first, then by code; what is not allocated last."""
    from otel_finops.insight.allocation import UNALLOCATED, Line  # noqa: PLC0415 - `--help` must not load the database rooms

    lines = made.allocation.lines
    sums = _subtrees(made.book, {entity: line.total for entity, line in lines.items()})
    order = sorted({*lines, *sums} - {UNALLOCATED}, key=lambda entity: (-sums[entity], entity))
    for entity in (*order, UNALLOCATED):
        line = lines.get(entity, Line())
        yield {**_who(made.book, entity), **_figures(line), "subtree_usd": format_usd(sums.get(entity, line.total))}


def _subtrees(book: Book, totals: dict[Entity, int]) -> dict[Entity, int]:
    """What each bears with all within it; those above somebody who bears something are there too."""
    sums = dict(totals)
    for entity, total in totals.items():
        center = book.by_entity.get(entity)
        for higher in book.above(center) if center is not None else ():
            sums[higher.entity] = sums.get(higher.entity, 0) + total
    return sums


def _who(book: Book, entity: Entity) -> dict[str, Any]:
    tenant, code = entity
    center: CostCenter | None = book.by_entity.get(entity)
    known = {name: None if center is None else getattr(center, name) for name in ("name", "owner", "department", "parent")}
    return {"cost_center": code or None, "tenant": tenant or None, **known, "defined": center is not None}


def _figures(line: Line) -> dict[str, Any]:
    amounts = {f"{name}_usd": format_usd(getattr(line, name)) for name in ("direct", "given", "received", "fees", "credits", "total")}
    return {"calls": line.calls, "tokens": line.tokens, "unpriced_calls": line.unpriced_calls, **amounts}
