"""The section `enforcement`: whether what governs spend only says what it would do, or does it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from otel_finops.settings.section import Section


class Enforcement(Section):
    """What becomes of calls that budgets, credits, guardrails and policies would not let through."""

    mode: Literal["observe", "enforce"] = Field(
        default="observe",
        description="`observe`: everything is decided and recorded as what would have happened, and nothing is stopped. `enforce`: it is. "
        "Kill switches hold in both.",
    )
