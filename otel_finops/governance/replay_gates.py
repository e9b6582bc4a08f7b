"""Budgets and policies over calls of the past: the same questions as live ones, over sums that are kept in memory as the replay goes on.

Which budgets and policies are for a call, what room is left, which condition holds and in which order all that is asked is decided by the
code that decides on live calls; here is only what it looks at.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Generic, NamedTuple, TypeVar, cast

from otel_finops.base.clock import Clock
from otel_finops.base.limits import REPLAY_TRACES_MAX
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.base.zones import date_in, zone_of
from otel_finops.governance.budget_gate import BudgetGate
from otel_finops.governance.budgets import Budget, BudgetSet, BudgetStatus
from otel_finops.governance.call_state import MINUTE_NS, CallStates, TraceState
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.counts import Matches
from otel_finops.governance.decide import BudgetStates
from otel_finops.governance.followed import Followed
from otel_finops.governance.periods import Period, Window
from otel_finops.governance.policies import Policy, PolicySet
from otel_finops.governance.policy_gate import StoredPolicyGate, judged, ruling_of
from otel_finops.governance.rates import Rate
from otel_finops.governance.rulings import HALTING, Ruling
from otel_finops.governance.spending import is_foreign
from otel_finops.pricing.fx import DatedRates, MissingRate
from otel_finops.store.unit_of_work import Transaction

Definitions = TypeVar("Definitions")
_DEPTH: Final = frozenset(("depth",))


class Fixed(Generic[Definitions]):
    """Definitions that nobody changes meanwhile, where others follow stored ones."""

    def __init__(self, held: Definitions) -> None:
        self._held = held

    def current(self) -> Definitions:
        """What holds."""
        return self._held


# --- budgets -------------------------------------------------------------------------------------------------------


class Taken(NamedTuple):
    """What a call takes of budgets: money of a call whose cost nobody knows is none."""

    pico: int
    tokens: int
    calls: int

    @classmethod
    def of(cls, pico: int | None, tokens: int) -> Taken:
        """Of one call."""
        return cls(pico or 0, tokens, 1)

    def plus(self, other: Taken, sign: int = 1) -> Taken:
        """Both together, or this one without the other."""
        return Taken(self.pico + sign * other.pico, self.tokens + sign * other.tokens, self.calls + sign * other.calls)

    def amount(self, budget: Budget) -> int:
        """In what the budget counts, money in USD."""
        return self.pico if budget.kind == "money" else self.tokens if budget.kind == "tokens" else self.calls


_NOTHING: Final = Taken(0, 0, 0)


class _Windows:
    """The windows of periods at instants that mostly go on; the last one of each is remembered."""

    def __init__(self) -> None:
        self._last: dict[Period, tuple[Window, Window]] = {}

    def at(self, period: Period, at_ns: int) -> tuple[Window, Window]:
        """The piece in which a call of an instant is counted, and the window that runs then."""
        last = self._last.get(period)
        if last is None or not last[0].has(at_ns):
            last = self._last[period] = (period.piece(at_ns), period.window(at_ns))
        return last


class ReplayBudgets(BudgetGate):
    """A `BudgetHolder` over budgets of which the replay itself keeps what was spent.

    Args:
        rates: of the currencies that limits are in, for the days of the replay.
    """

    def __init__(self, budgets: BudgetSet, rates: Mapping[str, DatedRates]) -> None:
        super().__init__(cast("Followed[BudgetSet]", Fixed(budgets)))
        self._all = Matches(budgets)
        self._rates = rates
        self._windows = _Windows()
        self._spent: dict[int, dict[int, Taken]] = {}
        self._under_way: dict[int, dict[int, Taken]] = {}

    def states(self, transaction: Transaction, call: GovernedCall) -> Sequence[tuple[Budget, BudgetStatus]]:
        """See `BudgetHolder.states`."""
        return [(one, self._status(one, call.at_ns)) for one in self._all.of_call(call) if one.enabled]

    def book(self, call: GovernedCall, taken: Taken) -> None:
        """Count what a call came to, at `call.at_ns`, its start."""
        self._put(self._spent, call, taken, 1)

    def keep(self, call: GovernedCall, taken: Taken, sign: int = 1) -> None:
        """Hold what a call may take, asked for at `call.at_ns`; or (sign -1) give it back."""
        self._put(self._under_way, call, taken, sign)

    def _put(self, kept: dict[int, dict[int, Taken]], call: GovernedCall, taken: Taken, sign: int) -> None:
        for budget in self._all.of_call(call):
            start = self._start(budget, call.at_ns)
            sums = kept.setdefault(budget.no, {})
            sums[start] = sums.get(start, _NOTHING).plus(taken, sign)

    def _start(self, budget: Budget, at_ns: int) -> int:
        """Under which start a call is counted: its window's, its piece's, or its day's where each day has a rate of its own."""
        by_day = is_foreign(budget) and budget.period.kind != "rolling_hours"
        period = Period("daily", budget.period.zone) if by_day else budget.period
        return self._windows.at(period, at_ns)[0].start_ns

    def _status(self, budget: Budget, at_ns: int) -> BudgetStatus:
        _, window = self._windows.at(budget.period, at_ns)
        try:
            booked, reserved = self._sum(budget, self._spent, window), self._sum(budget, self._under_way, window)
            before = budget.period.before(window) if budget.carry_over else None
            earlier = 0 if before is None else sum(self._sum(budget, kept, before) for kept in (self._spent, self._under_way))
            carried = budget.carried(before, earlier)
        except MissingRate as missing:
            return BudgetStatus(window, budget.amount, 0, 0, 0, 0, False, budget.warn_percent, str(missing))
        return BudgetStatus(window, budget.amount + carried, carried, booked, 0, reserved, False, budget.warn_percent)

    def _sum(self, budget: Budget, kept: Mapping[int, Mapping[int, Taken]], window: Window) -> int:
        sums = kept.get(budget.no, {})
        if not is_foreign(budget) and not budget.period.is_rolling:
            return sums.get(window.start_ns, _NOTHING).amount(budget)
        inside = [(start, taken) for start, taken in sums.items() if window.has(start) and taken.pico | taken.tokens | taken.calls]
        if not is_foreign(budget):
            return sum(taken.amount(budget) for _, taken in inside)
        zone, rates, days = zone_of(budget.period.zone), self._rates[budget.currency], dict[str, int]()
        for start, taken in inside:
            day = date_in(start, zone).isoformat()
            days[day] = days.get(day, 0) + taken.pico
        return sum(rates.from_usd(pico, day) for day, pico in days.items())


