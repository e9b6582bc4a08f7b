"""To which month an entry belongs, and up to where months are closed: what appending and summing need to know of periods.

Months are those of UTC. An entry belongs to the month of its `started_at`; one that came when that month was closed is marked
`late` and belongs to the month of its `recorded_at`, which is open then. So nothing is ever added to a closed month.
"""

from __future__ import annotations

import re
from typing import Final

from otel_finops.base.errors import BadInput
from otel_finops.base.times import format_ns, month_start_ns, parse_ns
from otel_finops.ledger.entry import Entry
from otel_finops.store.unit_of_work import Transaction

_MONTH: Final = re.compile(r"20\d\d-(0[1-9]|1[0-2])")


def month_ns(name: str) -> int:
    """The start of the month that a name (`2026-11`) stands for.

    Raises:
        BadInput: it is no name of a month.
    """
    if not _MONTH.fullmatch(name):
        raise BadInput(f"{name[:20]!r} is no month; write the year and the month, e.g. 2026-11")
    return parse_ns(f"{name}-01")


def month_name(instant_ns: int) -> str:
    """The name of the month in which an instant lies."""
    return format_ns(instant_ns)[:7]


def closed_until_ns(transaction: Transaction) -> int:
    """The instant before which every month is closed; 0 when none is."""
    [(found,)] = transaction.execute("SELECT MAX(to_ns) FROM periods")
    return found or 0


def month_of(entry: Entry) -> int:
    """The start of the month to which an entry belongs."""
    return month_start_ns(entry.recorded_ns if entry.late else entry.started_ns)
