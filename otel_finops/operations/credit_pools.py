"""Prepaid credits: pools that pay for calls, the money in them, and what moved it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import Field

from otel_finops.base.errors import BadInput
from otel_finops.base.money import parse_usd
from otel_finops.base.times import parse_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.credit_fields import (
    DRY_RUN,
    WHY,
    Amount,
    MoneyAnswer,
    PoolAnswer,
    PoolNow,
    PoolNumber,
    PoolRow,
    PositiveAmount,
    ShownAlert,
    ShownGrant,
    ShownMovement,
    ShownPool,
    SignedAmount,
    pool_rows,
    pools_now,
    shown_alert,
    shown_grant,
    shown_movement,
    shown_pools,
    standing,
)
from otel_finops.operations.fields import NAMED, Instant, Name, NoInput, Paged, TenantScoped, page_of, place_cursor
from otel_finops.operations.fx import CurrencyCode
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.scope_fields import SCOPE_TEXT, ScopeValues, must_own, on_record
from otel_finops.operations.shapes import Count

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.governance.credit_desk import PoolState
    from otel_finops.governance.credit_store import Editor
    from otel_finops.governance.credits import Pool

_LAST_NO: Final = 2**63 - 1
_HARD_TEXT: Final = "Whether a call that it cannot pay is halted, and its balance kept from falling below 0; a soft pool only tells."
_LOW_TEXT: Final = "An alert is recorded when the balance, less what is owed, falls below this."
Numbered = TypeVar("Numbered")


class PoolQuery(TenantScoped, Paged):
    """Which pools."""

    closed: bool = Field(default=False, description="Closed ones too.")


class Pools(Output):
    """Pools by number."""

    pools: list[PoolRow]
    next_cursor: str | None


@operation(
    "credits.list",
    "credits/pools",
    takes=PoolQuery,
    output=Pools,
    permission="view",
    feature="credits",
    summary="List pools of prepaid credits with how they stand.",
)
def listed(context: Context, principal: Principal, given: PoolQuery) -> Json:
    """Those of the principal's tenants; of who sees all also those that pay calls of several."""
    tenants = given.tenants(principal)
    seen = [one for one in context.credits.all() if (one.is_open or given.closed) and (tenants is None or one.tenant in tenants)]
    page, more = page_of(seen, given, "credits.list", lambda one: (one.no,))
    return {"pools": pool_rows(context, page), "next_cursor": more}


class OnePool(Output):
    """A pool."""

    pool: PoolNow


@operation(
    "credits.show",
    "credits/pools/{no}",
    takes=PoolNumber,
    output=OnePool,
    permission="view",
    feature="credits",
    summary="Show a pool of credits and how it stands.",
)
def show(context: Context, principal: Principal, given: PoolNumber) -> Json:
    """The pool, if it is one of the principal's tenants."""
    return {"pool": pools_now(context, [context.credits.find(given.no, principal.tenants)])[0]}


class PoolPage(PoolNumber, Paged):
    """Which pool, a page at a time."""


class PoolHistory(Output):
    """Definitions of a pool, newest first."""

    definitions: list[ShownPool]
    next_cursor: str | None


@operation(
    "credits.history",
    "credits/pools/{no}/history",
    takes=PoolPage,
    output=PoolHistory,
    permission="view",
    feature="credits",
    summary="List every definition that a pool of credits ever had, newest first.",
)
def history(context: Context, principal: Principal, given: PoolPage) -> Json:
    """Who changed what, when and why."""
    found = context.credits.history(given.no, principal.tenants, _before(given, "credits.history"), given.limit + 1)
    page = found[: given.limit]
    more = place_cursor("credits.history", [page[-1].revision]) if len(found) > given.limit else None
    return {"definitions": shown_pools(context, page), "next_cursor": more}


