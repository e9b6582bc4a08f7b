"""Spend by dimension and time: from roll-ups where whole hours and days allow it, from entries for the rest.

A row counts at its span's start; by period, in the month to which it belongs (`ledger.period_bounds`), so that what is asked of
a closed month is answered alike for ever. The money is exact: sums are taken in two parts and added as Python integers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import GROUPS_MAX
from otel_finops.base.money import PICO_PER_USD, format_usd
from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR, format_ns
from otel_finops.genai.usage import PROMPT_UNITS
from otel_finops.ledger.period_bounds import month_ns
from otel_finops.ledger.rollups import DAY, HOUR, LATE, MONTH, MOVED, PRUNED, TOTAL
from otel_finops.ledger.spend_entries import BASES, RAW_KEYS, Amounts, Basis, Reader, differences, from_entries
from otel_finops.ledger.tables import DIMENSIONS
from otel_finops.store.unit_of_work import Transaction

TIME_KEYS: Final = ("day", "hour")
PERIOD: Final = "period"
"""The month, YYYY-MM, to which a row belongs; only sums by the other dimensions go with it."""
SPEND_KEYS: Final = (*DIMENSIONS, PERIOD, *TIME_KEYS, *RAW_KEYS)
"""Everything by which spend can be grouped; all but the times can filter too."""

_INSTANTS: Final = (PERIOD, *TIME_KEYS)
_DATE_CHARS: Final = {PERIOD: len("2026-11"), "day": len("2026-11-21")}
_LAST_NS: Final = 2**63 - 1
Key: TypeAlias = tuple[str, ...]


class SpendGroup(NamedTuple):
    """One group: `key` by group-by name, None where not known; `calls` are the standing ones, failed and unpriced too.

    `converted` is the cost in the report's other currency, in millionths of a millionth; None in reports without one.
    """

    key: dict[str, str | None]
    cost_pico: int
    calls: int
    tokens: int
    unpriced_calls: int
    converted: int | None = None


class InCurrency(NamedTuple):
    """The report's sums in another currency than USD, in millionths of a millionth of it."""

    currency: str
    total: int
    pending: int


class SpendReport(NamedTuple):
    """The answer of `GET /spend`; groups by cost, dearest first."""

    groups: tuple[SpendGroup, ...]
    total_pico: int
    pending_pico: int
    unpriced_tokens_share: float
    converted: InCurrency | None = None

    def to_contract(self) -> dict[str, Any]:
        """The report as `api.schema.json` wants it; with another currency its code and amounts stand beside those in USD."""
        report = {
            "groups": [_group_contract(group) for group in self.groups],
            "total_usd": format_usd(self.total_pico),
            "pending_usd": format_usd(self.pending_pico),
            "unpriced_tokens_share": self.unpriced_tokens_share,
        }
        if self.converted is not None:
            currency, total, pending = self.converted
            report |= {"currency": currency, "total": format_usd(total), "pending": format_usd(pending)}
        return report


def _group_contract(group: SpendGroup) -> dict[str, Any]:
    plain = {
        "key": group.key,
        "cost_usd": format_usd(group.cost_pico),
        "calls": group.calls,
        "tokens": group.tokens,
        "unpriced_calls": group.unpriced_calls,
    }
    return plain if group.converted is None else {**plain, "cost": format_usd(group.converted)}


