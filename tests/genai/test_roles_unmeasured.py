"""Calls without usage beside others: only model and time tell whether they are one call, so that little is enough against it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import TRACE, agent, call, charged, decided, span

STREAM: dict[str, Any] = {"tokens": None, "streaming": True, "missing_reason": "no_usage_stream"}
MISTRAL: dict[str, Any] = {"provider": "mistral", "request_model": "mistral-large-latest", "price_models": ("mistral-large-latest",)}


@pytest.mark.parametrize("tokens", [(100, 10), None])
def test_a_call_in_another_agents_run_is_another_call(tokens: tuple[int, int] | None) -> None:
    decisions = decided(
        span("root"),
        agent("writer", "root"),
        call("lost", "writer", scope="framework", **STREAM),
        agent("critic", "root"),
        call("seen", "critic", tokens, at=0.1, to=0.9),
    )
    assert charged(decisions) == ["lost", "seen"]


def test_within_one_agents_run_it_is_the_same_call() -> None:
    decisions = decided(agent("writer"), call("lost", "writer", scope="framework", **STREAM), call("seen", "writer", at=0.1, to=0.9))
    assert len(charged(decisions)) == 1


def test_an_agent_that_two_instrumentations_show_is_no_boundary() -> None:
    """Each has a span of the agent's run, one inside the other, and its call under its own."""
    decisions = decided(
        agent("outer"), call("lost", "outer", scope="framework", **STREAM),
        agent("inner", "outer"), call("seen", "inner", at=0.1, to=0.9),
    )  # fmt: skip
    assert len(charged(decisions)) == 1


def test_a_client_that_lost_the_context_shows_the_agents_call_beside_the_agent() -> None:
    decisions = decided(
        span("root"), agent("writer", "root"), call("lost", "writer", scope="framework", **STREAM), call("seen", "root", at=0.1, to=0.9)
    )  # fmt: skip
    assert charged(decisions) == ["lost"]  # nearest the agent, with the client's counts


@pytest.mark.parametrize("nested", [True, False])
def test_a_stream_that_mistrals_sdk_and_a_wrapper_saw_without_counts_is_one_unpriced_call(nested: bool) -> None:
    """`stream_chat` lies within `mistralai.chat`, below it or, where that does not set the context, beside it."""
    decisions = decided(
        span("root"),
        call("wrapper", "root", scope="opentelemetry.instrumentation.mistralai", response_id="chatcmpl-0001", **STREAM, **MISTRAL),
        call("sdk", "wrapper" if nested else "root", scope="mistralai_sdk_tracer", at=0.1, to=0.9, rank=0, **STREAM, **MISTRAL),
    )
    standing = charged(decisions)
    assert len(standing) == 1
    duplicate = next(decision for decision in decisions.values() if decision.role == "duplicate")
    assert duplicate.counted_in == (TRACE, standing[0])


@given(starts=st.lists(st.integers(0, 200), min_size=1, max_size=6), lengths=st.lists(st.integers(2, 100), min_size=6, max_size=6))
@settings(max_examples=200, deadline=None)
def test_parallel_streams_without_counts_stay_as_many_as_there_were(starts: list[int], lengths: list[int]) -> None:
    """However they overlap: each scope saw every one of them."""
    spans = [span("root")]
    for n, (start, length) in enumerate(zip(starts, lengths, strict=False)):
        at, to = start / 100, (start + length) / 100
        spans.append(call(f"wrapper{n}", "root", scope="wrapper", **(STREAM | MISTRAL | {"at": at, "to": to})))
        spans.append(call(f"sdk{n}", "root", scope="sdk", **(STREAM | MISTRAL | {"at": at + 0.001, "to": to - 0.001})))
    assert len(charged(decided(*spans))) == len(starts)
