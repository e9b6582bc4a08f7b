"""The tables of bills and of how they compare. Migrations create them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Float, Integer, LargeBinary, Table, Text

from otel_finops.store.schema import SERIAL, metadata

bills: Final = Table(
    "bills",
    metadata,
    Column("bill_no", SERIAL, primary_key=True, autoincrement=True),
    Column("ends_no", BigInteger, comment="this row takes away that bill; it has nothing of its own then"),
    Column("tenant", Text, nullable=False, comment="whose calls it is for; '' for all tenants'"),
    Column("name", Text, nullable=False, comment="imports of one name and aspect replace each other, day by day"),
    Column("aspect", Text, nullable=False, comment="cost: with amounts; usage.KIND: counts alone"),
    Column("provider", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("scope", Text, nullable=False, comment="JSON: the calls that it is for, by dimension"),
    Column("from_ns", BigInteger, nullable=False),
    Column("to_ns", BigInteger, nullable=False, comment="exclusive; it tells everything of this time"),
    Column("line_count", Integer, nullable=False),
    Column("amount", Text, nullable=False, comment="sum, millionths of a millionth of the currency, a decimal integer; it may pass 2^63"),
    Column("digest", Text, nullable=False, comment="of what it says, whatever the file looked like"),
    Column("origin", Text, nullable=False, comment="file name, or the URL without its query"),
    Column("who", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False, comment="gzipped JSON: lines, names of models, places"),
    sqlite_autoincrement=True,
)
"""Bills as they were imported (`insight.bill_store`), never changed; what newer ones replaced long ago goes."""

capture_rates: Final = Table(
    "capture_rates",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("from_ns", BigInteger, nullable=False),
    Column("to_ns", BigInteger, nullable=False),
    Column("billed_pico", Text, nullable=False, comment="a decimal integer; it may pass 2^63"),
    Column("booked_pico", Text, nullable=False),
    Column("rate", Float, comment="booked of billed; NULL: nothing was billed"),
    Column("causes", Text, nullable=False, comment="JSON: pico-USD as text by cause; they add up to billed minus booked"),
    Column("at_ns", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""How each bill compared with the ledger when that was last looked at (`insight.reconciliation`)."""
