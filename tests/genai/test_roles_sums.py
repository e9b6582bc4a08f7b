"""Sums above calls, to the token: what only resembles a sum is an honest call and is charged."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import agent, call, charged, decided, roles, tool

from otel_finops.genai.sighting import Sighting
from otel_finops.genai.usage import prompt_tokens


def cached(name: str, parent: str | None = None, *, uncached: int, read: int, output: int, **facts: Any) -> Sighting:
    """A call of a sender whose numbers may leave cached tokens out or not: its prompt has two readings."""
    usage = {"input_uncached": uncached, "cache_read": read, "output": output}
    whole = uncached + read
    return call(name, parent, usage=usage, **{"input_readings": (whole, whole + read), **facts})


def test_an_input_between_the_uncached_and_the_whole_sum_is_no_sum() -> None:
    """Two calls of 1,000 with 900 and 500 of it cached: sums are 600 without, 2,000 with and 3,400 with cached tokens beside."""
    below = (
        cached("one", "outer", uncached=100, read=900, output=10),
        cached("two", "outer", uncached=500, read=500, output=20, at=0.5),
    )
    for prompt in (600, 2_000, 3_400):
        assert roles(call("outer", tokens=(prompt, 30)), *below)["outer"] == "wrapper", prompt
    for prompt in (599, 601, 1_300, 1_999, 2_001, 3_000):
        assert charged(decided(call("outer", tokens=(prompt, 30)), *below)) == ["one", "outer", "two"], prompt


def test_one_way_of_counting_holds_for_all_calls_of_a_sum() -> None:
    """100 without cached tokens of the one and 1,000 with those of the other are nobody's sum."""
    below = (cached("one", "outer", uncached=100, read=900, output=10), cached("two", "outer", uncached=500, read=500, output=20))
    assert charged(decided(call("outer", tokens=(1_100, 30)), *below)) == ["one", "outer", "two"]


def test_a_sum_of_what_two_senders_wrote_counts_each_call_as_it_was_written() -> None:
    """One vendor's input leaves out 900 cached tokens, the other's has none: 100 + 70 is what was written."""
    beside = cached("one", "outer", uncached=100, read=900, output=10, input_readings=(100, 1_000), usage_rule="openlit.exclusive")
    assert roles(call("outer", tokens=(170, 17)), beside, call("two", "outer", (70, 7)))["outer"] == "wrapper"


@pytest.mark.parametrize("scope", ["client", "framework"])
def test_what_a_calls_own_tool_spent_is_no_part_of_it_though_the_numbers_are_equal(scope: str) -> None:
    decisions = decided(
        call("asks", tokens=(300, 30), to=9, scope=scope),
        tool("search", "asks", to=9),
        call("one", "search", (100, 10)),
        call("two", "search", (200, 20)),
    )
    assert charged(decisions) == ["asks", "one", "two"]


def test_a_sum_over_steps_may_have_what_their_tools_spent() -> None:
    spans = (
        call("run", tokens=(500, 50), to=9, scope="framework"),
        call("step", "run", (300, 30), to=1),
        tool("search", "run", at=1, to=9),
        call("inner", "search", (200, 20), at=1, to=2),
    )
    assert roles(*spans) == {"run": "wrapper", "step": "call", "inner": "call"}


def test_a_sum_may_have_what_an_agent_below_it_spent() -> None:
    spans = (call("run", tokens=(300, 30)), agent("specialist", "run"), call("one", "specialist"), call("two", "specialist", (200, 20)))
    assert roles(*spans) == {"run": "wrapper", "one": "call", "two": "call"}


def test_one_answer_id_of_a_small_range_does_not_make_a_call_the_sum_of_the_one_below_it() -> None:
    numbered = {"response_id": "chatcmpl-417"}
    decisions = decided(call("asks", tokens=(900, 1), **numbered), call("judges", "asks", (40, 1), **numbered))
    assert charged(decisions) == ["asks", "judges"]


honest_calls = st.tuples(st.integers(1, 400), st.integers(0, 300), st.integers(1, 60))
"""(uncached, cache read, output)"""


@given(own=honest_calls, below=st.lists(honest_calls, min_size=1, max_size=4), in_tool=st.booleans())
@settings(max_examples=500, deadline=None)
def test_no_honest_call_above_others_is_taken_for_their_sum(
    own: tuple[int, int, int], below: list[tuple[int, int, int]], in_tool: bool
) -> None:
    """The output is made to agree, which happens with short answers; the input is whatever it is."""
    output = sum(spent for _, _, spent in below)
    above = cached("above", uncached=own[0], read=own[1], output=output, to=9)
    parent = "search" if in_tool else "above"
    parts = [cached(f"part{n}", parent, uncached=u, read=r, output=o) for n, (u, r, o) in enumerate(below)]
    sums = {sum(u for u, _, _ in below), sum(u + r for u, r, _ in below), sum(u + 2 * r for u, r, _ in below)}
    equal = not in_tool and not sums.isdisjoint(above.input_readings)
    decisions = decided(above, *([tool("search", "above", to=9)] if in_tool else []), *parts)
    assert ("above" in charged(decisions)) is not equal
    standing = {name: prompt_tokens(decision.sighting.usage) for name, decision in decisions.items() if decision.role == "call"}
    assert len(standing) == len(parts) + (not equal)
