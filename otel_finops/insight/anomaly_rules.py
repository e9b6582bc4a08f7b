"""By what days and hours of spend are judged, from the settings."""

from __future__ import annotations

from typing import Final

from otel_finops.insight.anomaly import Rule
from otel_finops.settings.anomalies import Anomalies

HOURS_OF_DAY: Final = 24
DAYS_OF_WEEK: Final = 7
DAYS_BACK: Final = 56
"""Days with which a day is compared: eight weeks follow a season of the year, and hold eight of each weekday."""
HOURS_BACK: Final = 24 * 21
"""Hours with which an hour is compared: three of each hour of the week."""


def day_rule(settings: Anomalies, unit: float) -> Rule:
    """For days; `unit` is what one USD is in the series' unit."""
    return Rule(settings.score, settings.least_usd * unit, settings.spread, (DAYS_OF_WEEK,))


def hour_rule(settings: Anomalies, unit: float) -> Rule:
    """For hours, which repeat by the week, or by the day as long as there are less than two weeks of them. Two or three rounds without a
    call at some hour are no habit where calls are rare."""
    cycles = (DAYS_OF_WEEK * HOURS_OF_DAY, HOURS_OF_DAY)
    return Rule(settings.hour_score, settings.least_usd * unit, settings.spread, cycles, idle_counts=False)
