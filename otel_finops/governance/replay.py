"""Replay: budgets and policies over calls of the past: what they would have stopped, what it would have cost, and what would be saved.

Calls are asked for again in the order of time, and decided on by the code that decides on live ones. What was made is taken to be made
again, unless a rule blocks it; what budgets or policies stopped stays so, unless the rules let it through now. Guardrails, credits and
kill switches are not asked, and what they stopped stays so; approvals are not given: a call that was made although it needs one now is told
as such and taken to be approved.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from heapq import heappop, heappush
from time import monotonic
from typing import Final, Literal, NamedTuple, TypeAlias

from otel_finops.base.clock import Clock
from otel_finops.base.limits import REPLAY_CALLS_MAX, REPLAY_EXAMPLES_MAX, REPLAY_S_MAX
from otel_finops.base.times import NS_PER_DAY
from otel_finops.base.zones import date_in, zone_of
from otel_finops.governance.budgets import BudgetSet
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.decide import Asked, Decider, Estimate, Gates, Question, Verdict
from otel_finops.governance.kill_switches import Attempt, Switch
from otel_finops.governance.past_calls import PastCall, past_calls
from otel_finops.governance.policies import PolicySet
from otel_finops.governance.replay_gates import ReplayBudgets, ReplayPolicies, ReplayStates, Taken, warm_up_from
from otel_finops.governance.reservations import Reservations
from otel_finops.governance.rulings import HALTING, Action
from otel_finops.governance.spending import is_foreign
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.fx_store import dated_rates
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.fx import DatedRates, MissingRate
from otel_finops.pricing.quote import PriceableCall
from otel_finops.settings.enforcement import Enforcement
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

Mode: TypeAlias = Literal["enforce", "observe"]


class Selection(NamedTuple):
    """What is replayed.

    Attributes:
        tenants: whose calls; None: everybody's.
        from_ns, to_ns: from when until when, exclusive.
        policies, budgets: that are asked.
        mode: `observe`: what is blocked is made all the same, and counts for the budgets as it does then.
        stopped: with calls that decisions stopped.
    """

    tenants: Collection[str] | None
    from_ns: int
    to_ns: int
    policies: PolicySet
    budgets: BudgetSet
    mode: Mode = "enforce"
    stopped: bool = True


class Sum(NamedTuple):
    """Calls, and their money, pico-USD; those whose cost nobody knows add none."""

    calls: int = 0
    pico: int = 0

    def plus(self, pico: int | None) -> Sum:
        """One call more."""
        return Sum(self.calls + 1, self.pico + (pico or 0))


class Outcome(NamedTuple):
    """What one rule would have done.

    Attributes:
        calls: whose fate it decided, at what they came to; those that were stopped live at their estimates.
        saved_pico: what would not have been spent: blocked calls, and what cheaper models cost less.
    """

    gate: str
    rule: str
    rule_id: str | None
    action: Action
    calls: Sum
    saved_pico: int


class Example(NamedTuple):
    """A call whose fate a rule decided, the first ones.

    Attributes:
        past: the call.
        verdict: what was decided.
        saved_pico: what would not have been spent.
    """

    past: PastCall
    verdict: Verdict
    saved_pico: int


class Replayed(NamedTuple):
    """What came of a replay.

    Attributes:
        made: calls that stand in the ledger.
        stopped: calls that live decisions stopped, at their estimates.
        again: calls that would have been made, at what they would have cost.
        by_action: what was decided, by action; of `downgrade` with what the other model costs.
        saved_pico: what would not have been spent of `made`; negative where dearer models are chosen.
        unknown: calls whose cost nobody knows; they are in the counts and not in the sums.
        outcomes: by rule, those that decided most first.
        failed: how often a policy could not be evaluated, by number.
        until_ns: up to where it came; before `to_ns` where there were too many calls, or it took too long.
    """

    made: Sum
    stopped: Sum
    again: Sum
    by_action: Mapping[Action, Sum]
    saved_pico: int
    unknown: int
    outcomes: Sequence[Outcome]
    examples: Sequence[Example]
    failed: Mapping[int, int]
    until_ns: int


class Replays:
    """Replays budgets and policies over one ledger.

    Args:
        engine: the prices, for what another model would have cost; what gives those of now.
        settings: as live decisions have them; the mode is the replay's.
        figures: sums of traces are kept, so that depths of traces are known.
    """

    def __init__(self, store: Store, clock: Clock, engine: Callable[[], PriceEngine], settings: Enforcement, *, figures: bool) -> None:
        self._store = store
        self._clock = clock
        self._engine = engine
        self._settings = settings
        self._figures = figures

    def run(self, selection: Selection) -> Replayed:
        """Replay; reads one snapshot, and writes nothing."""
        with self._store.read() as transaction:
            rates = _rates(transaction, selection)
            states = ReplayStates(self._clock, figures=self._figures)
            budgets = ReplayBudgets(selection.budgets, rates)
            policies = ReplayPolicies(selection.policies, states, self._clock)
            settings = self._settings.model_copy(update={"mode": selection.mode})
            decider = Decider(Gates(_NoSwitches(), None, None, budgets, policies), settings, Reservations((), 0, 0))
            course = _Course(selection, decider, budgets, states, self._engine(), transaction)
            return course.run()._replace(failed=policies.failed)


class _NoSwitches:
    """Kill switches are not replayed: they hold at once and for what is, whatever it costs."""

    def stopping(self, call: Attempt) -> Sequence[Switch]:
        return ()


class _Ending(NamedTuple):
    """A call that is under way, and what it was held at."""

    past: PastCall
    asked: GovernedCall
    held: Taken
    actual: Taken
    note: list[int]


class _Course:
    """One replay on its way."""

    def __init__(
        self,
        selection: Selection,
        decider: Decider,
        budgets: ReplayBudgets,
        states: ReplayStates,
        engine: PriceEngine,
        transaction: Transaction,
    ) -> None:
        self._selection = selection
        self._decider = decider
        self._budgets = budgets
        self._states = states
        self._engine = engine
        self._transaction = transaction
        self._under_way: list[tuple[int, int, _Ending]] = []
        self._tally = _Tally()

    def run(self) -> Replayed:
        selection = self._selection
        warm_ns = warm_up_from(selection.policies, selection.budgets, selection.from_ns)
        began, until_ns = monotonic(), selection.to_ns
        calls = past_calls(self._transaction, selection.tenants, warm_ns, selection.to_ns, stopped=selection.stopped)
        for seen, past in enumerate(calls, 1):
            if seen > REPLAY_CALLS_MAX or monotonic() - began > REPLAY_S_MAX:
                until_ns = max(selection.from_ns, past.asked.at_ns)
                break
            self._end_until(past.asked.at_ns)
            begun_ns = past.asked.at_ns if past.call is None else past.call.at_ns
            if begun_ns >= selection.from_ns:
                self._replayed(past)
            elif past.call is not None:
                self._made(past, past.asked, past.call)
        return self._tally.result(until_ns)

    def _replayed(self, past: PastCall) -> None:
        """Decide on a call again; what was stopped by what is not replayed stays so."""
        if past.call is None and past.gate not in _REPLAYED:
            self._tally.stays(past)
            return
        verdict = self._decider.decide(self._transaction, self._question(past), past.asked, None, keep=False, now_ns=past.asked.at_ns)
        actual = self._actual(past, verdict)
        is_made = self._is_made(past, verdict.action)
        self._tally.note(past, verdict, actual if is_made else None)
        if is_made:
            self._made(past, verdict.call, actual)

    def _is_made(self, past: PastCall, action: Action) -> bool:
        """Whether the call would be made: one that was stopped only where nothing stops it now."""
        if past.call is None:
            return action not in HALTING
        return action != "block" or self._selection.mode == "observe"

    def _actual(self, past: PastCall, verdict: Verdict) -> GovernedCall:
        """The call as it would be made: by the other model of a downgrade, one that was stopped at its estimate."""
        made = past.asked if past.call is None else past.call
        if verdict.action != "downgrade" or verdict.observed or verdict.call.model == made.model:
            return made
        pico = self._by_model(past, verdict.call.model or "").pico
        return made._replace(model=verdict.call.model, pico=pico)

    def _question(self, past: PastCall) -> Question:
        estimate = Estimate(past.asked.pico, "given" if past.asked.pico is not None else "unknown", (), "nobody knows what it cost")
        asked = Asked(past.decision_id or "", past.asked, None, None, {})
        return Question(asked, estimate, lambda model: self._by_model(past, model))

    def _by_model(self, past: PastCall, model: str) -> Estimate:
        """What the same counts would have cost by another model then; of what was stopped nobody knows the counts."""
        quote = None if past.entry is None else self._engine.quote(_priceable(past.entry, model))
        if quote is None or quote.cost_pico is None:
            return Estimate(None, "unknown", (), f"nobody knows what it would have cost by {model}")
        return Estimate(quote.cost_pico, "priced")

    def _made(self, past: PastCall, asked: GovernedCall, actual: GovernedCall) -> None:
        """Let a call go on: held at its estimate until it is over."""
        held, came_to = Taken.of(asked.pico, asked.tokens), Taken.of(actual.pico, actual.tokens)
        self._budgets.keep(asked, held)
        note = self._states.let_through(asked, held)
        ending = _Ending(past._replace(call=actual), asked, held, came_to, note)
        heappush(self._under_way, (max(past.ended_ns, asked.at_ns), self._tally.order(), ending))

    def _end_until(self, now_ns: int) -> None:
        while self._under_way and self._under_way[0][0] <= now_ns:
            _, _, one = heappop(self._under_way)
            assert one.past.call is not None, "only what is made is under way"
            self._budgets.keep(one.asked, one.held, -1)
            self._budgets.book(one.past.call, one.actual)
            self._states.ended(one.asked, one.note, one.held, one.actual)


_REPLAYED: Final = frozenset(("budget", "policy"))
_Key: TypeAlias = tuple[str, str, str | None, Action]


class _Tally:
    """Sums of a replay."""

    def __init__(self) -> None:
        self._made = self._stopped = self._again = Sum()
        self._by_action: dict[Action, Sum] = {}
        self._outcomes: dict[_Key, tuple[Sum, int]] = {}
        self._examples: list[Example] = []
        self._saved = self._unknown = self._drawn = 0

    def order(self) -> int:
        """A further number, so that what happens at one moment keeps its order."""
        self._drawn += 1
        return self._drawn

    def stays(self, past: PastCall) -> None:
        """Count a call that was stopped, and would be again."""
        self._unknown += past.asked.pico is None
        self._stopped = self._stopped.plus(past.asked.pico)

    def note(self, past: PastCall, verdict: Verdict, actual: GovernedCall | None) -> None:
        """Count one call; `actual` as it would be made, None: it would not be."""
        was = past.asked if past.call is None else past.call
        self._unknown += was.pico is None
        if past.call is None:
            self._stopped = self._stopped.plus(was.pico)
        else:
            self._made = self._made.plus(was.pico)
        if actual is not None:
            self._again = self._again.plus(actual.pico)
        spent_before = 0 if past.call is None else was.pico or 0
        saved = spent_before - (0 if actual is None else actual.pico or 0) if past.call is not None else 0
        self._saved += saved
        self._by_action[verdict.action] = self._by_action.get(verdict.action, Sum()).plus(was.pico)
        self._blame(past, verdict, was.pico, saved)

    def _blame(self, past: PastCall, verdict: Verdict, pico: int | None, saved: int) -> None:
        decided = verdict.deciding
        if decided is None or verdict.action == "allow":
            return
        key = (decided.gate, decided.rule, decided.rule_id, verdict.action)
        calls, saved_before = self._outcomes.get(key, (Sum(), 0))
        self._outcomes[key] = calls.plus(pico), saved_before + saved
        if len(self._examples) < REPLAY_EXAMPLES_MAX:
            self._examples.append(Example(past, verdict, saved))

    def result(self, until_ns: int) -> Replayed:
        """All of it."""
        outcomes = [Outcome(*key, calls, saved) for key, (calls, saved) in self._outcomes.items()]
        outcomes.sort(key=lambda one: (-one.calls.calls, one.gate, one.rule, one.rule_id or ""))
        return Replayed(
            self._made, self._stopped, self._again, self._by_action, self._saved, self._unknown, outcomes, self._examples, {}, until_ns
        )


def _priceable(entry: Entry, model: str) -> PriceableCall:
    """A booked call as if it had been made by another model of the same provider."""
    return PriceableCall(
        entry.provider, (model,), entry.usage, entry.started_ns, entry.usage_source, entry.unpriced_reason, entry.error_type,
        entry.service_tier, entry.region_kind, entry.region, entry.speed, account=entry.account,
    )  # fmt: skip


def _rates(transaction: Transaction, selection: Selection) -> dict[str, DatedRates]:
    """The rates of the currencies that limits are in, for every day of the replay; of one without any, none."""
    found: dict[str, DatedRates] = {}
    for budget in selection.budgets:
        if not is_foreign(budget) or budget.currency in found:
            continue
        start_ns = warm_up_from(selection.policies, selection.budgets, selection.from_ns)
        moments = range(start_ns, selection.to_ns + NS_PER_DAY, NS_PER_DAY)
        days = {date_in(at_ns, zone_of(budget.period.zone)).isoformat() for at_ns in moments}
        try:
            found[budget.currency] = dated_rates(transaction, budget.currency, sorted(days))
        except MissingRate:
            found[budget.currency] = DatedRates(budget.currency, {}, {})
    return found