class NewPool(Input):
    """What the pool is."""

    name: Name = Field(min_length=1, description="What people call it; one open pool of a tenant, or of all, is called so.")
    scope: ScopeValues = Field(default_factory=dict, description=f"{SCOPE_TEXT} It never changes.")
    currency: CurrencyCode = Field(
        default="USD", description="Of all its amounts, an ISO code; calls are debited at the rate of their day."
    )
    amount: Amount | None = Field(default=None, description="What is put in at once.")
    hard: bool = Field(default=True, description=_HARD_TEXT)
    low: Amount | None = Field(default=None, description=_LOW_TEXT)
    from_: Instant | None = Field(default=None, alias="from", description="It pays calls that start at this instant or later.")
    to: Instant | None = Field(default=None, description="It pays calls that start before this instant.")
    why: str = WHY
    dry_run: bool = DRY_RUN


@operation(
    "credits.create",
    "credits/pools",
    takes=NewPool,
    output=PoolAnswer,
    permission="manage",
    feature="credits",
    changes=True,
    agents=False,
    summary="Make a pool of prepaid credits that pays the calls of a scope.",
)
def create(context: Context, principal: Principal, given: NewPool) -> Changed | Unchanged:
    """It pays calls that are booked from now on."""
    from otel_finops.governance.credit_store import Draft  # noqa: PLC0415 - `--help` must not load the database rooms

    must_own(principal, given.scope, "A pool")
    from_ns = None if given.from_ is None else parse_ns(given.from_)
    to_ns = None if given.to is None else parse_ns(given.to)
    if from_ns is not None and to_ns is not None and to_ns <= from_ns:
        raise BadInput("`to` lies before `from`")
    low = None if given.low is None else parse_usd(given.low)
    draft = Draft(given.name, given.scope, given.currency, given.hard, low, from_ns, to_ns)
    amount = parse_usd(given.amount or "0")
    pool = context.credits.create(draft, amount, _editor(principal, given.why), dry_run=given.dry_run)
    shown = pools_now(context, [pool])[0]
    if given.dry_run:
        return Unchanged({"pool": shown, "changed": False})
    return Changed({"pool": shown, "changed": True}, None, on_record(shown, pool.scope), pool.tenant)


class PoolEdit(PoolNumber):
    """What is to be another; what is not given stays."""

    name: Name | None = Field(default=None, min_length=1, description="What people call it.")
    hard: bool | None = Field(default=None, description=_HARD_TEXT)
    low: Amount | None = Field(default=None, description=_LOW_TEXT)
    no_low: bool = Field(default=False, description="No alert is recorded any longer.")
    revision: int | None = Field(default=None, ge=1, description="Only if it is of this revision still: nobody's change is overwritten.")
    why: str = WHY
    dry_run: bool = DRY_RUN


@operation(
    "credits.update",
    "credits/pools/{no}",
    takes=PoolEdit,
    output=PoolAnswer,
    permission="manage",
    feature="credits",
    changes=True,
    agents=False,
    summary="Change a pool's name, whether it is hard, and when an alert is recorded; its scope and currency never change.",
)
def update(context: Context, principal: Principal, given: PoolEdit) -> Changed | Unchanged:
    """What a soft pool lacks is owed once it is hard, and the other way round."""
    if given.no_low and given.low is not None:
        raise BadInput("low: give `low` or `no_low`")
    low = {"low": None if given.low is None else parse_usd(given.low)} if given.no_low or given.low is not None else {}
    changes: dict[str, Any] = {name: value for name in ("name", "hard") if (value := getattr(given, name)) is not None} | low
    before = context.credits.find(given.no, principal.tenants)
    pool = context.credits.update(given.no, changes, _editor(principal, given.why), given.revision, dry_run=given.dry_run)
    return _changed(context, before, pool, dry_run=given.dry_run)


class PoolClosing(PoolNumber):
    """Which pool."""

    why: str = WHY
    dry_run: bool = DRY_RUN


