"""What policies say of a call, in the transaction that decides on it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import thread_time_ns
from typing import Final, NamedTuple, TypeAlias

from otel_finops.base.clock import Clock
from otel_finops.base.limits import CONDITIONS_OF_TENANT_US_MAX
from otel_finops.base.money import format_usd
from otel_finops.governance import rates
from otel_finops.governance.call_state import CallStates, TraceState
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.conditions import ConditionFailed, Facts, Readings, wanted
from otel_finops.governance.decide import BudgetStates
from otel_finops.governance.followed import Followed
from otel_finops.governance.policies import Policy, PolicySet, Rule
from otel_finops.governance.rulings import HALTING, Action, Reason, Ruling
from otel_finops.store.unit_of_work import Transaction

_log: Final = logging.getLogger(__name__)

Seen: TypeAlias = Callable[[str, TraceState], TraceState]
"""(root, what was read of it) -> what conditions are told."""

_CALLS: Final = ("trace", "session")
"""What conditions ask of calls before."""
_FAIL: Final = (
    "INSERT INTO policy_failures (policy_no, failures, revision, at_ns, reason) VALUES (?, 1, ?, ?, ?) ON CONFLICT (policy_no) DO UPDATE "
    "SET failures = policy_failures.failures + 1, revision = excluded.revision, at_ns = excluded.at_ns, reason = excluded.reason"
)
_DOES: Final[dict[Action, str]] = {
    "allow": "lets it pass", "block": "blocks it", "require_approval": "asks for somebody's approval", "downgrade": "has it made by {}",
    "throttle": "lets {} pass", "queue": "has it wait",
}  # fmt: skip


class Asked(NamedTuple):
    """What one policy said of a call.

    Attributes:
        matched: it is for the call.
        why: why not, or why it could not be evaluated; "" where it is.
        failed: it could not be evaluated.
        wait_s: seconds until its rate has room; 0: now, and then it is not for the call.
        figures: what it went by, decimal strings by name.
        of_several: those are of a budget for calls of several tenants.
    """

    policy: Policy
    matched: bool
    why: str = ""
    failed: bool = False
    wait_s: float = 0.0
    figures: Mapping[str, str] = {}
    of_several: bool = False


class StoredPolicyGate:
    """A `PolicyGate` over the stored policies. Safe to use from many threads.

    Args:
        followed: the policies as this process knows them.
    """

    def __init__(self, followed: Followed[PolicySet], states: CallStates, clock: Clock) -> None:
        self._followed = followed
        self._states = states
        self._clock = clock
        self._told: set[tuple[int, int]] = set()

    def asks_for_calls(self) -> bool:
        """Whether a policy asks what traces or sessions came to, so that calls under way must be noted."""
        return not self._followed.current().asks.isdisjoint(_CALLS)

    def rule(self, transaction: Transaction, call: GovernedCall, budgets: BudgetStates, *, keep: bool) -> Ruling | None:
        """See `PolicyGate.rule`."""
        rules = self._followed.current().of(call)
        if not rules:
            return None
        said, taken, ruling = list[Asked](), list[Policy](), None
        if keep and any(_asks_for_calls(rule) for rule in rules):
            rates.lock(transaction)  # what other processes let through for the same trace meanwhile counts too
        facts = self.facts(transaction, call, budgets, rules)
        patience = _Patience()
        for rule in rules:
            with patience.of(rule) as is_left:
                asked = self._asked(transaction, call, rule, facts, keep=keep) if is_left else patience.skipped(rule.policy)
            if asked.failed:
                said.append(asked)
            elif asked.matched:
                ruling = ruling_of(asked)
                break
            elif rule.policy.rate is not None and not asked.why and keep:
                taken.append(rule.policy)
        if ruling is not None and ruling.action in HALTING:
            for policy in taken:
                assert policy.rate is not None
                rates.give_back(transaction, policy.no, policy.rate, call)
        return self._with_failures(transaction, ruling, said, keep=keep)

    def facts(
        self, transaction: Transaction, call: GovernedCall, budgets: BudgetStates, rules: Sequence[Rule], seen: Seen = lambda _, read: read
    ) -> Facts | None:
        """What the conditions of these policies are told; None where none has a condition.

        Args:
            seen: what is told in place of what was read of `trace` or `session`.
        """
        conditions = [rule.condition for rule in rules if rule.condition is not None]
        if not conditions:
            return None
        readings = Readings(
            lambda fields: seen("trace", self._states.trace(transaction, call, fields)),
            lambda fields: seen("session", self._states.session(transaction, call, fields)),
            budgets,
        )
        return Facts(call, readings, *wanted(conditions))

    def _asked(self, transaction: Transaction, call: GovernedCall, rule: Rule, facts: Facts | None, *, keep: bool) -> Asked:
        """What one policy says, its rate taken of where there is room."""
        asked = judged(rule, call, facts)
        rate = rule.policy.rate
        if not asked.matched or rate is None:
            return asked
        if keep:
            rates.lock(transaction)
        reckon = rates.take if keep else rates.look
        wait_s = reckon(transaction, rule.policy.no, rate, call, self._clock.now_ns())
        return asked._replace(matched=wait_s > 0, wait_s=wait_s)

    def _with_failures(self, transaction: Transaction, ruling: Ruling | None, failed: list[Asked], *, keep: bool) -> Ruling | None:
        """The ruling, with what is to be said of policies that were skipped; they are counted."""
        if not failed:
            return ruling
        if keep:
            rates.lock(transaction)
        for one in failed:
            if keep:
                transaction.execute(_FAIL, (one.policy.no, one.policy.revision, self._clock.now_ns(), one.why))
            self._tell(one)
        reasons = tuple(_skipped(one) for one in failed)
        return Ruling("allow", reasons) if ruling is None else ruling._replace(reasons=(*ruling.reasons, *reasons))

    def _tell(self, one: Asked) -> None:
        """Say so in the log, once for each definition."""
        if (one.policy.no, one.policy.revision) not in self._told:
            self._told.add((one.policy.no, one.policy.revision))
            _log.warning("policy %d (%s) cannot be evaluated for some calls and is skipped: %s", one.policy.no, one.policy.name, one.why)


def _asks_for_calls(rule: Rule) -> bool:
    return rule.condition is not None and not rule.condition.roots.isdisjoint(_CALLS)


def judged(rule: Rule, call: GovernedCall, facts: Facts | None) -> Asked:
    """Whether a policy whose scope is for a call is for it in all else, its rate aside."""
    policy = rule.policy
    if policy.min_pico is not None and call.pico is None:
        return Asked(policy, False, "nobody knows what the call costs, and it is for calls from a cost on")
    if not policy.agrees(call):
        return Asked(policy, False, "the estimate is less than min_cost_usd" if policy.downgrade_to is None else _why_not(policy, call))
    if rule.unreadable is not None:
        return Asked(policy, False, rule.unreadable, failed=True)
    if rule.condition is None or facts is None:
        return Asked(policy, True, figures=_figures(policy, call))
    facts = facts if policy.of_all else facts.of_tenant()
    try:
        holds = rule.condition.holds(facts)
    except ConditionFailed as fault:
        return Asked(policy, False, str(fault), failed=True)
    figures = {**_figures(policy, call), **facts.figures(rule.condition)}
    why = "" if holds else "its condition does not hold"
    return Asked(policy, holds, why, figures=figures, of_several=facts.tells_of_several(rule.condition))


class _Patience:
    """How long one tenant's people may keep others waiting: so long their conditions are evaluated for a call, all together."""

    def __init__(self) -> None:
        self._left_ns = int(CONDITIONS_OF_TENANT_US_MAX * 1_000)
        self._is_told = False

    @contextmanager
    def of(self, rule: Rule) -> Iterator[bool]:
        """Whether there is time left to ask a policy; that of the processor is counted, so that a busy machine skips nothing."""
        if rule.policy.of_all or rule.condition is None:
            yield True
            return
        began = thread_time_ns()
        yield self._left_ns > 0
        self._left_ns -= thread_time_ns() - began

    def skipped(self, policy: Policy) -> Asked:
        """What is said of a policy that is not asked; the first one of a call is told, counted and logged."""
        is_first, self._is_told = not self._is_told, True
        return Asked(policy, False, "it and others behind it were not asked: conditions before it took too long", failed=is_first)


