"""Flat fees: periods, and spreading that loses nothing."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_finops.base.times import format_ns, parse_ns
from otel_finops.pricing.coverage import Subscription, spread
from otel_finops.settings.money import SubscriptionRule


def periods(until: str, **rule: Any) -> list[tuple[str, str]]:
    said = {"id": "seat", "providers": ["anthropic"], "fee": "100", **rule}
    one = Subscription.of(SubscriptionRule.model_validate_json(json.dumps(said)))
    return [(format_ns(start)[:10], format_ns(end)[:10]) for start, end in one.periods(parse_ns(until))]


def test_a_period_begins_on_the_same_day_of_every_month() -> None:
    assert periods("2026-12-16", **{"from": "2026-10-15"}) == [
        ("2026-10-15", "2026-11-15"), ("2026-11-15", "2026-12-15"), ("2026-12-15", "2027-01-15"),
    ]  # fmt: skip


def test_where_a_month_is_shorter_it_begins_on_its_last_day() -> None:
    assert periods("2027-03-31", **{"from": "2026-12-31"}) == [
        ("2026-12-31", "2027-01-31"), ("2027-01-31", "2027-02-28"), ("2027-02-28", "2027-03-31"),
    ]  # fmt: skip


def test_the_last_period_ends_with_the_subscription() -> None:
    assert periods("2030-01-01", **{"from": "2026-10-15", "to": "2026-11-20"}) == [
        ("2026-10-15", "2026-11-15"),
        ("2026-11-15", "2026-11-20"),
    ]


def test_a_fee_is_split_by_weight_and_the_rest_goes_to_the_greatest_remainders() -> None:
    """100 by 1 : 1 : 4 is 16 2/3, 16 2/3, 66 2/3: all round down, two units are left, the first two get them."""
    assert spread(100, [1, 1, 4]) == [17, 17, 66]
    assert spread(100, [0, 3]) == [0, 100]
    assert spread(10, [0, 0, 0]) == [4, 3, 3]
    assert spread(10, []) == []


@given(st.integers(0, 10**21), st.lists(st.integers(0, 10**18), min_size=1, max_size=50))
def test_parts_add_up_to_the_fee_and_none_is_a_unit_off_its_share(amount: int, weights: list[int]) -> None:
    parts = spread(amount, weights)
    assert sum(parts) == amount
    total = sum(weights) or len(weights)
    for part, weight in zip(parts, weights if any(weights) else [1] * len(weights), strict=True):
        assert abs(part * total - amount * weight) < total
