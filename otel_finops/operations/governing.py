"""Everything that governs calls, put together over a database: which gates there are, and the desk that asks them."""

from __future__ import annotations

from otel_finops.base.clock import Clock
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.governance.approvals import StoredApprovals
from otel_finops.governance.budget_gate import BudgetGate
from otel_finops.governance.budget_store import followed_budgets
from otel_finops.governance.call_state import CallStates, CallsUnderWay
from otel_finops.governance.credit_gate import CreditGate
from otel_finops.governance.credit_rates import CreditRates
from otel_finops.governance.credit_store import followed_pools
from otel_finops.governance.decide import Decider, Gates
from otel_finops.governance.decision_desk import DecisionDesk
from otel_finops.governance.guardrails import guardrails_of
from otel_finops.governance.kill_switches import KillSwitches
from otel_finops.governance.policy_gate import StoredPolicyGate
from otel_finops.governance.policy_store import PolicyStore, followed_policies
from otel_finops.governance.reservations import Reservations
from otel_finops.governance.rulings import Holder
from otel_finops.ledger.subjects import Subjects
from otel_finops.operations.policies_desk import PoliciesDesk
from otel_finops.settings.tree import Settings
from otel_finops.store.engine import Store


def decision_desk(
    settings: Settings, store: Store, clock: Clock, subjects: Subjects, switches: KillSwitches, approvals: StoredApprovals
) -> DecisionDesk:
    """The desk where applications ask; a gate whose feature is switched off is not there."""
    guardrails = guardrails_of(settings.guardrails, clock) if settings.features.guardrails else None
    budgets = BudgetGate(followed_budgets(store, clock)) if settings.features.budgets else None
    pools = CreditGate(followed_pools(store, clock), CreditRates(), clock, is_on=settings.features.credits)
    policies = _policy_gate(settings, store, clock) if settings.features.policies else None
    gates = Gates(switches, guardrails, pools, budgets, policies, approvals if settings.features.approvals else None)
    said = settings.enforcement
    holders: tuple[Holder, ...] = (*gates.holders, CallsUnderWay(lambda: policies is not None and policies.asks_for_calls()))
    reservations = Reservations(holders, round(said.reservation_ttl * NS_PER_SECOND), round(said.settle_grace * NS_PER_SECOND))
    return DecisionDesk(store, clock, subjects, Decider(gates, said, reservations), reservations, said)


def policies_desk(settings: Settings, store: Store, clock: Clock, subjects: Subjects) -> PoliciesDesk:
    """The desk where policies are made and tried out."""
    budgets = BudgetGate(followed_budgets(store, clock)) if settings.features.budgets else None
    return PoliciesDesk(store, clock, PolicyStore(store, clock, subjects), _policy_gate(settings, store, clock), budgets)


def _policy_gate(settings: Settings, store: Store, clock: Clock) -> StoredPolicyGate:
    return StoredPolicyGate(followed_policies(store, clock), CallStates(clock, figures=settings.features.figures), clock)
