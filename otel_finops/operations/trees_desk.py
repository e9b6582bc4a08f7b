"""The `Trees` of `operations.context` over a store: runs, sessions and the history of one span."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from otel_finops.ledger.entry import Entry
from otel_finops.ledger.history import History, history_of
from otel_finops.ledger.subjects import Subjects
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction
from otel_finops.trees.queries import RunPage, RunQuery, SessionCourse, SessionPage, SessionQuery, Tenants
from otel_finops.trees.run_reads import RunShown, list_runs, read_run
from otel_finops.trees.sessions import list_sessions, read_session


class TreesDesk:
    """See `Trees`; every method reads one snapshot."""

    def __init__(self, store: Store, subjects: Subjects) -> None:
        self._store = store
        self._subjects = subjects

    def runs(self, query: RunQuery) -> RunPage:
        """See `Trees.runs`."""
        with self._store.read() as transaction:
            return list_runs(transaction, query, self._subjects)

    def run(self, trace_id: str, span_id: str, tenants: Tenants) -> RunShown | None:
        """See `Trees.run`."""
        with self._store.read() as transaction:
            return read_run(transaction, trace_id, span_id, tenants, self._subjects)

    def sessions(self, query: SessionQuery) -> SessionPage:
        """See `Trees.sessions`."""
        with self._store.read() as transaction:
            return list_sessions(transaction, query, self._subjects)

    def session(self, session: str, tenants: Tenants, after: tuple[int, ...] | None, limit: int) -> SessionCourse | None:
        """See `Trees.session`."""
        with self._store.read() as transaction:
            return read_session(transaction, session, tenants, self._subjects, after, limit)

    def history(self, trace_id: str, span_id: str, tenants: Tenants, realm: str | None) -> History | None:
        """See `Trees.history`."""
        with self._store.read() as transaction:
            found = history_of(transaction, trace_id, span_id, tenants, realm)
            return None if found is None else self._named(transaction, found)

    def _named(self, transaction: Transaction, found: History) -> History:
        """The history with users and sessions in clear."""
        told = [entry for step in found.steps for entry in (step.entry, step.before, step.after) if entry is not None]
        names = self._subjects.clear(transaction, _refs([*told, *found.counted]))
        steps = [
            step._replace(entry=_clear(step.entry, names), before=_cleared(step.before, names), after=_cleared(step.after, names))
            for step in found.steps
        ]
        return found._replace(steps=steps, counted=[_clear(entry, names) for entry in found.counted])


def _refs(entries: Iterable[Entry]) -> set[str]:
    return {ref for entry in entries for ref in (entry.user, entry.session) if ref is not None}


def _clear(entry: Entry, names: Mapping[str, str]) -> Entry:
    """The entry with clear ids; what was erased keeps its reference."""
    user, session = entry.user, entry.session
    return entry._replace(
        user=None if user is None else names.get(user, user), session=None if session is None else names.get(session, session)
    )


def _cleared(entry: Entry | None, names: Mapping[str, str]) -> Entry | None:
    return None if entry is None else _clear(entry, names)
