"""Flat fees: what they covered, and spreading them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, ValidationError

from otel_finops.base.errors import BadInput
from otel_finops.base.money import format_usd
from otel_finops.base.times import format_ns, parse_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.faults import explained
from otel_finops.operations.fields import NAMED, Instant, Name, Paged, page_of, place_cursor
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.shapes import At, Count, Usd
from otel_finops.settings.money import CallSelector, SubscriptionRule

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.ledger.subscription_windows import SubscriptionWindow

_WINDOWS: Final = "subscriptions.windows"


class CoveredPeriod(Output):
    """A period of a subscription."""

    id: str
    from_: At = Field(alias="from")
    to: At
    over: bool
    fee: str = Field(description="In the subscription's currency.")
    currency: str
    fee_usd: Usd | None = Field(description="At the rate of the period's first day; null while there is no such rate (`fx import`).")
    calls: Count
    calls_without_price: Count = Field(description="Covered calls without a shadow price; they bear no share unless all are such.")
    shadow_usd: Usd = Field(description="What the covered calls would have cost by the list.")
    spread_usd: Usd = Field(description="The sum of their effective costs: the fee once it is spread.")


class CoveredPeriods(Output):
    """A page of the periods that have begun, by subscription in the order of the settings."""

    periods: list[CoveredPeriod]
    next_cursor: str | None


@operation(
    "subscriptions.list",
    "subscriptions",
    takes=Paged,
    output=CoveredPeriods,
    permission="view",
    feature="subscriptions",
    summary="List the periods of flat fees with what they covered and what of the fee is spread.",
)
def periods(context: Context, principal: Principal, given: Paged) -> Json:
    """The periods; a fee may cover calls of several tenants, so only those who see all of them may ask."""
    _sees_all(principal, "subscriptions.list")
    covered = context.money.coverages()
    order = {name: number for number, name in enumerate(dict.fromkeys(one.subscription.id for one in covered))}
    page, more = page_of(covered, given, "subscriptions.list", lambda one: (order[one.subscription.id], one.period.from_ns))
    return {
        "periods": [
            {
                "id": one.subscription.id,
                "from": format_ns(one.period.from_ns),
                "to": format_ns(one.period.to_ns),
                "over": one.over,
                "fee": f"{one.subscription.fee:f}",
                "currency": one.subscription.currency,
                "fee_usd": None if one.fee_pico is None else format_usd(one.fee_pico),
                "calls": one.calls,
                "calls_without_price": one.unknown,
                "shadow_usd": format_usd(one.shadow_pico),
                "spread_usd": format_usd(one.spread_pico),
            }
            for one in page
        ],
        "next_cursor": more,
    }


class FlatFee(Output):
    """A flat fee, and what it covers."""

    id: str = Field(description="Stands in `coverage_id` of covered rows.")
    origin: Literal["settings", "stored"] = Field(description="`settings`: pricing.subscriptions says so.")
    fee: str = Field(description="For each begun period, in `currency`.")
    currency: str
    from_: At = Field(alias="from")
    to: At | None = Field(description="Exclusive; null while it runs.")
    withdrawn: bool = Field(description="It holds no longer, as if it had never been.")
    covers: dict[str, Any] = Field(description="The selectors, docs/pricing.md.")
    who: str | None = Field(description="Who set it; null for those of the settings.")
    why: str | None
    set_at: At | None
    ended_by: str | None
    ended_why: str | None


class FlatFees(Output):
    """All flat fees in the order in which they are asked: the first that fits a call covers it."""

    subscriptions: list[FlatFee]
    next_cursor: str | None


@operation(
    "subscriptions.windows",
    "subscriptions/windows",
    takes=Paged,
    output=FlatFees,
    permission="view",
    feature="subscriptions",
    summary="List the flat fees, those of the settings and the stored ones, with what they cover and when.",
)
def windows(context: Context, principal: Principal, given: Paged) -> Json:
    """Ended and withdrawn ones are among them."""
    principal.must_see_all("subscriptions.windows shows what covers calls of all tenants")
    shown = [*(_of_settings(rule) for rule in context.settings.pricing.subscriptions), *map(_of_window, context.money.windows())]
    place = given.place(_WINDOWS)
    start = place[0] if place else 0
    page = shown[start : start + given.limit]
    more = start + len(page) < len(shown)
    return {"subscriptions": page, "next_cursor": place_cursor(_WINDOWS, [start + len(page)]) if more and page else None}


def _names(given: Any) -> Any:
    return [part.strip() for part in given.split(",") if part.strip()] if isinstance(given, str) else given


_Names: TypeAlias = Annotated[list[Name], BeforeValidator(_names), Field(max_length=1_000)]


class FlatFeeInput(Input):
    """A flat fee; lists are comma-separated, or JSON lists."""

    id: Name = Field(min_length=1, description="Its name, which covered rows bear; never used before.")
    from_: Instant = Field(
        alias="from", description="Start of the first period; the others begin on its day of each month.", json_schema_extra=NAMED
    )
    to: Instant | None = Field(default=None, description="From when on it covers nothing more.")
    fee: str = Field(default="0", max_length=40, description="For each begun period; 0 where somebody else pays it.")
    currency: str = Field(default="USD", max_length=3, description="ISO code of the fee.")
    providers: _Names = Field(default=[], description="Families whose calls it covers, e.g. anthropic.")
    models: _Names = Field(default=[], description="Models that it covers; `*` stands for anything.")
    tenants: _Names = Field(default=[], description="Only calls of these tenants.")
    services: _Names = Field(default=[], description="Only calls of these services.")
    environments: _Names = Field(default=[], description="Only calls of these environments.")
    cost_centers: _Names = Field(default=[], description="Only calls of these cost centres.")
    purposes: _Names = Field(default=[], description="Only calls for these purposes.")
    agents: _Names = Field(default=[], description="Only calls of these agents.")
    users: _Names = Field(default=[], description="Only calls of these users.")
    realms: _Names = Field(default=[], description="Only calls of these realms.")
    accounts: _Names = Field(default=[], description="Only calls that these accounts pay for.")
    why: str = Field(min_length=1, max_length=500, description="Stands on record.", json_schema_extra=NAMED)
    dry_run: bool = Field(default=False, description="Only say whether it could be set.")

    def rule(self) -> SubscriptionRule:
        """The flat fee as the settings would say it; raises BadInput where they would refuse it."""
        said = self.model_dump(by_alias=True, exclude={"why", "dry_run"}, exclude_none=True)
        try:
            return SubscriptionRule.model_validate_json(json.dumps(said))
        except ValidationError as fault:
            raise BadInput(explained(fault)) from None


class FlatFeeSet(Output):
    """The flat fee as it holds."""

    subscription: FlatFee
    dry_run: bool


@operation(
    "subscriptions.add",
    "subscriptions/windows",
    takes=FlatFeeInput,
    output=FlatFeeSet,
    permission="manage",
    feature="subscriptions",
    changes=True,
    agents=False,
    summary="Set a flat fee that covers calls of a time; calls that are booked already stay as they are until they are repriced.",
)
def add(context: Context, principal: Principal, given: FlatFeeInput) -> Changed | Unchanged:
    """Calls that settle from now on are covered where their start lies in its time, late ones too."""
    principal.must_see_all("subscriptions.add covers calls of all tenants")
    window = context.money.add_window(given.rule(), who=principal.who, why=given.why, dry_run=given.dry_run)
    answer = {"subscription": _of_window(window), "dry_run": given.dry_run}
    return Unchanged(answer) if given.dry_run else Changed(answer, None, answer["subscription"])


class FlatFeeEnd(Input):
    """Which flat fee, and when it ends."""

    id: Name = Field(min_length=1, description="The flat fee's name.")
    at: Instant | None = Field(default=None, description="From when on it covers nothing more; now when not given.")
    withdraw: bool = Field(default=False, description="As if it had never been; what it covered stays covered until it is repriced.")
    why: str = Field(min_length=1, max_length=500, description="Stands on record.", json_schema_extra=NAMED)
    dry_run: bool = Field(default=False, description="Only say what would hold.")


@operation(
    "subscriptions.end",
    "subscriptions/windows/end",
    takes=FlatFeeEnd,
    output=FlatFeeSet,
    permission="manage",
    feature="subscriptions",
    changes=True,
    agents=False,
    summary="End a stored flat fee, or withdraw it.",
)
def end(context: Context, principal: Principal, given: FlatFeeEnd) -> Changed | Unchanged:
    """Rows that it covered stay as they are."""
    principal.must_see_all("subscriptions.end concerns calls of all tenants")
    if given.withdraw and given.at is not None:
        raise BadInput("at: a flat fee that is withdrawn never was; give `at` or `withdraw`")
    at_ns = None if given.withdraw else context.clock.now_ns() if given.at is None else parse_ns(given.at)
    before, after = context.money.end_window(given.id, at_ns, who=principal.who, why=given.why, dry_run=given.dry_run)
    answer = {"subscription": _of_window(after), "dry_run": given.dry_run}
    return Unchanged(answer) if given.dry_run else Changed(answer, _of_window(before), answer["subscription"])


def _of_settings(rule: SubscriptionRule) -> dict[str, Any]:
    unknown = dict.fromkeys(("who", "why", "set_at", "ended_by", "ended_why"))
    return {**_fee(rule, rule.to_ns), "origin": "settings", "withdrawn": False, **unknown}


def _of_window(window: SubscriptionWindow) -> dict[str, Any]:
    held, ended = window.subscription, window.end
    return {
        **_fee(window.rule, window.rule.to_ns if held is None else held.to_ns),
        "origin": "stored",
        "withdrawn": held is None,
        "who": window.who,
        "why": window.why,
        "set_at": format_ns(window.recorded_ns),
        "ended_by": None if ended is None else ended.who,
        "ended_why": None if ended is None else ended.why,
    }


def _fee(rule: SubscriptionRule, to_ns: int | None) -> dict[str, Any]:
    said = rule.model_dump(mode="json", include={*CallSelector.model_fields, "accounts"})
    return {
        "id": rule.id,
        "fee": f"{rule.fee:f}",
        "currency": rule.currency,
        "from": format_ns(rule.from_ns or 0),
        "to": None if to_ns is None else format_ns(to_ns),
        "covers": {name: value for name, value in said.items() if value},
    }


class SpreadOrder(Input):
    """Why fees are spread now."""

    why: str = Field(default="asked for", max_length=500, description="Stands on record with the corrections.")


class SpreadDone(Output):
    """What spreading did."""

    periods: Count = Field(description="Periods that are over.")
    rows: Count = Field(description="Rows whose share is another one now.")
    run_no: int | None = Field(description="Number of the run on record; null when no share changed.")


@operation(
    "subscriptions.spread",
    "subscriptions/spread",
    takes=SpreadOrder,
    output=SpreadDone,
    permission="manage",
    feature="subscriptions",
    changes=True,
    runs=True,
    agents=False,
    summary="Spread the fees of all periods that are over on the calls that they covered.",
)
def spread(context: Context, principal: Principal, given: SpreadOrder) -> Changed:
    """Book the shares that are not booked yet; it moves no cost."""
    _sees_all(principal, "subscriptions.spread")
    answer = context.money.spread(principal.who, given.why)._asdict()
    return Changed(answer, None, answer)


def _sees_all(principal: Principal, name: str) -> None:
    principal.must_see_all(f"{name} concerns calls of all tenants")
