"""Recorded payloads of real libraries: each visible billable call stands exactly once, and nothing else is charged."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from genai_corpus import Case, cases, shows

from otel_finops.genai.roles import decide
from otel_finops.genai.sighting import Decision, Sighting
from otel_finops.genai.usage import total_tokens

BEGINNINGS = (
    "otel-",
    "openinference__",
    "traceloop",
    "double-",
    "genkit__",
    "mastra",
    "openinference-js",
    "vercel-ai",
    "litellm",
    "gateway-litellm",
    "logfire__",
    "pydantic-ai",
    "langfuse",
    "langsmith",
)
SOME = (
    "traceloop__langgraph",
    "mastra",
    "openinference-js",
    "double-openinference+anthropic",
    "traceloop__anthropic-stream",
    "otel-v2__manual-tree",
)


def charged(decisions: list[Decision]) -> list[Sighting]:
    """Calls with reported tokens: what an invoice would hold."""
    calls = [decision.sighting for decision in decisions if decision.role == "call"]
    return [call for call in calls if call.usage_source == "reported" and total_tokens(call.usage)]


def faults(case: Case, decisions: list[Decision]) -> list[str]:
    """What is wrong, in words; an unmarked guess for each stream whose usage was lost is let pass, as in the recording's rules."""
    left, found = charged(decisions), []
    for call in case.visible_calls:
        hit = next((sighting for sighting in left if shows(call, sighting.usage)), None)
        if hit is None:
            found.append(f"call {call['n']} is missing: {call['usage']}")
            continue
        left.remove(hit)
        if call.get("agent") and hit.attribution.get("agent") != call["agent"]:
            found.append(f"call {call['n']} is put under {hit.attribution.get('agent')!r}, not {call['agent']!r}")
    guesses = sum(call["billable"] and call["streaming"] and "usage" in call["lost"] for call in case.calls)
    return found + [f"{extra.name} is charged too: {extra.usage}" for extra in left[: max(0, len(left) - guesses)]]


def test_every_visible_call_stands_exactly_once_under_its_agent(corpus: Path) -> None:
    wrong = {case.name: faults(case, decide(case.sightings())) for case in cases(corpus, *BEGINNINGS)}
    assert {name: found for name, found in wrong.items() if found} == {}


@pytest.mark.parametrize("seed", range(3))
def test_order_and_repetition_of_recorded_spans_change_nothing(corpus: Path, seed: int) -> None:
    shuffle = random.Random(seed)
    for case in cases(corpus, *SOME):
        sightings = case.sightings()
        again = [*sightings, *shuffle.sample(sightings, len(sightings) // 2)]
        shuffle.shuffle(again)
        assert decide(again) == decide(sightings), case.name


def test_whole_traces_can_be_decided_together_or_apart(corpus: Path) -> None:
    """Traces that nothing links decide alike whether or not they are read in one round."""
    for case in cases(corpus, "openinference__openai", "traceloop__openai", "traceloop__langgraph"):
        sightings = case.sightings()
        traces = {sighting.trace_id for sighting in sightings}
        apart = [d for trace in sorted(traces) for d in decide(s for s in sightings if s.trace_id == trace)]
        assert apart == decide(sightings), case.name
