"""What operations on governance change and ask for, as protocols, by the desk that does it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from otel_finops.base.errors import KeyReused
from otel_finops.trees.queries import Tenants

if TYPE_CHECKING:  # these rooms load a database toolkit, which `--help` must not wait for
    from otel_finops.governance.approvals import Approval, Grant, Query, Use
    from otel_finops.governance.budget_store import Edit
    from otel_finops.governance.budgets import Budget, BudgetSet, BudgetStatus
    from otel_finops.governance.burndown import Burndown
    from otel_finops.governance.credit_desk import GrantState, LowBalance, Movement, PoolState
    from otel_finops.governance.credit_store import Draft as PoolDraft
    from otel_finops.governance.credit_store import Editor as PoolEditor
    from otel_finops.governance.credits import Pool, PoolSet
    from otel_finops.governance.decide import Question
    from otel_finops.governance.decision_desk import Posed
    from otel_finops.governance.decisions import Decision, Key, Stopped
    from otel_finops.governance.decisions import Query as DecisionQuery
    from otel_finops.governance.followed import Revision
    from otel_finops.governance.policies import Policy, PolicySet
    from otel_finops.governance.policies import Rule as PolicyRule
    from otel_finops.governance.policy_gate import Asked as PolicyAsked
    from otel_finops.governance.policy_store import Done as PolicyDone
    from otel_finops.governance.policy_store import Edit as PolicyEdit
    from otel_finops.governance.policy_store import Failures as PolicyFailures
    from otel_finops.governance.replay import Replayed, Selection
    from otel_finops.governance.reservations import Reservation
    from otel_finops.governance.scopes import Scope
    from otel_finops.governance.thresholds import Crossing
    from otel_finops.governance.verdicts import Report
    from otel_finops.identity.principals import Editor


class Credits(Protocol):
    """Prepaid pools of credits, and their money.

    Raises:
        NotFound: there is no such pool for who asks or changes.
        Forbidden: only who sees all tenants may change it or move its money.
        Busy, Unavailable: the store cannot answer now.
    """

    def all(self) -> PoolSet:
        """All pools, closed ones too, as they are stored at this moment."""
        ...

    def find(self, no: int, tenants: Tenants) -> Pool:
        """The pool of this number, if it is one of these tenants'."""
        ...

    def history(self, no: int, tenants: Tenants, before_revision: int, limit: int) -> Sequence[Pool]:
        """A pool's definitions, newest first, those before a revision."""
        ...

    def clear(self, scopes: Sequence[Scope]) -> Sequence[Mapping[str, str]]:
        """Scopes as people wrote them, in the same order."""
        ...

    def create(self, draft: PoolDraft, amount: int, editor: PoolEditor, *, dry_run: bool = False) -> Pool:
        """Make a pool with so much in it. Raises BadInput for what can be none."""
        ...

    def update(self, no: int, changes: Mapping[str, Any], editor: PoolEditor, revision: int | None, *, dry_run: bool = False) -> Pool:
        """Change a pool's `name`, `hard` or `low`. Raises BadInput as `create`, Conflict for another revision than seen."""
        ...

    def close(self, no: int, editor: PoolEditor, *, dry_run: bool = False) -> Pool:
        """Let a pool pay for no further call. Raises BadInput for one that is closed."""
        ...

    def states(self, pools: Iterable[Pool]) -> Mapping[int, PoolState]:
        """How these stand now, by number."""
        ...

    def fund(
        self, no: int, amount: int, expires_ns: int | None, editor: PoolEditor, *, dry_run: bool = False
    ) -> tuple[PoolState, PoolState]:
        """Put money in, which lapses at an instant or (None) never; before and after. Raises BadInput for a pool that takes none."""
        ...

    def adjust(self, no: int, amount: int, editor: PoolEditor, *, dry_run: bool = False) -> tuple[PoolState, PoolState]:
        """Put money in, or take it out; before and after. Raises BadInput for more than can be taken out."""
        ...

    def movements(self, no: int, before_no: int, limit: int) -> Sequence[Movement]:
        """What moved a pool's money, newest first, those before a number."""
        ...

    def grants(self, no: int, before_no: int, limit: int) -> Sequence[GrantState]:
        """A pool's grants, newest first, those before a number."""
        ...

    def alerts(self, tenants: Tenants, before_no: int, limit: int) -> Sequence[LowBalance]:
        """The times that pools of these tenants fell low, newest first, those before a number."""
        ...

    def expire(self) -> tuple[int, int]:
        """Post what has lapsed of grants; of how many pools that were due, and how many of them had something to lapse."""
        ...

    def faults(self, pools: Sequence[Pool]) -> Sequence[str]:
        """What does not agree of these pools' accounts, postings, holds and grants."""
        ...


