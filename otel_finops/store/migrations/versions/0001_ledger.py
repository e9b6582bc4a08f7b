"""The ledger's first tables, and the triggers that make entries and blocks append-only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPEND_ONLY = {
    "entries": "shard = NEW.shard AND block_seq = NEW.block_seq AND idx = NEW.idx",
    "blocks": "shard = NEW.shard AND (seq = NEW.seq OR prev_hash = NEW.prev_hash)",
}
"""Append-only tables, and which rows a new one would replace."""


def upgrade() -> None:
    _keys_and_blocks()
    _entries()
    _journal()
    _rollup_dims()
    _rollups()
    _traces()
    for table, same in APPEND_ONLY.items():
        if op.get_bind().dialect.name == "sqlite":
            _protect_sqlite(table, same)
        else:
            _protect_postgres(table)


def _protect_sqlite(table: str, same: str) -> None:
    """The third trigger holds without `recursive_triggers`, on which REPLACE would otherwise depend; an upsert meets it first, too."""
    refuse = f"BEGIN SELECT RAISE(ABORT, '{table} are append-only: what was booked is mended by a reversal or a correction'); END"
    op.execute(f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}")
    op.execute(f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}")
    op.execute(f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) {refuse}")


def _protect_postgres(table: str) -> None:
    """A trigger of the statement fires for upserts and for statements that meet no row, too; ALWAYS: also in a replica's session."""
    op.execute(
        """CREATE OR REPLACE FUNCTION otel_finops_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% are append-only: what was booked is mended by a reversal or a correction', TG_TABLE_NAME
                USING ERRCODE = 'restrict_violation';
        END $$"""
    )
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION otel_finops_append_only()"
    )
    op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only")


def downgrade() -> None:
    raise NotImplementedError("a ledger is not downgraded: restore the copy that was made before the upgrade")