@operation(
    "credits.close",
    "credits/pools/{no}/close",
    takes=PoolClosing,
    output=PoolAnswer,
    permission="manage",
    feature="credits",
    changes=True,
    agents=False,
    summary="Close a pool of credits: it pays for no further call.",
)
def close(context: Context, principal: Principal, given: PoolClosing) -> Changed | Unchanged:
    """Calls that it paid can be corrected still; its balance stays until it is adjusted away."""
    before = context.credits.find(given.no, principal.tenants)
    pool = context.credits.close(given.no, _editor(principal, given.why), dry_run=given.dry_run)
    return _changed(context, before, pool, dry_run=given.dry_run)


class TopUp(PoolNumber):
    """What is put in."""

    amount: PositiveAmount = Field(description="In the pool's currency.")
    expires: Instant | None = Field(default=None, description="When what is left of it lapses: a grant; never when not given.")
    why: str = WHY
    dry_run: bool = DRY_RUN


@operation(
    "credits.topup",
    "credits/pools/{no}/topup",
    takes=TopUp,
    output=MoneyAnswer,
    permission="manage",
    feature="credits",
    changes=True,
    agents=False,
    summary="Put money into a pool of credits, for good or until it expires.",
)
def topup(context: Context, principal: Principal, given: TopUp) -> Changed | Unchanged:
    """What calls cost beyond the balance is paid first; of several grants the one that expires first is used first."""
    expires_ns = None if given.expires is None else parse_ns(given.expires)
    editor = _editor(principal, given.why)
    moved = context.credits.fund(given.no, parse_usd(given.amount), expires_ns, editor, dry_run=given.dry_run)
    return _moved(context, principal, given.no, moved, dry_run=given.dry_run)


class Adjustment(PoolNumber):
    """What is put in, or taken out."""

    amount: SignedAmount = Field(
        description="In the pool's currency; below 0 it is taken out (on the command line --amount=-5).",
        json_schema_extra=NAMED,
    )
    why: str = WHY
    dry_run: bool = DRY_RUN


@operation(
    "credits.adjust",
    "credits/pools/{no}/adjust",
    takes=Adjustment,
    output=MoneyAnswer,
    permission="manage",
    feature="credits",
    changes=True,
    agents=False,
    summary="Put money into a pool of credits, or take some out, without a call.",
)
def adjust(context: Context, principal: Principal, given: Adjustment) -> Changed | Unchanged:
    """Of a hard pool no more is taken out than is there and not held for calls."""
    moved = context.credits.adjust(given.no, parse_usd(given.amount), _editor(principal, given.why), dry_run=given.dry_run)
    return _moved(context, principal, given.no, moved, dry_run=given.dry_run)


class Movements(Output):
    """Movements of a pool, newest first."""

    currency: str
    movements: list[ShownMovement]
    next_cursor: str | None


@operation(
    "credits.postings",
    "credits/pools/{no}/postings",
    takes=PoolPage,
    output=Movements,
    permission="view",
    feature="credits",
    summary="List what moved the money of a pool of credits, newest first, with the postings by account.",
)
def postings(context: Context, principal: Principal, given: PoolPage) -> Json:
    """Calls are posted block by block of the ledger."""
    pool = context.credits.find(given.no, principal.tenants)
    found = context.credits.movements(given.no, _before(given, "credits.postings"), given.limit + 1)
    page, cursor = _page(found, given, "credits.postings")
    return {"currency": pool.currency, "movements": [shown_movement(one) for one in page], "next_cursor": cursor}


class Grants(Output):
    """Grants of a pool, newest first."""

    currency: str
    grants: list[ShownGrant]
    next_cursor: str | None


@operation(
    "credits.grants",
    "credits/pools/{no}/grants",
    takes=PoolPage,
    output=Grants,
    permission="view",
    feature="credits",
    summary="List the grants of a pool of credits, newest first, with what is left of each and when it expires.",
)
def grants(context: Context, principal: Principal, given: PoolPage) -> Json:
    """Money that does not expire is no grant."""
    pool = context.credits.find(given.no, principal.tenants)
    page, cursor = _page(context.credits.grants(given.no, _before(given, "credits.grants"), given.limit + 1), given, "credits.grants")
    return {"currency": pool.currency, "grants": [shown_grant(one) for one in page], "next_cursor": cursor}


