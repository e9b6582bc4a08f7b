"""Units are checked by models whose prices everybody knows; differences are told price by price."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_finops.pricing.diff import Doubt, PriceChange, RowChange, compare, guards
from otel_finops.pricing.lint import lint
from otel_finops.pricing.overlap import differing
from otel_finops.pricing.snapshot import Fields


def gpt_4o(scale: float) -> dict[str, Fields]:
    return {"gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 2.5e-6 * scale, "output_cost_per_token": 1e-5 * scale}}


def test_a_list_in_the_right_unit_passes() -> None:
    assert lint(gpt_4o(1)) == (1, (), ())


@pytest.mark.parametrize(
    ("scale", "guess"),
    [
        (1e6, "USD for a million tokens taken for USD for one"),
        (1e-6, "USD for a million tokens taken for USD for one, the other way round"),
        (100, "cents taken for USD"),
        (1e3, "USD for a thousand tokens taken for USD for one"),
        (10, "off by 10"),
    ],
)
def test_a_list_in_another_unit_is_told_by_its_anchors(scale: float, guess: str) -> None:
    wrong = lint(gpt_4o(scale)).wrong
    assert len(wrong) == 2
    assert wrong[0].startswith(f"openai gpt-4o: input_cost_per_token is {2.5 * scale:.6g} USD for a million tokens, known is 2.5: {guess}")


def test_a_new_price_of_an_anchor_is_a_note_and_no_fault() -> None:
    report = lint(gpt_4o(2))
    assert not report.wrong
    assert report.notes[0] == "openai gpt-4o: input_cost_per_token is 5 USD for a million tokens, known is 2.5"


def test_a_list_without_any_anchor_says_so_and_dear_rows_are_named() -> None:
    dear = {"acme/one": {"litellm_provider": "acme", "output_cost_per_token": 0.54}}
    assert lint(dear).notes == (
        "the list has none of the models whose prices are well known: its unit was not checked",
        "more than 0.01 USD for one token: acme/one",
    )


BEFORE: dict[str, Fields] = {
    "one": {"litellm_provider": "acme", "input_cost_per_token": 1e-6, "deprecation_date": "2027-01-01"},
    "Two": {
        "litellm_provider": "acme",
        "input_cost_per_token": 2e-6,
        "tiered_pricing": [{"range": [0, 10], "output_cost_per_token": 3e-6}],
    },
    "three": {"litellm_provider": "acme", "input_cost_per_token": 3e-6},
}


def test_new_changed_and_gone_rows_are_told_apart() -> None:
    after: dict[str, Fields] = {
        "ONE": {**BEFORE["one"], "deprecation_date": "2028-01-01"},
        "two": {**BEFORE["Two"], "input_cost_per_token": 21e-6, "tiered_pricing": [{"range": [0, 9], "output_cost_per_token": 4e-6}]},
        "four": BEFORE["three"],
    }
    diff = compare(BEFORE, after)
    assert diff == (
        ("four",),
        (
            RowChange(
                "two",
                (PriceChange("input_cost_per_token", 2e-6, 21e-6), PriceChange("tiered_pricing[0].output_cost_per_token", 3e-6, 4e-6)),
            ),
        ),
        ("three",),
    )
    assert guards(diff, 3, 3) == (Doubt("two", "input_cost_per_token goes from 0.000002 to 0.000021 USD, by more than x10"),)


def test_ten_times_is_believed_and_free_or_no_longer_free_is_doubted() -> None:
    def moved(before: float, after: float) -> int:
        rows = [{"a": {"litellm_provider": "acme", "input_cost_per_token": price}} for price in (before, after)]
        return len(guards(compare(*rows), 1, 1))

    believed, doubted = [(1e-6, 1e-5), (1e-5, 1e-6)], [(1e-6, 1.1e-5), (1.1e-5, 1e-6), (0, 1e-6), (1e-6, 0)]
    assert [moved(*prices) for prices in believed + doubted] == [0, 0, 1, 1, 1, 1]


def test_a_fifth_may_go_and_not_more() -> None:
    nothing = compare({}, {})
    assert guards(nothing, 100, 80) == ()
    assert guards(nothing, 100, 79) == (Doubt(None, "the list shrank from 100 to 79 rows (21%, allowed are 20%)"),)


ROWS = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.fixed_dictionaries({"litellm_provider": st.just("acme"), "input_cost_per_token": st.sampled_from([1e-6, 2e-6, 3e-6])}),
)


@given(ROWS, ROWS)
def test_a_difference_leads_from_one_list_to_the_other(before: dict[str, Fields], after: dict[str, Fields]) -> None:
    diff = compare(before, after)
    kept = {key: row for key, row in before.items() if key not in diff.gone}
    for change in diff.changed:
        kept[change.key] = {**kept[change.key], **{price.field: price.after for price in change.prices}}
    assert {**kept, **{key: after[key] for key in diff.new}} == after


def test_models_that_two_lists_price_otherwise_are_named() -> None:
    ours: dict[str, Fields] = {
        "openai/gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 3e-6},
        "openai/gpt-4.1": {"litellm_provider": "openai", "input_cost_per_token": 2e-6},
        "openai/only-here": {"litellm_provider": "openai", "input_cost_per_token": 2e-6},
    }
    theirs: dict[str, Fields] = {**gpt_4o(1), "gpt-4.1": ours["openai/gpt-4.1"], "azure/only-here": {"litellm_provider": "azure"}}
    assert list(differing(ours, theirs)) == ["openai/gpt-4o"]
