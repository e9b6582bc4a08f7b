"""Deciding on a call before it is made: every gate is asked in order, and the first that halts it decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.rulings import Holder, Ruling
from otel_finops.store.unit_of_work import Transaction

BudgetStates: TypeAlias = Callable[[], Sequence[Any]]
"""The states (`governance.budgets.BudgetStatus`) of the budgets that are for a call, read when somebody asks for them."""


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


class BudgetHolder(Holder, Protocol):
    """The hard budgets, which also tell how all that are for a call stand."""

    def states(self, transaction: Transaction, call: GovernedCall) -> Sequence[Any]:
        """The states of the budgets that are for a call (`governance.budgets.BudgetStatus`)."""
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

    def request(self, transaction: Transaction, call: GovernedCall, ruling: Ruling, decision_id: str) -> str:
        """The id of the pending request that somebody has to decide on: a new one, or the one that is pending for the same already."""
        ...
