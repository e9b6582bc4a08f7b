"""One cost per call, whoever saw it: each rule and each trap by hand."""

from __future__ import annotations

import time
from typing import Any

import pytest
from scenes import TRACE, agent, call, charged, decided, roles, span, tool

OTHER_TRACE = "b" * 32
THIRD_TRACE = "c" * 32


def test_a_call_alone_stands_with_its_own_facts() -> None:
    decision = decided(span("root"), call("c", "root"))["c"]
    assert (decision.role, decision.counted_in, decision.rule) == ("call", None, "call.single")
    assert decision.sighting.usage == {"input_uncached": 100, "output": 10}


def test_only_candidates_get_a_decision() -> None:
    assert roles(span("root"), agent("helper", "root"), tool("search", "helper"), call("c", "helper")) == {"c": "call"}


def test_trap_1_the_vendors_sdk_under_an_instrumentation_is_the_same_call() -> None:
    decisions = decided(call("oi", scope="openinference"), call("sdk", "oi", at=0.1, to=0.9, scope="anthropic", rank=0))
    assert charged(decisions) == ["sdk"]  # most ancestors
    assert decisions["oi"][1:] == ("duplicate", (TRACE, "sdk"), "merge.nested_numbers")


def test_trap_2_the_clients_span_in_a_trace_of_its_own_is_the_same_call() -> None:
    decisions = decided(
        agent("supervisor"),
        call("framework", "supervisor", scope="langchain"),
        call("client", trace=OTHER_TRACE, at=0.1, to=0.9, scope="openai"),
    )
    assert charged(decisions) == ["framework"]  # nearest an agent
    assert decisions["client"].counted_in == (TRACE, "framework")
    assert decisions["client"].rule == "merge.equal_numbers"


def test_trap_2_in_another_service_instance_equal_numbers_are_two_calls() -> None:
    assert charged(decided(call("one", scope="a"), call("two", trace=OTHER_TRACE, scope="b", instance="other"))) == ["one", "two"]


def test_trap_2_the_answer_id_joins_across_services_traces_and_time() -> None:
    decisions = decided(
        call("app", scope="a", response_id="resp_68f0c1d29a"),
        call("gateway", trace=OTHER_TRACE, scope="b", instance="other", at=60, to=61, response_id="resp_68f0c1d29a"),
    )
    assert decisions["gateway"][1:] == ("duplicate", (TRACE, "app"), "merge.response_id")


def test_trap_3_a_sum_above_calls_is_a_wrapper() -> None:
    decisions = decided(
        call("sum", tokens=(300, 30), to=3, scope="framework"),
        call("one", "sum", (100, 10)),
        call("two", "sum", (200, 20), at=1, to=2),
    )
    assert charged(decisions) == ["one", "two"]
    assert decisions["sum"][1:] == ("wrapper", None, "wrapper.sum")


def test_trap_3_sums_of_sums_are_wrappers_too() -> None:
    decisions = decided(
        call("run", tokens=(600, 63), to=9),
        call("turn", "run", (300, 31), to=4),  # within 2 tokens a call
        call("one", "turn", (100, 10)),
        call("two", "turn", (200, 20)),
        call("three", "run", (300, 30)),
    )
    assert charged(decisions) == ["one", "three", "two"]


def test_trap_3_with_one_call_the_sum_equals_it_even_in_one_scope() -> None:
    decisions = decided(call("outer", scope="ai"), call("inner", "outer", scope="ai"))
    assert decisions["outer"][1:] == ("wrapper", (TRACE, "inner"), "wrapper.sum")


def test_trap_3_a_sum_over_calls_that_two_scopes_saw_counts_each_once() -> None:
    decisions = decided(
        call("sum", tokens=(300, 30), to=3, scope="framework"),
        call("one", "sum", (100, 10), scope="client"),
        call("one_sdk", "one", (100, 10), scope="sdk"),
        call("two", "sum", (200, 20), scope="client", at=1, to=2),
        call("two_sdk", "sum", (200, 20), scope="sdk", at=1, to=2),
    )
    assert decisions["sum"].role == "wrapper"
    assert charged(decisions) == ["one_sdk", "two"]


def test_trap_3_a_sum_may_leave_out_what_agents_below_have_spent() -> None:
    """A generation sums up its two steps; the specialist, asked in the first, has a generation of its own."""
    spans = (
        call("generation", tokens=(300, 30)),
        call("step-1", "generation", tokens=(100, 10)),
        agent("specialist", "step-1"),
        call("inner", "specialist", tokens=(70, 7)),
        call("step-2", "generation", tokens=(200, 20)),
    )
    assert roles(*spans) == {"generation": "wrapper", "step-1": "call", "inner": "call", "step-2": "call"}


