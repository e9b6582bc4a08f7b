"""Prices as people write them: per million tokens or for one unit, with tiers and edges; what cannot be meant is refused in words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_finops.base.errors import BadInput
from otel_finops.pricing.book import PriceBook
from otel_finops.pricing.rule_prices import PER_MILLION, PER_UNIT, absurd, fields_of, prices_of_text, shown

BOOK = PriceBook.load()

WRITTEN: dict[str, dict[str, Any]] = {
    "input=2.5,output=10": {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05},
    " input = 0.15 , cache_read=0.075 ": {"input_cost_per_token": 1.5e-07, "cache_read_input_token_cost": 7.5e-08},
    "input.batch=1.25": {"input_cost_per_token_batches": 1.25e-06},
    "input.above_200k=5,output.above_200k.priority=45": {
        "input_cost_per_token_above_200k_tokens": 5e-06,
        "output_cost_per_token_above_200k_tokens_priority": 4.5e-05,
    },
    "cache_write_1h=6": {"cache_creation_input_token_cost_above_1hr": 6e-06},
    "pages=0.002": {"ocr_cost_per_page": 0.002},
    "images=0.04": {"input_cost_per_image": 0.04, "output_cost_per_image": 0.04},
    "web_searches=0.01": {
        "search_context_cost_per_query": dict.fromkeys(
            ("search_context_size_low", "search_context_size_medium", "search_context_size_high"), 0.01
        )
    },
    "input_cost_per_token_above_128k_tokens=0.000005": {"input_cost_per_token_above_128k_tokens": 5e-06},
    "input=0": {"input_cost_per_token": 0},
}


@pytest.mark.parametrize("text", WRITTEN)
def test_prices_are_read_as_the_lists_fields(text: str) -> None:
    assert fields_of(prices_of_text(text)) == WRITTEN[text]


@pytest.mark.parametrize("text", [*WRITTEN, "free"])
def test_what_is_shown_can_be_written_again(text: str) -> None:
    fields = fields_of(prices_of_text(text))
    assert fields_of(shown(fields)) == fields


def test_free_is_a_price_of_zero() -> None:
    assert set(fields_of(prices_of_text("free")).values()) == {0}


REFUSED = {
    "": "no price; write e.g. input=2.5,output=10",
    "input": "is no NAME=PRICE",
    "input=2,input=3": "input stands twice",
    "input=2,input_uncached=3": "stands twice, under another name",
    "inpt=2": "inpt: unknown unit; tokens (USD per million): input, output, cache_read",
    "supports_vision=1": "supports_vision: unknown unit",
    "images.batch=1": "images.batch: unknown unit",
    "input.bach=1": "'bach' is neither a tier (batch, flex, priority, balanced, ultrafast) nor an edge",
    "input=two": "input: no number",
    "input=-1": "input: negative",
    "input=nan": "input: not finite",
    "output=inf": "output: not finite",
    "input=1.2345678901234567": "input: more than 15 significant digits",
    "input=1e999": "too large or small to be a price",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_price_is_refused_in_words(text: str) -> None:
    with pytest.raises(BadInput) as refusal:
        fields_of(prices_of_text(text))
    assert REFUSED[text] in str(refusal.value)


@pytest.mark.parametrize("value", [True, None, [1], {"a": 1}])
def test_what_json_holds_and_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(BadInput, match="input: no number"):
        fields_of({"input": value})


ABSURD = {
    "input=2500000": ("gpt-4o", "more than 1000 times the list's price (0.0000025 USD)"),
    "input=0.0000025": ("gpt-4o", "less than one 1000th of the list's price"),
    "output=99999": (None, "more than 1000 times the price that is usual in the list"),
    "input=0.0000001": (None, "less than one 1000th of the price that is usual in the list"),
    "input=2500": ("gpt-4o", None),
    "input=0.0025": ("gpt-4o", None),
    "input=0": ("gpt-4o", None),
    "input=0.01,output=0.02": (None, None),
    "cache_write_1h.above_200k=3": (None, None),
}


@pytest.mark.parametrize("text", ABSURD)
def test_a_price_that_was_meant_for_another_unit_is_noticed(text: str) -> None:
    """gpt-4o's input costs 2.50 USD a million in the list; a thousand times that and a thousandth of it still pass."""
    model, said = ABSURD[text]
    row = None if model is None else BOOK.by_key(model)
    found = absurd(fields_of(prices_of_text(text)), None if row is None else row.fields, BOOK)
    assert (found is None) if said is None else (found is not None and said in found)


@given(
    st.dictionaries(st.sampled_from([*PER_MILLION, *PER_UNIT]), st.decimals(0, 10_000, places=6, allow_nan=False), min_size=1),
)
def test_every_price_survives_writing_and_reading(prices: dict[str, Decimal]) -> None:
    written = {name: f"{price:f}" for name, price in prices.items()}
    assert {name: Decimal(price) for name, price in shown(fields_of(written)).items()} == prices
