"""Conditions of policies: CEL over a call, whose it is, its estimate, the budgets that are for it, and its trace and session so far.

Reading and checking is `governance.condition_syntax`; here is what conditions may ask for, and their evaluation by the library `cel`,
which is loaded with the first condition. Nothing is null: what is not known is an empty text, 0 or false.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from otel_finops.base.limits import CONDITION_BUDGETS_MAX, CONDITION_US_MAX, NAME_CHARS_MAX
from otel_finops.base.money import PICO_PER_USD, format_usd
from otel_finops.governance.call_state import NotKept, TraceState
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.condition_syntax import Checked, ListOf, Record, Simple, Tags, Type, check, fault

if TYPE_CHECKING:
    from otel_finops.governance.budgets import Budget, BudgetStatus

BudgetStands: TypeAlias = "Sequence[tuple[Budget, BudgetStatus]]"

_TAGS: Final = Tags("tags")
_BUDGET: Final[dict[str, Simple | Tags]] = {
    "name": "string", "kind": "string", "currency": "string", "hard": "bool", "limit": "double", "spent": "double", "reserved": "double",
    "remaining": "double", "ratio": "double", "state": "string",
}  # fmt: skip
_STATE: Final[dict[str, Simple | Tags]] = {
    "cost_usd": "double", "calls": "int", "tokens": "int", "calls_per_minute": "int", "cost_usd_per_minute": "double",
}  # fmt: skip
ROOTS: Final[Mapping[str, Type]] = {
    "call": Record("call", {"provider": "string", "model": "string", "operation": "string", "trace": "string"}),
    "attribution": Record("attribution", {
        **dict.fromkeys(("tenant", "agent", "step", "purpose", "cost_center", "service", "environment"), "string"), "tags": _TAGS,
    }),
    "estimate": Record("estimate", {"usd": "double", "known": "bool", "tokens": "int"}),
    "budget": Record("budget", _BUDGET),
    "budgets": ListOf(Record("budgets", _BUDGET), CONDITION_BUDGETS_MAX),
    "trace": Record("trace", {**_STATE, "depth": "int"}),
    "session": Record("session", _STATE),
}  # fmt: skip
"""What conditions may ask for, with its types; docs/governance.md says what each means."""
_PEOPLE: Final = "people and conversations are stored as references; name them in the policy's scope"
_ELSEWHERE: Final = {
    "attribution.user": _PEOPLE, "attribution.session": _PEOPLE, "call.user": _PEOPLE, "call.session": _PEOPLE,
    "call.tenant": "it is attribution.tenant", "call.agent": "it is attribution.agent", "call.step": "it is attribution.step",
    "call.purpose": "it is attribution.purpose", "call.cost_center": "it is attribution.cost_center",
    "call.service": "it is attribution.service", "call.environment": "it is attribution.environment", "call.tags": "it is attribution.tags",
    "call.tokens": "it is estimate.tokens", "call.cost": "it is estimate.usd", "budget.used": "it is budget.ratio",
}  # fmt: skip


class ConditionFailed(Exception):
    """A condition that could not be evaluated for a call; the text says why and holds no value of it."""


class Condition:
    """A condition that was checked. Immutable, safe to use from many threads.

    Attributes:
        source: as it was written.
        checked: what it asks for.
    """

    def __init__(self, source: str) -> None:
        """Read it.

        Raises:
            ConditionFault: see `condition_syntax.check`.
        """
        self.source = source
        self.checked: Checked = check(source, ROOTS, _ELSEWHERE)
        self._evaluated: Callable[[Any], Any] = _compiled(source).execute

    @property
    def roots(self) -> frozenset[str]:
        """What it asks for at all."""
        return frozenset(root for root, _ in self.checked.fields)

    def tried(self) -> Condition:
        """The same, once it was tried: its regular expressions, and the whole.

        Raises:
            ConditionFault: one of them is none, or takes too long.
        """
        left_us = float(CONDITION_US_MAX)  # for all of them: on a call of which everything is known none may be passed over
        for at, pattern, times in self.checked.patterns:
            left_us -= _tried(at, pattern, times, left_us)
        sample = _sample(self)
        if (took := _fastest(lambda: self._answer(sample))) > CONDITION_US_MAX:
            raise fault(0, f"it takes {took:.0f} microseconds, more than {CONDITION_US_MAX}; say less, or in several policies")
        return self

    def holds(self, facts: Facts) -> bool:
        """Whether it holds for a call.

        Raises:
            ConditionFailed: it cannot be evaluated for this one.
            FinopsError: what it asks for cannot be read.
        """
        try:
            context = facts.context_for(self)
        except NotKept:
            raise ConditionFailed("sums of traces and sessions are not kept while features.runs and features.sessions are off") from None
        answer = self._answer(context)
        if isinstance(answer, Exception):
            raise ConditionFailed(_said(answer)) from None
        return answer is True

    def _answer(self, context: Any) -> Any:
        """What it says, or why it does not."""
        return _guarded(lambda: self._evaluated(context))


class Readings(NamedTuple):
    """From where facts come that cost a look-up; each is asked once at most, and only when a condition asks for it.

    Attributes:
        trace, session: so far; the argument are the fields that are asked for.
        budgets: that are for the call, and how they stand.
    """

    trace: Callable[[frozenset[str]], TraceState]
    session: Callable[[frozenset[str]], TraceState]
    budgets: Callable[[], BudgetStands]


class Facts:
    """What conditions are told of one call.

    Args:
        wanted: (root, field) and keys of tags that any of the conditions asks for.
    """

    def __init__(self, call: GovernedCall, readings: Readings, wanted: frozenset[tuple[str, str]], tags: frozenset[str]) -> None:
        import cel  # noqa: PLC0415 - takes 0.4 s, which only those wait for who have conditions

        self._call = call
        self._readings = readings
        self._wanted = wanted
        self._tags = tags
        self._context = cel.Context()
        self._known: set[str] = set()
        self._states: dict[str, TraceState] = {}
        self._exact: dict[str, dict[str, str]] = {}
        self._budgets: list[tuple[Budget, BudgetStatus]] | None = None
        self._of_tenant: Facts | None = None

    def of_tenant(self) -> Facts:
        """The same without budgets for calls of several tenants: how those stand is nothing that one tenant's people learn."""
        if self._of_tenant is None:
            own = Readings(self._readings.trace, self._readings.session, self._own_budgets)
            self._of_tenant = Facts(self._call, own, self._wanted, self._tags)
            self._of_tenant._states = self._states
        return self._of_tenant

    def _own_budgets(self) -> BudgetStands:
        return [one for one in self._readings.budgets() if one[0].tenant == self._call.tenant]

    def tells_of_several(self, condition: Condition) -> bool:
        """Whether the figures of a condition are those of a budget for calls of several tenants."""
        stands = self._budget_stands()[:1] if "budget" in condition.roots else []
        return any(budget.tenant != self._call.tenant for budget, _ in stands)

    def context_for(self, condition: Condition) -> Any:
        """The library's context with all that a condition asks for."""
        for root in condition.roots - self._known:
            self._context.add_variable(root, self._value(root))
            self._known.add(root)
        return self._context

    def figures(self, condition: Condition) -> dict[str, str]:
        """The amounts and counts that a condition went by, exactly, as decimal strings by `root.field`."""
        shown: dict[str, str] = {}
        for root, field in sorted(condition.checked.fields):
            exact = self._exact.get(root, {}).get(field)
            if exact is not None:
                shown[f"{root}.{field}"] = exact
        return shown

    def _value(self, root: str) -> Any:
        if root == "budgets":
            return [_budget_value(*one) for one in self._budget_stands()]
        if root == "budget":
            return self._budget_value()
        if root in ("trace", "session"):
            return self._state_value(root)
        if root == "estimate":
            self._exact[root] = {"usd": _shown_usd(self._call.pico), "tokens": str(self._call.tokens)}
        return _SIMPLE[root](self._call, self._tags)

    def _budget_stands(self) -> list[tuple[Budget, BudgetStatus]]:
        """Those that are used most first."""
        if self._budgets is None:
            self._budgets = sorted(self._readings.budgets(), key=lambda one: (-one[1].ratio, one[0].no))[:CONDITION_BUDGETS_MAX]
        return self._budgets

    def _budget_value(self) -> dict[str, Any]:
        for budget, status in self._budget_stands()[:1]:
            exact = {name: _amount(budget, amount) for name, amount in _amounts(status).items()}
            self._exact["budget"] = {"name": budget.name, "ratio": f"{_double(status.ratio):.4f}", **exact}
            return _budget_value(budget, status)
        return _NO_BUDGET

    def _state_value(self, root: str) -> dict[str, Any]:
        """Only what was read; what was not, nobody asks for."""
        fields = frozenset(field for asked, field in self._wanted if asked == root)
        if root not in self._states:
            self._states[root] = (self._readings.trace if root == "trace" else self._readings.session)(fields)
        state = self._states[root]
        counts = {"calls": state.calls, "tokens": state.tokens, "calls_per_minute": state.calls_of_minute, "depth": state.depth}
        money = {"cost_usd": state.pico, "cost_usd_per_minute": state.pico_of_minute}
        self._exact[root] = {
            **{name: str(count) for name, count in counts.items()},
            **{name: format_usd(pico) for name, pico in money.items()},
        }
        said = {**counts, **{name: _usd(pico) for name, pico in money.items()}}
        return {name: value for name, value in said.items() if name in fields}


