"""What is said of a call before it is made, and by whom: the words that all gates share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, get_args

from otel_finops.governance.calls import GovernedCall
from otel_finops.store.unit_of_work import Transaction

Action: TypeAlias = Literal["allow", "block", "require_approval", "downgrade", "throttle", "queue"]
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
HALTING: Final[frozenset[Action]] = frozenset(("block", "require_approval", "throttle", "queue"))
"""The call must not be made now; what else there is lets it through, perhaps with another model."""
Gate: TypeAlias = Literal["kill_switch", "guardrail", "credits", "budget", "policy", "store"]
GATES: Final[tuple[Gate, ...]] = get_args(Gate)
"""In the order in which they are asked: the first that halts a call decides."""


class Reason(NamedTuple):
    """Why something is said of a call.

    Attributes:
        gate: who says it.
        action: what it says.
        rule: what people call the rule: the budget's, policy's or pool's name.
        rule_id: by which it is found; None for what has none.
        text: one sentence with the figures.
        figures: decimal strings by name, e.g. `limit_usd`, `spent_usd`, `reserved_usd`, `estimate_usd`.
        tenant: whose rule it is; None: one for several tenants, of which callers that are bound to some are told the name alone.
    """

    gate: Gate
    action: Action
    rule: str
    rule_id: str | None
    text: str
    figures: Mapping[str, str] = {}
    tenant: str | None = None


class Ruling(NamedTuple):
    """What a gate says of a call; a gate that has nothing to say gives None.

    Attributes:
        action: what is to be done.
        reasons: why, the one that decides first.
        retry_after_s: when to ask again, for `throttle` and `queue`.
        model: what to call instead, for `downgrade`.
        approval_id: what somebody has to decide on, for `require_approval`.
    """

    action: Action
    reasons: tuple[Reason, ...]
    retry_after_s: float | None = None
    model: str | None = None
    approval_id: str | None = None


def is_switched_off(ruling: Ruling | None) -> bool:
    """Whether a kill switch stops the call: that holds in every mode, and whatever was said before."""
    return ruling is not None and ruling.reasons[0].gate == "kill_switch"


class Holder(Protocol):
    """What can hold money back for a call: budgets, and pools of credits.

    All of it happens in the caller's transaction. Whoever writes locks in one order: rows of `reservations`, then counters of budgets
    by number and window, then pools by number; so nobody waits in a circle.
    """

    def check(self, transaction: Transaction, call: GovernedCall) -> Ruling | None:
        """What is to be said of the call, nothing held; None when it may be made."""
        ...

    def hold(self, transaction: Transaction, call: GovernedCall, reservation_id: str) -> Ruling | None:
        """Hold the call's `pico` and `tokens` and one call, in one conditional update for each counter; what is said when there is
        not enough, and then nothing is held."""
        ...

    def turn(self, transaction: Transaction, reservation_id: str, actual_pico: int, tokens: int | None) -> None:
        """Make what is held the actual amount (tokens None: as held); it stays held until `release`."""
        ...

    def release(self, transaction: Transaction, reservation_ids: Collection[str]) -> None:
        """Give back what is held; nothing is where none of it is held any more."""
        ...
