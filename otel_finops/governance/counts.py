"""What budgets count, as amounts: which rows a call falls into, what an entry adds to them, and the one way to write it.

A count has one row for each window, and one for each day of the budget's zone: for the course of a window, and for other currencies,
whose rate is that of a day. A rolling window has no start: its row stands at 0 and holds all that was ever booked, so that who appends
and who holds meet in it, and what is booked in the window is the sum of its pieces: days, or minutes (level `PIECE`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Final, TypeAlias

from otel_finops.base.limits import BUDGET_MATCHES_KNOWN_MAX
from otel_finops.base.money import PICO_PER_USD
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.genai.usage import total_tokens
from otel_finops.governance.budgets import Budget, BudgetSet
from otel_finops.governance.calls import GovernedCall, call_of_entry
from otel_finops.governance.periods import Period, day_window
from otel_finops.ledger.entry import CHARGE, REVERSAL, ROLE_CALL, Entry
from otel_finops.ledger.standing import Standing, follow
from otel_finops.store.unit_of_work import Row, Transaction

WINDOW: Final = 0
DAY: Final = 1
PIECE: Final = 2
ROLLING_START: Final = 0
"""Where the row of a rolling window stands."""

CountKey: TypeAlias = tuple[int, int, int]
"""Count, level, start."""
BOOKED: Final = ("booked_usd", "booked_pico", "booked_tokens", "booked_calls", "booked_unpriced")
RESERVED: Final = ("reserved_usd", "reserved_pico", "reserved_tokens", "reserved_calls")
PICO, TOKENS, CALLS, UNPRICED, HELD_PICO, HELD_TOKENS, HELD_CALLS = range(7)
"""Places of an amount: booked money, tokens, calls and calls without money; held money, tokens and calls."""
WIDTH: Final = 7

_MINUTE: Final = 60 * NS_PER_SECOND
_WHOLE_MINUTES_NS: Final = 86_400 * 366 * 3 * NS_PER_SECOND
"""From 1973 on every zone is whole minutes from UTC, so that all windows and pieces begin with a minute."""


class Sums:
    """What rows of counts grow by."""

    def __init__(self) -> None:
        self.rows: dict[CountKey, list[int]] = {}

    def at(self, key: CountKey) -> list[int]:
        """The amounts of a row, to be added to."""
        found = self.rows.get(key)
        if found is None:
            found = self.rows[key] = [0] * WIDTH
        return found

    def keep(self, counts: Collection[int]) -> None:
        """Forget all other counts."""
        self.rows = {key: amounts for key, amounts in self.rows.items() if key[0] in counts}

    def hold(self, count_no: int, start_ns: int, pico: int, tokens: int, calls: int) -> None:
        """Hold more of a window, or less of it by negative amounts."""
        amounts = self.at((count_no, WINDOW, start_ns))
        amounts[HELD_PICO] += pico
        amounts[HELD_TOKENS] += tokens
        amounts[HELD_CALLS] += calls


_Groups: TypeAlias = dict[tuple[Hashable, int], tuple[Sequence[Budget], list[int]]]
"""Budgets and amounts, by what stands for these budgets, and a minute."""


Narrowed: TypeAlias = Callable[[Sequence[Budget], Entry, Entry], Sequence[Budget]]
"""Of some budgets those that count a part of an entry, given both."""


class Matches:
    """Which budgets are for a call: remembered by what the budgets' scopes ask of it, and of nothing else."""

    def __init__(self, budgets: BudgetSet) -> None:
        self.budgets = budgets
        self.asked = tuple(sorted({name for one in budgets for name, _ in one.scope.parts}))
        self._readers = tuple(_reader(name) for name in self.asked)
        self._known: dict[tuple[str | None, ...], tuple[Budget, ...]] = {}

    def of_entry(self, entry: Entry) -> tuple[Budget, ...]:
        """Those for a booked call."""
        return self.found(tuple([read(entry) for read in self._readers]), lambda: call_of_entry(entry, 0))

    def of_call(self, call: GovernedCall) -> tuple[Budget, ...]:
        """Those for any call."""
        return self.found(tuple([call.said(name) for name in self.asked]), lambda: call)

    def found(self, said: tuple[str | None, ...], call: Callable[[], GovernedCall]) -> tuple[Budget, ...]:
        """Those for a call that says this of what is asked, made where it is the first one that says so; always the same tuple, for as
        long as it is remembered."""
        known = self._known.get(said)
        if known is None:
            if len(self._known) >= BUDGET_MATCHES_KNOWN_MAX:
                self._known.clear()
            known = self._known[said] = tuple(self.budgets.of(call()))
        return known


