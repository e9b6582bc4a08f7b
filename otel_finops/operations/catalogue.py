"""The list of all operations; a verb that is not here does not exist."""

from __future__ import annotations

from typing import Final

from otel_finops.operations import (
    coverage,
    fx,
    health,
    ledger,
    price_rules,
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
        coverage.report,
        fx.import_rates,
        fx.rates,
        health.health,
        ledger.verify,
        price_rules.alias,
        price_rules.end,
        price_rules.override,
        price_rules.rules,
        prices.activate,
        prices.diff,
        prices.refresh,
        prices.show,
        prices.snapshots,
        prices.status,
        pricing.explain,
        pricing.quote,
        pricing.unpriced,
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
