"""Price lists as they were stored, and the activations that make the book of them. Nothing is ever changed or taken away.

The book is a sequence of activations. The first one, the packaged list or that of `prices.path`, holds from the beginning; each later
one changes from its own moment on what differs from the list of its source before. Only that is stored with it, so that the book of
many years is composed without reading every list in full.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from otel_finops.base.errors import NotFound
from otel_finops.pricing.diff import same_prices
from otel_finops.pricing.snapshot import Snapshot
from otel_finops.pricing.sources.source import PriceList
from otel_finops.store.unit_of_work import Row, Transaction

BASE: Final = "base"
REFRESH: Final = "refresh"
AGAIN: Final = "again"
_VERSION_DIGITS: Final = 16
_ALL: Final = b""
"""Stands for the changes of a source's first activation: the whole list."""

_SNAPSHOT_COLUMNS: Final = "s.snapshot_no, s.source, s.source_version, s.sha256, s.taken_on, s.row_count, s.retired_count, s.stored_ns"
_ACTIVATIONS: Final = (
    f"SELECT a.activation_no, a.cause, a.activated_ns, a.valid_from_ns, a.who, {_SNAPSHOT_COLUMNS} "
    "FROM price_activations a JOIN price_snapshots s ON s.snapshot_no = a.snapshot_no ORDER BY a.activation_no"
)
_INSERT_SNAPSHOT: Final = (
    "INSERT INTO price_snapshots (source, source_version, sha256, taken_on, row_count, retired_count, stored_ns, payload) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING snapshot_no"
)
_INSERT_ACTIVATION: Final = (
    "INSERT INTO price_activations (snapshot_no, cause, activated_ns, valid_from_ns, who, changes) VALUES (?, ?, ?, ?, ?, ?) "
    "RETURNING activation_no"
)
_INSERT_REFRESH: Final = "INSERT INTO price_refreshes (at_ns, origin, outcome, detail, who) VALUES (?, ?, ?, ?, ?)"
_LAST_REFRESH: Final = "SELECT at_ns, origin, outcome, detail, who FROM price_refreshes {} ORDER BY refresh_no DESC LIMIT 1"
_LOCK: Final = "LOCK TABLE price_activations IN SHARE ROW EXCLUSIVE MODE"


class StoredList(NamedTuple):
    """A price list that is in the database.

    Attributes:
        no: its number.
        source, source_version, date: as in `Snapshot`.
        sha256: of the list's bytes; of the packaged list only the version.
        rows, retired_rows: how many it has.
        stored_ns: since when it is here.
    """

    no: int
    source: str
    source_version: str
    sha256: str
    date: str
    rows: int
    retired_rows: int
    stored_ns: int

    @property
    def version(self) -> str:
        """The price version that charges by this list bear."""
        return self.sha256[:_VERSION_DIGITS]


class Activation(NamedTuple):
    """A list's becoming part of the book.

    Attributes:
        no: its number, growing.
        stored: the list.
        cause: `base`, `refresh` or `again`.
        activated_ns: when it was done.
        valid_from_ns: from which moment of a call its changes hold; None = from the beginning.
        who: who did it.
    """

    no: int
    stored: StoredList
    cause: str
    activated_ns: int
    valid_from_ns: int | None
    who: str


class Attempt(NamedTuple):
    """One refresh: `outcome` is activated, unchanged, refused or failed; `detail` the version, or why not."""

    at_ns: int
    origin: str
    outcome: str
    detail: str
    who: str


class NamedList(NamedTuple):
    """A list that was read, with its identity."""

    source: str
    sha256: str
    said: PriceList

    @property
    def version(self) -> str:
        """The price version that charges by it bear."""
        return self.sha256[:_VERSION_DIGITS]


def revision(transaction: Transaction) -> int:
    """A number that grows with every activation; 0 while there is none."""
    return int(transaction.execute("SELECT COALESCE(MAX(activation_no), 0) FROM price_activations")[0][0])


def lock(transaction: Transaction) -> None:
    """Keep everybody else from activating a list until the transaction ends."""
    if transaction.engine_name == "postgresql":
        transaction.execute(_LOCK)  # SQLite has one writer anyway


def activations(transaction: Transaction) -> list[Activation]:
    """All activations, oldest first."""
    return [_activation(row) for row in transaction.execute(_ACTIVATIONS)]


def stored_lists(transaction: Transaction) -> list[StoredList]:
    """All lists, oldest first."""
    return [StoredList(*row) for row in transaction.execute(f"SELECT {_SNAPSHOT_COLUMNS} FROM price_snapshots s ORDER BY s.snapshot_no")]


def stored_list(transaction: Transaction, version: str) -> StoredList:
    """The list of a version, or of the beginning of one.

    Raises:
        NotFound: there is none, or several begin so.
    """
    found = [one for one in stored_lists(transaction) if one.sha256.startswith(version.lower())]
    if len(found) != 1:
        raise NotFound(f"There is {'no' if not found else 'more than one'} stored price list of the version {version[:64]!r}.")
    return found[0]


def list_of(transaction: Transaction, stored: StoredList) -> PriceList:
    """A stored list with all its rows."""
    [(payload,)] = transaction.execute("SELECT payload FROM price_snapshots WHERE snapshot_no = ?", (stored.no,))
    found = _unpacked(payload)
    return PriceList(found["rows"], stored.source_version, stored.date, found["retired"], found["dated"])


