"""What operations on governance change and ask for, as protocols, by the desk that does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from otel_finops.trees.queries import Tenants

if TYPE_CHECKING:  # these rooms load a database toolkit, which `--help` must not wait for
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