class Question(NamedTuple):
    """What is asked, checked.

    Attributes:
        tenants: that the principal may see; None for all.
        group_by: of `SPEND_KEYS`.
        from_ns, to_ns: start of the spans, from inclusive, to exclusive; None for open.
        filters: allowed values by key; '' stands for not known.
        basis: which money; of calls without such an amount the tallies say how many there are.
        with_cache: also add up prompt tokens and those of them that were read from a cache.
    """

    tenants: Collection[str] | None
    group_by: tuple[str, ...] = ()
    from_ns: int | None = None
    to_ns: int | None = None
    filters: Mapping[str, Collection[str]] = {}
    basis: Basis = "cost"
    with_cache: bool = False

    def checked(self) -> Question:
        """Itself.

        Raises:
            BadInput: an unknown key or a range that ends before it begins.
        """
        for name in (*self.group_by, *self.filters):
            if name not in SPEND_KEYS or (name in self.filters and name in TIME_KEYS):
                raise BadInput(f"spend cannot be grouped or filtered by {name[:40]!r}; use one of {', '.join(SPEND_KEYS)}")
        if self.basis not in BASES:
            raise BadInput(f"basis: use one of {', '.join(BASES)}")
        if self.by_period:
            self._check_period()
        if self.from_ns is not None and self.to_ns is not None and self.to_ns < self.from_ns:
            raise BadInput("`to` lies before `from`")
        return self

    def _check_period(self) -> None:
        """Months are summed up by dimensions alone, and are times themselves."""
        others = [name for name in (*self.group_by, *self.filters) if name in TIME_KEYS or name in RAW_KEYS]
        if others:
            raise BadInput(f"period: goes with {', '.join(DIMENSIONS)}, not with {', '.join(dict.fromkeys(others))}")
        if self.from_ns is not None or self.to_ns is not None:
            raise BadInput("period: takes the place of `from` and `to`; give one or the other")
        if self.basis != "cost":
            raise BadInput("basis: goes with `from` and `to`, not with period: months are kept at cost")
        for month in self.filters.get(PERIOD, ()):
            month_ns(month)

    @property
    def by_period(self) -> bool:
        """Rows count in the month to which they belong."""
        return PERIOD in self.group_by or PERIOD in self.filters

    @property
    def needs_entries(self) -> bool:
        """A key is asked for that roll-ups do not have."""
        return any(name in RAW_KEYS for name in (*self.group_by, *self.filters))


class Tally:
    """Sums of one group; see `Amounts`."""

    __slots__ = ("cache_read", "calls", "cost_pico", "prompt", "tokens", "unpriced_calls", "unpriced_tokens")

    def __init__(self) -> None:
        self.cost_pico = self.calls = self.tokens = self.unpriced_calls = self.unpriced_tokens = self.prompt = self.cache_read = 0

    def add(
        self, cost_pico: int, calls: int, tokens: int, unpriced_calls: int, unpriced_tokens: int, prompt: int = 0, cache_read: int = 0
    ) -> None:
        """Add amounts of any sign."""
        self.cost_pico += cost_pico
        self.calls += calls
        self.tokens += tokens
        self.unpriced_calls += unpriced_calls
        self.unpriced_tokens += unpriced_tokens
        self.prompt += prompt
        self.cache_read += cache_read

    @property
    def amounts(self) -> Amounts:
        """The sums, in the order in which `add` takes them."""
        return Amounts(self.cost_pico, self.calls, self.tokens, self.unpriced_calls, self.unpriced_tokens, self.prompt, self.cache_read)

    @property
    def empty(self) -> bool:
        """All that was here moved away."""
        return not (self.cost_pico or self.calls or self.tokens or self.unpriced_calls)


Tallies: TypeAlias = dict[Key, Tally]


def tally(transaction: Transaction, question: Question, groups_max: int = GROUPS_MAX) -> Tallies:
    """Sums by group key ('' for not known), groups that are empty left out.

    Raises:
        BadInput: more groups than `groups_max`.
    """
    tallies: Tallies = {}
    for read, lower, upper in _segments(question):
        for known, amounts in read(transaction, question, lower, upper):
            key = _time_named(question, known)
            found = tallies.get(key)
            if found is None:
                if len(tallies) >= groups_max:
                    raise BadInput(f"more than {groups_max} groups; narrow the time, filter, or group by fewer keys")
                found = tallies[key] = Tally()
            found.add(*amounts)
    return {key: found for key, found in tallies.items() if not found.empty}


def _segments(question: Question) -> Iterator[tuple[Reader, int, int]]:
    """Cut the time asked for into the coarsest pieces that answer it exactly."""
    if question.by_period:
        yield _from_months, 0, _LAST_NS
        return
    if question.needs_entries:
        yield from_entries, question.from_ns or 0, _LAST_NS if question.to_ns is None else question.to_ns
        yield from_pruned, question.from_ns or 0, _LAST_NS if question.to_ns is None else question.to_ns
        return
    if question.basis != "cost":
        yield _refuse_pruned, question.from_ns or 0, _LAST_NS if question.to_ns is None else question.to_ns
        yield differences, question.from_ns or 0, _LAST_NS if question.to_ns is None else question.to_ns
    if question.from_ns is None and question.to_ns is None and not any(name in TIME_KEYS for name in question.group_by):
        yield _from_totals, 0, 1
        return
    lower = max(question.from_ns or 0, 0)
    upper = _LAST_NS if question.to_ns is None else question.to_ns
    yield from _by_hours(question, lower, upper)


