"""Budgets as values: what they say, how they stand, and what others must know of them.

A definition is one revision of a budget; every change makes a new one (`governance.budget_store`). What was spent is counted elsewhere
(`Spending`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import BUDGET_PERCENT_MAX, BUDGET_THRESHOLDS_MAX, NAME_CHARS_MAX
from otel_finops.base.money import PICO_PER_USD
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.periods import Period, Window
from otel_finops.governance.scopes import Scope, ScopeIndex
from otel_finops.pricing.fx import BASE
from otel_finops.store.unit_of_work import Transaction

LimitKind: TypeAlias = Literal["money", "tokens", "calls"]
State: TypeAlias = Literal["ok", "warning", "exceeded"]
WARN_PERCENT: Final = 80
THRESHOLDS: Final = (50, 80, 100)
AMOUNT_MAX: Final[Mapping[LimitKind, int]] = {"money": 10**15 * PICO_PER_USD, "tokens": 10**18, "calls": 10**18}
"""The largest limits: of money ten times what the world earns in a year, of the others nearly what a signed 64-bit integer holds."""


class Budget(NamedTuple):
    """A budget as one revision defines it.

    Attributes:
        no: its number, the same for ever.
        name: what people call it; no two standing ones of one tenant (or of several) have the same.
        scope: for which calls it is.
        kind: what is limited.
        amount: the limit of a window: millionths of a millionth of the currency, tokens, or calls.
        currency: ISO code; `USD` where no money is limited.
        period: from when until when, in its own zone.
        hard: a call that does not fit is halted; a soft budget only tells.
        warn_percent: from how much of the limit on its state is `warning`.
        thresholds: at how many percent of the limit a crossing is recorded; ascending, each once.
        carry_over: what the window before left of `amount` may be spent in this one, and only in this one (`carried`).
        parent: the number of the budget that it is a part of; None: of none.
        fail_open: whether calls pass while the store cannot tell how it stands; None: as the settings say.
        enabled: False: it is not asked, but counted on.
        revision: of this definition; larger than that of every earlier change of any budget.
        counting: the revision since which it counts what it counts now: another `counted` is another count.
        made_ns, made_by: when it was first defined, and by whom.
        changed_ns, changed_by: when this revision was made, and by whom.
        of_all: who made it sees all tenants; nobody who is bound to some changes it.
    """

    no: int
    name: str
    scope: Scope
    kind: LimitKind
    amount: int
    currency: str = BASE
    period: Period = Period()
    hard: bool = False
    warn_percent: int = WARN_PERCENT
    thresholds: tuple[int, ...] = THRESHOLDS
    carry_over: bool = False
    parent: int | None = None
    fail_open: bool | None = None
    enabled: bool = True
    revision: int = 0
    counting: int = 0
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
    def counted(self) -> tuple[Scope, LimitKind, str, Period]:
        """On what its counts depend: where two definitions agree in it, the counts of one are those of the other."""
        return self.scope, self.kind, self.currency, self.period

    def taken(self, call: GovernedCall) -> int | None:
        """How much of its limit a call takes, in its unit (money in pico-USD, whatever its currency); None: nobody knows the money."""
        return call.pico if self.kind == "money" else call.tokens if self.kind == "tokens" else 1

    def carried(self, before: Window | None, spent_before: int) -> int:
        """What it may spend beyond its amount: what the window before left of the amount, if the budget was made before that one ended.

        Args:
            before: the window before, `Period.before`.
            spent_before: in that window, in the unit of `amount`.
        """
        if not self.carry_over or before is None or before.end_ns <= self.made_ns:
            return 0
        return min(self.amount, max(0, self.amount - spent_before))


class BudgetStatus(NamedTuple):
    """How a budget stands at an instant. All amounts are in the unit of its `amount`.

    Attributes:
        window: which runs.
        limit: what may be spent in it, `carried` included.
        carried: what the window before left.
        booked: what settled calls of the window came to.
        pending: calls that are journalled and not yet settled.
        reserved: held for calls that are being made.
        filling: what was booked before the budget was made is still being counted; `booked` grows until then.
        warn_percent: of its definition.
        fault: what is missing to tell `booked` wholly, for people (a day with spend has no exchange rate); None: nothing is.
    """

    window: Window
    limit: int
    carried: int
    booked: int
    pending: int
    reserved: int
    filling: bool = False
    warn_percent: int = WARN_PERCENT
    fault: str | None = None

    @property
    def spent(self) -> int:
        """Booked, pending and reserved."""
        return self.booked + self.pending + self.reserved

    @property
    def remaining(self) -> int:
        """What is left; negative where more was spent."""
        return self.limit - self.spent

    @property
    def ratio(self) -> Fraction:
        """Spent of the limit; of a limit of nothing 1."""
        return Fraction(self.spent, self.limit) if self.limit else Fraction(1)

    @property
    def state(self) -> State:
        """Exceeded as soon as nothing is left, warning from `warn_percent` on."""
        if self.spent >= self.limit:
            return "exceeded"
        return "warning" if self.spent * 100 >= self.limit * self.warn_percent else "ok"


_FEW: Final = 10
"""An index is made from the former one where fewer than a tenth of the budgets changed."""


class BudgetSet:
    """All standing budgets at one revision; never changed.

    Attributes:
        revision: the last change of any budget that is in it; 0: there never was one.
    """

    def __init__(self, revision: int, budgets: Mapping[int, Budget]) -> None:
        self.revision: Final = revision
        self._by_no = dict(sorted(budgets.items()))
        self._index = ScopeIndex((one.scope, one.no) for one in self._by_no.values())

    def changed(self, revision: int, changes: Mapping[int, Budget | None]) -> BudgetSet:
        """The set of a later revision.

        Args:
            changes: by number: what stands now, None for what stands no more; new ones have larger numbers than all before.
        """
        by_no: dict[int, Budget] = {**self._by_no}
        for no, budget in sorted(changes.items()):
            if budget is None:
                by_no.pop(no, None)
            else:
                by_no[no] = budget
        if len(changes) * _FEW > len(by_no):
            return BudgetSet(revision, by_no)
        later = BudgetSet(revision, {})
        later._by_no = by_no
        gone = ((self._by_no[no].scope, no) for no in changes if no in self._by_no)
        later._index = self._index.replaced(gone, ((by_no[no].scope, no) for no in changes if no in by_no))
        return later

    def __len__(self) -> int:
        return len(self._by_no)

    def __iter__(self) -> Iterator[Budget]:
        """By number."""
        return iter(self._by_no.values())

    def get(self, no: int) -> Budget | None:
        """The budget of a number; None when none stands."""
        return self._by_no.get(no)

    def of(self, call: GovernedCall) -> list[Budget]:
        """Those that are for a call, disabled ones too, by number: the order in which their counters are locked."""
        return [self._by_no[no] for no in sorted(self._index.of(call))]

    def children(self, no: int | None) -> Sequence[Budget]:
        """The budgets directly within one, by number; None: those within none."""
        return self._children.get(no, ())

    @cached_property
    def _children(self) -> Mapping[int | None, Sequence[Budget]]:
        found: dict[int | None, list[Budget]] = {}
        for one in self:
            found.setdefault(one.parent, []).append(one)
        return found

    def above(self, budget: Budget) -> Iterator[Budget]:
        """Its parent, that one's parent, and so on."""
        parent = None if budget.parent is None else self._by_no.get(budget.parent)
        while parent is not None:
            yield parent
            parent = None if parent.parent is None else self._by_no.get(parent.parent)


