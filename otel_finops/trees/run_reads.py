"""Reads runs from the store: lists of them off `runs`, and one of them off its trace."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import LINKED_TRACES_MAX
from otel_finops.base.money import PICO_PER_USD
from otel_finops.genai.sighting import SpanKey
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.rows import entries_of_traces
from otel_finops.ledger.standing import fold
from otel_finops.ledger.subjects import Subjects, refs_of
from otel_finops.store.unit_of_work import Row, Transaction
from otel_finops.trees.cost_tree import Grown, collector_paused, grow
from otel_finops.trees.queries import RUN_FILTERS, RUN_SORTS, LinkedRun, RunPage, RunQuery, RunSummary, Tenants
from otel_finops.trees.runs import RunView, find_run, run_at_or_above, runs_below, view
from otel_finops.trees.search import Seen, seen_of, waits

_SUMMED: Final = (
    "calls", "failed_calls", "unpriced_calls", "tokens", "tools", "failed_tools", "own_calls", "cost_usd", "cost_pico", "own_usd",
    "own_pico",
)  # fmt: skip
_SAID: Final = (
    "parent_run", "tenant", "kind", "name", "agent", "workflow", "service", "environment", "user_ref", "session_ref", "started_ns",
    "duration_ns", "error_type", "finish_reason", "children",
)  # fmt: skip
_COLUMNS: Final = {"user": "user_ref", "session": "session_ref"}
_SUBJECTS: Final = ("user", "session")


def _sum(name: str, shared: bool) -> str:
    return f"r.{name} + COALESCE(s.{name}, 0)" if shared else f"r.{name}"


def _orders(shared: bool) -> dict[str, tuple[str, ...]]:
    pico = f"({_sum('cost_pico', shared)})"
    return {
        "started": ("r.started_ns",),
        "duration": ("r.duration_ns",),
        "calls": (f"({_sum('calls', shared)})",),
        "cost": (f"({_sum('cost_usd', shared)} + {pico} / {PICO_PER_USD})", f"({pico} % {PICO_PER_USD})"),
    }


assert tuple(sorted(_orders(False))) == tuple(sorted(RUN_SORTS))


def list_runs(transaction: Transaction, query: RunQuery, subjects: Subjects) -> RunPage:
    """A page of runs.

    Raises:
        BadInput: an unknown filter or order, or a place that is none of this order.
    """
    if query.sort not in RUN_SORTS or any(name not in RUN_FILTERS for name in query.filters):
        raise BadInput(f"runs are filtered by {', '.join(RUN_FILTERS)} and sorted by {', '.join(RUN_SORTS)}")
    shared = bool(transaction.execute("SELECT 1 FROM run_shares LIMIT 1"))
    keys = (*_orders(shared)[query.sort], "r.trace_no", "r.span_id")
    if query.after is not None and len(query.after) != len(keys):
        raise BadInput("cursor: of another order; leave it out to begin with the first page")
    where, values = _conditions(transaction, query, shared)
    source, source_values = _source(query.tenants, shared)
    if query.after is not None:
        where += f" AND ({', '.join(keys)}) < ({', '.join('?' * len(keys))})"
        values += [*query.after[:-1], _span(query.after[-1])]
    columns = ", ".join((*(f"r.{name}" for name in _SAID), *(_sum(name, shared) for name in _SUMMED), *keys))
    order = ", ".join(f"{key} DESC" for key in keys)
    sql = f"""
    SELECT t.trace_id, r.span_id, t.realm, {columns} FROM {source} JOIN traces t ON t.trace_no = r.trace_no
    WHERE (r.trace_no, r.span_id) IN (SELECT r.trace_no, r.span_id FROM {source} WHERE {where} ORDER BY {order} LIMIT ?)
    ORDER BY {order}"""
    rows = transaction.execute(sql, (*source_values, *source_values, *values, query.limit + 1))
    names = _clear_names(transaction, subjects, rows)
    found = [_summary(row, names) for row in rows[: query.limit]]
    if query.tenants is not None:
        found = _among_seen(transaction, found, [int(row[-2]) for row in rows[: query.limit]], query.tenants)
    return RunPage(found, _place(rows[query.limit - 1], len(keys)) if len(rows) > query.limit else None)


def _source(tenants: Tenants, shared: bool) -> tuple[str, list[Any]]:
    """The runs, and what other tenants that are to be seen have in them."""
    if not shared:
        return "runs r", []
    sums = ", ".join(f"CAST(SUM({name}) AS BIGINT) AS {name}" for name in _SUMMED)
    where, values = ("", []) if tenants is None else (f"WHERE {_tenants('tenant', tenants)}", list(tenants))
    shares = f"(SELECT trace_no, span_id, {sums} FROM run_shares {where} GROUP BY trace_no, span_id)"
    return f"runs r LEFT JOIN {shares} s ON s.trace_no = r.trace_no AND s.span_id = r.span_id", values


def _conditions(transaction: Transaction, query: RunQuery, shared: bool) -> tuple[str, list[Any]]:
    conditions: list[tuple[str, list[Any]]] = []
    if query.tenants is not None:
        conditions.append((_tenants("r.tenant", query.tenants), list(query.tenants)))
    if query.from_ns is not None:
        conditions.append(("r.started_ns >= ?", [query.from_ns]))
    if query.to_ns is not None:
        conditions.append(("r.started_ns < ?", [query.to_ns]))
    for name, value in query.filters.items():
        allowed = refs_of(transaction, name, (value,)) if name in _SUBJECTS else [value]
        conditions.append((_one_of(f"r.{_COLUMNS.get(name, name)}", allowed), allowed))
    if query.failed is not None:
        conditions.append((f"r.error_type IS {'NOT ' if query.failed else ''}NULL", []))
    if query.top:
        conditions.append(("r.parent_run IS NULL", []) if query.tenants is None else _in_no_seen_run(query.tenants))
    if query.min_pico is not None:
        conditions.append((f"({', '.join(_orders(shared)['cost'])}) >= (?, ?)", list(divmod(query.min_pico, PICO_PER_USD))))
    return " AND ".join(("1 = 1", *(sql for sql, _ in conditions))), [value for _, values in conditions for value in values]


def _in_no_seen_run(tenants: Collection[str]) -> tuple[str, list[Any]]:
    """No run of these tenants lies above, neither right above nor above runs of others."""
    others, seen = f"NOT {_tenants('p.tenant', tenants)}", _tenants("p.tenant", tenants)
    sql = f"""(r.parent_run IS NULL OR NOT EXISTS (
      WITH RECURSIVE above (span_id) AS (
        SELECT r.parent_run UNION
        SELECT p.parent_run FROM above a JOIN runs p ON p.trace_no = r.trace_no AND p.span_id = a.span_id WHERE {others})
      SELECT 1 FROM above a JOIN runs p ON p.trace_no = r.trace_no AND p.span_id = a.span_id WHERE {seen}))"""
    return sql, [*tenants, *tenants]


def _tenants(column: str, tenants: Collection[str]) -> str:
    return _one_of(column, list(tenants))


def _one_of(column: str, values: Sequence[Any]) -> str:
    """Equality with one of the values; with one alone an index keeps its order."""
    return f"{column} = ?" if len(values) == 1 else f"{column} IN ({', '.join('?' * len(values)) or 'NULL'})"


def _clear_names(transaction: Transaction, subjects: Subjects, rows: Iterable[Row]) -> dict[str, str]:
    at = len(("trace_id", "span_id", "realm")) + _SAID.index("user_ref")
    refs = {ref for row in rows for ref in row[at : at + 2] if ref is not None}
    return subjects.clear(transaction, refs) if refs else {}


def _summary(row: Row, names: dict[str, str]) -> RunSummary:
    trace_id, span_id, realm, parent_run, *said = row[: 3 + len(_SAID)]
    tenant, kind, name, agent, workflow, service, environment, user, session, *rest = said
    sums = [int(value) for value in row[3 + len(_SAID) : 3 + len(_SAID) + len(_SUMMED)]]
    calls, failed_calls, unpriced_calls, tokens, tools, failed_tools, own_calls, cost_usd, cost_pico, own_usd, own_pico = sums
    return RunSummary._make((
        bytes(trace_id).hex(), bytes(span_id).hex(), realm, None if parent_run is None else bytes(parent_run).hex(), tenant, kind, name,
        agent, workflow, service, environment, None if user is None else names.get(user, user),
        None if session is None else names.get(session, session), *rest, calls, failed_calls, unpriced_calls, tokens, tools, failed_tools,
        cost_usd * PICO_PER_USD + cost_pico, own_calls, own_usd * PICO_PER_USD + own_pico,
    ))  # fmt: skip


def _among_seen(transaction: Transaction, found: list[RunSummary], trace_nos: Sequence[int], tenants: Collection[str]) -> list[RunSummary]:
    """The runs as they lie among those that the tenants see: the nearest above, those right below, and what lies in none of these.

    Stored is how they lie among all; only traces in which others have runs too are looked at again.
    """
    foreign = f"SELECT DISTINCT r.trace_no FROM runs r WHERE r.trace_no IN ({{}}) AND NOT {_tenants('r.tenant', tenants)}"
    mixed = {int(number) for (number,) in transaction.select_in(foreign, sorted(set(trace_nos)), after=list(tenants))}
    if not mixed:
        return found
    source, values = _source(tenants, shared=True)
    sums = ", ".join(_sum(name, True) for name in ("calls", "cost_usd", "cost_pico"))
    sql = f"SELECT r.trace_no, r.span_id, r.parent_run, r.tenant, {sums} FROM {source} WHERE r.trace_no IN ({{}})"
    seen = _Seen(transaction.select_in(sql, sorted(mixed), before=values), tenants)
    return [seen.placed(number, run) if number in mixed else run for number, run in zip(trace_nos, found, strict=True)]


class _Seen:
    """The runs of some traces that tenants see, each under the nearest one above it that they see."""

    def __init__(self, rows: Iterable[Row], tenants: Collection[str]) -> None:
        self._parents: dict[tuple[int, str], str | None] = {}
        self._sums: dict[tuple[int, str], tuple[int, int]] = {}
        self._below: dict[tuple[int, str], list[int]] = {}
        for trace_no, span_id, parent_run, tenant, calls, usd, pico in rows:
            key = int(trace_no), bytes(span_id).hex()
            self._parents[key] = None if parent_run is None else bytes(parent_run).hex()
            if tenant in tenants:
                self._sums[key] = int(calls), int(usd) * PICO_PER_USD + int(pico)
        for key, (calls, pico) in self._sums.items():
            above = self._above(*key)
            if above is not None:
                held = self._below.setdefault((key[0], above), [0, 0, 0])
                held[:] = held[0] + 1, held[1] + calls, held[2] + pico

    def placed(self, trace_no: int, run: RunSummary) -> RunSummary:
        """The run as it lies among them."""
        children, calls, pico = self._below.get((trace_no, run.span_id), (0, 0, 0))
        above = self._above(trace_no, run.span_id)
        return run._replace(parent_run=above, children=children, own_calls=run.calls - calls, own_pico=run.cost_pico - pico)

    def _above(self, trace_no: int, span_id: str) -> str | None:
        passed: list[str] = []
        at = self._parents[trace_no, span_id]
        while at is not None and (trace_no, at) not in self._sums:
            passed.append(at)
            at = self._parents.get((trace_no, at))
        for one in passed:
            self._parents[trace_no, one] = at
        return at


_SIGNED: Final = 2**63
"""Span ids as a place's numbers, which are signed; the order stays."""


