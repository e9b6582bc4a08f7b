"""What is taken from EcoLogits is what it says itself; names and regions as senders write them."""

from __future__ import annotations

import pytest

from otel_finops.insight.energy_models import EnergyModels, Range
from otel_finops.insight.regions import country_of

MODELS = EnergyModels()


def test_sums_of_calls_are_what_the_library_says_of_each() -> None:
    """Three calls of 100 tokens each, against its own function for one call whose time nobody measured."""
    utils = pytest.importorskip("ecologits.tracers.utils", reason="SKIPPED LOUDLY: the extra `footprint` is not installed")
    theirs = utils.llm_impacts("openai", "gpt-4o", 100, 1e9, "USA")
    ours = MODELS.model("openai", "gpt-4o")
    assert ours is not None
    kwh = ours.token_kwh.times(300).plus(ours.call_kwh.times(3))
    assert kwh == pytest.approx((3 * theirs.usage.energy.value.min, 3 * theirs.usage.energy.value.max))
    hardware = ours.token_kg.times(300).plus(ours.call_kg.times(3))
    assert hardware == pytest.approx((3 * theirs.embodied.gwp.value, 3 * theirs.embodied.gwp.value))
    mix = MODELS.kg_per_kwh("USA")
    assert mix is not None
    assert kwh.times(mix) == pytest.approx((3 * theirs.usage.gwp.value.min, 3 * theirs.usage.gwp.value.max))
    assert ours.guessed


@pytest.mark.parametrize(
    ("provider", "model", "known_as"),
    [
        ("openai", "gpt-4o", "gpt-4o"),
        ("azure", "gpt-4o", "gpt-4o"),
        ("anthropic", "claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929"),
        ("bedrock", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929"),
        ("vertex_ai", "claude-haiku-4-5@20251001", "claude-haiku-4-5"),
        ("mistral", "Mistral-Large-Latest", "mistral-large-latest"),
        ("together_ai", "mistralai/Mistral-7B-Instruct-v0.3", "mistralai/Mistral-7B-Instruct-v0.3"),
        ("openai", "text-embedding-3-small", None),
        ("anthropic", "gpt-4o", None),
        ("", "gpt-4o", None),
        ("openai", "", None),
    ],
)
def test_models_as_senders_name_them(provider: str, model: str, known_as: str | None) -> None:
    pytest.importorskip("ecologits", reason="SKIPPED LOUDLY: the extra `footprint` is not installed")
    found = MODELS.model(provider, model)
    assert (None if found is None else found.name) == known_as


def test_providers_and_countries() -> None:
    pytest.importorskip("ecologits", reason="SKIPPED LOUDLY: the extra `footprint` is not installed")
    assert (MODELS.home("openai"), MODELS.home("mistral"), MODELS.home("nobody")) == ("USA", "SWE", None)
    assert MODELS.kg_per_kwh("FRA") == 0.04144, "grams of coal differ from those of uranium"
    assert MODELS.kg_per_kwh("XXX") is None


def test_without_the_library_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_finops.insight.energy_models.find_spec", lambda name: None)
    bare = EnergyModels()
    assert (bare.source, bare.model("openai", "gpt-4o"), bare.home("openai"), bare.kg_per_kwh("FRA")) == (None, None, None, None)


@pytest.mark.parametrize(
    ("region", "country"),
    [
        ("us-east-1", "USA"),
        ("US-East-1a", "USA"),
        ("europe-west4-b", "NLD"),
        ("europe-west4", "NLD"),
        ("eu-west-3", "FRA"),
        ("Sweden Central", "SWE"),
        ("swedencentral", "SWE"),
        ("eu", None),
        ("global", None),
        ("eu-west-99", None),
        ("", None),
    ],
)
def test_regions_lie_in_countries(region: str, country: str | None) -> None:
    assert country_of(region) == country


def test_ranges_add_up() -> None:
    assert Range(1, 3).plus(Range(2, 2)).times(10) == Range(30, 50)
