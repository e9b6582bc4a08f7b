"""What stands for a span once all its entries are folded: the charge with corrections added, reversals taken off, and the
latest attribution.

The fold is the meaning of the ledger: exports, trees and settling read it, and roll-ups must equal it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

from otel_finops.base.errors import BrokenLedger
from otel_finops.genai.usage import Usage
from otel_finops.ledger.entry import ADJUSTMENT, CHARGE, CORRECTION, REATTRIBUTION, REVERSAL, Entry
from otel_finops.pricing.quote import COVERED, CostLine

EntryKey: TypeAlias = tuple[str, str, str]
"""(realm, trace id, span id)."""

REAL_FIELDS: Final = ("billed_pico", "list_pico", "contracted_pico", "effective_pico")
"""Where nothing is stored they are the entry's own cost, or difference of cost; on covered rows they are not known then."""
MONEY_FIELDS: Final = ("cost_pico", "reported_pico", *REAL_FIELDS)
ATTRIBUTION_FIELDS: Final = (
    "tenant", "agent", "step", "tool", "workflow", "user", "session", "cost_center", "purpose", "service", "environment",
    "reservation_id", "tags",
)  # fmt: skip


class Standing(NamedTuple):
    """A span's state after some entries.

    Attributes:
        net: the state as one charge at the place of the charge that opened it; None when all was reversed.
        revision: of the span's latest entry.
    """

    net: Entry | None
    revision: int


def fold(entries: Iterable[Entry]) -> dict[EntryKey, Entry]:
    """What stands per span, from entries in the order in which they were booked.

    Raises:
        BrokenLedger: an entry does not follow from those before it.
    """
    return {key: state.net for key, state in states(entries).items() if state.net is not None}


def states(entries: Iterable[Entry]) -> dict[EntryKey, Standing]:
    """Like `fold`, with spans of which nothing stands any more, and with revisions."""
    found: dict[EntryKey, Standing] = {}
    for entry in entries:
        key = entry.key
        found[key] = follow(found.get(key), entry)
    return found


def follow(state: Standing | None, entry: Entry) -> Standing:
    """The state after one more entry of the same span."""
    if state is not None and entry.revision != state.revision + 1:
        raise _broken(entry, f"revision {entry.revision} follows {state.revision}")
    return Standing(_STEPS[entry.kind](None if state is None else state.net, entry), entry.revision)


def with_before(entries: Iterable[Entry]) -> list[Entry]:
    """The entries with `before` filled in, as projections need it when they are rebuilt from what is stored."""
    found: dict[EntryKey, Standing] = {}
    filled = []
    for entry in entries:
        state = found.get(entry.key)
        moves = entry.kind in (CORRECTION, ADJUSTMENT, REATTRIBUTION)
        filled.append(entry._replace(before=state.net) if moves and state is not None else entry)
        found[entry.key] = follow(state, entry)
    return filled


def _charged(net: Entry | None, entry: Entry) -> Entry:
    if net is not None:
        raise _broken(entry, "a charge where one stands already")
    return entry


def _reversed(net: Entry | None, entry: Entry) -> None:
    standing = _required(net, entry)
    if entry.reverses != standing.entry_id:
        raise _broken(entry, f"it reverses {entry.reverses}, but {standing.entry_id} stands")
    if (standing.cost_pico or 0) + (entry.cost_pico or 0) or standing.usage != entry.usage:
        raise _broken(entry, "a reversal of other amounts than stand")


def _corrected(net: Entry | None, entry: Entry) -> Entry:
    standing = _required(net, entry)
    return entry._replace(
        kind=CHARGE,
        usage=added_usage(standing.usage, entry.usage),
        cost_lines=merged_lines((*standing.cost_lines, *entry.cost_lines)),
        shard=standing.shard,
        block_seq=standing.block_seq,
        idx=standing.idx,
        before=None,
        **_added_money(standing, entry),
    )


def _adjusted(net: Entry | None, entry: Entry) -> Entry:
    standing = _required(net, entry)
    return standing._replace(
        revision=entry.revision,
        recorded_ns=entry.recorded_ns,
        cost_lines=merged_lines((*standing.cost_lines, *entry.cost_lines)),
        **_added_money(standing, entry),
    )