def _place(row: Row, width: int) -> tuple[int, ...]:
    *keys, span_id = row[-width:]
    return (*map(int, keys), int.from_bytes(span_id, "big") - _SIGNED)


def _span(number: int) -> bytes:
    return (number + _SIGNED).to_bytes(8, "big")


# --- one run ---------------------------------------------------------------------------------------------------------


class RunShown(NamedTuple):
    """One run in full.

    Attributes:
        trace_id: where it is.
        view: what was read off the tree.
        row: how it is listed, None until its trace is settled.
        linked: what span links connect with it.
        pending: spans of its trace wait for being settled.
    """

    trace_id: str
    view: RunView
    row: RunSummary | None
    linked: Sequence[LinkedRun]
    pending: bool


@collector_paused()
def read_run(transaction: Transaction, trace_id: str, span_id: str, tenants: Tenants, subjects: Subjects) -> RunShown | None:
    """A run by its trace and span; None when there is none, or it is not to be seen."""
    seen = seen_of(transaction, trace_id, tenants, _standing(transaction))
    grown = grow(seen.sightings, seen.entries)
    at = find_run(grown, span_id)
    if at is None:
        return None
    rows = _rows(transaction, seen.trace_nos, tenants, subjects)
    found = view(grown, at, {one.span_id: (one.agent, one.workflow, one.finish_reason) for one in rows})
    return RunShown(
        trace_id,
        found,
        next((one for one in rows if one.span_id == span_id and one.realm == grown.spans[at][2]), None),
        list(_linked(transaction, trace_id, found, grown, tenants)),
        waits(transaction, seen.trace_nos),
    )


