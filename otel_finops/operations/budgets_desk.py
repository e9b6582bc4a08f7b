"""Budgets over a store: what `operations.governance_desks.Budgets` promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from otel_finops.base.clock import Clock
from otel_finops.governance.budget_fill import CountBeginnings
from otel_finops.governance.budget_store import BudgetStore, Edit, is_seen, missing
from otel_finops.governance.budgets import Budget, BudgetSet, BudgetStatus, Spending
from otel_finops.governance.burndown import Burndown, burndown
from otel_finops.governance.followed import Revision
from otel_finops.governance.scopes import Scope
from otel_finops.governance.spending import StoredSpending
from otel_finops.governance.subject_scopes import clear_scopes
from otel_finops.governance.thresholds import Crossing, Thresholds, newest_crossings
from otel_finops.identity.principals import Editor
from otel_finops.ledger.subjects import Subjects
from otel_finops.ledger.tenants import Tenants
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction


def budgets_desk(store: Store, clock: Clock, subjects: Subjects) -> BudgetsDesk:
    """The desk over a database."""
    spending = StoredSpending()
    return BudgetsDesk(store, clock, subjects, BudgetStore(store, clock, subjects, CountBeginnings(Thresholds(spending))), spending)


class BudgetsDesk:
    """See `operations.governance_desks.Budgets`. Safe to use from many threads."""

    def __init__(self, store: Store, clock: Clock, subjects: Subjects, budgets: BudgetStore, spending: Spending) -> None:
        self._store = store
        self._clock = clock
        self._subjects = subjects
        self._budgets = budgets
        self._spending = spending

    def all(self) -> BudgetSet:
        """See `Budgets.all`."""
        return self._budgets.all()

    def find(self, no: int, tenants: Tenants) -> Budget:
        """See `Budgets.find`."""
        budget = self._budgets.all().get(no)
        if budget is None or not is_seen(budget, tenants):
            raise missing(no)
        return budget

    def history(self, no: int, tenants: Tenants) -> Sequence[Revision[Budget]]:
        """See `Budgets.history`."""
        found = [one for one in self._budgets.history(no) if is_seen(one.left, tenants)]
        if not found:
            raise missing(no)
        return found

    def create(self, edit: Edit, editor: Editor, *, dry_run: bool = False) -> tuple[Budget, BudgetSet]:
        """See `Budgets.create`."""
        return self._budgets.create(edit, editor, dry_run=dry_run)

    def update(self, no: int, edit: Edit, editor: Editor, *, dry_run: bool = False) -> tuple[Budget, Budget, BudgetSet]:
        """See `Budgets.update`."""
        return self._budgets.update(no, edit, editor, dry_run=dry_run)

    def delete(self, no: int, editor: Editor, *, revision: int | None = None, dry_run: bool = False) -> Budget:
        """See `Budgets.delete`."""
        return self._budgets.delete(no, editor, revision=revision, dry_run=dry_run)

    def clear(self, scopes: Sequence[Scope]) -> list[dict[str, str]]:
        """See `Budgets.clear`."""
        with self._store.read() as transaction:
            return clear_scopes(transaction, self._subjects, scopes)

    def statuses(self, budgets: Sequence[Budget]) -> Mapping[int, BudgetStatus]:
        """See `Budgets.statuses`."""
        with self._store.read() as transaction:
            return self._spending.statuses(transaction, budgets, self._clock.now_ns())

    def burndown(self, budget: Budget, at_ns: int | None) -> Burndown:
        """See `Budgets.burndown`."""
        now_ns = self._clock.now_ns()
        window = budget.period.window(now_ns if at_ns is None else at_ns)
        with self._store.read() as transaction:
            if window.has(now_ns):
                limit = self._spending.statuses(transaction, [budget], now_ns)[budget.no].limit
            else:
                limit = budget.amount + self._carried(transaction, budget, at_ns or 0)
            daily = self._spending.daily(transaction, budget, window)
        return burndown(budget, window, limit, daily, now_ns)

    def crossings(self, tenants: Tenants, no: int | None, before_no: int | None, limit: int) -> Sequence[tuple[Crossing, Budget]]:
        """See `Budgets.crossings`."""
        held = self._budgets.all()
        with self._store.read() as transaction:
            found = ((one, held.get(one.budget_no)) for one in newest_crossings(transaction, before_no) if no in (None, one.budget_no))
            return list(islice(((one, budget) for one, budget in found if budget is not None and is_seen(budget, tenants)), limit))

    def _carried(self, transaction: Transaction, budget: Budget, at_ns: int) -> int:
        """What the window of an instant was given from the one before it."""
        before = budget.period.before(budget.period.window(at_ns)) if budget.carry_over else None
        spent = 0 if before is None else sum(self._spending.daily(transaction, budget, before).values())
        return budget.carried(before, spent)
