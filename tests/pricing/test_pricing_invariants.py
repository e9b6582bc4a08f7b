"""What holds for every call, whatever the model and the counts."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from otel_finops.genai.usage import PROMPT_UNITS
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.quote import PriceableCall

ENGINE = PriceEngine.load()

models = st.sampled_from(
    [
        ("anthropic", "claude-sonnet-4-5"),
        ("openai", "gpt-6.1-sol"),
        ("openai", "gpt-4o-audio-preview-2025-06-03"),
        ("xai", "grok-4.20"),
        ("dashscope", "qwen-flash"),
        ("dashscope", "qwen-plus-2025-07-28"),
        ("perplexity", "sonar-deep-research"),
        ("gemini", "gemini-2.5-pro"),
        ("deepseek", "deepseek-v4-flash"),
        ("groq", "openai/gpt-oss-20b"),
        ("mistral", "mistral-ocr-latest"),
    ]
)
tiers = st.sampled_from([None, "default", "batch", "flex", "priority", "ultrafast", "anything"])
tokens = st.integers(min_value=0, max_value=400_000)
usages = st.fixed_dictionaries({}, optional=dict.fromkeys((*PROMPT_UNITS, "output", "web_searches", "pages"), tokens))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(model=models, usage=usages, tier=tiers)
def test_totals_are_sums_of_lines_and_no_unit_stands_twice(model: tuple[str, str], usage: dict[str, int], tier: str | None) -> None:
    quote = ENGINE.quote(PriceableCall(model[0], (model[1],), usage, 0, service_tier=tier))
    if quote.cost_pico is None:
        assert quote.unpriced_reason == "missing_rate"
        return
    assert quote.cost_pico == sum(line.amount_pico for line in quote.lines)
    assert len({line.unit for line in quote.lines}) == len(quote.lines)
    assert all(line.amount_pico >= 0 for line in quote.lines)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(model=models, usage=usages, tier=tiers, unit=st.sampled_from([*PROMPT_UNITS, "output", "web_searches"]), more=st.integers(1, 50_000))
def test_more_of_a_unit_never_costs_less(model: tuple[str, str], usage: dict[str, int], tier: str | None, unit: str, more: int) -> None:
    before = ENGINE.quote(PriceableCall(model[0], (model[1],), usage, 0, service_tier=tier))
    after = ENGINE.quote(PriceableCall(model[0], (model[1],), {**usage, unit: usage.get(unit, 0) + more}, 0, service_tier=tier))
    if before.cost_pico is not None and after.cost_pico is not None:
        assert after.cost_pico >= before.cost_pico


@settings(max_examples=200, deadline=None, derandomize=True)
@given(model=models, output=tokens, shares=st.lists(st.floats(0, 1), min_size=2, max_size=2))
def test_billed_quantities_of_output_and_its_parts_add_up_to_the_output(model: tuple[str, str], output: int, shares: list[float]) -> None:
    reasoning = int(output * shares[0])
    audio = int((output - reasoning) * shares[1])
    quote = ENGINE.quote(PriceableCall(model[0], (model[1],), {"output": output, "reasoning": reasoning, "audio_out": audio}, 0))
    billed = [line.quantity for line in quote.lines if line.unit in {"output", "reasoning", "audio_out"}]
    assert quote.cost_pico is not None
    assert sum(count for count in billed if isinstance(count, int)) == output


@settings(max_examples=300, deadline=None, derandomize=True)
@given(model=st.text(max_size=40), provider=st.none() | st.text(max_size=20))
def test_any_text_is_answered(model: str, provider: str | None) -> None:
    quote = ENGINE.quote(PriceableCall(provider, (model,), {"input_uncached": 1}, 0))
    assert quote.method in {"computed", "unpriced"}


counts = st.one_of(st.integers(), st.booleans(), st.floats(), st.none(), st.text(max_size=3))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(count=counts, unit=st.sampled_from(["output", "cache_read", "images", "tokens"]))
def test_no_count_that_is_no_count_is_ever_charged(count: object, unit: str) -> None:
    quote = ENGINE.quote(PriceableCall("openai", ("gpt-4o",), {unit: count}, 0))  # type: ignore[dict-item]
    possible = type(count) is int and 0 <= count <= 10**9 and unit != "tokens"
    assert (quote.unpriced_reason == "bad_usage") is not possible
