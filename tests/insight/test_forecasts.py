"""Forecasts as people ask for them: of budgets and of spend, with what was booked in a real ledger; those that are kept; the verbs.

All calls are of gpt-4o with 1,000 tokens in and 100 out: 0.0035 USD. It is Saturday, 21 November 2026, noon (UTC): 10.5 of the 30 days of
the budgets' month are to come, since it is half of today and 9 days.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
from counting_rig import USD, CountingRig
from empty_ledgers import empty_store
from ledger_rig import call

from otel_finops.base.errors import BadInput, NotFound
from otel_finops.base.times import parse_ns
from otel_finops.governance.budgets import Budget
from otel_finops.governance.periods import Period
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.insight.forecast_store import FILLING, NOTHING_SPENT, ForecastKeeper
from otel_finops.insight.forecasts import Forecasts
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.fx_store import store_rates
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import Json, invoke
from otel_finops.pricing.ecb import EuroRate
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.testing import NOON, FakeClock, RememberedTrail

CALL = 3_500_000_000
DAY_S = 24 * 3600
VERA = Principal("vera", ("acme",), ROLES["viewer"])


@pytest.fixture(scope="module")
def filled_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger as `filled` leaves it, to be copied."""
    file = tmp_path_factory.mktemp("filled") / "ledger.db"
    store = empty_store(f"sqlite:///{file}")
    filled(store)
    store.close()
    return file


@pytest.fixture
def rig(filled_file: Path, tmp_path: Path) -> Iterator[CountingRig]:
    """`filled`, on SQLite alone; what engines could do differently is tried with `either`."""
    store = Store.open(f"sqlite:///{copyfile(filled_file, tmp_path / 'ledger.db')}", FakeClock())
    yield CountingRig(store)
    store.close()


@pytest.fixture
def either(store: Store) -> CountingRig:
    return filled(store)


def filled(store: Store) -> CountingRig:
    """Two calls of acme's planner on each of the last 20 days and two this morning, one of globex's writer on each of the last 20."""
    rig = CountingRig(store)
    sent = [told(2 * day, -day * DAY_S, "acme", "planner") for day in range(1, 21)]
    sent += [told(2 * day + 1, -day * DAY_S - 3600, "acme", "planner") for day in range(1, 21)]
    sent += [told(100 + day, -day * DAY_S, "globex", "writer") for day in range(1, 21)]
    sent += [told(200 + half, -3600 - half, "acme", "planner") for half in range(2)]
    rig.settle(*sent)
    return rig


def told(number: int, at_s: int, tenant: str, agent: str) -> Any:
    return call(number, trace=number, at_s=at_s, attribution={"tenant": tenant, "agent": agent})


def context_of(rig: CountingRig, **environ: str) -> Context:
    settings = load(None, {"OTEL_FINOPS_DATABASE__URL": str(rig.store.engine.url), **environ})
    prices = CurrentPrices(rig.store, rig.clock, packaged_snapshot)
    return make_context(settings, rig.store, rig.subjects, prices, rig.clock, trail=RememberedTrail())


def run(context: Context, verb: str, by: Principal = LOCAL, /, **said: Any) -> Json:
    """Run a verb as a surface does; its answer is as it is described."""
    one = OPERATIONS.named(verb)
    answer = invoke(one, context, by, one.input.model_validate(said), origin="test")
    one.output.model_validate(answer)
    return answer


def forecast_of(rig: CountingRig, budget: Budget) -> Any:
    [one] = Forecasts(rig.store, rig.clock, rig.subjects).of_budgets([budget], "run_rate")
    return one


def test_a_budgets_window_goes_by_what_was_counted_for_it(rig: CountingRig) -> None:
    """Acme spent 2 x 20 + 2 calls in 20.5 days; by the same rate it makes 42 x 30 / 20.5 = 61.46 of them."""
    one = forecast_of(rig, rig.make("acme", {"tenant": "acme"}))
    assert one.forecast.spent == 42 * CALL
    assert one.forecast.projected == pytest.approx(42 * CALL * 30 / 20.5, rel=1e-3)
    assert one.why_not is None


def test_where_nothing_was_spent_nobody_can_tell(rig: CountingRig) -> None:
    one = forecast_of(rig, rig.make("nobody", {"tenant": "nobody"}))
    assert (one.forecast, one.why_not) == (None, NOTHING_SPENT)


