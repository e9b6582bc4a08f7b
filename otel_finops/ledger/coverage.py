"""How well calls are covered: per service and instrumentation scope what was seen, merged, estimated or left unpriced, and why.

The entries say what stands; the journal says which library showed it. Rows are read newest first in constant memory, up to
`limits.COVERAGE_ROWS_MAX` of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import COVERAGE_ROWS_MAX, COVERAGE_SILENT_TRACES_MAX, GROUPS_MAX
from otel_finops.genai.inheritance import resolve
from otel_finops.genai.sighting import AGENT, WORKFLOW, Sighting
from otel_finops.ledger.brief_rows import BriefRow, brief_rows
from otel_finops.ledger.codec import Author
from otel_finops.ledger.entry import ROLE_CALL, ROLE_DUPLICATE, ROLE_WRAPPER
from otel_finops.ledger.journal import authors_of, standing_sightings
from otel_finops.ledger.tenants import Tenants, restricted
from otel_finops.store.unit_of_work import Transaction

_MODELS_COUNTED_MAX: Final = 100
"""Models of one group and reason that are counted at all: names come from senders."""
_ROWS_AT_ONCE: Final = 1_000
_LAST_NS: Final = 2**63 - 1
_COLUMNS: Final = ("tenant", "service", "usage_source", "error_type", "partial", "COALESCE(response_model, request_model)")
_SILENT_TRACES: Final = """
SELECT t.trace_no FROM traces AS t
WHERE t.has_genai AND t.booked AND NOT EXISTS (SELECT 1 FROM entries AS e WHERE e.trace_no = t.trace_no)
ORDER BY t.trace_no DESC LIMIT ?
"""
_TRACES_AT_ONCE: Final = 256
_RUNS: Final = (AGENT, WORKFLOW)
_NO_RUN: Final = "create_agent"
"""Making an agent calls no model."""
_OFF_BY: Final = 2
"""Tokens by which two counts of one call may differ."""
_UNKNOWN: Final = Author(None, None, None, 0)
"""Stands for a row whose span the journal no longer holds."""

GroupKey: TypeAlias = tuple[str | None, str | None]
"""(service, scope), None where not known."""


class Lack(NamedTuple):
    """Why calls have no price.

    Attributes:
        reason: one of the contract's unpriced reasons.
        attributes_dropped: the sender had dropped attributes of the span.
        rank: of the library that showed the call (`sighting.RANK_*`); None when not known.
    """

    reason: str
    attributes_dropped: bool
    rank: int | None


class Covered:
    """What was seen of one service by one instrumentation scope.

    Attributes:
        dialects: how its spans were read, with the number of rows.
        calls: standing calls, failed and unpriced ones too.
        unpriced: calls without a price by what they lack.
        models: model names by lack, with calls; at most `_MODELS_COUNTED_MAX` names.
        estimated: calls whose counts the sender estimated. without_usage: calls without counts that may have been billed.
        failed: calls that the provider answered with an error and without counts, which cost nothing.
        partial: calls whose stream broke off, or of which a unit had no rate of its own.
        merged: rows that are no calls by role: `duplicate`, `wrapper`, `gateway_copy`.
        silent: traces in which its agents or workflows ran and nothing shows a call.
        beyond: traces in which it reports a total of more tokens than all calls have that are known there.
    """

    __slots__ = ("beyond", "calls", "dialects", "estimated", "failed", "merged", "models", "partial", "silent", "unpriced", "without_usage")

    def __init__(self) -> None:
        self.calls = self.estimated = self.without_usage = self.failed = self.partial = self.silent = self.beyond = 0
        self.dialects: Counter[str] = Counter()
        self.unpriced: Counter[Lack] = Counter()
        self.models: dict[Lack, Counter[str]] = {}
        self.merged: Counter[str] = Counter()

    def add(self, row: BriefRow, author: Author) -> None:
        """Count a standing row."""
        if author.dialect is not None:
            self.dialects[author.dialect] += 1
        if row.role != ROLE_CALL:
            self.merged[row.role] += 1
            return
        _, _, usage_source, error_type, partial, model, _, unpriced_reason = row.keys
        missing = usage_source == "missing"
        self.calls += 1
        self.estimated += usage_source == "estimated"
        self.partial += bool(partial)
        self.without_usage += missing and row.cost_pico is None
        self.failed += missing and row.cost_pico is not None and error_type is not None
        if row.cost_pico is None and unpriced_reason is not None:
            self._lacks(Lack(unpriced_reason, author.dropped_attributes > 0, author.rank), model)

    def _lacks(self, lack: Lack, model: str | None) -> None:
        self.unpriced[lack] += 1
        models = self.models.setdefault(lack, Counter())
        if model is not None and (model in models or len(models) < _MODELS_COUNTED_MAX):
            models[model] += 1


class _Totals:
    """Compares, trace by trace, the largest total that a span reports with what the calls of the trace add up to.

    A total is charged only where no call at all is known, a tool's embedding included, so calls that no span shows are charged nowhere
    beside one that is shown; a larger total is what is left to tell of them.
    """

    __slots__ = ("_calls", "_tokens", "_total", "_trace", "_who")

    def __init__(self) -> None:
        self._trace: int | None = None
        self._who: Covered | None = None
        self._calls = self._tokens = self._total = 0

    def see(self, row: BriefRow, group: Covered) -> None:
        """Take the next row; those of a trace come one after another."""
        if row.trace_no != self._trace:
            self.close()
            self._trace = row.trace_no
        if row.role == ROLE_WRAPPER:
            if row.tokens > self._total:
                self._total, self._who = row.tokens, group
        elif row.role != ROLE_DUPLICATE:
            self._calls += 1
            self._tokens += row.tokens

    def close(self) -> None:
        """Count the trace that ended."""
        if self._who is not None and self._total > self._tokens + _OFF_BY * self._calls:
            self._who.beyond += 1
        self._who = None
        self._calls = self._tokens = self._total = 0


class CoverageReport(NamedTuple):
    """What was counted; `complete` is False when there are older rows that were not looked at."""

    groups: Mapping[GroupKey, Covered]
    complete: bool


def coverage(transaction: Transaction, tenants: Tenants, from_ns: int | None, to_ns: int | None, service: str | None) -> CoverageReport:
    """Count the rows of calls that started in [from_ns, to_ns), None for open ends.

    Args:
        tenants: whose rows; None for all.
        service: only this one's; None for all.

    Raises:
        BadInput: a window that ends before it begins, or more groups than `limits.GROUPS_MAX`.
    """
    lower, upper = max(from_ns or 0, 0), _LAST_NS if to_ns is None else to_ns
    if upper < lower:
        raise BadInput("`to` lies before `from`")
    allowed = restricted(tenants)
    groups: dict[GroupKey, Covered] = {}
    totals = _Totals()
    rows = _wanted(brief_rows(transaction, _COLUMNS, allowed, lower, upper, newest_first=True), allowed, service)
    for piece in _pieces(islice(rows, COVERAGE_ROWS_MAX)):
        authors = authors_of(transaction, [(row.trace_no, row.span_id) for row in piece])
        for row in piece:
            author = authors.get((row.trace_no, row.span_id), _UNKNOWN)
            group = _group(groups, (row.keys[1], author.scope))
            group.add(row, author)
            totals.see(row, group)
    totals.close()
    for silent in _silent(transaction, allowed, lower, upper):
        if service is None or silent[0] == service:
            _group(groups, silent).silent += 1
    return CoverageReport(groups, next(rows, None) is None)


def _silent(transaction: Transaction, tenants: frozenset[str] | None, lower: int, upper: int) -> Iterator[GroupKey]:
    """Service and scope of agents and workflows, once for each settled trace that has no row at all, newest traces first."""
    found = transaction.execute(_SILENT_TRACES, (COVERAGE_SILENT_TRACES_MAX,))
    for start in range(0, len(found), _TRACES_AT_ONCE):
        piece = [trace_no for (trace_no,) in found[start : start + _TRACES_AT_ONCE]]
        for spans in standing_sightings(transaction, piece).values():
            yield from _runs(spans, tenants, lower, upper)


def _runs(spans: list[Sighting], tenants: frozenset[str] | None, lower: int, upper: int) -> set[GroupKey]:
    attribution = resolve(spans)
    keys: set[GroupKey] = set()
    for span in spans:
        if span.genai and span.kind in _RUNS and span.operation != _NO_RUN and lower <= span.start_ns < upper:
            known = attribution[span.key]
            if tenants is None or known["tenant"] in tenants:
                keys.add((known.get("service"), span.scope))
    return keys


def _group(groups: dict[GroupKey, Covered], key: GroupKey) -> Covered:
    found = groups.get(key)
    if found is None:
        if len(groups) >= GROUPS_MAX:
            raise BadInput(f"more than {GROUPS_MAX} services and scopes; narrow the time, or name a service")
        found = groups[key] = Covered()
    return found


def _wanted(rows: Iterable[BriefRow], tenants: frozenset[str] | None, service: str | None) -> Iterator[BriefRow]:
    for row in rows:
        if (tenants is None or row.keys[0] in tenants) and (service is None or row.keys[1] == service):
            yield row


def _pieces(rows: Iterator[BriefRow]) -> Iterator[list[BriefRow]]:
    while piece := list(islice(rows, _ROWS_AT_ONCE)):
        yield piece