def test_trap_3_a_sum_that_lost_the_cached_tokens_is_a_wrapper_all_the_same() -> None:
    whole = {"input_uncached": 87, "cache_write_1h": 4111, "output": 223}
    assert roles(call("generation", tokens=(87, 223)), call("step", "generation", usage=whole)) == {"generation": "wrapper", "step": "call"}


def test_trap_16_a_sum_with_a_false_input_bears_the_answer_id_of_its_last_call() -> None:
    spans = (
        call("generation", tokens=(900, 30), response_id="b"),
        call("step-1", "generation", tokens=(100, 10), response_id="a"),
        call("step-2", "generation", tokens=(200, 20), response_id="b"),
    )
    assert roles(*spans) == {"generation": "wrapper", "step-1": "call", "step-2": "call"}


def test_trap_9_a_wrapper_of_one_call_tells_how_long_its_cache_writes_live() -> None:
    """The step has the provider's answer, the inference under it only the sum of what was written."""
    step = call("step", usage={"input_uncached": 97, "cache_write_5m": 1801, "cache_write_1h": 1009, "output": 347}, service_tier="flex")
    inference = call("inference", "step", usage={"input_uncached": 97, "cache_write_5m": 2810, "output": 347})
    decisions = decided(step, inference)
    assert (decisions["step"].role, decisions["inference"].role) == ("wrapper", "call")
    assert decisions["inference"].sighting.usage == step.usage
    assert decisions["inference"].sighting.service_tier == "flex"


def test_trap_4_a_call_above_other_calls_stays_a_call() -> None:
    decisions = decided(
        call("first", tokens=(100, 10), to=9),
        tool("transfer", "first"),
        agent("other", "transfer"),
        call("second", "other", (150, 20)),
    )
    assert charged(decisions) == ["first", "second"]


def test_trap_4_a_call_whose_tool_makes_an_equal_call_stays_a_call() -> None:
    for scope in ("client", "another"):
        decisions = decided(call("first", to=9), tool("ask", "first"), call("second", "ask", at=1, to=2, scope=scope))
        assert charged(decisions) == ["first", "second"], scope


def test_trap_4_each_framework_call_takes_its_own_client_span() -> None:
    decisions = decided(
        call("f1", scope="adk", to=9),
        call("c1", "f1", scope="genai", to=1),
        tool("ask", "f1", at=1, to=9),
        call("f2", "ask", (150, 20), scope="adk", at=2, to=4),
        call("c2", "f2", (150, 20), scope="genai", at=2, to=3),
    )
    assert charged(decisions) == ["c1", "c2"]
    assert decisions["f1"].counted_in == (TRACE, "c1")
    assert decisions["f2"].counted_in == (TRACE, "c2")


def test_trap_5_equal_parallel_calls_of_one_scope_are_real() -> None:
    assert charged(decided(*(call(name, "root") for name in "abc"), span("root"))) == ["a", "b", "c"]


@pytest.mark.parametrize("nested", [True, False])
def test_trap_5_equal_parallel_calls_seen_by_two_scopes_are_paired_one_to_one(nested: bool) -> None:
    spans = [span("root")]
    for i in range(7):
        spans.append(call(f"f{i}", "root", scope="framework", at=i * 0.01, to=2))
        spans.append(call(f"c{i}", f"f{i}" if nested else "root", scope="client", at=i * 0.01 + 0.001, to=1.9))
    decisions = decided(*spans)
    assert len(charged(decisions)) == 7
    assert {d.counted_in for d in decisions.values() if d.role == "duplicate"} == {(TRACE, name) for name in charged(decisions)}


def test_trap_5_a_nested_pair_comes_before_a_closer_neighbour() -> None:
    decisions = decided(
        call("outer", scope="framework", at=0, to=5),
        call("under", "outer", scope="client", at=1, to=2),
        call("near", scope="client", at=0.01, to=2),
    )
    assert charged(decisions) == ["near", "under"]
    assert decisions["outer"].counted_in == (TRACE, "under")


def test_two_providers_asked_in_parallel_with_equal_numbers_are_two_calls() -> None:
    decisions = decided(
        call("one", scope="a", response_model="gpt-4o-2024-08-06"),
        call("two", scope="b", provider="anthropic", request_model="claude-sonnet-4-5"),
    )
    assert charged(decisions) == ["one", "two"]


