"""The section `waste`: from where on spending is taken for waste."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from otel_finops.base.limits import NAME_CHARS_MAX
from otel_finops.settings.section import Section

ModelName: TypeAlias = Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX)]


class Waste(Section):
    """Thresholds of waste findings."""

    loop_calls: int = Field(
        default=25, ge=2, le=100_000, description="Calls that an agent makes one after another in a trace; what comes after them is a loop."
    )
    repeat_tokens: int = Field(
        default=200, ge=1, le=10_000_000, description="Shortest prompt whose calls, equal in all counts, are taken for repetitions."
    )
    retry_seconds: float = Field(
        default=600.0, gt=0, le=86_400, description="Seconds after a call failed within which the same call again is its retry."
    )
    growth_factor: float = Field(
        default=3.0, gt=1, le=1_000, description="So many times its first prompt an agent's last one has when its context grows."
    )
    cache_tokens: int = Field(
        default=1_024, ge=1, le=10_000_000, description="Shortest beginning of a prompt that providers cache, in tokens."
    )
    cache_seconds: float = Field(default=300.0, gt=0, le=86_400, description="Seconds for which a cached prompt is there to be read.")
    short_output: int = Field(
        default=64, ge=1, le=1_000_000, description="Longest answer, in tokens, for which a smaller model would most likely do."
    )
    short_prompt: int = Field(default=4_000, ge=1, le=10_000_000, description="Longest prompt of such calls.")
    short_calls: int = Field(
        default=20, ge=1, le=1_000_000, description="Calls that an agent makes of a model before it is said to be oversized for it."
    )
    smaller_models: dict[ModelName, ModelName] = Field(
        default={},
        max_length=1_000,
        description='Which model would do instead, before the built-in rules (docs/insight.md): `{"gpt-4o": "gpt-4o-mini"}`.',
    )
