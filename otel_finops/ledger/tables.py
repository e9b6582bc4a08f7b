"""The ledger's tables. Migrations create them; the hot paths write them with raw SQL, reports read them through SQLAlchemy.

Traces get a number in the order in which they are first seen. Everything that belongs to a trace is keyed by that number,
not by the random trace id, so that inserts and reads stay in a few neighbouring pages of the B-trees while `traces`
alone carries the random index, with one row for ten spans or so.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from otel_finops.store.schema import SERIAL, metadata

traces: Final = Table(
    "traces",
    metadata,
    Column("trace_no", SERIAL, primary_key=True, autoincrement=True),
    Column("realm", Text, nullable=False),
    Column("trace_id", LargeBinary, nullable=False),
    Column("shard", SmallInteger, nullable=False),
    Column("first_seen_ns", BigInteger, nullable=False),
    Column(
        "version",
        BigInteger,
        nullable=False,
        comment="raised whenever the journal adds a span; settling clears due_ns only if it is unchanged",
    ),
    Column("due_ns", BigInteger, comment="when to settle; NULL: nothing to settle"),
    Column("has_genai", Boolean, nullable=False),
    Column("has_root", Boolean, nullable=False),
    Column("booked", Boolean, nullable=False, comment="entries exist"),
    Column("pending_pico", BigInteger, nullable=False, comment="quotes of journalled calls that are not settled yet"),
    Column("pending_calls", BigInteger, nullable=False),
    Column("waiting_since_ns", BigInteger, comment="since when something of it waits to be settled; NULL: nothing does"),
    Column("sealed_ns", BigInteger, comment="since when nothing more of it is taken, see ledger.retention; NULL: it is open"),
    UniqueConstraint("trace_id", "realm", name="uq_traces_trace_id_realm"),
)
Index(
    "ix_traces_due", traces.c.shard, traces.c.due_ns, sqlite_where=text("due_ns IS NOT NULL"), postgresql_where=text("due_ns IS NOT NULL")
)
Index("ix_traces_skeletons", traces.c.first_seen_ns, sqlite_where=text("NOT has_genai"), postgresql_where=text("NOT has_genai"))

journal: Final = Table(
    "journal",
    metadata,
    Column("trace_no", BigInteger, primary_key=True, autoincrement=False),
    Column("span_id", LargeBinary, primary_key=True),
    Column("content_hash", LargeBinary, primary_key=True, comment="first 16 bytes of SHA-256, see ledger.codec"),
    Column("end_ns", BigInteger, nullable=False),
    Column("output", BigInteger, nullable=False, comment="output tokens, for choosing among versions"),
    Column("genai", Boolean, nullable=False),
    Column("payload", LargeBinary, nullable=False, comment="the sighting, see ledger.codec"),
    sqlite_with_rowid=False,
)

call_keys: Final = Table(
    "call_keys",
    metadata,
    Column("bucket", BigInteger, primary_key=True, autoincrement=False, comment="minute of the call for number keys, 0 for answer ids"),
    Column("key", BigInteger, primary_key=True, autoincrement=False, comment="64 bits of a hash, see ledger.call_keys"),
    Column("scope", BigInteger, primary_key=True, autoincrement=False, comment="64 bits of the scope's hash"),
    Column("start_ns", BigInteger, primary_key=True, autoincrement=False),
    Column("place", LargeBinary, primary_key=True, comment="head of the trace id and span id: breaks ties in time as decide does"),
    Column("trace_no", BigInteger, primary_key=True, autoincrement=False),
    Column("output", BigInteger, primary_key=True, autoincrement=False),
    Column("end_ns", BigInteger, nullable=False, comment="latest of the span's versions"),
    Column("area", BigInteger, nullable=False, comment="where twins are sought: hash of the service instance, of the realm for answer ids"),
    sqlite_with_rowid=False,
)
Index("ix_call_keys_trace", call_keys.c.trace_no)

lone_keys: Final = Table(
    "lone_keys",
    metadata,
    Column("area", BigInteger, primary_key=True, autoincrement=False),
    Column("trace_no", BigInteger, primary_key=True, autoincrement=False),
    Column("place", LargeBinary, primary_key=True, comment="head of the trace id and span id: breaks ties in time as decide does"),
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),
    Column("key", BigInteger, primary_key=True, autoincrement=False),
    Column("start_ns", BigInteger, primary_key=True, autoincrement=False),
    Column("output", BigInteger, primary_key=True, autoincrement=False),
    Column("scope", BigInteger, nullable=False),
    Column("end_ns", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Number keys of areas with one scope so far: nobody can be their twin, so they lie in the order of arrival until a second
scope shows up and they move to `call_keys`."""

