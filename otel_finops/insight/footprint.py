"""What calls took: electricity, and the greenhouse gases of making it and of making the hardware.

Of a model of which something is known it is a range, by what it generated; of any other the settings' flat factor by all its tokens. The
flat part has no range, and is told apart: nobody knows how wrong it is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple, Protocol

from otel_finops.insight.energy_models import ModelEnergy, Range
from otel_finops.insight.regions import country_of
from otel_finops.ledger.spend_entries import Amounts
from otel_finops.settings.footprint import Footprint as FootprintSettings

GRAMS: Final = 1000.0
_TOKENS: Final = 1000


class Models(Protocol):
    """What is known of models and of electricity (`energy_models.EnergyModels`)."""

    def model(self, provider: str, name: str) -> ModelEnergy | None:
        """What a model takes; None: nobody knows."""
        ...

    def home(self, provider: str) -> str | None:
        """Where a provider's calls run that do not say; None: nobody knows."""
        ...

    def kg_per_kwh(self, country: str) -> float | None:
        """What a country's electricity stands for; None: nobody knows the country."""
        ...


class Footprint(NamedTuple):
    """What some calls took.

    Attributes:
        kwh: electricity, data centres included.
        electricity_g: grams of CO2e of making that.
        hardware_g: grams of CO2e of the calls' share of making the hardware; nothing where the flat factor holds.
        calls, tokens, output_tokens: how many.
        flat_kwh, flat_tokens: what of it is by the flat factor.
    """

    kwh: Range = Range()
    electricity_g: Range = Range()
    hardware_g: Range = Range()
    calls: int = 0
    tokens: int = 0
    output_tokens: int = 0
    flat_kwh: float = 0.0
    flat_tokens: int = 0

    @property
    def co2e_g(self) -> Range:
        """Both together."""
        return self.electricity_g.plus(self.hardware_g)

    def plus(self, other: Footprint) -> Footprint:
        """Both together."""
        return Footprint(
            self.kwh.plus(other.kwh),
            self.electricity_g.plus(other.electricity_g),
            self.hardware_g.plus(other.hardware_g),
            self.calls + other.calls,
            self.tokens + other.tokens,
            self.output_tokens + other.output_tokens,
            self.flat_kwh + other.flat_kwh,
            self.flat_tokens + other.flat_tokens,
        )


class Basis(NamedTuple):
    """By what a model's calls in a region are reckoned.

    Attributes:
        model: what is known of it; None: the flat factor holds.
        country: whose electricity; None: nobody knows.
        g_per_kwh: how much CO2e that stands for.
    """

    model: ModelEnergy | None
    country: str | None
    g_per_kwh: float


class Reckoner:
    """Reckons what calls took, by these settings and what is known."""

    def __init__(self, settings: FootprintSettings, models: Models) -> None:
        self._settings = settings
        self._models = models
        self._countries = {name.lower(): country for name, country in settings.countries.items()}
        self.basis = lru_cache(maxsize=4096)(self._basis)

    def of(self, provider: str, model: str, region: str, amounts: Amounts) -> Footprint:
        """What calls of one model in one region took; '' for what is not known. What was taken back counts negative."""
        basis = self.basis(provider, model, region)
        output = amounts.tokens - amounts.prompt
        if basis.model is None:
            kwh = amounts.tokens / _TOKENS * self._settings.kwh_per_1k_tokens
            grams = kwh * basis.g_per_kwh
            return Footprint(
                Range(kwh, kwh), Range(grams, grams), Range(), amounts.calls, amounts.tokens, output, kwh, amounts.tokens
            )  # fmt: skip
        energy = basis.model.token_kwh.times(output).plus(basis.model.call_kwh.times(amounts.calls))
        hardware = basis.model.token_kg.times(output).plus(basis.model.call_kg.times(amounts.calls))
        return Footprint(
            energy, energy.times(basis.g_per_kwh), hardware.times(GRAMS), amounts.calls, amounts.tokens, output
        )  # fmt: skip

    def _basis(self, provider: str, model: str, region: str) -> Basis:
        country = self._country(provider, region)
        known = self._models.model(provider, model)
        kg = None if country is None else self._models.kg_per_kwh(country)
        return Basis(known, country, self._settings.g_per_kwh if kg is None else kg * GRAMS)

    def _country(self, provider: str, region: str) -> str | None:
        """The region's as the settings say or as clouds publish, else the provider's as the settings say or as is known."""
        found = (self._countries.get(region.lower()) or country_of(region)) if region else None
        return found or self._countries.get(provider.lower()) or self._models.home(provider)
