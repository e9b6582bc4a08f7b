"""The tables of anomalies: what was found, what people said of it, what they do not want to hear of. Migrations create them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, Table, Text, UniqueConstraint

from otel_finops.store.schema import SERIAL, metadata

anomalies: Final = Table(
    "anomalies",
    metadata,
    Column("anomaly_no", SERIAL, primary_key=True, autoincrement=True),
    Column("scope", Text, nullable=False, comment="global, tenant, model, agent or cost_center"),
    Column("tenant", Text, nullable=False, comment="*: all"),
    Column("name", Text, nullable=False, comment="of the model, agent or cost centre; '' otherwise"),
    Column("step", Text, nullable=False, comment="day or hour"),
    Column("start_ns", BigInteger, nullable=False),
    Column("end_ns", BigInteger, nullable=False),
    Column("is_running", Boolean, nullable=False, comment="it was not over when it was last looked at"),
    Column("found_ns", BigInteger, nullable=False),
    Column("seen_ns", BigInteger, nullable=False, comment="when the figures were last worked out"),
    Column("value", Text, nullable=False, comment="pico-USD, a decimal integer; it may pass 2^63"),
    Column("expected", Text, nullable=False),
    Column("spread", Text, nullable=False, comment="one robust standard deviation"),
    Column("score", Float, nullable=False),
    Column("points", Integer, nullable=False, comment="how many others it was compared with"),
    Column("calls", BigInteger, nullable=False),
    Column("drivers", Text, comment="JSON, see insight.anomaly_words; NULL: not worked out yet"),
    Column("cleared_ns", BigInteger, comment="since when it does not stand out any more: calls came late, or were corrected"),
    UniqueConstraint("scope", "tenant", "name", "step", "start_ns", name="uq_anomalies_piece"),
    sqlite_autoincrement=True,
)
Index("ix_anomalies_start", anomalies.c.start_ns, anomalies.c.anomaly_no)

anomaly_notes: Final = Table(
    "anomaly_notes",
    metadata,
    Column("note_no", SERIAL, primary_key=True, autoincrement=True),
    Column("anomaly_no", BigInteger, nullable=False),
    Column("verb", Text, nullable=False, comment="ack or reopen; the last one holds"),
    Column("why", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
Index("ix_anomaly_notes_anomaly", anomaly_notes.c.anomaly_no, anomaly_notes.c.note_no)

anomaly_mutes: Final = Table(
    "anomaly_mutes",
    metadata,
    Column("mute_no", SERIAL, primary_key=True, autoincrement=True),
    Column("ends_no", BigInteger, comment="this row ends that mute"),
    Column("tenant", Text, nullable=False, comment="of the anomalies; *: of all and of each"),
    Column("scope", Text, nullable=False, comment="'': any"),
    Column("name", Text, nullable=False, comment="'': any"),
    Column("step", Text, nullable=False, comment="'': any"),
    Column("until_ns", BigInteger, comment="NULL: for good"),
    Column("why", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""What people do not want to be told of (`insight.anomaly_store`), append-only."""

anomaly_scores: Final = Table(
    "anomaly_scores",
    metadata,
    *(Column(name, Text, primary_key=True) for name in ("step", "scope", "tenant", "name")),
    Column("start_ns", BigInteger, nullable=False),
    Column("score", Float, nullable=False),
    sqlite_with_rowid=False,
)
"""How the last piece of every scope stood when it was last looked at; all of a step are written anew each time."""
