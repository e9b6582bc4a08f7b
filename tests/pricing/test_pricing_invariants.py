"""What holds for every call, whatever the model and the counts."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from otel_finops.base.times import parse_ns
from otel_finops.genai.usage import INPUT_PARTS, OTHER_UNITS, OUTPUT_PARTS, PROMPT_UNITS, TOKEN_UNITS
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


# --- the same for any row of the book at any moment -------------------------------------------------------------------

rows = st.sampled_from([(row.family, row.key) for row in ENGINE.book.rows()])
moments = st.integers(min_value=parse_ns("2023-01-01"), max_value=parse_ns("2028-01-01"))
prompts = st.fixed_dictionaries({}, optional=dict.fromkeys((*PROMPT_UNITS, "output"), tokens))
anything = st.fixed_dictionaries({}, optional=dict.fromkeys((*PROMPT_UNITS, "output", *OTHER_UNITS), st.integers(1, 300)))


@settings(max_examples=600, deadline=None, derandomize=True)
@given(row=rows, at=moments, usage=prompts, tier=tiers, shares=st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_no_token_is_billed_twice_and_none_is_forgotten(
    row: tuple[str, str], at: int, usage: dict[str, int], tier: str | None, shares: list[float]
) -> None:
    """Lines of a priced call share out its prompt and its output, parts taken out of their wholes."""
    parted = dict(usage)
    for part, whole, share in zip((*INPUT_PARTS[:2], *OUTPUT_PARTS[:2]), ("input_uncached",) * 2 + ("output",) * 2, shares, strict=True):
        parted[part] = int(usage.get(whole, 0) * share / 2)
    quote = ENGINE.quote(PriceableCall(row[0], (row[1],), {unit: count for unit, count in parted.items() if count}, at, service_tier=tier))
    if quote.cost_pico is None:
        assert (quote.unpriced_reason, quote.lines) == ("missing_rate", ())
        return
    billed = [int(line.quantity) for line in quote.lines if line.unit in TOKEN_UNITS]
    assert sum(billed) == sum(usage.values())
    assert quote.cost_pico == sum(line.amount_pico for line in quote.lines)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(row=rows, at=moments, usage=anything, tier=tiers)
def test_totals_of_any_units_are_sums_of_lines_of_different_units(
    row: tuple[str, str], at: int, usage: dict[str, int], tier: str | None
) -> None:
    quote = ENGINE.quote(PriceableCall(row[0], (row[1],), usage, at, service_tier=tier))
    assert len({line.unit for line in quote.lines}) == len(quote.lines)
    assert {line.unit for line in quote.lines} <= usage.keys()
    assert (quote.cost_pico or 0) == sum(line.amount_pico for line in quote.lines)
    assert all(line.amount_pico >= 0 for line in quote.lines)


@settings(max_examples=600, deadline=None, derandomize=True)
@given(
    row=rows,
    at=moments,
    usage=prompts,
    tier=tiers.filter(lambda tier: tier != "batch"),
    unit=st.sampled_from([*PROMPT_UNITS, "output"]),
    more=st.integers(1, 90_000),
)
def test_more_tokens_of_any_kind_never_cost_less(
    row: tuple[str, str], at: int, usage: dict[str, int], tier: str | None, unit: str, more: int
) -> None:
    """A longer prompt may cost the whole call another rate, and that is never a lower one.

    Batches stand aside: where a list has a batch price for long prompts alone, the half of the standard price of a short one may be more.
    """
    call = PriceableCall(row[0], (row[1],), usage, at, service_tier=tier)
    before, after = ENGINE.quote(call), ENGINE.quote(call._replace(usage={**usage, unit: usage.get(unit, 0) + more}))
    if before.cost_pico is not None and after.cost_pico is not None:
        assert after.cost_pico >= before.cost_pico


@settings(max_examples=300, deadline=None, derandomize=True)
@given(row=rows, at=moments, usage=prompts, factor=st.integers(2, 5))
def test_a_quote_depends_on_nothing_that_was_asked_before(row: tuple[str, str], at: int, usage: dict[str, int], factor: int) -> None:
    call = PriceableCall(row[0], (row[1],), usage, at)
    first = ENGINE.quote(call)
    ENGINE.quote(call._replace(usage={unit: count * factor for unit, count in usage.items()}, service_tier="flex"))
    assert ENGINE.quote(call) == first == PriceEngine(ENGINE.book).quote(call)