def _reader(name: str) -> Callable[[Entry], str | None]:
    """Reads a dimension of a scope from an entry, as `call_of_entry` would say it."""
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda entry: entry.tags.get(key)
    if name == "model":
        return lambda entry: entry.response_model or entry.request_model
    reader: Callable[[Entry], str | None] = attrgetter("trace_id" if name == "trace" else name)
    return reader


def minute_of(instant_ns: int) -> int:
    """An instant that falls into the same windows and pieces."""
    return instant_ns // _MINUTE * _MINUTE if instant_ns >= _WHOLE_MINUTES_NS else instant_ns


def slots(period: Period, at_ns: int) -> tuple[tuple[int, int], ...]:
    """(level, start) of the rows that a call of an instant falls into, the window's first."""
    piece = period.piece(at_ns)
    if period.kind == "daily":
        return ((WINDOW, piece.start_ns),)
    day = (DAY, day_window(at_ns, period.zone).start_ns)
    if not period.is_rolling:
        return ((WINDOW, piece.start_ns), day)
    return ((WINDOW, ROLLING_START), day, (PIECE, piece.start_ns)) if period.kind == "rolling_hours" else ((WINDOW, ROLLING_START), day)


def day_level(period: Period) -> int:
    """The level whose rows are days: of daily windows they are the windows themselves."""
    return WINDOW if period.kind == "daily" else DAY


def piece_level(period: Period) -> int:
    """The level whose rows a rolling window is made of."""
    return PIECE if period.kind == "rolling_hours" else DAY


def step_level(period: Period) -> int:
    """The level whose rows are the steps in which the course of a window is shown (`Period.steps`)."""
    return PIECE if period.kind == "rolling_hours" else day_level(period)


def count_entries(entries: Iterable[Entry], matches: Matches, sums: Sums, narrowed: Narrowed | None = None) -> None:
    """Add what entries change; corrections and reattributions need their `before`.

    Calls of one minute that the same budgets are for are added up first, since many budgets may be for each of them.

    Args:
        narrowed: which of the budgets that are for a part of an entry count it; None: all.
    """
    groups: _Groups = {}
    for entry in entries:
        if entry.role != ROLE_CALL:
            continue
        for part, sign in parts(entry):
            budgets: Sequence[Budget] = matches.of_entry(part)
            found = budgets if narrowed is None else narrowed(budgets, entry, part)
            if found:
                minute = minute_of(part.started_ns)
                same = id(budgets) if found is budgets else tuple([one.no for one in found])
                _add(groups, (same, minute), found, part, sign)
    for (_, minute), (found, amounts) in groups.items():
        if any(amounts):
            _spread(found, minute, amounts, sums)


def _add(groups: _Groups, key: tuple[Hashable, int], found: Sequence[Budget], part: Entry, sign: int) -> None:
    held = groups.get(key)
    if held is None:
        held = groups[key] = found, [0] * WIDTH
    amounts = held[1]
    amounts[PICO] += sign * (part.cost_pico or 0)
    amounts[TOKENS] += sign * total_tokens(part.usage)
    amounts[CALLS] += sign
    amounts[UNPRICED] += sign * (part.cost_pico is None)


def _spread(budgets: Sequence[Budget], at_ns: int, amounts: Sequence[int], sums: Sums) -> None:
    places: dict[Period, tuple[tuple[int, int], ...]] = {}
    for one in budgets:
        found = places.get(one.period)
        if found is None:
            found = places[one.period] = slots(one.period, at_ns)
        for level, start in found:
            row = sums.at((one.counting, level, start))
            for at in range(UNPRICED + 1):
                row[at] += amounts[at]


