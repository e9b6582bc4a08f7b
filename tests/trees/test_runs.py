"""Runs and sessions, read back: lists, one run in full, what links connect, and the history of one span."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from genai_corpus import case
from ledger_rig import CENT, SECOND, Rig, call, plain, span_id, trace_id
from other_prices import TimesPrices

from otel_finops.base.errors import BadInput
from otel_finops.genai.sighting import AGENT, TOOL, WORKFLOW, Sighting
from otel_finops.ledger.corrections import Corrector, Selection
from otel_finops.ledger.history import changed
from otel_finops.ledger.reprice import reprice
from otel_finops.operations.trees_desk import TreesDesk
from otel_finops.store.engine import Store
from otel_finops.trees.cost_tree import grow
from otel_finops.trees.labels import labels_of
from otel_finops.trees.queries import RUN_SORTS, SESSION_SORTS, RunQuery, RunSummary, SessionQuery, TraceQuery
from otel_finops.trees.ranking import search_traces
from otel_finops.trees.run_reads import RunShown
from otel_finops.trees.runs import find_run, view
from otel_finops.trees.search import read_tree

COST = 35 * CENT // 100
"""Of one `call()`: 0.0035 USD."""
PICO = 10**12


def usd(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole) * PICO + int(part.ljust(12, "0"))


def agent(span: int, trace: int = 1, parent: int | None = None, *, kind: str = AGENT, **more: Any) -> Sighting:
    return plain(span, trace, parent, kind=kind, genai=True, name=f"agent {span}", **more)


def tool(span: int, name: str, parent: int, **more: Any) -> Sighting:
    return plain(span, 1, parent, kind=TOOL, genai=True, name=f"tool {name}", attribution={"tool": name}, **more)


def desk(rig: Rig) -> TreesDesk:
    return TreesDesk(rig.store, rig.subjects)


def shown(rig: Rig, span: int, trace: int = 1, tenants: Any = None) -> RunShown:
    found = desk(rig).run(trace_id(trace), span_id(span), tenants)
    assert found is not None
    return found


def numbers(runs: Any) -> list[int]:
    return [int(one.span_id, 16) for one in runs]


@pytest.fixture
def nested(store: Store) -> Rig:
    """A planner (1) calls, then asks a helper (4) by a tool (3) that fails; the helper searches (6), and its second call fails."""
    rig = Rig(store)
    rig.settle(
        agent(1, attribution={"agent": "planner", "session": "s-1", "user": "ann"}),
        call(2, parent=1, finish_reasons=("tool_calls",), attribution={"step": "plan"}),
        tool(3, "ask", 1, error_type="ToolError"),
        agent(4, parent=3, attribution={"agent": "helper"}, error_type="GaveUp"),
        call(5, parent=4, at_s=300, finish_reasons=("length",), attribution={"step": "help"}),
        tool(6, "search", 4),
        call(7, parent=4, at_s=600, usage={}, error_type="429", missing_reason=None, attribution={"step": "help"}),
    )
    return rig


def test_one_run_in_full(nested: Rig) -> None:
    found = shown(nested, 1)
    line = found.view.line
    assert (line.agent, line.cost_pico, line.own_pico, line.calls, line.own_calls) == ("planner", 2 * COST, COST, 3, 1)
    assert (line.failed_calls, line.tools, line.failed_tools, line.finish_reason, line.error_type) == (1, 2, 1, "tool_calls", None)
    assert [(one.step, one.agent, one.pico, one.calls, one.failed_calls) for one in found.view.steps] == [
        ("plan", "planner", COST, 1, 0),
        ("help", "helper", COST, 2, 1),
    ]
    assert [(one.tool, one.uses, one.failures, one.pico, one.calls, one.errors) for one in found.view.tools] == [
        ("ask", 1, 1, COST, 2, {"ToolError": 1}),
        ("search", 1, 0, 0, 0, {}),
    ]
    assert [(int(one.entry.span_id, 16), int(one.run, 16), one.finish_reasons) for one in found.view.calls] == [
        (2, 1, ("tool_calls",)),
        (5, 4, ("length",)),
        (7, 4, ()),
    ]
    failures = {(int(one.span_id, 16), one.kind, one.error_type) for one in found.view.failures}
    assert failures == {(3, "tool", "ToolError"), (4, "agent", "GaveUp"), (7, "call", "429")}
    [below] = found.view.runs
    assert (int(below.span_id, 16), below.depth, below.agent, below.cost_pico, below.finish_reason) == (4, 1, "helper", COST, "length")
    assert found.row is not None
    assert (found.row.user, found.row.session, found.pending) == ("ann", "s-1", False)


def test_the_sums_of_runs_are_those_of_the_tree_and_of_the_list(nested: Rig) -> None:
    with nested.store.read() as transaction:
        tree = read_tree(transaction, trace_id(1), None)
    assert tree is not None
    nodes = {int(node.span_id, 16): node for node in tree.nodes}
    listed = {int(one.span_id, 16): one for one in desk(nested).runs(RunQuery(None)).runs}
    assert sorted(listed) == [1, 4]
    for span, row in listed.items():
        line = shown(nested, span).view.line
        assert line.cost_pico == row.cost_pico == nodes[span].subtree_pico
        assert line.calls == row.calls == nodes[span].calls
        assert line.tokens == row.tokens == nodes[span].tokens
        for name in ("own_pico", "own_calls", "failed_calls", "unpriced_calls", "tools", "failed_tools", "finish_reason", "agent"):
            assert getattr(line, name) == getattr(row, name)


def test_what_is_no_run_or_somebody_elses_is_not_there(nested: Rig) -> None:
    assert desk(nested).run(trace_id(1), span_id(3), None) is None
    assert desk(nested).run(trace_id(9), span_id(1), None) is None
    assert desk(nested).run(trace_id(1), span_id(1), ("acme",)) is None
    assert desk(nested).runs(RunQuery(("acme",))).runs == []


def test_setting_up_an_agent_is_no_run(store: Store) -> None:
    rig = Rig(store)
    rig.settle(agent(1, operation="create_agent"), call(2, parent=1))
    assert desk(rig).runs(RunQuery(None)).runs == []
    assert desk(rig).run(trace_id(1), span_id(1), None) is None


def test_the_other_span_of_a_call_tells_why_it_ended(store: Store) -> None:
    """The framework's span stands, the client's below it is the duplicate that knows the reason."""
    rig = Rig(store)
    outer = call(2, parent=1, scope="framework", rank=2, response_id="r-1")
    rig.settle(agent(1), outer, call(3, parent=2, response_id="r-1", finish_reasons=("stop",)))
    [one] = shown(rig, 1).view.calls
    assert one.finish_reasons == ("stop",)
    assert desk(rig).runs(RunQuery(None)).runs[0].finish_reason == "stop"


def test_hand_offs_to_other_traces_are_shown_as_linked(store: Store) -> None:
    """Trace 2 links back to the planner's tool; trace 3 is linked to by the planner's call and has no run."""
    rig = Rig(store)
    rig.settle(
        agent(1), tool(3, "hand over", 1), call(2, parent=1, links=((trace_id(3), span_id(30)),)),
        plain(20, 2, links=((trace_id(1), span_id(3)),)), agent(21, 2, 20, attribution={"agent": "heir"}), call(22, 2, 21, at_s=300),
        call(30, 3, at_s=600),
    )  # fmt: skip
    linked = {(one.direction, one.trace_id, int(one.span_id, 16)): one for one in shown(rig, 1).linked}
    assert {key: (one.run, one.agent, one.cost_pico) for key, one in linked.items()} == {
        ("to", trace_id(3), 30): (False, None, COST),
        ("from", trace_id(2), 21): (True, "heir", COST),
    }
    assert shown(rig, 21, trace=2).linked == []  # the link starts above that run, at a span that is no part of it


def test_links_show_no_strangers_traces(store: Store) -> None:
    rig = Rig(store)
    rig.settle(
        agent(1, attribution={"tenant": "acme"}), tool(3, "hand over", 1), call(2, parent=1),
        agent(21, 2, links=((trace_id(1), span_id(3)),), attribution={"tenant": "globex"}), call(22, 2, 21, at_s=300),
    )  # fmt: skip
    assert [one.span_id for one in shown(rig, 1).linked] == [span_id(21)]
    assert shown(rig, 1, tenants=("acme",)).linked == []


# --- lists -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def many(store: Store) -> Rig:
    """Runs 10, 20, .. 90 in traces 1 to 9, a minute apart; run n0 has n calls, every third failed, the even ones are acme's."""
    rig = Rig(store)
    for n in range(1, 10):
        start_ns = call(1).start_ns + n * 60 * SECOND
        said = {
            "agent": "even" if n % 2 == 0 else "odd",
            "tenant": "acme" if n % 2 == 0 else "globex",
            "session": f"s-{n % 4}",
            "user": "ann",
        }
        error = "timeout" if n % 3 == 0 else None
        own = agent(10 * n, n, attribution=said, start_ns=start_ns, end_ns=start_ns + (20 - n) * SECOND, error_type=error)
        rig.settle(own, *(call(100 * n + k, n, 10 * n, at_s=60 * n + 300 * k) for k in range(n)))
    return rig