def test_two_models_of_one_provider_that_both_answered_are_two_calls() -> None:
    decisions = decided(
        call("one", scope="a", response_model="gpt-4o-2024-08-06"),
        call("two", scope="b", request_model="gpt-4o-mini", response_model="gpt-4o-mini-2024-07-18"),
    )
    assert charged(decisions) == ["one", "two"]


def test_a_deployments_name_and_the_model_behind_it_are_one_call() -> None:
    decisions = decided(
        call("sk", scope="semantic_kernel", request_model="my-prod-deployment", price_models=("my-prod-deployment",)),
        call(
            "client", "sk", scope="openai", provider="azure", request_model="my-prod-deployment", response_model="gpt-4o-2024-08-06",
            price_models=("gpt-4o-2024-08-06", "my-prod-deployment"),
        ),
    )  # fmt: skip
    merged = decisions["client"].sighting
    assert charged(decisions) == ["client"]
    assert (merged.provider, merged.price_models[0]) == ("azure", "gpt-4o-2024-08-06")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06"),
        ("openai/gpt-4o", "gpt-4o"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("amazon.nova-pro-v1:0", "nova-pro-v1:0"),
        ("anthropic/claude-sonnet-4.5", "claude-sonnet-4-5-20250929"),
        ("models/gemini-2.0-flash-001", "gemini-2.0-flash"),
    ],
)
def test_models_agree_without_date_route_and_region(one: str, other: str) -> None:
    assert (
        len(
            charged(
                decided(call("a", scope="a", provider=None, request_model=one), call("b", scope="b", provider=None, request_model=other))
            )
        )
        == 1
    )


def test_equal_numbers_more_than_two_seconds_apart_are_two_calls() -> None:
    assert len(charged(decided(call("a", scope="a"), call("b", scope="b", at=2.9, to=4)))) == 1
    assert len(charged(decided(call("a", scope="a"), call("b", scope="b", at=3.1, to=4)))) == 2


def test_trap_7_the_input_may_agree_under_either_reading() -> None:
    exclusive = call("ex", scope="openlit", usage={"input_uncached": 91, "cache_read": 9, "output": 10}, input_readings=(91, 100))
    assert charged(decided(exclusive, call("in", "ex", scope="sdk"))) == ["in"]


def test_trap_14_outputs_agree_within_two_tokens() -> None:
    assert len(charged(decided(call("a", scope="a"), call("b", "a", (100, 12), scope="b")))) == 1
    assert len(charged(decided(call("a", scope="a"), call("b", "a", (100, 13), scope="b")))) == 2


def test_trap_11_retries_inside_one_framework_call_cost_nothing_by_themselves() -> None:
    decisions = decided(
        call("framework", scope="langchain", to=5),
        call("limited", "framework", None, scope="openai", error_type="RateLimitError", to=1),
        call("answered", "framework", scope="openai", at=2, to=5),
    )
    assert charged(decisions) == ["answered", "limited"]
    assert decisions["limited"].sighting.usage == {}
    assert decisions["framework"].counted_in == (TRACE, "answered")


def test_trap_11_a_framework_call_whose_attempts_all_failed_is_the_last_attempt() -> None:
    decisions = decided(
        call("framework", tokens=None, scope="langchain", error_type="RateLimitError", to=5),
        call("first", "framework", None, scope="openai", error_type="RateLimitError", to=1),
        call("second", "framework", None, scope="openai", error_type="RateLimitError", at=2, to=5),
    )
    assert charged(decisions) == ["first", "second"]
    assert decisions["framework"].counted_in == (TRACE, "second")


def test_trap_10_a_framework_that_lost_the_usage_is_no_further_unpriced_call() -> None:
    decisions = decided(
        agent("helper"),
        call("framework", "helper", None, scope="llamaindex", missing_reason="no_usage_stream", streaming=True),
        call("client", "framework", scope="openai"),
    )
    standing = decisions["framework"]
    assert charged(decisions) == ["framework"]  # nearest the agent, with the client's numbers
    assert (standing.sighting.usage, standing.sighting.missing_reason) == ({"input_uncached": 100, "output": 10}, None)
    assert standing.sighting.streaming is True
    assert decisions["client"].rule == "merge.nested_no_usage"


def test_trap_10_a_call_without_usage_above_several_is_a_wrapper() -> None:
    decisions = decided(call("outer", tokens=None, to=5), call("one", "outer"), call("two", "outer", (120, 12), at=2, to=3))
    assert decisions["outer"][1:] == ("wrapper", None, "wrapper.no_usage")


