"""What a trace or a session came to so far, for policies that ask: booked, pending, and held for calls that are being made.

The sums of what is booked and pending are the ledger's; what is held is noted here when a decision lets a call through, until its entry
is booked, so that calls made at the same time see each other. A call whose span has come and whose entry is not booked yet is pending
and held; which calls those are only the spans themselves tell, so the larger of both sums is taken: each is all of them where either all
calls are decided on or none is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.limits import RATES_SWEPT, SESSION_TRACES_SUMMED_MAX, TRACE_CALLS_COUNTED_MAX
from otel_finops.base.money import PICO_PER_USD
from otel_finops.base.protocols import DEFAULT_REALM
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.reservations import named_by
from otel_finops.governance.rulings import Ruling
from otel_finops.ledger.entry import Entry
from otel_finops.store.unit_of_work import Row, Transaction

MINUTE_NS: Final = 60 * NS_PER_SECOND
_OF_MINUTE: Final = frozenset(("calls_per_minute", "cost_usd_per_minute"))
_OF_ALL: Final = frozenset(("cost_usd", "calls", "tokens"))

_HOLD: Final = "INSERT INTO policy_calls (reservation_id, tenant, trace_id, session_ref, made_ns, pico, tokens, is_open) VALUES"
_TURN: Final = "UPDATE policy_calls SET pico = ?, tokens = COALESCE(?, tokens) WHERE reservation_id = ?"
_RELEASE: Final = "UPDATE policy_calls SET is_open = FALSE WHERE reservation_id = ?"
_BOOKED: Final = (
    "UPDATE policy_calls SET is_open = FALSE WHERE reservation_id IN ({}) AND EXISTS (SELECT 1 FROM reservations r "
    "WHERE r.reservation_id = policy_calls.reservation_id AND r.ended_ns IS NOT NULL) RETURNING reservation_id"
)
_SWEEP: Final = (
    "DELETE FROM policy_calls WHERE reservation_id IN "
    "(SELECT reservation_id FROM policy_calls WHERE NOT is_open AND made_ns < ? ORDER BY made_ns LIMIT ?{})"
)
_SUMS: Final = f"COUNT(*), SUM(pico / {PICO_PER_USD}), SUM(pico - pico / {PICO_PER_USD} * {PICO_PER_USD}), SUM(tokens)"
_OPEN: Final = f"SELECT {_SUMS} FROM (SELECT pico, tokens FROM policy_calls WHERE is_open AND tenant = ? AND "
_RECENT: Final = f"SELECT {_SUMS} FROM (SELECT pico, tokens FROM policy_calls WHERE tenant = ? AND made_ns BETWEEN ? AND ? AND "
_BY_TRACE: Final = "trace_id = ? LIMIT ?) AS taken"
_BY_SESSION: Final = "session_ref = ? LIMIT ?) AS taken"
_TAKEN: Final = {"trace": (_OPEN + _BY_TRACE, _RECENT + _BY_TRACE), "session": (_OPEN + _BY_SESSION, _RECENT + _BY_SESSION)}
"""What is held, and what was let through in a span of time."""
_TRACES: Final = "SELECT trace_no, pending_calls, pending_pico FROM traces WHERE trace_id = ? AND realm IN (?, ?)"
_OF_TRACES: Final = (
    "SELECT calls, cost_usd, cost_pico, tokens FROM trace_sums WHERE tenant = ? AND trace_no IN (SELECT trace_no FROM traces "
    "WHERE trace_id = ? AND realm IN (?, ?))"
)
_OF_SESSION: Final = (
    "SELECT calls, cost_usd, cost_pico, tokens FROM trace_sums WHERE session_ref = ? AND session_ref <> '' AND tenant = ? "
    "ORDER BY ended_ns DESC LIMIT ?"
)
_SAME_SESSION: Final = (
    "SELECT o.ref FROM subjects s JOIN subjects o ON o.kind = s.kind AND o.clear = s.clear AND o.realm IN (?, ?) WHERE s.ref = ?"
)
_RUNS: Final = (
    "SELECT span_id, parent_run FROM runs WHERE trace_no IN (SELECT trace_no FROM traces WHERE trace_id = ? AND realm IN (?, ?)) LIMIT ?"
)


class TraceState(NamedTuple):
    """What calls of a trace, or of a session, came to; the call that is asked about is not among them.

    Attributes:
        pico: cost, pico-USD; of calls that are being made their estimates.
        calls: model calls.
        tokens: prompt and output.
        calls_of_minute: calls that decisions let through in the last 60 seconds.
        pico_of_minute: what they were estimated at, or settled.
        depth: how many agents and workflows lie within each other, of the trace's settled spans; 0 where there is none.
    """

    pico: int = 0
    calls: int = 0
    tokens: int = 0
    calls_of_minute: int = 0
    pico_of_minute: int = 0
    depth: int = 0


class NotKept(Exception):
    """What is asked for is not kept here."""


class _Sum(NamedTuple):
    """Calls, pico-USD and tokens."""

    calls: int = 0
    pico: int = 0
    tokens: int = 0

    def plus(self, other: _Sum) -> _Sum:
        return _Sum(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def or_more(self, other: _Sum) -> _Sum:
        return _Sum(*map(max, self, other))


class CallsUnderWay:
    """A `Holder` that refuses nothing: notes the calls that were let through, as long as a policy asks for traces or sessions.

    Args:
        is_asked: whether one does.
    """

    def __init__(self, is_asked: Callable[[], bool]) -> None:
        self._is_asked = is_asked

    def check(self, transaction: Transaction, call: GovernedCall) -> Ruling | None:
        """See `Holder.check`."""
        return None

    def hold(self, transaction: Transaction, call: GovernedCall, reservation_id: str) -> Ruling | None:
        """See `Holder.hold`."""
        if (call.trace is not None or call.session is not None) and self._is_asked():
            transaction.write_values(
                _HOLD, [(reservation_id, call.tenant, call.trace, call.session, call.at_ns, call.pico or 0, call.tokens, True)]
            )
            locking = " FOR UPDATE SKIP LOCKED" if transaction.engine_name == "postgresql" else ""
            transaction.execute(_SWEEP.format(locking), (call.at_ns - MINUTE_NS, RATES_SWEPT))
        return None

    def turn(self, transaction: Transaction, reservation_id: str, actual_pico: int, tokens: int | None) -> None:
        """See `Holder.turn`."""
        transaction.execute(_TURN, (actual_pico, tokens, reservation_id))

    def release(self, transaction: Transaction, reservation_ids: Collection[str]) -> None:
        """See `Holder.release`."""
        transaction.executemany(_RELEASE, [(one,) for one in sorted(reservation_ids)])


class CallStates:
    """How traces and sessions stand, read in the deciding transaction; only what is asked for."""

    def __init__(self, clock: Clock, *, figures: bool) -> None:
        """
        Args:
            figures: sums of traces and sessions are kept (`settings.Features.figures`).
        """
        self._clock = clock
        self._figures = figures

    def trace(self, transaction: Transaction, call: GovernedCall, fields: frozenset[str]) -> TraceState:
        """The call's trace so far, of its tenant; of a call that names none nothing.

        Raises:
            NotKept: sums are asked for, and they are switched off.
        """
        if call.trace is None:
            return TraceState()
        self._must_be_kept(fields)
        place = (bytes.fromhex(call.trace), call.realm, DEFAULT_REALM)
        booked = _added(transaction.execute(_OF_TRACES, (call.tenant, *place))) if fields & _OF_ALL else _Sum()
        pending = _pending(transaction.execute(_TRACES, place)) if fields & _OF_ALL else _Sum()
        depth = _depth(transaction.execute(_RUNS, (*place, TRACE_CALLS_COUNTED_MAX))) if "depth" in fields else 0
        return self._state(transaction, call, "trace", call.trace, fields, booked, pending)._replace(depth=depth)

    def session(self, transaction: Transaction, call: GovernedCall, fields: frozenset[str]) -> TraceState:
        """The call's session so far, of its tenant; of a call that names none nothing. It may have a reference in two realms.

        Raises:
            NotKept: as `trace`.
        """
        if call.session is None:
            return TraceState()
        self._must_be_kept(fields)
        booked = _Sum()
        if fields & _OF_ALL:
            for (ref,) in transaction.execute(_SAME_SESSION, (call.realm, DEFAULT_REALM, call.session)):
                booked = booked.plus(_added(transaction.execute(_OF_SESSION, (ref, call.tenant, SESSION_TRACES_SUMMED_MAX))))
        return self._state(transaction, call, "session", call.session, fields, booked, _Sum())

    def _must_be_kept(self, fields: frozenset[str]) -> None:
        if not self._figures and not fields <= _OF_MINUTE:
            raise NotKept

    def _state(
        self, transaction: Transaction, call: GovernedCall, root: str, value: str, fields: frozenset[str], booked: _Sum, pending: _Sum
    ) -> TraceState:
        now_ns = self._clock.now_ns()
        whole, recent = booked, _Sum()
        held_sql, recent_sql = _TAKEN[root]
        if fields & _OF_ALL:
            held = _taken(transaction.execute(held_sql, (call.tenant, value, TRACE_CALLS_COUNTED_MAX)))
            whole = booked.plus(pending.or_more(held))
        if fields & _OF_MINUTE:
            since_ns = now_ns - MINUTE_NS
            recent = _taken(transaction.execute(recent_sql, (call.tenant, since_ns, now_ns, value, TRACE_CALLS_COUNTED_MAX)))
        return TraceState(whole.pico, whole.calls, whole.tokens, recent.calls, recent.pico)


def _taken(rows: Sequence[Row]) -> _Sum:
    """The calls that were let through: those that are held, or those of a span of time."""
    [(calls, usd, pico, tokens)] = rows
    return _Sum(int(calls), int(usd or 0) * PICO_PER_USD + int(pico or 0), int(tokens or 0))


def _added(rows: Iterable[Row]) -> _Sum:
    whole = _Sum()
    for calls, usd, pico, tokens in rows:
        whole = whole.plus(_Sum(int(calls), int(usd) * PICO_PER_USD + int(pico), int(tokens)))
    return whole


def _pending(rows: Iterable[Row]) -> _Sum:
    whole = _Sum()
    for _, calls, pico in rows:
        whole = whole.plus(_Sum(int(calls), int(pico)))
    return whole


def _depth(rows: Iterable[Row]) -> int:
    """The longest way from a run up through the runs that it is in."""
    above = {bytes(span): None if parent is None else bytes(parent) for span, parent in rows}
    deep: dict[bytes, int] = {}
    for span in above:
        way: dict[bytes, None] = {}
        at: bytes | None = span
        while at is not None and at in above and at not in deep and at not in way:
            way[at] = None
            at = above[at]
        base = 0 if at is None else deep.get(at, 0)
        for place, one in enumerate(reversed(way), 1):
            deep[one] = base + place
    return max(deep.values(), default=0)


class NotedCalls:
    """A `Projection`: calls that are booked are under way no longer. It stands behind what ends the reservations that entries name."""

    def apply(self, transaction: Transaction, entries: Sequence[Entry]) -> None:
        """See `Projection.apply`."""
        named = {one for entry in entries if (one := named_by(entry))}
        if named:
            for _ in transaction.select_in(_BOOKED, sorted(named)):
                pass
