"""Bills with holes of known size: a bill with tokens and calls has each of them named, and nothing else."""

from __future__ import annotations

from benchmarks.reconciliation import HOLES, cells, measured


def test_every_hole_is_named_where_the_bill_tells_tokens_and_calls() -> None:
    """What calls without counts, sampled and doubled ones cost is known on average only, so one of them may swallow another; all else is
    exact.
    """
    made = list(cells(600, seed=8))
    found = measured(made, "tokens and calls")
    assert min(found[hole]["named"] for hole in HOLES) > 0.98
    assert found["false"] == 0
    assert found["unpriced"]["error"] == found["price_difference"]["error"] == 0
    assert max(found[hole]["error"] for hole in HOLES) < 0.06


def test_a_bill_of_amounts_alone_claims_nothing_that_it_cannot_know() -> None:
    made = list(cells(600, seed=9))
    found = measured(made, "amounts")
    assert found["false"] == 0
    assert {found[hole]["named"] for hole in ("sampling", "double_count", "price_difference")} == {0.0}
