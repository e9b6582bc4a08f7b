"""Gaps by cause, worked out by hand; whatever the two sides say, the causes add up to the gap."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_finops.insight.reconcile import BillSide, LedgerSide, Units, Verdict, absent_from_bill, added, judge

USD = 10**12
TEN_CALLS = LedgerSide(priced=10, priced_pico=10 * USD, quantities={"input_uncached": 1_000, "output": 500})
"""Ten calls of 100 tokens in at 0.5 cents and 50 out at 1 cent: 1 USD each."""
PRICES = {"input_uncached": Fraction(USD, 200), "output": Fraction(USD, 100)}


def bill(calls: int, *, times: int = 100, requests: int | None = None, **more: int) -> BillSide:
    """So many of these calls, at so many percent of their price."""
    units = {
        "input_uncached": Units(100 * calls, calls * USD // 2 * times // 100),
        "output": Units(50 * calls, calls * USD // 2 * times // 100),
    }
    return BillSide(calls * USD * times // 100, units, requests, **more)


def causes(verdict: Verdict) -> dict[str, float]:
    assert sum(verdict.causes.values()) == verdict.billed_pico - verdict.booked_pico == verdict.gap_pico
    return {cause: pico / USD for cause, pico in verdict.causes.items()}


def test_what_agrees_has_no_gap() -> None:
    assert judge(bill(10), TEN_CALLS) == Verdict(10 * USD, 10 * USD, {})


def test_calls_with_counts_and_no_price_are_unpriced() -> None:
    """Two further calls that were seen with 200 tokens in and 100 out between them."""
    ledger = TEN_CALLS._replace(unpriced=2, unpriced_quantities={"input_uncached": 200, "output": 100})
    assert causes(judge(bill(12), ledger)) == {"unpriced": 2.0}


def test_calls_without_counts_share_what_nobody_else_has() -> None:
    """Of four calls' worth three are of spans without counts and one is of a stream that was cut off."""
    ledger = TEN_CALLS._replace(missing=3, cut=1)
    for requests in (None, 14):
        assert causes(judge(bill(14, requests=requests), ledger)) == {"missing_usage": 3.0, "cut_streams": 1.0}


def test_calls_of_which_no_span_came_were_sampled_away() -> None:
    """Six more on the bill: told by their number, or by tokens that no call in the ledger can have had."""
    assert causes(judge(bill(16, requests=16), TEN_CALLS)) == {"sampling": 6.0}
    assert causes(judge(bill(16), TEN_CALLS)) == {"sampling": 6.0}
    both = TEN_CALLS._replace(cut=2)
    assert causes(judge(bill(16, requests=16), both)) == {"cut_streams": 2.0, "sampling": 4.0}
    assert causes(judge(bill(16), both)) == {"cut_streams": 2.0, "sampling": 4.0}


def test_a_model_that_nobody_shows_is_not_seen() -> None:
    assert causes(judge(bill(5, requests=5), LedgerSide())) == {"not_seen": 5.0}


def test_more_in_the_ledger_than_on_the_bill_is_a_double_count() -> None:
    for requests in (None, 7):
        assert causes(judge(bill(7, requests=requests), TEN_CALLS)) == {"double_count": -3.0}


def test_a_model_that_the_bill_does_not_have() -> None:
    assert causes(absent_from_bill(TEN_CALLS)) == {"not_on_bill": -10.0}
    assert absent_from_bill(LedgerSide(failed=2)) == Verdict(0, 0, {})


def test_the_same_calls_with_other_counts_are_no_double_count() -> None:
    """The ledger took 400 cached tokens for prompt tokens once more: 400 at 0.5 cents, and as many calls as on the bill."""
    ledger = TEN_CALLS._replace(quantities={"input_uncached": 1_400, "output": 500}, priced_pico=12 * USD)
    assert causes(judge(bill(10, requests=10), ledger)) == {"usage_difference": -2.0}
    assert causes(judge(bill(10), ledger._replace(quantities={"input_uncached": 1_500, "output": 450}))) == {
        "usage_difference": -2.0,  # 500 more in, 50 fewer out: 2.50 and 0.50 USD
    }


def test_other_prices_are_told_from_other_quantities() -> None:
    """20 % dearer: 2 USD for what was seen; two further calls without counts cost 1.20 each."""
    ledger = TEN_CALLS._replace(missing=2)
    assert causes(judge(bill(10, times=120), TEN_CALLS)) == {"price_difference": 2.0}
    assert causes(judge(bill(12, times=120), ledger)) == pytest.approx({"price_difference": 2.0, "missing_usage": 2.4})


