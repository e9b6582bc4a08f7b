"""The journal: every span that was accepted, once, before its sender hears OK; and which traces wait to be settled.

A span is unique by (trace, span id, content hash). An equal delivery adds nothing; another content is a further version,
and which version stands does not depend on the order of arrival.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

from otel_finops.base.errors import Busy
from otel_finops.base.limits import SETTLE_AHEAD_MAX_S, SETTLE_BATCHES_AT_ONCE, SETTLE_WAIT_MAX_S
from otel_finops.base.money import PICO_MAX
from otel_finops.base.times import NS_PER_SECOND, month_start_ns
from otel_finops.genai.sighting import CALL, Sighting
from otel_finops.ledger.call_keys import keys_of
from otel_finops.ledger.codec import SUBJECT_KEYS, Author, content_hash, decode, decode_author, encode, names_subject, referenced
from otel_finops.ledger.key_index import PLACE_BYTES, PlacedKey, insert_keys
from otel_finops.ledger.projection import Journalled, PendingCalls
from otel_finops.ledger.pruned import pruned_until_ns
from otel_finops.ledger.recent import Growth, RecentTraces
from otel_finops.ledger.shards import shard_of
from otel_finops.ledger.subjects import SubjectKind, Subjects
from otel_finops.ledger.tenants import own_realms
from otel_finops.pricing.quote import Quote
from otel_finops.store.unit_of_work import LIST_VALUES_MAX, Row, Transaction

CONFLICTS: Final = "conflicts"
"""Counter of further versions of spans that were journalled already."""


class JournalRow(NamedTuple):
    """A span to be journalled; the quote is None on what is no call."""

    sighting: Sighting
    quote: Quote | None


class Recorded(NamedTuple):
    """What became of rows.

    Attributes:
        journalled: rows that are new, further versions of known spans included.
        duplicates: rows whose equal was there already, or earlier among the same rows.
        conflicts: of the journalled ones those that are further versions of a span.
        quarantined: rows that cannot be recorded and are kept apart (`ledger.poison`).
        pruned: rows of months, or traces, of which retention took what would tell them from what was charged already.
    """

    journalled: int
    duplicates: int
    conflicts: int
    quarantined: int = 0
    pruned: int = 0


Version: TypeAlias = tuple[bytes, bytes]
"""(span id, content hash)."""


class _Arrival(NamedTuple):
    """A row, and which of the batches of a group commit brought it."""

    sighting: Sighting
    quote: Quote | None
    batch: int


class _Facts(NamedTuple):
    """What rows add to their trace."""

    has_genai: bool
    has_root: bool
    pending_pico: int
    pending_calls: int


class _Known(NamedTuple):
    """A trace that was there before."""

    trace_no: int
    realm: str
    trace_id: bytes
    version: int
    has_genai: bool
    has_root: bool
    pending_pico: int
    pending_calls: int
    waiting_since_ns: int | None
    sealed: bool


TraceKey: TypeAlias = tuple[str, bytes]
Versions: TypeAlias = dict[Version, _Arrival]
Arrivals: TypeAlias = dict[TraceKey, Versions]
Added: TypeAlias = dict[TraceKey, list[Sighting]]

_INSERT_TRACES: Final = (
    "INSERT INTO traces (realm, trace_id, shard, first_seen_ns, version, due_ns, has_genai, has_root, booked, "
    "pending_pico, pending_calls, waiting_since_ns) VALUES"
)
_RETURN_TRACES: Final = "ON CONFLICT (trace_id, realm) DO NOTHING RETURNING realm, trace_id, trace_no"
_FIND_TRACES: Final = "SELECT trace_no FROM traces WHERE realm = ? AND trace_id IN ({})"
_LOCK_TRACES: Final = (
    "SELECT trace_no, realm, trace_id, version, has_genai, has_root, pending_pico, pending_calls, waiting_since_ns, sealed_ns "
    "FROM traces WHERE trace_no IN ({}) ORDER BY trace_no"
)
_INSERT_SPANS: Final = "INSERT INTO journal (trace_no, span_id, content_hash, end_ns, output, genai, payload) VALUES"
_FIND_SPANS: Final = "SELECT j.trace_no, j.span_id, j.content_hash FROM journal AS j JOIN (VALUES"
_FIND_VERSIONS: Final = "SELECT j.trace_no, j.span_id, j.end_ns, j.output, j.content_hash, j.payload FROM journal AS j JOIN (VALUES"
_FOUND_SPANS: Final = ") AS v ON j.trace_no = v.column1 AND j.span_id = v.column2"
_INSERT_LINKS: Final = "INSERT INTO trace_links (trace_no, linked_trace_id) VALUES"
_UPDATE_TRACES: Final = (
    "UPDATE traces SET version = version + 1, has_genai = v.column2, has_root = v.column3, due_ns = CAST(v.column4 AS BIGINT), "
    "pending_pico = v.column5, pending_calls = v.column6, waiting_since_ns = CAST(v.column7 AS BIGINT) FROM (VALUES"
)
_COUNT: Final = "INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value"


def record(
    transaction: Transaction,
    rows: Sequence[JournalRow],
    *,
    now_ns: int,
    settle_after_ns: int,
    subjects: Subjects,
    recent: RecentTraces | None = None,
) -> Recorded:
    """Journal rows; sending the same rows again changes nothing.

    Args:
        transaction: a writing one.
        rows: in any order; a span may come several times, in equal or different versions.
        now_ns: our clock.
        settle_after_ns: how long a trace without its root must be quiet before it is settled.
        subjects: maps users and sessions, which are stored as references only.
        recent: keeps the traces for settling once they are durable; None for nobody.

    Raises:
        Busy: a trace went away meanwhile; the transaction must be given up and may be tried again.
    """
    return record_batches(transaction, [rows], now_ns=now_ns, settle_after_ns=settle_after_ns, subjects=subjects, recent=recent)[0]


def record_batches(
    transaction: Transaction,
    batches: Sequence[Sequence[JournalRow]],
    *,
    now_ns: int,
    settle_after_ns: int,
    subjects: Subjects,
    recent: RecentTraces | None = None,
    pending: PendingCalls | None = None,
) -> list[Recorded]:
    """Journal all batches of one group commit as `record` does; what became of each is told apart.

    Args:
        pending: told of what is new, where it is asked; None: nobody is.
    """
    arrivals = _group(batches)
    pruned = _drop_pruned(transaction, arrivals, now_ns)
    numbers = _insert_traces(transaction, arrivals, now_ns, settle_after_ns)
    known = _lock_others(transaction, [key for key in arrivals if key not in numbers])
    pruned.lost += _drop_sealed(arrivals, known)
    pruned.confirm(transaction)
    numbers.update({(trace.realm, trace.trace_id): trace.trace_no for trace in known})
    spans = _drop_known_versions(transaction, arrivals, known)
    conflicts = _conflicts(arrivals, spans)
    added = _insert_spans(transaction, arrivals, numbers, subjects)
    _update_known(transaction, arrivals, known, now_ns, settle_after_ns)
    if conflicts:
        transaction.execute(_COUNT, (CONFLICTS, conflicts.total()))
    if pending is not None and pending.is_asked:
        pending.note(transaction, list(_journalled(arrivals, added, numbers, known)), now_ns)
    if recent is not None:
        growths = list(_growths(added, numbers, known, spans))
        transaction.after_commit(lambda: recent.grow(growths))
    journalled = Counter(arrival.batch for versions in arrivals.values() for arrival in versions.values())
    lost = pruned.lost
    return [Recorded(journalled[i], len(rows) - journalled[i] - lost[i], conflicts[i], 0, lost[i]) for i, rows in enumerate(batches)]


def _group(batches: Iterable[Iterable[JournalRow]]) -> Arrivals:
    """Rows by trace and version, traces in the order of their ids so that two writers cannot wait for each other."""
    arrivals: dict[tuple[str, str], Versions] = {}
    for batch, rows in enumerate(batches):
        for sighting, quote in rows:
            versions = arrivals.setdefault((sighting.realm, sighting.trace_id), {})
            versions.setdefault((bytes.fromhex(sighting.span_id), content_hash(sighting)), _Arrival(sighting, quote, batch))
    return {(realm, bytes.fromhex(trace_id)): arrivals[realm, trace_id] for realm, trace_id in sorted(arrivals)}


class _Horizon:
    """Up to where months are pruned, and how many rows of each batch were left out for that."""

    def __init__(self, until_ns: int | None) -> None:
        self._until_ns = until_ns
        self.lost: Counter[int] = Counter()

    def confirm(self, transaction: Transaction) -> None:
        """Make sure that no further month was begun to be pruned before the traces were inserted; raises Busy."""
        if self._until_ns is not None and transaction.engine_name == "postgresql" and pruned_until_ns(transaction) != self._until_ns:
            raise Busy("older months are being pruned; nothing was stored, send it again", retry_after_s=0.1)


def _drop_pruned(transaction: Transaction, arrivals: Arrivals, now_ns: int) -> _Horizon:
    """Take out of `arrivals` the rows of unknown traces that started in months that were pruned: whether they were charged nobody knows.

    Months that are not over are never pruned, so nobody asks about rows of this one.
    """
    open_ns = month_start_ns(now_ns)
    old = {key: versions for key, versions in arrivals.items() if any(row.sighting.start_ns < open_ns for row in versions.values())}
    if not old:
        return _Horizon(None)
    until_ns = pruned_until_ns(transaction)
    horizon = _Horizon(until_ns)
    for key, versions in old.items():
        gone = [version for version, row in versions.items() if row.sighting.start_ns < until_ns]
        if gone and not transaction.execute("SELECT 1 FROM traces WHERE realm = ? AND trace_id = ?", key):
            horizon.lost.update(versions.pop(version).batch for version in gone)
            if not versions:
                del arrivals[key]
    return horizon


def _drop_sealed(arrivals: Arrivals, known: Iterable[_Known]) -> Counter[int]:
    """Take out of `arrivals` the rows of traces of which nothing more is taken; returns how many of each batch."""
    lost: Counter[int] = Counter()
    for trace in known:
        if trace.sealed:
            versions = arrivals[trace.realm, trace.trace_id]
            lost.update(row.batch for row in versions.values())
            versions.clear()
    return lost


def _facts(rows: Collection[_Arrival]) -> _Facts:
    calls = [row.quote for row in rows if row.sighting.kind == CALL]
    return _Facts(
        has_genai=any(row.sighting.genai for row in rows),
        has_root=any(row.sighting.parent_span_id is None for row in rows),
        pending_pico=min(PICO_MAX, sum(quote.cost_pico or 0 for quote in calls if quote is not None)),
        pending_calls=len(calls),
    )


def _due(facts: _Facts, batches: int, waiting_since_ns: int, now_ns: int, settle_after_ns: int) -> int | None:
    """When to settle: at once with the root, after a quiet time without, never without a GenAI span.

    A trace that is never quiet is settled all the same after `limits.SETTLE_WAIT_MAX_S`. One that keeps growing after its root
    has come is left to grow for a quiet time too, since each settling reads all of it.
    """
    if not facts.has_genai:
        return None
    if facts.has_root and batches <= SETTLE_BATCHES_AT_ONCE:
        return now_ns
    longest_ns = max(round(SETTLE_WAIT_MAX_S * NS_PER_SECOND), settle_after_ns)
    return min(now_ns + settle_after_ns, max(now_ns, waiting_since_ns + longest_ns))


def _insert_traces(transaction: Transaction, arrivals: Arrivals, now_ns: int, settle_after_ns: int) -> dict[TraceKey, int]:
    """Insert the traces that are new, with all that is known of them; returns their numbers."""
    rows: list[Row] = []
    for (realm, trace_id), versions in arrivals.items():
        has_genai, has_root, pico, calls = facts = _facts(versions.values())
        due_ns = _due(facts, 1, now_ns, now_ns, settle_after_ns)
        since_ns = None if due_ns is None else now_ns
        rows.append((realm, trace_id, shard_of(realm), now_ns, 1, due_ns, has_genai, has_root, False, pico, calls, since_ns))
    returned = transaction.write_values(_INSERT_TRACES, rows, _RETURN_TRACES)
    return {(realm, trace_id): trace_no for realm, trace_id, trace_no in returned}


def _lock_others(transaction: Transaction, keys: Sequence[TraceKey]) -> list[_Known]:
    """The traces that were there before, locked in the order of their numbers, as settling locks them too."""
    trace_nos: list[int] = []
    for realm in sorted({realm for realm, _ in keys}):
        ids = [trace_id for of_realm, trace_id in keys if of_realm == realm]
        trace_nos += [trace_no for (trace_no,) in transaction.select_in(_FIND_TRACES, ids, before=(realm,))]
    known = [
        _Known(trace_no, realm, bytes(trace_id), version, bool(has_genai), bool(has_root), pico, calls, since_ns, sealed_ns is not None)
        for trace_no, realm, trace_id, version, has_genai, has_root, pico, calls, since_ns, sealed_ns in _lock(transaction, trace_nos)
    ]
    if len(known) < len(keys):
        raise Busy("a trace without GenAI spans was pruned while more of it arrived; nothing was stored, send it again", retry_after_s=0.1)
    return known


def _lock(transaction: Transaction, trace_nos: Sequence[int]) -> list[Row]:
    """Lock traces until the transaction ends (SQLite has one writer anyway), always in the order of their numbers."""
    sql = _LOCK_TRACES + " FOR UPDATE" if transaction.engine_name == "postgresql" else _LOCK_TRACES
    return list(transaction.select_in(sql, sorted(set(trace_nos))))


def _drop_known_versions(transaction: Transaction, arrivals: Arrivals, known: Sequence[_Known]) -> dict[TraceKey, set[bytes]]:
    """Take out of `arrivals` what the journal has already; returns the spans that it has in any version, by trace."""
    keys = {trace.trace_no: (trace.realm, trace.trace_id) for trace in known}
    wanted = [(trace_no, span_id) for trace_no, key in keys.items() for span_id in sorted({span_id for span_id, _ in arrivals[key]})]
    spans: dict[TraceKey, set[bytes]] = {}
    for trace_no, span_id, digest in transaction.write_values(_FIND_SPANS, wanted, _FOUND_SPANS):
        key = keys[trace_no]
        spans.setdefault(key, set()).add(span_id)
        arrivals[key].pop((span_id, digest), None)
    return spans


def _conflicts(arrivals: Arrivals, spans: Mapping[TraceKey, set[bytes]]) -> Counter[int]:
    """How many of the new rows are further versions of a span, by the batch that brought them."""
    conflicts: Counter[int] = Counter()
    for key, versions in arrivals.items():
        seen = set(spans.get(key, ()))
        for (span_id, _), arrival in versions.items():
            if span_id in seen:
                conflicts[arrival.batch] += 1
            seen.add(span_id)
    return conflicts


def _insert_spans(transaction: Transaction, arrivals: Arrivals, numbers: Mapping[TraceKey, int], subjects: Subjects) -> Added:
    """Insert what is left of `arrivals` in the order of the primary key, so that rows that lie together are written together.

    Returns:
        The new spans as they were stored, by trace and in the order of their ids.
    """
    refs = _subject_refs(transaction, arrivals, subjects)
    added: Added = {}
    spans: list[Row] = []
    keys: list[PlacedKey] = []
    links: set[tuple[int, bytes]] = set()
    for trace_no, key in sorted((numbers[key], key) for key in arrivals):
        head = key[1][:PLACE_BYTES]
        stored = added[key] = []
        for (span_id, digest), (sighting, quote, _) in sorted(arrivals[key].items()):
            usage, kept = sighting.usage, referenced(sighting, refs)
            spans.append((trace_no, span_id, digest, sighting.end_ns, usage.get("output", 0), sighting.genai, encode(kept, quote)))
            stored.append(kept)
            if usage or sighting.kind == CALL:
                keys += [(trace_no, head + span_id, call_key) for call_key in keys_of(sighting)]
            if sighting.links:
                links.update((trace_no, bytes.fromhex(linked)) for linked, _ in sighting.links if linked != sighting.trace_id)
    transaction.write_values(_INSERT_SPANS, spans)
    insert_keys(transaction, keys)
    transaction.write_values(_INSERT_LINKS, sorted(links), "ON CONFLICT (trace_no, linked_trace_id) DO NOTHING")
    return added


def _growths(
    added: Added, numbers: Mapping[TraceKey, int], known: Iterable[_Known], spans: Mapping[TraceKey, set[bytes]]
) -> Iterator[Growth]:
    """What became of each trace to which something new came; those without any GenAI span are not settled and left out."""
    before = {(trace.realm, trace.trace_id): trace for trace in known}
    for key, sightings in added.items():
        trace = before.get(key)
        if sightings and ((trace is not None and trace.has_genai) or any(sighting.genai for sighting in sightings)):
            ids = {sighting.span_id for sighting in sightings}
            seen = spans.get(key)
            clear = len(ids) == len(sightings) and (not seen or ids.isdisjoint(map(bytes.hex, seen)))
            yield Growth(numbers[key], key[1].hex(), 0 if trace is None else trace.version, sightings if clear else None)


def _journalled(arrivals: Arrivals, added: Added, numbers: Mapping[TraceKey, int], known: Iterable[_Known]) -> Iterator[Journalled]:
    """What is new of each trace, with its quotes."""
    versions = {(trace.realm, trace.trace_id): trace.version + 1 for trace in known}
    for key, sightings in added.items():
        if sightings:
            quotes = [arrival.quote for _, arrival in sorted(arrivals[key].items(), key=itemgetter(0))]
            yield Journalled(numbers[key], versions.get(key, 1), list(zip(sightings, quotes, strict=True)))


def _subject_refs(transaction: Transaction, arrivals: Arrivals, subjects: Subjects) -> dict[tuple[str, str, str], str]:
    """References of all subjects that the rows name, by (realm, kind, clear id)."""
    named: dict[tuple[str, SubjectKind], set[str]] = {}
    for (realm, _), versions in arrivals.items():
        for sighting, *_ in versions.values():
            for said in (sighting.attribution, sighting.defaults):
                if names_subject(said):
                    for kind in SUBJECT_KEYS:
                        if kind in said:
                            named.setdefault((realm, kind), set()).add(said[kind])
    refs: dict[tuple[str, str, str], str] = {}
    for (realm, kind), clears in sorted(named.items()):
        found = subjects.refs(transaction, realm, kind, clears)
        refs.update({(realm, kind, clear): ref for clear, ref in found.items()})
    return refs


def _update_known(transaction: Transaction, arrivals: Arrivals, known: Iterable[_Known], now_ns: int, settle_after_ns: int) -> None:
    """Tell the traces that were there before what came to them; those to which nothing new came stay as they are."""
    rows: list[Row] = []
    for trace in known:
        versions = arrivals[trace.realm, trace.trace_id]
        if versions:
            new = _facts(versions.values())
            facts = _Facts(
                trace.has_genai or new.has_genai,
                trace.has_root or new.has_root,
                min(PICO_MAX, trace.pending_pico + new.pending_pico),
                trace.pending_calls + new.pending_calls,
            )
            since_ns = now_ns if trace.waiting_since_ns is None else trace.waiting_since_ns
            due_ns = _due(facts, trace.version + 1, since_ns, now_ns, settle_after_ns)
            rows.append((
                trace.trace_no, facts.has_genai, facts.has_root, due_ns, facts.pending_pico, facts.pending_calls,
                None if due_ns is None else since_ns,
            ))  # fmt: skip
    transaction.write_values(_UPDATE_TRACES, rows, ") AS v WHERE trace_no = v.column1")


# --- what settling reads and clears --------------------------------------------------------------------------------


class TraceState(NamedTuple):
    """A trace as settling sees it.

    Attributes:
        trace_id: lower-case hex.
        version: raised by every batch that adds a span to the trace.
        booked: it was settled before.
        sealed: nothing more is taken of it, and what it is charged stays (`ledger.retention`).
    """

    trace_no: int
    realm: str
    trace_id: str
    shard: int
    version: int
    booked: bool
    sealed: bool = False


_STATE: Final = "SELECT trace_no, realm, trace_id, shard, version, booked, sealed_ns FROM traces "
_VERSIONS: Final = "SELECT trace_no, span_id, end_ns, output, content_hash, payload FROM journal WHERE trace_no IN ({})"
_CLEAR_DUE: Final = (
    "UPDATE traces SET booked = TRUE, due_ns = CASE WHEN version = v.column2 THEN NULL ELSE due_ns END, "
    "pending_pico = CASE WHEN version = v.column2 THEN 0 ELSE pending_pico END, "
    "pending_calls = CASE WHEN version = v.column2 THEN 0 ELSE pending_calls END, "
    "waiting_since_ns = CASE WHEN version = v.column2 THEN NULL ELSE waiting_since_ns END FROM (VALUES"
)
_PIECE: Final = 1_000_000
_PENDING: Final = (
    f"SELECT SUM(pending_pico / {_PIECE}), SUM(pending_pico % {_PIECE}), SUM(pending_calls) FROM traces WHERE due_ns IS NOT NULL"
)


def due_traces(transaction: Transaction, shard: int, now_ns: int, limit: int) -> list[TraceState]:
    """Traces of a shard that are to be settled now, those that have waited longest first.

    Nothing is ever put off as far as `limits.SETTLE_AHEAD_MAX_S`: what seems to be was written before our clock went back.
    """
    rows = transaction.execute(_STATE + "WHERE shard = ? AND due_ns <= ? ORDER BY due_ns LIMIT ?", (shard, now_ns, limit))
    if len(rows) < limit:
        ahead_ns = min(now_ns + round(SETTLE_AHEAD_MAX_S * NS_PER_SECOND), PICO_MAX)
        rows += transaction.execute(_STATE + "WHERE shard = ? AND due_ns > ? LIMIT ?", (shard, ahead_ns, limit - len(rows)))
    return [_state(row) for row in rows]


def trace_states(transaction: Transaction, trace_nos: Collection[int]) -> list[TraceState]:
    """Traces by number, in that order; unknown numbers are left out."""
    rows = transaction.select_in(_STATE + "WHERE trace_no IN ({}) ORDER BY trace_no", sorted(set(trace_nos)))
    return [_state(row) for row in rows]


def find_trace(transaction: Transaction, realm: str, trace_id: str) -> TraceState | None:
    """A trace by its id (lower-case hex) within a realm."""
    rows = transaction.execute(_STATE + "WHERE realm = ? AND trace_id = ?", (realm, bytes.fromhex(trace_id)))
    return _state(rows[0]) if rows else None


def traces_with_id(transaction: Transaction, trace_id: str) -> list[TraceState]:
    """The traces with an id in all realms, by realm; the caller shows only what its principal may see."""
    rows = transaction.execute(_STATE + "WHERE trace_id = ? ORDER BY realm", (bytes.fromhex(trace_id),))
    return [_state(row) for row in rows]


def standing_sightings(transaction: Transaction, trace_nos: Collection[int]) -> dict[int, list[Sighting]]:
    """Every span of the traces in the version that stands: latest end, then most output, then greatest content hash.

    Returns:
        Sightings by trace number, ordered by span id; users and sessions are references.
    """
    return {state.trace_no: sightings for state, sightings in standing_traces(transaction, trace_nos)}


def standing_sighting(transaction: Transaction, trace: TraceState, span_id: str) -> Sighting | None:
    """One span of a trace in the version that stands; None where the journal does not hold it."""
    asked = bytes.fromhex(span_id)
    best = _best_versions(transaction.write_values(_FIND_VERSIONS, [(trace.trace_no, asked)], _FOUND_SPANS))
    row = best.get(trace.trace_no, {}).get(asked)
    return None if row is None else decode(row[5], trace.realm, trace.trace_id, span_id)


def standing_traces(transaction: Transaction, trace_nos: Collection[int]) -> Iterator[tuple[TraceState, list[Sighting]]]:
    """As `standing_sightings`, with the state in which each trace was read; traces without a span are left out."""
    wanted = sorted(set(trace_nos))
    for start in range(0, len(wanted), LIST_VALUES_MAX):  # the stored rows of one piece at a time take memory
        piece = wanted[start : start + LIST_VALUES_MAX]
        best = _best_versions(transaction.select_in(_VERSIONS, piece))
        for trace in trace_states(transaction, piece):
            rows = sorted(best.get(trace.trace_no, {}).items())
            if rows:
                yield trace, [decode(row[5], trace.realm, trace.trace_id, span_id.hex()) for span_id, row in rows]


def authors_of(transaction: Transaction, places: Collection[tuple[int, bytes]]) -> dict[tuple[int, bytes], Author]:
    """Which library wrote each of these spans, given and answered by (trace number, span id); unknown spans are left out."""
    best = _best_versions(transaction.write_values(_FIND_VERSIONS, sorted(set(places)), _FOUND_SPANS))
    return {(trace_no, bytes(span_id)): decode_author(row[5]) for trace_no, spans in best.items() for span_id, row in spans.items()}


def _best_versions(rows: Iterable[Row]) -> dict[int, dict[bytes, Row]]:
    """The row that stands for every span, by trace and span id."""
    best: dict[int, dict[bytes, Row]] = {}
    for row in rows:
        spans = best.setdefault(row[0], {})
        held = spans.setdefault(row[1], row)
        if held is not row and held[2:5] < row[2:5]:
            spans[row[1]] = row
    return best


def clear_due(transaction: Transaction, states: Sequence[TraceState]) -> None:
    """Mark traces as booked; they stop being due and pending unless spans came since `states` were read."""
    _lock(transaction, [state.trace_no for state in states])
    rows = [(state.trace_no, state.version) for state in states]
    transaction.write_values(_CLEAR_DUE, rows, ") AS v WHERE trace_no = v.column1")


def pending(transaction: Transaction, tenants: Collection[str] | None) -> tuple[int, int]:
    """Quotes of journalled calls that are not settled yet: pico-USD (may pass 2^63) and number of calls.

    Args:
        tenants: None or one that contains `*` counts everything. Otherwise the realms of these tenants' own tokens are
            counted; the shared realm `default` is not, because whose its calls are is known only after settling.
    """
    sql, params = _PENDING, tuple[str, ...]()
    realms = own_realms(tenants)
    if realms is not None:
        params = tuple(sorted(realms))
        if not params:
            return 0, 0
        sql += f" AND realm IN ({', '.join('?' * len(params))})"
    [(pieces, rest, calls)] = transaction.execute(sql, params)
    return int(pieces or 0) * _PIECE + int(rest or 0), int(calls or 0)


def due_backlog(transaction: Transaction, now_ns: int) -> tuple[int, int]:
    """How many traces are due now, and since when the first of them (0 when there is none)."""
    [(due, since_ns)] = transaction.execute("SELECT COUNT(*), MIN(due_ns) FROM traces WHERE due_ns <= ?", (now_ns,))
    return int(due), int(since_ns or 0)


def prune_skeletons(transaction: Transaction, before_ns: int, limit: int) -> int:
    """Delete up to `limit` traces first seen before an instant in which no GenAI span has come; returns how many spans went."""
    skip = " FOR UPDATE SKIP LOCKED" if transaction.engine_name == "postgresql" else ""
    sql = "SELECT trace_no FROM traces WHERE NOT has_genai AND first_seen_ns < ? ORDER BY first_seen_ns LIMIT ?"
    trace_nos = [(trace_no,) for (trace_no,) in transaction.execute(sql + skip, (before_ns, limit))]
    spans = transaction.executemany("DELETE FROM journal WHERE trace_no = ?", trace_nos)
    for table in ("trace_links", "traces"):
        transaction.executemany(f"DELETE FROM {table} WHERE trace_no = ?", trace_nos)
    return spans


def _state(row: Row) -> TraceState:
    trace_no, realm, trace_id, shard, version, booked, sealed_ns = row
    return TraceState(trace_no, realm, trace_id.hex(), shard, version, bool(booked), sealed_ns is not None)
