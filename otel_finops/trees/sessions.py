"""Reads sessions, as senders name conversations, from the sums of their traces."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import SESSION_USERS_SHOWN
from otel_finops.base.money import PICO_PER_USD
from otel_finops.ledger.subjects import Subjects, refs_of
from otel_finops.store.unit_of_work import Row, Transaction
from otel_finops.trees.queries import SESSION_SORTS, SessionCourse, SessionPage, SessionQuery, SessionSummary, SessionTrace, Tenants

_USD: Final = f"SUM(s.cost_usd) + SUM(s.cost_pico) / {PICO_PER_USD}"
_PICO: Final = f"SUM(s.cost_pico) % {PICO_PER_USD}"
_SUMS: Final = (
    f"SUM(s.calls), SUM(s.failed_calls), SUM(s.unpriced_calls), SUM(s.tokens), {_USD}, {_PICO}, MIN(s.started_ns), MAX(s.ended_ns)"
)
_ORDERS: Final = {"last": ("MAX(s.ended_ns)",), "cost": (_USD, _PICO), "calls": ("SUM(s.calls)",), "tokens": ("SUM(s.tokens)",)}
assert tuple(_ORDERS) == SESSION_SORTS

Place = tuple[int | str, ...]


class _Chosen(NamedTuple):
    """Which rows of `trace_sums` count, as SQL over one of its aliases.

    Attributes:
        tenants: whose, None for all.
        users: references, None for any.
        from_ns, to_ns: start of the trace's part of the session.
    """

    tenants: Sequence[str] | None = None
    users: Sequence[str] | None = None
    from_ns: int | None = None
    to_ns: int | None = None

    def sql(self, alias: str) -> str:
        """The condition."""
        parts = [f"{alias}.session_ref <> ''"]
        for column, allowed in (("tenant", self.tenants), ("user_ref", self.users)):
            if allowed is not None:
                parts.append(f"{alias}.{column} IN ({', '.join('?' * len(allowed)) or 'NULL'})")
        parts += [f"{alias}.started_ns {sign} ?" for sign, bound in ((">=", self.from_ns), ("<", self.to_ns)) if bound is not None]
        return " AND ".join(parts)

    @property
    def values(self) -> list[Any]:
        """Its parameters."""
        bounds = [bound for bound in (self.from_ns, self.to_ns) if bound is not None]
        return [*(self.tenants or ()), *(self.users or ()), *bounds]


def list_sessions(transaction: Transaction, query: SessionQuery, subjects: Subjects) -> SessionPage:
    """A page of sessions.

    Raises:
        BadInput: an unknown order, or a place that is none of this order.
    """
    if query.sort not in _ORDERS:
        raise BadInput(f"sessions are sorted by {', '.join(_ORDERS)}")
    keys = _ORDERS[query.sort]
    if query.after is not None and (len(query.after) != len(keys) + 1 or not isinstance(query.after[-1], str)):
        raise BadInput("cursor: of another order; leave it out to begin with the first page")
    users = None if query.user is None else refs_of(transaction, "user", (query.user,))
    chosen = _Chosen(None if query.tenants is None else list(query.tenants), users, query.from_ns, query.to_ns)
    places = (_latest if query.sort == "last" else _ranked)(transaction, query, chosen)
    refs = [str(place[-1]) for place in places[: query.limit]]
    found = _summaries(transaction, refs, chosen, subjects)
    return SessionPage([found[ref] for ref in refs], places[query.limit - 1] if len(places) > query.limit else None)


def _latest(transaction: Transaction, query: SessionQuery, chosen: _Chosen) -> list[Place]:
    """The sessions whose last calls ended last: rows from the newest on that no other row of their session comes after."""
    after, place = "", []
    if query.after is not None:
        after, place = "AND (s.ended_ns, s.session_ref) < (?, ?)", list(query.after)
    sql = f"""
    SELECT s.ended_ns, s.session_ref FROM trace_sums s
    WHERE {chosen.sql("s")} {after} AND NOT EXISTS (
      SELECT 1 FROM trace_sums n WHERE n.session_ref = s.session_ref AND {chosen.sql("n")} AND (
        n.ended_ns > s.ended_ns OR (n.ended_ns = s.ended_ns AND (n.trace_no, n.tenant, n.user_ref) > (s.trace_no, s.tenant, s.user_ref))))
    ORDER BY s.ended_ns DESC, s.session_ref DESC LIMIT ?"""
    rows = transaction.execute(sql, (*chosen.values, *place, *chosen.values, query.limit + 1))
    return [(int(ended_ns), ref) for ended_ns, ref in rows]


def _ranked(transaction: Transaction, query: SessionQuery, chosen: _Chosen) -> list[Place]:
    names = [f"k{number}" for number in range(len(_ORDERS[query.sort]))]
    keys = ", ".join(f"CAST({key} AS BIGINT) AS {name}" for key, name in zip(_ORDERS[query.sort], names, strict=True))
    order = [*names, "session_ref"]
    after = "" if query.after is None else f"WHERE ({', '.join(order)}) < ({', '.join('?' * len(order))})"
    sql = f"""
    SELECT {", ".join(order)} FROM (
      SELECT s.session_ref, {keys} FROM trace_sums s WHERE {chosen.sql("s")} GROUP BY s.session_ref) ranked
    {after} ORDER BY {", ".join(f"{name} DESC" for name in order)} LIMIT ?"""
    rows = transaction.execute(sql, (*chosen.values, *(query.after or ()), query.limit + 1))
    return [(*map(int, row[:-1]), row[-1]) for row in rows]


def _summaries(transaction: Transaction, refs: Sequence[str], chosen: _Chosen, subjects: Subjects) -> dict[str, SessionSummary]:
    """The sessions by reference."""
    by = f"WHERE s.session_ref IN ({{}}) AND {chosen.sql('s')} GROUP BY s.session_ref"
    sums = {
        row[0]: row
        for row in transaction.select_in(
            f"SELECT s.session_ref, COUNT(DISTINCT s.trace_no), {_SUMS} FROM trace_sums s {by}", refs, after=chosen.values
        )
    }
    shown: dict[str, tuple[set[str], set[str]]] = {ref: (set(), set()) for ref in refs}
    for ref, tenant, user in transaction.select_in(
        f"SELECT s.session_ref, s.tenant, s.user_ref FROM trace_sums s {by}, s.tenant, s.user_ref", refs, after=chosen.values
    ):
        shown[ref][0].add(tenant)
        shown[ref][1].update({user} - {""})
    runs = _runs(transaction, refs, chosen)
    kept = {ref: (sorted(tenants), sorted(users)[:SESSION_USERS_SHOWN]) for ref, (tenants, users) in shown.items()}
    names = subjects.clear(transaction, {*refs, *(user for _, users in kept.values() for user in users)})
    realms: dict[str, str] = dict(transaction.select_in("SELECT ref, realm FROM subjects WHERE ref IN ({})", refs))
    return {
        ref: SessionSummary(
            names.get(ref, ref),
            realms.get(ref),
            kept[ref][0],
            sorted(names.get(user, user) for user in kept[ref][1]),
            int(sums[ref][1]),
            runs.get(ref, 0),
            *_amounts(sums[ref][2:]),
        )
        for ref in refs
        if ref in sums
    }


def _amounts(row: Row) -> tuple[int, int, int, int, int, int, int]:
    """Calls, failed and unpriced ones, tokens, cost, first, last."""
    calls, failed, unpriced, tokens, usd, pico, first_ns, last_ns = map(int, row)
    return calls, failed, unpriced, tokens, usd * PICO_PER_USD + pico, first_ns, last_ns


def _runs(transaction: Transaction, refs: Sequence[str], chosen: _Chosen) -> dict[str, int]:
    sql = f"SELECT s.session_ref, COUNT(*) FROM runs s WHERE s.session_ref IN ({{}}) AND {chosen.sql('s')} GROUP BY s.session_ref"
    return {ref: int(count) for ref, count in transaction.select_in(sql, refs, after=chosen.values)}


# --- one session -----------------------------------------------------------------------------------------------------


def read_session(
    transaction: Transaction, session: str, tenants: Tenants, subjects: Subjects, after: tuple[int, ...] | None, limit: int
) -> SessionCourse | None:
    """A session by its clear id (in all realms), or by the reference that is left of an erased one, with a page of its traces.

    Returns:
        None when there is none, or nothing of it is to be seen.
    """
    refs = refs_of(transaction, "session", (session,)) or [session]
    chosen = _Chosen(None if tenants is None else list(tenants))
    found = [one for one in _summaries(transaction, refs, chosen, subjects).values() if one.calls]
    if not found:
        return None
    place = None if after is None else (after[0], after[1])
    rows = _traces(transaction, refs, chosen, place, limit + 1)
    so_far = _before(transaction, refs, chosen, place)
    traces = []
    for row in rows[:limit]:
        trace_id, _, *sums = row
        calls, failed, unpriced, tokens, cost_pico, first_ns, last_ns = _amounts(tuple(sums))
        so_far += cost_pico
        traces.append(SessionTrace(bytes(trace_id).hex(), first_ns, last_ns, calls, failed, unpriced, tokens, cost_pico, so_far))
    following = (int(rows[limit - 1][-2]), int(rows[limit - 1][1])) if len(rows) > limit else None
    return SessionCourse(_joined(found), traces, following)


def _traces(transaction: Transaction, refs: Sequence[str], chosen: _Chosen, after: tuple[int, int] | None, limit: int) -> list[Row]:
    """The traces of a session by their first calls."""
    marks = ", ".join("?" * len(refs))
    having = "" if after is None else "HAVING (MIN(s.started_ns), s.trace_no) > (?, ?)"
    sql = f"""
    SELECT t.trace_id, t.trace_no, {_SUMS} FROM trace_sums s JOIN traces t ON t.trace_no = s.trace_no
    WHERE s.session_ref IN ({marks}) AND {chosen.sql("s")} GROUP BY s.trace_no, t.trace_no, t.trace_id {having}
    ORDER BY MIN(s.started_ns), s.trace_no LIMIT ?"""
    return transaction.execute(sql, (*refs, *chosen.values, *(after or ()), limit))


def _before(transaction: Transaction, refs: Sequence[str], chosen: _Chosen, after: tuple[int, int] | None) -> int:
    """What the traces up to a place cost."""
    if after is None:
        return 0
    marks = ", ".join("?" * len(refs))
    sql = f"""
    SELECT SUM(usd), SUM(pico) FROM (
      SELECT SUM(s.cost_usd) AS usd, SUM(s.cost_pico) AS pico FROM trace_sums s
      WHERE s.session_ref IN ({marks}) AND {chosen.sql("s")} GROUP BY s.trace_no
      HAVING (MIN(s.started_ns), s.trace_no) <= (?, ?)) earlier"""
    [(usd, pico)] = transaction.execute(sql, (*refs, *chosen.values, *after))
    return int(usd or 0) * PICO_PER_USD + int(pico or 0)


def _joined(found: Sequence[SessionSummary]) -> SessionSummary:
    """Sessions of one clear id in several realms as one."""
    if len(found) == 1:
        return found[0]

    def total(name: str) -> int:
        return sum(getattr(one, name) for one in found)

    return SessionSummary(
        found[0].session,
        None,
        _all(one.tenants for one in found),
        _all(one.users for one in found),
        total("traces"),
        total("runs"),
        total("calls"),
        total("failed_calls"),
        total("unpriced_calls"),
        total("tokens"),
        total("cost_pico"),
        min(one.first_ns for one in found),
        max(one.last_ns for one in found),
    )


def _all(lists: Iterable[Collection[str]]) -> list[str]:
    return sorted({one for some in lists for one in some})
