"""Deciding on a call before it is made: every gate is asked in order, and the first that halts it decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.rulings import Holder, Ruling
from otel_finops.store.unit_of_work import Transaction

if TYPE_CHECKING:
    from otel_finops.governance.budgets import Budget, BudgetStatus

BudgetStates: TypeAlias = Callable[[], "Sequence[tuple[Budget, BudgetStatus]]"]
"""The enabled budgets, hard and soft, that are for a call, and how they stand; read when somebody asks for them."""


class Asked(NamedTuple):
    """A call that somebody asks to make, in his own words.

    Attributes:
        decision_id: under which the decision will stand on record.
        call: what it is; `user` and `session` are None, since what is only asked for has no references yet.
        user, session: clear ids.
        facts: counts that were given or stand in for such: `input_tokens`, `max_output_tokens`.
    """

    decision_id: str
    call: GovernedCall
    user: str | None = None
    session: str | None = None
    facts: Mapping[str, int] = {}


class Guardrails(Protocol):
    """Who says whether a call may be made for what it is about; asked outside of any transaction, since it may take a while."""

    def rule(self, asked: Asked) -> Ruling | None:
        """What is to be said: `block`, or `allow` with a reason for what is only flagged or could not be asked; None: nothing."""
        ...


class GroupHolder(Holder, Protocol):
    """A holder that many calls are decided with in one transaction, and in several processes at a time."""

    def lock(self, transaction: Transaction, calls: Sequence[GovernedCall]) -> None:
        """Lock the rows in which these calls would be held, in the common order, before the first of them is checked: so transactions
        that hold for several calls each never wait for each other in a circle. Nothing where there is one writer anyway (SQLite)."""
        ...


class BudgetHolder(GroupHolder, Protocol):
    """The hard budgets, which also tell how all that are for a call stand."""

    def states(self, transaction: Transaction, call: GovernedCall) -> Sequence[tuple[Budget, BudgetStatus]]:
        """The enabled budgets, hard and soft, that are for a call."""
        ...

    def away(self, call: GovernedCall) -> Ruling | None:
        """What is said of a call while the store cannot be asked, from memory: `block` where a hard budget says that calls do not pass
        then, `allow` where one says that they do; None where none says anything and the settings decide."""
        ...


class PolicyGate(Protocol):
    """The policies: the first that is for a call says what is done."""

    def rule(self, transaction: Transaction, call: GovernedCall, budgets: BudgetStates, *, keep: bool) -> Ruling | None:
        """What the first matching policy says; None when there is none. `reasons[0].rule_id` is the policy's id.

        Args:
            budgets: called at most once, and only where a condition asks for them.
            keep: False for dry runs: nothing is written, not even what counts towards a rate.
        """
        ...


class Approvals(Protocol):
    """Passes that people gave, and requests for such. All of it happens in the deciding transaction."""

    def pass_for(self, transaction: Transaction, call: GovernedCall, ruling: Ruling) -> str | None:
        """A standing pass that lets this call through what a `require_approval` ruling demands; None when there is none. Only reads."""
        ...

    def consume(self, transaction: Transaction, pass_id: str, decision_id: str, at_ns: int) -> bool:
        """Take a pass for this decision; False when somebody else took it, or it ended meanwhile."""
        ...

    def request(self, transaction: Transaction, call: GovernedCall, ruling: Ruling, decision_id: str) -> str | None:
        """The id of the pending request that somebody has to decide on: a new one, or the one that is pending for the same already;
        None: too many of the tenant's wait already, this one cannot be asked for."""
        ...
