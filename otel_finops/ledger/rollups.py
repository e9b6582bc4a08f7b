"""Roll-ups: sums by hour, by day and over all time, kept in the transaction that appends the entries.

Only calls are summed; duplicates, wrappers and gateway copies have no money and their tokens are the call's. What is added
and what is taken back are kept apart, so that counters never go down. When a correction or a reattribution changes a
dimension, the whole row moves: taken back under the old dimensions, added under the new ones.

Levels: `hour` and `day` (bucket = start of the hour or day of `started_at`, UTC), `month` (bucket = start of the month to which
the entry belongs, see `ledger.period_bounds`), `late` (of that, what is late), `total` (bucket 0), and `moved:LABELS` beside `total`
for what reattributions moved, where LABELS are the optional metric labels that changed. A counter without these labels must not
see the move; spend over all time is `total` plus all `moved:` levels. `pruned` (bucket = start of the hour) repeats of the other
levels what stood of entries that are gone since, for reports that are made from entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from otel_finops.base import limits
from otel_finops.base.money import PICO_PER_USD
from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR, month_start_ns
from otel_finops.genai.usage import total_tokens
from otel_finops.ledger.entry import ADJUSTMENT, CHARGE, CORRECTION, REATTRIBUTION, REVERSAL, ROLE_CALL, Entry
from otel_finops.ledger.period_bounds import month_of
from otel_finops.ledger.standing import Standing, follow
from otel_finops.ledger.tables import DIMENSIONS, ROLLUP_TOKENS
from otel_finops.store.unit_of_work import Transaction

HOUR: Final = "hour"
DAY: Final = "day"
MONTH: Final = "month"
LATE: Final = "late"
TOTAL: Final = "total"
MOVED: Final = "moved:"
PRUNED: Final = "pruned"
OPTIONAL_LABELS: Final = ("tenant", "agent", "cost_center")
"""Metric labels that are off by default and that a reattribution can change (design 4.8)."""

Dims: TypeAlias = tuple[str, ...]
"""Values of `DIMENSIONS`, '' for NULL."""

_COUNTS: Final = ("calls", "calls_reversed", "unpriced_calls", "unpriced_calls_reversed", "unpriced_tokens", "unpriced_tokens_reversed")
_TOKENS: Final = tuple(f"{unit}{suffix}" for unit in ROLLUP_TOKENS for suffix in ("", "_reversed"))
_MONEY: Final = ("cost", "cost_reversed")
_PLAIN: Final = (*_COUNTS, *_TOKENS)

_CALLS: Final = 0
_UNPRICED_CALLS: Final = 2
_UNPRICED_TOKENS: Final = 4
_FIRST_TOKEN: Final = len(_COUNTS)
_TOKEN_AT: Final = {unit: _FIRST_TOKEN + 2 * position for position, unit in enumerate(ROLLUP_TOKENS)}
_COST: Final = len(_PLAIN)
_WIDTH: Final = _COST + 2
"""A sum: all plain counts, then positive and negative money in pico-USD; additions at even, what is taken back at odd places."""


class _Sum:
    """What one key's row grows by."""

    __slots__ = ("amounts", "exemplar")

    def __init__(self) -> None:
        self.amounts = [0] * _WIDTH
        self.exemplar: tuple[int, str, int] | None = None

    def take(self, entry: Entry, side: int) -> None:
        """Add a whole row's counts and money; side 0 adds, side 1 takes back (money of either sign goes by its amount)."""
        amounts = self.amounts
        amounts[_CALLS + side] += 1
        cost = entry.cost_pico
        if cost is None:
            amounts[_UNPRICED_CALLS + side] += 1
            amounts[_UNPRICED_TOKENS + side] += total_tokens(entry.usage)
        else:
            amounts[_COST + (side if cost >= 0 else 1 - side)] += abs(cost)
        for unit, count in entry.usage.items():
            position = _TOKEN_AT.get(unit)
            if position is not None:
                amounts[position + side] += count

    def add_difference(self, entry: Entry) -> None:
        """Add what a correction or adjustment carries; the number of calls stays."""
        amounts = self.amounts
        cost = entry.cost_pico
        if cost is None:
            amounts[_UNPRICED_TOKENS] += total_tokens(entry.usage)
        else:
            amounts[_COST + (0 if cost >= 0 else 1)] += abs(cost)
        for unit, count in entry.usage.items():
            position = _TOKEN_AT.get(unit)
            if position is not None:
                amounts[position] += count

    def show(self, entry: Entry) -> None:
        """Offer an exemplar: the newest entry's trace and money."""
        if entry.cost_pico is not None and (self.exemplar is None or entry.recorded_ns >= self.exemplar[0]):
            self.exemplar = entry.recorded_ns, entry.trace_id, entry.cost_pico

    def plus(self, other: _Sum) -> _Sum:
        """A new sum of both."""
        both = _Sum()
        both.amounts = [mine + theirs for mine, theirs in zip(self.amounts, other.amounts, strict=True)]
        both.exemplar = max((shown for shown in (self.exemplar, other.exemplar) if shown is not None), default=None)
        return both