def _standing(transaction: Transaction) -> Any:
    def read(trace_nos: Sequence[int]) -> Iterable[Entry]:
        return fold(entries_of_traces(transaction, trace_nos)).values()

    return read


def _rows(transaction: Transaction, trace_nos: Sequence[int], tenants: Tenants, subjects: Subjects) -> list[RunSummary]:
    """How the runs of these traces are listed."""
    source, values = _source(tenants, shared=True)
    allowed = "" if tenants is None else f" AND {_tenants('r.tenant', tenants)}"
    columns = ", ".join((*(f"r.{name}" for name in _SAID), *(_sum(name, True) for name in _SUMMED)))
    joined = f"{source} JOIN traces t ON t.trace_no = r.trace_no"
    sql = f"SELECT t.trace_id, r.span_id, t.realm, {columns} FROM {joined} WHERE r.trace_no IN ({{}}){allowed}"
    rows = list(transaction.select_in(sql, sorted(trace_nos), before=values, after=list(tenants or ()))) if trace_nos else []
    names = _clear_names(transaction, subjects, rows)
    return [_summary(row, names) for row in rows]


_LINKING: Final = (
    "SELECT DISTINCT t.trace_id FROM trace_links l JOIN traces t ON t.trace_no = l.trace_no WHERE l.linked_trace_id = ? "
    f"ORDER BY t.trace_id LIMIT {LINKED_TRACES_MAX}"
)


