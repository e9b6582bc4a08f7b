"""Deciding on a call before it is made: every gate is asked in order, and the first that halts it decides.

Kill switches and guardrails are asked before the transaction (`Decider.before`), credits, budgets and policies in it
(`Decider.decide`). Only reading they are asked first; what is admitted is then held, budgets before pools, which is the order of locks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol, TypeAlias

from otel_finops.base.errors import Busy, Unavailable
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.kill_switches import Attempt, Switch, described
from otel_finops.governance.reservations import Reservation, Reservations
from otel_finops.governance.rulings import HALTING, Action, Holder, Reason, Ruling, is_switched_off
from otel_finops.settings.enforcement import Enforcement
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


class Switches(Protocol):
    """The kill switches (`governance.kill_switches.KillSwitches`), from memory."""

    def stopping(self, call: Attempt) -> Sequence[Switch]:
        """Those that stop a call."""
        ...


class Gates(NamedTuple):
    """Everything that is asked of a call, in order; None: there is no such thing here."""

    switches: Switches
    guardrails: Guardrails | None = None
    credits: GroupHolder | None = None
    budgets: BudgetHolder | None = None
    policies: PolicyGate | None = None
    approvals: Approvals | None = None

    @property
    def holders(self) -> tuple[GroupHolder, ...]:
        """What holds, in the order of locks."""
        return tuple(one for one in (self.budgets, self.credits) if one is not None)


class Estimate(NamedTuple):
    """What a call will cost, and how that is known.

    Attributes:
        pico: pico-USD; None: nobody knows.
        source: the caller said so, the price book does, or nobody.
        guessed: counts that are guesses or upper bounds, and of what.
        detail: why it is not known, in words.
    """

    pico: int | None
    source: Literal["given", "priced", "unknown"]
    guessed: tuple[str, ...] = ()
    detail: str | None = None


class Question(NamedTuple):
    """What is to be decided.

    Attributes:
        asked: the call, its `pico` and `tokens` as estimated.
        estimate: how that was made.
        by_model: the estimate of the same call by another model.
    """

    asked: Asked
    estimate: Estimate
    by_model: Callable[[str], Estimate]


class Verdict(NamedTuple):
    """What was decided, or would have been.

    Attributes:
        ruling: of the gate that decided; None: none had anything to say.
        reasons: of all that were asked, in the order of asking.
        observed: whatever was decided, the caller goes on: nothing is enforced.
        call, estimate: as it may be made, with the other model of a downgrade.
        reservation: what is held; None: nothing.
    """

    ruling: Ruling | None
    reasons: tuple[Reason, ...]
    observed: bool
    call: GovernedCall
    estimate: Estimate
    reservation: Reservation | None = None

    @property
    def action(self) -> Action:
        """What was decided."""
        return "allow" if self.ruling is None else self.ruling.action

    @property
    def answered(self) -> Action:
        """What the caller is told to do."""
        return "allow" if self.observed else self.action

    @property
    def deciding(self) -> Reason | None:
        """The reason that decided; None: nobody had anything to say but that the call may be made."""
        return self.ruling.reasons[0] if self.ruling is not None and self.ruling.reasons else None


class _Walk:
    """One call on its way past the gates."""

    def __init__(self, transaction: Transaction, question: Question, call: GovernedCall, *, keep: bool) -> None:
        self.transaction = transaction
        self.question = question
        self.call = call
        self.estimate = question.estimate
        self.keep = keep
        self.reasons: list[Reason] = []
        self.pass_id: str | None = None
        self.passed: Ruling | None = None
        self.stays = False
        """It was to be downgraded, and goes on with its own model, of which nothing was said that stops it."""

    def hears(self, ruling: Ruling | None) -> Ruling | None:
        """Note what is said; the ruling where it halts the call."""
        if ruling is None:
            return None
        self.reasons += ruling.reasons
        return ruling if ruling.action in HALTING else None

    def goes_by(self, model: str) -> None:
        """Go on with another model, at its price."""
        self.estimate = self.question.by_model(model)
        self.call = self.call._replace(model=model, pico=self.estimate.pico)


class Decider:
    """Decides on calls by the gates, under the settings. Safe to use from many threads."""

    def __init__(self, gates: Gates, settings: Enforcement, reservations: Reservations) -> None:
        self._gates = gates
        self._settings = settings
        self._reservations = reservations
        self._enforcing = settings.mode == "enforce"

    @property
    def waits(self) -> bool:
        """Whether `before` may take long."""
        return self._gates.guardrails is not None

    def before(self, asked: Asked) -> Ruling | None:
        """What kill switches and guardrails say; guardrails are not asked of what a switch stops. May take as long as guardrails may.

        Raises:
            Busy, Unavailable: the store's, as long as the switches could not be read once.
        """
        stopped = self._stopped(asked.call)
        if stopped is not None or self._gates.guardrails is None:
            return stopped
        return self._gates.guardrails.rule(asked)

    def lock(self, transaction: Transaction, calls: Sequence[GovernedCall]) -> None:
        """Lock what these calls will be held in, before the first of several is decided."""
        for holder in self._gates.holders:
            holder.lock(transaction, calls)

    def decide(
        self, transaction: Transaction, question: Question, call: GovernedCall, before: Ruling | None, *, keep: bool, now_ns: int
    ) -> Verdict:
        """Ask all other gates, and hold what the call takes where it may be made.

        Args:
            call: the one of the question, with the references of its subjects.
            before: what `before` said.
            keep: False for dry runs: nothing is written.
        """
        walk = _Walk(transaction, question, call, keep=keep)
        ruling = self._walked(walk, before)
        observed = walk.stays or self._is_only_observed(ruling)
        reservation = None
        if keep and (ruling is None or ruling.action not in HALTING):
            reservation, refusal = self._held(walk, now_ns)
            if refusal is not None:
                ruling, observed = refusal, self._is_only_observed(refusal)
        if ruling is not None and ruling.action == "require_approval" and keep and not observed and self._gates.approvals is not None:
            approval_id = self._gates.approvals.request(transaction, walk.call, ruling, question.asked.decision_id)
            ruling = ruling._replace(approval_id=approval_id)
        return Verdict(ruling, tuple(walk.reasons), observed, walk.call, walk.estimate, reservation)

    def away(self, question: Question, before: Ruling | None) -> Verdict:
        """What is decided while the store cannot be asked: by switches, guardrails, and what budgets and settings say of such times."""
        call = question.asked.call
        halted = before if before is not None and before.action in HALTING else None
        reasons = before.reasons if before is not None else ()
        if halted is None:
            said = self._remembered(call) or self._by_settings()
            reasons += said.reasons
            halted = said if said.action in HALTING else None
        return Verdict(halted, reasons, self._is_only_observed(halted), call, question.estimate)

    def _remembered(self, call: GovernedCall) -> Ruling | None:
        """What budgets say of such times; nothing where this process never read them."""
        try:
            return None if self._gates.budgets is None else self._gates.budgets.away(call)
        except (Busy, Unavailable):
            return None

    def _walked(self, walk: _Walk, before: Ruling | None) -> Ruling | None:
        """What is decided, nothing held yet: the first halting ruling, a downgrade, or None."""
        for ruling in self._asked(walk, before):
            if (halted := walk.hears(ruling)) is not None:
                return halted
        if self._gates.policies is None:
            return None
        said = self._gates.policies.rule(walk.transaction, walk.call, lambda: self._states(walk), keep=walk.keep)
        if (halted := walk.hears(said)) is not None:
            return self._unless_passed(walk, halted)
        if said is None or said.action != "downgrade" or said.model is None:
            return None
        return self._downgraded(walk, said, said.model)

    def _asked(self, walk: _Walk, before: Ruling | None) -> Iterator[Ruling | None]:
        """What the gates before the policies say, each asked only when the ones before it let the call through."""
        yield before
        yield from self._held_against(walk)

    def _held_against(self, walk: _Walk) -> Iterator[Ruling | None]:
        if self._gates.credits is not None:
            yield self._gates.credits.check(walk.transaction, walk.call)
        if self._gates.budgets is not None:
            if walk.call.pico is None:
                yield self._of_unknown_cost(walk)
            yield self._gates.budgets.check(walk.transaction, walk.call)

    def _downgraded(self, walk: _Walk, said: Ruling, model: str) -> Ruling:
        """The downgrade, or what stops the other model; only observed, the call goes on with its own whatever is said of that one."""
        call, estimate = walk.call, walk.estimate
        walk.goes_by(model)
        halted = walk.hears(self._stopped(walk.call)) or next(
            (ruling for one in self._held_against(walk) if (ruling := walk.hears(one)) is not None), None
        )
        if not self._enforcing:
            walk.call, walk.estimate, walk.stays = call, estimate, True
        return halted or said

    def _unless_passed(self, walk: _Walk, halted: Ruling) -> Ruling | None:
        """The ruling, unless it asks for an approval and somebody gave one."""
        approvals = self._gates.approvals
        if halted.action != "require_approval" or approvals is None:
            return halted
        walk.pass_id = approvals.pass_for(walk.transaction, walk.call, halted)
        if walk.pass_id is None:
            return halted
        rule, tenant = halted.reasons[0].rule, halted.reasons[0].tenant
        walk.reasons.append(
            Reason("policy", "allow", rule, walk.pass_id, f"approved: {walk.pass_id} lets it pass what {rule} asks for", {}, tenant)
        )
        walk.passed = halted
        return None

    def _held(self, walk: _Walk, now_ns: int) -> tuple[Reservation | None, Ruling | None]:
        """What is held, or what says that it cannot be: somebody else took what was left since it was checked."""
        decision_id = walk.question.asked.decision_id
        made = self._reservations.make(walk.transaction, walk.call, decision_id, now_ns)
        if isinstance(made, Ruling):
            walk.reasons += made.reasons
            return None, made
        if walk.pass_id is None or walk.passed is None or not self._enforcing or self._gates.approvals is None:
            return made, None
        if self._gates.approvals.consume(walk.transaction, walk.pass_id, decision_id, now_ns):
            return made, None
        self._reservations.release(walk.transaction, decision_id, now_ns, None)
        return None, walk.passed

    def _states(self, walk: _Walk) -> Sequence[tuple[Budget, BudgetStatus]]:
        return () if self._gates.budgets is None else self._gates.budgets.states(walk.transaction, walk.call)

    def _of_unknown_cost(self, walk: _Walk) -> Ruling | None:
        """What the settings say of a call whose cost nobody knows under a hard limit of money; None: there is no such limit."""
        limit = next((budget for budget, _ in self._states(walk) if budget.hard and budget.kind == "money"), None)
        if limit is None:
            return None
        action = self._settings.unknown_cost
        done = "passes" if action == "allow" else "does not pass"
        why = walk.estimate.detail or "its cost is not known"
        text = f"{why}; it {done} the hard limit {limit.name} (enforcement.unknown_cost)"
        return Ruling(action, (Reason("budget", action, limit.name, str(limit.no), text, {}, limit.tenant),))

    def _stopped(self, call: GovernedCall) -> Ruling | None:
        stopping = self._gates.switches.stopping(Attempt(call.tenant, call.provider, call.model, call.agent))
        if not stopping:
            return None
        return Ruling("block", tuple(_switched(one, call.tenant) for one in stopping))

    def _by_settings(self) -> Ruling:
        action = self._settings.store_away
        done = "goes on" if action == "allow" else "is blocked"
        text = f"budgets, credits and policies cannot be asked now; the call {done} (enforcement.store_away)"
        return Ruling(action, (Reason("store", action, "enforcement.store_away", None, text),))

    def _is_only_observed(self, ruling: Ruling | None) -> bool:
        """Whether nothing comes of a ruling: kill switches hold in both modes."""
        return not self._enforcing and not is_switched_off(ruling)


_GLOBAL: Final = "everything"


def _switched(one: Switch, tenant: str) -> Reason:
    """People are told why; whoever set it meant them to know."""
    return Reason(
        "kill_switch", "block", one.target.name or _GLOBAL, None, f"kill switch for {described(one.target)}: {one.why}", {}, tenant
    )
