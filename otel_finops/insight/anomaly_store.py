"""Anomalies as they are stored: found once each, followed while their figures change, acknowledged and muted by people."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from otel_finops.base.errors import BadInput, NotFound
from otel_finops.base.limits import ANOMALY_MUTES_MAX, ANOMALY_MUTES_OF_TENANT_MAX
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.insight.anomaly_scan import Scope
from otel_finops.insight.series import Step
from otel_finops.store.unit_of_work import Row, Transaction

Tenants: TypeAlias = Collection[str] | None
State: TypeAlias = Literal["open", "acked", "cleared"]
NoteVerb: TypeAlias = Literal["ack", "reopen"]

_COLUMNS: Final = (
    "scope", "tenant", "name", "step", "start_ns", "end_ns", "is_running", "found_ns", "seen_ns", "value", "expected", "spread", "score",
    "points", "calls", "drivers", "cleared_ns",
)  # fmt: skip
_LIST: Final = ", ".join(f"a.{name}" for name in _COLUMNS)
_NOTE: Final = "(SELECT MAX(n.note_no) FROM anomaly_notes AS n WHERE n.anomaly_no = a.anomaly_no)"
_SELECT: Final = (
    f"SELECT a.anomaly_no, {_LIST}, l.verb, l.why, l.who, l.at_ns FROM anomalies AS a LEFT JOIN anomaly_notes AS l ON l.note_no = {_NOTE}"
)
_INSERT: Final = f"INSERT INTO anomalies ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) RETURNING anomaly_no"
_RENEWED: Final = tuple(name for name in _COLUMNS if name not in ("scope", "tenant", "name", "step", "start_ns", "found_ns"))
_UPDATE: Final = f"UPDATE anomalies SET {', '.join(f'{name} = ?' for name in _RENEWED)} WHERE anomaly_no = ?"
_CLEAR: Final = "UPDATE anomalies SET cleared_ns = ? WHERE anomaly_no = ? AND cleared_ns IS NULL"
_FORGET: Final = (
    "DELETE FROM anomaly_notes WHERE anomaly_no IN (SELECT anomaly_no FROM anomalies WHERE start_ns < ?)",
    "DELETE FROM anomalies WHERE start_ns < ?",
)
_ADD_NOTE: Final = "INSERT INTO anomaly_notes (anomaly_no, verb, why, who, at_ns) VALUES (?, ?, ?, ?, ?)"
_NOTES: Final = "SELECT verb, why, who, at_ns FROM anomaly_notes WHERE anomaly_no = ? ORDER BY note_no"
_MUTES: Final = "SELECT mute_no, ends_no, tenant, scope, name, step, until_ns, why, who, at_ns FROM anomaly_mutes ORDER BY mute_no"
_ADD_MUTE: Final = (
    "INSERT INTO anomaly_mutes (ends_no, tenant, scope, name, step, until_ns, why, who, at_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "RETURNING mute_no"
)
_STATES: Final[Mapping[State, str]] = {
    "open": "a.cleared_ns IS NULL AND (l.verb IS NULL OR l.verb <> 'ack')",
    "acked": "a.cleared_ns IS NULL AND l.verb = 'ack'",
    "cleared": "a.cleared_ns IS NOT NULL",
}


class Note(NamedTuple):
    """What somebody said of an anomaly."""

    verb: NoteVerb
    why: str
    who: str
    at_ns: int


class Finding(NamedTuple):
    """A day or an hour that stood out.

    Attributes:
        no: its number; 0 before it is stored.
        is_running: it was not over when it was last looked at.
        found_ns, seen_ns: when it was first found, and when its figures were last worked out.
        value, expected, spread: pico-USD.
        score: robust standard deviations above what was expected.
        points: with how many others it was compared.
        drivers: JSON values as `anomaly_words.drivers_json` writes them; they add up to value - expected. None: not worked out yet.
        cleared_ns: since when it does not stand out any more; None: it does.
        note: what was last said of it.
    """

    no: int
    scope: Scope
    step: Step
    start_ns: int
    end_ns: int
    is_running: bool
    found_ns: int
    seen_ns: int
    value: int
    expected: int
    spread: int
    score: float
    points: int
    calls: int
    drivers: Sequence[Mapping[str, Any]] | None
    cleared_ns: int | None = None
    note: Note | None = None

    @property
    def state(self) -> State:
        """How it stands."""
        if self.cleared_ns is not None:
            return "cleared"
        return "acked" if self.note is not None and self.note.verb == "ack" else "open"

    @property
    def place(self) -> tuple[Scope, int]:
        """What makes it one and the same anomaly among those of its step."""
        return self.scope, self.start_ns


class Mute(NamedTuple):
    """What nobody is to be told of.

    Attributes:
        tenant: of the anomalies; `*`: those of all tenants and of each.
        scope, name, step: "" for any.
        until_ns: None: for good.
    """

    no: int
    tenant: str
    scope: str
    name: str
    step: str
    until_ns: int | None
    why: str
    who: str
    at_ns: int

    def covers(self, one: Finding, now_ns: int) -> bool:
        """Whether it holds now, for this anomaly."""
        if self.until_ns is not None and self.until_ns <= now_ns:
            return False
        asked = ((self.scope, one.scope.kind), (self.name, one.scope.name), (self.step, one.step))
        return self.tenant in (ANY_TENANT, one.scope.tenant) and all(mine in ("", theirs) for mine, theirs in asked)


class Wanted(NamedTuple):
    """Which anomalies.

    Attributes:
        tenants: whose; None for all, those that are about all tenants together included.
        scope, tenant, name, step: None for any.
        states: in which they are.
        from_ns, to_ns: where their time begins.
        after: (start, number) of the last one of the page before; newest first.
    """

    tenants: Tenants
    scope: str | None = None
    tenant: str | None = None
    name: str | None = None
    step: str | None = None
    states: Collection[State] = ("open", "acked")
    from_ns: int | None = None
    to_ns: int | None = None
    after: tuple[int, ...] | None = None
    limit: int = 100


def find_anomaly(transaction: Transaction, no: int, tenants: Tenants) -> Finding:
    """The anomaly of this number; raises NotFound where these tenants have none."""
    rows = transaction.execute(f"{_SELECT} WHERE a.anomaly_no = ?", (no,))
    if not rows or not _sees(tenants, rows[0][2]):
        raise NotFound(f"There is no anomaly {no}.")
    return _finding(rows[0])


def list_anomalies(transaction: Transaction, wanted: Wanted) -> list[Finding]:
    """A page of them, newest first."""
    conditions, values = [f"({' OR '.join(f'({_STATES[one]})' for one in wanted.states) or '1 = 0'})"], []
    for name in ("scope", "tenant", "name", "step"):
        if (value := getattr(wanted, name)) is not None:
            conditions.append(f"a.{name} = ?")
            values.append(value)
    if wanted.from_ns is not None:
        conditions.append("a.start_ns >= ?")
        values.append(wanted.from_ns)
    if wanted.to_ns is not None:
        conditions.append("a.start_ns < ?")
        values.append(wanted.to_ns)
    if wanted.tenants is not None:
        conditions.append(f"a.tenant IN ({', '.join('?' * len(wanted.tenants)) or 'NULL'})")
        values += sorted(wanted.tenants)
    if wanted.after is not None:
        conditions.append("(a.start_ns, a.anomaly_no) < (?, ?)")
        values += wanted.after
    sql = f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY a.start_ns DESC, a.anomaly_no DESC LIMIT ?"
    return [_finding(row) for row in transaction.execute(sql, (*values, wanted.limit))]


def stored_anomalies(transaction: Transaction, step: Step, from_ns: int, to_ns: int) -> dict[tuple[Scope, int], Finding]:
    """All of a step that begin in [from_ns, to_ns), in whatever state."""
    rows = transaction.execute(f"{_SELECT} WHERE a.step = ? AND a.start_ns >= ? AND a.start_ns < ?", (step, from_ns, to_ns))
    return {one.place: one for one in map(_finding, rows)}


def put_anomaly(transaction: Transaction, one: Finding) -> int:
    """Store an anomaly, or the new figures of one that is stored; returns its number."""
    drivers = None if one.drivers is None else json.dumps(one.drivers, ensure_ascii=False, separators=(",", ":"))
    said = {**one._asdict(), "scope": one.scope.kind, "tenant": one.scope.tenant, "name": one.scope.name, "drivers": drivers}
    said |= {name: str(said[name]) for name in ("value", "expected", "spread")}
    if one.no:
        transaction.execute(_UPDATE, (*(said[name] for name in _RENEWED), one.no))
        return one.no
    [(no,)] = transaction.execute(_INSERT, tuple(said[name] for name in _COLUMNS))
    return int(no)


def clear_anomalies(transaction: Transaction, numbers: Iterable[int], now_ns: int) -> None:
    """Note that these do not stand out any more."""
    transaction.executemany(_CLEAR, [(now_ns, no) for no in numbers])


def forget_anomalies(transaction: Transaction, before_ns: int) -> None:
    """Drop what began before an instant, and what was said of it."""
    for sql in _FORGET:
        transaction.execute(sql, (before_ns,))


def add_note(transaction: Transaction, no: int, note: Note) -> None:
    """Put on record what somebody says of an anomaly."""
    transaction.execute(_ADD_NOTE, (no, *note))


def read_notes(transaction: Transaction, no: int) -> list[Note]:
    """What was said of an anomaly, oldest first."""
    return [Note(*row) for row in transaction.execute(_NOTES, (no,))]


def standing_mutes(transaction: Transaction, tenants: Tenants, now_ns: int) -> list[Mute]:
    """The mutes that hold, oldest first, as far as these tenants may see them: those of all tenants may name others' agents."""
    return [one for one in _mutes(transaction, now_ns) if _sees(tenants, one.tenant)]


