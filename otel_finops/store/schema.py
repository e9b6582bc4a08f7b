"""The one collection of tables: every room declares its own in its `tables.py`, migrations create them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Integer, MetaData

metadata: Final = MetaData()
SERIAL: Final = BigInteger().with_variant(Integer(), "sqlite")
"""A number that the database draws: 64 bits everywhere, and SQLite's own row number there."""
