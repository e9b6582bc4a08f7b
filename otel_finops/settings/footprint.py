"""The section `footprint`: what calls take of electricity where nobody knows better, and where they run."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

from otel_finops.settings.section import Section

Country: TypeAlias = Annotated[str, Field(pattern="^[A-Z]{3}$")]
Named: TypeAlias = Annotated[str, Field(min_length=1, max_length=100)]


class Footprint(Section):
    """Energy and CO2e of calls."""

    kwh_per_1k_tokens: float = Field(
        default=0.0005,
        ge=0,
        le=1000,
        description="Electricity of 1,000 tokens, prompt and output, of models of which nobody knows more; such figures are marked `flat`.",
    )
    g_per_kwh: float = Field(
        default=400.0, ge=0, le=10_000, description="Grams of CO2e of a kilowatt-hour, for such models and where nobody knows the country."
    )
    countries: dict[Named, Country] = Field(
        default={},
        max_length=1000,
        description="Countries (ISO 3166, three letters, or WOR for the world's mean) by provider family, as `provider`, or by region, as "
        '`region`, where calls run, e.g. {"openai": "SWE", "my-cluster": "FRA"}; before what is known otherwise.',
    )