def _keys_and_blocks() -> None:
    op.create_table(
        "area_scopes",
        sa.Column("area", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("scope", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("area", "scope"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "blocks",
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("prev_hash", sa.LargeBinary(), nullable=False, comment="32 zero bytes for the first block of a shard"),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("entry_count", sa.Integer(), nullable=False),
        sa.Column("sum_pico", sa.Text(), nullable=False, comment="exact sum of cost_pico as a decimal integer; it may pass 2^63"),
        sa.Column("recorded_ns", sa.BigInteger(), nullable=False),
        sa.Column(
            "row_digests", sa.LargeBinary(), nullable=False, comment="8 bytes a row: they name the bad row of a block, the hash proves it"
        ),
        sa.PrimaryKeyConstraint("shard", "seq"),
        sa.UniqueConstraint("shard", "prev_hash", name="uq_blocks_shard_prev_hash"),
    )
    op.create_table(
        "call_keys",
        sa.Column(
            "bucket", sa.BigInteger(), autoincrement=False, nullable=False, comment="minute of the call for number keys, 0 for answer ids"
        ),
        sa.Column("key", sa.BigInteger(), autoincrement=False, nullable=False, comment="64 bits of a hash, see ledger.call_keys"),
        sa.Column("scope", sa.BigInteger(), autoincrement=False, nullable=False, comment="64 bits of the scope's hash"),
        sa.Column("start_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "place", sa.LargeBinary(), nullable=False, comment="head of the trace id and span id: breaks ties in time as decide does"
        ),
        sa.Column("trace_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("output", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("end_ns", sa.BigInteger(), nullable=False, comment="latest of the span's versions"),
        sa.Column(
            "area",
            sa.BigInteger(),
            nullable=False,
            comment="where twins are sought: hash of the service instance, of the realm for answer ids",
        ),
        sa.PrimaryKeyConstraint("bucket", "key", "scope", "start_ns", "place", "trace_no", "output"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_call_keys_trace", "call_keys", ["trace_no"], unique=False)
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def _entries() -> None:
    op.create_table(
        "entries",
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("block_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("idx", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("trace_no", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reverses", sa.Text(), nullable=True),
        sa.Column("counted_trace_id", sa.LargeBinary(), nullable=True),
        sa.Column("counted_span_id", sa.LargeBinary(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("realm", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("trace_id", sa.LargeBinary(), nullable=False),
        sa.Column("span_id", sa.LargeBinary(), nullable=False),
        sa.Column("parent_span_id", sa.LargeBinary(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("role_rule", sa.Text(), nullable=True),
        sa.Column("operation", sa.Text(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("request_model", sa.Text(), nullable=True),
        sa.Column("response_model", sa.Text(), nullable=True),
        sa.Column("usage", sa.Text(), nullable=False, comment="JSON, keys sorted"),
        sa.Column("tokens", sa.BigInteger(), nullable=False, comment="prompt + output"),
        sa.Column("usage_source", sa.Text(), nullable=False),
        sa.Column("usage_rule", sa.Text(), nullable=True),
        sa.Column("service_tier", sa.Text(), nullable=True),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("region_kind", sa.Text(), nullable=True),
        sa.Column("speed", sa.Text(), nullable=True),
        sa.Column("streaming", sa.Boolean(), nullable=True),
        sa.Column("error_type", sa.Text(), nullable=True),
        sa.Column("cost_pico", sa.BigInteger(), nullable=True),
        sa.Column("cost_lines", sa.Text(), nullable=False, comment="JSON: [[unit, quantity, rate_usd, amount_pico], ...]"),
        sa.Column("cost_method", sa.Text(), nullable=True),
        sa.Column("price_key", sa.Text(), nullable=True),
        sa.Column("price_match", sa.Text(), nullable=True),
        sa.Column("price_version", sa.Text(), nullable=True),
        sa.Column("partial", sa.Boolean(), nullable=False),
        sa.Column("unpriced_reason", sa.Text(), nullable=True),
        sa.Column("reported_pico", sa.BigInteger(), nullable=True),
        sa.Column("reported_source", sa.Text(), nullable=True),
        sa.Column("billed_pico", sa.BigInteger(), nullable=True),
        sa.Column("list_pico", sa.BigInteger(), nullable=True),
        sa.Column("contracted_pico", sa.BigInteger(), nullable=True),
        sa.Column("effective_pico", sa.BigInteger(), nullable=True),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("coverage_id", sa.Text(), nullable=True),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.Column("step", sa.Text(), nullable=True),
        sa.Column("tool", sa.Text(), nullable=True),
        sa.Column("workflow", sa.Text(), nullable=True),
        sa.Column("user_ref", sa.Text(), nullable=True),
        sa.Column("session_ref", sa.Text(), nullable=True),
        sa.Column("cost_center", sa.Text(), nullable=True),
        sa.Column("purpose", sa.Text(), nullable=True),
        sa.Column("service", sa.Text(), nullable=True),
        sa.Column("environment", sa.Text(), nullable=True),
        sa.Column("reservation_id", sa.Text(), nullable=True),
        sa.Column("started_ns", sa.BigInteger(), nullable=False),
        sa.Column("duration_ns", sa.BigInteger(), nullable=True),
        sa.Column("recorded_ns", sa.BigInteger(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False, comment="JSON, keys sorted"),
        sa.PrimaryKeyConstraint("shard", "block_seq", "idx"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_entries_started", "entries", ["tenant", "started_ns"], unique=False)
    op.create_index("ix_entries_trace", "entries", ["trace_no"], unique=False)


def _journal() -> None:
    op.create_table(
        "journal",
        sa.Column("trace_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("span_id", sa.LargeBinary(), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False, comment="first 16 bytes of SHA-256, see ledger.codec"),
        sa.Column("end_ns", sa.BigInteger(), nullable=False),
        sa.Column("output", sa.BigInteger(), nullable=False, comment="output tokens, for choosing among versions"),
        sa.Column("genai", sa.Boolean(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False, comment="the sighting, see ledger.codec"),
        sa.PrimaryKeyConstraint("trace_no", "span_id", "content_hash"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False, comment="shard:N, or job:NAME"),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False, comment="raised whenever the holder changes: fences off a holder that slept"),
        sa.Column("expires_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "lone_keys",
        sa.Column("area", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("trace_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "place", sa.LargeBinary(), nullable=False, comment="head of the trace id and span id: breaks ties in time as decide does"
        ),
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("start_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("output", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("scope", sa.BigInteger(), nullable=False),
        sa.Column("end_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("area", "trace_no", "place", "bucket", "key", "start_ns", "output"),
        sqlite_with_rowid=False,
    )


def _rollup_dims() -> None:
    op.create_table(
        "rollup_dims",
        sa.Column("dim_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("cost_method", sa.Text(), nullable=False),
        sa.Column("unpriced_reason", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("cost_center", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("dim_no"),
        sa.UniqueConstraint(
            "tenant",
            "provider",
            "model",
            "operation",
            "cost_method",
            "unpriced_reason",
            "agent",
            "cost_center",
            "service",
            "environment",
            name="uq_rollup_dims",
        ),
    )


def _rollups() -> None:
    op.create_table(
        "rollups",
        sa.Column("level", sa.Text(), nullable=False, comment="hour, day or total (bucket 0)"),
        sa.Column("bucket_ns", sa.BigInteger(), autoincrement=False, nullable=False, comment="start of the hour or day of started_at, UTC"),
        sa.Column("dim_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("calls_reversed", sa.BigInteger(), nullable=False),
        sa.Column("unpriced_calls", sa.BigInteger(), nullable=False),
        sa.Column("unpriced_calls_reversed", sa.BigInteger(), nullable=False),
        sa.Column("unpriced_tokens", sa.BigInteger(), nullable=False),
        sa.Column("unpriced_tokens_reversed", sa.BigInteger(), nullable=False),
        sa.Column("cost_usd", sa.BigInteger(), nullable=False, comment="whole USD of all positive amounts"),
        sa.Column("cost_pico", sa.BigInteger(), nullable=False, comment="the rest, 0 <= rest < 1e12"),
        sa.Column("cost_reversed_usd", sa.BigInteger(), nullable=False, comment="whole USD of all negative amounts, as a positive number"),
        sa.Column("cost_reversed_pico", sa.BigInteger(), nullable=False),
        sa.Column("input_uncached", sa.BigInteger(), nullable=False),
        sa.Column("input_uncached_reversed", sa.BigInteger(), nullable=False),
        sa.Column("cache_read", sa.BigInteger(), nullable=False),
        sa.Column("cache_read_reversed", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_5m", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_5m_reversed", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_1h", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_1h_reversed", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_12h", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_12h_reversed", sa.BigInteger(), nullable=False),
        sa.Column("output", sa.BigInteger(), nullable=False),
        sa.Column("output_reversed", sa.BigInteger(), nullable=False),
        sa.Column("reasoning", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_reversed", sa.BigInteger(), nullable=False),
        sa.Column("audio_in", sa.BigInteger(), nullable=False),
        sa.Column("audio_in_reversed", sa.BigInteger(), nullable=False),
        sa.Column("audio_out", sa.BigInteger(), nullable=False),
        sa.Column("audio_out_reversed", sa.BigInteger(), nullable=False),
        sa.Column("image_in", sa.BigInteger(), nullable=False),
        sa.Column("image_in_reversed", sa.BigInteger(), nullable=False),
        sa.Column("image_out", sa.BigInteger(), nullable=False),
        sa.Column("image_out_reversed", sa.BigInteger(), nullable=False),
        sa.Column("video_in", sa.BigInteger(), nullable=False),
        sa.Column("video_in_reversed", sa.BigInteger(), nullable=False),
        sa.Column("video_out", sa.BigInteger(), nullable=False),
        sa.Column("video_out_reversed", sa.BigInteger(), nullable=False),
        sa.Column("exemplar_trace_id", sa.LargeBinary(), nullable=True, comment="trace of the newest entry"),
        sa.Column("exemplar_pico", sa.BigInteger(), nullable=True),
        sa.Column("exemplar_ns", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("level", "bucket_ns", "dim_no"),
        sqlite_with_rowid=False,
    )


def _traces() -> None:
    op.create_table(
        "subjects",
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("realm", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="user or session"),
        sa.Column("clear", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("ref"),
        sa.UniqueConstraint("realm", "kind", "clear", name="uq_subjects_realm_kind_clear"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "trace_links",
        sa.Column("trace_no", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("linked_trace_id", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("trace_no", "linked_trace_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_trace_links_linked", "trace_links", ["linked_trace_id"], unique=False)
    op.create_table(
        "traces",
        sa.Column("trace_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("realm", sa.Text(), nullable=False),
        sa.Column("trace_id", sa.LargeBinary(), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("first_seen_ns", sa.BigInteger(), nullable=False),
        sa.Column(
            "version",
            sa.BigInteger(),
            nullable=False,
            comment="raised whenever the journal adds a span; settling clears due_ns only if it is unchanged",
        ),
        sa.Column("due_ns", sa.BigInteger(), nullable=True, comment="when to settle; NULL: nothing to settle"),
        sa.Column("has_genai", sa.Boolean(), nullable=False),
        sa.Column("has_root", sa.Boolean(), nullable=False),
        sa.Column("booked", sa.Boolean(), nullable=False, comment="entries exist"),
        sa.Column("pending_pico", sa.BigInteger(), nullable=False, comment="quotes of journalled calls that are not settled yet"),
        sa.Column("pending_calls", sa.BigInteger(), nullable=False),
        sa.Column(
            "waiting_since_ns",
            sa.BigInteger(),
            nullable=True,
            comment="since when something of it waits to be settled; NULL: nothing does",
        ),
        sa.PrimaryKeyConstraint("trace_no"),
        sa.UniqueConstraint("trace_id", "realm", name="uq_traces_trace_id_realm"),
    )
    op.create_index(
        "ix_traces_due",
        "traces",
        ["shard", "due_ns"],
        unique=False,
        sqlite_where=sa.text("due_ns IS NOT NULL"),
        postgresql_where=sa.text("due_ns IS NOT NULL"),
    )
    op.create_index(
        "ix_traces_skeletons",
        "traces",
        ["first_seen_ns"],
        unique=False,
        sqlite_where=sa.text("NOT has_genai"),
        postgresql_where=sa.text("NOT has_genai"),
    )
