"""Footprints, worked out by hand with a model that takes round figures; regions, groups, the course and the verbs.

The made-up model `big` of openai takes 0.001 to 0.003 kWh of a generated token and 0.1 kWh of a call, and 0.01 kg CO2e of hardware a token.
Its provider is at home in AAA, whose electricity stands for 0.5 kg a kWh; that of FRA for 0.1 kg. Of other models nobody knows anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from empty_ledgers import empty_store
from ledger_rig import SECOND, Rig, call

from otel_finops.base.errors import BadInput
from otel_finops.base.times import parse_ns
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.insight.energy_models import EnergyModels, ModelEnergy, Range
from otel_finops.insight.footprint import Footprint, Reckoner
from otel_finops.insight.footprints import Footprints
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.spend_entries import Amounts
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import Json, invoke
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.settings.footprint import Footprint as FootprintSettings
from otel_finops.store.engine import Store
from otel_finops.testing import RememberedTrail

BIG = ModelEnergy("big", Range(0.001, 0.003), Range(0.1, 0.1), Range(0.01, 0.01), Range(), guessed=True)
VERA = Principal("vera", ("acme",), ROLES["viewer"])
ACMES, GLOBEX = {"tenant": "acme", "user": "ann"}, {"tenant": "globex", "user": "bob"}


class MadeUp(EnergyModels):
    """Knows one model and two countries."""

    source = "made up"

    def model(self, provider: str, name: str) -> ModelEnergy | None:
        return BIG if (provider, name) == ("openai", "gpt-4o") else None

    def home(self, provider: str) -> str | None:
        return "AAA" if provider == "openai" else None

    def kg_per_kwh(self, country: str) -> float | None:
        return {"AAA": 0.5, "FRA": 0.1}.get(country)


def reckoner(**settings: Any) -> Reckoner:
    return Reckoner(FootprintSettings(**settings), MadeUp())


TWO_CALLS = Amounts(0, calls=2, tokens=1100, prompt=1000)
"""They generated 100 tokens."""


def test_a_model_that_is_known() -> None:
    """100 x 0.001 to 0.003 and 2 x 0.1 kWh: 0.3 to 0.5 kWh, at 500 g each; 100 x 10 g of hardware."""
    found = reckoner().of("openai", "gpt-4o", "", TWO_CALLS)
    assert found.kwh == pytest.approx((0.3, 0.5))
    assert found.electricity_g == pytest.approx((150, 250))
    assert found.hardware_g == pytest.approx((1000, 1000))
    assert found.co2e_g == pytest.approx((1150, 1250))
    assert found[3:] == (2, 1100, 100, 0.0, 0)


def test_a_model_that_is_not_takes_the_flat_factor() -> None:
    """1,100 tokens at 0.0005 kWh of a thousand, at 400 g where nobody knows the country: the figures that a flat factor has."""
    found = reckoner().of("nobody", "gpt-4o", "", TWO_CALLS)
    assert found.kwh == pytest.approx((0.00055, 0.00055))
    assert found.co2e_g == pytest.approx((0.22, 0.22))
    assert found.flat_kwh == pytest.approx(0.00055)
    assert found.flat_tokens == 1100
    other = reckoner(kwh_per_1k_tokens=1, g_per_kwh=100).of("nobody", "small", "", TWO_CALLS)
    assert other.co2e_g == pytest.approx((110, 110))


@pytest.mark.parametrize(
    ("region", "countries", "country", "grams"),
    [
        ("", {}, "AAA", 500),
        ("eu-west-3", {}, "FRA", 100),
        ("moon-base", {}, "AAA", 500),
        ("moon-base", {"Moon-Base": "FRA"}, "FRA", 100),
        ("eu-west-3", {"eu-west-3": "AAA"}, "AAA", 500),
        ("", {"openai": "FRA"}, "FRA", 100),
        ("", {"openai": "ZZZ"}, "ZZZ", 400),
    ],
)
def test_where_calls_run(region: str, countries: dict[str, str], country: str, grams: float) -> None:
    basis = reckoner(countries=countries).basis("openai", "gpt-4o", region)
    assert (basis.country, basis.g_per_kwh) == (country, grams)


def test_what_is_taken_back_takes_nothing() -> None:
    back = Amounts(0, calls=-2, tokens=-1100, prompt=-1000)
    both = reckoner().of("openai", "gpt-4o", "", TWO_CALLS).plus(reckoner().of("openai", "gpt-4o", "", back))
    assert both == Footprint()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """`filled`, on SQLite alone; the sums on both engines are tried with `either`."""
    store = empty_store(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield filled(store)
    store.close()


def filled(store: Store) -> Rig:
    """Three calls of 100 generated tokens each, one of them in France, and one of a model that nobody knows."""
    rig = Rig(store)
    rig.settle(
        at(1, "2026-11-19T10:00:00Z", attribution=ACMES),
        at(2, "2026-11-20T10:00:00Z", attribution=ACMES, region="eu-west-3"),
        at(3, "2026-11-20T11:00:00Z", attribution=GLOBEX),
        at(4, "2026-11-21T10:00:00Z", attribution=GLOBEX, provider="anthropic"),
    )
    return rig


def at(number: int, moment: str, **known: Any) -> Any:
    start = parse_ns(moment)
    return call(number, trace=number, start_ns=start, end_ns=start + SECOND, **known)


@pytest.fixture
def context(rig: Rig) -> Context:
    return context_of(rig)


@pytest.fixture
def either(store: Store) -> Context:
    return context_of(filled(store))


def context_of(rig: Rig) -> Context:
    settings = load(None, {"OTEL_FINOPS_DATABASE__URL": str(rig.store.engine.url)})
    prices = CurrentPrices(rig.store, rig.clock, packaged_snapshot)
    made = make_context(settings, rig.store, rig.subjects, prices, rig.clock, trail=RememberedTrail())
    return replace(made, footprints=Footprints(rig.store, rig.subjects, settings.footprint, MadeUp()))


def run(context: Context, verb: str, by: Principal = LOCAL, /, **said: Any) -> Json:
    """Run a verb as a surface does; its answer is as it is described."""
    one = OPERATIONS.named(verb)
    answer = invoke(one, context, by, one.input.model_validate(said), origin="test")
    one.output.model_validate(answer)
    return answer


def test_a_summary_by_model(context: Context) -> None:
    """A call of gpt-4o takes 100 x 0.001 to 0.003 + 0.1 kWh: 0.2 to 0.4; three of them 0.6 to 1.2 at 500 g, and 3 kg of hardware."""
    answer = run(context, "footprint.summary", by="provider,model")
    known, flat = answer["groups"]
    assert known["key"] == {"provider": "openai", "model": "gpt-4o"}
    assert known["energy_kwh"] == {"low": 0.6, "high": 1.2}
    assert known["electricity_g"] == {"low": 300, "high": 600}
    assert known["hardware_g"] == {"low": 3000, "high": 3000}
    assert known["co2e_g"] == {"low": 3300, "high": 3600}
    assert (known["calls"], known["tokens"], known["output_tokens"], known["flat_share"]) == (3, 3300, 300, 0)
    assert (flat["energy_kwh"], flat["co2e_g"], flat["flat_share"]) == ({"low": 0.00055, "high": 0.00055}, {"low": 0.22, "high": 0.22}, 1)
    assert answer["total"]["co2e_g"] == {"low": 3300.22, "high": 3600.22}
    assert (answer["source"], answer["others"], answer["total"]["calls"]) == ("made up", 0, 4)


def test_regions_change_the_electricity(either: Context) -> None:
    """The call in France: 0.2 to 0.4 kWh at 100 g. Without regions all run where their provider is at home."""
    answer = run(either, "footprint.summary", by="region", provider="openai")
    grams = {group["key"]["region"]: group["electricity_g"] for group in answer["groups"]}
    assert grams == {None: {"low": 200, "high": 400}, "eu-west-3": {"low": 20, "high": 40}}
    assert run(either, "footprint.summary", by_region=True)["total"]["electricity_g"] == {"low": 220.22, "high": 440.22}
    assert run(either, "footprint.summary", by_region=True, by="tenant", limit=1)["others"] == 1


def test_the_course_adds_up_to_the_summary(either: Context) -> None:
    answer = run(either, "footprint.trend", **{"from": "2026-11-18", "to": "2026-11-22"}, by="user")
    assert [piece["calls"] for piece in answer["pieces"]] == [0, 1, 2, 1]
    assert [piece["energy_kwh"]["high"] for piece in answer["pieces"]] == [0, 0.4, 0.8, 0.00055]
    assert [[group["key"]["user"] for group in piece["groups"]] for piece in answer["pieces"]] == [[], ["ann"], ["ann", "bob"], ["bob"]]
    assert answer["pieces"][0]["flat_share"] is None
    months = run(either, "footprint.trend", **{"from": "2026-10-01", "to": "2026-11-22"}, every="month", by_region=True)["pieces"]
    assert [piece["calls"] for piece in months] == [0, 4]
    assert months[1]["electricity_g"] == {"low": 220.22, "high": 440.22}


def test_people_see_footprints_of_their_tenants_alone(context: Context) -> None:
    answer = run(context, "footprint.summary", VERA, by="tenant")
    assert ([group["key"]["tenant"] for group in answer["groups"]], answer["total"]["calls"]) == (["acme"], 2)
    assert run(context, "footprint.summary", VERA, tenant="globex")["total"]["calls"] == 0
    assert sum(piece["calls"] for piece in run(context, "footprint.trend", VERA)["pieces"]) == 2


def test_what_a_model_is_reckoned_by(context: Context) -> None:
    known = run(context, "footprint.factors", provider="openai", model="gpt-4o", region="eu-west-3")
    assert known == {
        "source": "made up",
        "known_as": "big",
        "guessed": True,
        "country": "FRA",
        "g_per_kwh": 100,
        "kwh_per_1k_output": {"low": 1, "high": 3},
        "kwh_per_call": {"low": 0.1, "high": 0.1},
        "hardware_g_per_1k_output": {"low": 10_000, "high": 10_000},
        "kwh_per_1k_tokens": None,
    }
    unknown = run(context, "footprint.factors", provider="nobody", model="x")
    assert (unknown["known_as"], unknown["country"], unknown["g_per_kwh"], unknown["kwh_per_1k_tokens"]) == (None, None, 400, 0.0005)


@pytest.mark.parametrize(
    ("verb", "said", "fault"),
    [
        ("footprint.summary", {"by": "tenant,agent,model"}, "at most 2"),
        ("footprint.summary", {"by": "day"}, "footprint.trend"),
        ("footprint.summary", {"by": "colour"}, "colour"),
        ("footprint.summary", {"from": "2026-11-20", "to": "2026-11-19"}, "before"),
        ("footprint.trend", {"from": "2020-01-01", "every": "hour"}, "more than 1000 hours"),
        ("footprint.trend", {"zone": "Mars/Base"}, "Mars/Base"),
    ],
)
def test_what_cannot_be_asked(context: Context, verb: str, said: dict[str, Any], fault: str) -> None:
    with pytest.raises(BadInput, match=fault):
        run(context, verb, **said)