def test_budgets_that_are_still_filled_are_not_forecast(rig: CountingRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_finops.governance.budget_fill.BUDGET_FILL_ROWS", 0)
    assert forecast_of(rig, rig.make("acme", {"tenant": "acme"})).why_not == FILLING


def test_a_budget_in_a_currency_without_rates_says_so(rig: CountingRig) -> None:
    """There is a rate of yesterday's, and none of the days before."""
    with rig.store.write() as transaction:
        store_rates(transaction, [EuroRate("2026-11-20", "USD", "1.1")], "hist.csv", b"...", "test", NOON)
    one = forecast_of(rig, rig.make("euros", currency="EUR"))
    assert one.forecast is None
    assert "no exchange rate of EUR" in one.why_not


def test_forecasts_are_kept_until_the_budget_changes(either: CountingRig) -> None:
    acme, nobody = either.make("acme", {"tenant": "acme"}, amount=CALL), either.make("nobody", {"tenant": "nobody"})
    off = either.make("off", {"tenant": "acme"}, enabled=False)
    desk, keeper = (
        Forecasts(either.store, either.clock, either.subjects),
        ForecastKeeper(either.store, either.clock, either.followed, either.spending),
    )
    assert keeper.run() == 2
    kept = desk.kept([acme, nobody, off])
    assert set(kept) == {acme.no, nobody.no}
    live = desk.of_budgets([acme])[0].forecast
    assert live is not None
    assert (kept[acme.no].projected, kept[acme.no].high, kept[acme.no].exceeds_ns) == (live.projected, live.high, live.exceeds_ns)
    assert (kept[acme.no].chance, kept[nobody.no].projected) == (1, None)
    changed = either.edit(acme, amount=USD)
    assert set(desk.kept([changed, nobody])) == {nobody.no}, "what was forecast of another limit is not told of this one"
    either.delete(nobody)
    assert keeper.run() == 1
    assert set(desk.kept([changed, nobody])) == {acme.no}
    assert keeper.run(lambda: True) == 0


def test_spend_by_group(either: CountingRig) -> None:
    """Globex: 20 calls in 20.5 days, so 20 + 20 / 20.5 x 9.5 calls in all; acme 42 and 42 / 20.5 x 9.5. October has none of them."""
    answer = run(context_of(either), "forecast.spend", by="tenant", method="run_rate")
    assert [group["key"] for group in answer["groups"]] == [{"tenant": "acme"}, {"tenant": "globex"}]
    projected = [float(group["projected"]) for group in answer["groups"]]
    assert projected == pytest.approx([0.0035 * 42 * 30 / 20.5, 0.0035 * 20 * 30 / 20.5], rel=1e-3)
    assert float(answer["total"]["projected"]) == pytest.approx(0.0035 * 62 * 30 / 20.5, rel=1e-3)
    assert (answer["total"]["spent"], answer["from"][:10], answer["to"][:10]) == ("0.217", "2026-11-01", "2026-12-01")
    assert (len(answer["days"]), len(answer["steps"])) == (21, 10)
    assert answer["days"][-1] == {"from": "2026-11-21T00:00:00.000000000Z", "spent": "0.007"}
    assert answer["steps"][-1]["expected"] == answer["total"]["projected"]


def test_people_see_forecasts_of_their_tenants_alone(either: CountingRig) -> None:
    either.make("acme", {"tenant": "acme"})
    everybody, globex = either.make("all"), either.make("globex", {"tenant": "globex"})
    context = context_of(either)
    answer = run(context, "forecast.spend", VERA, by="tenant")
    assert (answer["total"]["spent"], len(answer["groups"])) == ("0.147", 1)
    assert run(context, "forecast.spend", VERA, tenant="globex")["total"]["spent"] == "0"
    assert [one["name"] for one in run(context, "forecast.budgets", VERA)["budgets"]] == ["acme"]
    for hidden in (everybody, globex):
        for verb in ("forecast.budget", "forecast.backtest"):
            with pytest.raises(NotFound):
                run(context, verb, VERA, no=hidden.no)


def test_more_groups_than_are_asked_for_are_counted(rig: CountingRig) -> None:
    answer = run(context_of(rig), "forecast.spend", by="tenant,agent", limit=1)
    assert ([group["key"] for group in answer["groups"]], answer["others"]) == ([{"tenant": "acme", "agent": "planner"}], 1)


def test_nothing_known_is_nothing_expected(rig: CountingRig) -> None:
    answer = run(context_of(rig), "forecast.spend", agent="nobody", by="model")
    assert (answer["total"]["projected"], answer["total"]["low"], answer["groups"], answer["steps"]) == ("0", None, [], [])


def test_a_budget_with_its_days_and_methods(rig: CountingRig) -> None:
    """At 2.05 calls a day by the run rate acme passes 50 calls within 4 days; 1,000 calls it never does."""
    rig.make("acme", {"tenant": "acme"}, amount=50 * CALL)
    rig.make("plenty", {"tenant": "acme"}, amount=1000 * CALL)
    context = context_of(rig)
    answer = run(context, "forecast.budget", no=1, method="run_rate")
    assert (answer["limit"], answer["spent"], len(answer["steps"]), answer["steps_known"]) == ("0.175", "0.147", 10, 20)
    outlook = answer["forecast"]
    assert outlook["will_exceed"]
    assert parse_ns("2026-11-24T12:00:00Z") < parse_ns(outlook["exceeds_at"]) < parse_ns("2026-11-25T22:00:00Z")
    assert outlook["earliest"] <= outlook["exceeds_at"]
    assert outlook["chance"] > 0.9
    assert answer["ways"] == [{"way": "run_rate", "weight": 1.0}]
    assert [one["method"] for one in answer["methods"]] == ["auto", "best", "run_rate", "naive", "level", "weekday", "weekday_trend"]
    assert answer["steps"][-1]["expected"] == outlook["projected"]
    listed = run(context, "forecast.budgets")["budgets"]
    assert [one["forecast"]["will_exceed"] for one in listed] == [True, False]
    assert (listed[1]["forecast"]["exceeds_at"], listed[1]["forecast"]["chance"]) == (None, 0)


def test_budgets_that_will_be_passed_are_found_among_those_that_are_kept(rig: CountingRig) -> None:
    rig.make("acme", {"tenant": "acme"}, amount=50 * CALL)
    rig.make("plenty", {"tenant": "acme"}, amount=1000 * CALL)
    context = context_of(rig)
    assert run(context, "forecast.budgets", will_exceed=True)["budgets"] == [], "no forecast is kept yet"
    ForecastKeeper(rig.store, rig.clock, rig.followed, rig.spending).run()
    assert [one["name"] for one in run(context, "forecast.budgets", will_exceed=True)["budgets"]] == ["acme"]
    assert [one["name"] for one in run(context, "forecast.budgets", will_exceed=False)["budgets"]] == ["plenty"]


def test_a_burndown_goes_on_into_the_days_to_come(rig: CountingRig) -> None:
    rig.make("acme", {"tenant": "acme"})
    context = context_of(rig)
    band = run(context, "budgets.burndown", no=1)["forecast"]
    assert band == run(context, "forecast.budget", no=1)["steps"]
    assert float(band[0]["low"]) <= float(band[0]["expected"]) <= float(band[0]["high"])
    assert run(context, "budgets.burndown", no=1, at="2026-10-21")["forecast"] is None
    assert run(context_of(rig, OTEL_FINOPS_FEATURES__FORECAST="false"), "budgets.burndown", no=1)["forecast"] is None


def test_backtests_of_spend_and_of_budgets(rig: CountingRig) -> None:
    """All days are alike: nobody errs. Of 20 days sums of 5 are asked for from the 5th to the 15th."""
    rig.make("acme", {"tenant": "acme"})
    context = context_of(rig)
    for answer in (run(context, "forecast.backtest", steps=5, tenant="acme"), run(context, "forecast.backtest", no=1, steps=5)):
        assert (answer["steps"], answer["moments"]) == (5, 11)
        assert {one["method"] for one in answer["methods"]} == {"auto", "best", "run_rate", "naive", "level", "weekday", "weekday_trend"}
        assert all(one["error"] == pytest.approx(0, abs=1e-9) for one in answer["methods"])
        assert all(one["covered"] == 1 for one in answer["methods"])
    assert run(context, "forecast.backtest", steps=16) == {"steps": 16, "moments": 0, "steps_known": 20, "methods": []}


@pytest.mark.parametrize(
    ("verb", "said", "fault"),
    [
        ("forecast.backtest", {"no": 1, "model": "gpt-4o"}, "give it alone"),
        ("forecast.backtest", {"zone": "Mars/Base"}, "Mars/Base"),
        ("forecast.spend", {"by": "tenant,agent,model"}, "at most 2"),
        ("forecast.spend", {"by": "day"}, "no times"),
        ("forecast.spend", {"by": "colour"}, "colour"),
    ],
)
def test_what_cannot_be_asked(rig: CountingRig, verb: str, said: dict[str, Any], fault: str) -> None:
    rig.make("acme", {"tenant": "acme"})
    with pytest.raises(BadInput, match=fault):
        run(context_of(rig), verb, **said)


def test_windows_of_other_zones_and_lengths(rig: CountingRig) -> None:
    context = context_of(rig)
    week = run(context, "forecast.spend", period="weekly", zone="Europe/Rome")
    assert (week["from"][:13], week["to"][:13]) == ("2026-11-15T23", "2026-11-22T23")
    year = run(context, "forecast.spend", period="yearly")
    assert (year["to"][:10], len(year["steps"])) == ("2027-01-01", 41)
    rolling = forecast_of(rig, rig.make("rolling", period=Period.of("rolling_days", length=30)))
    assert len(rolling.forecast.steps) == 30