class Decisions(Protocol):
    """Deciding on calls, and what is held for them.

    Raises:
        Busy, Unavailable: the store cannot answer now; `decide_all` answers all the same.
    """

    def new_id(self) -> str:
        """An id for a decision, and for what it holds."""
        ...

    @property
    def waits(self) -> bool:
        """Whether posing a question may take long: guardrails are asked."""
        ...

    def posed(self, question: Question, key: Key | None = None) -> Posed:
        """A question with what switches and guardrails say, asked here and now.

        Args:
            key: under which the caller may ask again.
        """
        ...

    def decide_all(self, posed: Sequence[Posed]) -> Sequence[Mapping[str, Any] | KeyReused]:
        """Decide on calls, on record, and hold what they take; with the figures of all tenants' rules, which `told` takes out. KeyReused
        in place of an answer: the key was sent before with another question."""
        ...

    def away(self, posed: Posed) -> Mapping[str, Any]:
        """What is answered while the store cannot be asked; it stands on record nowhere."""
        ...

    def try_out(self, posed: Posed) -> Mapping[str, Any]:
        """The answer that would be given now; nothing is written or held."""
        ...

    def settle(self, reservation_id: str, actual_pico: int | None, tokens: int | None, tenants: Tenants) -> Reservation:
        """Turn what is held into what the call came to (None: as estimated).

        Raises:
            NotFound: these tenants have no such reservation.
            Conflict: it is settled already, at another amount.
        """
        ...

    def release(self, reservation_id: str, tenants: Tenants) -> Reservation:
        """Give back what is held for a call that is not made; raises NotFound."""
        ...

    def reservation(self, reservation_id: str, tenants: Tenants) -> Reservation:
        """One reservation; raises NotFound."""
        ...

    def reservations(self, tenants: Tenants, state: str | None, before: tuple[int, str] | None, limit: int) -> Sequence[Reservation]:
        """A page of reservations, newest first; `before` is the place (when made, id) of the last one of the page before."""
        ...

    def page(self, query: DecisionQuery, before_no: int | None, limit: int) -> tuple[Sequence[Decision], Mapping[str, str]]:
        """A page of decisions, newest first, and the clear ids of their subjects."""
        ...

    def find(self, decision_id: str, tenants: Tenants) -> tuple[Decision, Mapping[str, str]] | None:
        """One decision and the clear ids of its subjects; None when there is none that these tenants may see."""
        ...

    def stopped(self, query: DecisionQuery) -> Sequence[Stopped]:
        """What was not simply let through in a span of time."""
        ...

    def stopped_by_rule(self, query: DecisionQuery) -> Sequence[Stopped]:
        """The same by the rule that decided too, the first thousand, those with the most calls first."""
        ...

    def counted(self) -> Mapping[tuple[str, str], int]:
        """All decisions ever made, by action and whether they were only observed (`true`, `false`)."""
        ...

    def expire(self) -> str:
        """Give back all that is held for too long, and say how much that was."""
        ...


