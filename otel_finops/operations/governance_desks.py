"""What operations on governance change and ask for, as protocols, by the desk that does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from otel_finops.trees.queries import Tenants

if TYPE_CHECKING:  # these rooms load a database toolkit, which `--help` must not wait for
    from otel_finops.governance.approvals import Approval, Grant, Query, Use
    from otel_finops.governance.budgets import Budget, BudgetSet, BudgetStatus
    from otel_finops.governance.burndown import Burndown


class Budgets(Protocol):
    """Budgets: their definitions, and how they stand.

    Raises:
        Busy, Unavailable: the store cannot answer now.
    """

    def all(self) -> BudgetSet:
        """All that stand, as they are stored at this moment."""
        ...

    def find(self, no: int, tenants: Tenants) -> Budget:
        """The budget of this number; raises NotFound when there is none that these tenants may see."""
        ...

    def history(self, no: int, tenants: Tenants) -> Sequence[Budget]:
        """Every revision of a budget, newest first; of one that was deleted too. Raises NotFound as `find`."""
        ...

    def statuses(self, budgets: Sequence[Budget]) -> Mapping[int, BudgetStatus]:
        """How these stand now, by number."""
        ...

    def burndown(self, budget: Budget, at_ns: int | None) -> Burndown:
        """The course of the window that runs now, or ran at an instant."""
        ...


class Approvals(Protocol):
    """Requests for approval, and the passes that they become; whose they are is an argument, None for all.

    Raises:
        NotFound: these tenants have no such request.
        Conflict: it is not in the state in which that can be done.
        Busy, Unavailable: the store cannot answer now.
    """

    def page(self, tenants: Tenants, query: Query, before_no: int | None, limit: int) -> Sequence[Approval]:
        """A page, newest first; `before_no` is the last number of the page before."""
        ...

    def find(self, approval_id: str, tenants: Tenants) -> Approval:
        """The request of this id."""
        ...

    def uses(self, approval: Approval) -> Sequence[Use]:
        """The latest decisions that a pass let through, newest first."""
        ...

    def approve(
        self, approval_id: str, tenants: Tenants, grant: Grant, *, who: str, why: str, dry_run: bool = False
    ) -> tuple[Approval, Approval]:
        """Make a pending request a pass; before and after. Raises BadInput for an amount below what was asked for."""
        ...

    def reject(self, approval_id: str, tenants: Tenants, *, who: str, why: str, dry_run: bool = False) -> tuple[Approval, Approval]:
        """Refuse a pending request; before and after."""
        ...

    def revoke(self, approval_id: str, tenants: Tenants, *, who: str, why: str, dry_run: bool = False) -> tuple[Approval, Approval]:
        """Take a pass back that still holds; before and after."""
        ...
