"""Approvals: what policies let through only with somebody's consent, and giving it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field

from otel_finops.base.money import format_usd, parse_usd
from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import NAMED, Name, Paged, TenantScoped, place_cursor
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.shapes import At, Count, Usd
from otel_finops.settings.approvals import PASS_HOURS_MAX

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.governance.approvals import Approval

StateName: TypeAlias = Literal["pending", "approved", "used", "rejected", "revoked", "expired"]
_ORDER: Final = "approvals.list"


def _amount(text: str) -> str:
    if parse_usd(text) < 0:
        raise ValueError("not below zero")
    return text


Amount: TypeAlias = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,12})?$"), AfterValidator(_amount)]
ApprovalId: TypeAlias = Annotated[str, Field(pattern="^[0-9a-f]{24}$")]


class AskedCall(Output):
    """The call that is asked for; null what nobody said."""

    tenant: str
    provider: str | None
    model: str | None
    operation: str | None
    user: str | None
    session: str | None = Field(description="Of the first one; a repetition in another session is the same request.")
    agent: str | None
    step: str | None
    purpose: str | None
    cost_center: str | None
    service: str | None
    environment: str | None
    trace_id: str | None = Field(description="Of the first one, as `session`.")
    tags: dict[str, str]
    tokens: Count = Field(description="At most so many, prompt and output; 0 where nobody said.")
    estimate_usd: Usd | None = Field(description="The most that was asked for; null: it could not be estimated.")


class ShownApproval(Output):
    """A request, and what became of it."""

    approval_id: str
    status: StateName = Field(
        description="`pending`: waits for somebody. `approved`: a pass that holds. `used`: a pass for one call that a decision took. "
        "`expired`: nobody decided in time, or a pass that ended."
    )
    policy_id: str = Field(description="The policy that demands it.")
    policy: str = Field(description="The name of that policy.")
    call: AskedCall
    asks: Count = Field(description="How often the same was asked for while it was pending.")
    asked_at: At
    last_asked_at: At
    expires_at: At = Field(description="Until when it waits; of a pass: until when it holds.")
    decision_id: str = Field(description="The decision that asked first.")
    times: Literal["once", "timed"] | None = Field(description="Of a pass: for one call, or for any number until it ends.")
    up_to_usd: Usd | None = Field(description="Of a pass: the highest estimate that passes; null: any does.")
    decided_by: str | None
    decided_at: At | None
    why: str | None


class Approvals(Output):
    """A page of requests, newest first."""

    approvals: list[ShownApproval]
    next_cursor: str | None


class ApprovalQuery(Paged, TenantScoped):
    """Which requests."""

    status: StateName | None = Field(default=None, description="Only requests and passes in this state.")
    policy: Name | None = Field(default=None, description="Only what this policy (its id) demands.")
    provider: Name | None = Field(default=None, description="Only calls of this provider family.")
    model: Name | None = Field(default=None, description="Only calls of this model.")
    agent: Name | None = Field(default=None, description="Only calls of this agent.")


@operation(
    "approvals.list",
    "approvals",
    takes=ApprovalQuery,
    output=Approvals,
    permission="view",
    feature="approvals",
    summary="List requests for approval and the passes that they became, newest first.",
)
def listed(context: Context, principal: Principal, given: ApprovalQuery) -> Json:
    """Those of the principal's tenants."""
    from otel_finops.governance.approvals import Query  # noqa: PLC0415 - `--help` must not load the database rooms

    place = given.place(_ORDER)
    query = Query(given.status, given.policy, given.provider, given.model, given.agent)
    found = context.approvals.page(given.tenants(principal), query, place[0] if place else None, given.limit + 1)
    page = found[: given.limit]
    return {
        "approvals": [shown_approval(one) for one in page],
        "next_cursor": place_cursor(_ORDER, [page[-1].no]) if len(found) > given.limit else None,
    }


class ApprovalNamed(Input):
    """Which request."""

    approval_id: ApprovalId = Field(description="The request's id, as decisions and `approvals list` show it.")


class UsedBy(Output):
    """A decision that took the pass."""

    decision_id: str
    at: At


class ApprovalDetail(ShownApproval):
    """A request with the decisions that took the pass."""

    uses: list[UsedBy] = Field(description="The latest hundred, newest first.")


@operation(
    "approvals.show",
    "approvals/{approval_id}",
    takes=ApprovalNamed,
    output=ApprovalDetail,
    permission="view",
    feature="approvals",
    summary="Show a request for approval, and which decisions took the pass that it became.",
)
def show(context: Context, principal: Principal, given: ApprovalNamed) -> Json:
    """One of the principal's tenants."""
    found = context.approvals.find(given.approval_id, principal.tenants)
    uses = [{"decision_id": one.decision_id, "at": format_ns(one.at_ns)} for one in context.approvals.uses(found)]
    return {**shown_approval(found), "uses": uses}


