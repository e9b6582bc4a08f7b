"""The conventions before 1.37, alone and mixed with newer names."""

from __future__ import annotations

from span_making import chat, sighting

from otel_finops.genai.sighting import RANK_VENDOR_SDK


def test_old_provider_and_tier_keys_are_read() -> None:
    seen = sighting({
        "gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 6, "gen_ai.openai.request.service_tier": "priority", "gen_ai.openai.response.service_tier": "flex",
    })  # fmt: skip
    assert (seen.dialect, seen.provider, seen.service_tier) == ("semconv_legacy", "openai", "flex")
    assert seen.usage == {"input_uncached": 5, "output": 6}


def test_a_sender_that_mixes_old_and_new_names_is_understood() -> None:
    seen = sighting(
        {
            "gen_ai.provider.name": "mistral_ai",
            "gen_ai.request.model": "m",
            "gen_ai.usage.prompt_tokens": 1621,
            "gen_ai.usage.output_tokens": 317,
        },
        scope="mistralai_sdk_tracer",
    )
    assert (seen.provider, seen.usage, seen.rank) == ("mistral", {"input_uncached": 1621, "output": 317}, RANK_VENDOR_SDK)


def test_both_names_of_one_count_are_not_added() -> None:
    both = chat(usage__input_tokens=7, usage__prompt_tokens=7, usage__output_tokens=9, usage__completion_tokens=9)
    assert sighting(both).usage == {"input_uncached": 7, "output": 9}


def test_the_api_base_tells_the_provider() -> None:
    seen = sighting({"gen_ai.system": "openai", "gen_ai.request.model": "m", "gen_ai.openai.api_base": "https://api.groq.com/openai/v1"})
    assert seen.provider == "groq"


def test_a_third_name_of_cache_writes_and_a_total_that_shows_them_beside_the_input() -> None:
    """Strands before 1.6x passed Bedrock's counts on: 4000 + 100 read + 50 written + 70 out = 4220."""
    seen = sighting({
        "gen_ai.operation.name": "chat", "gen_ai.system": "strands-agents", "gen_ai.request.model": "us.amazon.nova-pro-v1:0",
        "gen_ai.usage.input_tokens": 4000, "gen_ai.usage.prompt_tokens": 4000, "gen_ai.usage.output_tokens": 70,
        "gen_ai.usage.total_tokens": 4220, "gen_ai.usage.cache_read_input_tokens": 100, "gen_ai.usage.cache_write_input_tokens": 50,
    })  # fmt: skip
    assert (seen.provider, seen.usage_rule) == (None, "semconv_legacy.exclusive_by_total")
    assert seen.usage == {"input_uncached": 4000, "cache_read": 100, "cache_write_5m": 50, "output": 70}