def run_pages(rig: Rig, query: RunQuery) -> list[RunSummary]:
    found: list[RunSummary] = []
    after = None
    while True:
        page = desk(rig).runs(query._replace(after=after))
        found += page.runs
        if page.next is None:
            return found
        assert len(page.runs) == query.limit
        after = page.next


@pytest.mark.parametrize("sort", RUN_SORTS)
@pytest.mark.parametrize("tenants", [None, ("acme",), ("acme", "globex")])
def test_pages_of_every_order(many: Rig, sort: str, tenants: Any) -> None:
    """The later a run, the dearer and the shorter it is."""
    wanted = [n * 10 for n in range(9, 0, -1) if tenants != ("acme",) or n % 2 == 0]
    if sort == "duration":
        wanted.reverse()
    assert numbers(run_pages(many, RunQuery(tenants, sort=sort, limit=2))) == wanted


def test_filters_of_runs(many: Rig) -> None:
    def of(**asked: Any) -> list[int]:
        return numbers(desk(many).runs(RunQuery(asked.pop("tenants", None), **asked)).runs)

    assert of(filters={"agent": "even"}) == [80, 60, 40, 20]
    assert of(filters={"session": "s-1"}) == [90, 50, 10]
    assert of(filters={"user": "nobody"}) == []
    assert of(failed=True) == [90, 60, 30]
    assert of(failed=False, tenants=("acme",)) == [80, 40, 20]
    assert of(min_pico=8 * COST) == [90, 80]
    start_ns = call(1).start_ns
    assert of(from_ns=start_ns + 120 * SECOND, to_ns=start_ns + 240 * SECOND) == [30, 20]
    with pytest.raises(BadInput, match="runs are filtered by"):
        of(filters={"colour": "red"})
    with pytest.raises(BadInput, match="of another order"):
        of(after=(1, 2))