def wanted(conditions: Sequence[Condition]) -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
    """Fields, and keys of tags, that any of these asks for."""
    fields = frozenset[tuple[str, str]]().union(*(one.checked.fields for one in conditions))
    return fields, frozenset[str]().union(*(one.checked.tags for one in conditions))


# --- what conditions are told ------------------------------------------------------------------------------------------


def _usd(pico: int) -> float:
    """A double, for comparing alone: the one that is nearest, so that an amount is equal to the number that is written like it."""
    return pico / PICO_PER_USD


def _call_value(call: GovernedCall, _tags: frozenset[str]) -> dict[str, Any]:
    said = {"provider": call.provider, "model": call.model, "operation": call.operation, "trace": call.trace}
    return {name: text or "" for name, text in said.items()}


def _attribution_value(call: GovernedCall, tags: frozenset[str]) -> dict[str, Any]:
    names = ("tenant", "agent", "step", "purpose", "cost_center", "service", "environment")
    return {**{name: getattr(call, name) or "" for name in names}, "tags": {key: call.tags.get(key, "") for key in tags}}


def _estimate_value(call: GovernedCall, _tags: frozenset[str]) -> dict[str, Any]:
    return {"usd": _usd(call.pico or 0), "known": call.pico is not None, "tokens": call.tokens}


