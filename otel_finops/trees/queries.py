"""What a search for traces asks and answers; values only, so that surfaces start without a database toolkit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

Tenants: TypeAlias = Collection[str] | None
"""Whose spans are read; None for everyone's."""

SORTS: Final = ("cost", "calls", "tokens", "started")
"""By what traces are ordered, greatest first."""


class TraceQuery(NamedTuple):
    """Which traces; sums cover the selected calls only.

    Attributes:
        tenants: whose; None for everyone's.
        from_ns, to_ns: start of the calls, from inclusive, to exclusive; None for open.
        filters: equality with `ledger.tables.DIMENSIONS`.
        sort: one of `SORTS`.
        after: `TracePage.next` of the page before, None for the first page.
    """

    tenants: Tenants
    from_ns: int | None = None
    to_ns: int | None = None
    filters: Mapping[str, str] = {}
    sort: str = "cost"
    after: tuple[int, ...] | None = None
    limit: int = 100


class TraceSummary(NamedTuple):
    """A trace with the sums over its selected calls; `started_ns` is the earliest of them."""

    trace_id: str
    realm: str
    started_ns: int
    cost_pico: int
    calls: int
    tokens: int
    unpriced_calls: int


class TracePage(NamedTuple):
    """Some traces, and the place behind which the next page begins (None: there is none)."""

    traces: Sequence[TraceSummary]
    next: tuple[int, ...] | None
