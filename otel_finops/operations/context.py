"""Everything that operations work on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from otel_finops.audit.trail import Trail
from otel_finops.base.clock import Clock
from otel_finops.operations.alert_desks import Alerts
from otel_finops.operations.anomaly_desks import Anomalies
from otel_finops.operations.billing import Billing
from otel_finops.operations.delivery_desks import Channels
from otel_finops.operations.desks import Answers, Corrections, Money, Prices, Pricing, Quarantined, Retention, Switches, Tokens, Watches
from otel_finops.operations.governance_desks import Approvals, Budgets, Credits, Decisions, Guardrails, Policies, Replays
from otel_finops.operations.insight_desks import (
    Chargebacks,
    Focus,
    Footprints,
    Forecasts,
    Jobs,
    Outcomes,
    Routing,
    UnitCosts,
    Wastes,
    WhatIfs,
)
from otel_finops.operations.readers import Audit, Dashboards, Exports, Reads, Trees, Verdict
from otel_finops.settings.features import Features
from otel_finops.settings.tree import Settings


class Health(NamedTuple):
    """One part of the service: `ok` and, when not, what is wrong; `ok` is None when this process cannot tell."""

    name: str
    ok: bool | None
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class RecordDesks:
    """What is on record: the ledger, what reads it, and what keeps it right.

    Attributes:
        reads: the ledger.
        trees: runs, sessions and single spans.
        dashboard: the figures of a dashboard.
        verify: walks the chain; the arguments are the JSON text of an exported signed head, and the hex key
            that must have signed it, or None.
        exports: the ledger as a whole.
        corrections: repricing, estimates, and the closing of months.
        quarantine: spans that cannot be recorded.
        retention: how long data is kept.
    """

    reads: Reads
    trees: Trees
    dashboard: Dashboards
    verify: Callable[[str | None, str | None], Verdict]
    exports: Exports
    corrections: Corrections
    quarantine: Quarantined
    retention: Retention


@dataclass(frozen=True, kw_only=True)
class PriceDesks:
    """What calls cost by the million, and what other money is there.

    Attributes:
        prices: the active price book.
        watches: models whose prices somebody watches.
        pricing: house rules and questions of prices.
        money: exchange rates and flat fees.
    """

    prices: Prices
    watches: Watches
    pricing: Pricing
    money: Money


@dataclass(frozen=True, kw_only=True)
class GovernanceDesks:
    """What governs calls.

    Attributes:
        switches: kill switches.
        budgets: budgets, and how they stand.
        approvals: requests for approval and passes.
        decisions: deciding on calls, and what is held for them.
        policies: policies, and what they would say of a call.
        credits: prepaid pools of credits.
        guardrails: what guardrails said.
        replays: what rules would have done with calls of the past.
    """

    switches: Switches
    budgets: Budgets
    approvals: Approvals
    decisions: Decisions
    policies: Policies
    credits: Credits
    guardrails: Guardrails
    replays: Replays


@dataclass(frozen=True, kw_only=True)
class InsightDesks:
    """What the ledger lets one know.

    Attributes:
        outcomes: how work came out, and what it cost.
        unit_costs: what one of each costs.
        waste: what was spent for nothing.
        whatif: what recorded calls would have cost otherwise.
        routing: which model is the cheapest that is good enough, and how good models are.
        chargebacks: cost centres, rules for shared costs, and who bears what.
        focus: what calls cost as FOCUS rows.
        bills: providers' bills, and whether the ledger agrees with them.
        forecasts: what budgets and calls will come to.
        anomalies: what of spend stands out, and why.
        footprints: what calls took of electricity.
    """

    outcomes: Outcomes
    unit_costs: UnitCosts
    waste: Wastes
    whatif: WhatIfs
    routing: Routing
    chargebacks: Chargebacks
    focus: Focus
    bills: Billing
    forecasts: Forecasts
    anomalies: Anomalies
    footprints: Footprints


@dataclass(frozen=True, kw_only=True)
class NoticeDesks:
    """What people are told.

    Attributes:
        alerts: what is worth telling.
        channels: channels, routes to them, and what became of notices.
    """

    alerts: Alerts
    channels: Channels


@dataclass(frozen=True, kw_only=True)
class House:
    """The service itself, and what every operation may ask.

    Attributes:
        zone: time zone in which days begin when nobody asks for another one.
        currency: ISO code in which reports show amounts besides USD when nobody asks for another one.
        health: the state of the parts, in a moment.
        jobs: what the service does by the clock.
        clock: the time.
        tokens, senders: stored tokens, for the API and for senders.
        trail: where changes go on record.
        answers: of changes that were asked for under a key.
        audit: the trail, to be read.
        features: the switches.
        settings: all of them; nobody is shown what is secret there.
        version: of the product.
    """

    zone: str
    currency: str
    health: Callable[[], Sequence[Health]]
    jobs: Jobs
    clock: Clock
    tokens: Tokens
    senders: Tokens
    trail: Trail
    answers: Answers
    audit: Audit
    features: Features
    settings: Settings
    version: str


@dataclass(frozen=True, kw_only=True)
class Context(RecordDesks, PriceDesks, GovernanceDesks, InsightDesks, NoticeDesks, House):
    """Everything that handlers may use."""

    @classmethod
    def of(
        cls, record: RecordDesks, prices: PriceDesks, governance: GovernanceDesks, insight: InsightDesks, notices: NoticeDesks, house: House
    ) -> Context:
        """All of these together: the context has the attributes of each of them."""
        return cls(**vars(record), **vars(prices), **vars(governance), **vars(insight), **vars(notices), **vars(house))