def _by_hours(question: Question, lower: int, upper: int) -> Iterator[tuple[Reader, int, int]]:
    first, last = _up(lower, NS_PER_HOUR), upper - upper % NS_PER_HOUR if upper != _LAST_NS else _LAST_NS
    if first > last:
        yield from _cut_hour(lower, upper)
        return
    pieces = [*_cut_hour(lower, first), *_by_days(question, first, last), *_cut_hour(last, upper)]
    yield from (piece for piece in pieces if piece[1] < piece[2])


def _cut_hour(lower: int, upper: int) -> list[tuple[Reader, int, int]]:
    return [(_cost_from_entries, lower, upper), (from_pruned, lower, upper)]


def _by_days(question: Question, lower: int, upper: int) -> list[tuple[Reader, int, int]]:
    first, last = _up(lower, NS_PER_DAY), upper - upper % NS_PER_DAY if upper != _LAST_NS else _LAST_NS
    if first > last or "hour" in question.group_by:
        return [(_from_hours, lower, upper)]
    return [(_from_hours, lower, first), (_from_days, first, last), (_from_hours, last, upper)]


def _cost_from_entries(transaction: Transaction, question: Question, lower: int, upper: int) -> Iterator[tuple[tuple[Any, ...], Amounts]]:
    return from_entries(transaction, question._replace(basis="cost"), lower, upper)


def from_pruned(transaction: Transaction, question: Question, lower: int, upper: int) -> Iterator[tuple[tuple[Any, ...], Amounts]]:
    """What stood of calls whose entries were pruned: what only entries say is not known ('') of them.

    Raises:
        BadInput: an hour is cut of which rows were pruned, or another basis is asked for than cost.
    """
    _refuse_pruned(transaction, question, lower, upper)
    if any(name in RAW_KEYS and "" not in allowed for name, allowed in question.filters.items()):
        return
    known = tuple(name for name in question.group_by if name not in RAW_KEYS)
    kept = {name: allowed for name, allowed in question.filters.items() if name not in RAW_KEYS}
    for values, amounts in _from_rollups(
        transaction, question._replace(group_by=known, filters=kept), ("r.level = ?", (PRUNED,)), lower, upper
    ):
        said = dict(zip(known, values, strict=True))
        yield tuple(said.get(name, "") for name in question.group_by), amounts


def _refuse_pruned(transaction: Transaction, question: Question, lower: int, upper: int) -> Iterator[tuple[tuple[Any, ...], Amounts]]:
    """Nothing; raises BadInput where pruned rows would have to be known better than by their cost in whole hours."""
    if question.basis != "cost" and (last := _pruned_hour(transaction, lower - lower % NS_PER_HOUR, upper)) is not None:
        raise BadInput(f"basis: rows up to {format_ns(last)[:13]} h were pruned and only their cost is kept; ask for that, or from then on")
    for instant in (lower, upper):
        hour = instant - instant % NS_PER_HOUR
        if hour != instant != _LAST_NS and _pruned_hour(transaction, hour, hour + 1) is not None:
            raise BadInput(
                f"from, to: rows of {format_ns(instant)[:13]} h were pruned and their sums are kept by the hour: give whole hours"
            )
    return iter(())


def _pruned_hour(transaction: Transaction, lower: int, upper: int) -> int | None:
    """The last hour in [lower, upper) of which rows were pruned."""
    found = transaction.execute(
        "SELECT MAX(bucket_ns) FROM rollups WHERE level = ? AND bucket_ns >= ? AND bucket_ns < ?", (PRUNED, lower, upper)
    )
    return None if found[0][0] is None else int(found[0][0])


