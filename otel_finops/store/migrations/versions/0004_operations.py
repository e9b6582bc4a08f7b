"""Tokens, the trail of changes, stored switches and what retention took away are kept with the ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


_ON_RECORD = "what was pruned stays on record, or nobody could tell pruned rows from stolen ones"


def upgrade() -> None:
    """Tables are created by the parts below."""
    _tokens()
    _audit()
    _idempotency()
    _switches_and_windows()
    _indexes_of_entries()
    _figures_of_traces()
    _retention()


def downgrade() -> None:
    raise NotImplementedError("a ledger is not downgraded: restore the copy that was made before the upgrade")


def _tokens() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    for table, own in (("api_tokens", [sa.Column("role", sa.Text(), nullable=False)]), ("sender_tokens", [])):
        op.create_table(
            table,
            sa.Column("token_no", serial, autoincrement=True, nullable=False),
            sa.Column("name", sa.Text(), nullable=False, comment="who the audit trail says it was"),
            sa.Column("prefix", sa.Text(), nullable=False, comment="the first characters of the token, to be shown"),
            sa.Column("token_sha256", sa.Text(), nullable=False, comment="of the token's bytes, hex; the token itself is stored nowhere"),
            sa.Column("tenants", sa.Text(), nullable=False, comment='JSON list of names, sorted; ["*"]: all'),
            sa.Column("made_ns", sa.BigInteger(), nullable=False),
            sa.Column("made_by", sa.Text(), nullable=False),
            sa.Column("replaces_no", sa.BigInteger(), nullable=True, comment="the token that it was rotated from"),
            sa.Column("expires_ns", sa.BigInteger(), nullable=True, comment="NULL: never"),
            sa.Column("revoked_ns", sa.BigInteger(), nullable=True, comment="NULL: it is not"),
            sa.Column("revoked_by", sa.Text(), nullable=True),
            sa.Column("last_used_ns", sa.BigInteger(), nullable=True, comment="to the minute or so; NULL: never"),
            *own,
            sa.PrimaryKeyConstraint("token_no"),
            sa.UniqueConstraint("token_sha256", name=f"uq_{table}_token_sha256"),
            sqlite_autoincrement=True,
        )
    op.create_table(
        "token_revision",
        sa.Column("row_no", sa.SmallInteger(), autoincrement=False, nullable=False, comment="always 1: there is one row"),
        sa.Column(
            "revision",
            sa.BigInteger(),
            nullable=False,
            comment="raised in every transaction that changes a token, first of all: such wait in line",
        ),
        sa.PrimaryKeyConstraint("row_no"),
        sa.CheckConstraint("row_no = 1", name="ck_token_revision_one_row"),
    )
    op.execute("INSERT INTO token_revision (row_no, revision) VALUES (1, 0)")


def _audit() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("entry_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False, comment="whose chain; *: the whole service's"),
        sa.Column("seq", sa.BigInteger(), nullable=False, comment="its place in the chain, from 1"),
        sa.Column("prev", sa.LargeBinary(), nullable=False, comment="hash of the entry before, zeros for the first"),
        sa.Column("hash", sa.LargeBinary(), nullable=False, comment="of prev and body, see audit.chain"),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="canonical JSON; the columns below repeat what is looked for"),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False, comment="the operation"),
        sa.Column("outcome", sa.Text(), nullable=False, comment="done; of runs: begun, then done, unchanged or failed"),
        sa.PrimaryKeyConstraint("entry_no"),
        sa.UniqueConstraint("tenant", "seq", name="uq_audit_entries_seq"),
        sa.UniqueConstraint("tenant", "prev", name="uq_audit_entries_prev"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_entries_who", "audit_entries", ["who", "entry_no"])
    op.create_index("ix_audit_entries_what", "audit_entries", ["what", "entry_no"])
    op.create_index("ix_audit_entries_at", "audit_entries", ["at_ns"])
    op.create_table(
        "audit_anchors",
        sa.Column("tenant", sa.Text(), nullable=False, comment="whose chain"),
        sa.Column("seq", sa.BigInteger(), nullable=False, comment="the last entry that was pruned; what is left begins after it"),
        sa.Column("hash", sa.LargeBinary(), nullable=False, comment="of that entry"),
        sa.Column("pruned_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant"),
        sqlite_with_rowid=False,
    )
    _protect_audit("tenant = NEW.tenant AND (seq = NEW.seq OR prev = NEW.prev) OR entry_no = NEW.entry_no")


def _protect_audit(same: str) -> None:
    """Refuse every change of the trail but further entries, as 0001 does for the ledger's."""
    message = "audit_entries are append-only: what was done stays on record"
    if op.get_bind().dialect.name == "sqlite":
        refuse = f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        op.execute(f"CREATE TRIGGER audit_entries_no_update BEFORE UPDATE ON audit_entries {refuse}")
        op.execute(f"CREATE TRIGGER audit_entries_no_delete BEFORE DELETE ON audit_entries {refuse}")
        taken = f"EXISTS (SELECT 1 FROM audit_entries WHERE {same})"
        op.execute(f"CREATE TRIGGER audit_entries_no_replace BEFORE INSERT ON audit_entries WHEN {taken} {refuse}")
        return
    op.execute(
        f"""CREATE FUNCTION audit_entries_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '{message}' USING ERRCODE = 'restrict_violation';
        END $$"""
    )
    op.execute(
        "CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_entries_append_only()"
    )
    op.execute("ALTER TABLE audit_entries ENABLE ALWAYS TRIGGER audit_entries_append_only")