def test_without_amounts_by_unit_the_price_book_says_how_they_relate() -> None:
    """14 USD for 1,200 tokens in and 800 out: 6 and 8 USD at plain prices. 200 more in and 300 more out are 4 USD."""
    both = BillSide(14 * USD, {"input_uncached": Units(1_200), "output": Units(800)})
    assert causes(judge(both, TEN_CALLS._replace(weights=PRICES))) == {"sampling": 4.0}


def test_counts_alone_are_valued_at_what_the_ledger_paid() -> None:
    """The ledger has a discount of half: 10 USD for 1,000 in and 500 out come to 5 USD, so 12 calls' tokens are 6 USD."""
    counts = BillSide(None, {"input_uncached": Units(1_200), "output": Units(600)})
    verdict = judge(counts, TEN_CALLS._replace(priced_pico=5 * USD, weights=PRICES))
    assert (verdict.billed_pico, verdict.valued, causes(verdict)) == (6 * USD, True, {"sampling": 1.0})


def test_estimates_count_against_the_calls_that_they_stand_for() -> None:
    """Two calls without counts were estimated at 0.70 each and cost 1 each."""
    ledger = TEN_CALLS._replace(estimated=2, estimated_pico=14 * USD // 10)
    assert causes(judge(bill(12, requests=12), ledger)) == {"missing_usage": 0.6}


def test_a_bill_without_quantities_explains_by_what_others_cost() -> None:
    """Two calls without counts are expected at 1 USD each. Up to a quarter more is theirs too; of 5 USD 3 stay unexplained."""
    ledger = TEN_CALLS._replace(missing=1, cut=1)
    assert causes(judge(BillSide(12 * USD, {}), ledger)) == {"missing_usage": 1.0, "cut_streams": 1.0}
    assert causes(judge(BillSide(11 * USD, {}), ledger)) == {"missing_usage": 0.5, "cut_streams": 0.5}
    assert causes(judge(BillSide(15 * USD, {}), ledger)) == {"missing_usage": 1.0, "cut_streams": 1.0, "unexplained": 3.0}
    assert causes(judge(BillSide(14 * USD, {}, requests=14), TEN_CALLS)) == {"sampling": 4.0}
    assert causes(judge(BillSide(8 * USD, {}, requests=8), TEN_CALLS)) == {"double_count": -2.0}
    assert causes(judge(BillSide(8 * USD, {}), TEN_CALLS)) == {"unexplained": -2.0}


def test_amounts_that_the_bill_rounds() -> None:
    """Two lines in cents may be a cent off together."""
    cents = bill(10)._replace(amount_pico=10 * USD + USD // 200, slack_pico=USD // 100, units={})
    assert causes(judge(cents, TEN_CALLS)) == {"rounding": 0.005}
    assert causes(judge(cents._replace(slack_pico=0), TEN_CALLS)) == {"unexplained": 0.005}


def test_cells_add_up() -> None:
    total = added([judge(bill(12, requests=12), TEN_CALLS), judge(bill(8, requests=8), TEN_CALLS), absent_from_bill(TEN_CALLS)])
    assert (total.billed_pico, total.booked_pico) == (20 * USD, 30 * USD)
    assert causes(total) == {"sampling": 2.0, "double_count": -2.0, "not_on_bill": -10.0}


counts = st.integers(0, 10**6)
amounts = st.integers(0, 10**15)
units = st.sampled_from(["input_uncached", "cache_read", "output", "web_searches"])
quantities = st.dictionaries(units, st.integers(1, 10**9), max_size=4)
bills = st.builds(
    BillSide,
    st.none() | amounts,
    st.dictionaries(units, st.builds(Units, st.none() | counts, st.none() | amounts), max_size=4),
    st.none() | counts,
    st.integers(0, 10**10),
)
ledgers = st.builds(
    LedgerSide, counts, amounts, quantities, counts, amounts, counts, counts, counts, quantities, counts,
    st.dictionaries(units, st.fractions(min_value=0, max_value=10**9), max_size=4),
)  # fmt: skip


@given(bills, ledgers)
def test_causes_always_add_up_to_the_gap(one: BillSide, ledger: LedgerSide) -> None:
    verdict = judge(one, ledger)
    assert sum(verdict.causes.values()) == verdict.billed_pico - ledger.cost_pico
    assert one.amount_pico is None or verdict.billed_pico == one.amount_pico
    assert all(verdict.causes.values())