def _up(instant_ns: int, unit: int) -> int:
    return -(-instant_ns // unit) * unit


def _from_days(transaction: Transaction, question: Question, lower: int, upper: int) -> Iterator[tuple[tuple[Any, ...], Amounts]]:
    return _from_rollups(transaction, question, ("r.level = ?", (DAY,)), lower, upper)


def _from_hours(transaction: Transaction, question: Question, lower: int, upper: int) -> Iterator[tuple[tuple[Any, ...], Amounts]]:
    return _from_rollups(transaction, question, ("r.level = ?", (HOUR,)), lower, upper)


def _from_months(transaction: Transaction, question: Question, lower: int, upper: int) -> Iterator[tuple[tuple[Any, ...], Amounts]]:
    return _from_rollups(transaction, question, ("r.level = ?", (MONTH,)), lower, upper)


def late_amounts(transaction: Transaction, tenants: Collection[str] | None) -> dict[str, Tally]:
    """By month, what of its sums is late: it started in a month that was closed when it came."""
    late: dict[str, Tally] = {}
    question = Question(tenants, (PERIOD,))
    for key, amounts in _from_rollups(transaction, question, ("r.level = ?", (LATE,)), 0, _LAST_NS):
        late.setdefault(_time_named(question, key)[0], Tally()).add(*amounts)
    return late


def _from_totals(transaction: Transaction, question: Question, lower: int, upper: int) -> Iterator[tuple[tuple[Any, ...], Amounts]]:
    return _from_rollups(
        transaction, question, ("(r.level = ? OR (r.level >= ? AND r.level < ?))", (TOTAL, MOVED, MOVED[:-1] + ";")), lower, upper
    )


_PROMPT: Final = " + ".join(f"r.{unit} - r.{unit}_reversed" for unit in PROMPT_UNITS)
_SUMS: Final = (
    "SUM(r.cost_usd), SUM(r.cost_pico), SUM(r.cost_reversed_usd), SUM(r.cost_reversed_pico), SUM(r.calls - r.calls_reversed), "
    f"SUM({_PROMPT} + r.output - r.output_reversed), SUM(r.unpriced_calls - r.unpriced_calls_reversed), "
    f"SUM(r.unpriced_tokens - r.unpriced_tokens_reversed), SUM({_PROMPT}), SUM(r.cache_read - r.cache_read_reversed)"
)


def _from_rollups(
    transaction: Transaction, question: Question, level: tuple[str, tuple[str, ...]], lower: int, upper: int
) -> Iterator[tuple[tuple[Any, ...], Amounts]]:
    keys = ["r.bucket_ns" if name in _INSTANTS else f"d.{name}" for name in question.group_by]
    conditions, values = _dimension_conditions(question, "d.")
    where = " AND ".join((level[0], "r.bucket_ns >= ?", "r.bucket_ns < ?", *conditions))
    columns = ", ".join(dict.fromkeys(keys))
    sql = f"SELECT {', '.join((*keys, _SUMS))} FROM rollups r JOIN rollup_dims d ON d.dim_no = r.dim_no WHERE {where}" + (
        f" GROUP BY {columns}" if keys else ""
    )
    for row in transaction.iterate(sql, (*level[1], lower, upper, *values)):
        sums = [int(value or 0) for value in row[len(keys) :]]
        cost = (sums[0] - sums[2]) * PICO_PER_USD + sums[1] - sums[3]
        yield row[: len(keys)], Amounts(cost, *sums[4:])


def _dimension_conditions(question: Question, prefix: str) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    for name, allowed in question.filters.items():
        column = "r.bucket_ns" if name == PERIOD else f"{prefix}{name}"
        conditions.append(f"{column} IN ({', '.join('?' * len(allowed)) or 'NULL'})")
        values += [month_ns(month) for month in allowed] if name == PERIOD else list(allowed)
    if question.tenants is not None:
        conditions.append(f"{prefix}tenant IN ({', '.join('?' * len(question.tenants)) or 'NULL'})")
        values += list(question.tenants)
    return conditions, values


def _time_named(question: Question, values: Sequence[Any]) -> Key:
    return tuple(_time_name(name, value) if name in _INSTANTS else value for name, value in zip(question.group_by, values, strict=True))


def _time_name(name: str, instant_ns: int) -> str:
    """The month and the day as dates, the hour as the instant at which it begins."""
    text = format_ns(instant_ns)
    return f"{text[:13]}:00:00Z" if name == "hour" else text[: _DATE_CHARS[name]]
