"""What operations read, as protocols: handlers know no database, so that tests and later stores can stand in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from otel_finops.pricing.fx import OtherCurrency
from otel_finops.trees.chosen import EVERYTHING, Choice
from otel_finops.trees.cost_tree import CostTree
from otel_finops.trees.queries import (
    RunPage,
    RunQuery,
    SessionCourse,
    SessionPage,
    SessionQuery,
    Tenants,
    TraceLabel,
    TracePage,
    TraceQuery,
)

if TYPE_CHECKING:  # these rooms load a database toolkit, which `--help` must not wait for
    from otel_finops.audit.reading import AuditEntry, AuditQuery
    from otel_finops.audit.verify import Report as AuditReport
    from otel_finops.ledger.course import Span
    from otel_finops.ledger.coverage import CoverageReport
    from otel_finops.ledger.dashboard import Compared as ComparedFigures
    from otel_finops.ledger.dashboard import Course, Ranking
    from otel_finops.ledger.history import History
    from otel_finops.ledger.spend import Question, SpendReport
    from otel_finops.ledger.spend_entries import Basis
    from otel_finops.ledger.verify import Fault, Report
    from otel_finops.trees.run_reads import RunShown


class Window(NamedTuple):
    """Calls that started in [from_ns, to_ns); None leaves the end open."""

    from_ns: int | None
    to_ns: int | None


class Page(NamedTuple):
    """Rows in the contract's JSON form, users and sessions in clear; `next_cursor` is None on the last page."""

    rows: Sequence[Mapping[str, Any]]
    next_cursor: str | None


class Reads(Protocol):
    """Everything that operations read from the ledger; whose data is an argument of all of it.

    Raises:
        BadInput: an unknown key, a cursor that no page gave, a window that ends before it begins, too many groups.
        Busy, Unavailable: the store cannot answer now.
    """

    def trace(self, trace_id: str, tenants: Tenants, choice: Choice = EVERYTHING) -> CostTree | None:
        """The cost tree of a trace; None when nothing of it belongs to these tenants. Raises NotFound for a span that is none of it."""
        ...

    def traces(self, query: TraceQuery) -> TracePage:
        """Traces by `cost`, `calls`, `tokens` or `started`, greatest first."""
        ...

    def labels(self, trace_ids: Sequence[str], tenants: Tenants) -> Mapping[tuple[str, str], TraceLabel]:
        """What settled traces are called, by realm and trace id."""
        ...

    def spend(
        self,
        tenants: Tenants,
        group_by: Sequence[str],
        window: Window,
        filters: Mapping[str, str],
        other: OtherCurrency | None = None,
        basis: Basis = "cost",
    ) -> SpendReport:
        """Sums by any of `ledger.spend.SPEND_KEYS`, filtered by equality with them; raises MissingRate where another currency has none."""
        ...

    def usage(self, tenants: Tenants, window: Window, filters: Mapping[str, str], cursor: str | None, limit: int) -> Page:
        """Ledger rows, newest start first; filters are `ledger.reader.USAGE_FILTERS`."""
        ...

    def coverage(self, tenants: Tenants, window: Window, service: str | None) -> CoverageReport:
        """What was seen, merged, estimated or left unpriced, by service and instrumentation scope."""
        ...


class Dashboards(Protocol):
    """The figures of a dashboard; whose calls are meant stands in the question.

    Raises:
        BadInput: an unknown key, or too much to show.
        Busy, Unavailable: the store cannot answer now.
    """

    def kpis(self, asked: Question, spans: Sequence[tuple[Span, Span]]) -> tuple[Sequence[ComparedFigures], int]:
        """The figures of each time beside those of the time before, and what waits to be settled, pico-USD."""
        ...

    def top(self, asked: Question, by: str, span: Span, before: Span, limit: int) -> Ranking:
        """What costs most by one key, with its cost in the time before."""
        ...

    def trend(self, asked: Question, spans: Sequence[Span], split: str | None, top: int) -> Course:
        """The sums of pieces that follow each other without gaps; with a split, those of the dearest and of all others."""
        ...


class Trees(Protocol):
    """Runs, sessions and single spans; whose they are is an argument of all of it.

    Raises:
        BadInput: an unknown order, or a place that is none of it.
        Busy, Unavailable: the store cannot answer now.
    """

    def runs(self, query: RunQuery) -> RunPage:
        """Runs of settled traces, greatest first."""
        ...

    def run(self, trace_id: str, span_id: str, tenants: Tenants) -> RunShown | None:
        """One run in full; None when there is none for these tenants."""
        ...

    def sessions(self, query: SessionQuery) -> SessionPage:
        """Sessions, greatest first."""
        ...

    def session(self, session: str, tenants: Tenants, after: tuple[int, ...] | None, limit: int) -> SessionCourse | None:
        """One session by its clear id with a page of its traces, first to last; None when there is none for these tenants."""
        ...

    def history(self, trace_id: str, span_id: str, tenants: Tenants, realm: str | None) -> History | None:
        """Every entry of one span, users and sessions in clear; None when there is none for these tenants."""
        ...


class Verdict(NamedTuple):
    """Outcome of verifying the ledger.

    Attributes:
        report: what the walk found (`ledger.verify`).
        against_head: faults that only the comparison with an exported head shows; None when no head was given.
    """

    report: Report
    against_head: Sequence[Fault] | None = None


class Exports(Protocol):
    """Reading all of the ledger, in batches of the contract's JSON rows; whose data is an argument of all of it.

    The batches of one answer are the state of the moment at which it was asked for, however long they are read, and no transaction is
    open between two of them. Users and sessions are references, or (`clear`) in clear and null once erased.

    Raises:
        BadInput: an unknown filter.
        Busy, Unavailable: the store cannot answer now; the batches raise them too.
    """

    def entries(self, tenants: Tenants, *, clear: bool = False) -> Iterator[Sequence[Mapping[str, Any]]]:
        """All entries in the order in which each shard booked them."""
        ...

    def usage(
        self, tenants: Tenants, window: Window, filters: Mapping[str, str], *, clear: bool = False
    ) -> Iterator[Sequence[Mapping[str, Any]]]:
        """The entries that `Reads.usage` pages through, tenant by tenant, earliest start first."""
        ...

    def net(self, tenants: Tenants, *, clear: bool = False) -> Iterator[Sequence[Mapping[str, Any]]]:
        """One row for every span that stands, ordered by (realm, trace, span)."""
        ...

    def canonical(self, tenants: Tenants) -> Iterator[Sequence[Mapping[str, Any]]]:
        """The net ledger in the form that two ledgers of the same spans share, users and sessions in clear."""
        ...


class Audit(Protocol):
    """The trail of changes; whose chains is an argument of all of it, None for all.

    Raises:
        Busy, Unavailable: the store cannot answer now.
    """

    def entries(self, query: AuditQuery) -> Sequence[AuditEntry]:
        """A page, newest first."""
        ...

    def verify(self, tenants: Tenants, head: str | None, public_key: str | None) -> AuditReport:
        """Walk the chains and, where an exported signed head is given, hold them against it; raises BadInput for one that is none."""
        ...