def add_mute(transaction: Transaction, mute: Mute) -> Mute:
    """Mute from now on; raises BadInput when there are too many."""
    held = _mutes(transaction, mute.at_ns)
    if len(held) >= ANOMALY_MUTES_MAX:
        raise BadInput(f"there are {ANOMALY_MUTES_MAX} mutes already; end one (anomalies.unmute)")
    if mute.tenant != ANY_TENANT and sum(1 for one in held if one.tenant == mute.tenant) >= ANOMALY_MUTES_OF_TENANT_MAX:
        raise BadInput(f"there are {ANOMALY_MUTES_OF_TENANT_MAX} mutes of this tenant already; end one (anomalies.unmute)")
    [(no,)] = transaction.execute(_ADD_MUTE, (None, *mute[1:]))
    return mute._replace(no=int(no))


def end_mute(transaction: Transaction, no: int, tenants: Tenants, who: str, now_ns: int) -> Mute:
    """End a mute; raises NotFound where none of this number holds that these tenants may change."""
    mute = next((one for one in _mutes(transaction, now_ns) if one.no == no and _sees(tenants, one.tenant)), None)
    if mute is None:
        raise NotFound(f"There is no mute {no}.")
    transaction.execute(_ADD_MUTE, (no, *mute[1:7], who, now_ns))
    return mute