Sums: TypeAlias = dict[tuple[str, int, Dims], _Sum]
"""By level, bucket and dimensions."""
_Posted: TypeAlias = dict[tuple[str, int, int | None, tuple[str | None, ...]], _Sum]
"""By the level over all time (`total` or `moved:..`), hour, month of what is late (else None) and dimensions with None: what the
levels are made of."""


class Rollups:
    """The projection that keeps `rollups` and `rollup_dims`."""

    def __init__(self) -> None:
        self._numbers = _DimensionNumbers()

    def apply(self, transaction: Transaction, entries: Sequence[Entry]) -> None:
        """Add what the entries change; corrections and reattributions need their `before`."""
        self._add(transaction, summed(entries))

    def note_pruned(self, transaction: Transaction, nets: Sequence[Entry]) -> None:
        """Note what standing calls come to whose entries are being pruned; all other levels keep what they have."""
        self._add(transaction, _pruned_sums(nets))

    def _add(self, transaction: Transaction, sums: Sums) -> None:
        if not sums:
            return
        numbers = self._numbers.of(transaction, {dims for _, _, dims in sums})
        rows = [_row(level, bucket, numbers[dims], found) for (level, bucket, dims), found in sums.items()]
        rows.sort(key=_row_key)
        transaction.executemany(_UPSERT, rows)


def _pruned_sums(nets: Sequence[Entry]) -> Sums:
    sums: Sums = {}
    for net in nets:
        dims = tuple([value or "" for value in dims_of(net)])
        key = PRUNED, net.started_ns - net.started_ns % NS_PER_HOUR, dims
        sums.setdefault(key, _Sum()).take(net, 0)
    return sums


def dims_of(entry: Entry) -> tuple[str | None, ...]:
    """The roll-up dimensions of a row, in the order of `DIMENSIONS`; the model is the answer's, else the request's."""
    return (
        entry.tenant,
        entry.provider,
        entry.response_model or entry.request_model,
        entry.operation,
        entry.cost_method,
        entry.unpriced_reason,
        entry.agent,
        entry.cost_center,
        entry.service,
        entry.environment,
    )


def summed(entries: Sequence[Entry]) -> Sums:
    """What entries add to every level, in Python, so that the database is written once a key."""
    posted: _Posted = {}
    for entry in entries:
        if entry.role == ROLE_CALL:
            _post(posted, entry)
    sums: Sums = {}
    for (over_all, hour, late_month, known), found in posted.items():
        dims = tuple([value or "" for value in known])
        month = month_start_ns(hour) if late_month is None else late_month
        late = () if late_month is None else ((LATE, month, dims),)
        for key in ((HOUR, hour, dims), (DAY, hour - hour % NS_PER_DAY, dims), (MONTH, month, dims), *late, (over_all, 0, dims)):
            held = sums.get(key)
            sums[key] = found if held is None else held.plus(found)
    return sums


def _post(posted: _Posted, entry: Entry) -> None:
    kind = entry.kind
    if kind == CHARGE:
        _take(posted, TOTAL, entry, 0)
    elif kind == REVERSAL:
        _take(posted, TOTAL, entry._replace(cost_pico=None if entry.cost_pico is None else -entry.cost_pico), 1)
    elif kind in (CORRECTION, ADJUSTMENT, REATTRIBUTION):
        _post_change(posted, entry)


def _post_change(posted: _Posted, entry: Entry) -> None:
    before = entry.before
    if before is None:
        raise ValueError(f"a {entry.kind} reached the roll-ups without the state before it")
    after = follow(Standing(before, entry.revision - 1), entry).net
    assert after is not None
    if dims_of(before) != dims_of(after):
        level = _moved_level(before, after) if entry.kind == REATTRIBUTION else TOTAL
        _take(posted, level, before._replace(recorded_ns=entry.recorded_ns, late=entry.late), 1)
        _take(posted, level, after._replace(recorded_ns=entry.recorded_ns, late=entry.late), 0)
    elif entry.kind != REATTRIBUTION:
        _sum_at(posted, TOTAL, after._replace(recorded_ns=entry.recorded_ns, late=entry.late)).add_difference(entry)


