"""Cost centres, rules for shared costs and chargeback over a store: what `operations.insight_desks.Chargebacks` promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from otel_finops.base.clock import Clock
from otel_finops.governance.credits import PoolSet
from otel_finops.identity.principals import Editor
from otel_finops.insight.chargeback import Asked, Chargeback, chargeback
from otel_finops.insight.cost_center_store import CostCenterStore
from otel_finops.insight.cost_centers import Book, CostCenter, Rule
from otel_finops.pricing.coverage import Subscription
from otel_finops.store.engine import Store


class ChargebackDesk:
    """See `operations.insight_desks.Chargebacks`. Safe to use from many threads.

    Args:
        subscriptions: gives the flat fees of now.
        pools: gives the pools of credits of now.
    """

    def __init__(
        self, store: Store, clock: Clock, subscriptions: Callable[[], Sequence[Subscription]], pools: Callable[[], PoolSet]
    ) -> None:
        self._store = store
        self._definitions = CostCenterStore(store, clock)
        self._subscriptions = subscriptions
        self._pools = pools

    def book(self) -> Book:
        """See `Chargebacks.book`."""
        return self._definitions.book()

    def create_center(self, center: CostCenter, editor: Editor, *, dry_run: bool) -> CostCenter:
        """See `Chargebacks.create_center`."""
        return self._definitions.create_center(center, editor, dry_run=dry_run)

    def update_center(
        self, no: int, changes: Mapping[str, Any], editor: Editor, revision: int | None, *, dry_run: bool
    ) -> tuple[CostCenter, CostCenter]:
        """See `Chargebacks.update_center`."""
        return self._definitions.update_center(no, changes, editor, revision, dry_run=dry_run)

    def delete_center(self, no: int, editor: Editor, revision: int | None, *, dry_run: bool) -> CostCenter:
        """See `Chargebacks.delete_center`."""
        return self._definitions.delete_center(no, editor, revision, dry_run=dry_run)

    def create_rule(self, rule: Rule, editor: Editor, *, dry_run: bool) -> Rule:
        """See `Chargebacks.create_rule`."""
        return self._definitions.create_rule(rule, editor, dry_run=dry_run)

    def update_rule(
        self, no: int, change: Callable[[Rule], Rule], editor: Editor, revision: int | None, *, dry_run: bool
    ) -> tuple[Rule, Rule]:
        """See `Chargebacks.update_rule`."""
        return self._definitions.update_rule(no, change, editor, revision, dry_run=dry_run)

    def delete_rule(self, no: int, editor: Editor, revision: int | None, *, dry_run: bool) -> Rule:
        """See `Chargebacks.delete_rule`."""
        return self._definitions.delete_rule(no, editor, revision, dry_run=dry_run)

    def report(self, asked: Asked) -> Chargeback:
        """See `Chargebacks.report`."""
        subscriptions, pools = self._subscriptions(), self._pools()
        with self._store.read() as transaction:
            return chargeback(transaction, asked, subscriptions, pools)
