"""What the library EcoLogits knows: how much electricity models take, and how dirty a country's electricity is.

It is an extra (`otel-finops[footprint]`): its data and method are under the Mozilla Public License 2.0, and it takes half a second to
load. It works out what generating tokens takes from a model's size, of which providers tell little: so every figure is a range. What it
says is linear in the tokens and the calls, so that sums can be asked about; measured latencies, by which it cuts single calls, are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_finops.pricing.match import names_asked

if TYPE_CHECKING:
    from ecologits.model_repository import Model
    from ecologits.tracers.utils import _ProviderConfig

_TOKENS: Final = 1_000_000
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("openai",), "azure": ("openai",), "anthropic": ("anthropic",), "mistral": ("mistralai",), "cohere": ("cohere",),
    "gemini": ("google_genai",), "vertex_ai": ("google_genai", "anthropic", "mistralai"),
    "azure_ai": ("openai", "mistralai", "cohere", "huggingface_hub"), "bedrock": ("anthropic", "mistralai", "cohere"),
    "huggingface": ("huggingface_hub",),
}  # fmt: skip
"""By whose names the library knows the models that a provider family sells; of others those of open models."""
_OPEN: Final = ("huggingface_hub",)
_MAKERS: Final = ("anthropic.", "mistral.", "cohere.")
_REGIONAL: Final = ("us.", "eu.", "apac.", "global.")


class Range(NamedTuple):
    """Between two values lies what nobody knows better."""

    low: float = 0.0
    high: float = 0.0

    def plus(self, other: Range) -> Range:
        """Both together."""
        return Range(self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> Range:
        """So many of it."""
        return Range(self.low * factor, self.high * factor)


class ModelEnergy(NamedTuple):
    """What a model takes.

    Attributes:
        name: by which the library knows it.
        token_kwh, call_kwh: electricity of a generated token, and of a call besides, data centre included.
        token_kg, call_kg: the share of making the hardware, kg CO2e.
        guessed: its maker does not tell its size; it was estimated.
    """

    name: str
    token_kwh: Range
    call_kwh: Range
    token_kg: Range
    call_kg: Range
    guessed: bool


class EnergyModels:
    """What is known; without the library nothing is. Loading is put off until the first question."""

    @cached_property
    def source(self) -> str | None:
        """Name and version of the library; None: it is not installed."""
        return f"ecologits {version('ecologits')}" if find_spec("ecologits") is not None else None

    def model(self, provider: str, name: str) -> ModelEnergy | None:
        """What a model takes; None: nobody knows.

        Args:
            provider: family, '' for not known.
        """
        return _model(provider, name) if self.source is not None and name else None

    def home(self, provider: str) -> str | None:
        """The country in which a provider's calls run where they do not say; None: nobody knows."""
        if self.source is None:
            return None
        config = _config(_NAMES.get(provider, ("",))[0])
        return None if config is None else str(config.datacenter_location)

    def kg_per_kwh(self, country: str) -> float | None:
        """How much CO2e a country's electricity stands for; None: nobody knows the country."""
        return _mix(country) if self.source is not None else None


@lru_cache(maxsize=4096)
def _model(provider: str, name: str) -> ModelEnergy | None:
    from ecologits.model_repository import models  # noqa: PLC0415 - loaded when it is first asked

    makers = _NAMES.get(provider, _OPEN)
    for asked in names_asked(provider or None, _own_name(name)):
        for maker in makers:
            found = models.find_model(maker, asked) or (_open_models().get(asked) if maker in _OPEN else None)
            if found is not None:
                return _energy(found, _config(maker) or _config(_OPEN[0]))
    return None


def _own_name(name: str) -> str:
    """Bedrock's ids without region, maker and revision: `eu.anthropic.claude-3-haiku-20240307-v1:0`."""
    shorter = name.lower()
    for prefixes in (_REGIONAL, _MAKERS):
        shorter = next((shorter.removeprefix(prefix) for prefix in prefixes if shorter.startswith(prefix)), shorter)
    head, dash, revision = shorter.rpartition("-v")
    return head if dash and shorter != name.lower() and revision.replace(":", "").isdigit() else shorter


@lru_cache(maxsize=1)
def _open_models() -> Mapping[str, Model]:
    """Open models by their full names and by those without their maker, in lower case; of several so called the first."""
    from ecologits.model_repository import models  # noqa: PLC0415 - as above

    found: dict[str, Model] = {}
    for one in models.list_models():
        if one.provider.value in _OPEN:
            found.setdefault(one.name.lower(), one)
            found.setdefault(one.name.lower().rpartition("/")[2], one)
    return found


def _energy(model: Model, config: _ProviderConfig | None) -> ModelEnergy:
    assert config is not None, "the library knows where open models run"
    deployment = model.deployment
    tps, ttft = (None, None) if deployment is None else (deployment.tps, deployment.ttft)
    tokens = _impacts(model, config, _TOKENS, tps, None)
    call = _impacts(model, config, 0, tps, ttft)
    return ModelEnergy(
        model.name,
        _range(tokens.usage.energy.value).times(1 / _TOKENS),
        _range(call.usage.energy.value),
        _range(tokens.embodied.gwp.value).times(1 / _TOKENS),
        _range(call.embodied.gwp.value),
        any("not-released" in warning.code for warning in model.warnings),
    )


def _impacts(model: Model, config: _ProviderConfig, tokens: int, tps: float | None, ttft: float | None) -> Any:
    """What so many tokens of one call take; greenhouse gases of electricity come from the country, later."""
    from ecologits.impacts.llm import compute_llm_impacts  # noqa: PLC0415 - as above
    from ecologits.model_repository import ParametersMoE  # noqa: PLC0415 - as above

    parameters = model.architecture.parameters
    total, active = (parameters.total, parameters.active) if isinstance(parameters, ParametersMoE) else (parameters, parameters)
    return compute_llm_impacts(
        model_active_parameter_count=active,
        model_total_parameter_count=total,
        output_token_count=tokens,
        if_electricity_mix_adpe=0.0,
        if_electricity_mix_pe=0.0,
        if_electricity_mix_gwp=0.0,
        if_electricity_mix_wue=0.0,
        datacenter_pue=config.datacenter_pue,
        datacenter_wue=config.datacenter_wue,
        tps=tps,
        ttft=ttft,
    )


def _range(value: Any) -> Range:
    return Range(float(getattr(value, "min", value)), float(getattr(value, "max", value)))


def _config(maker: str) -> _ProviderConfig | None:
    from ecologits.tracers.utils import PROVIDER_CONFIG_MAP  # noqa: PLC0415 - as above

    return PROVIDER_CONFIG_MAP.get(maker)


@lru_cache(maxsize=512)
def _mix(country: str) -> float | None:
    from ecologits.electricity_mix_repository import electricity_mixes  # noqa: PLC0415 - as above

    found = electricity_mixes.find_electricity_mix(country)
    return None if found is None else float(found.gwp)
