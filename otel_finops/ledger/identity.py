"""The ledger's own id: drawn once, the same for every process that works on the database."""

from __future__ import annotations

from typing import Final

from otel_finops.base.ids import IdSource, RandomIds
from otel_finops.store.engine import Store

LEDGER_ID_BYTES: Final = 8

_FIND: Final = "SELECT ledger_id FROM ledger_identity"
_MAKE: Final = "INSERT INTO ledger_identity (row_no, ledger_id, made_ns) VALUES (1, ?, ?) ON CONFLICT (row_no) DO NOTHING"


def ledger_id(store: Store, ids: IdSource | None = None) -> str:
    """The id of the ledger in this database, 16 lower-case hex digits; made when it is first asked for, whoever asks first.

    Raises:
        Busy, Unavailable: the store's.
    """
    with store.read() as transaction:
        found = transaction.execute(_FIND)
    if not found:
        with store.write() as transaction:
            transaction.execute(_MAKE, ((ids or RandomIds()).token(LEDGER_ID_BYTES), store.clock.now_ns()))
            found = transaction.execute(_FIND)  # another process's, if that was first
    return str(found[0][0])
