"""Decisions on record: what was asked, what was decided and what the caller was told; written once and never changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from otel_finops.base.limits import STOPPED_RULES_MAX
from otel_finops.base.money import PICO_PER_USD
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.decide import Verdict
from otel_finops.ledger.subjects import SubjectKind, refs_of
from otel_finops.store.unit_of_work import Row, Transaction

FILTERS: Final = (
    "tenant", "action", "gate", "rule_id", "provider", "model", "operation", "agent", "step", "purpose", "cost_center", "service",
    "environment", "trace_id",
)  # fmt: skip
"""By what decisions can be selected by equality, besides users and sessions."""
SUBJECTS: Final[Mapping[str, tuple[str, SubjectKind]]] = {"user": ("user_ref", "user"), "session": ("session_ref", "session")}

_SAID: Final = (
    "decision_id, tenant, at_ns, action, observed, gate, rule_id, provider, model, operation, user_ref, session_ref, agent, step, purpose, "
    "cost_center, service, environment, trace_id, estimate_pico, tokens"
)
_INSERT: Final = f"INSERT INTO decisions ({_SAID}, key, asked, answer) VALUES"
_ROWS: Final = f"SELECT decision_no, {_SAID}, answer FROM decisions WHERE"
_MADE: Final = "SELECT tenant, decision_id, at_ns, estimate_pico, tokens FROM decisions WHERE decision_id IN ({})"
_OF_KEY: Final = "SELECT asked, answer FROM decisions WHERE tenant = ? AND key = ?"
_SUMS: Final = (
    "COUNT(*), COUNT(estimate_pico), "
    f"COALESCE(SUM(estimate_pico / {PICO_PER_USD}), 0), COALESCE(SUM(estimate_pico % {PICO_PER_USD}), 0) "
    "FROM decisions WHERE action <> 'allow' AND at_ns >= ? AND at_ns < ?"
)
_LAST_NO: Final = 2**63 - 1
_ACTION: Final = _SAID.split(", ").index("action")
_COUNTED: Final = "decisions"
"""How the names of their counters begin: `decisions:ACTION:OBSERVED:STRIPE`."""
_COUNT: Final = "INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value"
_COUNTS: Final = "SELECT name, value FROM counters WHERE name >= ? AND name < ?"


class Key(NamedTuple):
    """Under what a caller may ask again: digests of his key and of what he asked."""

    key: str
    asked: str


class Decision(NamedTuple):
    """A decision as it stands on record.

    Attributes:
        no: in the order of recording.
        call: what was asked, with references of subjects.
        action: what was decided; where it was only `observed` the caller went on all the same.
        gate, rule_id: who decided; gate "" where nobody had anything to say.
        answer: what the caller was told.
    """

    no: int
    id: str
    call: GovernedCall
    action: str
    observed: bool
    gate: str
    rule_id: str | None
    answer: Mapping[str, Any]


class Stopped(NamedTuple):
    """Decisions of one kind in a span of time: how many, how many of them with an estimate, and the sum of those, pico-USD.

    Attributes:
        rule_id: of the rule that decided; None where rules are not told apart, or none decided.
    """

    action: str
    observed: bool
    gate: str
    calls: int
    estimated: int
    pico: int
    rule_id: str | None = None


class Query(NamedTuple):
    """Which decisions are meant.

    Attributes:
        tenants: whose; None for all.
        from_ns, to_ns: when they were made; to is exclusive, None leaves the end open.
        filters: by names of `FILTERS` and `SUBJECTS` (clear ids).
        observed: only those that were, or were not, only observed; None: both.
        halted: only those that say anything else than allow.
    """

    tenants: Collection[str] | None
    from_ns: int | None = None
    to_ns: int | None = None
    filters: Mapping[str, str] = {}
    observed: bool | None = None
    halted: bool = False


def row_of(decision_id: str, verdict: Verdict, asked: GovernedCall, at_ns: int, key: Key | None, answer: bytes) -> Sequence[Any]:
    """A decision as `insert` takes it; `asked` is the call with the model that was asked for."""
    deciding = verdict.deciding
    return (
        decision_id, asked.tenant, at_ns, verdict.action, verdict.observed,
        "" if deciding is None else deciding.gate, None if deciding is None else deciding.rule_id,
        asked.provider, asked.model, asked.operation, asked.user, asked.session, asked.agent, asked.step, asked.purpose,
        asked.cost_center, asked.service, asked.environment, asked.trace, asked.pico, asked.tokens,
        None if key is None else key.key, "" if key is None else key.asked, answer.decode(),
    )  # fmt: skip


def insert(transaction: Transaction, rows: Sequence[Sequence[Any]]) -> None:
    """Put decisions on record."""
    transaction.write_values(_INSERT, rows)


def answered(transaction: Transaction, tenant: str, key: str) -> tuple[str, Mapping[str, Any]] | None:
    """What was asked under a key, as a digest, and what was answered; None: nothing yet."""
    rows = transaction.execute(_OF_KEY, (tenant, key))
    return (rows[0][0], orjson.loads(rows[0][1])) if rows else None


def page(transaction: Transaction, query: Query, before_no: int | None, limit: int) -> list[Decision]:
    """Decisions, newest first, those before a number."""
    where, params = _conditions(transaction, query)
    sql = " AND ".join([f"{_ROWS} decision_no < ?", *where])
    rows = transaction.execute(f"{sql} ORDER BY decision_no DESC LIMIT {int(limit)}", (before_no or _LAST_NO, *params))
    return [_decision(row) for row in rows]


def found(transaction: Transaction, decision_id: str, tenants: Collection[str] | None) -> Decision | None:
    """One decision; None when there is none that these tenants may see."""
    rows = transaction.execute(f"{_ROWS} decision_id = ?", (decision_id,))
    return _decision(rows[0]) if rows and (tenants is None or rows[0][2] in tenants) else None


def stopped(transaction: Transaction, query: Query) -> list[Stopped]:
    """What was not simply let through, by action, whether it was only observed, and gate."""
    return [Stopped(*row[:-1]) for row in _sums(transaction, query, "NULL", "action, observed, gate ORDER BY action, observed, gate")]


def stopped_by_rule(transaction: Transaction, query: Query) -> list[Stopped]:
    """The same by the rule that decided too, those with the most calls first."""
    order = "COUNT(*) DESC, action, observed, gate, rule_id"
    by_rule = f"action, observed, gate, rule_id ORDER BY {order} LIMIT {STOPPED_RULES_MAX}"
    return [Stopped(*row) for row in _sums(transaction, query, "rule_id", by_rule)]


def _sums(transaction: Transaction, query: Query, rule: str, groups: str) -> list[tuple[Any, ...]]:
    """The fields of `Stopped`; `rule` and `groups` are SQL of this module."""
    where, params = _conditions(transaction, query._replace(from_ns=None, to_ns=None))
    sql = " AND ".join([f"SELECT action, observed, gate, {rule}, {_SUMS}", *where])
    window = (query.from_ns or 0, _LAST_NO if query.to_ns is None else query.to_ns)
    return [
        (action, bool(observed), gate, calls, estimated, int(usd) * PICO_PER_USD + int(pico), rule_id)
        for action, observed, gate, rule_id, calls, estimated, usd, pico in transaction.execute(
            f"{sql} GROUP BY {groups}", (*window, *params)
        )
    ]


def count(transaction: Transaction, rows: Sequence[Sequence[Any]], stripe: int) -> None:
    """Count decisions that are put on record, rows as `insert` takes them, for `/metrics`.

    Args:
        stripe: over how many rows the count of one kind is spread is for the callers to say, so that processes do not wait for each other.
    """
    kinds = Counter((row[_ACTION], "true" if row[_ACTION + 1] else "false") for row in rows)
    transaction.executemany(_COUNT, [(f"{_COUNTED}:{':'.join(kind)}:{stripe}", calls) for kind, calls in sorted(kinds.items())])


def counted(transaction: Transaction) -> dict[tuple[str, str], int]:
    """All decisions ever made, by action and whether they were only observed (`true`, `false`)."""
    kinds: Counter[tuple[str, str]] = Counter()
    for name, calls in transaction.execute(_COUNTS, (f"{_COUNTED}:", f"{_COUNTED};")):
        _, action, observed, _ = name.split(":")
        kinds[action, observed] += int(calls)
    return dict(kinds)


def _conditions(transaction: Transaction, query: Query) -> tuple[list[str], list[Any]]:
    """As SQL; every text stands in this module."""
    where: list[str] = []
    params: list[Any] = []

    def add(sql: str, *values: Any) -> None:
        where.append(sql)
        params.extend(values)

    def one_of(column: str, values: Collection[str]) -> None:
        add(f"{column} IN ({', '.join('?' * len(values)) or 'NULL'})", *values)

    if query.tenants is not None:
        one_of("tenant", query.tenants)
    if query.from_ns is not None:
        add("at_ns >= ?", query.from_ns)
    if query.to_ns is not None:
        add("at_ns < ?", query.to_ns)
    if query.observed is not None:
        add("observed" if query.observed else "NOT observed")
    if query.halted:
        add("action <> 'allow'")
    for name, value in query.filters.items():
        if name in SUBJECTS:
            column, kind = SUBJECTS[name]
            one_of(column, refs_of(transaction, kind, [value]))
        else:
            add(f"{FILTERS[FILTERS.index(name)]} = ?", value)
    return where, params


def _decision(row: Row) -> Decision:
    no, decision_id, tenant, at_ns, action, observed, gate, rule_id, provider, model, operation, user, session, *rest = row
    agent, step, purpose, cost_center, service, environment, trace, pico, tokens, answer = rest
    call = GovernedCall(
        tenant=tenant, provider=provider, model=model, operation=operation, user=user, session=session, agent=agent, step=step,
        purpose=purpose, cost_center=cost_center, service=service, environment=environment, trace=trace, at_ns=at_ns, pico=pico,
        tokens=tokens,
    )  # fmt: skip
    return Decision(no, decision_id, call, action, bool(observed), gate, rule_id, orjson.loads(answer))


class Made(NamedTuple):
    """When a decision was made, and on what estimate."""

    at_ns: int
    pico: int | None
    tokens: int


def made_by_ids(transaction: Transaction, decision_ids: Collection[str]) -> dict[tuple[str, str], Made]:
    """When these were made and on what estimate, by (tenant, id); those that are not on record are left out."""
    rows = transaction.select_in(_MADE, sorted(decision_ids))
    return {(tenant, found): Made(at_ns, pico, tokens) for tenant, found, at_ns, pico, tokens in rows}


def halted_between(transaction: Transaction, tenants: Collection[str] | None, from_ns: int, to_ns: int) -> list[Decision]:
    """Decisions that stopped a call, not those that would have, in order of time."""
    where, params = _conditions(transaction, Query(tenants, from_ns, to_ns, observed=False, halted=True))
    rows = transaction.execute(" AND ".join([_ROWS + " action <> 'downgrade'", *where]) + " ORDER BY at_ns, decision_no", params)
    return [_decision(row) for row in rows]


def subjects_of(decisions: Iterable[Decision]) -> set[str]:
    """The references that these name."""
    return {ref for one in decisions for ref in (one.call.user, one.call.session) if ref is not None}
