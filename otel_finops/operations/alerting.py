"""Alert rules over a database of our own, by the settings: who knows of what, and what checks them."""

from __future__ import annotations

from otel_finops.alerting.channel_rows import followed_routing
from otel_finops.alerting.evaluate import Checker
from otel_finops.alerting.findings import Feed
from otel_finops.alerting.governance_feeds import BudgetFeed, CreditFeed, KillSwitchFeed, PolicyFailureFeed
from otel_finops.alerting.insight_feeds import AnomalyFeed, CaptureFeed, ForecastFeed
from otel_finops.alerting.parameters import Kind
from otel_finops.alerting.price_feeds import PriceChangeFeed
from otel_finops.alerting.spend_feeds import SpendRateFeed, UnpricedFeed
from otel_finops.base.clock import Clock
from otel_finops.base.ids import RandomIds
from otel_finops.governance.credit_desk import CreditDesk
from otel_finops.governance.kill_switches import KillSwitches
from otel_finops.governance.policy_store import PolicyStore
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.subjects import Subjects
from otel_finops.operations.alerts_desk import AlertsDesk
from otel_finops.settings.tree import Settings
from otel_finops.store.engine import Store


def alerts_desk(
    settings: Settings, store: Store, clock: Clock, subjects: Subjects, prices: CurrentPrices, switches: KillSwitches, pools: CreditDesk
) -> AlertsDesk:
    """The desk over a database."""
    features = settings.features
    feeds: dict[Kind, tuple[Feed, bool]] = {
        "budget": (BudgetFeed(store, clock), features.budgets),
        "forecast": (ForecastFeed(store, clock), features.budgets and features.forecast),
        "spend_rate": (SpendRateFeed(store, clock), features.spend),
        "anomaly": (AnomalyFeed(store), features.anomalies),
        "unpriced": (UnpricedFeed(store), features.coverage),
        "price_change": (PriceChangeFeed(store, clock, prices.fresh), features.prices),
        "credit": (CreditFeed(pools.alerts), features.credits),
        "capture_rate": (CaptureFeed(store), features.reconciliation),
        "kill_switch": (KillSwitchFeed(switches.all), True),
        "policy_failure": (_policy_failures(PolicyStore(store, clock, subjects)), features.policies),
    }
    known = {kind: feed for kind, (feed, is_on) in feeds.items() if is_on}
    routing = followed_routing(store, clock).seen_by if features.channels else None
    return AlertsDesk(store, clock, Checker(store, clock, RandomIds(), known, routing))


def _policy_failures(policies: PolicyStore) -> PolicyFailureFeed:
    return PolicyFailureFeed(lambda: tuple(policies.all()), policies.failures)