def replace_scores(transaction: Transaction, step: Step, scores: Iterable[tuple[Scope, int, float]]) -> None:
    """Write how the scopes of a step stand: scope, where the piece begins, score."""
    transaction.execute("DELETE FROM anomaly_scores WHERE step = ?", (step,))
    sql = "INSERT INTO anomaly_scores (step, scope, tenant, name, start_ns, score) VALUES (?, ?, ?, ?, ?, ?)"
    transaction.executemany(sql, [(step, *scope, start_ns, score) for scope, start_ns, score in sorted(scores)])


def read_scores(transaction: Transaction, limit: int) -> list[tuple[Step, Scope, float]]:
    """How the scopes stand, the highest scores first."""
    sql = "SELECT step, scope, tenant, name, score FROM anomaly_scores ORDER BY score DESC, step, scope, tenant, name LIMIT ?"
    return [(step, Scope(*scope), float(score)) for step, *scope, score in transaction.execute(sql, (limit,))]


def _mutes(transaction: Transaction, now_ns: int) -> list[Mute]:
    rows = transaction.execute(_MUTES)
    ended = {ends_no for _, ends_no, *_ in rows}
    found = [Mute(int(no), *said) for no, ends_no, *said in rows if ends_no is None and no not in ended]
    return [one for one in found if one.until_ns is None or one.until_ns > now_ns]


def _sees(tenants: Tenants, tenant: str) -> bool:
    return tenants is None or ANY_TENANT in tenants or tenant in tenants


def _finding(row: Row) -> Finding:
    no, kind, tenant, name, step, start_ns, end_ns, is_running, found_ns, seen_ns, value, expected, spread, score, points, calls, *rest = (
        row
    )
    drivers, cleared_ns, *note = rest
    return Finding(
        int(no), Scope(kind, tenant, name), step, int(start_ns), int(end_ns), bool(is_running), int(found_ns), int(seen_ns), int(value),
        int(expected), int(spread), float(score), int(points), int(calls), None if drivers is None else json.loads(drivers),
        None if cleared_ns is None else int(cleared_ns), None if note[0] is None else Note(*note),
    )  # fmt: skip
