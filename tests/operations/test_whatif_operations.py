"""What-if, routing and quality as people ask for them; prices are the packaged ones, figures worked out by hand.

A call has 1,000 tokens in and 100 out. By gpt-4o (2.50 and 10 USD a million) it costs 0.0025 + 0.001 = 0.0035 USD, by gpt-4o-mini (0.15 and
0.60) 0.00015 + 0.00006 = 0.00021, by gpt-4.1-mini (0.40 and 1.60) 0.0004 + 0.00016 = 0.00056.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from empty_ledgers import empty_store
from ledger_rig import Rig, call, trace_id

from otel_finops.base.errors import BadInput, Forbidden, NotFound
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import Json, invoke
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.testing import RememberedTrail

MAX = Principal("max", ("acme",), ROLES["manager"])
BOTH = Principal("both", ("acme", "globex"), ROLES["manager"])
MODELS = ["openai/gpt-4o", "openai/gpt-4.1-mini", "openai/gpt-4o-mini"]


class World:
    """Six calls of gpt-4o, four of acme and two of globex; three of acme's came out well, one did not."""

    def __init__(self, store: Store) -> None:
        self.rig = Rig(store)
        for number in range(6):
            tenant, agent = ("acme", "globex")[number % 3 == 2], ("planner", "writer")[number % 2]
            self.rig.settle(call(number + 1, number + 1, at_s=60 * number, attribution={"tenant": tenant, "agent": agent}))
        self.rig.clock.advance(3600)
        prices = CurrentPrices(store, self.rig.clock, packaged_snapshot)
        self.context: Context = make_context(load(None, {}), store, self.rig.subjects, prices, self.rig.clock, trail=RememberedTrail())
        for number, success in ((1, True), (2, True), (4, True), (5, False)):
            self("outcomes.record", trace_id=trace_id(number), tenant="acme", name="answer", outcome=("failure", "success")[success])

    def __call__(self, operation: str, principal: Principal = LOCAL, /, **fields: Any) -> Json:
        one = OPERATIONS.named(operation)
        return invoke(one, self.context, principal, one.input.model_validate(fields), origin="test")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("whatif")
    store = empty_store(f"sqlite:///{folder / 'ledger.db'}")
    yield World(store)
    store.close()


def content(*scores: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps(list(scores)).encode()).decode()


def test_another_model_and_how_many_more_tokens_would_eat_the_saving(world: World) -> None:
    """Six calls: 0.021 USD, by gpt-4o-mini 0.00126, so 0.01974 less, 94 %; at 16.67 times the tokens nothing is left of it."""
    found = world("whatif.simulate", to_model="gpt-4o-mini")
    figures = {name: found[name] for name in ("calls", "booked_usd", "list_usd", "projected_usd", "saved_usd", "saved_at_list_usd")}
    assert figures == {
        "calls": 6, "booked_usd": "0.021", "list_usd": "0.021", "projected_usd": "0.00126", "saved_usd": "0.01974",
        "saved_at_list_usd": "0.01974",
    }  # fmt: skip
    assert (found["saved_share"], found["break_even_factor"], found["finished"]) == ("0.94", "16.666667", True)
    assert found["mix"] == {"prompt": 6000, "cache_read": 0, "cache_write": 0, "output": 600, "reasoning": 0, "cache_hit_rate": "0"}
    assert "another model counts the same text differently" in found["notes"][0]
    twice = world("whatif.simulate", to_model="gpt-4o-mini", token_factor=2)
    assert (twice["projected_usd"], twice["break_even_factor"]) == ("0.00252", "16.666667")


