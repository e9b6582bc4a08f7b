"""The one door through the triggers that keep tables append-only; nothing but retention opens it.

A pass lets rows of one table be deleted, and no other change, as long as the transaction that wrote it runs. It cannot be committed, and
the triggers ask for one of the very transaction (revisions 0004 and 0005 say how). Of entries only those go that stand in blocks which an
unsealed statement of a pruning names.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, TypeAlias

from otel_finops.store.unit_of_work import Transaction

Guarded: TypeAlias = Literal["entries", "audit_entries", "correction_runs", "correction_rounds", "price_refreshes", "decisions"]
"""Tables with a door."""

_PASS_BITS: Final = 62
_INSERT: Final = "INSERT INTO retention_passes (pass_no, name, shard, upto, xid, never_no) VALUES (?, ?, ?, ?, {}, 0)"


@contextmanager
def opened(transaction: Transaction, name: Guarded, upto: int, shard: int = 0) -> Iterator[None]:
    """Let rows of a table be deleted inside the block; nothing else may be inserted in it.

    Args:
        upto: of entries, the block that will seal the statement which names them; of others, the time before which rows may go.
        shard: of entries.
    """
    number = secrets.randbits(_PASS_BITS)
    xid = "txid_current()" if transaction.engine_name == "postgresql" else "0"
    transaction.execute(_INSERT.format(xid), (number, name, shard, upto))
    yield
    transaction.execute("DELETE FROM retention_passes WHERE pass_no = ?", (number,))
