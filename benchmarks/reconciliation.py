"""Makes bills with known holes, compares them, and says how much of each hole's dollars was found and under which name.

    python -m benchmarks.reconciliation --cells 2000 --seed 2026

A cell is a model's day of 20 to 400 calls with tokens spread log-normally over two decades. The provider bills what was really made. The
ledger gets it with holes: calls without counts, streams cut off, spans sampled away, calls without a price, calls booked twice, prices that
differ; one hole in half of the cells, two in the other half. What is told is, for each kind of bill, by hole: how often it was named, and
how far the dollars named were from the true ones, as a part of these. `false` are dollars under names of holes that were not made, as a
part of all true dollars; what was left unexplained is not among them.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import log
from typing import Any, Final, NamedTuple

from otel_finops.insight.reconcile import BillSide, Cause, LedgerSide, Units, judge

HOLES: Final[tuple[Cause, ...]] = ("missing_usage", "cut_streams", "sampling", "unpriced", "double_count", "price_difference")
BILLS: Final = ("tokens and calls", "tokens", "amounts and calls", "amounts")
_PICO_IN: Final = 2_500_000
_PICO_OUT: Final = 10_000_000
_APART: Final = frozenset({"sampling", "double_count"})
"""Never in one cell: a call that is missing and one that is there twice cannot be told from neither."""


class Cell(NamedTuple):
    """A cell with what is wrong with it, in pico-USD by hole."""

    bill: dict[str, BillSide]
    ledger: LedgerSide
    truth: dict[Cause, int]


def cells(count: int, seed: int) -> Iterator[Cell]:
    """Cells with one or two holes."""
    chance = random.Random(seed)
    for number in range(count):
        holes = chance.sample(HOLES, 1 + number % 2)
        if set(holes) != _APART:
            yield _cell(chance, holes)


def _cell(chance: random.Random, holes: Sequence[Cause]) -> Cell:
    size = chance.randint(20, 400)
    made = [(round(chance.lognormvariate(log(1_000), 1)), round(chance.lognormvariate(log(200), 1))) for _ in range(size)]
    factor = Fraction(chance.choice((80, 90, 110, 150)), 100) if "price_difference" in holes else Fraction(1)
    left: list[tuple[int, int]] = list(made)
    taken: dict[Cause, list[tuple[int, int]]] = {}
    for hole in holes:
        part = max(1, round(size * chance.uniform(0.02, 0.3)))
        if hole == "double_count":
            taken[hole] = left[:part]
        elif hole != "price_difference":
            taken[hole] = [left.pop() for _ in range(part)]
    seen = left + taken.get("double_count", [])
    unpriced = taken.get("unpriced", [])
    ledger = LedgerSide(
        priced=len(seen), priced_pico=_cost(seen), quantities=_counts(seen), missing=len(taken.get("missing_usage", ())),
        cut=len(taken.get("cut_streams", ())), unpriced=len(unpriced), unpriced_quantities=_counts(unpriced),
    )  # fmt: skip
    truth: dict[Cause, int] = {hole: round(_cost(taken[hole]) * factor) for hole in holes if hole != "price_difference"}
    if "double_count" in holes:
        truth["double_count"] *= -1
    if "price_difference" in holes:
        truth["price_difference"] = round(_cost(seen) * (factor - 1))
    return Cell(_bills(made, factor), ledger, truth)


def _bills(made: Sequence[tuple[int, int]], factor: Fraction) -> dict[str, BillSide]:
    counts = _counts(made)
    units = {
        "input_uncached": Units(counts["input_uncached"], round(counts["input_uncached"] * _PICO_IN * factor)),
        "output": Units(counts["output"], round(counts["output"] * _PICO_OUT * factor)),
    }
    amount = sum(said.amount_pico or 0 for said in units.values())
    sides = BillSide(amount, units, len(made)), BillSide(amount, units), BillSide(amount, {}, len(made)), BillSide(amount, {})
    return dict(zip(BILLS, sides, strict=True))


def _counts(calls: Sequence[tuple[int, int]]) -> dict[str, int]:
    return {"input_uncached": sum(one for one, _ in calls), "output": sum(other for _, other in calls)}


def _cost(calls: Sequence[tuple[int, int]]) -> int:
    return sum(one * _PICO_IN + other * _PICO_OUT for one, other in calls)


def measured(made: Sequence[Cell], kind: str) -> dict[str, Any]:
    """How well the holes were found by one kind of bill."""
    named, wrong, true, count = (dict.fromkeys(HOLES, 0) for _ in range(4))
    false = 0
    for cell in made:
        verdict = judge(cell.bill[kind], cell.ledger)
        assert sum(verdict.causes.values()) == verdict.gap_pico
        for hole, pico in cell.truth.items():
            found = verdict.causes.get(hole, 0)
            named[hole] += found * pico > 0
            wrong[hole] += abs(found - pico)
            true[hole] += abs(pico)
            count[hole] += 1
        false += sum(abs(pico) for cause, pico in verdict.causes.items() if cause not in (*cell.truth, "unexplained"))
    holes: dict[str, Any] = {
        hole: {"named": round(named[hole] / count[hole], 3), "error": round(wrong[hole] / true[hole], 3)} for hole in HOLES
    }
    return {**holes, "false": round(false / sum(true.values()), 3)}


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=2026)
    given = parser.parse_args()
    made = list(cells(given.cells, given.seed))
    print(json.dumps({"cells": len(made), "seed": given.seed, **{kind: measured(made, kind) for kind in BILLS}}, indent=1))


if __name__ == "__main__":
    main()