def _take(posted: _Posted, over_all: str, entry: Entry, side: int) -> None:
    found = _sum_at(posted, over_all, entry)
    found.take(entry, side)
    if not side:
        found.show(entry)


def _moved_level(before: Entry, after: Entry) -> str:
    return MOVED + ",".join(label for label in OPTIONAL_LABELS if getattr(before, label) != getattr(after, label))


def _sum_at(posted: _Posted, over_all: str, entry: Entry) -> _Sum:
    late_month = month_of(entry) if entry.late else None
    key = over_all, entry.started_ns - entry.started_ns % NS_PER_HOUR, late_month, dims_of(entry)
    found = posted.get(key)
    if found is None:
        found = posted[key] = _Sum()
    return found


def _row(level: str, bucket: int, dim_no: int, found: _Sum) -> list[object]:
    shown_ns, shown_trace, shown_pico = found.exemplar or (None, None, None)
    plus = divmod(found.amounts[_COST], PICO_PER_USD)
    minus = divmod(found.amounts[_COST + 1], PICO_PER_USD)
    trace = None if shown_trace is None else bytes.fromhex(shown_trace)
    return [level, bucket, dim_no, *found.amounts[:_COST], *plus, *minus, trace, shown_pico, shown_ns]


def _row_key(row: list[object]) -> tuple[object, ...]:
    """All settlers write keys in one order, so that two of them cannot wait for each other."""
    return row[0], row[1], row[2]


def _carry(name: str) -> str:
    rest = f"(rollups.{name}_pico + excluded.{name}_pico)"
    full = f"{rest} >= {PICO_PER_USD}"
    return (
        f"{name}_usd = rollups.{name}_usd + excluded.{name}_usd + CASE WHEN {full} THEN 1 ELSE 0 END, "
        f"{name}_pico = {rest} - CASE WHEN {full} THEN {PICO_PER_USD} ELSE 0 END"
    )


def _newest(name: str) -> str:
    newer = "excluded.exemplar_ns IS NOT NULL AND (rollups.exemplar_ns IS NULL OR excluded.exemplar_ns >= rollups.exemplar_ns)"
    return f"{name} = CASE WHEN {newer} THEN excluded.{name} ELSE rollups.{name} END"


_COLUMNS: Final = (
    "level", "bucket_ns", "dim_no", *_PLAIN, "cost_usd", "cost_pico", "cost_reversed_usd", "cost_reversed_pico",
    "exemplar_trace_id", "exemplar_pico", "exemplar_ns",
)  # fmt: skip
_UPSERT: Final = (
    f"INSERT INTO rollups ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "
    "ON CONFLICT (level, bucket_ns, dim_no) DO UPDATE SET "
    + ", ".join(f"{name} = rollups.{name} + excluded.{name}" for name in _PLAIN)
    + ", "
    + ", ".join(_carry(name) for name in _MONEY)
    + ", "
    + ", ".join(_newest(name) for name in ("exemplar_trace_id", "exemplar_pico", "exemplar_ns"))
)


class _DimensionNumbers:
    """Numbers of dimension tuples, remembered only once they are committed: what a rolled back transaction inserted is
    looked up again."""

    _LIST: Final = ", ".join(DIMENSIONS)
    _INSERT: Final = f"INSERT INTO rollup_dims ({_LIST}) VALUES"
    _RETURNING: Final = f"ON CONFLICT ({_LIST}) DO NOTHING RETURNING {_LIST}, dim_no"
    _SELECT: Final = f"SELECT dim_no FROM rollup_dims WHERE {' AND '.join(f'{name} = ?' for name in DIMENSIONS)}"

    def __init__(self) -> None:
        self._known: dict[Dims, int] = {}

    def of(self, transaction: Transaction, wanted: set[Dims]) -> dict[Dims, int]:
        """The number of every tuple; new ones are inserted."""
        found = {dims: number for dims in wanted if (number := self._known.get(dims)) is not None}
        fresh = self._looked_up(transaction, sorted(wanted - found.keys()))
        if fresh:
            transaction.after_commit(lambda: self._remember(fresh))
        return found | fresh

    def _looked_up(self, transaction: Transaction, wanted: list[Dims]) -> dict[Dims, int]:
        inserted = transaction.write_values(self._INSERT, wanted, self._RETURNING)
        numbers = {tuple(row[:-1]): int(row[-1]) for row in inserted}
        for dims in wanted:
            if dims not in numbers:
                numbers[dims] = int(transaction.execute(self._SELECT, dims)[0][0])
        return numbers

    def _remember(self, fresh: dict[Dims, int]) -> None:
        if len(self._known) + len(fresh) > limits.ROLLUP_DIMENSIONS_KNOWN_MAX:
            self._known.clear()
        self._known.update(fresh)
