"""Everything that operations work on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


class Context(NamedTuple):
    """Everything that handlers may use.

    Attributes:
        reads: the ledger.
        trees: runs, sessions and single spans.
        dashboard: the figures of a dashboard.
        verify: walks the chain; the arguments are the JSON text of an exported signed head, and the hex key
            that must have signed it, or None.
        prices: the active price book.
        watches: models whose prices somebody watches.
        pricing: house rules and questions of prices.
        money: exchange rates and flat fees.
        zone: time zone in which days begin when nobody asks for another one.
        currency: ISO code in which reports show amounts besides USD when nobody asks for another one.
        corrections: repricing, estimates, and the closing of months.
        quarantine: spans that cannot be recorded.
        exports: the ledger as a whole.
        retention: how long data is kept.
        switches: kill switches.
        budgets: budgets, and how they stand.
        approvals: requests for approval and passes.
        decisions: deciding on calls, and what is held for them.
        policies: policies, and what they would say of a call.
        credits: prepaid pools of credits.
        guardrails: what guardrails said.
        outcomes: how work came out, and what it cost.
        unit_costs: what one of each costs.
        waste: what was spent for nothing.
        replays: what rules would have done with calls of the past.
        whatif: what recorded calls would have cost otherwise.
        routing: which model is the cheapest that is good enough, and how good models are.
        jobs: what the service does by the clock.
        alerts: what is worth telling.
        chargebacks: cost centres, rules for shared costs, and who bears what.
        focus: what calls cost as FOCUS rows.
        bills: providers' bills, and whether the ledger agrees with them.
        channels: channels, routes to them, and what became of notices.
        forecasts: what budgets and calls will come to.
        anomalies: what of spend stands out, and why.
        footprints: what calls took of electricity.
        health: the state of the parts, in a moment.
        clock: the time.
        tokens, senders: stored tokens, for the API and for senders.
        trail: where changes go on record.
        answers: of changes that were asked for under a key.
        audit: the trail, to be read.
        features: the switches.
        settings: all of them; nobody is shown what is secret there.
        version: of the product.
    """

    reads: Reads
    trees: Trees
    dashboard: Dashboards
    verify: Callable[[str | None, str | None], Verdict]
    prices: Prices
    watches: Watches
    pricing: Pricing
    money: Money
    zone: str
    currency: str
    corrections: Corrections
    quarantine: Quarantined
    exports: Exports
    retention: Retention
    switches: Switches
    budgets: Budgets
    approvals: Approvals
    decisions: Decisions
    policies: Policies
    credits: Credits
    guardrails: Guardrails
    outcomes: Outcomes
    unit_costs: UnitCosts
    waste: Wastes
    replays: Replays
    whatif: WhatIfs
    routing: Routing
    jobs: Jobs
    alerts: Alerts
    chargebacks: Chargebacks
    focus: Focus
    bills: Billing
    channels: Channels
    forecasts: Forecasts
    anomalies: Anomalies
    footprints: Footprints
    health: Callable[[], Sequence[Health]]
    clock: Clock
    tokens: Tokens
    senders: Tokens
    trail: Trail
    answers: Answers
    audit: Audit
    features: Features
    settings: Settings
    version: str
