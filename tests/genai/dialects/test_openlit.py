"""OpenLIT: the conventions' keys, where the meaning is its own."""

from __future__ import annotations

from typing import Any

from span_making import chat, sighting

from otel_finops.genai.sighting import RANK_FRAMEWORK, WORKFLOW, Sighting

CACHED = {"usage__input_tokens": 900, "usage__output_tokens": 50, "usage__cache_read__input_tokens": 100}


def seen_by(package: str, **attributes: Any) -> Sighting:
    return sighting(chat(**attributes), scope=f"openlit.instrumentation.{package}")


def test_cached_tokens_are_beside_the_input_for_anthropic_and_bedrock_alone() -> None:
    """100 read are the smaller part, so only the scope can tell."""
    for package, provider, uncached in (("anthropic", "anthropic", 900), ("bedrock", "aws.bedrock", 900), ("openai", "openai", 800)):
        seen = seen_by(package, provider__name=provider, **CACHED)
        assert (seen.dialect, seen.usage["input_uncached"]) == ("openlit", uncached), package
    assert seen_by("langchain", provider__name="anthropic", **CACHED).usage["input_uncached"] == 800


def test_googles_thoughts_are_beside_the_output_also_where_they_are_the_smaller_part() -> None:
    seen = seen_by(
        "google_ai_studio", provider__name="gemini", usage__input_tokens=7, usage__output_tokens=221, usage__reasoning_tokens=100
    )
    assert seen.usage == {"input_uncached": 7, "output": 321, "reasoning": 100}
    assert seen_by("openai", usage__input_tokens=7, usage__output_tokens=221, usage__reasoning_tokens=100).usage["output"] == 221


def test_a_stream_without_cache_attributes_was_guessed() -> None:
    guess = seen_by("openai", request__stream=True, usage__input_tokens=6, usage__output_tokens=3)
    assert guess.usage_source == "estimated"
    reported = seen_by("openai", request__stream=True, usage__input_tokens=6, usage__output_tokens=3, usage__cache_read__input_tokens=0)
    assert reported.usage_source == "reported"


def test_the_old_generation_guessed_all_streams_of_openais_chat_api() -> None:
    def old(system: str, stream: bool, answer_id: str) -> str:
        attributes = {
            "gen_ai.operation.name": "chat", "gen_ai.system": system, "gen_ai.request.model": "m", "gen_ai.request.is_stream": stream,
            "gen_ai.response.id": answer_id, "gen_ai.usage.input_tokens": 6, "gen_ai.usage.output_tokens": 3,
        }  # fmt: skip
        return sighting(attributes, scope="openlit.otel.tracing").usage_source

    assert old("openai", True, "chatcmpl-1") == "estimated"
    assert old("openai", False, "chatcmpl-1") == old("anthropic", True, "msg_1") == old("openai", True, "resp_1") == "reported"


def test_its_cost_of_nothing_is_unknown() -> None:
    assert seen_by("openai", usage__cost=0).reported_pico is None
    assert seen_by("openai", usage__cost=0.25).reported_source == "gen_ai.usage.cost"


def test_a_crews_total_is_not_believed() -> None:
    seen = seen_by("crewai", operation__name="invoke_workflow", usage__input_tokens=14_398, usage__output_tokens=1_738)
    assert (seen.kind, seen.usage, seen.rank) == (WORKFLOW, {}, RANK_FRAMEWORK)
