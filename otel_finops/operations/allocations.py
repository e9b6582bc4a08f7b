"""Rules for shared costs, fees and credits: who bears what no cost centre bears by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from otel_finops.base.money import parse_usd
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.cost_center_fields import (
    AMOUNT_TEXT,
    DRY_TEXT,
    ENABLED_TEXT,
    EVERY_TEXT,
    FROM_TEXT,
    METHOD_TEXT,
    PLACE_TEXT,
    REVISION_TEXT,
    SHARES_TEXT,
    SOURCE_TEXT,
    TAG_TEXT,
    TARGETS_TEXT,
    TENANT_TEXT,
    TO_TEXT,
    VALUES_TEXT,
    WEIGHT_TEXT,
    Codes,
    Day,
    DefinitionNumber,
    Deletion,
    Due,
    MethodName,
    ShownRule,
    SignedAmount,
    WeightName,
    owned,
    sees,
    shares_of,
    shown_rule,
)
from otel_finops.operations.fields import Name, Paged, page_of
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.scope_fields import ScopeValues

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.insight.cost_centers import Rule

_ORDER: Final = "allocations.list"
_PLACE_MAX: Final = 10**6


class NewRule(Input):
    """What the rule says."""

    name: Name = Field(min_length=1, description="What people call it; one rule of a tenant, or of all, is called so.")
    source: ScopeValues | None = Field(default=None, description=SOURCE_TEXT)
    amount: SignedAmount | None = Field(default=None, description=AMOUNT_TEXT)
    every: Due = Field(default="once", description=EVERY_TEXT)
    method: MethodName = Field(default="proportional", description=METHOD_TEXT)
    weight: WeightName = Field(default="cost", description=WEIGHT_TEXT)
    targets: Codes = Field(default=[], description=TARGETS_TEXT)
    shares: ScopeValues = Field(default={}, description=SHARES_TEXT)
    tag: Name | None = Field(default=None, min_length=1, description=TAG_TEXT)
    values: ScopeValues = Field(default={}, description=VALUES_TEXT)
    from_: Day | None = Field(default=None, alias="from", description=FROM_TEXT)
    to: Day | None = Field(default=None, description=TO_TEXT)
    place: int = Field(default=100, ge=0, le=_PLACE_MAX, description=PLACE_TEXT)
    tenant: Name | None = Field(default=None, min_length=1, description=TENANT_TEXT)
    enabled: bool = Field(default=True, description=ENABLED_TEXT)
    dry_run: bool = Field(default=False, description=DRY_TEXT)


class RuleEdit(DefinitionNumber):
    """What is to be another; what is not given stays. Whose it is, and whether it shares calls or an amount, stays."""

    name: Name | None = Field(default=None, min_length=1, description="What people call it.")
    source: ScopeValues | None = Field(default=None, description=SOURCE_TEXT)
    amount: SignedAmount | None = Field(default=None, description=AMOUNT_TEXT)
    every: Due | None = Field(default=None, description=EVERY_TEXT)
    method: MethodName | None = Field(
        default=None, description=f"{METHOD_TEXT} Another one forgets the targets, shares, tag and values of the former."
    )
    weight: WeightName | None = Field(default=None, description=WEIGHT_TEXT)
    targets: Codes | None = Field(default=None, description=TARGETS_TEXT)
    shares: ScopeValues | None = Field(default=None, description=SHARES_TEXT)
    tag: Name | None = Field(default=None, min_length=1, description=TAG_TEXT)
    values: ScopeValues | None = Field(default=None, description=VALUES_TEXT)
    from_: Day | None = Field(default=None, alias="from", description=FROM_TEXT)
    to: Day | None = Field(default=None, description=TO_TEXT)
    place: int | None = Field(default=None, ge=0, le=_PLACE_MAX, description=PLACE_TEXT)
    enabled: bool | None = Field(default=None, description=ENABLED_TEXT)
    revision: int | None = Field(default=None, ge=1, description=REVISION_TEXT)
    dry_run: bool = Field(default=False, description=DRY_TEXT)


class RuleAnswer(Output):
    """The rule as it is now."""

    rule: ShownRule
    changed: bool = Field(description="False: it was so already, or this was a dry run.")


class RulePage(Output):
    """Rules, oldest first."""

    rules: list[ShownRule]
    next_cursor: str | None


@operation(
    "allocations.create",
    "allocations",
    takes=NewRule,
    output=RuleAnswer,
    permission="manage",
    feature="chargeback",
    changes=True,
    agents=False,
    summary="Make a rule by which a shared cost, a fee or a credit is borne by cost centres.",
)
def create(context: Context, principal: Principal, given: NewRule) -> Changed | Unchanged:
    """Reports that are made from then on go by it."""
    from otel_finops.insight.cost_centers import Rule  # noqa: PLC0415 - `--help` must not load the database rooms

    owned(principal, given.tenant, "A rule")
    rule = Rule(
        0, given.name, given.tenant, given.source, None if given.amount is None else parse_usd(given.amount), given.every == "month",
        given.method, given.weight, tuple(given.targets), shares_of(given.shares), given.tag, given.values, given.from_, given.to,
        given.place, given.enabled,
    )  # fmt: skip
    made = context.chargebacks.create_rule(rule, principal.editor, dry_run=given.dry_run)
    shown = shown_rule(made)
    answer = {"rule": shown, "changed": not given.dry_run}
    return Unchanged(answer) if given.dry_run else Changed(answer, None, shown, made.tenant)


@operation(
    "allocations.update",
    "allocations/{no}",
    takes=RuleEdit,
    output=RuleAnswer,
    permission="manage",
    feature="chargeback",
    changes=True,
    agents=False,
    summary="Change a rule for shared costs; what is not given stays as it is.",
)
def update(context: Context, principal: Principal, given: RuleEdit) -> Changed | Unchanged:
    """Reports of the past can still be made by the definitions of then, with their `revision`."""
    before, after = context.chargebacks.update_rule(
        given.no, lambda rule: _edited(rule, given), principal.editor, given.revision, dry_run=given.dry_run
    )
    changed = after != before and not given.dry_run
    answer = {"rule": shown_rule(after), "changed": changed}
    return Changed(answer, shown_rule(before), shown_rule(after), after.tenant) if changed else Unchanged(answer)


@operation(
    "allocations.delete",
    "allocations/{no}/delete",
    takes=Deletion,
    output=RuleAnswer,
    permission="manage",
    feature="chargeback",
    changes=True,
    agents=False,
    summary="Take a rule for shared costs away; its history stays.",
)
def delete(context: Context, principal: Principal, given: Deletion) -> Changed | Unchanged:
    """The rule as it was."""
    gone = context.chargebacks.delete_rule(given.no, principal.editor, given.revision, dry_run=given.dry_run)
    shown = shown_rule(gone)
    answer = {"rule": shown, "changed": not given.dry_run}
    return Unchanged(answer) if given.dry_run else Changed(answer, shown, None, gone.tenant)


@operation(
    "allocations.list",
    "allocations",
    takes=Paged,
    output=RulePage,
    permission="view",
    feature="chargeback",
    summary="List the rules for shared costs, fees and credits.",
)
def listed(context: Context, principal: Principal, given: Paged) -> Json:
    """Who is bound to tenants sees what is theirs alone."""
    rules = (one for one in context.chargebacks.book().rules.values() if sees(principal, one))
    page, cursor = page_of(rules, given, _ORDER, lambda one: (one.no,))
    return {"rules": [shown_rule(one) for one in page], "next_cursor": cursor}


_PLAIN: Final = ("name", "source", "weight", "tag", "values", "place", "enabled")


def _edited(rule: Rule, given: RuleEdit) -> Rule:
    said: dict[str, Any] = {name: value for name in _PLAIN if (value := getattr(given, name)) is not None}
    if given.method is not None and given.method != rule.method:
        said = {"targets": (), "shares": {}, "tag": None, "values": {}, **said, "method": given.method}
    if given.amount is not None:
        said["amount"] = parse_usd(given.amount)
    if given.every is not None:
        said["monthly"] = given.every == "month"
    if given.targets is not None:
        said["targets"] = tuple(given.targets)
    if given.shares is not None:
        said["shares"] = shares_of(given.shares)
    if given.from_ is not None:
        said["from_day"] = given.from_
    if given.to is not None:
        said["to_day"] = given.to
    return rule._replace(**said)