class Alerts(Output):
    """The times that pools fell below their `low`, newest first."""

    alerts: list[ShownAlert]
    next_cursor: str | None


@operation(
    "credits.alerts",
    "credits/alerts",
    takes=Paged,
    output=Alerts,
    permission="view",
    feature="credits",
    summary="List the times that pools of credits fell below what they should hold, newest first.",
)
def alerts(context: Context, principal: Principal, given: Paged) -> Json:
    """Each is recorded once, until the pool has enough again."""
    found = context.credits.alerts(principal.tenants, _before(given, "credits.alerts"), given.limit + 1)
    page, cursor = _page(found, given, "credits.alerts")
    return {"alerts": [shown_alert(one) for one in page], "next_cursor": cursor}


class Lapsed(Output):
    """What lapsed."""

    pools: Count = Field(description="Pools of which money lapsed.")


@operation(
    "credits.expire",
    "credits/expire",
    takes=NoInput,
    output=Lapsed,
    permission="manage",
    feature="credits",
    changes=True,
    runs=True,
    agents=False,
    summary="Post what is left of expired grants as lapsed now; the clock does it every minute.",
)
def expire(context: Context, principal: Principal, given: NoInput) -> Changed | Unchanged:
    """What is held for calls lapses once that is over."""
    principal.must_see_all("credits.expire posts what lapsed of the pools of all tenants")
    lapsed = context.credits.expire()[1]
    return Changed({"pools": lapsed}, None, {"pools": lapsed}) if lapsed else Unchanged({"pools": 0})


class Checked(Output):
    """Whether the pools' accounts agree with their postings."""

    ok: bool
    pools: Count
    faults: list[str]
    next_cursor: str | None


@operation(
    "credits.verify",
    "credits/verify",
    takes=Paged,
    output=Checked,
    permission="view",
    feature="credits",
    summary="Check pools of credits: every account is the sum of its postings, and all accounts together are 0.",
)
def verify(context: Context, principal: Principal, given: Paged) -> Json:
    """Closed pools too, a page at a time."""
    seen = [one for one in context.credits.all() if principal.tenants is None or one.tenant in principal.tenants]
    page, more = page_of(seen, given, "credits.verify", lambda one: (one.no,))
    faults = context.credits.faults(page)
    return {"ok": not faults, "pools": len(page), "faults": faults, "next_cursor": more}


def _editor(principal: Principal, why: str) -> Editor:
    from otel_finops.governance.credit_store import Editor  # noqa: PLC0415 - `--help` must not load the database rooms

    return Editor(principal.who, why, principal.tenants)


def _changed(context: Context, before: Pool, after: Pool, *, dry_run: bool) -> Changed | Unchanged:
    shown = pools_now(context, [after])[0]
    if dry_run or after.revision == before.revision:
        return Unchanged({"pool": shown, "changed": False})
    was, now = (on_record(said, one.scope) for said, one in zip(shown_pools(context, [before, after]), (before, after), strict=True))
    return Changed({"pool": shown, "changed": True}, was, now, after.tenant)


def _moved(context: Context, principal: Principal, no: int, moved: tuple[PoolState, PoolState], *, dry_run: bool) -> Changed | Unchanged:
    pool = context.credits.find(no, principal.tenants)
    before, after = (standing(state) for state in moved)
    answer = {"no": no, "currency": pool.currency, "before": before, "after": after, "changed": not dry_run}
    return Unchanged(answer) if dry_run else Changed(answer, {"no": no, **before}, {"no": no, **after}, pool.tenant)


def _before(given: Paged, order: str) -> int:
    place = given.place(order)
    return place[0] if place else _LAST_NO


def _page(found: Sequence[Numbered], given: Paged, order: str) -> tuple[Sequence[Numbered], str | None]:
    """A page of rows by falling numbers, of which one more was read, and the cursor of the next page."""
    page = found[: given.limit]
    return page, place_cursor(order, [page[-1].no]) if len(found) > given.limit else None  # type: ignore[attr-defined]
