"""Policies: making, changing and listing them, and those that ship with the product."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Name, NoInput, Paged, place_cursor
from otel_finops.operations.policy_fields import (
    ActionName,
    Definition,
    PolicyEdit,
    PolicyNumber,
    ShownPolicy,
    ShownRate,
    notes_of,
    sees,
    shown_policies,
)
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.scope_fields import must_own, on_record
from otel_finops.operations.shapes import At

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.governance.policies import Policy

_ORDER: Final = "policies.list"
_HISTORY_SHOWN: Final = 50


class NewPolicy(Definition):
    """What the policy says."""

    dry_run: bool = Field(default=False, description="Check everything and say what would be done; nothing is stored.")


class PolicyDeletion(PolicyNumber):
    """Which policy."""

    revision: int | None = Field(default=None, ge=1, description="Only if it is of this revision still.")
    dry_run: bool = Field(default=False, description="Only say what would be taken away.")


class PolicyAnswer(Output):
    """The policy as it is now."""

    policy: ShownPolicy
    notes: list[str] = Field(description="What people should know of it, e.g. that another one is always asked first.")
    changed: bool = Field(description="False: it was so already, or this was a dry run.")


@operation(
    "policies.create",
    "policies",
    takes=NewPolicy,
    output=PolicyAnswer,
    permission="manage",
    feature="policies",
    changes=True,
    agents=False,
    summary="Make a policy: what is done with calls of some kind.",
)
def create(context: Context, principal: Principal, given: NewPolicy) -> Changed | Unchanged:
    """Every process goes by it within half a second. In observe mode it only says what it would do."""
    must_own(principal, given.scope, "A policy")
    policy = context.policies.create(given.edit(), principal.editor, dry_run=given.dry_run)
    shown = _shown(context, policy, dry_run=given.dry_run, scope=given.scope, model=given.model)
    answer = {"policy": shown, "notes": notes_of(policy, context.policies.all(), principal), "changed": not given.dry_run}
    return Unchanged(answer) if given.dry_run else Changed(answer, None, on_record(shown, policy.scope), policy.tenant)


@operation(
    "policies.update",
    "policies/{no}",
    takes=PolicyEdit,
    output=PolicyAnswer,
    permission="manage",
    feature="policies",
    changes=True,
    agents=False,
    summary="Change a policy; what is not given stays as it is.",
)
def update(context: Context, principal: Principal, given: PolicyEdit) -> Changed | Unchanged:
    """The policy as it is now; its former definitions stay in its history."""
    if given.scope is not None:
        must_own(principal, given.scope, "A policy")
    before, policy = context.policies.update(given.no, given.edit(), principal.editor, dry_run=given.dry_run)
    was, now = shown_policies(context, [before, policy])
    changed = policy != before and not given.dry_run
    answer = {"policy": now, "notes": notes_of(policy, context.policies.all(), principal), "changed": changed}
    if not changed:
        return Unchanged(answer)
    return Changed(answer, on_record(was, before.scope), on_record(now, policy.scope), policy.tenant)


@operation(
    "policies.delete",
    "policies/{no}/delete",
    takes=PolicyDeletion,
    output=PolicyAnswer,
    permission="manage",
    feature="policies",
    changes=True,
    agents=False,
    summary="Take a policy away; its history stays.",
)
def delete(context: Context, principal: Principal, given: PolicyDeletion) -> Changed | Unchanged:
    """The policy as it was."""
    before = context.policies.delete(given.no, principal.editor, revision=given.revision, dry_run=given.dry_run)
    [shown] = shown_policies(context, [before])
    answer = {"policy": shown, "notes": [], "changed": not given.dry_run}
    return Unchanged(answer) if given.dry_run else Changed(answer, on_record(shown, before.scope), None, before.tenant)


class PolicyQuery(Paged):
    """Which policies."""

    tenant: Name | None = Field(default=None, description="Only those for calls of this tenant alone.")
    search: Name | None = Field(default=None, description="Only those with this in their name, in any case.")
    action: ActionName | None = Field(default=None, description="Only those with this action.")
    enabled: bool | None = Field(default=None, description="Only those that are asked, or only those that are not.")


class PolicyPage(Output):
    """Policies in the order in which they are asked."""

    policies: list[ShownPolicy]
    next_cursor: str | None


@operation(
    "policies.list",
    "policies",
    takes=PolicyQuery,
    output=PolicyPage,
    permission="view",
    feature="policies",
    summary="List policies in the order in which they are asked.",
)
def listed(context: Context, principal: Principal, given: PolicyQuery) -> Json:
    """Those for calls of the principal's tenants alone. Whoever pages while priorities change may see one twice, or miss it."""
    found = [one for one in context.policies.all() if sees(principal, one) and _asked_for(one, given)]
    after = given.place(_ORDER)
    rest = [one for one in found if after is None or (one.priority, one.no) > tuple(after)]
    page = rest[: given.limit]
    more = place_cursor(_ORDER, [page[-1].priority, page[-1].no]) if page and len(rest) > len(page) else None
    return {"policies": shown_policies(context, page), "next_cursor": more}


