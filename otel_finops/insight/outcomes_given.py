"""What somebody says of how a trace came out: an evaluator, a person, or a program that learns it later than the span ended.

It takes the place of what the trace's spans say of the same kind of outcome. Rows are only added; of each tenant, trace and kind the last
one stands.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput, NotFound
from otel_finops.base.limits import OUTCOME_KINDS_OF_TRACE_MAX
from otel_finops.insight.outcome_reads import STANDS, OutcomeQuery, read_outcomes
from otel_finops.insight.outcome_report import OutcomeReport, report_of
from otel_finops.ledger.spend import Question, tally
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

_WHOSE: Final = (
    "SELECT DISTINCT s.tenant FROM traces t JOIN trace_sums s ON s.trace_no = t.trace_no WHERE t.trace_id = ? ORDER BY s.tenant LIMIT 100"
)
_LAST: Final = (
    "SELECT success, at_ns, note FROM outcomes_given WHERE trace_id = ? AND tenant = ? AND name = ? ORDER BY outcome_no DESC LIMIT 1"
)
_KINDS: Final = "SELECT COUNT(DISTINCT name) FROM outcomes_given WHERE trace_id = ? AND tenant = ? AND name <> ?"
_INSERT: Final = (
    "INSERT INTO outcomes_given (tenant, trace_id, name, success, at_ns, note, who, recorded_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_LISTED: Final = (
    "SELECT g.outcome_no, g.tenant, g.trace_id, g.name, g.success, g.at_ns, g.note, g.who, g.recorded_ns, "
    f"CASE WHEN {STANDS} THEN 1 ELSE 0 END FROM outcomes_given g WHERE g.outcome_no < ?"
)


class Saying(NamedTuple):
    """What is said.

    Attributes:
        trace_id: lower-case hex.
        name: kind of outcome.
        success: None takes back what was said before.
        tenant: whose outcome it is; None: of the only tenant that it can be.
        at_ns: when it came out so; None: now.
    """

    trace_id: str
    name: str
    success: bool | None
    tenant: str | None = None
    at_ns: int | None = None
    note: str = ""


class Given(NamedTuple):
    """A row; `stands`: nobody has said otherwise since."""

    no: int
    tenant: str
    trace_id: str
    name: str
    success: bool | None
    at_ns: int
    note: str
    who: str
    recorded_ns: int
    stands: bool


class OutcomeDesk:
    """Records and reports outcomes. Safe to use from many threads."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def record(self, said: Sequence[Saying], tenants: Collection[str] | None, *, who: str, dry_run: bool = False) -> int:
        """Put on record what somebody says; returns how much of it was new, nothing where all of it was said before.

        Args:
            tenants: whom he sees; None for all.

        Raises:
            BadInput: nobody can tell whose a trace is, there are too many kinds of outcomes of it, or nothing is there to be taken back.
            NotFound: the tenant is not his to see.
        """
        now_ns, changed = self._clock.now_ns(), 0
        if dry_run:
            with self._store.read() as transaction:
                return sum(self._is_new(transaction, one, _whose(transaction, one, tenants)) for one in said)
        with self._store.write() as transaction:
            for one in said:
                tenant = _whose(transaction, one, tenants)
                if self._is_new(transaction, one, tenant):
                    at_ns = now_ns if one.at_ns is None else one.at_ns
                    row = (tenant, bytes.fromhex(one.trace_id), one.name, one.success, at_ns, one.note, who, now_ns)
                    transaction.execute(_INSERT, row)
                    changed += 1
        return changed

    def _is_new(self, transaction: Transaction, one: Saying, tenant: str) -> bool:
        trace_id = bytes.fromhex(one.trace_id)
        last = transaction.execute(_LAST, (trace_id, tenant, one.name))
        known = None if not last or last[0][0] is None else bool(last[0][0])
        if not last:
            if one.success is None:
                raise BadInput(f"outcome: nobody has said anything of trace {one.trace_id} that could be taken back")
            if transaction.execute(_KINDS, (trace_id, tenant, one.name))[0][0] >= OUTCOME_KINDS_OF_TRACE_MAX:
                raise BadInput(f"name: a trace has at most {OUTCOME_KINDS_OF_TRACE_MAX} kinds of outcomes")
            return True
        same_time = one.at_ns is None or one.at_ns == int(last[0][1])
        return known != one.success or not same_time or (one.note not in ("", last[0][2]))

    def report(self, query: OutcomeQuery, group_by: Sequence[str]) -> OutcomeReport:
        """Success, failure and cost.

        Raises:
            BadInput: see `report_of`.
        """
        with self._store.read() as transaction:
            return report_of(read_outcomes(transaction, query), group_by)

    def spent(self, query: OutcomeQuery) -> int:
        """What was spent in the query's time on calls of its tenants, pico-USD."""
        with self._store.read() as transaction:
            to_ns = None if query.to_ns == OutcomeQuery(None).to_ns else query.to_ns
            sums = tally(transaction, Question(query.tenants, (), query.from_ns or None, to_ns).checked())
        return sum(one.cost_pico for one in sums.values())

    def given(
        self, tenants: Collection[str] | None, trace_id: str | None, name: str | None, before_no: int | None, limit: int
    ) -> Sequence[Given]:
        """What somebody said, newest first; `before_no` is the last number of the page before."""
        sql = _LISTED
        values: list[Any] = [2**62 if before_no is None else before_no]
        if trace_id is not None:
            sql += " AND g.trace_id = ?"
            values.append(bytes.fromhex(trace_id))
        if name is not None:
            sql += " AND g.name = ?"
            values.append(name)
        if tenants is not None:
            sql += f" AND g.tenant IN ({', '.join('?' * len(tenants)) or 'NULL'})"
            values += sorted(tenants)
        with self._store.read() as transaction:
            rows = transaction.execute(f"{sql} ORDER BY g.outcome_no DESC LIMIT ?", (*values, limit))
        return [
            Given(
                int(no), tenant, bytes(trace).hex(), kind, None if success is None else bool(success), int(at_ns), note, who,
                int(recorded_ns), bool(stands),
            )
            for no, tenant, trace, kind, success, at_ns, note, who, recorded_ns, stands in rows
        ]  # fmt: skip


def _whose(transaction: Transaction, one: Saying, tenants: Collection[str] | None) -> str:
    """The tenant of what is said: as named, else the only one that who says it sees, else the only one with calls in the trace."""
    if one.tenant is not None:
        if tenants is not None and one.tenant not in tenants:
            raise NotFound("There is no such tenant for this token.")
        return one.tenant
    if tenants is not None and len(tenants) == 1:
        return next(iter(tenants))
    found = [tenant for (tenant,) in transaction.execute(_WHOSE, (bytes.fromhex(one.trace_id),)) if tenants is None or tenant in tenants]
    if len(found) == 1:
        return str(found[0])
    why = "nothing of it is booked yet" if not found else "several tenants have calls in it"
    raise BadInput(f"tenant: say whose outcome of trace {one.trace_id} it is; {why}")
