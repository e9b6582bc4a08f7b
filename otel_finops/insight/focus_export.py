"""FOCUS rows of a ledger, in batches of bounded memory: the state of the moment at which they were asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from otel_finops.base.times import month_end_ns
from otel_finops.insight.focus import Step, Version, rows
from otel_finops.ledger.export import Times
from otel_finops.ledger.movements import movements
from otel_finops.ledger.period_bounds import month_ns
from otel_finops.ledger.tenants import Tenants
from otel_finops.store.engine import Store


class FocusExport:
    """See `operations.insight_desks.Focus`. Safe to use from many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def charges(self, tenants: Tenants, window: Times, step: Step, version: Version) -> Iterator[list[dict[str, Any]]]:
        """See `Focus.charges`."""
        return rows(movements(self._store, tenants, window), step, version)

    def billed(self, tenants: Tenants, month: str, step: Step, version: Version) -> Iterator[list[dict[str, Any]]]:
        """See `Focus.billed`."""
        start_ns = month_ns(month)
        return rows(movements(self._store, tenants, (None, None), (start_ns, month_end_ns(start_ns))), step, version)