class PolicyRevision(Output):
    """A policy as a change left it."""

    at: At
    who: str
    deleted: bool = Field(description="The change took it away.")
    policy: ShownPolicy


class PolicyShown(Output):
    """A policy, and how it came to be so."""

    policy: ShownPolicy
    notes: list[str] = Field(description="What people should know of it, e.g. that another one is always asked first.")
    deleted: bool = Field(description="It is asked no longer; this is how it was at last.")
    history: list[PolicyRevision] = Field(description="Its last fifty changes, newest first.")


@operation(
    "policies.show",
    "policies/{no}",
    takes=PolicyNumber,
    output=PolicyShown,
    permission="view",
    feature="policies",
    summary="Show a policy, how often it failed, and who changed what of it.",
)
def show(context: Context, principal: Principal, given: PolicyNumber) -> Json:
    """Also one that was deleted."""
    revisions = context.policies.history(given.no, principal.tenants)
    latest = revisions[0]
    last = revisions[:_HISTORY_SHOWN]
    shown = shown_policies(context, [one.left for one in last])
    history = [
        {"at": one["changed_at"], "who": one["changed_by"], "deleted": revision.deleted, "policy": one}
        for revision, one in zip(last, shown, strict=True)
    ]
    notes = [] if latest.deleted else notes_of(latest.left, context.policies.all(), principal)
    return {"policy": shown[0], "notes": notes, "deleted": latest.deleted, "history": history}


class ShownReady(Output):
    """A policy that ships with the product."""

    name: str
    description: str
    action: ActionName
    condition: str | None
    limit: str | None = Field(description="The number in its condition, to be set to what one's own agents need.")
    rate: ShownRate | None


class ReadyPolicies(Output):
    """Policies that ship with the product; `policies.create` with `ready` makes one of them one's own."""

    policies: list[ShownReady]


@operation(
    "policies.ready",
    "policies/ready",
    takes=NoInput,
    output=ReadyPolicies,
    permission="view",
    feature="policies",
    summary="List the policies that ship with the product: guards against loops that run away.",
)
def ready(context: Context, principal: Principal, given: Input) -> Json:
    """None of them holds until somebody makes it."""
    from otel_finops.governance.ready_policies import READY  # noqa: PLC0415 - `--help` must not load the database rooms

    return {
        "policies": [
            {
                "name": one.name, "description": one.description, "action": one.action, "condition": one.condition_with(None),
                "limit": one.limit or None, "rate": None if one.rate is None else one.rate._asdict(),
            }
            for one in READY
        ]
    }  # fmt: skip


def _shown(context: Context, policy: Policy, *, dry_run: bool, scope: dict[str, str], model: str | None) -> dict[str, Any]:
    """The policy; of a dry run nothing is stored, neither its number nor references of subjects."""
    [shown] = shown_policies(context, [policy])
    if not dry_run:
        return shown
    said = {name: value for name, value in policy.scope.parts if name not in ("user", "session")}
    return {**shown, "no": None, "revision": None, "failures": None, "scope": {**said, **_subjects(scope)}}


def _subjects(scope: dict[str, str]) -> dict[str, str]:
    return {name: scope[name] for name in ("user", "session") if name in scope}


def _asked_for(policy: Policy, given: PolicyQuery) -> bool:
    return (
        given.tenant in (None, policy.tenant)
        and (given.search is None or given.search.lower() in policy.name.lower())
        and given.action in (None, policy.action)
        and given.enabled in (None, policy.enabled)
    )
