"""A price snapshot: what one source said about prices on one day, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

Fields: TypeAlias = Mapping[str, Any]
"""A row's prices and factors by the field names of LiteLLM's price file, USD for one unit; see `rates` and `units`."""


class Snapshot(NamedTuple):
    """One price list as it was published. Rows are values that nobody changes.

    Attributes:
        source: whose list, e.g. `litellm`.
        source_version: the list's own version, "" when unknown.
        version: the first 16 hex digits of the sha256 of the list's bytes; every quote made by it carries it.
        date: the day on which the list was taken, YYYY-MM-DD; "" when unknown.
        valid_from_ns: from which moment (Unix nanoseconds) its changes hold; None = from the beginning of time.
        rows: fields by row key, in the list's own capitals.
        retired: rows that the list no longer has; they answer only when no live row is found.
        dated: the second source's dated series (`dated`), {} when the source brings none.
    """

    source: str
    source_version: str
    version: str
    date: str
    valid_from_ns: int | None
    rows: Mapping[str, Fields]
    retired: Mapping[str, Fields] = {}
    dated: Mapping[str, Any] = {}
