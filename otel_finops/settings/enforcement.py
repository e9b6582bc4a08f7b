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
    block_status: int = Field(
        default=402,
        ge=400,
        le=599,
        description="HTTP status that applications are told to answer with when a call is blocked, or waits for somebody's approval.",
    )
    reservation_ttl: float = Field(
        default=600.0,
        ge=1,
        le=86_400,
        description="Seconds for which a decision holds the estimate; a call that is not settled by then gives it back. Longer than the "
        "longest call takes.",
    )
    settle_grace: float = Field(
        default=900.0,
        ge=1,
        le=86_400,
        description="Seconds for which the amount of a settled call stays held until its span is booked. Longer than spans take to come.",
    )
    unknown_cost: Literal["allow", "block"] = Field(
        default="allow",
        description="Whether a call passes a hard limit of money when nobody knows what it will cost: its model has no price, or no counts "
        "were given.",
    )
    store_away: Literal["allow", "block"] = Field(
        default="allow",
        description="Whether calls pass while the database cannot be asked, where no budget says otherwise. Kill switches hold on.",
    )
    durable: bool = Field(
        default=False,
        description="Answer only once a decision would survive a power failure. Otherwise it survives the end of every process, and is "
        "safe on the disk with the next booking: a power failure of the database's machine may cost holds of its last moment, no entry.",
    )
    store_timeout: float = Field(
        default=1.0, ge=0.05, le=30, description="Seconds that a decision waits for the database before it is taken to be away."
    )
