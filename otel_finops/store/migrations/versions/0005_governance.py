"""Budgets, reservations, decisions, policies, approvals and credits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Tables are created by the parts below."""
    _approvals()
    _guardrail_verdicts()
    _decisions()
    _budgets()
    _budget_counters()
    _credits()
    _policies()


def downgrade() -> None:
    raise NotImplementedError("a ledger is not downgraded: restore the copy that was made before the upgrade")


def _budget_counters() -> None:
    amounts = ("usd", "pico", "tokens", "calls")
    op.create_table(
        "budget_counters",
        sa.Column("count_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "level", sa.SmallInteger(), autoincrement=False, nullable=False,
            comment="0: window, 1: day, 2: a piece of a rolling window's hours",
        ),
        sa.Column(
            "start_ns", sa.BigInteger(), autoincrement=False, nullable=False, comment="of a rolling window 0: all that was ever booked"
        ),
        *(sa.Column(f"booked_{name}", sa.BigInteger(), nullable=False) for name in amounts),
        sa.Column("booked_unpriced", sa.BigInteger(), nullable=False, comment="of the calls those whose money nobody knows"),
        *(sa.Column(f"reserved_{name}", sa.BigInteger(), nullable=False) for name in amounts),
        sa.PrimaryKeyConstraint("count_no", "level", "start_ns"),
        sqlite_with_rowid=False,
    )  # fmt: skip
    op.create_table(
        "budget_holds",
        sa.Column("reservation_id", sa.Text(), nullable=False),
        sa.Column("count_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("start_ns", sa.BigInteger(), nullable=False, comment="of the window's row that it is held from"),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in amounts[1:]),
        sa.PrimaryKeyConstraint("reservation_id", "count_no"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_budget_holds_count", "budget_holds", ["count_no"])
    op.create_table(
        "budget_pending",
        sa.Column("count_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("start_ns", sa.BigInteger(), autoincrement=False, nullable=False, comment="of the window's row"),
        sa.Column(
            "stripe", sa.SmallInteger(), autoincrement=False, nullable=False, comment="who wrote: nobody waits for another one's row"
        ),
        sa.Column("usd", sa.BigInteger(), nullable=False, comment="negative where one added and another one took back"),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in amounts[1:]),
        sa.PrimaryKeyConstraint("count_no", "start_ns", "stripe"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "budget_pending_traces",
        sa.Column("trace_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False, comment="of the trace, as the batch made it"),
        sa.Column(
            "payload", sa.LargeBinary(), nullable=False, comment="JSON: [windows, [pico, tokens, calls]], .., see governance.pending"
        ),
        sa.PrimaryKeyConstraint("trace_no", "version"),
        sqlite_with_rowid=False,
    )
    _budget_fills_and_crossings()


def _budget_fills_and_crossings() -> None:
    op.create_table(
        "budget_fills",
        sa.Column("count_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "heads", sa.Text(), nullable=False,
            comment="JSON: last block by shard when the count was begun; what is behind is counted as it is booked",
        ),
        sa.Column("at_tenant", sa.Text(), nullable=False, comment="up to where entries are counted: tenant by tenant, in order of time"),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("count_no"),
        sqlite_with_rowid=False,
    )  # fmt: skip
    op.create_table(
        "budget_crossings",
        sa.Column("crossing_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("budget_no", sa.BigInteger(), nullable=False),
        sa.Column("count_no", sa.BigInteger(), nullable=False),
        sa.Column("start_ns", sa.BigInteger(), nullable=False, comment="of the window's row"),
        sa.Column("percent", sa.BigInteger(), nullable=False, comment="the threshold, of the limit"),
        sa.Column("crossed_ns", sa.BigInteger(), nullable=False, comment="when the entry was recorded that brought it about"),
        sa.Column("limit_amount", sa.Text(), nullable=False, comment="in the budget's unit then, a decimal integer"),
        sa.Column("booked_amount", sa.Text(), nullable=False),
        sa.Column("cleared_ns", sa.BigInteger(), nullable=True, comment="when less than that was booked again; NULL: it stands"),
        sa.PrimaryKeyConstraint("crossing_no"),
        sqlite_autoincrement=True,
    )
    stands = sa.text("cleared_ns IS NULL")
    op.create_index(
        "uq_budget_crossings_standing", "budget_crossings", ["count_no", "start_ns", "percent"], unique=True,
        sqlite_where=stands, postgresql_where=stands,
    )  # fmt: skip


def _budgets() -> None:
    op.create_table(
        "budgets",
        sa.Column("revision", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("budget_no", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False, comment="create, update or delete"),
        sa.Column("tenant", sa.Text(), nullable=False, comment="whose it is; '' for several"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False, comment="JSON: the other fields; users and sessions as references"),
        sa.Column(
            "counting", sa.BigInteger(), nullable=True, comment="the revision since which it counts what it counts now; NULL: this one"
        ),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("of_all", sa.Boolean(), nullable=False, comment="who made it sees all tenants: nobody who is bound to some changes it"),
        sa.PrimaryKeyConstraint("revision"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_budgets_no", "budgets", ["budget_no", "revision"])


def _decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("decision_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False, comment="what was decided, in observe mode what would have been"),
        sa.Column("observed", sa.Boolean(), nullable=False, comment="observe mode: whatever was decided, the caller was told to go on"),
        sa.Column("gate", sa.Text(), nullable=False, comment="who decided; '': nobody had anything to say"),
        sa.Column("rule_id", sa.Text(), nullable=True, comment="of the rule that decided"),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("provider", "model", "operation")),
        *(sa.Column(name, sa.Text(), nullable=True, comment="reference of a subject") for name in ("user_ref", "session_ref")),
        *(
            sa.Column(name, sa.Text(), nullable=True)
            for name in ("agent", "step", "purpose", "cost_center", "service", "environment", "trace_id")
        ),
        sa.Column("estimate_pico", sa.BigInteger(), nullable=True, comment="pico-USD; NULL: nobody knows"),
        sa.Column("tokens", sa.BigInteger(), nullable=False, comment="prompt and most output"),
        sa.Column("key", sa.Text(), nullable=True, comment="digest of the caller's idempotency key"),
        sa.Column(
            "asked",
            sa.Text(),
            nullable=False,
            comment="digest of what was asked, to know a repeated request; '' without a key",
        ),
        sa.Column("answer", sa.Text(), nullable=False, comment="JSON: what the caller was told"),
        sa.PrimaryKeyConstraint("decision_no"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "reservations",
        sa.Column("reservation_id", sa.Text(), nullable=False, comment="that of its decision"),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False, comment="held, settled, or how it ended: booked, expired, released"),
        sa.Column("estimate_pico", sa.BigInteger(), nullable=True, comment="pico-USD; NULL: nobody knows"),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column(
            "actual_pico",
            sa.BigInteger(),
            nullable=True,
            comment="what it came to; NULL: it is not settled, or nobody knows",
        ),
        sa.Column("actual_tokens", sa.BigInteger(), nullable=True),
        sa.Column("made_ns", sa.BigInteger(), nullable=False),
        sa.Column("settled_ns", sa.BigInteger(), nullable=True),
        sa.Column("expires_ns", sa.BigInteger(), nullable=False, comment="when it is given back unless something else happens before"),
        sa.Column("ended_ns", sa.BigInteger(), nullable=True, comment="NULL: it is held"),
        sa.PrimaryKeyConstraint("reservation_id"),
        sqlite_with_rowid=False,
    )
    said = ["at_ns", "tenant", "action", "observed", "gate", "estimate_pico"]
    for name, table, columns, condition, unique in (
        ("ix_decisions_id", "decisions", ["decision_id"], None, True),
        ("ix_decisions_key", "decisions", ["tenant", "key"], "key IS NOT NULL", True),
        ("ix_decisions_at", "decisions", ["at_ns"], None, False),
        ("ix_decisions_said", "decisions", said, "action <> 'allow'", False),
        ("ix_reservations_open", "reservations", ["expires_ns"], "ended_ns IS NULL", False),
        ("ix_reservations_made", "reservations", ["made_ns"], None, False),
    ):
        where = None if condition is None else sa.text(condition)
        op.create_index(name, table, columns, unique=unique, sqlite_where=where, postgresql_where=where)
    _only_added(
        "decisions", "decision_id = NEW.decision_id OR decision_no = NEW.decision_no", "what was decided stays on record", door="at_ns"
    )


def _only_added(table: str, same: str, mended: str, door: str | None = None) -> None:
    """Refuse every change but further rows, as 0003 does for price rules; with a door for retention as 0004 makes them.

    Args:
        same: which rows a new one would replace, as SQL over `NEW`.
        mended: how something wrong is mended instead, or why it is not.
        door: the column of a row's time; rows before that of a pass may be deleted under it (see `ledger.door`). None: nobody deletes any.
    """
    message = f"{table} are append-only: {mended}"
    passes = f"SELECT 1 FROM retention_passes p WHERE {{}} AND p.name = '{table}' AND OLD.{door} < p.upto"
    if op.get_bind().dialect.name == "sqlite":
        refuse = f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        unless = f"WHEN NOT EXISTS ({passes.format('p.pass_no = last_insert_rowid()')}) " if door else ""
        op.execute(f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}")
        op.execute(f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {unless}{refuse}")
        op.execute(f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) {refuse}")
        return
    op.execute(
        f"""CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '{message}' USING ERRCODE = 'restrict_violation';
        END $$"""
    )
    told = "UPDATE OR TRUNCATE" if door else "UPDATE OR DELETE OR TRUNCATE"
    op.execute(f"CREATE TRIGGER {table}_append_only BEFORE {told} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()")
    op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only")
    if door:
        op.execute(
            f"""CREATE FUNCTION {table}_door() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF EXISTS ({passes.format("p.xid = txid_current()")}) THEN
                    RETURN OLD;
                END IF;
                RAISE EXCEPTION '{message}' USING ERRCODE = 'restrict_violation';
            END $$"""
        )
        op.execute(f"CREATE TRIGGER {table}_door BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_door()")
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_door")


def _approvals() -> None:
    op.create_table(
        "approvals",
        sa.Column("approval_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("approval_id", sa.Text(), nullable=False, comment="its name; follows from what is asked for and how often"),
        sa.Column("same", sa.Text(), nullable=False, comment="digest of what makes two requests the same"),
        sa.Column("round", sa.BigInteger(), nullable=False, comment="how many requests for the same there were before"),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("rule_id", sa.Text(), nullable=False, comment="of the policy that demands it; '' for what has none"),
        sa.Column("rule", sa.Text(), nullable=False, comment="what people call that policy"),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("provider", "model", "agent")),
        sa.Column("call", sa.Text(), nullable=False, comment="JSON: what else is known of the call; subjects by reference"),
        sa.Column("estimate_pico", sa.BigInteger(), nullable=True, comment="the most that was asked for; NULL: it could not be estimated"),
        sa.Column("asks", sa.BigInteger(), nullable=False, comment="how often it was asked for while it was pending"),
        sa.Column("asked_ns", sa.BigInteger(), nullable=False),
        sa.Column("last_asked_ns", sa.BigInteger(), nullable=False),
        sa.Column("expires_ns", sa.BigInteger(), nullable=False, comment="until when it waits; of a pass: until when it holds"),
        sa.Column("decision_id", sa.Text(), nullable=False, comment="of the decision that asked first"),
        sa.Column(
            "status",
            sa.Text(),
            nullable=False,
            comment="pending, approved, used, rejected, revoked; over by expires_ns: expired",
        ),
        sa.Column("kind", sa.Text(), nullable=True, comment="of a pass: once or timed"),
        sa.Column("max_pico", sa.BigInteger(), nullable=True, comment="of a pass: no estimate above it passes; NULL: any does"),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_ns", sa.BigInteger(), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("approval_no"),
        sa.UniqueConstraint("approval_id", name="uq_approvals_approval_id"),
        sa.UniqueConstraint("same", "round", name="uq_approvals_same_round"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_approvals_tenant", "approvals", ["tenant", "approval_no"])
    op.create_index("ix_approvals_status", "approvals", ["status", "tenant", "approval_no"])
    op.create_table(
        "approval_uses",
        sa.Column("approval_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("approval_no", "decision_id"),
        sqlite_with_rowid=False,
    )


def _guardrail_verdicts() -> None:
    op.create_table(
        "guardrail_verdicts",
        sa.Column("trace_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("span_id", sa.LargeBinary(), nullable=False, comment="the span that says it"),
        sa.Column("call_span_id", sa.LargeBinary(), nullable=True, comment="the call of the trace that it is about; NULL: none is known"),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("guardrail", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False, comment="flag or block"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("trace_no", "span_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_guardrail_verdicts_at", "guardrail_verdicts", ["tenant", "at_ns"])
    op.create_table(
        "guardrail_rulings",
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("guardrail", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False, comment="flagged, blocked, or unanswered"),
        sa.Column("action", sa.Text(), nullable=False, comment="allow or block: what became of that"),
        sa.Column("observed", sa.Boolean(), nullable=False, comment="whatever was decided, the caller went on"),
        sa.Column("estimate_pico", sa.BigInteger(), nullable=True, comment="of the call, pico-USD; NULL: nobody knows"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("decision_id", "guardrail"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_guardrail_rulings_at", "guardrail_rulings", ["tenant", "at_ns"])


def _credits() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    accounts = ("balance", "owed", "source", "spend", "expired", "adjustment")
    pico = " + ".join(f"{name}_pico" for name in accounts)
    units = " + ".join(f"{name}_units" for name in accounts)
    op.create_table(
        "credit_pools",
        sa.Column("pool_no", serial, autoincrement=True, nullable=False),
        sa.Column("hard", sa.Boolean(), nullable=False),
        sa.Column("takes_calls", sa.Boolean(), nullable=False, comment="it is not closed"),
        *_amounts(*accounts, "held", "plain_used"),
        sa.Column("next_expiry_ns", sa.BigInteger(), nullable=True, comment="of its grants; NULL: none expires"),
        sa.Column("low_units", sa.BigInteger(), nullable=True, comment="below it people are told; NULL: they are not"),
        sa.Column("low_pico", sa.BigInteger(), nullable=True),
        sa.Column("is_low", sa.Boolean(), nullable=False),
        sa.Column("alerts", sa.Integer(), nullable=False, comment="how often it fell below"),
        sa.PrimaryKeyConstraint("pool_no"),
        sa.CheckConstraint(f"({pico}) % 1000000000000 = 0 AND {units} = -(({pico}) / 1000000000000)", name="ck_credit_pools_balanced"),
        sa.CheckConstraint("NOT hard OR balance_units >= 0", name="ck_credit_pools_never_negative"),
        sa.CheckConstraint("held_units >= 0", name="ck_credit_pools_held"),
        sa.CheckConstraint("plain_used_units >= 0", name="ck_credit_pools_plain_used"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_credit_pools_expiry", "credit_pools", ["next_expiry_ns"])
    op.create_table(
        "credit_definitions",
        sa.Column("definition_no", serial, autoincrement=True, nullable=False),
        sa.Column("pool_no", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False, comment="JSON, `governance.credits.Pool`"),
        sa.Column("heads", sa.Text(), nullable=False, comment="JSON list: the last block of each shard when this was written, -1 for none"),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("definition_no"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_credit_definitions_pool", "credit_definitions", ["pool_no", "definition_no"])
    _credit_movements(serial)
    _credit_alerts(serial)
    _only_added("credit_definitions", "definition_no = NEW.definition_no", "a pool is changed by a further row")
    _only_added("credit_transactions", "transaction_no = NEW.transaction_no", "what was posted is mended by an adjustment")
    same = "transaction_no = NEW.transaction_no AND account = NEW.account"
    _only_added("credit_postings", same, "what was posted is mended by an adjustment")
    _only_added("credit_rates", "currency = NEW.currency AND day = NEW.day", "what was debited by a rate is given back by it")


def _amounts(*names: str) -> list[sa.Column[int]]:
    """Whole units and millionths of a millionth, as columns for each name."""
    return [sa.Column(f"{name}_{part}", sa.BigInteger(), nullable=False) for name in names for part in ("units", "pico")]


def _credit_movements(serial: sa.types.TypeEngine[int]) -> None:
    op.create_table(
        "credit_transactions",
        sa.Column("transaction_no", serial, autoincrement=True, nullable=False),
        sa.Column("pool_no", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="topup, grant, debit, refund, adjustment, expiry or conversion"),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False, comment="'': calls that were booked"),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False, comment="entries of the block that moved it; 0 where no calls did"),
        sa.Column("shard", sa.SmallInteger(), nullable=True, comment="of the block that moved it; NULL where none did"),
        sa.Column("block_seq", sa.BigInteger(), nullable=True),
        sa.Column("grant_no", sa.BigInteger(), nullable=True, comment="the grant that it made, or that expired"),
        *_amounts("after"),
        sa.PrimaryKeyConstraint("transaction_no"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_credit_transactions_pool", "credit_transactions", ["pool_no", "transaction_no"])
    op.create_table(
        "credit_postings",
        sa.Column("transaction_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        *_amounts("amount"),
        sa.PrimaryKeyConstraint("transaction_no", "account"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "credit_grants",
        sa.Column("grant_no", serial, autoincrement=True, nullable=False),
        sa.Column("pool_no", sa.BigInteger(), nullable=False),
        sa.Column("expires_ns", sa.BigInteger(), nullable=False),
        *_amounts("amount", "used", "expired"),
        sa.Column("is_live", sa.Boolean(), nullable=False, comment="something is left of it"),
        sa.PrimaryKeyConstraint("grant_no"),
        sa.CheckConstraint("used_units >= 0 AND expired_units >= 0", name="ck_credit_grants_amounts"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_credit_grants_live", "credit_grants", ["pool_no", "is_live", "expires_ns", "grant_no"])


def _credit_alerts(serial: sa.types.TypeEngine[int]) -> None:
    op.create_table(
        "credit_holds",
        sa.Column("reservation_id", sa.Text(), nullable=False),
        sa.Column("pool_no", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False, comment="of the exchange rate"),
        *_amounts("amount"),
        sa.PrimaryKeyConstraint("reservation_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_credit_holds_pool", "credit_holds", ["pool_no"])
    op.create_table(
        "credit_rates",
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("per_usd", sa.Text(), nullable=False, comment="an exact fraction"),
        sa.PrimaryKeyConstraint("currency", "day"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "credit_alerts",
        sa.Column("alert_no", serial, autoincrement=True, nullable=False),
        sa.Column("pool_no", sa.BigInteger(), nullable=False),
        sa.Column("episode", sa.Integer(), nullable=False, comment="the how-manieth time that it fell below"),
        *_amounts("low", "level"),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("over_ns", sa.BigInteger(), nullable=True, comment="when it had enough again; NULL: it has not"),
        sa.PrimaryKeyConstraint("alert_no"),
        sa.UniqueConstraint("pool_no", "episode", name="uq_credit_alerts_episode"),
        sqlite_autoincrement=True,
    )


def _policies() -> None:
    op.create_table(
        "policies",
        sa.Column("revision", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("policy_no", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False, comment="create, update or delete"),
        sa.Column("tenant", sa.Text(), nullable=False, comment="whose it is; '' for several"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False, comment="JSON: the other fields; users and sessions as references"),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("of_all", sa.Boolean(), nullable=False, comment="who made it sees all tenants: nobody who is bound to some changes it"),
        sa.PrimaryKeyConstraint("revision"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_policies_no", "policies", ["policy_no", "revision"])
    op.create_table(
        "policy_rates",
        sa.Column("policy_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "of",
            sa.Text(),
            nullable=False,
            comment="what is counted apart: a tenant, agent, trace id or reference of a subject; '' for all",
        ),
        sa.Column(
            "free_ns", sa.BigInteger(), nullable=False,
            comment="when all that was taken is there again; earlier than now: nothing is",
        ),
        sa.PrimaryKeyConstraint("policy_no", "of"),
        sqlite_with_rowid=False,
    )  # fmt: skip
    op.create_index("ix_policy_rates_free", "policy_rates", ["free_ns"])
    op.create_table(
        "policy_failures",
        sa.Column("policy_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False, comment="of the policy when it failed last"),
        sa.Column("at_ns", sa.BigInteger(), nullable=False, comment="when it failed last"),
        sa.Column("reason", sa.Text(), nullable=False, comment="of the last failure; never a value"),
        sa.PrimaryKeyConstraint("policy_no"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "policy_calls",
        sa.Column("reservation_id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=True),
        sa.Column("session_ref", sa.Text(), nullable=True),
        sa.Column("made_ns", sa.BigInteger(), nullable=False),
        sa.Column(
            "pico", sa.BigInteger(), nullable=False, comment="the estimate, or what the caller says it came to; 0 where nobody knows"
        ),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False, comment="it is held: the call's entry is not booked"),
        sa.PrimaryKeyConstraint("reservation_id"),
        sqlite_with_rowid=False,
    )
    for column in ("trace_id", "session_ref"):
        known = sa.text(f"{column} IS NOT NULL")
        op.create_index(f"ix_policy_calls_{column}", "policy_calls", [column, "made_ns"], sqlite_where=known, postgresql_where=known)
    over = sa.text("NOT is_open")
    op.create_index("ix_policy_calls_over", "policy_calls", ["made_ns"], sqlite_where=over, postgresql_where=over)