def test_trap_10_a_call_without_usage_whose_tool_runs_calls_is_unpriced_and_stays() -> None:
    decisions = decided(call("asks", tokens=None, to=9), tool("t", "asks"), call("inner", "t", at=1, to=2, scope="other"))
    assert charged(decisions) == ["asks", "inner"]


def test_trap_10_beside_its_measured_twin_a_call_without_usage_is_a_duplicate() -> None:
    decisions = decided(span("root"), call("f", "root", None, scope="framework"), call("c", "root", scope="client", at=0.1, to=0.9))
    assert len(charged(decisions)) == 1
    assert decisions[charged(decisions)[0]].sighting.usage == {"input_uncached": 100, "output": 10}


def test_a_call_without_usage_of_another_model_stays_unpriced() -> None:
    decisions = decided(span("root"), call("f", "root", None, scope="framework", request_model="gpt-5"), call("c", "root"))
    assert charged(decisions) == ["c", "f"]


def test_two_streams_without_usage_of_one_scope_are_two_unpriced_calls() -> None:
    assert charged(decided(call("a", tokens=None), call("b", tokens=None))) == ["a", "b"]


def test_logfire_streams_the_request_the_log_and_the_sdks_span_are_one_call() -> None:
    decisions = decided(
        call("request", tokens=None, scope="logfire", to=0.1),
        call("sdk", "request", scope="sdk", to=0.2),
        call("log", scope="logfire", at=0.5, to=0.5),
    )
    assert charged(decisions) == ["sdk"]
    assert {decisions[name].counted_in for name in ("request", "log")} == {(TRACE, "sdk")}


def test_trap_16_and_rule_3_an_agents_total_beside_known_calls_is_a_wrapper() -> None:
    for tokens in ((100, 10), None):  # priced or not
        total = agent("crew", usage={"input_uncached": 200, "output": 20}, input_readings=(200,))
        decisions = decided(total, call("c", "crew", tokens))
        assert decisions["crew"][1:] == ("wrapper", (TRACE, "c"), "aggregate.calls_known")


@pytest.mark.parametrize("operation", ["embeddings", "rerank"])
def test_rule_3_any_known_call_speaks_against_a_total(operation: str) -> None:
    """How much of the total a tool's embedding explains cannot be told, and nothing is charged twice."""
    total = agent("hosted", usage={"input_uncached": 5_000, "output": 200}, input_readings=(5_000,))
    decisions = decided(total, tool("search", "hosted"), call("c", "search", (300, 0), operation=operation))
    assert charged(decisions) == ["c"]
    assert decisions["hosted"].rule == "aggregate.calls_known"


def test_rule_3_of_hosted_agents_without_calls_only_the_outermost_is_charged() -> None:
    usage = {"usage": {"input_uncached": 200, "output": 20}, "input_readings": (200,)}
    decisions = decided(span("root"), agent("outer", "root", **usage), agent("inner", "outer", **usage), agent("beside", "root", **usage))
    assert charged(decisions) == ["beside", "outer"]
    assert decisions["outer"].rule == "aggregate.outermost"
    assert decisions["inner"][1:] == ("wrapper", (TRACE, "outer"), "aggregate.inner")


def test_rule_3_a_call_in_a_linked_trace_counts_as_known_both_ways() -> None:
    total = agent("hosted", usage={"input_uncached": 200, "output": 20}, input_readings=(200,))
    away = call("c", trace=OTHER_TRACE, tokens=(1, 1))
    assert roles(total._replace(links=((OTHER_TRACE, "c"),)), away)["hosted"] == "wrapper"
    assert roles(total, away._replace(links=((TRACE, "hosted"),)))["hosted"] == "wrapper"
    assert roles(total, away)["hosted"] == "call"


def test_rule_3_a_refused_call_cost_nothing_so_the_total_came_from_calls_that_are_not_known() -> None:
    total: dict[str, Any] = {"usage": {"input_uncached": 100, "output": 10}, "input_readings": (100,)}
    refused = call("refused", "above", None, error_type="429", missing_reason=None)
    assert charged(decided(agent("hosted", **total), refused)) == ["hosted", "refused"]
    below = decided(refused, agent("outer", "refused", **total), agent("inner", "outer", **total))
    assert charged(below) == ["outer", "refused"]
    billed_perhaps = call("cut", "hosted", None, error_type="timeout", missing_reason="no_usage_timeout")
    assert charged(decided(agent("hosted", **total), billed_perhaps)) == ["cut"]


