"""Approvals: what a policy lets through only with somebody's consent, and the passes that people give.

A request is pending until somebody approves or rejects it, or nobody does in time. The same thing, asked for again meanwhile, is the same
request. Approved, it is a pass: for one call, or for any number until it ends; the next decision on the same thing takes it.

What makes two calls the same is what they are for and whose they are, not which run or conversation they belong to: who repeats a call
does so in another trace. A pass covers no call that is estimated at more than what was asked for.

Deciding never waits for another decision here (on PostgreSQL several processes decide at once, each holding what others may want): a
request has an id that follows from what is asked for, so that whoever cannot write it, since somebody else is just writing the same,
knows it all the same; a pass that somebody else is just taking is taken.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

import orjson

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput, Conflict, NotFound
from otel_finops.base.limits import APPROVALS_PENDING_OF_TENANT_MAX
from otel_finops.base.money import PICO_MAX
from otel_finops.base.times import NS_PER_HOUR, format_ns
from otel_finops.governance.calls import GovernedCall, family
from otel_finops.governance.rulings import Ruling
from otel_finops.ledger.subjects import Subjects
from otel_finops.settings.approvals import Approvals as Settings
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Row, Transaction

State: TypeAlias = Literal["pending", "approved", "used", "rejected", "revoked", "expired"]
STATES: Final[tuple[State, ...]] = get_args(State)
Kind: TypeAlias = Literal["once", "timed"]

_KNOWN: Final = ("realm", "operation", "user", "session", "step", "purpose", "cost_center", "service", "environment", "trace")
"""What is kept of a call beside the columns of its own."""
_SAME: Final = ("tenant", "realm", "operation", "user", "agent", "step", "purpose", "cost_center", "service", "environment")
"""What must be equal, beside provider, model and tags."""
_ID_DIGITS: Final = 24
_ASKING: Final = 0x41534B
_TAKING: Final = 0x54414B
"""Classes of advisory locks: who writes a request, who takes a pass."""

_COLUMNS: Final = (
    "approval_no, approval_id, tenant, rule_id, rule, provider, model, agent, call, estimate_pico, asks, asked_ns, last_asked_ns, "
    "expires_ns, decision_id, status, kind, max_pico, decided_by, decided_ns, why"
)
_STANDING: Final = (
    "SELECT approval_id FROM approvals WHERE same = ? AND status = 'approved' AND expires_ns > ? AND (max_pico IS NULL OR max_pico >= ?) "
    "ORDER BY kind DESC, expires_ns, approval_no LIMIT 1"
)
"""A timed pass before one for a single call, so that this one is left; then the one that ends first. What nobody can estimate passes by
none that has a limit."""
_HELD: Final = "SELECT approval_no, same, kind FROM approvals WHERE approval_id = ? AND status = 'approved' AND expires_ns > ?"
_TAKE: Final = (
    "UPDATE approvals SET status = 'used' WHERE approval_no = ? AND status = 'approved' AND kind = 'once' AND expires_ns > ? "
    "RETURNING approval_no"
)
_USE: Final = "INSERT INTO approval_uses (approval_no, decision_id, at_ns) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_LAST: Final = (
    "SELECT approval_no, approval_id, round, status = 'pending' AND expires_ns > ? FROM approvals WHERE same = ? "
    "ORDER BY round DESC LIMIT 1"
)
"""The last request for the same: whatever is pending is it, since there is no further one before that is decided on."""
_WAITING: Final = "SELECT COUNT(*) FROM approvals WHERE status = 'pending' AND tenant = ? AND expires_ns > ?"
_ASK: Final = (
    "INSERT INTO approvals (approval_id, same, round, tenant, rule_id, rule, provider, model, agent, call, estimate_pico, asks, asked_ns, "
    "last_asked_ns, expires_ns, decision_id, status) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, 'pending') "
    "ON CONFLICT DO NOTHING"
)
_ASK_AGAIN: Final = (
    "UPDATE approvals SET asks = asks + 1, last_asked_ns = ?, "
    "estimate_pico = CASE WHEN estimate_pico < ? THEN ? ELSE estimate_pico END WHERE approval_no = ? AND status = 'pending'"
)
_FIND: Final = f"SELECT {_COLUMNS} FROM approvals WHERE approval_id = ?"
_USES: Final = "SELECT decision_id, at_ns FROM approval_uses WHERE approval_no = ? ORDER BY at_ns DESC, decision_id LIMIT ?"
_DECIDE: Final = (
    "UPDATE approvals SET status = ?, kind = ?, max_pico = ?, expires_ns = ?, decided_by = ?, decided_ns = ?, why = ? "
    "WHERE approval_id = ? AND status = ? AND expires_ns > ? RETURNING approval_no"
)
_USES_SHOWN: Final = 100


class Approval(NamedTuple):
    """A request, and what became of it.

    Attributes:
        no, id: the order in which they came, and the name by which people and programs know it.
        rule_id, rule: the policy that demands it.
        call: what is asked for, user and session by their clear ids; `pico` is the most that was asked for while it was pending, None
            where that is not known.
        asks: how often the same was asked for while it was pending.
        expires_ns: until when it waits; of a pass, until when it holds.
        decision_id: the decision that asked first.
        state: `expired` is what nobody decided on in time, and a pass that ended.
        kind, max_pico: of a pass: for one call or any number; the highest estimate that passes, None for any.
        decided_by, decided_ns, why: who decided last, when, for what reason; None while it is pending.
    """

    no: int
    id: str
    rule_id: str
    rule: str
    call: GovernedCall
    asks: int
    asked_ns: int
    last_asked_ns: int
    expires_ns: int
    decision_id: str
    state: State
    kind: Kind | None
    max_pico: int | None
    decided_by: str | None
    decided_ns: int | None
    why: str | None


class Use(NamedTuple):
    """A decision that a pass let through."""

    decision_id: str
    at_ns: int


class Grant(NamedTuple):
    """The pass that an approver gives.

    Attributes:
        kind: for one call, or for any number of them.
        hours: how long it holds; None: as the settings say.
        max_pico: the highest estimate that passes; None: what was asked for.
    """

    kind: Kind = "once"
    hours: float | None = None
    max_pico: int | None = None


class Query(NamedTuple):
    """Which requests are looked for; None: any."""

    state: State | None = None
    rule_id: str | None = None
    provider: str | None = None
    model: str | None = None
    agent: str | None = None


class StoredApprovals:
    """Requests and passes of one installation. Safe to use from many threads and processes."""

    def __init__(self, store: Store, clock: Clock, subjects: Subjects, settings: Settings) -> None:
        self._store = store
        self._clock = clock
        self._subjects = subjects
        self._settings = settings

    # --- for decisions, in their transaction ------------------------------------------------------------------------

    def pass_for(self, transaction: Transaction, call: GovernedCall, ruling: Ruling) -> str | None:
        """See `decide.Approvals`."""
        estimate = PICO_MAX if call.pico is None else call.pico
        found = transaction.execute(_STANDING, (_same(call, _rule_of(ruling)[0]), self._clock.now_ns(), estimate))
        return str(found[0][0]) if found else None

    def consume(self, transaction: Transaction, pass_id: str, decision_id: str, at_ns: int) -> bool:
        """See `decide.Approvals`."""
        found = transaction.execute(_HELD, (pass_id, at_ns))
        if not found:
            return False
        no, same, kind = found[0]
        if kind == "once" and not (_is_ours(transaction, _TAKING, same) and transaction.execute(_TAKE, (no, at_ns))):
            return False
        transaction.execute(_USE, (no, decision_id, at_ns))
        return True

    def request(self, transaction: Transaction, call: GovernedCall, ruling: Ruling, decision_id: str) -> str | None:
        """See `decide.Approvals`; None: too many requests of the tenant wait already."""
        rule_id, rule = _rule_of(ruling)
        same, now_ns = _same(call, rule_id), self._clock.now_ns()
        last = transaction.execute(_LAST, (now_ns, same))
        if last and last[0][3]:
            no, approval_id = last[0][:2]
            if _is_ours(transaction, _ASKING, same):
                transaction.execute(_ASK_AGAIN, (now_ns, call.pico, call.pico, no))
            return str(approval_id)
        if transaction.execute(_WAITING, (call.tenant, now_ns))[0][0] >= APPROVALS_PENDING_OF_TENANT_MAX:
            return None
        approval_round = int(last[0][2]) + 1 if last else 0
        approval_id = sha256(f"{same} {approval_round}".encode()).hexdigest()[:_ID_DIGITS]
        if _is_ours(transaction, _ASKING, same):
            expires_ns = now_ns + round(self._settings.pending_hours * NS_PER_HOUR)
            row = (
                approval_id, same, approval_round, call.tenant, rule_id, rule, family(call.provider), call.model, call.agent, _kept(call),
                call.pico, now_ns, now_ns, expires_ns, decision_id,
            )  # fmt: skip
            transaction.execute(_ASK, row)
        return approval_id

    # --- for people -------------------------------------------------------------------------------------------------

    def page(self, tenants: Collection[str] | None, query: Query, before_no: int | None, limit: int) -> list[Approval]:
        """A page of requests of these tenants (None: of all), newest first; `before_no` is the last number of the page before."""
        now_ns = self._clock.now_ns()
        conditions, params = _conditions(tenants, query, before_no, now_ns)
        sql = f"SELECT {_COLUMNS} FROM approvals WHERE {' AND '.join(conditions)} ORDER BY approval_no DESC LIMIT ?"
        with self._store.read() as transaction:
            return self._cleared(transaction, [_approval(row, now_ns) for row in transaction.execute(sql, (*params, limit))])

    def find(self, approval_id: str, tenants: Collection[str] | None) -> Approval:
        """The request of this id.

        Raises:
            NotFound: these tenants have none.
        """
        with self._store.read() as transaction:
            return self._found(transaction, approval_id, tenants)

    def uses(self, approval: Approval) -> list[Use]:
        """The latest decisions that a pass let through, newest first."""
        with self._store.read() as transaction:
            return [Use(decision_id, int(at_ns)) for decision_id, at_ns in transaction.execute(_USES, (approval.no, _USES_SHOWN))]

    def approve(
        self, approval_id: str, tenants: Collection[str] | None, grant: Grant, *, who: str, why: str, dry_run: bool = False
    ) -> tuple[Approval, Approval]:
        """Make a pending request a pass; before and after.

        Raises:
            NotFound: these tenants have no such request.
            Conflict: it is not pending.
            BadInput: an amount below what was asked for, which would let nothing through.
        """
        with self._store.write() as transaction:
            before = self._decidable(transaction, approval_id, tenants, "pending")
            asked = before.call.pico
            if grant.max_pico is not None and asked is not None and grant.max_pico < asked:
                raise BadInput("up_to_usd: less than was asked for; the call would be stopped again. Reject it, or leave the amount out")
            now_ns = self._clock.now_ns()
            hours = self._settings.pass_hours if grant.hours is None else grant.hours
            after = before._replace(
                state="approved", kind=grant.kind, max_pico=asked if grant.max_pico is None else grant.max_pico,
                expires_ns=now_ns + round(hours * NS_PER_HOUR), decided_by=who, decided_ns=now_ns, why=why,
            )  # fmt: skip
            return before, self._decided(transaction, before, after, dry_run=dry_run)

    def reject(
        self, approval_id: str, tenants: Collection[str] | None, *, who: str, why: str, dry_run: bool = False
    ) -> tuple[Approval, Approval]:
        """Refuse a pending request; before and after. Raises what `approve` raises."""
        return self._ended(approval_id, tenants, "pending", "rejected", who, why, dry_run=dry_run)

    def revoke(
        self, approval_id: str, tenants: Collection[str] | None, *, who: str, why: str, dry_run: bool = False
    ) -> tuple[Approval, Approval]:
        """Take a pass back that still holds; before and after. Raises what `approve` raises."""
        return self._ended(approval_id, tenants, "approved", "revoked", who, why, dry_run=dry_run)

    def _ended(
        self, approval_id: str, tenants: Collection[str] | None, of: State, to: State, who: str, why: str, *, dry_run: bool
    ) -> tuple[Approval, Approval]:
        with self._store.write() as transaction:
            before = self._decidable(transaction, approval_id, tenants, of)
            after = before._replace(state=to, decided_by=who, decided_ns=self._clock.now_ns(), why=why)
            return before, self._decided(transaction, before, after, dry_run=dry_run)

    def _decidable(self, transaction: Transaction, approval_id: str, tenants: Collection[str] | None, state: State) -> Approval:
        found = self._found(transaction, approval_id, tenants)
        if found.state != state:
            raise Conflict(_not(found, state))
        return found

    def _decided(self, transaction: Transaction, before: Approval, after: Approval, *, dry_run: bool) -> Approval:
        """Write it, unless a decision or another approver was faster."""
        row = (
            after.state, after.kind, after.max_pico, after.expires_ns, after.decided_by, after.decided_ns, after.why, after.id,
            before.state, self._clock.now_ns(),
        )  # fmt: skip
        if not dry_run and not transaction.execute(_DECIDE, row):
            raise Conflict(_not(self._found(transaction, after.id, None), before.state))
        return after

    def _found(self, transaction: Transaction, approval_id: str, tenants: Collection[str] | None) -> Approval:
        rows = transaction.execute(_FIND, (approval_id,))
        found = _approval(rows[0], self._clock.now_ns()) if rows else None
        if found is None or (tenants is not None and found.call.tenant not in tenants):
            raise NotFound("There is no such approval.")
        return self._cleared(transaction, [found])[0]

    def _cleared(self, transaction: Transaction, found: Sequence[Approval]) -> list[Approval]:
        """The same with the clear ids of subjects; what was erased keeps its reference."""
        refs = {ref for one in found for ref in (one.call.user, one.call.session) if ref is not None}
        names = self._subjects.clear(transaction, refs)
        return [
            one._replace(call=one.call._replace(user=_clear(names, one.call.user), session=_clear(names, one.call.session)))
            for one in found
        ]


def _not(found: Approval, state: State) -> str:
    """Why nothing can be decided on a request."""
    what = "waits for a decision" if state == "pending" else "is a pass that holds"
    by = f", by {found.decided_by} at {format_ns(found.decided_ns)}" if found.decided_ns is not None else ""
    return f"The approval {found.id} is {found.state} already{by}; only one that {what} can be decided on."


def _rule_of(ruling: Ruling) -> tuple[str, str]:
    """Id and name of the policy that demands an approval."""
    first = ruling.reasons[0] if ruling.reasons else None
    return ("", "") if first is None else (first.rule_id or "", first.rule)


def _same(call: GovernedCall, rule_id: str) -> str:
    """Digest of what makes two requests the same."""
    said = {name: getattr(call, name) for name in _SAME}
    model = None if call.model is None else call.model.lower()
    text = orjson.dumps([rule_id, family(call.provider), model, said, dict(call.tags)], option=orjson.OPT_SORT_KEYS)
    return sha256(text).hexdigest()


def _kept(call: GovernedCall) -> str:
    said: dict[str, Any] = {name: value for name in _KNOWN if (value := getattr(call, name)) is not None}
    return orjson.dumps({**said, "tags": dict(call.tags), "tokens": call.tokens, "at_ns": call.at_ns}, option=orjson.OPT_SORT_KEYS).decode()


def _is_ours(transaction: Transaction, what: int, same: str) -> bool:
    """Whether nobody else is just writing about the same thing, as long as this transaction lasts; SQLite has one writer anyway."""
    if transaction.engine_name == "sqlite":
        return True
    key = int.from_bytes(bytes.fromhex(same[:8]), "big", signed=True)
    return bool(transaction.execute("SELECT pg_try_advisory_xact_lock(CAST(? AS INTEGER), CAST(? AS INTEGER))", (what, key))[0][0])


def _conditions(tenants: Collection[str] | None, query: Query, before_no: int | None, now_ns: int) -> tuple[list[str], list[Any]]:
    conditions = ["approval_no < ?"]
    params: list[Any] = [2**62 if before_no is None else before_no]
    if tenants is not None:
        conditions.append(f"tenant IN ({', '.join('?' * len(tenants))})" if tenants else "FALSE")
        params += tenants
    looked_for = (
        ("rule_id = ?", query.rule_id), ("provider = ?", family(query.provider)), ("model = ?", query.model), ("agent = ?", query.agent),
    )  # fmt: skip
    for condition, value in looked_for:
        if value is not None:
            conditions.append(condition)
            params.append(value)
    if query.state == "expired":
        conditions.append("status IN ('pending', 'approved') AND expires_ns <= ?")
        params.append(now_ns)
    elif query.state is not None:
        conditions.append("status = ?")
        params.append(query.state)
        if query.state in ("pending", "approved"):
            conditions.append("expires_ns > ?")
            params.append(now_ns)
    return conditions, params


def _approval(row: Row, now_ns: int) -> Approval:
    (
        no, approval_id, tenant, rule_id, rule, provider, model, agent, call, estimate, asks, asked_ns, last_asked_ns, expires_ns,
        decision_id, status, kind, max_pico, decided_by, decided_ns, why,
    ) = row  # fmt: skip
    over = status in ("pending", "approved") and int(expires_ns) <= now_ns
    known = GovernedCall(tenant=tenant, provider=provider, model=model, agent=agent, pico=_int(estimate), **orjson.loads(call))
    return Approval(
        int(no), approval_id, rule_id, rule, known, int(asks), int(asked_ns), int(last_asked_ns), int(expires_ns), decision_id,
        "expired" if over else status, kind, _int(max_pico), decided_by, _int(decided_ns), why,
    )  # fmt: skip


def _clear(names: Mapping[str, str], ref: str | None) -> str | None:
    return None if ref is None else names.get(ref, ref)


def _int(value: Any) -> int | None:
    return None if value is None else int(value)
