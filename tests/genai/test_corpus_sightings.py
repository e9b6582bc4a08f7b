"""What real libraries sent, against what the provider's own log says."""

from __future__ import annotations

from pathlib import Path

import pytest
from genai_corpus import Case, cases, shows

from otel_finops.genai.sighting import CALL, RANK_VENDOR_SDK, Sighting

NAMES = ("otel-", "openinference__", "traceloop", "logfire__", "pydantic-ai", "langfuse", "langsmith")
COMPATIBLE = {"deepseek", "openrouter", "groq", "vllm", "ollama", "azure"}
"""Reached on loopback through OpenAI's client: nothing in the spans tells them from OpenAI."""


@pytest.fixture(scope="module")
def seen(corpus: Path) -> list[tuple[Case, list[Sighting]]]:
    return [(case, [sighting for sighting in case.sightings() if sighting.is_candidate]) for case in cases(corpus, *NAMES)]


def sightings_of(call: dict, sightings: list[Sighting]) -> list[Sighting]:
    return [sighting for sighting in sightings if shows(call, sighting.usage)]


def pairs(seen: list[tuple[Case, list[Sighting]]]) -> list[tuple[str, dict, list[Sighting]]]:
    return [(case.name, call, sightings_of(call, sightings)) for case, sightings in seen for call in case.visible_calls]


def test_every_call_whose_usage_is_visible_has_a_sighting_with_exactly_its_counts(seen) -> None:
    found = pairs(seen)
    assert len(found) >= 100
    assert [(name, call["usage"]) for name, call, sightings in found if not sightings] == []


def test_models_are_those_asked_for_or_answered(seen) -> None:
    """OpenLLMetry strips region and vendor off Bedrock's names, which the recordings list as lost."""
    wrong = []
    for name, call, sightings in pairs(seen):
        true = {call["request_model"], call["response_model"]} - {None}
        named = {model for sighting in sightings for model in sighting.price_models}
        if not true & named and "request_model" not in call["lost"]:
            wrong.append((name, true, named))
    assert wrong == []


def test_providers_are_the_family_that_bills(seen) -> None:
    wrong = []
    for name, call, sightings in pairs(seen):
        families = {sighting.provider for sighting in sightings}
        if call["provider"] not in families and call["provider"] not in COMPATIBLE and families != {None}:
            wrong.append((name, call["provider"], families))
    assert wrong == []


def test_served_tiers_are_read_where_they_reached_the_spans(seen) -> None:
    wrong = []
    for name, call, sightings in pairs(seen):
        tier = call.get("service_tier")
        if "service_tier" not in call["lost"] and (None if tier == "default" else tier) not in {s.service_tier for s in sightings}:
            wrong.append((name, tier))
    assert wrong == []


def test_parts_of_input_and_output_are_read_where_they_reached_the_spans(seen) -> None:
    wrong = [
        (name, part, call["usage"][part])
        for name, call, sightings in pairs(seen)
        for part in ("reasoning", "audio_in", "audio_out", "image_in")
        if call["usage"].get(part) and part not in call["lost"] and call["usage"][part] not in {s.usage.get(part) for s in sightings}
    ]
    assert wrong == []


def test_calls_without_usage_say_why_unless_the_provider_answered_with_an_error(seen) -> None:
    """429, 500 and 529 answers cost nothing; streams and client time-outs are billed by the provider and cannot be priced."""
    reasons = {
        (sighting.missing_reason, sighting.error_type)
        for _, sightings in seen
        for sighting in sightings
        if sighting.kind == CALL and not sighting.usage
    }
    assert {reason for reason, error in reasons if error and "Timeout" in error} == {"no_usage_timeout"}
    assert {reason for reason, error in reasons if error and "Timeout" not in error} == {None}
    assert {reason for reason, error in reasons if error is None} == {"no_usage", "no_usage_stream"}


def test_numbers_are_reported_by_the_senders(seen) -> None:
    assert {sighting.usage_source for _, sightings in seen for sighting in sightings if sighting.usage} == {"reported"}


def test_the_vendors_own_client_ranks_first(seen) -> None:
    scopes = {sighting.scope for _, sightings in seen for sighting in sightings if sighting.rank == RANK_VENDOR_SDK}
    assert scopes == {"com.anthropic.sdk.python", "mistralai_sdk_tracer"}


def test_no_message_content_reaches_a_sighting(seen) -> None:
    """The recorded answers all say `fine`, and the embedded questions `hello`."""
    told = {value for _, sightings in seen for s in sightings for value in (*s.attribution.values(), *s.defaults.values(), s.operation)}
    assert told.isdisjoint({"fine", "hello", "hi"})
