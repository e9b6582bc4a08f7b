"""Policies over a store: what `operations.governance_desks.Policies` promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from otel_finops.base.clock import Clock
from otel_finops.governance import rates
from otel_finops.governance.call_state import TraceState
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.conditions import Facts
from otel_finops.governance.decide import BudgetHolder, Question
from otel_finops.governance.decision_desk import known_call
from otel_finops.governance.followed import Revision
from otel_finops.governance.policies import Policy, PolicySet, Rule
from otel_finops.governance.policy_gate import Asked, StoredPolicyGate, judged
from otel_finops.governance.policy_store import Done, Edit, Failures, PolicyStore, is_seen, missing
from otel_finops.identity.principals import Editor
from otel_finops.ledger.tenants import Tenants
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

_FIELDS = {
    "cost_usd": "pico", "calls": "calls", "tokens": "tokens", "calls_per_minute": "calls_of_minute",
    "cost_usd_per_minute": "pico_of_minute", "depth": "depth",
}  # fmt: skip
"""Fields of conditions, and of what is read for them."""


class PoliciesDesk:
    """See `operations.governance_desks.Policies`. Safe to use from many threads.

    Args:
        gate: what decides, for trials.
        budgets: how those stand that are for a call; None: they are switched off.
    """

    def __init__(self, store: Store, clock: Clock, policies: PolicyStore, gate: StoredPolicyGate, budgets: BudgetHolder | None) -> None:
        self._store = store
        self._clock = clock
        self._policies = policies
        self._gate = gate
        self._budgets = budgets

    def all(self) -> PolicySet:
        """See `Policies.all`."""
        return self._policies.all()

    def history(self, no: int, tenants: Tenants) -> Sequence[Revision[Policy]]:
        """See `Policies.history`."""
        found = [one for one in self._policies.history(no) if is_seen(one.left, tenants)]
        if not found:
            raise missing(no)
        return found

    def create(self, edit: Edit, editor: Editor, *, dry_run: bool = False) -> Policy:
        """See `Policies.create`."""
        return self._policies.create(edit, editor, dry_run=dry_run)

    def update(self, no: int, edit: Edit, editor: Editor, *, dry_run: bool = False) -> tuple[Policy, Policy]:
        """See `Policies.update`."""
        return self._policies.update(no, edit, editor, dry_run=dry_run)

    def delete(self, no: int, editor: Editor, *, revision: int | None = None, dry_run: bool = False) -> Policy:
        """See `Policies.delete`."""
        return self._policies.delete(no, editor, revision=revision, dry_run=dry_run)

    def put(self, edits: Sequence[Edit], editor: Editor, *, replace: bool, dry_run: bool = False) -> Sequence[Done]:
        """See `Policies.put`."""
        return self._policies.put(edits, editor, replace=replace, dry_run=dry_run)

    def scopes(self, policies: Sequence[Policy]) -> Sequence[Mapping[str, str]]:
        """See `Policies.scopes`."""
        return self._policies.scopes(policies)

    def failures(self, policies: Sequence[Policy]) -> Mapping[int, Failures]:
        """See `Policies.failures`."""
        return self._policies.failures(policies)

    def failed(self) -> int:
        """See `Policies.failed`."""
        return self._policies.failed()

    def simulate(self, question: Question, rules: Sequence[Rule], state: Mapping[str, int], clear: Mapping[str, str]) -> Sequence[Asked]:
        """See `Policies.simulate`."""
        now_ns = self._clock.now_ns()
        with self._store.read() as transaction:
            call = known_call(transaction, question, now_ns)
            call = _of_trial(call, question, rules, clear)
            budgets = self._budgets
            facts = self._gate.facts(
                transaction, call, lambda: () if budgets is None else budgets.states(transaction, call), list(rules),
                lambda root, read: _overridden(root, read, state),
            )  # fmt: skip
            return [self._said(transaction, rule, call, facts, now_ns) for rule in rules]

    @staticmethod
    def _said(transaction: Transaction, rule: Rule, call: GovernedCall, facts: Facts | None, now_ns: int) -> Asked:
        """What one policy says; of a rate nothing is taken."""
        if not rule.policy.scope.matches(call):
            return Asked(rule.policy, False, "its scope is for other calls")
        asked = judged(rule, call, facts)
        if not asked.matched or rule.policy.rate is None:
            return asked
        wait_s = rates.look(transaction, rule.policy.no, rule.policy.rate, call, now_ns)
        return asked._replace(matched=wait_s > 0, why="" if wait_s else "its rate has room", wait_s=wait_s)


def _overridden(root: str, read: TraceState, state: Mapping[str, int]) -> TraceState:
    """What was read, with what is said in its place."""
    return read._replace(**{of: state[f"{root}.{field}"] for field, of in _FIELDS.items() if f"{root}.{field}" in state})


def _of_trial(call: GovernedCall, question: Question, rules: Sequence[Rule], clear: Mapping[str, str]) -> GovernedCall:
    """The call with the references that a definition on trial was given, which are gone with the trial, where it names the same people."""
    said = dict(rules[0].policy.scope.parts) if len(rules) == 1 else {}
    for kind, asked in (("user", question.asked.user), ("session", question.asked.session)):
        if asked is not None and clear.get(kind, "").strip() == asked and kind in said:
            ref = said[kind].split(" ")[0]
            call = call._replace(user=ref) if kind == "user" else call._replace(session=ref)
    return call