def _why_not(policy: Policy, call: GovernedCall) -> str:
    is_there = (call.model or "").lower() == (policy.downgrade_to or "").lower()
    return "the call is by that model already" if is_there else "the estimate is less than min_cost_usd"


def _figures(policy: Policy, call: GovernedCall) -> dict[str, str]:
    if policy.min_pico is None or call.pico is None:
        return {}
    return {"estimate_usd": format_usd(call.pico), "min_cost_usd": format_usd(policy.min_pico)}


def ruling_of(asked: Asked) -> Ruling:
    """What a policy that is for a call says of it."""
    policy = asked.policy
    rate = policy.rate
    shown = policy.downgrade_to or (f"{rate.calls} calls in {rate.per_s:g} s" if rate is not None else "")
    since = ", ".join(f"{name} is {value}" for name, value in asked.figures.items())
    text = f"policy {policy.name} {_DOES[policy.action].format(shown)}" + (f": {since}" if since else "")
    figures = dict(asked.figures)
    if rate is not None:
        figures |= {"rate_calls": str(rate.calls), "rate_per_s": f"{rate.per_s:g}"}
    wait_s = asked.wait_s if rate is not None else policy.retry_after_s
    reason = _reason(policy, policy.action, text, figures)
    if asked.of_several:
        reason = reason._replace(tenant=None)
    return Ruling(policy.action, (reason,), wait_s, policy.downgrade_to)


def _skipped(one: Asked) -> Reason:
    return _reason(one.policy, "allow", f"policy {one.policy.name} could not be evaluated and was skipped: {one.why}")


def _reason(policy: Policy, action: Action, text: str, figures: Mapping[str, str] = {}) -> Reason:
    return Reason("policy", action, policy.name, str(policy.no), text, figures, policy.tenant)
