"""What alert rules of each kind go by: the names of their parameters, what they mean, and what holds where nothing is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import ALERT_LIST_MAX, ALERT_WINDOW_MINUTES_MAX
from otel_finops.ledger.tables import DIMENSIONS

Kind: TypeAlias = Literal[
    "budget", "forecast", "spend_rate", "anomaly", "unpriced", "price_change", "credit", "capture_rate", "kill_switch", "policy_failure"
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_INT_MAX: Final = 2**53
_PAIRS_MAX: Final = 5
_HOURS_MAX: Final = 31 * 24


class Parameter(NamedTuple):
    """One parameter.

    Attributes:
        read: from what people give, a JSON value or its text; raises ValueError with what would be right.
        default: where nothing is given, in the form that `read` returns.
        means: a sentence for people.
    """

    read: Callable[[Any], Any]
    default: Any
    means: str


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def read(given: Any) -> int:
        text = str(given).strip()
        if isinstance(given, bool) or not (text.isascii() and text.isdigit()) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return read


def _decimal(low: int, high: int) -> Callable[[Any], str]:
    """A plain decimal as text: exact, and the same in JSON and on the command line."""

    def read(given: Any) -> str:
        try:
            value = Decimal(str(given).strip())
        except InvalidOperation:
            raise ValueError("a decimal number") from None
        if isinstance(given, bool) or not value.is_finite() or not low <= value <= high or -value.as_tuple().exponent > 12:  # type: ignore[operator]
            raise ValueError(f"a decimal number from {low} to {high}")
        return format(value.normalize(), "f")

    return read


def _numbers(given: Any) -> list[int]:
    found = sorted({_whole(1, _INT_MAX)(part) for part in _parts(given)})
    if len(found) > ALERT_LIST_MAX:
        raise ValueError(f"at most {ALERT_LIST_MAX} numbers")
    return found


def _parts(given: Any) -> list[str]:
    """A list, or text that commas or spaces cut; each once."""
    parts = map(str, given) if isinstance(given, list) else str(given).replace(",", " ").split()
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


def _dimensions(given: Any) -> list[str]:
    found = _parts(given)
    if len(found) > 2 or not set(found) <= set(DIMENSIONS):
        raise ValueError(f"at most two of {', '.join(DIMENSIONS)}")
    return found


def _words(*known: str) -> Callable[[Any], list[str]]:
    def read(given: Any) -> list[str]:
        found = _parts(given)
        if not set(found) <= set(known):
            raise ValueError(f"some of {', '.join(known)}")
        return found

    return read


def _windows(given: Any) -> list[str]:
    """`60/5/14.4 360/30/6`: minutes of the long and of the short window, and how many times too fast."""
    found = _parts(given)
    if not 1 <= len(found) <= _PAIRS_MAX:
        raise ValueError(f"one to {_PAIRS_MAX} of LONG/SHORT/FACTOR, e.g. 60/5/14.4 360/30/6 (minutes, minutes, times)")
    return [_window(part) for part in found]


def _window(text: str) -> str:
    parts = text.split("/")
    if len(parts) != 3:
        raise ValueError("each is LONG/SHORT/FACTOR, e.g. 60/5/14.4 (minutes, minutes, times)")
    long, short = (_whole(1, ALERT_WINDOW_MINUTES_MAX)(part) for part in parts[:2])
    if short >= long:
        raise ValueError("the second window is the shorter one")
    return f"{long}/{short}/{_decimal(0, 10_000)(parts[2])}"


_BUDGETS: Final = Parameter(_numbers, [], "Numbers of budgets; none: all that the rule's tenant has, or all.")
_HOURS: Final = _whole(1, _HOURS_MAX)
PARAMETERS: Final[Mapping[Kind, Mapping[str, Parameter]]] = {
    "budget": {
        "budgets": _BUDGETS,
        "percent": Parameter(_whole(1, 1_000), 1, "Only thresholds of at least so many percent of the limit; budgets say which they have."),
        "critical_percent": Parameter(_whole(1, 1_001), 100, "From which threshold on it is critical, whatever the rule's severity is."),
    },
    "forecast": {
        "budgets": _BUDGETS,
        "percent": Parameter(_whole(1, 1_000), 100, "How many percent of the limit the window is forecast to reach."),
        "sure": Parameter(
            _words("likely", "certain"), ["likely"], "likely: the forecast itself says so; certain: the low end of its interval does."
        ),
    },
    "spend_rate": {
        "budgets": _BUDGETS,
        "windows": Parameter(
            _windows,
            ["60/5/14.4", "360/30/6"],
            "LONG/SHORT/FACTOR, minutes: spend in the long window and in the short one is FACTOR times what an even pace would be.",
        ),
        "usd_per_hour": Parameter(_decimal(0, 9_000_000), "0", "The even pace where no budget is asked: so many USD an hour; 0: budgets."),
        "by": Parameter(_dimensions, [], "With usd_per_hour: the pace holds for each value of these dimensions."),
    },
    "anomaly": {
        "scopes": Parameter(
            _words("global", "tenant", "model", "agent", "cost_center"), [], "Only findings of these scopes; none: of all."
        ),
        "usd": Parameter(_decimal(0, 9_000_000), "1", "Only findings of at least so many USD more or less than expected."),
        "hours": Parameter(_HOURS, 48, "Only what began within the last so many hours."),
    },
    "unpriced": {
        "percent": Parameter(_decimal(0, 100), "5", "Above how many percent of the tokens have no price."),
        "hours": Parameter(_HOURS, 24, "Of calls of the last so many hours."),
        "tokens": Parameter(_whole(0, _INT_MAX), 10_000, "Where fewer tokens than this have no price nobody is told."),
        "by": Parameter(_dimensions, [], "For each value of these dimensions by itself."),
    },
    "price_change": {
        "hours": Parameter(_HOURS, 24, "For how long after it takes effect, or is announced, a change is listed."),
    },
    "credit": {"pools": Parameter(_numbers, [], "Numbers of pools; none: all.")},
    "capture_rate": {
        "percent": Parameter(_decimal(0, 100), "95", "Below how many percent of a bill the ledger has."),
        "over_percent": Parameter(_decimal(100, 10_000), "101", "Above how many percent of a bill: something was counted twice."),
        "days": Parameter(_whole(1, 400), 35, "Of bills whose last day lies at most so many days back."),
    },
    "kill_switch": {},
    "policy_failure": {"hours": Parameter(_HOURS, 1, "Policies that could not be evaluated within so many hours.")},
}
"""By kind and name."""


def checked_parameters(kind: Kind, given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of a kind, those that are given and the usual ones.

    Raises:
        BadInput: a name that the kind has not, or a value that can be none; the message begins with its place.
    """
    known = PARAMETERS[kind]
    if unknown := sorted(set(given) - set(known)):
        raise BadInput(f"params.{unknown[0][:40]}: a rule of kind {kind} has none; it has {', '.join(known) or 'no parameters'}")
    found = {}
    for name, parameter in known.items():
        try:
            found[name] = parameter.read(given[name]) if name in given else parameter.default
        except ValueError as fault:
            raise BadInput(f"params.{name}: {fault}") from None
    return found