def test_trap_17_an_agents_total_beside_its_one_call_points_at_it() -> None:
    total = agent("crew", "root", usage={"input_uncached": 100, "output": 10}, input_readings=(100,))
    decisions = decided(span("root"), total, call("c", "root"), call("d", "root", (7, 7)))
    assert decisions["crew"].counted_in == (TRACE, "c")


def test_a_gateways_cached_answer_costs_nothing() -> None:
    decisions = decided(
        call("first", response_id="r1"),
        call("again", response_id="r1", trace=OTHER_TRACE, at=30, to=31),
        call("third", response_id="r1", trace=THIRD_TRACE, at=60, to=61),
    )
    assert charged(decisions) == ["first"]
    assert decisions["again"][1:] == ("gateway_copy", (TRACE, "first"), "gateway.cached_answer")
    assert decisions["third"].counted_in == (TRACE, "first")


def test_a_gateways_cached_answer_seen_by_the_application_without_an_id_is_a_copy_too() -> None:
    decisions = decided(
        call("app1", scope="openinference", to=2),
        call("gw1", "app1", scope="litellm", response_id="r1", instance="gateway"),
        call("app2", scope="openinference", at=30, to=32),
        call("gw2", "app2", scope="litellm", response_id="r1", at=30, to=31, instance="gateway"),
    )
    assert charged(decisions) == ["gw1"]
    assert {decisions[name].role for name in ("app2", "gw2")} == {"gateway_copy"}
    assert decisions["app2"].counted_in == (TRACE, "gw1")


def test_colliding_answer_ids_of_a_local_server_join_nothing() -> None:
    decisions = decided(
        call("a", response_id="chatcmpl-7"),
        call("b", tokens=(101, 10), response_id="chatcmpl-7"),
        call("c", tokens=(100, 15), response_id="chatcmpl-7"),
        call("d", response_id="chatcmpl-7", request_model="llama3.2", provider="ollama"),
    )
    assert charged(decisions) == ["a", "b", "c", "d"]


def test_different_answer_ids_contradict_equal_numbers() -> None:
    assert charged(decided(call("a", scope="a", response_id="r1"), call("b", scope="b", response_id="r2"))) == ["a", "b"]
    assert charged(decided(call("a", response_id="r1"), call("b", "a", response_id="r2"))) == ["a", "b"]


def test_a_gateway_that_writes_its_own_id_above_the_providers_answer_is_a_wrapper() -> None:
    decisions = decided(call("gw", scope="litellm", response_id="own"), call("up", "gw", scope="openai", response_id="chatcmpl-1"))
    assert decisions["gw"][1:] == ("wrapper", (TRACE, "up"), "wrapper.sum")


def test_one_scope_in_two_services_with_one_answer_id_is_one_call_seen_twice() -> None:
    decisions = decided(call("app", response_id="r", to=3), call("gw", "app", response_id="r", at=1, to=2, instance="gateway"))
    assert decisions["app"][1:] == ("duplicate", (TRACE, "gw"), "merge.response_id")


def test_embeddings_without_output_are_paired_by_input() -> None:
    decisions = decided(call("a", tokens=(233, 0), scope="a"), call("b", "a", (233, 0), scope="b"), call("c", "a", (234, 0), scope="b"))
    assert charged(decisions) == ["b", "c"]


def test_media_calls_without_tokens_are_not_joined_by_having_none() -> None:
    one = call("a", scope="a", usage={"images": 1}, input_readings=())
    other = call("b", scope="b", usage={"images": 2}, input_readings=())
    assert charged(decided(one, other)) == ["a", "b"]


# --- facts of a merged call --------------------------------------------------------------------------------------------


def test_trap_9_the_sdks_span_fills_in_how_long_cache_writes_live() -> None:
    framework = call("f", scope="f", usage={"input_uncached": 87, "cache_write_5m": 7183, "output": 223, "reasoning": 5})
    sdk = call("s", "f", scope="sdk", rank=0, usage={"input_uncached": 87, "cache_write_5m": 3072, "cache_write_1h": 4111, "output": 223})
    merged = decided(framework, sdk)["s"].sighting
    assert merged.usage == {"input_uncached": 87, "cache_write_5m": 3072, "cache_write_1h": 4111, "output": 223, "reasoning": 5}


