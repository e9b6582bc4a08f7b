"""Quotes worked out by hand from published prices (USD per million tokens in the comments)."""

from __future__ import annotations

from typing import Any

import pytest

from otel_finops.base.times import parse_ns
from otel_finops.genai.sighting import CALL, Sighting
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.quote import PriceableCall, Quote

NOON = parse_ns("2026-11-18T12:00:00Z")


def quote(engine: PriceEngine, provider: str | None, model: str | tuple[str, ...], usage: dict[str, int], **facts: Any) -> Quote:
    models = (model,) if isinstance(model, str) else model
    return engine.quote(PriceableCall(provider, models, usage, facts.pop("at_ns", NOON), **facts))


def amounts(of: Quote) -> dict[str, int]:
    return {line.unit: line.amount_pico for line in of.lines}


def test_a_chat_call_with_cache(engine: PriceEngine) -> None:
    """claude-sonnet-4-5: input 3, cache read 0.3, write 3.75 (1 h: 6), output 15."""
    usage = {"input_uncached": 1000, "cache_read": 5000, "cache_write_5m": 200, "cache_write_1h": 100, "output": 400}
    of = quote(engine, "anthropic", "claude-sonnet-4-5", usage)
    assert amounts(of) == {
        "input_uncached": 3_000_000_000,
        "cache_read": 1_500_000_000,
        "cache_write_5m": 750_000_000,
        "cache_write_1h": 600_000_000,
        "output": 6_000_000_000,
    }
    assert of.cost_pico == 11_850_000_000
    assert [line.rate_usd for line in of.lines] == ["0.000003", "0.0000003", "0.00000375", "0.000006", "0.000015"]
    assert (of.method, of.price_key, of.price_match, of.partial) == ("computed", "claude-sonnet-4-5", "exact", False)
    assert of.price_version == engine.version


@pytest.mark.parametrize(("prompt", "rate"), [(271_999, 2), (272_000, 2), (272_001, 4)])
def test_a_long_prompt_rates_the_whole_call_beyond_the_edge(engine: PriceEngine, prompt: int, rate: int) -> None:
    """gpt-6.1-sol: input 2, above 272k 4; cached tokens count for the edge and take the tier's own price 0.1 / 0.2."""
    of = quote(engine, "openai", "gpt-6.1-sol", {"input_uncached": prompt - 1000, "cache_read": 1000})
    assert amounts(of) == {"input_uncached": (prompt - 1000) * rate * 1_000_000, "cache_read": 1000 * rate * 50_000}


@pytest.mark.parametrize(("prompt", "longer"), [(199_999, False), (200_000, True), (200_001, True)])
def test_xai_takes_the_longer_tier_at_the_edge_itself(engine: PriceEngine, prompt: int, longer: bool) -> None:
    short = quote(engine, "xai", "grok-4.20", {"input_uncached": 1}).lines[0].amount_pico
    of = quote(engine, "xai", "grok-4.20", {"input_uncached": prompt})
    assert (of.cost_pico == prompt * short) is not longer


@pytest.mark.parametrize(("prompt", "rate"), [(255_999, 50_000), (256_000, 50_000), (256_001, 250_000)])
def test_ranges_of_tiered_pricing_hold_up_to_their_end(engine: PriceEngine, prompt: int, rate: int) -> None:
    """qwen-flash: 0.05 up to 256k tokens, then 0.25."""
    assert quote(engine, "dashscope", "qwen-flash", {"input_uncached": prompt}).cost_pico == prompt * rate


@pytest.mark.parametrize(
    ("tier", "pico"),
    [(None, 2_000_000), ("priority", 4_000_000), ("fast", 4_000_000), ("flex", 1_000_000), ("batch", 1_000_000), ("scale", 2_000_000)],
)
def test_service_tiers(engine: PriceEngine, tier: str | None, pico: int) -> None:
    assert quote(engine, "openai", "gpt-6.1-sol", {"input_uncached": 1}, service_tier=tier).cost_pico == pico


def test_a_batch_without_batch_prices_costs_half_and_says_so(engine: PriceEngine) -> None:
    """groq/openai/gpt-oss-20b: 0.075 in, 0.3 out, no batch prices; cached input is billed as a batch's input."""
    of = quote(engine, "groq", "openai/gpt-oss-20b", {"input_uncached": 1000, "cache_read": 1000, "output": 1000}, service_tier="batch")
    assert amounts(of) == {"input_uncached": 37_500_000, "cache_read": 37_500_000, "output": 150_000_000}
    assert of.partial


