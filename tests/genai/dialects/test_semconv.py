"""The current conventions, and the packages that speak them in their own way."""

from __future__ import annotations

from span_making import chat, sighting

from otel_finops.genai.sighting import CALL, RANK_VENDOR_SDK

COUNTS = {"gen_ai.usage.input_tokens": 7270, "gen_ai.usage.output_tokens": 223, "gen_ai.usage.cache_read.input_tokens": 0}


def test_the_vendors_sdk_says_how_long_cache_writes_live() -> None:
    seen = sighting(
        chat(provider__name="anthropic") | COUNTS | {
            "gen_ai.usage.cache_write.input_tokens": 7183, "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 3072,
            "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 4111, "anthropic.response.service_tier": "standard",
        },
        scope="com.anthropic.sdk.python",
    )  # fmt: skip
    assert seen.usage == {"input_uncached": 87, "cache_write_5m": 3072, "cache_write_1h": 4111, "output": 223}
    assert (seen.rank, seen.service_tier) == (RANK_VENDOR_SDK, None)


def test_both_spellings_of_cache_writes_are_read_and_not_added() -> None:
    both = {"gen_ai.usage.cache_write.input_tokens": 7183, "gen_ai.usage.cache_creation.input_tokens": 7183}
    assert sighting(chat() | COUNTS | both).usage["cache_write_5m"] == 7183
    newer_is_zero = {"gen_ai.usage.cache_write.input_tokens": 0, "gen_ai.usage.cache_creation.input_tokens": 7183}
    assert sighting(chat() | COUNTS | newer_is_zero).usage["cache_write_5m"] == 7183


def test_botocore_leaves_cached_tokens_out_for_bedrock() -> None:
    seen = sighting(
        chat(provider__name="aws.bedrock", usage__input_tokens=9000, usage__output_tokens=5)
        | {"gen_ai.usage.cache_read.input_tokens": 100},
        scope="opentelemetry.instrumentation.botocore.bedrock-runtime",
    )
    assert seen.usage == {"input_uncached": 9000, "cache_read": 100, "output": 5}


def test_images_and_audio_are_parts() -> None:
    modal = {"gen_ai.usage.text.input_tokens": 1175, "gen_ai.usage.image.input_tokens": 258}
    seen = sighting(chat(usage__input_tokens=1433, usage__output_tokens=617) | modal)
    assert seen.usage == {"input_uncached": 1433, "image_in": 258, "output": 617}


def test_a_time_to_the_first_chunk_is_a_stream() -> None:
    seen = sighting(chat(response__time_to_first_chunk=0.02))
    assert (seen.kind, seen.streaming, seen.missing_reason) == (CALL, True, "no_usage_stream")


def test_the_vendors_sdk_names_the_reseller_it_calls() -> None:
    for reseller, provider, family in (("bedrock", "aws.bedrock", "bedrock"), ("vertex", "gcp.vertex_ai", "vertex_ai")):
        seen = sighting(chat(provider__name=provider) | COUNTS, scope=f"com.anthropic.sdk.python.{reseller}")
        assert (seen.provider, seen.rank) == (family, RANK_VENDOR_SDK)
