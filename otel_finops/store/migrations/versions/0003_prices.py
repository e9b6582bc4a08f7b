"""Prices, house rules, exchange rates and periods are kept with the ledger, so that a charge can be explained years later."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Tables are created by the parts below."""
    _price_rules()
    _price_book()
    _periods()
    _corrections()
    _months()
    _fx()


def downgrade() -> None:
    raise NotImplementedError("a ledger is not downgraded: restore the copy that was made before the upgrade")


def _price_rules() -> None:
    op.create_table(
        "price_rules",
        sa.Column("rule_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="override, contract, alias, or end: of the rule `ends_no`"),
        sa.Column("ends_no", sa.BigInteger(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=True, comment="family; NULL: any"),
        sa.Column("model", sa.Text(), nullable=True, comment="name as spans carry it, or a price key, lower case"),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("target", sa.Text(), nullable=True, comment="of an alias: the price key that it stands for"),
        sa.Column("fields", sa.Text(), nullable=True, comment="JSON: the price list's field names, USD for one unit as decimal strings"),
        sa.Column("valid_from_ns", sa.BigInteger(), nullable=True, comment="NULL: from the beginning"),
        sa.Column("valid_to_ns", sa.BigInteger(), nullable=True, comment="exclusive; NULL: open"),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("recorded_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("rule_no"),
        sqlite_autoincrement=True,
    )
    _append_only("price_rules", "rule_no = NEW.rule_no", "a rule is ended, or followed by another one")


def _price_book() -> None:
    """Price lists, what made the book of them, attempts to refresh it, and watches."""
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "price_snapshots",
        sa.Column("snapshot_no", serial, autoincrement=True, nullable=False),
        sa.Column("source", sa.Text(), nullable=False, comment="whose list: litellm, openrouter, ..."),
        sa.Column("source_version", sa.Text(), nullable=False, comment="the list's own version, '' when unknown"),
        sa.Column("sha256", sa.Text(), nullable=False, comment="of the list's bytes, inflated; its first 16 digits are the price version"),
        sa.Column("taken_on", sa.Text(), nullable=False, comment="the list's day, YYYY-MM-DD; '' when unknown"),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("retired_count", sa.Integer(), nullable=False),
        sa.Column("stored_ns", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False, comment="gzipped JSON: rows, retired, dated"),
        sa.PrimaryKeyConstraint("snapshot_no"),
        sa.UniqueConstraint("source", "sha256", name="uq_price_snapshots_source_sha256"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "price_activations",
        sa.Column("activation_no", serial, autoincrement=True, nullable=False),
        sa.Column("snapshot_no", sa.BigInteger(), nullable=False),
        sa.Column(
            "cause", sa.Text(), nullable=False, comment="base: the packaged or configured list; refresh; again: an older list once more"
        ),
        sa.Column("activated_ns", sa.BigInteger(), nullable=False),
        sa.Column("valid_from_ns", sa.BigInteger(), nullable=True, comment="NULL: from the beginning"),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("changes", sa.LargeBinary(), nullable=False, comment="gzipped JSON: what it changed, see ledger.price_store"),
        sa.PrimaryKeyConstraint("activation_no"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "price_refreshes",
        sa.Column("refresh_no", serial, autoincrement=True, nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False, comment="file name, or the URL without credentials"),
        sa.Column("outcome", sa.Text(), nullable=False, comment="activated, unchanged, refused or failed"),
        sa.Column("detail", sa.Text(), nullable=False, comment="version, or why not"),
        sa.Column("who", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("refresh_no"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "price_watches",
        sa.Column("watch_no", serial, autoincrement=True, nullable=False),
        sa.Column("ends_no", sa.BigInteger(), nullable=True, comment="this row ends that watch"),
        sa.Column("tenant", sa.Text(), nullable=False, comment="whose calls it is about; *: all"),
        sa.Column("provider", sa.Text(), nullable=True, comment="as it was given; NULL: any"),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("watch_no"),
        sqlite_autoincrement=True,
    )
    mended = "refresh the prices again, or activate an older list"
    _append_only("price_snapshots", "snapshot_no = NEW.snapshot_no OR (source = NEW.source AND sha256 = NEW.sha256)", mended)
    _append_only("price_activations", "activation_no = NEW.activation_no", mended)
    _append_only("price_refreshes", "refresh_no = NEW.refresh_no", "what was tried stays on record")
    _append_only("price_watches", "watch_no = NEW.watch_no", "a watch is ended by a further row")


def _periods() -> None:
    op.create_table(
        "periods",
        sa.Column("month", sa.Text(), nullable=False, comment="YYYY-MM, UTC"),
        sa.Column("from_ns", sa.BigInteger(), nullable=False),
        sa.Column("to_ns", sa.BigInteger(), nullable=False, comment="exclusive"),
        sa.Column("closed_ns", sa.BigInteger(), nullable=False),
        sa.Column("closed_by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column(
            "cost_pico", sa.Text(), nullable=False, comment="what the month came to when it closed, a decimal integer; it may pass 2^63"
        ),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("month"),
    )
    _append_only("periods", "month = NEW.month", "a closed month is never opened again")


def _corrections() -> None:
    op.create_table(
        "correction_runs",
        sa.Column("run_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("verb", sa.Text(), nullable=False, comment="reprice or estimate"),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("selection", sa.Text(), nullable=False, comment="JSON"),
        sa.Column("price_version", sa.Text(), nullable=False),
        sa.Column("started_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_no"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "correction_rounds",
        sa.Column("shard", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("block_seq", sa.BigInteger(), autoincrement=False, nullable=False, comment="the block that the round wrote"),
        sa.Column("run_no", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("before_pico", sa.Text(), nullable=False, comment="what the rows cost before, a decimal integer"),
        sa.Column("after_pico", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("shard", "block_seq"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_correction_rounds_run", "correction_rounds", ["run_no"], unique=False)
    _append_only("correction_runs", "run_no = NEW.run_no", "a correction is followed by another one")
    _append_only("correction_rounds", "shard = NEW.shard AND block_seq = NEW.block_seq", "a correction is followed by another one")


def _months() -> None:
    """Sum the roll-ups of days up to months, which are kept from now on; nothing was late before."""
    bind = op.get_bind()
    rollups = sa.Table("rollups", sa.MetaData(), autoload_with=bind)
    sums: dict[tuple[int, int], dict[str, int]] = {}
    summed = [column.name for column in rollups.columns if not column.name.startswith(("level", "bucket", "dim_no", "exemplar"))]
    for day in bind.execute(rollups.select().where(rollups.c.level == "day")).mappings():
        month = sums.setdefault((_month_start_ns(day["bucket_ns"]), day["dim_no"]), dict.fromkeys(summed, 0))
        for name in summed:
            month[name] += day[name]
    for (bucket_ns, dim_no), month in sums.items():
        for money in ("cost", "cost_reversed"):
            carried, month[f"{money}_pico"] = divmod(month[f"{money}_pico"], 10**12)
            month[f"{money}_usd"] += carried
        bind.execute(rollups.insert().values(level="month", bucket_ns=bucket_ns, dim_no=dim_no, **month))


def _month_start_ns(instant_ns: int) -> int:
    start = datetime.fromtimestamp(instant_ns // 10**9, UTC).replace(day=1, hour=0, minute=0, second=0)
    return int(start.timestamp()) * 10**9


def _fx() -> None:
    op.create_table(
        "fx_imports",
        sa.Column("import_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False, comment="file name, or the URL without credentials"),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("imported_ns", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("first_day", sa.Text(), nullable=False),
        sa.Column("last_day", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("import_no"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "fx_rates",
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False, comment="YYYY-MM-DD"),
        sa.Column("import_no", sa.BigInteger(), autoincrement=False, nullable=False, comment="the newest stands"),
        sa.Column("per_euro", sa.Text(), nullable=False, comment="units of the currency for one euro, a plain decimal"),
        sa.PrimaryKeyConstraint("currency", "day", "import_no"),
        sqlite_with_rowid=False,
    )
    same = "currency = NEW.currency AND day = NEW.day AND import_no = NEW.import_no"
    _append_only("fx_imports", "import_no = NEW.import_no", "import the rates again; the newest stand")
    _append_only("fx_rates", same, "import the rates again; the newest stand")
    covered = sa.text("coverage_id IS NOT NULL")
    op.create_index(
        "ix_entries_coverage", "entries", ["coverage_id", "started_ns"], unique=False, sqlite_where=covered, postgresql_where=covered
    )


def _append_only(table: str, same: str, mended: str) -> None:
    """Refuse every change but further rows, as 0001 does for entries.

    Args:
        same: which rows a new one would replace, as SQL over `NEW`.
        mended: how something wrong is mended instead.
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