class Counting(Protocol):
    """Who counts is told of every change, in the transaction that makes it, while nobody can append to the ledger."""

    def changed(self, transaction: Transaction, before: Budget | None, after: Budget | None) -> None:
        """A budget was made (`before` None), changed, or taken away (`after` None)."""
        ...


class Spending(Protocol):
    """What was spent of budgets."""

    def statuses(self, transaction: Transaction, budgets: Sequence[Budget], now_ns: int) -> Mapping[int, BudgetStatus]:
        """How these budgets stand, by number; one whose currency has no rate of a day with spend says so in `fault`."""
        ...

    def daily(self, transaction: Transaction, budget: Budget, window: Window) -> Mapping[int, int]:
        """What was booked in each step of a window (`Period.steps`), by the step's start, in the unit of its amount; steps without
        anything may be missing.

        Raises:
            MissingRate: there is no exchange rate for one of the days.
        """
        ...


def checked(budget: Budget) -> Budget:
    """The budget in its one form.

    Raises:
        BadInput: a field that can be none; the message begins with its name.
    """
    name, currency = budget.name.strip(), budget.currency.upper()
    if not name or len(name) > NAME_CHARS_MAX:
        raise BadInput(f"name: 1 to {NAME_CHARS_MAX} characters")
    if budget.amount < 0:
        raise BadInput("amount: a limit is not negative")
    if budget.amount > AMOUNT_MAX[budget.kind]:
        raise BadInput("amount: more than any bill; a budget without a limit is none")
    if budget.kind != "money" and currency != BASE:
        raise BadInput(f"currency: a limit in {budget.kind} has none")
    if not 1 <= budget.warn_percent <= 100:
        raise BadInput("warn_percent: 1 to 100 percent of the limit")
    if budget.carry_over and budget.period.is_rolling:
        raise BadInput("carry_over: rolling windows overlap, so that nothing is left of one for the next; take a period of the calendar")
    return budget._replace(name=name, currency=currency, thresholds=_checked_thresholds(budget.thresholds))


def _checked_thresholds(percents: Collection[int]) -> tuple[int, ...]:
    ascending = tuple(sorted(set(percents)))
    if len(ascending) > BUDGET_THRESHOLDS_MAX:
        raise BadInput(f"thresholds: at most {BUDGET_THRESHOLDS_MAX} of them")
    if ascending and not (ascending[0] >= 1 and ascending[-1] <= BUDGET_PERCENT_MAX):
        raise BadInput(f"thresholds: 1 to {BUDGET_PERCENT_MAX} percent of the limit")
    return ascending


def oddities(budget: Budget, held: BudgetSet) -> list[str]:
    """What people should know of a budget that may stand all the same, in sentences."""
    parent = None if budget.parent is None else held.get(budget.parent)
    if parent is None or (parent.kind, parent.currency) != (budget.kind, budget.currency):
        return []
    if budget.amount > parent.amount and budget.period.hours <= parent.period.hours:
        return [f"Its limit is above that of budget {parent.no} ({parent.name}), of which it is a part: that one is exhausted first."]
    return []


def named(budgets: Iterable[Budget], name: str, tenant: str | None) -> Budget | None:
    """The budget of this name and tenant; None when none is called so."""
    return next((one for one in budgets if one.name == name and one.tenant == tenant), None)