def _idempotency() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("holder", sa.Text(), nullable=False, comment="digest of the principal that sent it"),
        sa.Column("key", sa.Text(), nullable=False, comment="digest of the key"),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("given", sa.Text(), nullable=False, comment="digest of the operation's input"),
        sa.Column("claimed_ns", sa.BigInteger(), nullable=False),
        sa.Column(
            "answer",
            sa.LargeBinary(),
            nullable=True,
            comment="deflated JSON without secrets; NULL: the change was begun and is not done yet",
        ),
        sa.PrimaryKeyConstraint("holder", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_idempotency_keys_claimed", "idempotency_keys", ["claimed_ns"])


def _switches_and_windows() -> None:
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "kill_switches",
        sa.Column("switch_no", serial, autoincrement=True, nullable=False),
        sa.Column("action", sa.Text(), nullable=False, comment="set or clear"),
        sa.Column("scope", sa.Text(), nullable=False, comment="global, provider, tenant, model or agent"),
        sa.Column("name", sa.Text(), nullable=False, comment="of the provider, tenant, model or agent; '' for global"),
        sa.Column("tenant", sa.Text(), nullable=False, comment="only calls of this tenant; '' for all"),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("of_all", sa.Boolean(), nullable=False, comment="who switched sees all tenants: nobody who is bound to some undoes it"),
        sa.PrimaryKeyConstraint("switch_no"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_kill_switches_key", "kill_switches", ["scope", "name", "tenant", "switch_no"])
    op.create_table(
        "subscription_windows",
        sa.Column("window_no", serial, autoincrement=True, nullable=False),
        sa.Column("ends_no", sa.BigInteger(), comment="this row ends that window"),
        sa.Column("rule", sa.Text(), comment="JSON, as `settings.money.SubscriptionRule`; NULL where the row ends one"),
        sa.Column("ends_ns", sa.BigInteger(), comment="of an end: exclusive; NULL: the window is withdrawn, as if it had never been"),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("recorded_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("window_no"),
        sqlite_autoincrement=True,
    )
    _only_added("kill_switches", "switch_no = NEW.switch_no", "set or clear the switch again")
    _only_added("subscription_windows", "window_no = NEW.window_no", "end the window and add another")


def _amounts() -> list[sa.Column[int]]:
    wide = ("tokens", "cost_usd", "cost_pico", "own_usd", "own_pico")
    names = ("calls", "failed_calls", "unpriced_calls", "tokens", "tools", "failed_tools", "cost_usd", "cost_pico", "own_calls")
    said = {"own_calls": "calls that lie in no run below it"}
    return [
        sa.Column(name, sa.BigInteger() if name in wide else sa.Integer(), nullable=False, comment=said.get(name))
        for name in (*names, "own_usd", "own_pico")
    ]


def _figures_of_traces() -> None:
    """What is derived from whole traces (`trees.tables`); the service makes it for the traces that are there already."""
    op.create_table(
        "runs",
        sa.Column("trace_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("span_id", sa.LargeBinary(), nullable=False),
        sa.Column("parent_run", sa.LargeBinary(), comment="span of the nearest run above it; NULL: it is in no other run"),
        sa.Column("tenant", sa.Text(), nullable=False, comment="whose the run's own span is"),
        sa.Column("kind", sa.Text(), nullable=False, comment="agent or workflow"),
        sa.Column("name", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text()) for name in ("agent", "workflow", "service", "environment", "user_ref", "session_ref")),
        sa.Column("started_ns", sa.BigInteger(), nullable=False),
        sa.Column("duration_ns", sa.BigInteger(), nullable=False),
        sa.Column("error_type", sa.Text()),
        sa.Column("finish_reason", sa.Text(), comment="why the last answer ended"),
        sa.Column("children", sa.Integer(), nullable=False, comment="runs right below it"),
        *_amounts(),
        sa.PrimaryKeyConstraint("trace_no", "span_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "run_shares",
        sa.Column("trace_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("span_id", sa.LargeBinary(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        *_amounts(),
        sa.PrimaryKeyConstraint("trace_no", "span_id", "tenant"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "trace_sums",
        sa.Column("trace_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("session_ref", sa.Text(), nullable=False, comment="'': none"),
        sa.Column("user_ref", sa.Text(), nullable=False, comment="'': none"),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("calls", "failed_calls", "unpriced_calls")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("tokens", "cost_usd", "cost_pico")),
        sa.Column("started_ns", sa.BigInteger(), nullable=False, comment="start of the first call"),
        sa.Column("ended_ns", sa.BigInteger(), nullable=False, comment="end of the last one"),
        sa.PrimaryKeyConstraint("trace_no", "tenant", "session_ref", "user_ref"),
        sqlite_with_rowid=False,
    )
    for name, table, columns, condition in (
        ("ix_runs_started", "runs", ["started_ns"], None),
        ("ix_runs_tenant_started", "runs", ["tenant", "started_ns"], None),
        ("ix_runs_session", "runs", ["session_ref", "started_ns"], "session_ref IS NOT NULL"),
        ("ix_trace_sums_session", "trace_sums", ["session_ref", "tenant", "ended_ns"], "session_ref <> ''"),
        ("ix_trace_sums_latest", "trace_sums", ["ended_ns"], "session_ref <> ''"),
    ):
        where = None if condition is None else sa.text(condition)
        op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
    op.execute(
        "INSERT INTO counters (name, value) SELECT 'run_figures_to_fill', last_no "
        "FROM (SELECT MAX(trace_no) AS last_no FROM traces WHERE booked) AS settled WHERE last_no IS NOT NULL"
    )


def _indexes_of_entries() -> None:
    """What reports look for among many entries: changed ones, failed ones, those that really cost something else."""
    money = "billed_pico IS NOT NULL OR list_pico IS NOT NULL OR contracted_pico IS NOT NULL OR effective_pico IS NOT NULL"
    for name, columns, condition in (
        ("ix_entries_changed", ["started_ns", "trace_no", "kind"], "kind <> 'charge'"),
        ("ix_entries_failed", ["started_ns", "tenant", "role", "kind", "trace_no", "error_type"], "error_type IS NOT NULL"),
        ("ix_entries_other_money", ["started_ns", "trace_no"], money),
    ):
        op.create_index(name, "entries", columns, sqlite_where=sa.text(condition), postgresql_where=sa.text(condition))


def _retention() -> None:
    """What pruning leaves behind, and the one door through the triggers of append-only tables (see ledger.door)."""
    op.add_column(
        "traces",
        sa.Column(
            "sealed_ns",
            sa.BigInteger(),
            nullable=True,
            comment="since when nothing more of it is taken, see ledger.retention; NULL: it is open",
        ),
    )
    _retention_tables()
    named = (
        "SELECT 1 FROM retention_passes p JOIN pruned_blocks b ON b.shard = p.shard AND b.by_seq = p.upto "
        "WHERE {} AND p.name = 'entries' AND p.shard = OLD.shard AND b.seq = OLD.block_seq "
        "AND NOT EXISTS (SELECT 1 FROM blocks n WHERE n.shard = p.shard AND n.seq >= p.upto)"
    )
    older = "SELECT 1 FROM retention_passes p WHERE {} AND p.name = '%s' AND OLD.%s < p.upto"
    runless = (
        "SELECT 1 FROM retention_passes p WHERE {} AND p.name = 'correction_rounds' "
        "AND NOT EXISTS (SELECT 1 FROM correction_runs r WHERE r.run_no = OLD.run_no)"
    )
    _door("entries", named, "what was booked is mended by a reversal or a correction")
    _door("audit_entries", older % ("audit_entries", "at_ns"), "what was done stays on record")
    _door("correction_runs", older % ("correction_runs", "started_ns"), "a correction is followed by another one")
    _door("correction_rounds", runless, "a correction is followed by another one")
    _door("price_refreshes", older % ("price_refreshes", "at_ns"), "what was tried stays on record")
    same = "shard = NEW.shard AND seq = NEW.seq AND by_seq = NEW.by_seq"
    _only_added("pruned_months", "month = NEW.month", _ON_RECORD)
    _only_added("prunings", "shard = NEW.shard AND block_seq = NEW.block_seq", _ON_RECORD)
    _only_added("pruned_blocks", same, _ON_RECORD)


def _retention_tables() -> None:
    op.create_table(
        "pruned_months",
        sa.Column("month", sa.Text(), nullable=False, comment="YYYY-MM, UTC"),
        sa.Column("to_ns", sa.BigInteger(), nullable=False, comment="exclusive; of what started before it no new traces are taken"),
        sa.Column("begun_ns", sa.BigInteger(), nullable=False),
        sa.Column("begun_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("month"),
    )
    op.create_table(
        "prunings",
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "block_seq", sa.BigInteger(), autoincrement=False, nullable=False, comment="the block without rows that seals this statement"
        ),
        sa.Column("pruned_ns", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("months", sa.Text(), nullable=False, comment='JSON: {"2024-06": [entries, sum_pico as text]}, keys sorted'),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("sum_pico", sa.Text(), nullable=False, comment="exact sum of cost_pico, a decimal integer; it may pass 2^63"),
        sa.PrimaryKeyConstraint("shard", "block_seq"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "pruned_blocks",
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False, comment="the block that lost rows"),
        sa.Column(
            "by_seq", sa.BigInteger(), autoincrement=False, nullable=False, comment="the block that seals the statement which took them"
        ),
        sa.Column("rows_digest", sa.LargeBinary(), nullable=False, comment="over all rows that the block ever had: its hash is made of it"),
        sa.Column("left_count", sa.Integer(), nullable=False),
        sa.Column("left_digest", sa.LargeBinary(), nullable=False, comment="over the rows that are left"),
        sa.PrimaryKeyConstraint("shard", "seq", "by_seq"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_pruned_blocks_by", "pruned_blocks", ["shard", "by_seq"])
    op.create_table(
        "retention_never",
        sa.Column("never_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("never_no"),
        sa.CheckConstraint("never_no < 0 AND never_no > 0", name="ck_retention_never"),
    )
    op.create_table(
        "retention_passes",
        sa.Column(
            "pass_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False, comment="drawn at random"
        ),
        sa.Column("name", sa.Text(), nullable=False, comment="the table whose rows may go"),
        sa.Column("shard", sa.SmallInteger(), nullable=False, comment="of entries; 0 for others"),
        sa.Column(
            "upto",
            sa.BigInteger(),
            nullable=False,
            comment="entries: the block that will seal the statement; others: rows before this time",
        ),
        sa.Column(
            "xid",
            sa.BigInteger(),
            nullable=False,
            comment="PostgreSQL: the transaction that wrote it, the only one in which it holds; else 0",
        ),
        sa.Column("never_no", sa.BigInteger(), nullable=False, comment="keeps the row from being committed"),
        sa.ForeignKeyConstraint(
            ["never_no"], ["retention_never.never_no"], name="fk_retention_passes_never", deferrable=True, initially="DEFERRED"
        ),
        sa.PrimaryKeyConstraint("pass_no"),
    )


def _door(table: str, allowed: str, mended: str) -> None:
    """Let rows of an append-only table be deleted under a pass that this very transaction wrote; all else stays refused.

    A pass refers to what never is, so that it cannot be committed. SQLite looks at that only where a connection asks for it, as ours
    do: there the pass must also be the last row that the connection inserted, and it is drawn at random. On PostgreSQL it must also
    bear the number of the running transaction.

    Args:
        allowed: a query, over `OLD`, that finds the pass; `{}` stands for the condition that it is this transaction's.
    """
    message = f"{table} are append-only: {mended}"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"DROP TRIGGER {table}_no_delete")
        found = allowed.format("p.pass_no = last_insert_rowid()")
        refuse = f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        op.execute(f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} WHEN NOT EXISTS ({found}) {refuse}")
        return
    function = "otel_finops_append_only" if table == "entries" else f"{table}_append_only"
    op.execute(f"DROP TRIGGER {table}_append_only ON {table}")
    op.execute(f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {function}()")
    op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only")
    op.execute(
        f"""CREATE FUNCTION {table}_door() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS ({allowed.format("p.xid = txid_current()")}) THEN
                RETURN OLD;
            END IF;
            RAISE EXCEPTION '{message}' USING ERRCODE = 'restrict_violation';
        END $$"""
    )
    op.execute(f"CREATE TRIGGER {table}_door BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_door()")
    op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_door")


def _only_added(table: str, same: str, mended: str) -> None:
    """Refuse every change but further rows, as 0003 does for price rules.

    Args:
        same: which rows a new one would replace, as SQL over `NEW`.
        mended: how something wrong is mended instead, or why it is not.
    """
    message = f"{table} are append-only: {mended}"
    if op.get_bind().dialect.name == "sqlite":
        refuse = f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        op.execute(f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}")
        op.execute(f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}")
        op.execute(f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) {refuse}")
        return
    op.execute(
        f"""CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '{message}' USING ERRCODE = 'restrict_violation';
        END $$"""
    )
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
    )
    op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only")