# --- traces and sessions -------------------------------------------------------------------------------------------


class _Course:
    """What a trace or session came to so far, and the calls of its last minute."""

    def __init__(self) -> None:
        self.sum = _NOTHING
        self.recent: deque[list[int]] = deque()

    def state(self, now_ns: int) -> TraceState:
        while self.recent and self.recent[0][0] < now_ns - MINUTE_NS:
            self.recent.popleft()
        return TraceState(self.sum.pico, self.sum.calls, self.sum.tokens, len(self.recent), sum(one[1] for one in self.recent))


class ReplayStates:
    """What `CallStates` reads of live calls, of those that the replay let through. The depth is that of the whole trace.

    The least recently seen traces and sessions are forgotten where there are too many.
    """

    def __init__(self, clock: Clock, *, figures: bool) -> None:
        self._depths = CallStates(clock, figures=figures)
        self._courses: OrderedDict[tuple[str, str, str], _Course] = OrderedDict()

    def trace(self, transaction: Transaction, call: GovernedCall, fields: frozenset[str]) -> TraceState:
        """The call's trace so far."""
        if call.trace is None:
            return TraceState()
        depth = self._depths.trace(transaction, call, _DEPTH).depth if "depth" in fields else 0
        return self._course("trace", call.tenant, call.trace).state(call.at_ns)._replace(depth=depth)

    def session(self, transaction: Transaction, call: GovernedCall, fields: frozenset[str]) -> TraceState:
        """The call's session so far."""
        return TraceState() if call.session is None else self._course("session", call.tenant, call.session).state(call.at_ns)

    def let_through(self, call: GovernedCall, taken: Taken) -> list[int]:
        """Note a call at its estimate; what is returned belongs to `ended`."""
        note = [call.at_ns, taken.pico]
        for course in self._of(call):
            course.sum = course.sum.plus(taken)
            course.recent.append(note)
        return note

    def ended(self, call: GovernedCall, note: list[int], taken: Taken, actual: Taken) -> None:
        """Put what a call came to in the place of its estimate."""
        note[1] = actual.pico
        for course in self._of(call):
            course.sum = course.sum.plus(taken, -1).plus(actual)

    def _of(self, call: GovernedCall) -> Iterable[_Course]:
        if call.trace is not None:
            yield self._course("trace", call.tenant, call.trace)
        if call.session is not None:
            yield self._course("session", call.tenant, call.session)

    def _course(self, kind: str, tenant: str, name: str) -> _Course:
        key = (kind, tenant, name)
        course = self._courses.get(key)
        if course is None:
            course = self._courses[key] = _Course()
            if len(self._courses) > REPLAY_TRACES_MAX:
                self._courses.popitem(last=False)
        else:
            self._courses.move_to_end(key)
        return course


