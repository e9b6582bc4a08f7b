"""Gateways: their view of an application's call, wherever it stands; their attempts; their caches."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from scenes import TRACE, agent, call, charged, decided, span, tool

from otel_finops.genai.roles import decide
from otel_finops.genai.sighting import RANK_GATEWAY, Sighting
from otel_finops.trees.notes import RULES as EXPLAINED

FAR = "b" * 32
THIRD = "c" * 32
PROXY: dict[str, Any] = {"scope": "litellm", "instance": "gateway", "rank": RANK_GATEWAY}
REAL: dict[str, Any] = {"provider": "anthropic", "request_model": "claude-sonnet-4-5", "price_models": ("claude-sonnet-4-5",)}
ALIAS: dict[str, Any] = {"request_model": "backup", "response_model": "backup", "price_models": ("backup",)}


def gateway(name: str, parent: str | None = None, tokens: tuple[int, int] | None = (100, 10), **facts: Any) -> Sighting:
    return call(name, parent, tokens, **{**PROXY, **facts})


def failed(name: str, parent: str | None = None, **facts: Any) -> Sighting:
    return gateway(name, parent, None, **{"error_type": "RateLimitError", **facts})


def request(name: str, parent: str | None = None, **facts: Any) -> Sighting:
    return span(name, parent, span_name="Received Proxy Server Request", **{**PROXY, "genai": False, **facts})


def test_below_the_applications_call_the_gateway_may_know_another_model_and_provider() -> None:
    decisions = decided(
        agent("helper"), call("app", "helper", **ALIAS), request("r", "app"), gateway("gw", "r", at=0.1, to=0.9, **REAL)
    )  # fmt: skip
    assert charged(decisions) == ["app"]  # nearest the agent
    assert decisions["gw"][1:] == ("duplicate", (TRACE, "app"), "merge.nested_numbers")
    booked = decisions["app"].sighting
    assert (booked.provider, booked.request_model, booked.response_model) == ("anthropic", "claude-sonnet-4-5", None)
    assert booked.price_models == ("claude-sonnet-4-5",)


def test_another_model_below_a_call_of_which_none_is_a_gateways_is_no_twin() -> None:
    decisions = decided(call("app", **ALIAS), call("other", "app", at=0.1, to=0.9, scope="sdk", **REAL))
    assert decisions["app"].rule == "wrapper.sum"


@pytest.mark.parametrize("end", ["app", "http", "root"])
@pytest.mark.parametrize("trace", [TRACE, FAR])
def test_a_link_leads_to_the_call_to_a_span_in_it_or_only_to_its_trace(end: str, trace: str) -> None:
    linked = request("r", trace=trace, links=((TRACE, end),))
    decisions = decided(
        span("root"), call("app", "root", **ALIAS), span("http", "app"), linked, gateway("gw", "r", trace=trace, at=0.1, to=0.9, **REAL)
    )  # fmt: skip
    joined = {decision.role for decision in decisions.values()} == {"call", "duplicate"}
    assert joined is (trace == FAR or end != "root")  # within a trace the root is everybody's: that links nothing
    if joined:
        assert "merge.linked_numbers" in {decision.rule for decision in decisions.values()}


def test_the_application_may_link_to_the_gateway_as_well() -> None:
    assert len(charged(decided(call("app", links=((FAR, "gw"),), **ALIAS), gateway("gw", trace=FAR, **REAL)))) == 1


def test_links_of_parallel_calls_with_equal_numbers_pair_each_with_its_own() -> None:
    spans = [call("a", **ALIAS), call("b", **ALIAS)]
    spans += [gateway("ga", trace=FAR, links=((TRACE, "a"),), **REAL), gateway("gb", trace=THIRD, links=((TRACE, "b"),), **REAL)]
    decisions = decided(*spans)
    pairs = {frozenset((name, decision.counted_in[1])) for name, decision in decisions.items() if decision.counted_in}
    assert pairs == {frozenset(("a", "ga")), frozenset(("b", "gb"))}


def test_without_link_and_id_another_services_equal_numbers_are_another_call() -> None:
    assert charged(decided(call("app"), gateway("gw", trace=FAR))) == ["app", "gw"]


def test_in_an_unlinked_trace_the_answer_id_joins_and_the_model_may_be_an_alias() -> None:
    decisions = decided(call("app", response_id="r1", **ALIAS), gateway("gw", trace=FAR, response_id="r1", at=0.1, to=0.9, **REAL))
    assert decisions["gw"][1:] == ("duplicate", (TRACE, "app"), "merge.response_id")
    assert decisions["app"].sighting.price_models == ("claude-sonnet-4-5",)


def test_one_id_with_another_model_at_another_time_is_another_call() -> None:
    assert (
        len(charged(decided(call("app", response_id="r1", **ALIAS), gateway("gw", trace=FAR, response_id="r1", at=9, to=10, **REAL)))) == 2
    )


def test_a_stream_without_counts_takes_the_gateways_by_its_answer_id() -> None:
    app = call("app", tokens=None, response_id="r1", streaming=True, missing_reason="no_usage_stream", **ALIAS)
    decisions = decided(app, gateway("gw", trace=FAR, response_id="r1", at=0.1, to=0.9, **REAL))
    assert len(charged(decisions)) == 1
    assert decisions[charged(decisions)[0]].sighting.usage == {"input_uncached": 100, "output": 10}


def test_failed_attempts_below_the_applications_call_are_no_further_calls() -> None:
    decisions = decided(
        call("app", to=5, **ALIAS), request("r", "app", to=5), failed("one", "r", to=1), failed("two", "r", at=1, to=2),
        gateway("fallback", "r", at=2, to=5, **REAL),
    )  # fmt: skip
    assert len(charged(decisions)) == 1
    standing = charged(decisions)[0]
    for name in ("one", "two"):
        assert decisions[name][1:] == ("duplicate", (TRACE, standing), "gateway.failed_attempt")
    assert decisions[standing].sighting.error_type is None


def test_failed_attempts_in_one_request_to_the_gateway_are_told_by_its_span() -> None:
    served = span("r", span_name="POST /v1/chat/completions", scope="fastapi", instance="gateway")
    decisions = decided(served, failed("one", "r", to=1), gateway("two", "r", at=2, to=3))
    assert decisions["one"].counted_in == (TRACE, "two")
    assert charged(decisions) == ["two"]


def test_when_all_attempts_failed_the_last_one_is_the_call() -> None:
    decisions = decided(request("r", to=9), failed("one", "r", to=1), failed("two", "r", at=2, to=3))
    assert charged(decisions) == ["two"]
    assert decisions["one"][1:] == ("duplicate", (TRACE, "two"), "gateway.failed_attempt")


def test_when_all_attempts_failed_the_applications_failed_call_is_the_last_one() -> None:
    app = call("app", tokens=None, error_type="RateLimitError", to=9)
    decisions = decided(app, request("r", "app", to=9), failed("one", "r", to=1), failed("two", "r", at=2, to=3))
    assert len(charged(decisions)) == 1
    assert decisions["one"].counted_in == (TRACE, charged(decisions)[0])


def test_an_attempt_that_timed_out_may_be_billed_and_stays() -> None:
    late = gateway("late", "r", None, error_type="Timeout", missing_reason="no_usage_timeout")
    assert charged(decided(request("r", to=9), late, gateway("two", "r", at=2, to=3))) == ["late", "two"]


def test_without_a_proxy_parallel_calls_of_the_library_are_no_attempts_of_each_other() -> None:
    assert charged(decided(span("root", span_name="POST /ask"), failed("one", "root"), gateway("two", "root"))) == ["one", "two"]


def test_attempts_in_a_tools_run_are_not_the_call_above_it() -> None:
    decisions = decided(call("app", to=9), tool("t", "app", to=9), failed("one", "t"), gateway("two", "t", (7, 7), at=2, to=3))
    assert charged(decisions) == ["app", "one", "two"]


def test_a_marked_answer_is_a_copy_of_nobody_knows_what() -> None:
    decisions = decided(gateway("gw", from_cache=True))
    assert decisions["gw"][1:] == ("gateway_copy", None, "gateway.cache_mark")


def test_the_application_sees_a_marked_answer_as_a_call_and_it_is_none() -> None:
    decisions = decided(call("app", to=2), gateway("gw", "app", at=0.5, to=1, from_cache=True))
    assert [decisions[name][1:] for name in ("app", "gw")] == [("gateway_copy", None, "gateway.cache_mark")] * 2


@pytest.mark.parametrize("days", [1, 90])
def test_a_marked_answer_points_at_the_billed_one_whatever_time_lies_between(days: int) -> None:
    later = days * 86_400
    decisions = decided(
        call("app1", response_id="r1"), gateway("gw1", "app1", at=0.1, to=0.9, response_id="r1"),
        call("app2", response_id="r1", trace=FAR, at=later, to=later + 1),
        gateway("gw2", "app2", trace=FAR, at=later + 0.1, to=later + 0.2, response_id="r1", from_cache=True),
    )  # fmt: skip
    assert charged(decisions) == ["gw1"]
    for name in ("app2", "gw2"):
        assert decisions[name][1:] == ("gateway_copy", (TRACE, "gw1"), "gateway.cached_answer")


@pytest.mark.parametrize("mark", [True, False])
@pytest.mark.parametrize("first", [call("first", response_id="r"), gateway("first", response_id="r")])
def test_the_billed_call_that_one_instrumentation_saw_stays_a_call_when_two_see_its_answer_again(first: Sighting, mark: bool) -> None:
    hour = {"trace": FAR, "response_id": "r"}
    again = call("app", at=3600, to=3601, **hour)
    decisions = decided(first, again, gateway("gw", "app", at=3600.1, to=3600.9, from_cache=mark, **hour))
    assert charged(decisions) == ["first"]
    for copy in ("app", "gw"):
        assert decisions[copy][1:] == ("gateway_copy", (TRACE, "first"), "gateway.cached_answer")


def test_a_marked_answer_that_only_the_gateway_saw_does_not_make_the_billed_call_free() -> None:
    decisions = decided(call("first", response_id="r"), gateway("gw", trace=FAR, at=3600, to=3601, response_id="r", from_cache=True))
    assert charged(decisions) == ["first"]
    assert decisions["gw"][1:] == ("gateway_copy", (TRACE, "first"), "gateway.cached_answer")


def test_a_gateway_nearer_to_the_cached_answer_shows_that_one_and_not_the_billed_call() -> None:
    decisions = decided(
        call("first", response_id="r"),
        call("app", trace=FAR, at=3600, to=3601, response_id="r"),
        gateway("gw", trace=THIRD, at=3600.1, to=3600.9, response_id="r"),
    )
    assert decisions["first"][1:] == ("call", None, "call.single")
    assert decisions["gw"][1:] == ("gateway_copy", (TRACE, "first"), "gateway.cached_answer")


@pytest.mark.parametrize("ids", [("one", "two", "two"), (None, None, None)])
def test_two_billed_attempts_with_equal_numbers_below_one_call_are_two(ids: tuple[str | None, ...]) -> None:
    """The gateway asked again after an answer that it did not like; the provider bills both."""
    decisions = decided(
        call("app", to=4, response_id=ids[2]),
        gateway("gw1", "app", at=0.1, to=1, response_id=ids[0]),
        gateway("gw2", "app", at=1.1, to=3.9, response_id=ids[1]),
    )
    assert len(charged(decisions)) == 2
    assert decisions["app"].role == "duplicate"


def test_a_stream_that_two_instrumentations_saw_without_counts_takes_the_gateways_by_its_answer_id() -> None:
    decisions = decided(
        call("framework", None, None, scope="framework", streaming=True, response_id="r"),
        call("client", "framework", None, streaming=True, response_id="r"),
        gateway("gw", trace=FAR, at=0.1, to=0.9, response_id="r"),
    )
    assert charged(decisions) == ["client"]
    assert decisions["client"].sighting.usage == {"input_uncached": 100, "output": 10}
    assert decisions["gw"].rule == "merge.response_id_no_usage"


def test_a_marked_answer_is_never_the_billed_one_though_a_clock_says_it_was_first() -> None:
    decisions = decided(gateway("marked", response_id="r", from_cache=True), gateway("billed", trace=FAR, at=60, to=61, response_id="r"))
    assert charged(decisions) == ["billed"]
    assert decisions["marked"].counted_in == (FAR, "billed")


def test_a_reported_cost_does_not_make_a_cached_answer_a_call() -> None:
    decisions = decided(gateway("gw", from_cache=True, reported_pico=7, reported_source="gen_ai.cost.total_cost"))
    assert charged(decisions) == []


def looked_up(parent: str, **facts: Any) -> Sighting:
    return span("lookup", parent, span_name="cache.get llm_response", scope="litellm", instance="gateway", **facts)


def test_a_look_up_after_which_nobody_was_asked_had_the_answer() -> None:
    served = span("r", "app", span_name="POST /v1/embeddings", scope="fastapi", instance="gateway")
    decisions = decided(call("app", tokens=(503, 0)), served, looked_up("r"))
    assert decisions["app"][1:] == ("gateway_copy", None, "gateway.cache_lookup")
    asked = decided(call("app", tokens=(503, 0)), served, looked_up("r"), gateway("gw", "r", (503, 0), at=0.1, to=0.9))
    assert len(charged(asked)) == 1


def test_a_look_up_for_a_call_without_counts_says_nothing() -> None:
    app = call("app", tokens=None, error_type="timeout", missing_reason="no_usage_timeout")
    assert charged(decided(app, looked_up("app"))) == ["app"]


def scenery() -> list[Sighting]:
    """All of it at once: twins by nesting, link and id, attempts, copies."""
    return [
        call("app1", to=5, response_id="r1", **ALIAS), request("q1", "app1", to=5), failed("bad", "q1", to=1),
        gateway("gw1", "q1", at=2, to=5, response_id="r1", **REAL),
        call("app2", trace=FAR, at=60, to=61, response_id="r1", **ALIAS),
        gateway("gw2", "app2", trace=FAR, at=60.1, to=60.2, response_id="r1", from_cache=True, **REAL),
        call("app3", tokens=(70, 7), at=10, to=12, **ALIAS),
        gateway("gw3", tokens=(70, 7), trace=THIRD, at=10.5, to=11, links=((TRACE, "app3"),), **REAL),
    ]  # fmt: skip


def test_order_and_repetition_change_nothing_and_each_rule_is_explained() -> None:
    expected = decide(scenery())
    assert [decision.sighting.span_id for decision in expected if decision.role == "call"] == ["app3", "gw1"]
    shuffle = random.Random(7)
    for _ in range(20):
        spans = scenery() + shuffle.sample(scenery(), 3)
        shuffle.shuffle(spans)
        assert decide(spans) == expected
    assert {decision.rule for decision in expected} <= {"call.single", *EXPLAINED}


def test_ten_thousand_linked_requests_with_failed_attempts_are_decided_in_seconds() -> None:
    spans: list[Sighting] = []
    for n in range(5_000):
        trace = f"{n:032x}"
        spans += [
            call(f"a{n}", at=n / 100, to=n / 100 + 1), request(f"r{n}", trace=trace, links=((TRACE, f"a{n}"),)),
            failed(f"f{n}", f"r{n}", trace=trace), gateway(f"g{n}", f"r{n}", trace=trace, at=n / 100, to=n / 100 + 1),
        ]  # fmt: skip
    started = time.monotonic()
    decisions = decide(spans)
    assert time.monotonic() - started < 20
    assert sum(decision.role == "call" for decision in decisions) == 5_000