area_scopes: Final = Table(
    "area_scopes",
    metadata,
    Column("area", BigInteger, primary_key=True, autoincrement=False),
    Column("scope", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
"""Scopes seen in an area: twins come from different scopes, so an area with one scope needs no search at all."""

trace_links: Final = Table(
    "trace_links",
    metadata,
    Column("trace_no", BigInteger, primary_key=True, autoincrement=False),
    Column("linked_trace_id", LargeBinary, primary_key=True),
    sqlite_with_rowid=False,
)
Index("ix_trace_links_linked", trace_links.c.linked_trace_id)

entries: Final = Table(
    "entries",
    metadata,
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("block_seq", BigInteger, primary_key=True, autoincrement=False),
    Column("idx", Integer, primary_key=True, autoincrement=False),
    Column("trace_no", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reverses", Text),
    Column("counted_trace_id", LargeBinary),
    Column("counted_span_id", LargeBinary),
    Column("revision", Integer, nullable=False),
    Column("realm", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("trace_id", LargeBinary, nullable=False),
    Column("span_id", LargeBinary, nullable=False),
    Column("parent_span_id", LargeBinary),
    Column("role", Text, nullable=False),
    Column("role_rule", Text),
    Column("operation", Text),
    Column("provider", Text),
    Column("request_model", Text),
    Column("response_model", Text),
    Column("usage", Text, nullable=False, comment="JSON, keys sorted"),
    Column("tokens", BigInteger, nullable=False, comment="prompt + output"),
    Column("usage_source", Text, nullable=False),
    Column("usage_rule", Text),
    Column("service_tier", Text),
    Column("region", Text),
    Column("region_kind", Text),
    Column("speed", Text),
    Column("streaming", Boolean),
    Column("error_type", Text),
    Column("cost_pico", BigInteger),
    Column("cost_lines", Text, nullable=False, comment="JSON: [[unit, quantity, rate_usd, amount_pico], ...]"),
    Column("cost_method", Text),
    Column("price_key", Text),
    Column("price_match", Text),
    Column("price_version", Text),
    Column("partial", Boolean, nullable=False),
    Column("unpriced_reason", Text),
    Column("reported_pico", BigInteger),
    Column("reported_source", Text),
    Column("billed_pico", BigInteger),
    Column("list_pico", BigInteger),
    Column("contracted_pico", BigInteger),
    Column("effective_pico", BigInteger),
    Column("account", Text),
    Column("coverage_id", Text),
    Column("agent", Text),
    Column("step", Text),
    Column("tool", Text),
    Column("workflow", Text),
    Column("user_ref", Text),
    Column("session_ref", Text),
    Column("cost_center", Text),
    Column("purpose", Text),
    Column("service", Text),
    Column("environment", Text),
    Column("reservation_id", Text),
    Column("started_ns", BigInteger, nullable=False),
    Column("duration_ns", BigInteger),
    Column("recorded_ns", BigInteger, nullable=False),
    Column("late", Boolean, nullable=False),
    Column("tags", Text, nullable=False, comment="JSON, keys sorted"),
    sqlite_with_rowid=False,
)
Index("ix_entries_trace", entries.c.trace_no)
Index("ix_entries_started", entries.c.tenant, entries.c.started_ns)

blocks: Final = Table(
    "blocks",
    metadata,
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("prev_hash", LargeBinary, nullable=False, comment="32 zero bytes for the first block of a shard"),
    Column("hash", LargeBinary, nullable=False),
    Column("entry_count", Integer, nullable=False),
    Column("sum_pico", Text, nullable=False, comment="exact sum of cost_pico as a decimal integer; it may pass 2^63"),
    Column("recorded_ns", BigInteger, nullable=False),
    Column("row_digests", LargeBinary, nullable=False, comment="8 bytes a row: they name the bad row of a block, the hash proves it"),
    UniqueConstraint("shard", "prev_hash", name="uq_blocks_shard_prev_hash"),
)

subjects: Final = Table(
    "subjects",
    metadata,
    Column("ref", Text, primary_key=True),
    Column("realm", Text, nullable=False),
    Column("kind", Text, nullable=False, comment="user or session"),
    Column("clear", Text, nullable=False),
    UniqueConstraint("realm", "kind", "clear", name="uq_subjects_realm_kind_clear"),
    sqlite_with_rowid=False,
)

DIMENSIONS: Final = (
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
)
"""What roll-ups can be grouped and filtered by; '' stands for NULL, so that the unique index works on both engines."""

rollup_dims: Final = Table(
    "rollup_dims",
    metadata,
    Column("dim_no", SERIAL, primary_key=True, autoincrement=True),
    *(Column(name, Text, nullable=False) for name in DIMENSIONS),
    UniqueConstraint(*DIMENSIONS, name="uq_rollup_dims"),
)

ROLLUP_TOKENS: Final = (
    "input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_12h", "output", "reasoning",
    "audio_in", "audio_out", "image_in", "image_out", "video_in", "video_out",
)  # fmt: skip

rollups: Final = Table(
    "rollups",
    metadata,
    Column("level", Text, primary_key=True, comment="hour, day or total (bucket 0)"),
    Column("bucket_ns", BigInteger, primary_key=True, autoincrement=False, comment="start of the hour or day of started_at, UTC"),
    Column("dim_no", BigInteger, primary_key=True, autoincrement=False),
    Column("calls", BigInteger, nullable=False),
    Column("calls_reversed", BigInteger, nullable=False),
    Column("unpriced_calls", BigInteger, nullable=False),
    Column("unpriced_calls_reversed", BigInteger, nullable=False),
    Column("unpriced_tokens", BigInteger, nullable=False),
    Column("unpriced_tokens_reversed", BigInteger, nullable=False),
    Column("cost_usd", BigInteger, nullable=False, comment="whole USD of all positive amounts"),
    Column("cost_pico", BigInteger, nullable=False, comment="the rest, 0 <= rest < 1e12"),
    Column("cost_reversed_usd", BigInteger, nullable=False, comment="whole USD of all negative amounts, as a positive number"),
    Column("cost_reversed_pico", BigInteger, nullable=False),
    *(Column(f"{unit}{suffix}", BigInteger, nullable=False) for unit in ROLLUP_TOKENS for suffix in ("", "_reversed")),
    Column("exemplar_trace_id", LargeBinary, comment="trace of the newest entry"),
    Column("exemplar_pico", BigInteger),
    Column("exemplar_ns", BigInteger),
    sqlite_with_rowid=False,
)

counters: Final = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""Counts that must survive a restart and are no sums of entries, e.g. `conflicts`."""

leases: Final = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True, comment="shard:N, or job:NAME"),
    Column("holder", Text, nullable=False),
    Column("token", BigInteger, nullable=False, comment="raised whenever the holder changes: fences off a holder that slept"),
    Column("expires_ns", BigInteger, nullable=False),
)

quarantine: Final = Table(
    "quarantine",
    metadata,
    Column("quarantine_no", SERIAL, primary_key=True, autoincrement=True),
    Column("realm", Text, nullable=False),
    Column("trace_id", LargeBinary, nullable=False),
    Column("span_id", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False, comment="tells versions of a span apart"),
    Column("reason", Text, nullable=False, comment="type and place of the error, never its text"),
    Column("held_since_ns", BigInteger, nullable=False),
    Column("payload", LargeBinary, comment="the sighting, see ledger.codec; NULL: it cannot be written down"),
    UniqueConstraint("trace_id", "span_id", "realm", "digest", name="uq_quarantine_span"),
    sqlite_autoincrement=True,
)
"""Spans whose writing fails whatever is tried (`ledger.poison`); their numbers are never given twice, since people name them."""

price_rules: Final = Table(
    "price_rules",
    metadata,
    Column("rule_no", SERIAL, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False, comment="override, contract, alias, or end: of the rule `ends_no`"),
    Column("ends_no", BigInteger),
    Column("provider", Text, comment="family; NULL: any"),
    Column("model", Text, comment="name as spans carry it, or a price key, lower case"),
    Column("account", Text),
    Column("target", Text, comment="of an alias: the price key that it stands for"),
    Column("fields", Text, comment="JSON: the price list's field names, USD for one unit as decimal strings"),
    Column("valid_from_ns", BigInteger, comment="NULL: from the beginning"),
    Column("valid_to_ns", BigInteger, comment="exclusive; NULL: open"),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("recorded_ns", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""The operator's price rules (`ledger.price_rules`), append-only."""

price_snapshots: Final = Table(
    "price_snapshots",
    metadata,
    Column("snapshot_no", SERIAL, primary_key=True, autoincrement=True),
    Column("source", Text, nullable=False, comment="whose list: litellm, openrouter, ..."),
    Column("source_version", Text, nullable=False, comment="the list's own version, '' when unknown"),
    Column("sha256", Text, nullable=False, comment="of the list's bytes, inflated; its first 16 digits are the price version"),
    Column("taken_on", Text, nullable=False, comment="the list's day, YYYY-MM-DD; '' when unknown"),
    Column("row_count", Integer, nullable=False),
    Column("retired_count", Integer, nullable=False),
    Column("stored_ns", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False, comment="gzipped JSON: rows, retired, dated"),
    UniqueConstraint("source", "sha256", name="uq_price_snapshots_source_sha256"),
    sqlite_autoincrement=True,
)
"""Price lists as they were read (`ledger.price_store`), append-only."""

price_activations: Final = Table(
    "price_activations",
    metadata,
    Column("activation_no", SERIAL, primary_key=True, autoincrement=True),
    Column("snapshot_no", BigInteger, nullable=False),
    Column("cause", Text, nullable=False, comment="base: the packaged or configured list; refresh; again: an older list once more"),
    Column("activated_ns", BigInteger, nullable=False),
    Column("valid_from_ns", BigInteger, comment="NULL: from the beginning"),
    Column("who", Text, nullable=False),
    Column("changes", LargeBinary, nullable=False, comment="gzipped JSON: what it changed, see ledger.price_store"),
    sqlite_autoincrement=True,
)
"""Which lists make the book, in order, append-only; a further row is what tells running processes to load the book anew."""

price_refreshes: Final = Table(
    "price_refreshes",
    metadata,
    Column("refresh_no", SERIAL, primary_key=True, autoincrement=True),
    Column("at_ns", BigInteger, nullable=False),
    Column("origin", Text, nullable=False, comment="file name, or the URL without credentials"),
    Column("outcome", Text, nullable=False, comment="activated, unchanged, refused or failed"),
    Column("detail", Text, nullable=False, comment="version, or why not"),
    Column("who", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""Every attempt to refresh the prices, append-only."""

price_watches: Final = Table(
    "price_watches",
    metadata,
    Column("watch_no", SERIAL, primary_key=True, autoincrement=True),
    Column("ends_no", BigInteger, comment="this row ends that watch"),
    Column("tenant", Text, nullable=False, comment="whose calls it is about; *: all"),
    Column("provider", Text, comment="as it was given; NULL: any"),
    Column("model", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""Models whose prices somebody wants to hear of (`ledger.price_watches`), append-only."""

periods: Final = Table(
    "periods",
    metadata,
    Column("month", Text, primary_key=True, comment="YYYY-MM, UTC"),
    Column("from_ns", BigInteger, nullable=False),
    Column("to_ns", BigInteger, nullable=False, comment="exclusive"),
    Column("closed_ns", BigInteger, nullable=False),
    Column("closed_by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("cost_pico", Text, nullable=False, comment="what the month came to when it closed, a decimal integer; it may pass 2^63"),
    Column("calls", BigInteger, nullable=False),
)
"""Closed months (`ledger.periods`), append-only: a month is never opened again."""

correction_runs: Final = Table(
    "correction_runs",
    metadata,
    Column("run_no", SERIAL, primary_key=True, autoincrement=True),
    Column("verb", Text, nullable=False, comment="reprice or estimate"),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("selection", Text, nullable=False, comment="JSON"),
    Column("price_version", Text, nullable=False),
    Column("started_ns", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""Who corrected the ledger's money, and why (`ledger.correction_runs`), append-only."""

correction_rounds: Final = Table(
    "correction_rounds",
    metadata,
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("block_seq", BigInteger, primary_key=True, autoincrement=False, comment="the block that the round wrote"),
    Column("run_no", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("before_pico", Text, nullable=False, comment="what the rows cost before, a decimal integer"),
    Column("after_pico", Text, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_correction_rounds_run", correction_rounds.c.run_no)

ledger_identity: Final = Table(
    "ledger_identity",
    metadata,
    Column("row_no", SmallInteger, primary_key=True, autoincrement=False, comment="always 1: there is one row"),
    Column("ledger_id", Text, nullable=False),
    Column("made_ns", BigInteger, nullable=False),
    CheckConstraint("row_no = 1", name="ck_ledger_identity_one_row"),
)

fx_imports: Final = Table(
    "fx_imports",
    metadata,
    Column("import_no", SERIAL, primary_key=True, autoincrement=True),
    Column("origin", Text, nullable=False, comment="file name, or the URL without credentials"),
    Column("sha256", Text, nullable=False),
    Column("imported_ns", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("first_day", Text, nullable=False),
    Column("last_day", Text, nullable=False),
    sqlite_autoincrement=True,
)

fx_rates: Final = Table(
    "fx_rates",
    metadata,
    Column("currency", Text, primary_key=True),
    Column("day", Text, primary_key=True, comment="YYYY-MM-DD"),
    Column("import_no", BigInteger, primary_key=True, autoincrement=False, comment="the newest stands"),
    Column("per_euro", Text, nullable=False, comment="units of the currency for one euro, a plain decimal"),
    sqlite_with_rowid=False,
)
"""Exchange rates (`ledger.fx_store`), append-only like their imports."""

Index(
    "ix_entries_coverage",
    entries.c.coverage_id,
    entries.c.started_ns,
    sqlite_where=text("coverage_id IS NOT NULL"),
    postgresql_where=text("coverage_id IS NOT NULL"),
)

subscription_windows: Final = Table(
    "subscription_windows",
    metadata,
    Column("window_no", SERIAL, primary_key=True, autoincrement=True),
    Column("ends_no", BigInteger, comment="this row ends that window"),
    Column("rule", Text, comment="JSON, as `settings.money.SubscriptionRule`; NULL where the row ends one"),
    Column("ends_ns", BigInteger, comment="of an end: exclusive; NULL: the window is withdrawn, as if it had never been"),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("recorded_ns", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""Flat fees that were set without the settings (`ledger.subscription_windows`), append-only."""

_CHANGED: Final = text("kind <> 'charge'")
Index("ix_entries_changed", entries.c.started_ns, entries.c.trace_no, entries.c.kind, sqlite_where=_CHANGED, postgresql_where=_CHANGED)
_FAILED: Final = text("error_type IS NOT NULL")
Index(
    "ix_entries_failed", entries.c.started_ns, entries.c.tenant, entries.c.role, entries.c.kind, entries.c.trace_no,
    entries.c.error_type, sqlite_where=_FAILED, postgresql_where=_FAILED,
)  # fmt: skip
_OTHER_MONEY: Final = text("billed_pico IS NOT NULL OR list_pico IS NOT NULL OR contracted_pico IS NOT NULL OR effective_pico IS NOT NULL")
Index("ix_entries_other_money", entries.c.started_ns, entries.c.trace_no, sqlite_where=_OTHER_MONEY, postgresql_where=_OTHER_MONEY)