def parts(entry: Entry) -> Iterator[tuple[Entry, int]]:
    """What an entry adds (+1) and takes back (-1), each as the whole call that then stands, or stood."""
    if entry.kind == CHARGE:
        yield entry, 1
    elif entry.kind == REVERSAL:
        yield entry._replace(cost_pico=None if entry.cost_pico is None else -entry.cost_pico), -1
    else:
        before = entry.before
        if before is None:
            raise ValueError(f"a {entry.kind} reached the budgets without the state before it")
        after = follow(Standing(before, entry.revision - 1), entry).net
        assert after is not None
        yield before, -1
        yield after, 1


def carried(table: str, name: str) -> str:
    """SQL that adds money to a row in two parts."""
    usd, pico = (f"{name}_usd", f"{name}_pico") if name else ("usd", "pico")
    rest = f"({table}.{pico} + excluded.{pico})"
    full = f"{rest} >= {PICO_PER_USD}"
    return (
        f"{usd} = {table}.{usd} + excluded.{usd} + CASE WHEN {full} THEN 1 ELSE 0 END, "
        f"{pico} = {rest} - CASE WHEN {full} THEN {PICO_PER_USD} ELSE 0 END"
    )


COLUMNS: Final = ("count_no", "level", "start_ns", *BOOKED, *RESERVED)
INSERT: Final = f"INSERT INTO budget_counters ({', '.join(COLUMNS)}) VALUES"
ADD: Final = (
    "ON CONFLICT (count_no, level, start_ns) DO UPDATE SET "
    + ", ".join(carried("budget_counters", name) for name in ("booked", "reserved"))
    + ", "
    + ", ".join(f"{name} = budget_counters.{name} + excluded.{name}" for name in (*BOOKED[2:], *RESERVED[2:]))
)
_RETURNING: Final = f"RETURNING level, count_no, start_ns, {', '.join(BOOKED[:4])}"


def row_of(key: CountKey, amounts: Sequence[int]) -> Row:
    """A row of `COLUMNS`."""
    pico, tokens, calls, unpriced, held_pico, held_tokens, held_calls = amounts
    return (*key, *divmod(pico, PICO_PER_USD), tokens, calls, unpriced, *divmod(held_pico, PICO_PER_USD), held_tokens, held_calls)


def write(transaction: Transaction, sums: Sums) -> list[Row]:
    """Add sums to the stored rows, in the one order in which everybody locks them.

    Returns:
        (level, count, start, booked: usd, pico, tokens, calls) of every row as it is now.
    """
    rows = [row_of(key, amounts) for key, amounts in sums.rows.items() if any(amounts)]
    rows.sort(key=_place)
    return transaction.write_values(INSERT, rows, f"{ADD} {_RETURNING}")


def _place(row: Row) -> CountKey:
    return row[0], row[1], row[2]


Booked: TypeAlias = tuple[int, int, int]
"""Money in pico-USD, tokens, calls."""


def amount(kind: str, sums: Sequence[int]) -> int:
    """Of (money, tokens, calls) the one that is limited."""
    return sums[0] if kind == "money" else sums[1] if kind == "tokens" else sums[2]


_BY_KEY: Final = (
    f"SELECT c.count_no, c.level, c.start_ns, {', '.join(f'c.{name}' for name in (*BOOKED[:4], *RESERVED))} "
    "FROM budget_counters AS c JOIN (VALUES"
)
_KEYED: Final = ") AS v ON c.count_no = v.column1 AND c.level = v.column2 AND c.start_ns = v.column3"


class CountRow:
    """A stored row: what was booked and what is held, each as (money in pico-USD, tokens, calls)."""

    __slots__ = ("booked", "reserved")

    def __init__(self, booked: Booked = (0, 0, 0), reserved: Booked = (0, 0, 0)) -> None:
        self.booked = booked
        self.reserved = reserved


def read_rows(transaction: Transaction, keys: Iterable[CountKey]) -> Mapping[CountKey, CountRow]:
    """Stored rows by key; those that are not there are left out."""
    found: dict[CountKey, CountRow] = {}
    for count_no, level, start, usd, pico, tokens, calls, held_usd, held_pico, held_tokens, held_calls in transaction.write_values(
        _BY_KEY, sorted(set(keys)), _KEYED
    ):
        booked = int(usd) * PICO_PER_USD + int(pico), int(tokens), int(calls)
        found[count_no, level, start] = CountRow(booked, (int(held_usd) * PICO_PER_USD + int(held_pico), int(held_tokens), int(held_calls)))
    return found