def test_tenants_see_their_own_calls_and_filters_hold(world: World) -> None:
    assert world("whatif.simulate", MAX, to_model="gpt-4o-mini")["calls"] == 4
    assert world("whatif.simulate", MAX, to_model="gpt-4o-mini", tenant="globex")["calls"] == 0
    assert world("whatif.simulate", to_model="gpt-4o-mini", agent="writer")["calls"] == 3
    assert world("whatif.simulate", to_model="gpt-4o-mini", to="2026-11-20")["notes"] == ["There is no call to compare."]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "say what is to be otherwise: to_model, to_provider, to_tier, cache_hit_rate, prices_at"),
        ({"to_model": "gpt-4o-mimi"}, "to_model: the price book has no model 'gpt-4o-mimi'; names like it are gpt-4o-mini"),
        ({"to_model": "gpt-4o", "to_provider": "anthropic"}, "to_model: the price book has no model 'gpt-4o' of anthropic"),
        ({"to_tier": "batch", "from": "2027-01-01"}, "from: it lies ahead; recorded calls are asked about"),
    ],
)
def test_questions_that_are_none_say_how_to_mend_them(world: World, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as fault:
        world("whatif.simulate", **fields)
    assert said in str(fault.value)


def test_a_saved_question_keeps_what_came_of_it_and_is_asked_again(world: World) -> None:
    """In batches gpt-4o costs half: 4 calls of acme 0.007 USD instead of 0.014."""
    saved = world("whatif.save", MAX, name="nightly", to_tier="batch", agent=None)
    assert (saved["tenant"], saved["question"]) == ("acme", {"to_tier": "batch", "tenant": "acme"})
    assert {name: saved["result"][name] for name in ("calls", "booked_usd", "projected_usd")} == {
        "calls": 4, "booked_usd": "0.014", "projected_usd": "0.007",
    }  # fmt: skip
    again = world("whatif.simulate", scenario=saved["no"])
    assert (again["calls"], again["projected_usd"]) == (4, "0.007"), "whoever asks, it is about acme's calls"
    other = world("whatif.simulate", MAX, scenario=saved["no"], agent="planner", to_tier="standard")
    assert (other["calls"], other["saved_usd"]) == (2, "0"), "what is given beside it takes its place"
    stranger = Principal("eve", ("globex",), ROLES["manager"])
    for verb, fields in (("whatif.show", {"no": saved["no"]}), ("whatif.delete", {"no": saved["no"]})):
        with pytest.raises(NotFound):
            world(verb, stranger, **fields)
    with pytest.raises(BadInput, match="user: what is saved names no person"):
        world("whatif.save", MAX, name="hers", to_tier="batch", user="ann")
    with pytest.raises(BadInput, match="tenant: must be given"):
        world("whatif.save", BOTH, name="whose", to_tier="batch")
    everybody_s = world("whatif.save", name="all", to_tier="batch")
    assert (everybody_s["tenant"], everybody_s["result"]["calls"]) == (None, 6)
    assert [one["name"] for one in world("whatif.scenarios", MAX)["scenarios"]] == ["nightly"]
    assert world("whatif.delete", MAX, no=saved["no"])["name"] == "nightly"
    assert world("whatif.scenarios", MAX)["scenarios"] == []


def test_the_cheapest_over_the_bar_at_the_tokens_of_recorded_calls(world: World) -> None:
    """Scores: gpt-4o 0.9, gpt-4.1-mini 0.8, gpt-4o-mini of 200 answers 0.6. For a success gpt-4o costs 0.0035 / 0.9 = 0.003888888889 USD,
    gpt-4.1-mini 0.00056 / 0.8 = 0.0007, gpt-4o-mini 0.00021 / 0.6 = 0.00035.
    """
    scores = content(
        {"model": "gpt-4o", "score": 0.9}, {"model": "gpt-4.1-mini", "score": 0.8}, {"model": "gpt-4o-mini", "score": 0.6, "samples": 200}
    )
    assert world("quality.import", source="evals", content=scores)["new"] is True
    rule = world("routing.create", MAX, name="answers", candidates=[*MODELS, "gemini/gemini-2.5-flash"], bar=0.75, source="evals")["rule"]
    found = world("routing.simulate", MAX, no=rule["no"])
    assert (found["chosen"], found["cheapest_success"], found["calls"], found["booked_usd"]) == (
        "openai/gpt-4.1-mini", "openai/gpt-4o-mini", 4, "0.014",
    )  # fmt: skip
    by_model = {one["model"]: one for one in found["candidates"]}
    assert {name: one["verdict"] for name, one in by_model.items()} == {
        "gpt-4o": "good_enough", "gpt-4.1-mini": "chosen", "gpt-4o-mini": "below_bar", "gemini-2.5-flash": "unknown_quality",
    }  # fmt: skip
    assert [by_model[name]["usd_per_success"] for name in ("gpt-4o", "gpt-4.1-mini", "gpt-4o-mini", "gemini-2.5-flash")] == [
        "0.003888888889", "0.0007", "0.00035", None,
    ]  # fmt: skip
    assert by_model["gpt-4.1-mini"]["saved_usd"] == "0.01176", "4 x (0.0035 - 0.00056)"
    assert found["recorded"][0]["usd_per_success"] == "0.003888888889"
    assert "The quality of gemini/gemini-2.5-flash is not known." in found["notes"]
    higher = world("routing.simulate", MAX, no=rule["no"], bar=0.95)
    assert (higher["chosen"], higher["says"]) == (
        None, "None is known to be good enough; of gemini/gemini-2.5-flash nobody knows how good they are (quality.import).",
    )  # fmt: skip
    world("quality.import", source="evals", content=content())


def test_outcomes_in_the_ledger_are_scores(world: World) -> None:
    """Of acme's four outcomes three are successes: 0.75, between 30.1 and 95.4 % (Wilson); 0.0035 / 0.75 = 0.004666666667 a success."""
    asked = {"candidates": MODELS, "bar": 0.7, "source": "outcomes", "task": "answer"}
    found = world("routing.simulate", MAX, **asked)
    gpt = found["candidates"][0]
    quality = {name: gpt["quality"][name] for name in ("score", "samples", "task", "source", "low", "high")}
    assert quality == {"score": "0.75", "samples": 4, "task": "answer", "source": "outcomes", "low": "0.300642", "high": "0.954413"}
    assert (found["chosen"], gpt["usd_per_success"], gpt["uncertain"]) == ("openai/gpt-4o", "0.004666666667", True)
    assert world("routing.simulate", MAX, **asked, min_samples=5)["chosen"] is None, "four answers are too few"
    planners = world("routing.simulate", MAX, **asked, agent="nobody")
    assert planners["candidates"][0]["quality"] is None, "outcomes of other agents say nothing of this one"
    shown = [one for one in world("quality.scores", MAX)["scores"] if one["source"] == "outcomes"]
    assert [(one["task"], one["score"]) for one in shown] == [(None, "0.75"), ("answer", "0.75")]


def test_rules_belong_to_tenants_and_are_changed_in_parts(world: World) -> None:
    rule = world("routing.create", MAX, name="parts", candidates="gpt-4o, gpt-4o-mini", bar="0.5", agent="planner", task="sql")["rule"]
    assert rule["candidates"] == [{"provider": None, "model": "gpt-4o"}, {"provider": None, "model": "gpt-4o-mini"}]
    changed = world("routing.update", MAX, no=rule["no"], task="", agent="", service="shop", unknown="allow")["rule"]
    assert (changed["task"], changed["filters"], changed["unknown"], changed["bar"]) == (None, {"service": "shop"}, "allow", "0.5")
    assert world("routing.update", MAX, no=rule["no"], bar=0.5)["changed"] is False
    world("routing.create", name="everybody's", candidates=["gpt-4o"], bar=0.5)
    with pytest.raises(NotFound):
        world("routing.create", MAX, name="theirs", candidates=["gpt-4o"], bar=0.5, tenant="globex")
    made_by_all = world("routing.create", name="given", candidates=["gpt-4o"], bar=0.5, tenant="acme")["rule"]
    with pytest.raises(Forbidden):
        world("routing.delete", MAX, no=made_by_all["no"])
    with pytest.raises(BadInput, match="candidates: the price book has no model 'nobody-s'"):
        world("routing.create", MAX, name="none", candidates=["gpt-4o", "nobody-s"], bar=0.5)
    with pytest.raises(BadInput, match="candidates: say which models to choose from"):
        world("routing.simulate", MAX)
    assert "everybody's" not in [one["name"] for one in world("routing.list", MAX)["rules"]]


def test_files_come_as_bytes_and_the_service_reads_none_of_its_own(world: World) -> None:
    with pytest.raises(BadInput, match="over the API scores are fetched from"):
        world("quality.import", **{"from": "/etc/passwd"})
    with pytest.raises(BadInput, match="from: over the API"):
        world("quality.import", **{"from": "https://scores.example/latest.json"})
    with pytest.raises(BadInput, match="content: no base64"):
        world("quality.import", content="%")
    with pytest.raises(NotFound):
        world("quality.import", MAX, content=content(), tenant="globex")
    tried = world("quality.import", MAX, content=content({"model": "m", "score": 1}), source="own", dry_run=True)
    assert (tried["no"], tried["tenant"], world("quality.sources", MAX)["sources"]) == (None, "acme", world("quality.sources")["sources"])
