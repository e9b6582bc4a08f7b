"""What guardrails in applications said, as the spans of settled traces tell, and what was spent and not spent by it.

A verdict is about the call that bears it; a guardrail's own span speaks of the call above it, else of the nearest in time beside it. A
provider that ends an answer for its content is a guardrail as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from otel_finops.base.money import PICO_PER_USD
from otel_finops.base.protocols import DEFAULT_TENANT
from otel_finops.genai.guardrail_verdicts import BLOCK
from otel_finops.genai.sighting import GuardrailVerdict, Sighting
from otel_finops.ledger.entry import ROLE_CALL, ROLE_WRAPPER, Entry
from otel_finops.ledger.projection import SettledTrace, Write
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Row, Transaction
from otel_finops.trees.projected import KeptRows

PROVIDER: Final = "provider"
"""The guardrail that is said to have ended an answer for its content."""
_ENDED_BY_PROVIDER: Final = frozenset((
    "content_filter", "content_filtered", "guardrail_intervened", "safety", "SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "refusal",
))  # fmt: skip

_ROWS: Final = KeptRows(
    "guardrail_verdicts", 2, ("trace_no", "span_id", "call_span_id", "tenant", "at_ns", "guardrail", "verdict", "reason")
)
_LAST_NS: Final = 2**63 - 1
_ASKED: Final = (
    "SELECT guardrail, said, action, observed, COUNT(*), COUNT(estimate_pico), "
    f"COALESCE(SUM(estimate_pico / {PICO_PER_USD}), 0), COALESCE(SUM(estimate_pico % {PICO_PER_USD}), 0) "
    "FROM guardrail_rulings WHERE at_ns >= ? AND at_ns < ?"
)
_ASKED_GROUPS: Final = " GROUP BY guardrail, said, action, observed ORDER BY guardrail, said, action, observed"
_TOLD: Final = "SELECT DISTINCT guardrail, verdict, trace_no, call_span_id FROM guardrail_verdicts WHERE at_ns >= ? AND at_ns < ?"
_TOLD_CALLS: Final = (
    "SELECT guardrail, verdict, COUNT(*), COUNT(call_span_id) FROM told GROUP BY guardrail, verdict ORDER BY guardrail, verdict"
)
_TOLD_MONEY: Final = (
    f"SELECT told.guardrail, told.verdict, SUM(cost_pico / {PICO_PER_USD}), SUM(cost_pico % {PICO_PER_USD}) FROM told "
    "JOIN entries ON entries.trace_no = told.trace_no AND entries.span_id = told.call_span_id "
    "WHERE entries.role = 'call' AND cost_pico IS NOT NULL GROUP BY told.guardrail, told.verdict"
)


class Verdicts:
    """The projection (`ledger.projection.TraceProjection`)."""

    def planned(self, traces: Sequence[SettledTrace]) -> Write:
        """See `ledger.projection.TraceProjection`."""
        rows = [row for trace in traces for row in _rows(trace)]
        booked = {trace.trace_no: trace for trace in traces if trace.booked}

        @cache
        def held(trace_no: int) -> frozenset[str]:
            return frozenset(span.span_id for span in booked[trace_no].sightings)

        def write(transaction: Transaction) -> None:
            if rows or booked:
                _ROWS.put(transaction, rows, booked.keys(), lambda row: row[1].hex() in held(row[0]))

        return write


class Asked(NamedTuple):
    """Decisions of which a guardrail said the same.

    Attributes:
        said: flagged, blocked or unanswered.
        stopped: the guardrail's word, or its silence, was a reason to stop the call.
        observed: whatever was decided, the caller went on.
        calls, estimated, pico: how many, how many of them with an estimate, and the sum of those.
    """

    guardrail: str
    said: str
    stopped: bool
    observed: bool
    calls: int
    estimated: int
    pico: int


class Told(NamedTuple):
    """Calls of which spans tell the same.

    Attributes:
        verdict: flag or block.
        verdicts: how many; `calls`: of them those whose call is known.
        pico: what these calls cost, as it stands.
    """

    guardrail: str
    verdict: str
    verdicts: int
    calls: int
    pico: int


class Report(NamedTuple):
    """What guardrails said in a span of time: asked by decisions, and told by spans."""

    asked: Sequence[Asked]
    told: Sequence[Told]


class GuardrailDesk:
    """Reads what guardrails said."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def report(self, tenants: Collection[str] | None, from_ns: int | None, to_ns: int | None) -> Report:
        """What guardrails said of calls of these tenants (None: of all), asked or made in a span of time (to is exclusive)."""
        params: list[Any] = [from_ns or 0, _LAST_NS if to_ns is None else to_ns]
        within = ""
        if tenants is not None:
            within = f" AND tenant IN ({', '.join('?' * len(tenants))})" if tenants else " AND FALSE"
            params += tenants
        with self._store.read() as transaction:
            asked = transaction.execute(_ASKED + within + _ASKED_GROUPS, params)
            told = "WITH told AS (" + _TOLD + within + ") "
            counts = transaction.execute(told + _TOLD_CALLS, params)
            money = {(row[0], row[1]): _pico(*row[2:]) for row in transaction.execute(told + _TOLD_MONEY, params)}
        return Report(
            [_asked(row) for row in asked],
            [Told(name, verdict, int(n), int(calls), money.get((name, verdict), 0)) for name, verdict, n, calls in counts],
        )