# --- policies ------------------------------------------------------------------------------------------------------


class _Rates:
    """Rates as `governance.rates` keeps them in the store, in memory."""

    def __init__(self) -> None:
        self._free: dict[tuple[int, str], int] = {}

    def take(self, policy: Policy, rate: Rate, call: GovernedCall) -> float:
        """Take one call; where none is free, nothing is taken and the seconds until one is are given."""
        key, now_ns = (policy.no, rate.key(call)), call.at_ns
        free_ns = self._free.get(key, 0)
        wait_s = rate.wait_s(free_ns, now_ns)
        if not wait_s:
            self._free[key] = max(free_ns, now_ns) + rate.each_ns
            if len(self._free) > REPLAY_TRACES_MAX:
                self._free = {one: free for one, free in self._free.items() if free > now_ns}
        return wait_s

    def give_back(self, policy: Policy, rate: Rate, call: GovernedCall) -> None:
        """Undo `take`, where the call is not made after all."""
        self._free[policy.no, rate.key(call)] -= rate.each_ns


class ReplayPolicies(StoredPolicyGate):
    """A `PolicyGate` over policies of which the replay itself keeps rates, and what traces and sessions came to.

    Attributes:
        failed: how often a policy could not be evaluated and was skipped, by number.
    """

    def __init__(self, policies: PolicySet, states: ReplayStates, clock: Clock) -> None:
        super().__init__(cast("Followed[PolicySet]", Fixed(policies)), cast("CallStates", states), clock)
        self._policies = policies
        self._rates = _Rates()
        self.failed: dict[int, int] = {}

    def rule(self, transaction: Transaction, call: GovernedCall, budgets: BudgetStates, *, keep: bool) -> Ruling | None:
        """See `PolicyGate.rule`; nothing is ever written."""
        rules = self._policies.of(call)
        facts = self.facts(transaction, call, budgets, rules) if rules else None
        taken: list[tuple[Policy, Rate]] = []
        for rule in rules:
            asked = judged(rule, call, facts)
            if asked.failed:
                self.failed[rule.policy.no] = self.failed.get(rule.policy.no, 0) + 1
            elif asked.matched and (rate := rule.policy.rate) is not None:
                asked = asked._replace(wait_s=self._rates.take(rule.policy, rate, call))
                if not asked.wait_s:
                    taken.append((rule.policy, rate))
                    continue
            if asked.matched:
                ruling = ruling_of(asked)
                if ruling.action in HALTING:
                    for policy, rate in taken:
                        self._rates.give_back(policy, rate, call)
                return ruling
        return None


LEAST_WARM_UP_NS: Final = 24 * 3600 * NS_PER_SECOND


def warm_up_from(policies: PolicySet, budgets: BudgetSet, from_ns: int) -> int:
    """From when on calls must be known, so that budgets, traces and sessions stand as they stood when the replay begins."""
    starts = [from_ns]
    for budget in budgets:
        window = budget.period.window(from_ns)
        before = budget.period.before(window) if budget.carry_over else None
        starts.append(window.start_ns if before is None else before.start_ns)
    if not policies.asks.isdisjoint(("trace", "session")):
        starts.append(from_ns - LEAST_WARM_UP_NS)
    return max(0, min(starts))
