"""The section `jobs`: how often what runs by the clock runs."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from otel_finops.base.limits import JOB_INTERVAL_S_MIN
from otel_finops.settings.section import Section

Interval: TypeAlias = Annotated[float, Field(ge=JOB_INTERVAL_S_MIN, le=31 * 86_400)]


class Jobs(Section):
    """What the service does by the clock; `jobs.list` names the jobs."""

    intervals: dict[str, Interval] = Field(
        default={},
        description="Seconds from the end of a job's run to the start of the next, by the job's name, where others than the usual ones: "
        '`{"check_alerts": 30}`. A name that no job has refuses the start.',
    )
