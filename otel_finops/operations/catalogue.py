"""The list of all operations; a verb that is not here does not exist."""

from __future__ import annotations

from typing import Final

from otel_finops.operations import coverage, health, ledger, prices, quarantine, spend, traces, usage
from otel_finops.operations.registry import Registry

OPERATIONS: Final = Registry(
    [
        coverage.report,
        health.health,
        ledger.verify,
        prices.activate,
        prices.diff,
        prices.refresh,
        prices.show,
        prices.snapshots,
        prices.status,
        quarantine.drop,
        quarantine.held,
        quarantine.retry,
        spend.report,
        traces.search,
        traces.show,
        usage.rows,
    ]
)