def _asked(row: Row) -> Asked:
    guardrail, said, action, observed, calls, estimated, usd, rest = row
    return Asked(guardrail, said, action == "block", bool(observed), int(calls), int(estimated), _pico(usd, rest))


def _pico(usd: Any, rest: Any) -> int:
    return int(usd) * PICO_PER_USD + int(rest)


def _rows(trace: SettledTrace) -> Iterator[Row]:
    """The rows of a trace's verdicts; of what the provider said once for each call, however many spans show it."""
    scene: _Scene | None = None
    ended: set[str | None] = set()
    for span in trace.sightings:
        said = span.guardrail or _by_provider(span)
        if said is None:
            continue
        scene = scene or _Scene(trace)
        call = scene.call_of(span)
        if said.guardrail == PROVIDER and span.guardrail is None:
            if call in ended:
                continue
            ended.add(call)
        call_id = None if call is None else bytes.fromhex(call)
        yield (
            trace.trace_no,
            bytes.fromhex(span.span_id),
            call_id,
            scene.tenant_of(span, call),
            span.start_ns,
            said.guardrail,
            said.verdict,
            said.reason,
        )


def _by_provider(span: Sighting) -> GuardrailVerdict | None:
    """That the provider ended the answer for its content; None: it did not."""
    if not span.finish_reasons or _ENDED_BY_PROVIDER.isdisjoint(span.finish_reasons):
        return None
    return GuardrailVerdict(BLOCK, PROVIDER, next(reason for reason in span.finish_reasons if reason in _ENDED_BY_PROVIDER))


class _Scene:
    """A trace in which somebody looks for the calls that verdicts are about."""

    def __init__(self, trace: SettledTrace) -> None:
        self._standing = trace.standing
        self._spans = {span.span_id: span for span in trace.sightings}
        self._below: dict[str, list[Sighting]] = {}
        for span in trace.sightings:
            if span.parent_span_id is not None:
                self._below.setdefault(span.parent_span_id, []).append(span)

    def call_of(self, span: Sighting) -> str | None:
        """The id of the span that is charged for what a verdict is about; None: nobody knows."""
        for one in self._upwards(span):
            entry = self._standing.get(one.span_id)
            if entry is not None and entry.role != ROLE_WRAPPER:
                return self._charged(entry)
        return self._beside(span)

    def tenant_of(self, span: Sighting, call: str | None) -> str:
        """Whose call it is; without one, what the nearest span above says."""
        if call is not None:
            return self._standing[call].tenant
        named = next((tenant for one in self._upwards(span) if (tenant := one.attribution.get("tenant"))), None)
        return named or span.defaults.get("tenant") or DEFAULT_TENANT

    def _upwards(self, span: Sighting) -> Iterator[Sighting]:
        seen: set[str] = set()
        above: Sighting | None = span
        while above is not None and above.span_id not in seen:
            seen.add(above.span_id)
            yield above
            above = self._spans.get(above.parent_span_id) if above.parent_span_id is not None else None

    def _charged(self, entry: Entry) -> str | None:
        """The span that stands for a call, where it is one of this trace."""
        seen: set[str] = set()
        one: Entry | None = entry
        while one is not None and one.role != ROLE_CALL and one.span_id not in seen:
            seen.add(one.span_id)
            trace_id, span_id = one.counted_in or ("", "")
            one = self._standing.get(span_id) if trace_id == one.trace_id else None
        return one.span_id if one is not None and one.role == ROLE_CALL else None

    def _beside(self, span: Sighting) -> str | None:
        """The call under the same parent that is nearest in time, the earlier one of two."""
        near = self._below.get(span.parent_span_id or "", ())
        calls = [(_apart_ns(span, one), one.start_ns, call) for one in near if (call := self._call_at(one)) is not None]
        return min(calls)[2] if calls else None

    def _call_at(self, span: Sighting) -> str | None:
        entry = self._standing.get(span.span_id)
        return None if entry is None or entry.role == ROLE_WRAPPER else self._charged(entry)


def _apart_ns(one: Sighting, other: Sighting) -> int:
    """The time between two spans; 0 where they overlap."""
    return max(0, other.start_ns - one.end_ns, one.start_ns - other.end_ns)
