"""Budgets as people meet them: how they stand, how a window went, what is carried over, lists, the tree, metrics and the verbs.

All calls are of gpt-4o with 1,000 tokens in and 100 out: 0.0035 USD and 1,100 tokens each (`ledger_rig.call`). It is Saturday, 21
November 2026, noon (UTC) when they start, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from counting_rig import USD, CountingRig
from empty_ledgers import empty_store
from ledger_rig import call

from otel_finops.base.errors import BadInput, Forbidden, NotFound
from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR, format_ns, parse_ns
from otel_finops.genai.sighting import Sighting
from otel_finops.governance.budgets import Budget, BudgetStatus
from otel_finops.governance.burndown import burndown
from otel_finops.governance.periods import Period, Window
from otel_finops.governance.scopes import Scope
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.insight.forecast_store import ForecastKeeper
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.fx_store import store_rates
from otel_finops.metrics.budget_gauges import BudgetCollector, budget_source
from otel_finops.metrics.exposition import MetricsPage
from otel_finops.operations.budgets_desk import BudgetsDesk
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import Json, invoke
from otel_finops.pricing.ecb import EuroRate
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.testing import NOON, RememberedTrail

CALL = 3_500_000_000
"""What a call costs, pico-USD."""
DAY_S = 24 * 3600
MAX = Principal("max", ("acme",), ROLES["manager"])
VERA = Principal("vera", ("acme",), ROLES["viewer"])
GIL = Principal("gil", ("globex",), ROLES["manager"])


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[CountingRig]:
    """On SQLite alone; what engines could do differently is tried with `either`, and where budgets are stored and counted."""
    store = empty_store(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield CountingRig(store)
    store.close()


@pytest.fixture
def either(store: Store) -> CountingRig:
    return CountingRig(store)


@pytest.fixture
def context(rig: CountingRig) -> Context:
    settings = load(None, {"OTEL_FINOPS_DATABASE__URL": str(rig.store.engine.url), "OTEL_FINOPS_DISPLAY__ZONE": "Europe/Rome"})
    prices = CurrentPrices(rig.store, rig.clock, packaged_snapshot)
    return make_context(settings, rig.store, rig.subjects, prices, rig.clock, trail=RememberedTrail())


def run(context: Context, verb: str, by: Principal = LOCAL, /, **said: Any) -> Json:
    """Run a verb as a surface does; its answer is as it is described."""
    one = OPERATIONS.named(verb)
    answer = invoke(one, context, by, one.input.model_validate(said), origin="test")
    one.output.model_validate(answer)
    return answer


def theirs(span: int, trace: int = 1, **whose: str) -> Sighting:
    """A call that says whose it is."""
    one: Sighting = call(span, trace=trace, attribution=whose)
    return one


# --- how a budget stands ---------------------------------------------------------------------------------------------


def status(limit: int, booked: int = 0, pending: int = 0, reserved: int = 0, warn_percent: int = 80) -> BudgetStatus:
    return BudgetStatus(Window(0, 1), limit, 0, booked, pending, reserved, warn_percent=warn_percent)


@pytest.mark.parametrize(
    ("spent", "state"),
    [
        (status(100), "ok"),
        (status(100, booked=79), "ok"),
        (status(100, booked=80), "warning"),
        (status(100, booked=40, pending=30, reserved=10), "warning"),  # what is not booked yet is spent too
        (status(100, booked=50, warn_percent=50), "warning"),
        (status(100, booked=99), "warning"),
        (status(100, booked=100), "exceeded"),
        (status(100, booked=50, reserved=51), "exceeded"),
        (status(0), "exceeded"),  # a limit of nothing is spent from the first
        (status(3, booked=2, warn_percent=67), "ok"),  # 66.67 %: nothing is rounded
    ],
)
def test_the_state_of_a_budget(spent: BudgetStatus, state: str) -> None:
    assert spent.state == state


def test_spent_is_booked_pending_and_reserved() -> None:
    one = status(100, booked=50, pending=20, reserved=40)
    assert (one.spent, one.remaining, one.ratio) == (110, -10, Fraction(11, 10))
    assert status(0).ratio == 1


@pytest.mark.parametrize(
    ("amount", "spent_before", "carried"),
    [(100, 0, 100), (100, 30, 70), (100, 100, 0), (100, 130, 0), (0, 0, 0)],
)
def test_what_a_window_leaves_of_the_amount_is_carried_into_the_next(amount: int, spent_before: int, carried: int) -> None:
    november, october = Window(200, 300), Window(100, 200)
    budget = Budget(1, "b", Scope(), "calls", amount, carry_over=True, made_ns=150)
    assert budget.carried(october, spent_before) == carried
    assert budget._replace(carry_over=False).carried(october, spent_before) == 0
    assert budget._replace(made_ns=200).carried(october, spent_before) == 0  # it was over when the budget was made
    assert budget._replace(made_ns=199).carried(october, spent_before) == carried
    assert budget.carried(None, spent_before) == 0
    assert november.start_ns == october.end_ns


# --- how a window went -----------------------------------------------------------------------------------------------


def test_the_course_of_a_window_day_by_day() -> None:
    week = Window(0, 7 * NS_PER_DAY)
    budget = Budget(1, "b", Scope(), "calls", 70, period=Period.of("rolling_days", length=7))
    course = burndown(budget, week, 70, {0: 5, 2 * NS_PER_DAY: 20}, now_ns=2 * NS_PER_DAY + NS_PER_HOUR)
    assert [(one.spent, one.in_all, one.even) for one in course.steps] == [
        (5, 5, 10), (0, 5, 20), (20, 25, 30), (0, None, 40), (0, None, 50), (0, None, 60), (0, None, 70),
    ]  # fmt: skip


def test_an_even_course_knows_that_a_day_may_have_25_hours() -> None:
    """The last week of October in Rome has 169 hours, the Sunday 25 of them: 144 / 169 of 1690 by then."""
    budget = Budget(1, "b", Scope(), "calls", 1690, period=Period.of("weekly", "Europe/Rome"))
    at_ns = parse_ns("2026-10-25T12:00Z")
    course = burndown(budget, budget.period.window(at_ns), 1690, {}, at_ns)
    assert [one.even for one in course.steps] == [240, 480, 720, 960, 1200, 1440, 1690]


def test_the_course_of_rolling_hours_is_shown_by_their_pieces() -> None:
    """Of 24 hours: 60 pieces of 24 minutes before the one that runs."""
    budget = Budget(1, "b", Scope(), "calls", 61, period=Period.of("rolling_hours", length=24))
    at_ns = parse_ns("2026-11-22T12:34Z")
    course = burndown(budget, budget.period.window(at_ns), 61, {parse_ns("2026-11-22T12:24Z"): 3}, at_ns)
    assert len(course.steps) == 61
    assert (course.steps[-1].spent, course.steps[-1].in_all, course.steps[0].even) == (3, 3, 1)


def test_a_burndown_adds_up_to_what_was_booked(either: CountingRig) -> None:
    desk = BudgetsDesk(either.store, either.clock, either.subjects, either.budgets, either.spending)
    monthly, hourly = either.make(), either.make("hours", period=Period.of("rolling_hours", length=48))
    either.settle(call(1), call(2, trace=2, at_s=-DAY_S), call(3, trace=3, at_s=-DAY_S), call(4, trace=4, at_s=-30 * DAY_S))
    course = desk.burndown(monthly, None)
    assert (format_ns(course.window.start_ns)[:10], format_ns(course.window.end_ns)[:10]) == ("2026-11-01", "2026-12-01")
    spent = {format_ns(one.window.start_ns)[:10]: one.spent for one in course.steps if one.spent}
    assert spent == {"2026-11-20": 2 * CALL, "2026-11-21": CALL}
    assert course.steps[20].in_all == 3 * CALL == either.status(monthly).booked
    assert course.steps[21].in_all is None  # the 22nd has not begun
    october = desk.burndown(monthly, NOON - 30 * NS_PER_DAY)
    assert [one.spent for one in october.steps if one.spent] == [CALL]
    assert october.steps[-1].in_all == CALL
    hours = desk.burndown(hourly, None)
    assert sum(one.spent for one in hours.steps) == 3 * CALL == either.status(hourly).booked


def test_the_limit_of_a_past_window_is_what_could_be_spent_in_it(rig: CountingRig) -> None:
    """November leaves 100 - 0.007 USD for December; January is given what December left, and no more than one amount."""
    desk = BudgetsDesk(rig.store, rig.clock, rig.subjects, rig.budgets, rig.spending)
    budget = rig.make(carry_over=True)
    rig.settle(call(1), call(2, trace=2))
    december = parse_ns("2026-12-15")
    rig.clock.advance((december - rig.clock.now_ns()) / 10**9)
    assert rig.status(budget).limit == desk.burndown(budget, None).limit == 200 * USD - 2 * CALL
    assert desk.burndown(budget, NOON).limit == 100 * USD  # October was over when the budget was made
    assert desk.burndown(budget, parse_ns("2027-01-15")).limit == 200 * USD


def test_other_currencies_are_shown_at_the_rates_of_their_days(either: CountingRig) -> None:
    """1 EUR was 1.25 USD on the 20th and 1.40 USD on the 21st: 0.0035 USD were 0.0028 and 0.0025 EUR."""
    rates = [EuroRate("2026-11-20", "USD", "1.25"), EuroRate("2026-11-21", "USD", "1.4")]
    with either.store.write() as transaction:
        store_rates(transaction, rates, "test", b"", "test", either.clock.now_ns())
    desk = BudgetsDesk(either.store, either.clock, either.subjects, either.budgets, either.spending)
    budget = either.make(currency="EUR", amount=USD)
    either.settle(call(1), call(2, trace=2, at_s=-DAY_S))
    spent = {format_ns(one.window.start_ns)[:10]: one.spent for one in desk.burndown(budget, None).steps if one.spent}
    assert spent == {"2026-11-20": 2_800_000_000, "2026-11-21": 2_500_000_000}
    assert either.status(budget).booked == 5_300_000_000
    page = metrics(either)
    assert 'finops_budget_limit_usd{budget="all",tenant=""} 1.4' in page  # 1 EUR at the rate of today
    assert 'finops_budget_spent_usd{budget="all",tenant=""} 0.00742' in page


def metrics(rig: CountingRig, series_max: int = 100) -> str:
    source = budget_source(rig.store, rig.clock, rig.followed, rig.spending, series_max=series_max)
    return MetricsPage(BudgetCollector(source), process=False).render(None).body.decode()


def test_metrics_of_budgets(rig: CountingRig) -> None:
    rig.make("all", amount=35 * CALL)
    rig.make("acme's \u202etokens", {"tenant": "acme"}, kind="tokens", amount=4_400)
    rig.make("off", enabled=False)
    rig.settle(theirs(1, tenant="acme"), call(2, trace=2))
    page = metrics(rig)
    assert 'finops_budget_limit_usd{budget="all",tenant=""} 0.1225' in page
    assert 'finops_budget_spent_usd{budget="all",tenant=""} 0.007' in page
    assert 'finops_budget_utilization_ratio{budget="acme\'s \ufffdtokens",tenant="acme"} 0.25' in page
    assert "finops_budget_limit_usd{budget=\"acme's" not in page  # tokens are no dollars
    assert "off" not in page.replace("left_out", "")
    assert "finops_budgets_left_out 0.0" in page
    assert 'finops_budget_forecast_usd{budget="all"' not in page, "none is made yet"
    ForecastKeeper(rig.store, rig.clock, rig.followed, rig.spending).run()
    [ahead] = [line for line in metrics(rig).splitlines() if line.startswith("finops_budget_forecast_usd{")]
    assert ahead.startswith('finops_budget_forecast_usd{budget="all",tenant=""}')
    assert 0.007 < float(ahead.split()[-1]) < 0.21, "two calls on the first day, and nine and a half days to come"
    rig.clock.advance(10 * DAY_S)
    assert "finops_budget_forecast_usd{" not in metrics(rig), "what was forecast of November is not told of December"
    bounded = metrics(rig, series_max=1)
    assert 'ratio{budget="all"' in bounded
    assert "tokens" not in bounded.split("# HELP finops_budgets_left_out")[0].replace("budgets in tokens", "")
    assert "finops_budgets_left_out 1.0" in bounded


# --- the verbs -------------------------------------------------------------------------------------------------------


def test_a_budget_is_made_shown_changed_and_deleted(rig: CountingRig, context: Context) -> None:
    made = run(context, "budgets.create", name="acme's gpt", amount="0.5", scope="tenant=acme,model=GPT-*,user=ann", hard=True)
    assert made["changed"] is True
    assert made["budget"]["scope"] == {"tenant": "acme", "model": "gpt-*", "user": "ann"}
    shown = run(context, "budgets.show", no=1)["budget"]
    assert shown["scope"] == {"tenant": "acme", "model": "gpt-*", "user": "ann"}  # as people call her
    assert shown["period"] == {"period": "monthly", "zone": "Europe/Rome", "start_day": 1, "start_month": None, "length": None}
    assert (shown["amount"], shown["kind"], shown["currency"], shown["fail"], shown["thresholds"]) == (
        "0.5",
        "money",
        "USD",
        "settings",
        [50, 80, 100],
    )
    rig.settle(theirs(1, tenant="acme", user="ann"), theirs(2, trace=2, tenant="acme", user="bob"))
    standing = run(context, "budgets.show", no=1)["budget"]["status"]
    assert (standing["from"], standing["to"]) == ("2026-10-31T23:00:00.000000000Z", "2026-11-30T23:00:00.000000000Z")
    assert (standing["booked"], standing["spent"], standing["remaining"]) == ("0.0035", "0.0035", "0.4965")
    assert (standing["ratio"], standing["state"], standing["filling"], standing["fault"]) == ("0.007", "ok", False, None)
    changed = run(context, "budgets.update", no=1, amount="0.004", zone="UTC", fail="closed", thresholds="90,100")["budget"]
    assert (changed["amount"], changed["period"]["zone"], changed["fail"], changed["thresholds"]) == ("0.004", "UTC", "closed", [90, 100])
    assert (changed["hard"], changed["name"]) == (True, "acme's gpt")
    assert run(context, "budgets.show", no=1)["budget"]["status"]["state"] == "warning"
    assert run(context, "budgets.update", no=1, amount="0.004")["changed"] is False
    revisions = run(context, "budgets.history", no=1)["revisions"]
    assert [(one["amount"], one["deleted"]) for one in revisions] == [("0.004", False), ("0.5", False)]
    assert run(context, "budgets.delete", no=1)["changed"] is True
    with pytest.raises(NotFound, match="There is no budget 1"):
        run(context, "budgets.show", no=1)
    assert run(context, "budgets.history", no=1)["revisions"][0]["deleted"] is True
    whats = [change.what for change in context.trail.changes]  # type: ignore[attr-defined]
    assert whats == ["budgets.create", "budgets.update", "budgets.delete"]


def test_a_dry_run_says_what_would_stand(context: Context) -> None:
    tried = run(context, "budgets.create", name="b", amount="5", scope={"user": "Ann"}, dry_run=True)
    assert (tried["changed"], tried["budget"]["scope"]) == (False, {"user": "Ann"})
    assert run(context, "budgets.list")["budgets"] == []
    run(context, "budgets.create", name="b", amount="5")
    tried = run(context, "budgets.update", no=1, scope={"session": "chat-7"}, dry_run=True)
    assert (tried["changed"], tried["budget"]["scope"]) == (False, {"session": "chat-7"})
    run(context, "budgets.delete", no=1, dry_run=True)
    assert run(context, "budgets.show", no=1)["budget"]["scope"] == {}


def test_an_edit_of_a_period_keeps_what_is_not_said(context: Context) -> None:
    def period(**said: Any) -> dict[str, Any]:
        return dict(run(context, "budgets.update", no=1, **said)["budget"]["period"])

    run(context, "budgets.create", name="b", amount="5", period="yearly", start_month=4, start_day=6, zone="Europe/London")
    assert period(start_day=1) == {"period": "yearly", "zone": "Europe/London", "start_day": 1, "start_month": 4, "length": None}
    assert period(period="weekly") == {"period": "weekly", "zone": "Europe/London", "start_day": 1, "start_month": None, "length": None}
    assert period(start_day=7)["start_day"] == 7
    assert period(period="rolling_days", length=30)["length"] == 30
    assert period(length=7) == {"period": "rolling_days", "zone": "Europe/London", "start_day": None, "start_month": None, "length": 7}
    with pytest.raises(BadInput, match=r"^length: a period that is daily has none"):
        period(period="daily", length=7)


def test_what_is_refused_says_why_and_where(context: Context) -> None:
    run(context, "budgets.create", name="tokens", amount="5", kind="tokens")
    for name, said, reason in (
        ("budgets.create", {"name": "b", "amount": "0.5", "kind": "calls"}, "^amount: a limit in calls is a whole number"),
        ("budgets.update", {"no": 1, "kind": "money"}, "^amount: say how many money the limit is"),
        ("budgets.create", {"name": "b", "amount": "5", "zone": "Mars/Olympus"}, "^zone: there is no time zone"),
        ("budgets.create", {"name": "b", "amount": "5", "scope": {"planet": "mars"}}, r"^scope\.planet"),
        ("budgets.create", {"name": "b", "amount": "5", "period": "rolling_days"}, "^length: say how many days"),
        ("budgets.create", {"name": "b", "amount": "5", "parent": 7}, "^parent: there is no budget 7"),
    ):
        with pytest.raises(BadInput, match=reason):
            run(context, name, **said)
    for said in (
        {"amount": "-5"},
        {"amount": "1e3"},
        {"amount": "NaN"},
        {"amount": "5", "scope": "acme"},
        {"amount": "5", "thresholds": "a"},
    ):
        with pytest.raises(ValueError, match=r"amount|scope|thresholds"):
            run(context, "budgets.create", name="b", **said)


def test_who_is_bound_to_tenants_sees_and_changes_theirs_alone(context: Context) -> None:
    run(context, "budgets.create", name="all", amount="100")
    run(context, "budgets.create", name="acme's", amount="50", scope={"tenant": "acme"}, parent=1)
    run(context, "budgets.create", MAX, name="its agents", amount="5", scope={"tenant": "acme", "agent": "planner"}, parent=2)
    assert [one["no"] for one in run(context, "budgets.list", VERA)["budgets"]] == [2, 3]
    assert [(one["no"], one["depth"]) for one in run(context, "budgets.tree", VERA)["nodes"]] == [(2, 0), (3, 1)]
    assert run(context, "budgets.show", VERA, no=3)["within"] == [2]
    assert run(context, "budgets.list", GIL)["budgets"] == run(context, "budgets.tree", GIL)["nodes"] == []
    assert run(context, "budgets.list", VERA, tenant="globex")["budgets"] == []
    for name in ("show", "history", "burndown"):
        for no, by in ((1, VERA), (2, GIL)):
            with pytest.raises(NotFound, match=f"There is no budget {no}"):
                run(context, f"budgets.{name}", by, no=no)
    with pytest.raises(NotFound, match="There is no budget 1"):
        run(context, "budgets.tree", VERA, no=1)
    with pytest.raises(Forbidden, match=r"budgets\.create needs the permission manage"):
        run(context, "budgets.create", VERA, name="b", amount="5", scope={"tenant": "acme"})
    with pytest.raises(Forbidden, match=r"name yours in scope\.tenant"):
        run(context, "budgets.create", MAX, name="b", amount="5")
    with pytest.raises(NotFound, match="no such tenant"):
        run(context, "budgets.create", MAX, name="b", amount="5", scope={"tenant": "globex"})
    with pytest.raises(NotFound, match="no such tenant"):
        run(context, "budgets.update", MAX, no=3, scope={"tenant": "globex"})
    with pytest.raises(Forbidden, match="who sees all tenants"):
        run(context, "budgets.update", MAX, no=2, amount="5000")
    assert run(context, "budgets.update", MAX, no=3, amount="7")["budget"]["amount"] == "7"
    run(context, "budgets.update", no=3, parent=1)
    moved = run(context, "budgets.update", MAX, no=3, amount="700")  # its parent is none that he sees; he is not told of it
    assert (moved["budget"]["amount"], moved["notes"]) == ("700", [])
    assert run(context, "budgets.show", no=3)["notes"] != []


def test_a_child_above_its_parent_is_told(context: Context) -> None:
    run(context, "budgets.create", name="all", amount="100")
    made = run(context, "budgets.create", name="part", amount="101", parent=1)
    assert made["notes"] == ["Its limit is above that of budget 1 (all), of which it is a part: that one is exhausted first."]
    assert run(context, "budgets.show", no=2)["notes"] == made["notes"]
    assert run(context, "budgets.update", no=2, parent=0)["notes"] == []


def test_a_parent_contains_what_its_children_spend(rig: CountingRig, context: Context) -> None:
    run(context, "budgets.create", name="acme's", amount="1", scope={"tenant": "acme"})
    run(context, "budgets.create", name="planner's", amount="0.004", scope={"tenant": "acme", "agent": "planner"}, parent=1)
    rig.settle(
        theirs(1, tenant="acme", agent="planner"), theirs(2, trace=2, tenant="acme", agent="writer"), theirs(3, trace=3, tenant="globex")
    )
    nodes = run(context, "budgets.tree")["nodes"]
    assert [(one["name"], one["depth"], one["children"], one["status"]["spent"]) for one in nodes] == [
        ("acme's", 0, 1, "0.007"),
        ("planner's", 1, 0, "0.0035"),
    ]


def test_lists_are_paged_and_filtered(rig: CountingRig, context: Context) -> None:
    for number in range(1, 6):
        run(context, "budgets.create", name=f"budget {number}", amount="0.003", scope={"agent": f"a{number}"}, hard=number % 2 == 0)
    rig.settle(theirs(1, agent="a3"))

    def numbers(**said: Any) -> list[int]:
        return [one["no"] for one in run(context, "budgets.list", **said)["budgets"]]

    first = run(context, "budgets.list", limit=2)
    assert [one["no"] for one in first["budgets"]] == [1, 2]
    second = run(context, "budgets.list", limit=2, cursor=first["next_cursor"])
    assert [one["no"] for one in second["budgets"]] == [3, 4]
    assert run(context, "budgets.list", limit=2, cursor=second["next_cursor"])["next_cursor"] is None
    assert numbers(hard=True) == [2, 4]
    assert numbers(search="BUDGET 4") == [4]
    assert numbers(state="exceeded") == [3]
    assert numbers(kind="tokens") == numbers(enabled=False) == []


def test_the_tree_is_paged_in_its_order(context: Context) -> None:
    for name, parent in (("a", None), ("b", None), ("a1", 1), ("a2", 1), ("a11", 3), ("b1", 2)):
        run(context, "budgets.create", name=name, amount="1", parent=parent)
    pages, cursor = [], None
    while True:
        page = run(context, "budgets.tree", limit=2, cursor=cursor)
        pages.append([one["name"] for one in page["nodes"]])
        if (cursor := page["next_cursor"]) is None:
            break
    assert pages == [["a", "a1"], ["a11", "a2"], ["b", "b1"]]
    assert [one["name"] for one in run(context, "budgets.tree", no=3)["nodes"]] == ["a1", "a11"]
    stale = run(context, "budgets.tree", limit=3)["next_cursor"]
    run(context, "budgets.delete", no=5)
    with pytest.raises(BadInput, match=r"^cursor: the budget with which the last page ended is gone"):
        run(context, "budgets.tree", limit=3, cursor=stale)


def test_thresholds_that_were_passed_are_listed(rig: CountingRig, context: Context) -> None:
    """Two calls are 0.007 USD: 70 % of 0.01, and more than all of 0.005; acme's own is none of the others' business."""
    run(context, "budgets.create", name="all", amount="0.01", period="monthly", zone="UTC")
    run(context, "budgets.create", name="acme's", amount="0.005", scope={"tenant": "acme"}, period="rolling_days", length=7)
    rig.settle(theirs(1, tenant="acme"), theirs(2, trace=2, tenant="acme"))
    answer = run(context, "budgets.crossings")
    assert sorted((one["no"], one["percent"], one["booked"], one["limit"], one["window_from"]) for one in answer["crossings"]) == [
        (1, 50, "0.007", "0.01", "2026-11-01T00:00:00.000000000Z"),
        *[(2, percent, "0.007", "0.005", None) for percent in (50, 80, 100)],
    ]
    assert {one["no"] for one in run(context, "budgets.crossings", VERA)["crossings"]} == {2}
    assert run(context, "budgets.crossings", GIL)["crossings"] == []
    first = run(context, "budgets.crossings", no=2, limit=2)
    rest = run(context, "budgets.crossings", no=2, limit=2, cursor=first["next_cursor"])
    assert sorted(one["percent"] for one in first["crossings"] + rest["crossings"]) == [50, 80, 100]
    assert rest["next_cursor"] is None
    with pytest.raises(NotFound, match="There is no budget 1"):
        run(context, "budgets.crossings", VERA, no=1)


def test_burndown_as_it_is_answered(rig: CountingRig, context: Context) -> None:
    run(context, "budgets.create", name="day", amount="3", kind="calls", period="weekly", zone="UTC")
    rig.settle(call(1), call(2, trace=2, at_s=-DAY_S))
    course = run(context, "budgets.burndown", no=1)
    assert (course["from"], course["to"], course["limit"]) == ("2026-11-16T00:00:00.000000000Z", "2026-11-23T00:00:00.000000000Z", "3")
    assert [(one["spent"], one["in_all"], one["remaining"]) for one in course["steps"]] == [
        *[("0", "0", "3")] * 4,
        ("1", "1", "2"),
        ("1", "2", "1"),
        ("0", None, None),
    ]
    before = run(context, "budgets.burndown", no=1, at="2026-11-10")
    assert (before["from"], {one["spent"] for one in before["steps"]}) == ("2026-11-09T00:00:00.000000000Z", {"0"})
