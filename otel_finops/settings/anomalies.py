"""The section `anomalies`: what of spend is out of the ordinary."""

from __future__ import annotations

from pydantic import Field

from otel_finops.settings.section import Section


class Anomalies(Section):
    """When a day or an hour of spend is a finding."""

    score: float = Field(
        default=3.5,
        ge=1,
        le=100,
        description="A day is a finding from so many robust standard deviations above what was expected.",
    )
    hour_score: float = Field(
        default=8.0,
        ge=1,
        le=100,
        description="The same for an hour: there are 24 times as many of them, and what happens in one differs more.",
    )
    least_usd: float = Field(
        default=0.01,
        ge=0.000001,
        le=1_000_000,
        description="USD by which a day or an hour lies above what was expected, at least.",
    )
    spread: float = Field(
        default=0.25,
        ge=0.01,
        le=1,
        description="The smallest standard deviation that is believed, as a part of what was expected: a level that never moved by a cent "
        "does not make two cents a finding.",
    )
    look_back: int = Field(
        default=30,
        ge=1,
        le=366,
        description="Days that are looked at again by the clock, the running one included: spans come late, and prices are corrected.",
    )
    keep_days: int = Field(default=400, ge=1, le=36_500, description="Days after which findings, and what was said of them, are dropped.")