def test_runs_in_other_runs_can_be_left_out(nested: Rig) -> None:
    assert numbers(desk(nested).runs(RunQuery(None, top=True)).runs) == [1]


def test_a_principal_sees_the_sums_of_its_own_tenants_alone(store: Store) -> None:
    """A run of acme with one call of its own and two of globex: 0.0035 USD to acme, 0.0105 to who sees both."""
    rig = Rig(store)
    rig.settle(
        agent(1, attribution={"tenant": "acme"}), call(2, parent=1),
        *(call(n, parent=1, at_s=300 * n, attribution={"tenant": "globex"}) for n in (3, 4)),
    )  # fmt: skip
    sums = {tenants: desk(rig).runs(RunQuery(tenants)).runs for tenants in (None, ("acme",), ("acme", "globex"), ("globex",))}
    assert {tenants: [(one.cost_pico, one.calls) for one in runs] for tenants, runs in sums.items()} == {
        None: [(3 * COST, 3)], ("acme",): [(COST, 1)], ("acme", "globex"): [(3 * COST, 3)], ("globex",): [],
    }  # fmt: skip
    for tenants in (None, ("acme",)):
        assert shown(rig, 1, tenants=tenants).view.line.cost_pico == sums[tenants][0].cost_pico


# --- sessions --------------------------------------------------------------------------------------------------------


