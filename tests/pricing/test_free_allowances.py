"""Free allowances of the price list: what rows grant, and where days and months begin in the provider's calendar."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfoNotFoundError

import pytest

from otel_finops.base.errors import BadInput
from otel_finops.base.times import format_ns, parse_ns
from otel_finops.pricing import allowances
from otel_finops.pricing.allowances import Allowance, allowance_of, period_of
from otel_finops.pricing.book import PriceRow
from otel_finops.pricing.engine import PriceEngine

DAILY = Allowance("gemini", "g", 3, "day")
MONTHLY = DAILY._replace(period="month")


def test_what_the_packaged_list_grants(engine: PriceEngine) -> None:
    """47 rows; the two services of the vendor count apart, models of one group together."""
    granted = [found for row in engine.book.rows() if (found := allowance_of(row)) is not None]
    assert len(granted) == 47
    assert set(granted) == {
        Allowance(family, *rest)
        for family in ("gemini", "vertex_ai")
        for rest in (("gemini-2-flash", 1500, "day"), ("gemini-2.5-pro", 10_000, "day"), ("gemini-3", 5000, "month"))
    }


@pytest.mark.parametrize(
    "stated",
    [None, 5, {}, {"count": -1, "period": "day"}, {"count": True, "period": "day"}, {"count": 1.5, "period": "day"},
     {"count": 1, "period": "week"}, {"count": 1, "period": "day", "shared_group": 7}],
)  # fmt: skip
def test_what_cannot_be_understood_grants_nothing(stated: Any) -> None:
    assert allowance_of(PriceRow("gemini/x", {"litellm_provider": "gemini", "search_free_requests": stated})) is None


def test_a_row_without_a_group_has_its_own() -> None:
    row = PriceRow("gemini/x", {"litellm_provider": "gemini", "search_free_requests": {"count": 1, "period": "day"}})
    assert allowance_of(row) == Allowance("gemini", "gemini/x", 1, "day")


@pytest.mark.parametrize(
    ("allowance", "instant", "begins", "ends"),
    [
        (DAILY, "2026-11-21T07:59:59.9Z", "2026-11-20T08", "2026-11-21T08"),  # winter: UTC-8
        (DAILY, "2026-11-21T08:00:00Z", "2026-11-21T08", "2026-11-22T08"),
        (DAILY, "2026-07-01T06:59:59Z", "2026-06-30T07", "2026-07-01T07"),  # summer: UTC-7
        (DAILY, "2026-03-08T12:00:00Z", "2026-03-08T08", "2026-03-09T07"),  # 23 hours
        (DAILY, "2026-11-01T12:00:00Z", "2026-11-01T07", "2026-11-02T08"),  # 25 hours
        (DAILY, "2026-11-01T09:30:00Z", "2026-11-01T07", "2026-11-02T08"),  # the hour that comes twice
        (MONTHLY, "2026-12-01T07:59:59Z", "2026-11-01T07", "2026-12-01T08"),
        (MONTHLY, "2026-12-01T08:00:00Z", "2026-12-01T08", "2027-01-01T08"),
        (DAILY._replace(family="elsewhere"), "2026-11-21T07:59:59Z", "2026-11-21T00", "2026-11-22T00"),
    ],
)
def test_days_and_months_are_the_providers(allowance: Allowance, instant: str, begins: str, ends: str) -> None:
    found = period_of(allowance, parse_ns(instant))
    assert tuple(format_ns(at_ns)[:13] for at_ns in found) == (begins, ends)


def test_a_system_without_time_zones_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> Any:
        raise ZoneInfoNotFoundError(name)

    monkeypatch.setattr(allowances, "ZoneInfo", unknown)
    with pytest.raises(BadInput, match="no time zone America/Los_Angeles; install"):
        period_of(DAILY, 0)
