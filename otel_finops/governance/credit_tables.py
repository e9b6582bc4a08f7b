"""The tables of prepaid credits. Migrations create them.

Amounts are in the pool's currency, as pairs: whole units and millionths of a millionth (0 to 10^12 - 1), so that they can pass what one
64-bit number holds.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Index, Integer, SmallInteger, Table, Text, UniqueConstraint

from otel_finops.store.schema import SERIAL, metadata

ACCOUNTS: Final = ("balance", "owed", "source", "spend", "expired", "adjustment")
"""Between which every posting moves money; the sum of all is 0. `balance` is what the pool holds, `owed` what calls of a hard pool cost
beyond it (never above 0), `source` where top-ups come from, `spend` where the money of calls goes."""


def _amounts(*names: str) -> list[Column[int]]:
    return [Column(f"{name}_{part}", BigInteger, nullable=False) for name in names for part in ("units", "pico")]


def _sum(part: str) -> str:
    return " + ".join(f"{name}_{part}" for name in ACCOUNTS)


BALANCED: Final = f"({_sum('pico')}) % 1000000000000 = 0 AND {_sum('units')} = -(({_sum('pico')}) / 1000000000000)"
NEVER_NEGATIVE: Final = "NOT hard OR balance_units >= 0"

credit_pools: Final = Table(
    "credit_pools",
    metadata,
    Column("pool_no", SERIAL, primary_key=True, autoincrement=True),
    Column("hard", Boolean, nullable=False),
    Column("takes_calls", Boolean, nullable=False, comment="it is not closed"),
    *_amounts(*ACCOUNTS),
    *_amounts("held"),
    *_amounts("plain_used"),
    Column("next_expiry_ns", BigInteger, comment="of its grants; NULL: none expires"),
    Column("low_units", BigInteger, comment="below it people are told; NULL: they are not"),
    Column("low_pico", BigInteger),
    Column("is_low", Boolean, nullable=False),
    Column("alerts", Integer, nullable=False, comment="how often it fell below"),
    CheckConstraint(BALANCED, name="ck_credit_pools_balanced"),
    CheckConstraint(NEVER_NEGATIVE, name="ck_credit_pools_never_negative"),
    CheckConstraint("held_units >= 0", name="ck_credit_pools_held"),
    CheckConstraint("plain_used_units >= 0", name="ck_credit_pools_plain_used"),
    sqlite_autoincrement=True,
)
"""How each pool stands: the sums of its postings, and what is held for calls that are being made. Whatever changes it locks its row."""

Index("ix_credit_pools_expiry", credit_pools.c.next_expiry_ns)

credit_definitions: Final = Table(
    "credit_definitions",
    metadata,
    Column("definition_no", SERIAL, primary_key=True, autoincrement=True),
    Column("pool_no", BigInteger, nullable=False),
    Column("body", Text, nullable=False, comment="JSON, `governance.credits.Pool`"),
    Column("heads", Text, nullable=False, comment="JSON list: the last block of each shard when this was written, -1 for none"),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""What pools are, append-only: the last row of a pool holds, its number is the revision of all."""

Index("ix_credit_definitions_pool", credit_definitions.c.pool_no, credit_definitions.c.definition_no)

credit_transactions: Final = Table(
    "credit_transactions",
    metadata,
    Column("transaction_no", SERIAL, primary_key=True, autoincrement=True),
    Column("pool_no", BigInteger, nullable=False),
    Column("kind", Text, nullable=False, comment="topup, grant, debit, refund, adjustment, expiry or conversion"),
    Column("at_ns", BigInteger, nullable=False),
    Column("who", Text, nullable=False, comment="'': calls that were booked"),
    Column("why", Text, nullable=False),
    Column("calls", BigInteger, nullable=False, comment="entries of the block that moved it; 0 where no calls did"),
    Column("shard", SmallInteger, comment="of the block that moved it; NULL where none did"),
    Column("block_seq", BigInteger),
    Column("grant_no", BigInteger, comment="the grant that it made, or that expired"),
    *_amounts("after"),
    sqlite_autoincrement=True,
)
"""Every movement of a pool's money, append-only; `after` is its balance then."""

Index("ix_credit_transactions_pool", credit_transactions.c.pool_no, credit_transactions.c.transaction_no)

credit_postings: Final = Table(
    "credit_postings",
    metadata,
    Column("transaction_no", BigInteger, primary_key=True, autoincrement=False),
    Column("account", Text, primary_key=True),
    *_amounts("amount"),
    sqlite_with_rowid=False,
)
"""The legs of a movement, append-only: their sum is 0."""

credit_grants: Final = Table(
    "credit_grants",
    metadata,
    Column("grant_no", SERIAL, primary_key=True, autoincrement=True),
    Column("pool_no", BigInteger, nullable=False),
    Column("expires_ns", BigInteger, nullable=False),
    *_amounts("amount", "used", "expired"),
    Column("is_live", Boolean, nullable=False, comment="something is left of it"),
    CheckConstraint("used_units >= 0 AND expired_units >= 0", name="ck_credit_grants_amounts"),
    sqlite_autoincrement=True,
)
"""Top-ups that expire; the one that expires first is used first, and what does not expire last of all."""

Index("ix_credit_grants_live", credit_grants.c.pool_no, credit_grants.c.is_live, credit_grants.c.expires_ns, credit_grants.c.grant_no)

credit_holds: Final = Table(
    "credit_holds",
    metadata,
    Column("reservation_id", Text, primary_key=True),
    Column("pool_no", BigInteger, nullable=False),
    Column("day", Text, nullable=False, comment="of the exchange rate"),
    *_amounts("amount"),
    sqlite_with_rowid=False,
)
"""What is held for calls that are being made; a row goes when it is given back."""

Index("ix_credit_holds_pool", credit_holds.c.pool_no)

credit_rates: Final = Table(
    "credit_rates",
    metadata,
    Column("currency", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("per_usd", Text, nullable=False, comment="an exact fraction"),
    sqlite_with_rowid=False,
)
"""The exchange rate by which the calls of a day are debited, as it was first used: what is given back is what was taken. Append-only."""

credit_alerts: Final = Table(
    "credit_alerts",
    metadata,
    Column("alert_no", SERIAL, primary_key=True, autoincrement=True),
    Column("pool_no", BigInteger, nullable=False),
    Column("episode", Integer, nullable=False, comment="the how-manieth time that it fell below"),
    *_amounts("low", "level"),
    Column("at_ns", BigInteger, nullable=False),
    Column("over_ns", BigInteger, comment="when it had enough again; NULL: it has not"),
    UniqueConstraint("pool_no", "episode", name="uq_credit_alerts_episode"),
    sqlite_autoincrement=True,
)
"""Each time a pool fell below what it should hold, recorded once."""