def test_what_lies_among_others_runs_is_listed_as_it_is_shown(store: Store) -> None:
    """acme's planner calls globex' writer, which calls acme's checker with a call of 0.0035 USD; globex has a tool and a later call
    right in the planner."""
    rig = Rig(store)
    acme, globex = {"tenant": "acme"}, {"tenant": "globex"}
    rig.settle(
        agent(1, attribution=acme),
        agent(2, parent=1, attribution=globex),
        agent(3, parent=2, attribution=acme),
        call(4, parent=3, finish_reasons=("stop",)),
        plain(5, parent=1, kind=TOOL, genai=True, attribution={**globex, "tool": "find"}, error_type="timeout"),
        call(6, parent=1, attribution=globex, at_s=60, finish_reasons=("length",)),
    )
    listed = {tenants: desk(rig).runs(RunQuery(tenants)).runs for tenants in (("acme",), ("globex",), None)}
    told = [(int(one.span_id, 16), one.parent_run, one.children, one.cost_pico, one.own_pico) for one in listed["acme",]]
    assert sorted(told) == [(1, None, 1, COST, 0), (3, span_id(1), 0, COST, COST)]
    assert [(one.calls, one.own_calls, one.tools, one.failed_tools) for one in sorted(listed["acme",], key=lambda one: one.span_id)] == [
        (1, 0, 0, 0), (1, 1, 0, 0),
    ]  # fmt: skip
    assert [one.finish_reason for one in sorted(listed["acme",], key=lambda one: one.span_id)] == [None, "stop"]
    assert [(int(one.span_id, 16), one.parent_run, one.children, one.calls) for one in listed["globex",]] == [(2, None, 0, 0)]
    assert [(one.tools, one.calls) for one in listed[None] if one.span_id == span_id(1)] == [(1, 2)]
    for tenants, runs in listed.items():
        for one in runs:
            line = shown(rig, int(one.span_id, 16), tenants=tenants).view.line
            for name in ("parent_run", "finish_reason", "cost_pico", "own_pico", "calls", "own_calls", "tools", "failed_tools"):
                assert getattr(line, name) == getattr(one, name), (tenants, one.span_id, name)
    tops = {tenants: numbers(desk(rig).runs(RunQuery(tenants, top=True)).runs) for tenants in listed}
    assert tops == {("acme",): [1], ("globex",): [2], None: [1]}


def test_a_tree_goes_on_below_what_may_not_be_seen(store: Store) -> None:
    rig = Rig(store)
    rig.settle(agent(1, attribution={"tenant": "acme"}), agent(2, parent=1, attribution={"tenant": "globex"}))
    rig.settle(call(3, parent=2, attribution={"tenant": "acme"}))
    with rig.store.read() as transaction:
        tree = read_tree(transaction, trace_id(1), ("acme",))
    assert tree is not None
    assert [(int(node.span_id, 16), node.parent_span_id, node.depth) for node in tree.nodes] == [(1, None, 0), (3, span_id(1), 1)]
    assert tree.nodes[0].subtree_pico == COST


@pytest.mark.parametrize("sort", SESSION_SORTS)
def test_sessions_in_every_order_and_page_by_page(many: Rig, sort: str) -> None:
    """s-1 has runs 1, 5 and 9 (15 calls), s-0 4 and 8 (12), s-3 3 and 7 (10), s-2 2 and 6 (8); the last calls are those of 9, 8, 7, 6."""
    found: list[Any] = []
    after = None
    while after is not None or not found:
        page = desk(many).sessions(SessionQuery(None, sort=sort, limit=3, after=after))
        found += page.sessions
        after = page.next
        if after is None:
            break
    assert [(one.session, one.calls, one.cost_pico, one.traces, one.runs) for one in found] == [
        ("s-1", 15, 15 * COST, 3, 3), ("s-0", 12, 12 * COST, 2, 2), ("s-3", 10, 10 * COST, 2, 2), ("s-2", 8, 8 * COST, 2, 2),
    ]  # fmt: skip
    assert found[0].users == ["ann"]


def test_sessions_of_a_tenant_a_user_and_a_time(many: Rig) -> None:
    def of(tenants: Any = None, **asked: Any) -> list[tuple[str, int]]:
        return [(one.session, one.calls) for one in desk(many).sessions(SessionQuery(tenants, **asked)).sessions]

    assert of(("acme",)) == [("s-0", 12), ("s-2", 8)]
    assert of(user="ann", sort="calls")[0] == ("s-1", 15)
    assert of(user="nobody") == []
    start_ns = call(1).start_ns
    assert of(from_ns=start_ns + 500 * SECOND, sort="calls") == [("s-1", 9)]


