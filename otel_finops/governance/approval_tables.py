"""The tables of what people and guardrails say of calls. Migrations create them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, Table, Text, UniqueConstraint

from otel_finops.store.schema import SERIAL, metadata

approvals: Final = Table(
    "approvals",
    metadata,
    Column("approval_no", SERIAL, primary_key=True, autoincrement=True),
    Column("approval_id", Text, nullable=False, comment="its name; follows from what is asked for and how often"),
    Column("same", Text, nullable=False, comment="digest of what makes two requests the same"),
    Column("round", BigInteger, nullable=False, comment="how many requests for the same there were before"),
    Column("tenant", Text, nullable=False),
    Column("rule_id", Text, nullable=False, comment="of the policy that demands it; '' for what has none"),
    Column("rule", Text, nullable=False, comment="what people call that policy"),
    Column("provider", Text),
    Column("model", Text),
    Column("agent", Text),
    Column("call", Text, nullable=False, comment="JSON: what else is known of the call; subjects by reference"),
    Column("estimate_pico", BigInteger, comment="the most that was asked for; NULL: it could not be estimated"),
    Column("asks", BigInteger, nullable=False, comment="how often it was asked for while it was pending"),
    Column("asked_ns", BigInteger, nullable=False),
    Column("last_asked_ns", BigInteger, nullable=False),
    Column("expires_ns", BigInteger, nullable=False, comment="until when it waits; of a pass: until when it holds"),
    Column("decision_id", Text, nullable=False, comment="of the decision that asked first"),
    Column("status", Text, nullable=False, comment="pending, approved, used, rejected, revoked; over by expires_ns: expired"),
    Column("kind", Text, comment="of a pass: once or timed"),
    Column("max_pico", BigInteger, comment="of a pass: no estimate above it passes; NULL: any does"),
    Column("decided_by", Text),
    Column("decided_ns", BigInteger),
    Column("why", Text),
    UniqueConstraint("approval_id", name="uq_approvals_approval_id"),
    UniqueConstraint("same", "round", name="uq_approvals_same_round"),
    sqlite_autoincrement=True,
)
"""Requests for approval and the passes that they became (`governance.approvals`)."""

Index("ix_approvals_tenant", approvals.c.tenant, approvals.c.approval_no)
Index("ix_approvals_status", approvals.c.status, approvals.c.tenant, approvals.c.approval_no)

approval_uses: Final = Table(
    "approval_uses",
    metadata,
    Column("approval_no", BigInteger, primary_key=True, autoincrement=False),
    Column("decision_id", Text, primary_key=True),
    Column("at_ns", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Which decisions a pass let through; rows are only ever added, so that two who use a timed pass never wait for each other."""

verdicts: Final = Table(
    "guardrail_verdicts",
    metadata,
    Column("trace_no", BigInteger, primary_key=True, autoincrement=False),
    Column("span_id", LargeBinary, primary_key=True, comment="the span that says it"),
    Column("call_span_id", LargeBinary, comment="the call of the trace that it is about; NULL: none is known"),
    Column("tenant", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("guardrail", Text, nullable=False),
    Column("verdict", Text, nullable=False, comment="flag or block"),
    Column("reason", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""What guardrails in applications said, as their spans tell (`governance.verdicts`); made anew when a trace settles again."""

Index("ix_guardrail_verdicts_at", verdicts.c.tenant, verdicts.c.at_ns)

guardrail_rulings: Final = Table(
    "guardrail_rulings",
    metadata,
    Column("decision_id", Text, primary_key=True),
    Column("guardrail", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("said", Text, nullable=False, comment="flagged, blocked, or unanswered"),
    Column("action", Text, nullable=False, comment="allow or block: what became of that"),
    Column("observed", Boolean, nullable=False, comment="whatever was decided, the caller went on"),
    Column("estimate_pico", BigInteger, comment="of the call, pico-USD; NULL: nobody knows"),
    Column("reason", Text, nullable=False),
    sqlite_with_rowid=False,
)
"""What guardrails said of calls that somebody asked to make (`governance.guardrails`)."""

Index("ix_guardrail_rulings_at", guardrail_rulings.c.tenant, guardrail_rulings.c.at_ns)