def test_who_lost_the_cache_split_counts_no_token_twice() -> None:
    lost = call("f", scope="f", usage={"input_uncached": 3517, "audio_in": 4, "output": 419, "reasoning": 9, "image_in": 1})
    whole = call("c", "f", scope="c", usage={"input_uncached": 1213, "cache_read": 2304, "output": 419})
    merged = decided(lost, whole)["c"].sighting.usage
    assert merged == {"input_uncached": 1213, "cache_read": 2304, "output": 419, "audio_in": 4, "image_in": 1, "reasoning": 9}


def test_a_part_that_does_not_fit_is_not_filled_in() -> None:
    lost = call("f", scope="f", usage={"input_uncached": 3517, "audio_in": 2000, "output": 419})
    whole = call("c", "f", scope="c", usage={"input_uncached": 1213, "cache_read": 2304, "output": 419})
    assert "audio_in" not in decided(lost, whole)["c"].sighting.usage


def test_gaps_are_filled_from_the_other_sightings_in_the_order_of_rank() -> None:
    decisions = decided(
        agent("helper"),
        call("f", "helper", scope="f", rank=2, streaming=True, reported_pico=5, reported_source="llm.cost.total"),
        call("c", "f", scope="c", rank=1, service_tier="flex"),
        call("s", "c", scope="s", rank=0, service_tier="priority", response_model="gpt-4o-2024-08-06", response_id="r"),
    )
    standing = decisions["f"].sighting
    assert charged(decisions) == ["f"]
    assert (standing.service_tier, standing.response_model, standing.response_id, standing.streaming) == (
        "priority",
        "gpt-4o-2024-08-06",
        "r",
        True,
    )
    assert (standing.reported_pico, standing.reported_source) == (5, "llm.cost.total")
    assert (standing.span_id, standing.scope) == ("f", "f")


def test_a_call_without_a_model_takes_its_nearest_ancestors() -> None:
    turn = span("turn", request_model="gpt-5-codex", price_models=("gpt-5-codex",), provider="openai")
    bare = call("c", "between", request_model=None, provider=None, price_models=())
    standing = decided(turn, span("between", "turn"), bare)["c"].sighting
    assert (standing.request_model, standing.price_models, standing.provider) == ("gpt-5-codex", ("gpt-5-codex",), "openai")


def test_attribution_of_a_merged_call_comes_from_whichever_sighting_has_it() -> None:
    decisions = decided(
        span("request", attribution={"user": "u-7", "tenant": "acme"}),
        agent("helper", "request"),
        call("f", "helper", scope="f", defaults={"service": "front"}),
        call(
            "c",
            trace=OTHER_TRACE,
            scope="c",
            attribution={"session": "s-1", "user": "u-8"},
            defaults={"service": "back", "tenant": "shared"},
        ),
    )
    attribution = decisions["f"].sighting.attribution
    assert attribution == {"user": "u-7", "tenant": "acme", "agent": "helper", "step": "helper", "session": "s-1", "service": "front"}
    assert decisions["f"].sighting.defaults == {}
    assert decisions["c"].sighting.attribution["user"] == "u-8"  # a duplicate keeps what holds where it stands


def test_trap_17_the_agent_named_on_the_call_beats_the_ancestor() -> None:
    decisions = decided(agent("supervisor"), call("c", "supervisor", attribution={"agent": "researcher"}))
    assert decisions["c"].sighting.attribution["agent"] == "researcher"


# --- size and shape ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nested", [True, False])
def test_ten_thousand_equal_twins_in_one_trace_are_paired_in_seconds(nested: bool) -> None:
    spans = [span("root")]
    for i in range(10_000):
        spans.append(call(f"f{i:05}", "root", scope="framework", to=5))
        spans.append(call(f"c{i:05}", f"f{i:05}" if nested else "root", scope="client", at=1, to=4))
    started = time.process_time()
    decisions = decided(*spans)
    assert time.process_time() - started < 10.0  # comparing all with all would take an hour
    assert len(charged(decisions)) == 10_000


def test_a_chain_of_twenty_thousand_calls_is_decided_in_seconds() -> None:
    spans = [call(f"c{i:05}", f"c{i - 1:05}" if i else None, (i, 7 * i % 97), scope="ab"[i % 2]) for i in range(1, 20_000)]
    started = time.process_time()
    assert len(charged(decided(*spans))) == 19_999
    assert time.process_time() - started < 10.0


def test_one_scope_that_says_other_outputs_under_one_answer_id_made_other_calls() -> None:
    decisions = decided(call("a", tokens=(9, 10), response_id="x"), call("b", tokens=(9, 11), response_id="x"))
    assert charged(decisions) == ["a", "b"]
