"""Looks through the ledger for waste: calls trace by trace, and runs that failed after they had cost something."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, NamedTuple

from otel_finops.base.limits import FIGURES_TRACES_AT_ONCE, WASTE_CALLS_MAX, WASTE_RUNS_MAX
from otel_finops.base.money import PICO_PER_USD, divide_half_even
from otel_finops.base.progress import tell
from otel_finops.genai.usage import PROMPT_UNITS, Usage
from otel_finops.insight.outcome_reads import OutcomeQuery, read_outcomes
from otel_finops.insight.outcomes import Outcome
from otel_finops.insight.smaller_models import smaller_model
from otel_finops.insight.waste import KINDS, Claim, Kind, WasteCall
from otel_finops.insight.waste_choice import Choice, choose
from otel_finops.insight.waste_findings import Finding, Findings, Where
from otel_finops.ledger.brief_rows import BriefRow, brief_rows
from otel_finops.ledger.entry import ROLE_CALL
from otel_finops.ledger.spend import Question
from otel_finops.ledger.spend_entries import unit_count
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.quote import PriceableCall
from otel_finops.settings.waste import Waste
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Row, Transaction

_UNITS: Final = (*PROMPT_UNITS, "output")
_COLUMNS: Final = (
    "trace_id", "started_ns", "duration_ns", "tenant", "service", "agent", "step", "provider", "COALESCE(response_model, request_model)",
    "operation", "error_type", "price_key", "service_tier", "region_kind", "region", "speed", "account",
)  # fmt: skip
_TENANT_AT: Final = _COLUMNS.index("tenant")
_TOLD_EVERY: Final = 500
_RUN_COLUMNS: Final = (
    "r.trace_no, t.trace_id, r.span_id, r.parent_run, r.tenant, r.service, r.agent, r.name, r.started_ns, r.cost_usd, r.cost_pico"
)
_FAILED: Final = (
    "(r.error_type IS NOT NULL OR EXISTS (SELECT 1 FROM outcomes_said o WHERE o.trace_no = r.trace_no AND o.span_id = r.span_id "
    "AND NOT o.success))"
)
_RUNS: Final = (
    f"SELECT {_RUN_COLUMNS} FROM runs r JOIN traces t ON t.trace_no = r.trace_no "
    f"WHERE r.started_ns >= ? AND r.started_ns < ? AND (r.cost_usd > 0 OR r.cost_pico > 0) AND {_FAILED}"
)
_PARENTS: Final = "SELECT trace_no, span_id, parent_run FROM runs WHERE trace_no IN ({})"
_SUCCEEDED: Final = (
    "SELECT tenant, service, agent, MAX(cost_usd), MAX(CASE WHEN cost_usd = 0 THEN cost_pico ELSE 0 END) FROM runs r "
    "WHERE r.started_ns >= ? AND r.started_ns < ? AND r.error_type IS NULL"
)


class WasteAsked(NamedTuple):
    """What is looked through.

    Attributes:
        tenants: whose; None for all.
        from_ns, to_ns: start of the calls and runs, from inclusive, to exclusive.
        kinds: of which findings are wanted.
    """

    tenants: Collection[str] | None
    from_ns: int
    to_ns: int
    kinds: Sequence[Kind] = KINDS


class WasteReport(NamedTuple):
    """What was found.

    Attributes:
        findings: dearest first.
        calls: how many were looked at.
        cost_pico: what they cost, pico-USD.
        choice: which calls these were, and what all calls of that time come to.
    """

    findings: Sequence[Finding]
    calls: int
    cost_pico: int
    choice: Choice


class _Run(NamedTuple):
    trace_no: int
    trace_id: str
    span_id: bytes
    parent_run: bytes | None
    where: Where
    started_ns: int
    pico: int


class WasteDesk:
    """Reports waste; every report is of one snapshot.

    Args:
        engine: gives the prices of now.
        rules: the thresholds.
    """

    def __init__(self, store: Store, engine: Callable[[], PriceEngine], rules: Waste) -> None:
        self._store = store
        self._engine = engine
        self._rules = rules

    def report(self, asked: WasteAsked) -> WasteReport:
        """Everything that was found."""
        engine, kinds = self._engine(), frozenset(asked.kinds)

        @lru_cache(maxsize=10_000)
        def smaller(provider: str | None, model: str) -> str | None:
            return smaller_model(engine, provider, model, asked.to_ns, self._rules.smaller_models)

        findings = Findings(self._rules, _Pricer(engine).cost, lambda provider, model, _: smaller(provider, model), kinds)
        with self._store.read() as transaction:
            choice = choose(transaction, Question(asked.tenants, (), asked.from_ns, asked.to_ns), kinds, self._rules, WASTE_CALLS_MAX)
            calls, cost_pico = _look(transaction, asked, findings, choice)
            succeeded: Mapping[Where, int] = {}
            if "failing_agent" in kinds:
                _look_at_runs(transaction, asked, findings)
                succeeded = _succeeded(transaction, asked)
        return WasteReport(findings.all(succeeded), calls, cost_pico, choice)


class _Pricer:
    """What calls would have cost by the price book, in the proportion in which they were charged by it: discounts hold on."""

    def __init__(self, engine: PriceEngine) -> None:
        self._engine = engine
        self._listed: tuple[WasteCall, int | None] | None = None

    def cost(self, call: WasteCall, usage: Usage, model: str | None) -> int | None:
        """See `waste.Price`: by the very row that priced the call, or by another model of its provider."""
        listed = self._as_listed(call)
        otherwise = listed if model is None and usage is call.usage else self._quoted(call, usage, model)
        if not listed or otherwise is None:
            return None
        return divide_half_even(otherwise * call.cost, listed)

    def _as_listed(self, call: WasteCall) -> int | None:
        """The call as it was made; asked for again and again while one is looked at."""
        if self._listed is None or self._listed[0] is not call:
            self._listed = call, self._quoted(call, call.usage, None)
        return self._listed[1]

    def _quoted(self, call: WasteCall, usage: Usage, model: str | None) -> int | None:
        if model is None and call.price_key is None:
            return None
        provider, name = (None, call.price_key or "") if model is None else (call.provider, model)
        priced = PriceableCall(
            provider, (name,), usage, call.started_ns, "reported", None, None, call.service_tier, call.region_kind, call.region,
            call.speed, account=call.account,
        )  # fmt: skip
        return self._engine.quote(priced).cost_pico


def _look(transaction: Transaction, asked: WasteAsked, findings: Findings, choice: Choice) -> tuple[int, int]:
    """Look at the calls that were chosen; how many there were, and what they cost."""
    calls = cost = 0
    expected = min(choice.calls, WASTE_CALLS_MAX)
    rows = (row for row in _rows(transaction, asked, choice) if _is_asked_for(row, asked))
    for number, (_, of_trace) in enumerate(groupby(rows, attrgetter("trace_no")), 1):
        found = list(of_trace)
        if choice.chosen == "newest" and calls and calls + len(found) > WASTE_CALLS_MAX:
            break
        calls += len(found)
        cost += sum(row.cost_pico or 0 for row in found)
        findings.look_at(bytes(found[0].keys[0]).hex(), map(_call, found))
        if number % _TOLD_EVERY == 0:
            tell("calls", calls, max(calls, expected))
    return calls, cost


def _rows(transaction: Transaction, asked: WasteAsked, choice: Choice) -> Iterator[BriefRow]:
    counts = [unit_count(transaction.engine_name, unit) for unit in _UNITS]
    if choice.chosen != "dearest":
        yield from brief_rows(transaction, _COLUMNS, asked.tenants, asked.from_ns, asked.to_ns, newest_first=True, counts=counts)
    for start in range(0, len(choice.trace_nos), FIGURES_TRACES_AT_ONCE):
        traces = choice.trace_nos[start : start + FIGURES_TRACES_AT_ONCE]
        yield from brief_rows(transaction, _COLUMNS, asked.tenants, asked.from_ns, asked.to_ns, counts=counts, traces=traces)


def _is_asked_for(row: BriefRow, asked: WasteAsked) -> bool:
    return row.role == ROLE_CALL and (asked.tenants is None or row.keys[_TENANT_AT] in asked.tenants)


def _call(row: BriefRow) -> WasteCall:
    _trace, started_ns, duration_ns, tenant, service, agent, step, provider, model, operation, error, price_key, *priced_by = row.keys[:-2]
    usage = {unit: int(count) for unit, count in zip(_UNITS, row.counts[1:], strict=True) if count}
    return WasteCall(
        row.span_id.hex(), int(started_ns), int(started_ns) + int(duration_ns or 0), tenant, service, agent, step, provider, model,
        operation, error, usage, row.cost_pico or 0, price_key, *priced_by,
    )  # fmt: skip


# --- runs that failed ------------------------------------------------------------------------------------------------


def _look_at_runs(transaction: Transaction, asked: WasteAsked, findings: Findings) -> None:
    """The outermost runs that failed, with everything below them; where somebody judged the trace, the whole of it or nothing."""
    judged: set[tuple[str, str]] = set()
    for (trace_id, tenant), one in _told(transaction, asked).items():
        judged.add((trace_id, tenant))
        if not one.success and one.at_ns < asked.to_ns and one.share is not None and one.share.pico > 0:
            where = Where("failing_agent", tenant, one.service, one.agent)
            findings.take_run(where, [_claim(where, one.at_ns, one.share.pico)], trace_id)
    runs = [run for run in _failed_runs(transaction, asked) if (run.trace_id, run.where.tenant) not in judged]
    for run in _outermost(transaction, runs):
        findings.take_run(run.where, [_claim(run.where, run.started_ns, run.pico)], run.trace_id)


def _told(transaction: Transaction, asked: WasteAsked) -> dict[tuple[str, str], Outcome]:
    """What somebody said of traces, by trace and tenant; of several kinds a failure, if there is one. It counts whenever it was said."""
    found: dict[tuple[str, str], Outcome] = {}
    for one in read_outcomes(transaction, OutcomeQuery(asked.tenants, asked.from_ns)):
        key = one.trace_id, one.tenant
        if one.span_id is None and (key in found or len(found) < WASTE_RUNS_MAX) and (key not in found or not one.success):
            found[key] = one
    return found


def _claim(where: Where, started_ns: int, pico: int) -> Claim:
    call = WasteCall("", started_ns, started_ns, where.tenant, where.service, where.agent, None, None, None, None, None, {}, pico)
    return Claim("failing_agent", call, pico)


def _failed_runs(transaction: Transaction, asked: WasteAsked) -> list[_Run]:
    sql, values = _of_tenants(_RUNS, asked)
    return [_run(row) for row in transaction.execute(f"{sql} ORDER BY r.started_ns DESC LIMIT {WASTE_RUNS_MAX}", values)]


def _of_tenants(sql: str, asked: WasteAsked) -> tuple[str, list[Any]]:
    values: list[Any] = [asked.from_ns, asked.to_ns]
    if asked.tenants is None:
        return sql, values
    return f"{sql} AND r.tenant IN ({', '.join('?' * len(asked.tenants)) or 'NULL'})", [*values, *sorted(asked.tenants)]


def _run(row: Row) -> _Run:
    trace_no, trace_id, span_id, parent_run, tenant, service, agent, name, started_ns, usd, pico = row
    where = Where("failing_agent", tenant, service, agent or name)
    parent = None if parent_run is None else bytes(parent_run)
    cost = int(usd) * PICO_PER_USD + int(pico)
    return _Run(int(trace_no), bytes(trace_id).hex(), bytes(span_id), parent, where, int(started_ns), cost)


def _outermost(transaction: Transaction, runs: Sequence[_Run]) -> Iterator[_Run]:
    """Failed runs in no other failed run of the same tenant: what lies below is part of what they cost."""
    several: dict[int, list[_Run]] = {}
    for run in runs:
        several.setdefault(run.trace_no, []).append(run)
    yield from (found[0] for found in several.values() if len(found) == 1)
    numbers = sorted(number for number, found in several.items() if len(found) > 1)
    for start in range(0, len(numbers), FIGURES_TRACES_AT_ONCE):
        piece = numbers[start : start + FIGURES_TRACES_AT_ONCE]
        parents = {
            (int(no), bytes(span)): None if above is None else bytes(above) for no, span, above in transaction.select_in(_PARENTS, piece)
        }
        for number in piece:
            yield from _tops(several[number], parents)


def _tops(runs: Iterable[_Run], parents: Mapping[tuple[int, bytes], bytes | None]) -> Iterator[_Run]:
    found = {(run.where.tenant, run.span_id): run for run in runs}
    below: dict[tuple[str, bytes | None], bool] = {}
    for (tenant, _), run in found.items():
        passed: list[tuple[str, bytes | None]] = []
        at, inside = run.parent_run, False
        while at is not None and not inside and (tenant, at) not in below and len(passed) <= len(parents):
            passed.append((tenant, at))
            inside = (tenant, at) in found
            at = parents.get((run.trace_no, at))
        inside = inside or below.get((tenant, at), False)
        below.update(dict.fromkeys(passed, inside))
        if not inside:
            yield run


def _succeeded(transaction: Transaction, asked: WasteAsked) -> dict[Where, int]:
    """The most that a run of each agent cost that did not fail, in whole dollars from one on: policies' limits need no more."""
    sql, values = _of_tenants(_SUCCEEDED, asked)
    rows = transaction.execute(f"{sql} GROUP BY tenant, service, agent", values)
    return {
        Where("failing_agent", tenant, service, agent): int(usd) * PICO_PER_USD or int(pico) for tenant, service, agent, usd, pico in rows
    }
