"""Attribution down the tree: nearest known value, whatever shape a sender gives the tree."""

from __future__ import annotations

import random
import time
from typing import Any

from scenes import TRACE, call, span, tool

from otel_finops.genai.inheritance import resolve
from otel_finops.genai.kinds import GRAPH_NODE
from otel_finops.genai.sighting import Sighting


def attribution(*sightings: Sighting, of: str) -> dict[str, str]:
    return resolve(sightings)[TRACE, of]


def test_the_nearest_value_wins_key_by_key() -> None:
    spans = (
        span("server", attribution={"tenant": "acme", "user": "u-1"}),
        span("agent", "server", attribution={"agent": "a", "user": "u-2"}),
        call("c", "agent", attribution={"session": "s"}),
    )
    assert attribution(*spans, of="c") == {"tenant": "acme", "user": "u-2", "agent": "a", "session": "s", "step": "agent"}


def test_baggage_and_resource_are_weaker_than_any_ancestor() -> None:
    spans = (span("server", attribution={"tenant": "acme"}), call("c", "server", defaults={"tenant": "other", "service": "api"}))
    assert attribution(*spans, of="c")["tenant"] == "acme"
    assert attribution(*spans, of="c")["service"] == "api"
    assert "service" not in attribution(*spans, of="server")  # a resource speaks for its own spans only


def test_the_tenant_is_default_where_nobody_names_one() -> None:
    assert attribution(call("c"), of="c") == {"tenant": "default"}


def test_a_stated_step_beats_every_name() -> None:
    spans = (span("plan", attribution={"step": "planning"}), span("chain", "plan"), call("c", "chain"))
    assert attribution(*spans, of="c")["step"] == "planning"


def test_the_step_is_the_nearest_named_span_that_is_no_model_call() -> None:
    spans = (span("retrieve"), span("nameless", "retrieve", span_name=""), call("wrapper", "nameless"), call("c", "wrapper"))
    assert attribution(*spans, of="c")["step"] == "retrieve"
    assert attribution(*spans, of="retrieve")["step"] == "retrieve"


def test_the_tool_that_runs_an_agent_is_inherited() -> None:
    assert attribution(tool("ask"), call("c", "ask"), of="c")["tool"] == "ask"


def test_another_trace_with_the_same_span_ids_gives_nothing() -> None:
    answer = resolve([span("p", trace="f" * 32, attribution={"user": "u"}), call("c", "p")])
    assert "user" not in answer[TRACE, "c"]


def test_a_self_parent_is_a_root() -> None:
    assert attribution(call("c", "c", attribution={"user": "u"}), of="c")["user"] == "u"


def test_a_cycle_is_cut_at_its_smallest_span_whatever_the_order() -> None:
    spans = [span(name, parent, attribution={"user": name}) for name, parent in (("a", "c"), ("b", "a"), ("c", "b"))]
    spans += [call("d", "c"), call("e", "a")]
    for _ in range(5):
        random.Random(_).shuffle(spans)
        answer = resolve(spans)
        assert [answer[TRACE, name]["user"] for name in "abcde"] == ["a", "b", "c", "c", "a"]


def test_several_roots_and_a_missing_parent() -> None:
    spans = (span("one", attribution={"user": "1"}), span("two", attribution={"user": "2"}), call("a", "two"), call("b", "never-sent"))
    assert attribution(*spans, of="a")["user"] == "2"
    assert "user" not in attribution(*spans, of="b")


def test_a_chain_of_a_hundred_thousand_spans() -> None:
    chain = [span("0", attribution={"user": "u", "tenant": "acme"})]
    chain += [span(str(i), str(i - 1), attribution={"step": str(i)} if i % 2 else {}) for i in range(1, 100_000)]
    random.Random(1).shuffle(chain)
    started = time.process_time()
    answer = resolve(chain)
    assert time.process_time() - started < 2.0
    assert answer[TRACE, "99998"] == {"user": "u", "tenant": "acme", "step": "99997"}


def graph(name: str, parent: str | None, node: str, **facts: Any) -> tuple[Sighting, ...]:
    """A graph's span, one node of it, and a model call in the node."""
    inner = span(f"{name}.{node}", name, operation=GRAPH_NODE, **facts)
    return span(name, parent, **facts), inner, call(f"{name}.call", inner.span_id, **facts)


def test_a_graphs_name_is_its_agent_and_its_nodes_names_are_not() -> None:
    spans = (*graph("supervisor", None, "agent"), tool("ask", "supervisor.agent"), *graph("researcher", "ask", "agent"))
    assert attribution(*spans, of="supervisor.call")["agent"] == "supervisor"
    assert attribution(*spans, of="researcher.call")["agent"] == "researcher"


def test_a_graph_that_nobody_named_is_no_agent() -> None:
    spans = (*graph("supervisor", None, "agent"), span("LangGraph", "supervisor.agent"), *graph("LangGraph", "supervisor.agent", "model"))
    assert attribution(*spans, of="LangGraph.call")["agent"] == "supervisor"


def test_an_outer_agents_name_on_an_inner_graphs_spans_is_not_believed() -> None:
    """JavaScript hands the caller's metadata on: all spans of the researcher say that they are the supervisor's."""
    said = {"attribution": {"agent": "supervisor", "user": "u-7"}}
    spans = (*graph("supervisor", None, "model", **said), tool("ask", "supervisor.model"), *graph("researcher", "ask", "model", **said))
    deepest = (*graph("checker", "researcher.model", "model", **said), *graph("supervisor2", "researcher.model", "model"))
    assert attribution(*spans, of="supervisor.call")["agent"] == "supervisor"
    assert attribution(*spans, of="researcher.call") | {"step": ""} == {
        "agent": "researcher",
        "user": "u-7",
        "tool": "ask",
        "tenant": "default",
        "step": "",
    }
    assert attribution(*spans, *deepest, of="checker.call")["agent"] == "checker"
    assert attribution(*spans, *deepest, of="supervisor2.call")["agent"] == "supervisor2"


def test_what_a_graph_says_itself_beats_its_name() -> None:
    spans = graph("run of today", None, "model", attribution={"agent": "researcher"})
    assert attribution(*spans, of="run of today.call")["agent"] == "researcher"
