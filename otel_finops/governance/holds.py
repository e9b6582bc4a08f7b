"""What reservations hold of the windows of budgets, each hold a row of its own beside the sum that stands with the window."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from otel_finops.governance.counts import Sums
from otel_finops.store.unit_of_work import Transaction

_INSERT: Final = "INSERT INTO budget_holds (reservation_id, count_no, start_ns, pico, tokens, calls) VALUES"
_TAKE: Final = "DELETE FROM budget_holds WHERE reservation_id IN ({}) RETURNING count_no, start_ns, pico, tokens, calls"
_OF: Final = "SELECT count_no, start_ns, pico, tokens, calls FROM budget_holds WHERE reservation_id = ? ORDER BY count_no"
_TURN: Final = "UPDATE budget_holds SET pico = ?, tokens = ? WHERE reservation_id = ?"


class Hold(NamedTuple):
    """What a reservation holds of one window."""

    count_no: int
    start_ns: int
    pico: int
    tokens: int
    calls: int


def keep(transaction: Transaction, reservation_id: str, holds: Sequence[Hold]) -> None:
    """Note what is held; the windows' rows have it already."""
    transaction.write_values(_INSERT, [(reservation_id, *hold) for hold in holds])


def take_back(transaction: Transaction, reservation_ids: Collection[str], sums: Sums) -> None:
    """Note in `sums` what is held no longer; of reservations that hold nothing, nothing."""
    for count_no, start_ns, pico, tokens, calls in transaction.select_in(_TAKE, sorted(reservation_ids)):
        sums.hold(int(count_no), int(start_ns), -int(pico), -int(tokens), -int(calls))


def turn(transaction: Transaction, reservation_id: str, pico: int, tokens: int | None, sums: Sums) -> None:
    """Make what is held the actual amounts (tokens None: as held) and note the difference in `sums`.

    The caller has locked the reservation, so that nobody else changes its holds.
    """
    held = [Hold(*map(int, row)) for row in transaction.execute(_OF, (reservation_id,))]
    for hold in held:
        sums.hold(hold.count_no, hold.start_ns, pico - hold.pico, 0 if tokens is None else tokens - hold.tokens, 0)
    if held:
        transaction.execute(_TURN, (pico, held[0].tokens if tokens is None else tokens, reservation_id))