class Deciding(ApprovalNamed):
    """On which request, and why."""

    why: str = Field(min_length=1, max_length=500, description="It stands on record, and who asked is told.", json_schema_extra=NAMED)
    dry_run: bool = Field(default=False, description="Only say what it would become.")


class Approving(Deciding):
    """The pass that is given."""

    times: Literal["once", "timed"] = Field(
        default="once", description="`once`: the next such call takes it. `timed`: all such calls pass until it ends."
    )
    hours: float | None = Field(
        default=None,
        gt=0,
        le=PASS_HOURS_MAX,
        description="Hours for which the pass holds; approvals.pass_hours when not given.",
    )
    up_to_usd: Amount | None = Field(default=None, description="The highest estimate that passes; what was asked for when not given.")


class ApprovalDone(Output):
    """The request as it is now."""

    approval: ShownApproval
    changed: bool = Field(description="False: this was a dry run.")


@operation(
    "approvals.approve",
    "approvals/{approval_id}/approve",
    takes=Approving,
    output=ApprovalDone,
    permission="approve",
    feature="approvals",
    changes=True,
    agents=False,
    summary="Approve a request: the next such call passes, or all such calls for some hours.",
)
def approve(context: Context, principal: Principal, given: Approving) -> Changed | Unchanged:
    """A request that waits; 409 when it does not."""
    from otel_finops.governance.approvals import Grant  # noqa: PLC0415 - `--help` must not load the database rooms

    grant = Grant(given.times, given.hours, None if given.up_to_usd is None else parse_usd(given.up_to_usd))
    return _done(
        given,
        context.approvals.approve(given.approval_id, principal.tenants, grant, who=principal.who, why=given.why, dry_run=given.dry_run),
    )


@operation(
    "approvals.reject",
    "approvals/{approval_id}/reject",
    takes=Deciding,
    output=ApprovalDone,
    permission="approve",
    feature="approvals",
    changes=True,
    agents=False,
    summary="Reject a request for approval.",
)
def reject(context: Context, principal: Principal, given: Deciding) -> Changed | Unchanged:
    """A request that waits; 409 when it does not. The same may be asked for again."""
    return _done(
        given, context.approvals.reject(given.approval_id, principal.tenants, who=principal.who, why=given.why, dry_run=given.dry_run)
    )


@operation(
    "approvals.revoke",
    "approvals/{approval_id}/revoke",
    takes=Deciding,
    output=ApprovalDone,
    permission="approve",
    feature="approvals",
    changes=True,
    agents=False,
    summary="Take back a pass that still holds.",
)
def revoke(context: Context, principal: Principal, given: Deciding) -> Changed | Unchanged:
    """A pass that no call has used up and that has not ended; 409 otherwise."""
    return _done(
        given, context.approvals.revoke(given.approval_id, principal.tenants, who=principal.who, why=given.why, dry_run=given.dry_run)
    )


def _done(given: Deciding, changed: tuple[Approval, Approval]) -> Changed | Unchanged:
    before, after = changed
    answer = {"approval": shown_approval(after), "changed": not given.dry_run}
    if given.dry_run:
        return Unchanged(answer)
    return Changed(answer, _recorded(before), _recorded(after), after.call.tenant)


_RECORDED: Final[Sequence[str]] = ("approval_id", "status", "policy", "times", "up_to_usd", "expires_at", "decided_by", "why")


def _recorded(one: Approval) -> dict[str, Any]:
    """What stands on record of a request; who the caller was is told by the request itself, as long as he is not erased."""
    shown = shown_approval(one)
    return {name: shown[name] for name in _RECORDED}


def shown_approval(one: Approval) -> dict[str, Any]:
    """A request as answers show it."""
    call = one.call
    return {
        "approval_id": one.id,
        "status": one.state,
        "policy_id": one.rule_id,
        "policy": one.rule,
        "call": {
            **{name: getattr(call, name) for name in _CALL},
            "trace_id": call.trace,
            "tags": dict(call.tags),
            "tokens": call.tokens,
            "estimate_usd": _usd(call.pico),
        },
        "asks": one.asks,
        "asked_at": format_ns(one.asked_ns),
        "last_asked_at": format_ns(one.last_asked_ns),
        "expires_at": format_ns(one.expires_ns),
        "decision_id": one.decision_id,
        "times": one.kind,
        "up_to_usd": _usd(one.max_pico),
        "decided_by": one.decided_by,
        "decided_at": None if one.decided_ns is None else format_ns(one.decided_ns),
        "why": one.why,
    }


_CALL: Final = (
    "tenant", "provider", "model", "operation", "user", "session", "agent", "step", "purpose", "cost_center", "service", "environment",
)  # fmt: skip


def _usd(pico: int | None) -> str | None:
    return None if pico is None else format_usd(pico)
