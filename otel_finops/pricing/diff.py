"""What one price list changes against another, and which changes are too large to be believed unseen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from otel_finops.pricing.rates import exact, plain
from otel_finops.pricing.snapshot import Fields
from otel_finops.pricing.sources.fields import prices_of

SHRINK_MAX: Final = 0.2
"""A list that lost more than this share of its rows was cut off, or is another one."""
FACTOR_MAX: Final = 10
"""A price that moves by more than this factor is a slip of the list more often than a price."""
_NO_PRICE_FIELDS: Final = frozenset({"deprecation_date", "last_seen"})


class PriceChange(NamedTuple):
    """One price of a row; None where the row had, or has, none."""

    field: str
    before: float | int | None
    after: float | int | None


class RowChange(NamedTuple):
    """A row whose prices changed, by its key in the new list."""

    key: str
    prices: tuple[PriceChange, ...]


class Diff(NamedTuple):
    """What changes from one set of rows to another, each sorted by key.

    Attributes:
        new: keys that only the new rows have.
        changed: rows with other prices.
        gone: keys that only the old rows have.
    """

    new: tuple[str, ...]
    changed: tuple[RowChange, ...]
    gone: tuple[str, ...]


def compare(before: Mapping[str, Fields], after: Mapping[str, Fields]) -> Diff:
    """The difference of two sets of rows; keys are compared without regard to capitals."""
    old = {key.lower(): key for key in before}
    new = {key.lower(): key for key in after}
    pairs = ((new[name], before[old[name]], after[new[name]]) for name in sorted(old.keys() & new.keys()))
    changed = ((key, price_changes(was, now)) for key, was, now in pairs if not same_prices(was, now))
    return Diff(
        tuple(new[name] for name in sorted(new.keys() - old.keys())),
        tuple(RowChange(key, prices) for key, prices in changed if prices),
        tuple(old[name] for name in sorted(old.keys() - new.keys())),
    )


def same_prices(before: Fields, after: Fields) -> bool:
    """Whether two rows charge alike; dates of deprecation do not count."""
    if before == after:
        return True
    return {k: v for k, v in before.items() if k not in _NO_PRICE_FIELDS} == {k: v for k, v in after.items() if k not in _NO_PRICE_FIELDS}


def price_changes(before: Fields, after: Fields) -> tuple[PriceChange, ...]:
    """Every price that differs between two rows, nested ones by their path, sorted."""
    old, new = dict(prices_of(before)), dict(prices_of(after))
    return tuple(
        PriceChange(name, old.get(name), new.get(name)) for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)
    )


class Doubt(NamedTuple):
    """Why somebody should look before changes are taken; `row` None: it is about the whole list."""

    row: str | None
    reason: str


def guards(diff: Diff, rows_before: int, rows_after: int) -> tuple[Doubt, ...]:
    """What is odd about changes; empty when nothing is.

    Args:
        diff: against the rows that are active.
        rows_before: rows of the former list of the same source, 0 when there was none.
        rows_after: rows of the new one.
    """
    jumps = (Doubt(change.key, jump) for change in diff.changed for jump in _jumps(change))
    return (*_shrunken(rows_before, rows_after), *jumps)


def _shrunken(before: int, after: int) -> Iterator[Doubt]:
    if after < before * (1 - SHRINK_MAX):
        lost = (before - after) / before
        yield Doubt(None, f"the list shrank from {before:,} to {after:,} rows ({lost:.0%}, allowed are {SHRINK_MAX:.0%})")


def _jumps(change: RowChange) -> Iterator[str]:
    for field, before, after in change.prices:
        if before is None or after is None or before == after:
            continue
        if not before or not after:
            yield f"{field} goes from {in_usd(before)} to {in_usd(after)} USD"
        elif exact(max(before, after)) > FACTOR_MAX * exact(min(before, after)):
            yield f"{field} goes from {in_usd(before)} to {in_usd(after)} USD, by more than x{FACTOR_MAX}"


def in_usd(price: float | int) -> str:
    """A price as a plain decimal text."""
    return plain(exact(price))
