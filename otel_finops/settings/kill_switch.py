"""The section `kill_switch`: calls that the settings stop, whatever anybody switches."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from otel_finops.base.limits import NAME_CHARS_MAX
from otel_finops.settings.money import Names
from otel_finops.settings.section import Section


class KillSwitch(Section):
    """Calls that are stopped as long as the settings say so."""

    everything: bool = Field(default=False, description="No model call at all may be made.")
    providers: Names = Field(default=(), description='No call of these provider families: `["openai"]`.')
    tenants: Names = Field(default=(), description="No call of these tenants.")
    models: Names = Field(default=(), description='No call of these models, as callers name them; `*` stands for anything: `["o1*"]`.')
    agents: Names = Field(default=(), description="No call of these agents.")
    why: Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX)] = Field(
        default="the settings say so", description="What callers and people are told."
    )
