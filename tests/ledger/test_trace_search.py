"""Traces by cost: the order, the figures and the pages agree with what stands, whatever happened to it."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import pytest
from ledger_rig import CENT, SECOND, Rig, call, plain, trace_id

from otel_finops.base.errors import BadInput
from otel_finops.genai.sighting import AGENT
from otel_finops.genai.usage import total_tokens
from otel_finops.ledger.entry import Entry
from otel_finops.store.engine import Store
from otel_finops.trees.queries import SORTS, TraceQuery, TraceSummary
from otel_finops.trees.ranking import search_traces


def pages(rig: Rig, query: TraceQuery) -> list[TraceSummary]:
    """All pages in a row; every page but the last is full."""
    found: list[TraceSummary] = []
    after = None
    while True:
        with rig.store.read() as transaction:
            page = search_traces(transaction, query._replace(after=after))
        found += page.traces
        if page.next is None:
            return found
        assert len(page.traces) == query.limit
        after = page.next


def model(entry: Entry) -> str | None:
    return entry.response_model or entry.request_model


def expected(rig: Rig, query: TraceQuery) -> dict[str, TraceSummary]:
    """By trace id, from the fold of all entries."""
    calls: dict[str, list[Entry]] = defaultdict(list)
    for entry in rig.net().values():
        mine = query.tenants is None or entry.tenant in query.tenants
        inside = (query.from_ns or 0) <= entry.started_ns < (query.to_ns or 2**62)
        wanted = all((model(entry) if name == "model" else getattr(entry, name)) == value for name, value in query.filters.items())
        if entry.role == "call" and mine and inside and wanted:
            calls[entry.trace_id].append(entry)
    return {
        key: TraceSummary(
            key,
            "default",
            min(entry.started_ns for entry in entries),
            sum(entry.cost_pico or 0 for entry in entries),
            len(entries),
            sum(total_tokens(entry.usage) for entry in entries),
            sum(entry.cost_pico is None for entry in entries),
        )
        for key, entries in calls.items()
    }


def place(one: TraceSummary, sort: str) -> int:
    return {"cost": one.cost_pico, "calls": one.calls, "tokens": one.tokens, "started": one.started_ns}[sort]


def test_a_call_that_moved_to_another_tenant_counts_there_alone(store: Store) -> None:
    """0.0035 USD of trace 1 go from `default` to acme; trace 2 keeps its 0.0035; acme's own trace 3 has 0.0035 twice."""
    rig = Rig(store)
    rig.settle(call(2, 1, parent=1), call(3, 2, at_s=100))
    rig.settle(*(call(n, 3, attribution={"tenant": "acme"}, at_s=n * 300) for n in (4, 5)))
    rig.settle(plain(1, 1, kind=AGENT, genai=True, attribution={"tenant": "acme"}))
    found = {tenant: pages(rig, TraceQuery((tenant,), limit=1)) for tenant in ("default", "acme")}
    assert [(one.trace_id, one.cost_pico, one.calls) for one in found["default"]] == [(trace_id(2), 35 * CENT // 100, 1)]
    assert [(one.trace_id, one.cost_pico, one.calls) for one in found["acme"]] == [
        (trace_id(3), 70 * CENT // 100, 2),
        (trace_id(1), 35 * CENT // 100, 1),
    ]


@pytest.fixture
def busy(store: Store) -> Rig:
    """Thirty traces; calls of them grow, shrink, lose their price, move and turn out to be shown twice."""
    rig = Rig(store)
    chance = random.Random(5)
    tenants, agents, models = ["acme", "globex", None], ["planner", None], ["gpt-4o", "gpt-4o-mini", "no-such-model"]

    def version(span: int, trace: int, end_s: int) -> Any:
        name = chance.choice(models)
        attribution = {"tenant": chance.choice(tenants), "agent": chance.choice(agents)}
        known = {key: value for key, value in attribution.items() if value}
        usage = {"input_uncached": chance.randrange(1, 5) * 7, "output": chance.randrange(1, 5)} if chance.random() < 0.9 else {}
        at_s = chance.randrange(400) * 60
        start_ns = call(1).start_ns + at_s * SECOND
        return call(
            span, trace, parent=trace * 100, at_s=at_s, end_ns=start_ns + end_s * SECOND, attribution=known, usage=usage,
            request_model=name, price_models=(name,),
        )  # fmt: skip

    spans = [(trace * 100 + n, trace) for trace in range(1, 31) for n in range(1, chance.randrange(2, 6))]
    rig.settle(*(version(span, trace, 1) for span, trace in spans))
    for step in range(2, 5):
        rig.settle(*(version(span, trace, step) for span, trace in spans if chance.random() < 0.4))
    rig.settle(*(plain(t * 100, t, kind=AGENT, genai=True, attribution={"cost_center": "rd", "tenant": "acme"}) for t in range(3, 20)))
    assert {entry.kind for entry in rig.entries()} >= {"charge", "reversal", "reattribution"}
    return rig


QUERIES = [
    TraceQuery(None),
    TraceQuery(("acme",)),
    TraceQuery(("globex", "default")),
    TraceQuery(()),
    TraceQuery(None, filters={"model": "gpt-4o"}),
    TraceQuery(("acme",), filters={"cost_center": "rd", "agent": "planner"}),
    TraceQuery(None, filters={"cost_method": "unpriced", "unpriced_reason": "unknown_model"}),
    TraceQuery(None, from_ns=call(1).start_ns + 6000 * SECOND, to_ns=call(1).start_ns + 15000 * SECOND),
]


def test_order_figures_and_pages_are_those_of_what_stands(busy: Rig) -> None:
    for query in QUERIES:
        wanted = expected(busy, query)
        for sort in SORTS:
            for limit in (1, 7, 100):
                found = pages(busy, query._replace(sort=sort, limit=limit))
                assert {one.trace_id: one for one in found} == wanted
                assert len(found) == len(wanted)
                places = [place(one, sort) for one in found]
                assert places == sorted(places, reverse=True)


def test_many_small_amounts_stand_above_one_middling_amount(store: Store) -> None:
    """100 calls of 0.9 micro-USD (90 in all) beside one of 80: the parts in which money is summed must not decide.

    gpt-4o-mini costs 0.15 USD a million tokens in: 6 tokens are 0.9 micro-USD; gpt-4o 2.50: 32 tokens are 80.
    """
    rig = Rig(store)
    small = {"request_model": "gpt-4o-mini", "price_models": ("gpt-4o-mini",), "usage": {"input_uncached": 6}}
    rig.settle(call(1, 2, usage={"input_uncached": 32}), *(call(n, 1, at_s=n * 120, **small) for n in range(10, 110)))
    assert [(one.trace_id, one.cost_pico) for one in pages(rig, TraceQuery(None, limit=1))] == [
        (trace_id(1), 90_000_000),
        (trace_id(2), 80_000_000),
    ]


@pytest.mark.parametrize(
    "query", [TraceQuery(None, sort="name"), TraceQuery(None, filters={"span": "1"}), TraceQuery(None, after=(1, 2, 3, 4))]
)
def test_unknown_orders_filters_and_places_are_refused(store: Store, query: TraceQuery) -> None:
    with pytest.raises(BadInput), store.read() as transaction:
        search_traces(transaction, query)
