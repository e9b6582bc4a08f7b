"""Spend as a series in time: sums per day or hour, pieces in which nothing was spent included."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from operator import add
from typing import Final, Literal, NamedTuple, TypeAlias

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import SERIES_CELLS_MAX, SERIES_PIECES_MAX
from otel_finops.base.times import NS_PER_HOUR
from otel_finops.base.zones import next_start, pieces, zone_of
from otel_finops.ledger.course import Span, cells_of
from otel_finops.ledger.pruned import pruned_until_ns
from otel_finops.ledger.reader import SUBJECT_KEYS, by_reference
from otel_finops.ledger.spend import PERIOD, TIME_KEYS, Question
from otel_finops.ledger.spend_entries import Amounts
from otel_finops.ledger.subjects import Subjects
from otel_finops.store.unit_of_work import Transaction

Step: TypeAlias = Literal["day", "hour"]
DIMENSIONS_MAX: Final = 2
"""Keys by which one series is cut apart: more make groups that are too small to say anything about."""
ZERO: Final = Amounts(0)


class Series(NamedTuple):
    """Sums of pieces of time that follow each other without holes.

    Attributes:
        starts_ns: where each piece begins, ascending; the first one is where the time asked for begins.
        groups: by the values of the keys asked for, '' for not known, users and sessions as references: for every piece the standing
            calls' cost (pico-USD), calls, tokens, unpriced ones, prompt tokens and those read from a cache; zeros where nothing was.
            Groups in which nothing ever was are not there; without keys the one group `()` always is.
    """

    starts_ns: tuple[int, ...]
    groups: dict[tuple[str, ...], tuple[Amounts, ...]]

    def costs(self, key: tuple[str, ...] = ()) -> tuple[int, ...]:
        """The cost of every piece, pico-USD; zeros for a group that is not there."""
        return tuple(amounts.amount for amounts in self.groups.get(key, ())) or (0,) * len(self.starts_ns)


def read_series(
    transaction: Transaction,
    tenants: Collection[str] | None,
    by: Sequence[str],
    from_ns: int,
    to_ns: int,
    step: Step,
    zone: str = "UTC",
    filters: Mapping[str, Collection[str]] = {},
) -> Series:
    """The course of spend of [from_ns, to_ns), as spend reports count it; whole hours and days come from roll-ups.

    Args:
        tenants: that may be seen; None for all.
        by: at most two keys of spend reports that are no times; keys that only entries know (user, session, step, ...) are slower.
        step: days as the zone has them, or the hours of UTC, at which all zones' days but those of broken offsets begin.
        filters: allowed values by key, '' for not known, users and sessions as clear values.

    Raises:
        BadInput: an unknown key or zone, too many keys, pieces or groups, or a range that ends before it begins.
    """
    if any(name in (PERIOD, *TIME_KEYS) for name in by):
        raise BadInput("by: keys that are no times; the steps are the times")
    if len(by) > DIMENSIONS_MAX:
        raise BadInput(f"by: at most {DIMENSIONS_MAX} keys")
    spans = _cut(from_ns, to_ns, step, zone)
    question = Question(tenants, tuple(by), from_ns, to_ns, by_reference(transaction, filters), with_cache=True).checked()
    cells = cells_of(transaction, question, spans) if spans else {}
    keys = {tuple(str(value) for value in place[1:]) for place in cells} if by else {()}
    if len(keys) * len(spans) > SERIES_CELLS_MAX:
        raise BadInput(f"by: {len(keys)} groups of {len(spans)} {step}s are too many; narrow the time, filter, or use fewer keys")
    rows = {key: [ZERO] * len(spans) for key in sorted(keys)}
    for (place, *key), found in cells.items():
        rows[tuple(map(str, key))][int(place)] = found.amounts
    return Series(tuple(start for start, _ in spans), {key: tuple(row) for key, row in rows.items()})


def cut_from(transaction: Transaction, from_ns: int, zone: str) -> int:
    """From when on the days of a zone can be told apart, `from_ns` or later: of what retention pruned sums are kept by whole hours (UTC),
    so days that begin within an hour are known from the first one on that lies behind it.
    """
    pruned_ns, cut = pruned_until_ns(transaction), zone_of(zone)
    if from_ns >= pruned_ns or all(start % NS_PER_HOUR == 0 for start, _ in pieces("day", from_ns, pruned_ns, cut)):
        return from_ns
    return next_start("day", pruned_ns - 1, cut)


def by_name(transaction: Transaction, subjects: Subjects, by: Sequence[str], series: Series) -> Series:
    """The series with users and sessions as people call them: one of a name has a reference in every realm, and is one group.

    Erased ones keep their references.

    Args:
        by: the keys that it was read by.
    """
    places = [place for place, name in enumerate(by) if name in SUBJECT_KEYS]
    if not places:
        return series
    clear = subjects.clear(transaction, {key[place] for key in series.groups for place in places if key[place]})
    groups: dict[tuple[str, ...], tuple[Amounts, ...]] = {}
    for key, row in series.groups.items():
        named = tuple(clear.get(value, value) if place in places else value for place, value in enumerate(key))
        groups[named] = tuple(map(_added, groups[named], row)) if named in groups else row
    return Series(series.starts_ns, groups)


def _added(one: Amounts, other: Amounts) -> Amounts:
    return Amounts._make(map(add, one, other))


def _cut(from_ns: int, to_ns: int, step: Step, zone: str) -> list[Span]:
    cuts = _hours(from_ns, to_ns) if step == "hour" else pieces("day", from_ns, to_ns, zone_of(zone))
    spans = list(islice(cuts, SERIES_PIECES_MAX + 1))
    if len(spans) > SERIES_PIECES_MAX:
        raise BadInput(f"from, to: more than {SERIES_PIECES_MAX} {step}s; ask for days, or a shorter time")
    return spans


def _hours(from_ns: int, to_ns: int) -> Iterator[Span]:
    start = from_ns
    while start < to_ns:
        end = min(start - start % NS_PER_HOUR + NS_PER_HOUR, to_ns)
        yield start, end
        start = end