class Budgets(Protocol):
    """Budgets: their definitions, and how they stand.

    Raises:
        NotFound: no such budget stands for who asks or changes.
        Busy, Unavailable: the store cannot answer now.
    """

    def all(self) -> BudgetSet:
        """All that stand, as they are stored at this moment."""
        ...

    def find(self, no: int, tenants: Tenants) -> Budget:
        """The budget of this number, if it is for calls of these tenants alone."""
        ...

    def history(self, no: int, tenants: Tenants) -> Sequence[Revision[Budget]]:
        """Every revision of a budget that was for calls of these tenants alone, newest first; of one that was deleted too."""
        ...

    def create(self, edit: Edit, editor: Editor, *, dry_run: bool = False) -> tuple[Budget, BudgetSet]:
        """Make a budget; it, and all that stand then. Raises BadInput for what can be none."""
        ...

    def update(self, no: int, edit: Edit, editor: Editor, *, dry_run: bool = False) -> tuple[Budget, Budget, BudgetSet]:
        """Change a budget; as it was, as it is, and all that stand then.

        Raises BadInput as `create`, Forbidden where only who sees all tenants may change it, Conflict for another revision than seen.
        """
        ...

    def delete(self, no: int, editor: Editor, *, revision: int | None = None, dry_run: bool = False) -> Budget:
        """Take a budget away; as it was. Raises BadInput where others are within it, Forbidden and Conflict as `update`."""
        ...

    def clear(self, scopes: Sequence[Scope]) -> Sequence[Mapping[str, str]]:
        """The values of scopes by dimension, users and sessions as people call them."""
        ...

    def statuses(self, budgets: Sequence[Budget]) -> Mapping[int, BudgetStatus]:
        """How these stand now, by number."""
        ...

    def crossings(self, tenants: Tenants, no: int | None, before_no: int | None, limit: int) -> Sequence[tuple[Crossing, Budget]]:
        """A page of thresholds that budgets for calls of these tenants alone passed, newest first; `no`: only those of this one."""
        ...

    def burndown(self, budget: Budget, at_ns: int | None) -> Burndown:
        """The course of the window that runs now, or ran at an instant; raises MissingRate where a day with spend has no rate."""
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


class Policies(Protocol):
    """Policies: their definitions, and what they would say of a call.

    Raises:
        NotFound: no such policy stands for who asks or changes.
        Busy, Unavailable: the store cannot answer now.
    """

    def all(self) -> PolicySet:
        """All that stand, as they are stored at this moment."""
        ...

    def history(self, no: int, tenants: Tenants) -> Sequence[Revision[Policy]]:
        """Every revision of a policy that was for calls of these tenants alone, newest first; of one that was deleted too."""
        ...

    def create(self, edit: PolicyEdit, editor: Editor, *, dry_run: bool = False) -> Policy:
        """Make a policy; raises BadInput for what can be none."""
        ...

    def update(self, no: int, edit: PolicyEdit, editor: Editor, *, dry_run: bool = False) -> tuple[Policy, Policy]:
        """Change a policy; as it was and as it is.

        Raises BadInput as `create`, Forbidden where only who sees all tenants may change it, Conflict for another revision than seen.
        """
        ...

    def delete(self, no: int, editor: Editor, *, revision: int | None = None, dry_run: bool = False) -> Policy:
        """Take a policy away; as it was. Raises Forbidden and Conflict as `update`."""
        ...

    def put(self, edits: Sequence[PolicyEdit], editor: Editor, *, replace: bool, dry_run: bool = False) -> Sequence[PolicyDone]:
        """Make a whole set stand, all of it or nothing; `replace` takes away the others that whoever edits may change."""
        ...

    def scopes(self, policies: Sequence[Policy]) -> Sequence[Mapping[str, str]]:
        """The values of scopes by dimension, users and sessions as people call them."""
        ...

    def failures(self, policies: Sequence[Policy]) -> Mapping[int, PolicyFailures]:
        """How often these could not be evaluated, by number; those that always could are left out."""
        ...

    def failed(self) -> int:
        """How often any policy, also one that stands no longer, could not be evaluated."""
        ...

    def simulate(
        self, question: Question, rules: Sequence[PolicyRule], state: Mapping[str, int], clear: Mapping[str, str]
    ) -> Sequence[PolicyAsked]:
        """What each of these says of a call.

        Args:
            state: what traces and sessions are said to have come to, by `root.field`, in place of what they did; money in pico-USD.
            clear: the scope of a definition that is not stored, with clear ids.
        """
        ...


class Guardrails(Protocol):
    """What guardrails said of calls.

    Raises:
        Busy, Unavailable: the store cannot answer now.
    """

    def report(self, tenants: Tenants, from_ns: int | None, to_ns: int | None) -> Report:
        """Of calls of these tenants, asked for or made in a span of time (to is exclusive)."""
        ...


class Replays(Protocol):
    """What rules would have done with calls of the past.

    Raises:
        Busy, Unavailable: the store cannot answer now.
    """

    def run(self, selection: Selection) -> Replayed:
        """Replay; nothing is written."""
        ...