def test_the_course_of_a_session(many: Rig) -> None:
    first = desk(many).session("s-1", None, None, 2)
    assert first is not None
    assert first.next is not None
    second = desk(many).session("s-1", None, first.next, 2)
    assert second is not None
    assert [(one.trace_id, one.cost_pico, one.so_far_pico) for one in (*first.traces, *second.traces)] == [
        (trace_id(1), COST, COST), (trace_id(5), 5 * COST, 6 * COST), (trace_id(9), 9 * COST, 15 * COST),
    ]  # fmt: skip
    assert (second.next, first.summary.cost_pico) == (None, 15 * COST)
    assert desk(many).session("s-1", ("acme",), None, 2) is None
    assert desk(many).session("s-7", None, None, 2) is None


def test_an_erased_session_is_known_by_its_reference(many: Rig) -> None:
    with many.store.write() as transaction:
        [(ref,)] = transaction.execute("SELECT ref FROM subjects WHERE clear = 's-1'")
        transaction.execute("DELETE FROM subjects WHERE clear = 's-1'")
    assert desk(many).session("s-1", None, None, 9) is None
    found = desk(many).session(ref, None, None, 9)
    assert found is not None
    assert (found.summary.session, found.summary.calls) == (ref, 15)


def test_traces_by_user_session_and_failure(many: Rig) -> None:
    def of(**asked: Any) -> list[tuple[str, int]]:
        with many.store.read() as transaction:
            return [(one.trace_id, one.calls) for one in search_traces(transaction, TraceQuery(None, **asked)).traces]

    assert of(filters={"session": "s-1"}) == [(trace_id(9), 9), (trace_id(5), 5), (trace_id(1), 1)]
    assert of(filters={"session": "s-1", "agent": "odd"}, failed=False) == [(trace_id(9), 9), (trace_id(5), 5), (trace_id(1), 1)]
    assert of(failed=True) == []
    start_ns = call(1).start_ns
    assert of(from_ns=start_ns + 540 * SECOND, to_ns=start_ns + 541 * SECOND) == [(trace_id(9), 1), (trace_id(4), 1)]


def test_traces_that_cost_so_much_at_least(many: Rig) -> None:
    """Trace n has n calls: from seven calls' cost on these are 9, 8 and 7, and a page of them goes on behind the first two."""
    query = TraceQuery(None, min_pico=7 * COST, limit=2)
    with many.store.read() as transaction:
        first = search_traces(transaction, query)
        rest = search_traces(transaction, query._replace(after=first.next))
    assert [one.trace_id for one in (*first.traces, *rest.traces)] == [trace_id(9), trace_id(8), trace_id(7)]
    assert rest.next is None


def test_what_traces_are_called(nested: Rig) -> None:
    """By the planner's run, whose helper is named beside it; of its three calls one failed. The first begins at 0 s, the last at 600 s."""
    with nested.store.read() as transaction:
        found = labels_of(transaction, [trace_id(1), trace_id(2)], None)
        assert labels_of(transaction, [trace_id(1)], ("acme",)) == {}
    [((realm, trace), label)] = found.items()
    assert (realm, trace, label.name, list(label.agents)) == ("default", trace_id(1), "agent 1", ["planner", "helper"])
    assert (label.error_type, label.failed_calls, label.duration_ns >= 600 * SECOND) == (None, 1, True)


# --- one span --------------------------------------------------------------------------------------------------------


def test_the_history_of_a_call(store: Store) -> None:
    """Charged, moved to the agent that came late, then repriced threefold by a run that says who and why."""
    rig = Rig(store)
    rig.settle(call(2, parent=1))
    rig.settle(agent(1, attribution={"agent": "planner"}))
    engine: Any = TimesPrices(3)
    corrector = Corrector(rig.store, rig.leases, engine, [rig.rollups, rig.figures], rig.clock, sleep=rig.clock.advance)
    reprice(corrector, Selection(0, 2**62), who="ann", why="new contract")
    found = desk(rig).history(trace_id(1), span_id(2), None, None)
    assert found is not None
    assert [step.entry.kind for step in found.steps] == ["charge", "reattribution", "correction"]
    assert [changed(step)[:2] for step in found.steps] == [[], ["agent", "step"], ["cost_pico", "price_version"]]
    last = found.steps[-1]
    assert last.after is not None
    assert last.run is not None
    assert (last.after.cost_pico, last.run.asked.who, last.run.asked.why) == (3 * COST, "ann", "new contract")
    assert desk(rig).history(trace_id(1), span_id(2), ("acme",), None) is None
    assert desk(rig).history(trace_id(1), span_id(9), None, None) is None
    assert desk(rig).history(trace_id(1), span_id(2), None, "elsewhere") is None


