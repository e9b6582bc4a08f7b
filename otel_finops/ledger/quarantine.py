"""Spans that cannot be recorded, kept apart with the reason until somebody has them retried or dropped.

Users and sessions stand in what is kept as references only, as in the journal. What cannot even be written down is kept by its ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import NotFound, Unavailable
from otel_finops.base.limits import QUARANTINE_SPANS_MAX, QUARANTINE_SPANS_PER_REASON_MAX
from otel_finops.base.span import Rejection
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.ledger.codec import SUBJECT_KEYS, decode, decode_quote, encode, referenced
from otel_finops.ledger.faults import fault_of, is_of_surroundings, row_digest
from otel_finops.ledger.journal import JournalRow, Recorded, record
from otel_finops.ledger.subjects import SubjectKind, Subjects
from otel_finops.ledger.tenants import Tenants, own_realms
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Row, Transaction

REASON: Final = "quarantined"
MESSAGE: Final = "the span cannot be recorded, not even alone; it is kept in quarantine for the operator and need not be sent again"


class Failed(NamedTuple):
    """A row that cannot be recorded alone, and the error's type and place."""

    row: JournalRow
    reason: str


class Held(NamedTuple):
    """A span in quarantine.

    Attributes:
        no: its number, never given twice.
        trace_id, span_id: lower-case hex.
        reason: type and place of the error; nothing of the span's content.
        since_ns: since when it is held, our clock.
        retryable: all of it is kept, not only its ids.
    """

    no: int
    realm: str
    trace_id: str
    span_id: str
    reason: str
    since_ns: int
    retryable: bool


class Retried(NamedTuple):
    """What became of spans that were recorded once more.

    Attributes:
        tried: all that were to be tried, as they stood before.
        recorded: what became of those that went into the journal and left the quarantine.
        held: those that still cannot be recorded, with the error of now; and those of which only the ids are kept.
        fault: why the rest was left untried; None when all were tried.
    """

    tried: Sequence[Held]
    recorded: Recorded
    held: Sequence[Held]
    fault: str | None


_COLUMNS: Final = "quarantine_no, realm, trace_id, span_id, reason, held_since_ns, payload IS NOT NULL"
_INSERT: Final = "INSERT INTO quarantine (realm, trace_id, span_id, digest, reason, held_since_ns, payload) VALUES"
_TAKE: Final = "SELECT realm, trace_id, span_id, payload FROM quarantine WHERE quarantine_no = ?"
_DELETE: Final = "DELETE FROM quarantine WHERE quarantine_no = ?"
_COUNT: Final = "SELECT COUNT(*) FROM quarantine"
_LOCK: Final = "LOCK TABLE quarantine IN SHARE ROW EXCLUSIVE MODE"


PRUNED: Final = "pruned"
PRUNED_MESSAGE: Final = "the span's month or trace was pruned from the ledger (retention): it was charged before, or came too late"


def rejections(recorded: Recorded) -> tuple[Rejection, ...]:
    """What the sender of these rows is told of those that were not recorded, and need not be sent again."""
    told = (Rejection(REASON, MESSAGE, recorded.quarantined), Rejection(PRUNED, PRUNED_MESSAGE, recorded.pruned))
    return tuple(one for one in told if one.spans)