def test_cached_input_without_a_price_costs_as_input_and_says_so(engine: PriceEngine) -> None:
    """gpt-4-0613: 30 in, no cache price."""
    of = quote(engine, "openai", "gpt-4-0613", {"cache_read": 1000})
    assert (of.cost_pico, of.partial) == (30_000_000_000, True)


def test_parts_are_billed_within_their_whole_and_never_twice(engine: PriceEngine) -> None:
    """gpt-4o-audio-preview: text 2.5 / 10, audio 40 / 80 by the list's row of 2025-06-03."""
    usage = {"input_uncached": 1000, "audio_in": 300, "output": 500, "audio_out": 400}
    of = quote(engine, "openai", "gpt-4o-audio-preview-2025-06-03", usage)
    assert {line.unit: line.quantity for line in of.lines} == {"input_uncached": 700, "audio_in": 300, "output": 100, "audio_out": 400}


def test_reasoning_with_a_price_of_its_own(engine: PriceEngine) -> None:
    """sonar-deep-research: output 8, reasoning 3."""
    of = quote(engine, "perplexity", "sonar-deep-research", {"output": 1000, "reasoning": 400})
    assert amounts(of) == {"output": 600 * 8_000_000, "reasoning": 400 * 3_000_000}


def test_reasoning_without_a_price_of_its_own_is_output(engine: PriceEngine) -> None:
    of = quote(engine, "openai", "gpt-6.1-sol", {"output": 1000, "reasoning": 400})
    assert amounts(of) == {"output": 10_000_000_000}
    assert not of.partial


def test_cached_audio_beyond_the_uncached_prompt_is_billed_by_the_cache(engine: PriceEngine) -> None:
    of = quote(engine, "openai", "gpt-4o-audio-preview-2025-06-03", {"input_uncached": 100, "cache_read": 900, "audio_in": 700})
    assert {line.unit: line.quantity for line in of.lines} == {"audio_in": 100, "cache_read": 900}


@pytest.mark.parametrize(
    ("at", "off_peak"), [("2026-11-18T09:59:59Z", False), ("2026-11-18T10:00:00Z", True), ("2026-11-21T09:00:00Z", True)]
)
def test_off_peak_hours_on_weekdays_and_weekends(engine: PriceEngine, at: str, off_peak: bool) -> None:
    """deepseek-v4-flash: 0.3, off peak (from 10:00 UTC on weekdays, all Saturday) 0.15."""
    of = quote(engine, "deepseek", "deepseek-v4-flash", {"input_uncached": 1000}, at_ns=parse_ns(at))
    assert of.cost_pico == (150_000_000 if off_peak else 300_000_000)


def test_surcharges_multiply_exactly(engine: PriceEngine) -> None:
    """gpt-6.1-sol in a regional host: 2 x 1.1; claude-opus-5-5 in fast mode: twice its price."""
    regional = quote(engine, "openai", "gpt-6.1-sol", {"input_uncached": 1}, region_kind="data_residency", region="eu")
    assert (regional.cost_pico, regional.lines[0].rate_usd) == (2_200_000, "0.0000022")
    plain = quote(engine, "anthropic", "claude-opus-5-5", {"output": 1000})
    fast = quote(engine, "anthropic", "claude-opus-5-5", {"output": 1000}, speed="fast")
    assert plain.cost_pico is not None
    assert fast.cost_pico == 2 * plain.cost_pico


def test_seconds_are_decimal(engine: PriceEngine) -> None:
    """whisper-1: 0.0001 USD a second."""
    of = quote(engine, "openai", "whisper-1", {}, seconds="12.125")
    assert (of.cost_pico, of.lines[0].quantity) == (1_212_500_000, "12.125")


def test_tokens_and_images_of_one_answer_are_billed_once(engine: PriceEngine) -> None:
    both = quote(engine, "openai", "gpt-image-1", {"input_uncached": 53, "output": 8337, "images": 2})
    assert both.cost_pico == quote(engine, "openai", "gpt-image-1", {"input_uncached": 53, "output": 8337}).cost_pico


def test_a_unit_without_any_price_shows_as_a_free_line_of_a_partial_quote(engine: PriceEngine) -> None:
    of = quote(engine, "openai", "gpt-4-0613", {"input_uncached": 10, "web_searches": 3})
    assert (amounts(of)["web_searches"], of.partial) == (0, True)


