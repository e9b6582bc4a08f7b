"""Answer ids: what an id proves depends on how many there are of its kind. Ollama numbers its answers from 0 to 998."""

from __future__ import annotations

from typing import Any

import pytest
from scenes import call, charged, decided

from otel_finops.genai.roles.agreement import drawn_from_few
from otel_finops.genai.sighting import RANK_GATEWAY, Sighting

SECOND_TRACE, THIRD_TRACE = "b" * 32, "c" * 32
FEW, MANY = "chatcmpl-417", "chatcmpl-BxQ7kfT0pNw2Zr9sVd3mYhLc"
MINUTE_LATER: dict[str, Any] = {"at": 60, "to": 61}


def elsewhere(name: str, *, trace: str = SECOND_TRACE, **facts: Any) -> Sighting:
    """A call in a trace and a service of its own."""
    return call(name, trace=trace, **{"instance": "other", "defaults": {"service": "other"}, **facts})


@pytest.mark.parametrize("few", ["chatcmpl-417", "cmpl-7", "resp_123456", "msg_0001", "chatcmpl-0-1", "gen-1760000000", "r1", "42"])
def test_ids_that_are_drawn_from_few(few: str) -> None:
    assert drawn_from_few(few)


@pytest.mark.parametrize(
    "many",
    [
        MANY,
        "chatcmpl-90215c60-de77-480b-810c-d2e88bf4d816",
        "msg_01XFDUDYJgAACzvnptvVoYEL",
        "resp_0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "chatcmpl-1760000000123456789",
        "8f3c1e0a9b7d4c2e",
    ],
)
def test_ids_that_are_drawn_from_many(many: str) -> None:
    assert not drawn_from_few(many)


@pytest.mark.parametrize("scope", ["client", "another"])
@pytest.mark.parametrize("when", [{}, MINUTE_LATER])
def test_one_of_few_ids_in_another_service_makes_no_honest_call_free(scope: str, when: dict[str, Any]) -> None:
    """Both classify: 100 tokens in, one of few labels out."""
    decisions = decided(call("mine", response_id=FEW), elsewhere("theirs", scope=scope, response_id=FEW, **when))
    assert charged(decisions) == ["mine", "theirs"]


@pytest.mark.parametrize("scope", ["client", "another"])
def test_one_of_many_ids_is_the_same_answer_wherever_it_comes_again(scope: str) -> None:
    decisions = decided(call("first", response_id=MANY), elsewhere("again", scope=scope, response_id=MANY, **MINUTE_LATER))
    assert charged(decisions) == ["first"]


@pytest.mark.parametrize("replica", ["app", "replica-2"])
def test_in_one_service_the_same_id_and_numbers_again_are_a_caches_answer(replica: str) -> None:
    shop: dict[str, Any] = {"response_id": FEW, "defaults": {"service": "shop"}}
    decisions = decided(call("first", **shop), call("again", trace=SECOND_TRACE, instance=replica, **shop, **MINUTE_LATER))
    assert decisions["again"][1:] == ("gateway_copy", ("a" * 32, "first"), "gateway.cached_answer")


def test_services_without_a_name_are_not_one_service() -> None:
    nameless: dict[str, Any] = {"response_id": FEW, "defaults": {"service": "unknown_service:node"}}
    assert charged(decided(call("a", **nameless), elsewhere("b", **nameless))) == ["a", "b"]


def test_in_one_trace_or_in_linked_ones_one_of_few_ids_is_enough() -> None:
    same_trace = call("gw", "app", response_id=FEW, at=0.1, to=0.9, scope="another", instance="other")
    assert len(charged(decided(call("app", response_id=FEW), same_trace))) == 1
    linked = elsewhere("gw", response_id=FEW, scope="another", links=(("a" * 32, "root"),), at=0.1, to=0.9)
    assert len(charged(decided(call("app", response_id=FEW), linked))) == 1


def test_a_request_that_was_passed_on_lies_within_the_callers_time() -> None:
    """A gateway of one's own, seen by the client that it uses: no rank, no link, no mark."""
    inside = elsewhere("inside", response_id=FEW, scope="another", at=0.1, to=0.9)
    assert charged(decided(call("app", response_id=FEW), inside)) == ["app"]


def test_a_gateway_binds_what_it_served_and_nothing_else() -> None:
    gateway: dict[str, Any] = {"scope": "litellm", "instance": "gateway", "rank": RANK_GATEWAY, "defaults": {"service": "gateway"}}
    decisions = decided(
        call("app", response_id=FEW),
        elsewhere("gw", response_id=FEW, at=0.1, to=0.9, **gateway),
        elsewhere("again", trace=THIRD_TRACE, response_id=FEW, **MINUTE_LATER),
        elsewhere("gw_again", trace="d" * 32, response_id=FEW, at=60.1, to=60.9, **gateway),
        elsewhere("stranger", trace="e" * 32, response_id=FEW, instance="third", defaults={}, at=300, to=301),
    )
    assert charged(decisions) == ["app", "stranger"]
    assert decisions["again"].role == decisions["gw_again"].role == "gateway_copy"


def test_a_marked_answer_points_at_the_earliest_call_with_its_id() -> None:
    marked = elsewhere("gw", response_id=FEW, scope="litellm", rank=RANK_GATEWAY, from_cache=True, **MINUTE_LATER)
    decisions = decided(call("first", response_id=FEW), marked)
    assert decisions["gw"][1:] == ("gateway_copy", ("a" * 32, "first"), "gateway.cached_answer")


def test_streams_without_counts_and_with_one_of_few_ids_stay_two_unpriced_calls() -> None:
    cut: dict[str, Any] = {"tokens": None, "response_id": FEW, "streaming": True, "missing_reason": "no_usage_stream"}
    assert charged(decided(call("a", **cut), elsewhere("b", scope="another", **cut))) == ["a", "b"]
    cut["response_id"] = MANY
    assert len(charged(decided(call("a", **cut), elsewhere("b", scope="another", **cut)))) == 1