class Quarantine:
    """The quarantine of one ledger. Safe to use from many threads and processes.

    Args:
        store: where it stands.
        clock: our time.
        subjects: the mapping of users and sessions.
        settle_after_s: how long a trace without its root must be quiet before it is settled, for spans that are recorded after all.
        spans_max: most spans that are held.
        per_reason_max: most spans that are held for one error.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        subjects: Subjects,
        *,
        settle_after_s: float,
        spans_max: int = QUARANTINE_SPANS_MAX,
        per_reason_max: int = QUARANTINE_SPANS_PER_REASON_MAX,
    ) -> None:
        self._store = store
        self._clock = clock
        self._subjects = subjects
        self._settle_after_ns = round(settle_after_s * NS_PER_SECOND)
        self._spans_max = spans_max
        self._per_reason_max = per_reason_max

    def count(self) -> int:
        """How many spans are held."""
        with self._store.read() as transaction:
            return int(transaction.execute(_COUNT)[0][0])

    def keep(self, failed: Sequence[Failed]) -> None:
        """Hold spans, durably: all of them or none. Those that are held already stay as they are.

        Raises:
            Unavailable: the quarantine is full, or holds too many for one of these errors; their sender must keep them.
            Busy: the store's.
        """
        now_ns = self._clock.now_ns()
        rows = {(key := _key(one.row)): (*key, one.reason, now_ns, self._payload(one.row)) for one in failed}
        with self._store.write() as transaction:
            if transaction.engine_name == "postgresql":
                transaction.execute(_LOCK)  # SQLite has one writer anyway; the bounds are exact with several processes, too
            transaction.write_values(_INSERT, list(rows.values()), "ON CONFLICT (trace_id, span_id, realm, digest) DO NOTHING")
            self._check_room(transaction, Counter(one.reason for one in failed))

    def _check_room(self, transaction: Transaction, reasons: Collection[str]) -> None:
        """Give the transaction up when it went beyond a bound."""
        if transaction.execute(_COUNT)[0][0] > self._spans_max:
            raise Unavailable("these spans could not be stored and the quarantine is full; the operator must look after it")
        held = transaction.select_in("SELECT reason, COUNT(*) FROM quarantine WHERE reason IN ({}) GROUP BY reason", sorted(reasons))
        if any(spans > self._per_reason_max for _, spans in held):
            raise Unavailable("these spans could not be stored, like too many others before; the service's log says why")

    def _payload(self, row: JournalRow) -> bytes | None:
        """What the journal would have held; None when that cannot be written down."""
        try:
            refs: dict[tuple[str, str, str], str] = {}
            named = _subjects_of(row)
            if named:
                with self._store.write() as transaction:
                    for kind, clear in sorted(named):
                        found = self._subjects.refs(transaction, row.sighting.realm, kind, [clear])
                        refs[row.sighting.realm, kind, clear] = found[clear]
            return encode(referenced(row.sighting, refs), row.quote)
        except Exception as error:
            if is_of_surroundings(error):
                raise
            return None

    def held(self, tenants: Tenants, *, realm: str | None = None, before_no: int | None = None, limit: int) -> list[Held]:
        """Spans of the tenants' own realms (None: of all realms), newest first.

        Args:
            realm: only of this realm.
            before_no: only those with smaller numbers: the last one of the page before.
        """
        conditions, params = _scope(tenants)
        if realm is not None:
            conditions, params = [*conditions, "realm = ?"], [*params, realm]
        if before_no is not None:
            conditions, params = [*conditions, "quarantine_no < ?"], [*params, before_no]
        with self._store.read() as transaction:
            return _select(transaction, conditions, params, limit)

    def retry(self, tenants: Tenants, no: int | None) -> Retried:
        """Record a span, or (None) all that these tenants see, once more, oldest first, each in a transaction of its own.

        Raises:
            NotFound: there is no such span for these tenants.
            Busy, Unavailable: the store's, before anything was recorded.
        """
        with self._store.read() as transaction:
            tried = _wanted(transaction, tenants, no)
        recorded, held = Recorded(0, 0, 0), list[Held]()
        for one in tried:
            try:
                done = self._record(one) if one.retryable else None
            except Exception as error:
                if not is_of_surroundings(error):
                    held.append(one._replace(reason=fault_of(error)))
                elif recorded.journalled + recorded.duplicates:
                    return Retried(tried, recorded, held, str(error) or "the service ran out of memory")
                else:
                    raise
            else:
                if done is None:
                    held.append(one)
                elif done.pruned:
                    held.append(one._replace(reason=PRUNED))
                else:
                    recorded = Recorded(*map(sum, zip(recorded, done, strict=True)))
        return Retried(tried, recorded, held, None)

    def _record(self, held: Held) -> Recorded:
        """Move a span into the journal; nothing is recorded when somebody else was first."""
        with self._store.write() as transaction:
            lock = " FOR UPDATE" if transaction.engine_name == "postgresql" else ""
            found = transaction.execute(_TAKE + lock, (held.no,))
            if not found:
                return Recorded(0, 0, 0)
            realm, trace_id, span_id, payload = found[0]
            row = JournalRow(decode(bytes(payload), realm, bytes(trace_id).hex(), bytes(span_id).hex()), decode_quote(bytes(payload)))
            now_ns = self._clock.now_ns()
            done = record(transaction, [row], now_ns=now_ns, settle_after_ns=self._settle_after_ns, subjects=_References())
            if not done.pruned:
                transaction.execute(_DELETE, (held.no,))
            return done

    def drop(self, tenants: Tenants, no: int | None) -> list[Held]:
        """Forget a span, or (None) all that these tenants see, for ever; returns what was dropped.

        Raises:
            NotFound: there is no such span for these tenants.
        """
        with self._store.write() as transaction:
            dropped = _wanted(transaction, tenants, no)
            transaction.executemany(_DELETE, [(one.no,) for one in dropped])
        return dropped


class _References(Subjects):
    """For rows whose users and sessions are references already: they stay, those of erased persons, too."""

    def refs(self, transaction: Transaction, realm: str, kind: SubjectKind, clears: Iterable[str]) -> dict[str, str]:
        """Every reference stands for itself."""
        return {ref: ref for ref in clears}


def _key(row: JournalRow) -> tuple[str, bytes, bytes, bytes]:
    sighting = row.sighting
    return sighting.realm, bytes.fromhex(sighting.trace_id), bytes.fromhex(sighting.span_id), row_digest(row)


def _subjects_of(row: JournalRow) -> set[tuple[SubjectKind, str]]:
    said = (row.sighting.attribution, row.sighting.defaults)
    return {(kind, values[kind]) for values in said for kind in SUBJECT_KEYS if kind in values}


def _scope(tenants: Tenants) -> tuple[list[str], list[Any]]:
    realms = own_realms(tenants)
    if realms is None:
        return [], []
    if not realms:
        return ["1 = 0"], []
    return [f"realm IN ({', '.join('?' * len(realms))})"], sorted(realms)


def _wanted(transaction: Transaction, tenants: Tenants, no: int | None) -> list[Held]:
    """One span, or all that these tenants see, oldest first."""
    conditions, params = _scope(tenants)
    if no is None:
        return _select(transaction, conditions, params, QUARANTINE_SPANS_MAX)[::-1]
    found = _select(transaction, [*conditions, "quarantine_no = ?"], [*params, no], 1)
    if not found:
        raise NotFound(f"There is no span {no} in quarantine.")
    return found


def _select(transaction: Transaction, conditions: Sequence[str], params: Sequence[Any], limit: int) -> list[Held]:
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    rows = transaction.execute(f"SELECT {_COLUMNS} FROM quarantine {where}ORDER BY quarantine_no DESC LIMIT ?", (*params, limit))
    return [_held(row) for row in rows]


def _held(row: Row) -> Held:
    no, realm, trace_id, span_id, reason, since_ns, retryable = row
    return Held(no, realm, bytes(trace_id).hex(), bytes(span_id).hex(), reason, since_ns, bool(retryable))