_SIMPLE: Final[dict[str, Callable[[GovernedCall, frozenset[str]], dict[str, Any]]]] = {
    "call": _call_value, "attribution": _attribution_value, "estimate": _estimate_value,
}  # fmt: skip
_NO_BUDGET: Final[dict[str, Any]] = {
    name: {"string": "", "bool": False, "double": 0.0}[kind] for name, kind in _BUDGET.items() if isinstance(kind, str)
}


def _budget_value(budget: Budget, status: BudgetStatus) -> dict[str, Any]:
    """Amounts in the budget's currency, in tokens or in calls."""
    unit = PICO_PER_USD if budget.kind == "money" else 1
    return {
        "name": budget.name, "kind": budget.kind, "currency": budget.currency, "hard": budget.hard, "state": status.state,
        "ratio": _double(status.ratio), **{name: amount / unit for name, amount in _amounts(status).items()},
    }  # fmt: skip


def _amounts(status: BudgetStatus) -> dict[str, int]:
    return {"limit": status.limit, "spent": status.spent, "reserved": status.reserved, "remaining": status.remaining}


def _amount(budget: Budget, amount: int) -> str:
    return format_usd(amount) if budget.kind == "money" else str(amount)


def _double(value: Fraction) -> float:
    return value.numerator / value.denominator


def _shown_usd(pico: int | None) -> str:
    return "unknown" if pico is None else format_usd(pico)


# --- the library -------------------------------------------------------------------------------------------------------

_PLACE: Final = re.compile(r"<input>:(\d+):(\d+): (?:Syntax error: )?([^\n|]{1,160})")
_WHY: Final[Mapping[type[Exception], str]] = {
    ZeroDivisionError: "a division by zero",
    OverflowError: "a whole number beyond 64 bits",
    KeyError: "something that is not there",
    IndexError: "an item that is not there",
    TypeError: "types that do not fit",
}


def _compiled(source: str) -> Any:
    import cel  # noqa: PLC0415 - takes 0.4 s, which only those wait for who have conditions

    program = _guarded(lambda: cel.compile(source))
    if not isinstance(program, Exception):
        return program
    found = _PLACE.search(str(program))
    if found is None:
        raise fault(0, "this is no CEL expression")
    line, column, why = int(found[1]), int(found[2]), found[3].strip()
    raise fault(sum(map(len, source.splitlines(keepends=True)[: line - 1])) + max(column - 1, 0), why)


def _guarded(work: Callable[[], Any]) -> Any:
    """What the library gives, or why it gives nothing."""
    try:
        return work()
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - also a panic of the library, which is no Exception, must not take calls down
        return error if isinstance(error, Exception) else RuntimeError("panic")


def _tried(at: int, pattern: str, times: int, left_us: float) -> float:
    """Microseconds that a regular expression takes for one call, at most; one that is none, or takes more than is left, is refused.

    It is compiled anew whenever it is asked, for each item of a list too.
    """
    import cel  # noqa: PLC0415 - takes 0.4 s, which only those wait for who have conditions

    matched = cel.compile(f"text.matches({pattern})").execute
    context = cel.Context(variables={"text": "a" * NAME_CHARS_MAX})
    if isinstance(_guarded(lambda: matched(context)), Exception):
        raise fault(at, "this is no regular expression (RE2's kind, no look-around or back-references), or a far too large one")
    if (took := times * _fastest(lambda: matched(context))) > left_us:
        asked = f", asked {times} times," if times > 1 else ""
        raise fault(at, f"this regular expression{asked} takes {took:.0f} microseconds, and {left_us:.0f} are left; repeat less in it")
    return took


def _fastest(work: Callable[[], object], times: int = 5) -> float:
    """Microseconds; of several tries the one that nobody else held up."""
    took = []
    for _ in range(times):
        began = perf_counter()
        work()
        took.append(perf_counter() - began)
    return min(took) * 1e6


def _sample(condition: Condition) -> Any:
    """A context in which nothing is known of a call; budgets are as many as there can be."""
    fields, tags = wanted((condition,))
    facts = Facts(GovernedCall(), Readings(lambda _: TraceState(), lambda _: TraceState(), tuple), fields, tags)
    context = facts.context_for(condition)
    if "budgets" in condition.roots:
        context.add_variable("budgets", [_NO_BUDGET] * CONDITION_BUDGETS_MAX)
    return context


def _said(error: Exception) -> str:
    return next((why for kind, why in _WHY.items() if isinstance(error, kind)), "an operation that is not possible")
