"""The list of all operations; a verb that is not here does not exist."""

from __future__ import annotations

from typing import Final

from otel_finops.operations import (
    audit,
    coverage,
    fx,
    health,
    kill_switches,
    ledger,
    periods,
    price_rules,
    price_watch,
    prices,
    pricing,
    quarantine,
    spend,
    subscriptions,
    traces,
    usage,
)
from otel_finops.operations.registry import Registry

OPERATIONS: Final = Registry(
    [
        audit.listed,
        audit.verify,
        coverage.report,
        fx.import_rates,
        fx.rates,
        health.health,
        kill_switches.clear_switch,
        kill_switches.history,
        kill_switches.listed,
        kill_switches.set_switch,
        ledger.allowances,
        ledger.corrections,
        ledger.estimate,
        ledger.reprice,
        ledger.verify,
        periods.close,
        periods.listed,
        price_rules.alias,
        price_rules.end,
        price_rules.override,
        price_rules.rules,
        pricing.explain,
        pricing.quote,
        pricing.unpriced,
        price_watch.changes,
        price_watch.unwatch,
        price_watch.watch,
        price_watch.watches,
        prices.activate,
        prices.diff,
        prices.differences,
        prices.refresh,
        prices.show,
        prices.snapshots,
        prices.status,
        quarantine.drop,
        quarantine.held,
        quarantine.retry,
        spend.report,
        subscriptions.periods,
        subscriptions.spread,
        traces.search,
        traces.show,
        usage.rows,
    ]
)