def _reattributed(net: Entry | None, entry: Entry) -> Entry:
    standing = _required(net, entry)
    return standing._replace(revision=entry.revision, recorded_ns=entry.recorded_ns, **attribution_of(entry))


_STEPS: Final[dict[str, Callable[[Entry | None, Entry], Entry | None]]] = {
    CHARGE: _charged,
    REVERSAL: _reversed,
    CORRECTION: _corrected,
    ADJUSTMENT: _adjusted,
    REATTRIBUTION: _reattributed,
}


def attribution_of(entry: Entry) -> dict[str, Any]:
    """The entry's attribution by field name, for `_replace`."""
    return {name: getattr(entry, name) for name in ATTRIBUTION_FIELDS}


def real_amounts(entry: Entry) -> dict[str, int | None]:
    """The amounts of `REAL_FIELDS` with those filled in that are not stored."""
    unstored = None if entry.cost_method == COVERED else entry.cost_pico
    return {name: unstored if (stored := getattr(entry, name)) is None else stored for name in REAL_FIELDS}


def _added_money(standing: Entry, entry: Entry) -> dict[str, Any]:
    cost = added(standing.cost_pico, entry.cost_pico)
    total = {"cost_pico": cost, "reported_pico": added(standing.reported_pico, entry.reported_pico)}
    if not any(getattr(one, name) is not None for one in (standing, entry) for name in REAL_FIELDS):
        return {**total, **dict.fromkeys(REAL_FIELDS)}
    before, more = real_amounts(standing), real_amounts(entry)
    unstored = None if standing.cost_method == COVERED else cost
    for name in REAL_FIELDS:
        amount = added(before[name], more[name])
        total[name] = None if amount == unstored else amount
    return total


def added(first: int | None, second: int | None) -> int | None:
    """The sum of two amounts of which either may be unknown; None when both are."""
    if first is None:
        return second
    return first if second is None else first + second


def added_usage(first: Usage, second: Usage) -> Usage:
    """Counts added unit by unit, zero counts left out."""
    if not second:
        return first
    total = {unit: first.get(unit, 0) + second.get(unit, 0) for unit in {**first, **second}}
    return {unit: count for unit, count in total.items() if count}


def merged_lines(lines: Iterable[CostLine]) -> tuple[CostLine, ...]:
    """Cost lines with equal unit and rate added up, those that cancel out left out, in the order of unit and rate."""
    merged: dict[tuple[str, str], CostLine] = {}
    for line in lines:
        key = line.unit, line.rate_usd
        seen = merged.get(key)
        merged[key] = line if seen is None else _line_sum(seen, line)
    return tuple(merged[key] for key in sorted(merged) if merged[key].amount_pico or merged[key].quantity not in (0, "0"))


def negated_lines(lines: Iterable[CostLine]) -> tuple[CostLine, ...]:
    """Lines to subtract by adding: quantities and amounts negative."""
    return tuple(line._replace(quantity=_negated(line.quantity), amount_pico=-line.amount_pico) for line in lines)


def _line_sum(first: CostLine, second: CostLine) -> CostLine:
    return first._replace(quantity=_quantity_sum(first.quantity, second.quantity), amount_pico=first.amount_pico + second.amount_pico)


def _quantity_sum(first: int | str, second: int | str) -> int | str:
    if isinstance(first, int) and isinstance(second, int):
        return first + second
    total = Decimal(first) + Decimal(second)
    return f"{total.normalize():f}" if total else "0"


def _negated(quantity: int | str) -> int | str:
    return -quantity if isinstance(quantity, int) else _quantity_sum(0, f"-{quantity}")


def _required(net: Entry | None, entry: Entry) -> Entry:
    if net is None:
        raise _broken(entry, f"a {entry.kind} of what does not stand")
    return net


def _broken(entry: Entry, what: str) -> BrokenLedger:
    return BrokenLedger(f"entry {entry.entry_id}: {what}; run `ledger verify`")