def snapshots(transaction: Transaction, made: Sequence[Activation], first: Mapping[str, Snapshot] | None = None) -> list[Snapshot]:
    """The lists of activations in their order, as the price book composes them; rows that did not change are shared.

    Args:
        made: all activations, oldest first.
        first: lists that are at hand, by version, so that the database need not be asked for them.
    """
    before: dict[str, Snapshot] = {}
    found = []
    blobs = {no: bytes(blob) for no, blob in transaction.execute("SELECT activation_no, changes FROM price_activations")}
    for activation in made:
        stored, blob = activation.stored, blobs[activation.no]
        if blob != _ALL:
            one = _changed(before[stored.source], activation, _unpacked(blob))
        elif first and stored.version in first:
            one = first[stored.version]._replace(valid_from_ns=activation.valid_from_ns)
        else:
            one = snapshot_of(NamedList(stored.source, stored.sha256, list_of(transaction, stored)), activation.valid_from_ns)
        before[stored.source] = one
        found.append(one)
    return found


def _changed(before: Snapshot, activation: Activation, change: Mapping[str, Any]) -> Snapshot:
    stored = activation.stored
    rows = {**before.rows, **change["rows"]}
    for key in change["gone"]:
        del rows[key]
    said = PriceList(rows, stored.source_version, stored.date, change["retired"], change["dated"])
    return snapshot_of(NamedList(stored.source, stored.sha256, said), activation.valid_from_ns)


def snapshot_of(one: NamedList, valid_from_ns: int | None) -> Snapshot:
    """A whole list as the price book composes it."""
    said = one.said
    return Snapshot(one.source, said.source_version, one.version, said.date, valid_from_ns, said.rows, said.retired, said.dated)


def named(snapshot: Snapshot) -> NamedList:
    """A list that was read as a snapshot; of its digest only the version is known."""
    said = PriceList(snapshot.rows, snapshot.source_version, snapshot.date, snapshot.retired, snapshot.dated)
    return NamedList(snapshot.source, snapshot.version, said)


def latest_lists(transaction: Transaction, made: Sequence[Activation]) -> dict[str, PriceList]:
    """By source the list that was activated last."""
    latest = {activation.stored.source: activation.stored for activation in made}
    return {source: list_of(transaction, stored) for source, stored in latest.items()}


def is_wanting(made: Sequence[Activation], base: NamedList) -> bool:
    """Whether the packaged or configured list must still become part of the book.

    It is not when it was the last such list, nor when its source has a newer list by a refresh: an upgrade of the program that
    brings an older list must not take the prices back.
    """
    if not made:
        return True
    last = [activation.stored for activation in made if activation.cause == BASE][-1:]
    if last and (last[0].source, last[0].sha256) == (base.source, base.sha256):
        return False
    active = [activation.stored for activation in made if activation.stored.source == base.source][-1:]
    return not (active and active[0].date and base.said.date and active[0].date >= base.said.date)


def activate(
    transaction: Transaction, one: NamedList, former: PriceList | None, *, cause: str, now_ns: int, valid_from_ns: int | None, who: str
) -> Activation:
    """Store a list, unless it is stored already, and make it part of the book; `lock` was called before.

    Args:
        former: the list of the source before; None when this is its first.
    """
    stored = _stored(transaction, one) or _store(transaction, one, now_ns)
    changes = _ALL if former is None else _step(former, one.said)
    [(no,)] = transaction.execute(_INSERT_ACTIVATION, (stored.no, cause, now_ns, valid_from_ns, who, changes))
    return Activation(int(no), stored, cause, now_ns, valid_from_ns, who)


def _step(former: PriceList, said: PriceList) -> bytes:
    """What leads from one list to the next; dates of deprecation are no change."""
    rows = {key: row for key, row in said.rows.items() if key not in former.rows or not same_prices(former.rows[key], row)}
    gone = [key for key in former.rows if key not in said.rows]
    retired = {key: row for key, row in said.retired.items() if key not in former.retired}
    return _packed({"rows": rows, "gone": gone, "retired": retired, "dated": {} if said.dated == former.dated else said.dated})


def note(transaction: Transaction, attempt: Attempt) -> None:
    """Put an attempt to refresh on record."""
    transaction.execute(_INSERT_REFRESH, attempt)


def last_attempt(transaction: Transaction, who: str | None = None) -> Attempt | None:
    """The latest attempt to refresh, of anybody or of one; None when there was none."""
    rows = transaction.execute(_LAST_REFRESH.format("WHERE who = ?" if who else ""), (who,) if who else ())
    return Attempt(*rows[0]) if rows else None


def _stored(transaction: Transaction, one: NamedList) -> StoredList | None:
    sql = f"SELECT {_SNAPSHOT_COLUMNS} FROM price_snapshots s WHERE s.source = ? AND s.sha256 = ?"
    rows = transaction.execute(sql, (one.source, one.sha256))
    return StoredList(*rows[0]) if rows else None


def _store(transaction: Transaction, one: NamedList, now_ns: int) -> StoredList:
    said = one.said
    values = (one.source, said.source_version, one.sha256, said.date, len(said.rows), len(said.retired), now_ns)
    payload = _packed({"rows": said.rows, "retired": said.retired, "dated": said.dated})
    [(no,)] = transaction.execute(_INSERT_SNAPSHOT, (*values, payload))
    return StoredList(int(no), *values)


def _activation(row: Row) -> Activation:
    no, cause, activated_ns, valid_from_ns, who, *stored = row
    return Activation(no, StoredList(*stored), cause, activated_ns, valid_from_ns, who)


def _packed(value: Mapping[str, Any]) -> bytes:
    return gzip.compress(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), mtime=0)


def _unpacked(payload: bytes) -> dict[str, Any]:
    return orjson.loads(gzip.decompress(bytes(payload)))  # type: ignore[no-any-return]
