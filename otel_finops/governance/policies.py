"""Policies as values: for which calls they are, and what they say of them.

A definition is one revision of a policy; every change makes a new one (`governance.policy_store`). The first policy that is for a call
says what is done; they are asked by priority, the lowest first, and then by number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import NAME_CHARS_MAX
from otel_finops.base.money import PICO_MAX
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.condition_syntax import ConditionFault
from otel_finops.governance.conditions import Condition
from otel_finops.governance.rates import CALLS_MAX, PER_S_MAX, RATE_OF, Rate
from otel_finops.governance.rulings import ACTIONS, Action
from otel_finops.governance.scopes import Scope, ScopeIndex

PRIORITY: Final = 100
PRIORITY_MAX: Final = 1_000_000
RETRY_AFTER_S: Final = 30.0
RETRY_AFTER_S_MAX: Final = 86_400
DESCRIPTION_CHARS_MAX: Final = 500


class Policy(NamedTuple):
    """A policy as one revision defines it. A call must agree with its scope, its least cost and its condition.

    Attributes:
        no: its number, the same for ever.
        name: what people call it; no two standing ones of one tenant (or of several) have the same.
        action: what is to be done with calls that it is for.
        scope: for which calls it is; the pattern of models among it.
        min_pico: only for calls that are estimated at so much or more; None: for all, also those whose cost nobody knows.
        condition: CEL, see `governance.conditions`; None: none.
        downgrade_to: the model to call instead, of `downgrade`; calls of that model it is not for.
        rate: how many calls pass, of `throttle`; as long as it has room it is not for a call, and the next policy is asked.
        retry_after_s: when to ask again, of `queue`.
        priority: lower ones are asked first.
        enabled: False: it is not asked.
        description: for people.
        revision: of this definition; larger than that of every earlier change of any policy.
        made_ns, made_by: when it was first defined, and by whom.
        changed_ns, changed_by: when this revision was made, and by whom.
        of_all: who made it sees all tenants; nobody who is bound to some changes it.
    """

    no: int
    name: str
    action: Action
    scope: Scope = Scope()
    min_pico: int | None = None
    condition: str | None = None
    downgrade_to: str | None = None
    rate: Rate | None = None
    retry_after_s: float | None = None
    priority: int = PRIORITY
    enabled: bool = True
    description: str = ""
    revision: int = 0
    made_ns: int = 0
    made_by: str = ""
    changed_ns: int = 0
    changed_by: str = ""
    of_all: bool = True

    @property
    def tenant(self) -> str | None:
        """Whose it is: the tenant of its scope; None: it is for calls of several."""
        return self.scope.tenant

    @property
    def said(self) -> Policy:
        """What people said of it, without who did and when: two that are equal in it do the same."""
        return self._replace(no=0, revision=0, made_ns=0, made_by="", changed_ns=0, changed_by="", of_all=True)

    def agrees(self, call: GovernedCall) -> bool:
        """Whether it may be for a call, its scope and condition aside."""
        if self.min_pico is not None and (call.pico is None or call.pico < self.min_pico):
            return False
        return self.downgrade_to is None or (call.model or "").lower() != self.downgrade_to.lower()


def checked(policy: Policy) -> Policy:
    """The policy, if it can be one; `queue` gets its usual wait.

    Raises:
        BadInput: a field that can be none, or that says nothing beside its action; the message begins with the field's name.
    """
    if not policy.name.strip() or len(policy.name) > NAME_CHARS_MAX or not policy.name.isprintable():
        raise BadInput(f"name: 1 to {NAME_CHARS_MAX} printable characters")
    if policy.action not in ACTIONS:
        raise BadInput(f"action: one of {', '.join(ACTIONS)}")
    if policy.action == "queue" and policy.retry_after_s is None:
        policy = policy._replace(retry_after_s=RETRY_AFTER_S)
    for field, action in (("downgrade_to", "downgrade"), ("rate", "throttle"), ("retry_after_s", "queue")):
        if (getattr(policy, field) is not None) != (policy.action == action):
            raise BadInput(
                f"{field}: the action {action} needs it" if policy.action == action else f"{field}: only with the action {action}"
            )
    _check_numbers(policy)
    if policy.condition is not None:
        Condition(policy.condition).tried()
    return policy


def _check_numbers(policy: Policy) -> None:
    if policy.min_pico is not None and not 0 <= policy.min_pico <= PICO_MAX:
        raise BadInput("min_cost_usd: 0 to 9 million USD")
    if not 0 <= policy.priority <= PRIORITY_MAX:
        raise BadInput(f"priority: 0 to {PRIORITY_MAX}; lower ones are asked first")
    if policy.retry_after_s is not None and not 0 < policy.retry_after_s <= RETRY_AFTER_S_MAX:
        raise BadInput(f"retry_after_s: more than 0, at most {RETRY_AFTER_S_MAX} seconds")
    if policy.downgrade_to is not None and (not policy.downgrade_to.strip() or "*" in policy.downgrade_to):
        raise BadInput("downgrade_to: the name of one model")
    if policy.rate is not None:
        calls, per_s, of = policy.rate
        if not 1 <= calls <= CALLS_MAX or not 0 < per_s <= PER_S_MAX or of not in RATE_OF:
            raise BadInput(f"rate: 1 to {CALLS_MAX} calls in at most {PER_S_MAX} seconds, of {', '.join(RATE_OF)}")


class Rule(NamedTuple):
    """A policy that can be asked.

    Attributes:
        condition: read; None: it has none, or the stored text can be read no longer.
        unreadable: why it cannot be read; None: it can.
    """

    policy: Policy
    condition: Condition | None
    unreadable: str | None = None

    @classmethod
    def of(cls, policy: Policy) -> Rule:
        """The rule of a stored policy; what cannot be read any longer fails when it is asked, and takes nothing down with it."""
        if policy.condition is None:
            return cls(policy, None)
        try:
            return cls(policy, Condition(policy.condition))
        except ConditionFault as fault:
            return cls(policy, None, str(fault))


class PolicySet:
    """All standing policies at one revision; never changed.

    Attributes:
        revision: the last change of any policy that is in it; 0: there never was one.
        asks: the roots that any enabled policy's condition asks for.
    """

    def __init__(self, revision: int, rules: Mapping[int, Rule]) -> None:
        self.revision = revision
        self._by_no = dict(sorted(rules.items()))
        enabled = {no: rule for no, rule in self._by_no.items() if rule.policy.enabled}
        self._index = ScopeIndex((rule.policy.scope, no) for no, rule in enabled.items())
        self.asks = frozenset[str]().union(*(rule.condition.roots for rule in enabled.values() if rule.condition is not None))

    def __len__(self) -> int:
        return len(self._by_no)

    def __iter__(self) -> Iterator[Policy]:
        """In the order in which they are asked."""
        return iter(sorted((rule.policy for rule in self._by_no.values()), key=place))

    def rule(self, no: int) -> Rule | None:
        """The policy of a number; None when none stands."""
        return self._by_no.get(no)

    def of(self, call: GovernedCall) -> list[Rule]:
        """The enabled ones whose scope is for a call, in the order in which they are asked."""
        return sorted((self._by_no[no] for no in self._index.of(call)), key=lambda rule: place(rule.policy))


def place(policy: Policy) -> tuple[int, int]:
    """Where it stands among others."""
    return policy.priority, policy.no