def _linked(transaction: Transaction, trace_id: str, found: RunView, grown: Grown, tenants: Tenants) -> Iterable[LinkedRun]:
    """What the run's spans link to, and what links to them, each once."""
    told: dict[tuple[str, str, str], LinkedRun] = {}
    targets = sorted({link for link in found.links if not (link[0] == trace_id and link[1] in found.spans)})
    trees = {trace_id: grown}
    for other in sorted({link[0] for link in targets} - {trace_id})[:LINKED_TRACES_MAX]:
        trees[other] = _tree(transaction, other, tenants)
    for target in targets:
        if target[0] in trees:
            for one in _ends("to", target, trees[target[0]]):
                told.setdefault((one.direction, one.trace_id, one.span_id), one)
    for (linking,) in transaction.execute(_LINKING, (bytes.fromhex(trace_id),)):
        other = bytes(linking).hex()
        tree = trees.get(other) or _tree(transaction, other, tenants)
        for source in _sources(tree, trace_id, found.spans):
            for one in _ends("from", (other, source), tree):
                told.setdefault((one.direction, one.trace_id, one.span_id), one)
    return told.values()


def _tree(transaction: Transaction, trace_id: str, tenants: Tenants) -> Grown:
    seen: Seen = seen_of(transaction, trace_id, tenants, _standing(transaction))
    return grow(seen.sightings, seen.entries)


def _sources(tree: Grown, trace_id: str, spans: Collection[str]) -> list[str]:
    """The spans of a trace that link to one of these spans."""
    return [
        span[1] for span in tree.spans if span[4] is not None and any(linked == trace_id and at in spans for linked, at in span[4].links)
    ]


def _ends(direction: str, end: SpanKey, tree: Grown) -> Iterable[LinkedRun]:
    """The run in which a linked span lies, else those that begin below it, else the span itself; nothing where it is not to be seen."""
    at = next((position for position, span in enumerate(tree.spans) if span[1] == end[1]), None)
    if at is None:
        return
    run = run_at_or_above(tree, at)
    below = [run] if run >= 0 else list(runs_below(tree, at))
    for position in below or [at]:
        _, span_id, _, _, sighting, entry = tree.spans[position]
        agent = entry.agent if entry is not None else sighting.attribution.get("agent") if sighting is not None else None
        yield LinkedRun(
            direction,
            end[0],
            span_id,
            bool(below),
            None if sighting is None else sighting.name,
            None if sighting is None else sighting.kind,
            agent,
            tree.sums.pico[position],
            tree.sums.calls[position],
            tree.sums.tokens[position],
        )
