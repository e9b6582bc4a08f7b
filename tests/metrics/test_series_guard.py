from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from otel_finops.metrics.series_guard import OTHER, SeriesGuard, safe_label


class Sum:
    def __init__(self) -> None:
        self.value = 0


def scrape(rows: list[tuple[str, int]], capacity: int) -> dict[str, int]:
    guard = SeriesGuard(1, capacity, Sum)
    for label, amount in rows:
        guard.series((label,)).value += amount
    assert len(guard) <= capacity
    return {values[0]: total.value for values, total in guard}


def test_a_hundred_thousand_label_values_fill_the_capacity_and_keep_the_sum() -> None:
    amounts = [random.Random(i).randrange(10**12) for i in range(100_000)]
    series = scrape([(f"model-{i}", amount) for i, amount in enumerate(amounts)], capacity=10_000)
    assert len(series) == 10_000
    assert sum(series.values()) == sum(amounts)
    assert series[OTHER] == sum(amounts[9_999:])
    assert series["model-0"] == amounts[0]


def test_the_capacity_leaves_room_for_other_before_it_is_needed() -> None:
    # Two values fit into two series only by taking `other`'s place; the second would then have to leave its own series later.
    assert scrape([("a", 1), ("b", 2)], capacity=2) == {"a": 1, OTHER: 2}


def test_a_label_value_that_is_called_other_is_part_of_other() -> None:
    assert scrape([("other", 5), ("a", 1)], capacity=10) == {"a": 1, OTHER: 5}


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 10**20)), max_size=40), st.integers(1, 6), st.integers(0, 40))
def test_no_series_ever_goes_down_or_away_while_the_ledger_grows(rows: list[tuple[str, int]], capacity: int, split: int) -> None:
    before, after = scrape(rows[:split], capacity), scrape(rows, capacity)
    assert all(after[label] >= value for label, value in before.items())
    assert sum(after.values()) == sum(amount for _, amount in rows)


def test_label_values_are_made_safe() -> None:
    assert safe_label("gpt-4o") == "gpt-4o"
    assert safe_label("größe") == "größe"
    assert safe_label("a\nb\x00c\u202ed\ud800") == "a\ufffdb\ufffdc\ufffdd\ufffd"
    long = safe_label("x" * 1000)
    assert len(long) == 256
    assert long.endswith("…")