@pytest.mark.parametrize(
    ("provider", "models", "reason"),
    [
        ("openai", ("gpt-9",), "unknown_model"),
        (None, ("gpt-9",), "no_provider"),
        ("openai", (), "no_model"),
        ("openai", ("unknown",), "no_model"),
    ],
)
def test_a_name_that_is_not_found_has_no_price(engine: PriceEngine, provider: str | None, models: tuple[str, ...], reason: str) -> None:
    of = quote(engine, provider, models, {"input_uncached": 10})
    assert (of.cost_pico, of.method, of.unpriced_reason) == (None, "unpriced", reason)


def test_a_row_without_prices_is_no_price_of_zero(engine: PriceEngine) -> None:
    of = quote(engine, "snowflake", "snowflake-arctic", {"input_uncached": 10})
    assert (of.cost_pico, of.unpriced_reason) == (None, "missing_rate")


def test_an_explicit_price_of_zero_is_free(engine: PriceEngine) -> None:
    assert quote(engine, "ollama", "vicuna", {"input_uncached": 10, "output": 10}).cost_pico == 0


def test_the_first_name_that_resolves_wins_but_a_live_row_beats_a_retired_one(engine: PriceEngine) -> None:
    assert quote(engine, "openai", ("gpt-9", "gpt-4o"), {"input_uncached": 1}).price_key == "gpt-4o"
    assert (
        quote(engine, "mistral", ("mistral-large-2411", "mistral-large-latest"), {"input_uncached": 1}).price_key
        == "mistral/mistral-large-latest"
    )
    assert quote(engine, "mistral", "mistral-large-2411", {"input_uncached": 1}).price_key == "mistral/mistral-large-2411"


@pytest.mark.parametrize(
    ("error", "missing", "cost", "reason"),
    [
        ("429", "no_usage", 0, None),
        ("429", None, 0, None),
        (None, "no_usage", None, "no_usage"),
        (None, None, None, "no_usage"),
        ("timeout", "no_usage_timeout", None, "no_usage_timeout"),
        ("cut", "no_usage_stream", None, "no_usage_stream"),
        (None, "bad_usage", None, "bad_usage"),
    ],
)
def test_calls_without_usage(engine: PriceEngine, error: str | None, missing: str | None, cost: int | None, reason: str | None) -> None:
    of = quote(engine, "openai", "gpt-4o", {}, usage_source="missing", error_type=error, missing_reason=missing)
    assert (of.cost_pico, of.unpriced_reason, of.lines, of.price_key) == (cost, reason, (), "gpt-4o")
    assert of.method == ("unpriced" if cost is None else "computed")


def test_a_failed_call_with_usage_is_priced(engine: PriceEngine) -> None:
    assert quote(engine, "openai", "gpt-4o", {"input_uncached": 1000}, error_type="500").cost_pico == 2_500_000_000


@pytest.mark.parametrize(
    "usage", [{"output": -1}, {"output": True}, {"output": 1.5}, {"output": 10**9 + 1}, {"tokens": 5}, {"output": 5, "reasoning": 6}]
)
def test_impossible_usage_is_bad_usage(engine: PriceEngine, usage: dict[str, Any]) -> None:
    assert quote(engine, "openai", "gpt-4o", usage).unpriced_reason == "bad_usage"


def test_more_than_a_row_can_hold_is_bad_usage(engine: PriceEngine) -> None:
    assert quote(engine, "fal_ai", "bytedance/seedance-2.0/text-to-video", {}, seconds="999999999").unpriced_reason == "bad_usage"


def test_a_sighting_is_billed_at_its_start(engine: PriceEngine) -> None:
    sighting = Sighting(
        "default", "0" * 32, "0" * 16, None, "chat", NOON, NOON + 1, CALL, True, "", "", provider="openai", price_models=("gpt-4o",),
        usage={"output": 1}, usage_source="reported", service_tier="priority",
    )  # fmt: skip
    call = engine.priceable(sighting)
    assert (call.at_ns, call.models, call.service_tier, call.usage) == (NOON, ("gpt-4o",), "priority", {"output": 1})
    assert engine.quote(call).cost_pico == 17_000_000


def test_random_names_do_not_fill_the_memory(engine: PriceEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_finops.base.limits.PRICE_MEMO_MAX", 10)
    own = PriceEngine.load()
    for number in range(100):
        quote(own, "openai", f"model-{number}", {"output": 1})
    quote(own, "openai", "x" * 60_000, {"output": 1})
    assert len(own._terms) <= 10
    assert len(own._matcher._memo) <= 10
    assert not any("x" * 300 in str(key) for key in own._terms)