def test_a_call_names_the_spans_that_count_in_it(store: Store) -> None:
    rig = Rig(store)
    rig.settle(call(2, response_id="r-1", scope="framework", rank=2), call(3, parent=2, response_id="r-1"))
    standing = next(span for span, entry in rig.net().items() if entry.role == "call")
    found = desk(rig).history(trace_id(1), standing, None, None)
    assert found is not None
    assert [one.role for one in found.counted] == ["duplicate"]


@pytest.mark.parametrize(
    ("filters", "spans"),
    [
        ({"model": "gpt-4o-mini"}, [3]),
        ({"status": "failed"}, [4]),
        ({"status": "ok"}, [3, 2]),
        ({"tag": "team=search"}, [2]),
        ({"tag": 'odd "key=x=y'}, [3]),
        ({"trace_id": trace_id(1), "service_tier": "flex"}, [2]),
        ({"trace_id": trace_id(2)}, []),
    ],
)
def test_filters_of_rows(store: Store, filters: dict[str, str], spans: list[int]) -> None:
    rig = Rig(store)
    rig.settle(
        call(2, tags={"team": "search"}, service_tier="flex"),
        call(3, at_s=300, response_model="gpt-4o-mini", price_models=("gpt-4o-mini",), tags={'odd "key': "x=y"}),
        call(4, at_s=600, usage={}, error_type="429", missing_reason=None),
    )
    assert numbers(rig.reader.usage(None, filters=filters).entries) == spans


def test_a_tag_is_a_key_and_a_value(store: Store) -> None:
    with pytest.raises(BadInput, match="KEY=VALUE"):
        Rig(store).reader.usage(None, filters={"tag": "team"})


# --- large and real ones ---------------------------------------------------------------------------------------------


def test_a_chain_of_a_hundred_thousand_agents() -> None:
    """Nothing recurses: every agent runs the next one."""
    count = 100_000
    chain = [agent(n, 1, n - 1 if n > 1 else None, kind=WORKFLOW if n % 2 else AGENT) for n in range(1, count + 1)]
    began = time.perf_counter()
    grown = grow(chain, [])
    at = find_run(grown, span_id(1))
    assert at is not None
    found = view(grown, at, {})
    assert len(found.runs) == count - 1
    assert found.runs[-1].depth == count - 1
    assert time.perf_counter() - began < 30


@pytest.mark.parametrize("name", ["mastra-0.24__nested-agents", "pydantic-ai__nested-agents"])
def test_a_recorded_router_with_its_specialist(store: Store, corpus: Path, name: str) -> None:
    """The router's two calls cost 0.0101025 and 0.0076225 USD, the specialist's one 0.039792, asked by the tool `ask_specialist`."""
    rig = Rig(store)
    rig.settle(*case(corpus, name).sightings())
    runs = {(one.agent, one.calls): one for one in desk(rig).runs(RunQuery(None)).runs}
    router, specialist = runs["router", 3], next(one for one in runs.values() if one.agent == "specialist" and one.parent_run)
    assert (router.cost_pico, router.own_pico, router.tools) == (usd("0.057517"), usd("0.017725"), 1)
    assert (specialist.cost_pico, specialist.parent_run, specialist.trace_id) == (usd("0.039792"), router.span_id, router.trace_id)
    found = desk(rig).run(router.trace_id, router.span_id, None)
    assert found is not None
    assert [(one.tool, one.uses) for one in found.view.tools] == [("ask_specialist", 1)]
    assert sum(step.pico for step in found.view.steps) == router.cost_pico
    assert [one.entry.cost_pico for one in found.view.calls] == [usd("0.0101025"), usd("0.039792"), usd("0.0076225")]
