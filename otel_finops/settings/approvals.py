"""The section `approvals`: how long requests wait for a person, and how long what they give holds."""

from __future__ import annotations

from pydantic import Field

from otel_finops.settings.section import Section

PASS_HOURS_MAX = 8_760
"""A year: a pass that is to hold for longer is a policy."""


class Approvals(Section):
    """Requests for approval, which policies ask for."""

    pending_hours: float = Field(
        default=24.0, gt=0, le=PASS_HOURS_MAX, description="Hours for which a request waits for somebody; then it has expired."
    )
    pass_hours: float = Field(
        default=24.0, gt=0, le=PASS_HOURS_MAX, description="Hours for which an approval holds when the approver does not say."
    )
