"""Repricing, estimates and periods by the API's and the commands' verbs: whose rows, what goes on record, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from otel_finops.base.errors import BadInput, Forbidden, NotFound
from otel_finops.base.times import NS_PER_DAY, NS_PER_SECOND
from otel_finops.genai.sighting import CALL, Sighting
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.journal import JournalRow, record
from otel_finops.ledger.rollups import Rollups
from otel_finops.ledger.settle import Settler
from otel_finops.ledger.subjects import Subjects
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import corrections_desk, make_context
from otel_finops.operations.registry import Json, invoke
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases
from otel_finops.testing import NOON, FakeClock, RememberedTrail

PRICES = PriceEngine.load()
ANN = Principal("ann", ("acme",), ROLES["manager"])
VIEWER = Principal("vic", None, ROLES["viewer"])
OCTOBER = NOON - 40 * NS_PER_DAY
SETTINGS = load(None, {"OTEL_FINOPS_LEDGER__ESTIMATE_SAMPLES": "1"})


def call(number: int, tenant: str, start_ns: int = NOON, **said: Any) -> Sighting:
    """1,000 tokens in and 100 out of gpt-4o, which are 0.0035 USD; by the rule of these tests, at twice as much a token, 0.007."""
    ids = {"realm": tenant, "trace_id": f"{number:032x}", "span_id": f"{number:016x}", "parent_span_id": None, "name": "chat"}
    facts: dict[str, Any] = {
        "start_ns": start_ns, "end_ns": start_ns + NS_PER_SECOND, "kind": CALL, "genai": True, "instance": "shop", "scope": "client",
        "operation": "chat", "provider": "openai", "request_model": "gpt-4o", "price_models": ("gpt-4o",), "usage_source": "reported",
        "usage": {"input_uncached": 1000, "output": 100}, "attribution": {"tenant": tenant},
    }  # fmt: skip
    return Sighting(**{**ids, **facts, **said})


@pytest.fixture
def trail() -> RememberedTrail:
    return RememberedTrail()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON + 2 * NS_PER_DAY)


@pytest.fixture
def context(store: Store, clock: FakeClock, trail: RememberedTrail) -> Context:
    """One call of acme, two of globex, of which one is of October; one of acme without usage. Then gpt-4o costs twice as much."""
    subjects, prices = Subjects(), CurrentPrices(store, clock, packaged_snapshot)
    silent = call(4, "acme", usage={}, usage_source="missing", missing_reason="no_usage_stream")
    sightings = [call(1, "acme"), call(2, "globex"), call(3, "globex", OCTOBER), silent]
    with store.write() as transaction:
        record(transaction, [JournalRow(one, None) for one in sightings], now_ns=NOON, settle_after_ns=0, subjects=subjects)
    Settler(store, Leases(store, clock, "test"), PRICES, (Rollups(),), clock).settle_all()
    made = make_context(SETTINGS, store, subjects, prices, clock, trail=trail)
    ask(made, "pricing.override", model="gpt-4o", prices="input=5,output=20", why="new contract")
    trail.changes.clear()
    return made


def ask(context: Context, name: str, who: Principal = LOCAL, **given: Any) -> Json:
    one = OPERATIONS.named(name)
    answer = invoke(one, context, who, one.input.model_validate(given), origin="test")
    one.output.model_validate(answer, strict=True)
    return answer


def numbers(answer: Json) -> tuple[Any, ...]:
    return answer["rows"], answer["changed"], answer["before_usd"], answer["after_usd"], answer["difference_usd"]


def test_a_dry_run_says_what_a_run_does_and_nothing_goes_on_record(context: Context, trail: RememberedTrail) -> None:
    dry = ask(context, "ledger.reprice", dry_run=True)
    assert numbers(dry) == (4, 3, "0.0105", "0.021", "0.0105")
    assert trail.made == []
    done = ask(context, "ledger.reprice", why="invoice says so")
    assert {**done, "dry_run": True, "run": None} == dry
    [change] = trail.made
    assert (change.what, change.who, change.before) == ("ledger.reprice", "local", {"usd": "0.0105"})
    assert (change.after["usd"], change.after["calls"], change.after["why"], change.after["run"]) == (
        "0.021",
        3,
        "invoice says so",
        done["run"],
    )
    assert ask(context, "ledger.reprice")["changed"] == 0


def test_who_and_why_can_be_asked_for_later(context: Context) -> None:
    given: dict[str, Any] = {"from": "2026-11-01", "why": "invoice says so"}
    done = ask(context, "ledger.reprice", **given)
    [run] = ask(context, "ledger.corrections")["runs"]
    assert (run["run"], run["verb"], run["who"], run["why"], run["difference_usd"]) == (
        done["run"], "reprice", "local", "invoice says so", "0.007",
    )  # fmt: skip
    assert run["selection"]["from"] == "2026-11-01T00:00:00.000000000Z"
    rows = ask(context, "usage.list")["entries"]
    corrections = [row["entry_id"] for row in rows if row["kind"] == "correction"]
    assert len(corrections) == 2
    assert all(ask(context, "ledger.corrections", entry=entry)["runs"] == [run] for entry in corrections)
    [charge, *_] = [row["entry_id"] for row in rows if row["kind"] == "charge"]
    with pytest.raises(NotFound, match="No run wrote this entry"):
        ask(context, "ledger.corrections", entry=charge)
    with pytest.raises(BadInput, match="not an entry_id"):
        ask(context, "ledger.corrections", entry="1-2")


def test_runs_are_listed_a_page_at_a_time(context: Context) -> None:
    for tenant in ("acme", "globex"):
        ask(context, "ledger.reprice", tenant=tenant)
    first = ask(context, "ledger.corrections", limit=1)
    second = ask(context, "ledger.corrections", limit=1, cursor=first["next_cursor"])
    assert [page["runs"][0]["selection"]["tenants"] for page in (first, second)] == [["globex"], ["acme"]]
    assert ask(context, "ledger.corrections", limit=1, cursor=second["next_cursor"]) == {"runs": [], "next_cursor": None}


def test_a_tenants_manager_corrects_its_own_calls_alone(context: Context) -> None:
    assert numbers(ask(context, "ledger.reprice", ANN)) == (2, 1, "0.0035", "0.007", "0.0035")
    assert ask(context, "ledger.reprice", ANN, tenant="globex")["rows"] == 0
    assert ask(context, "ledger.reprice")["changed"] == 2


def test_who_may_what(context: Context) -> None:
    for name, who in (("ledger.reprice", VIEWER), ("ledger.estimate", VIEWER), ("ledger.corrections", ANN), ("periods.close", ANN)):
        with pytest.raises(Forbidden):
            ask(context, name, who, **({"month": "2026-10"} if name == "periods.close" else {}))


def test_calls_without_usage_are_estimated(context: Context, trail: RememberedTrail) -> None:
    """Acme's one other call is the median of one: 0.0035 USD by the list, 0.007 by the rule."""
    assert numbers(ask(context, "ledger.estimate", dry_run=True)) == (1, 1, "0", "0.007", "0.007")
    done = ask(context, "ledger.estimate", ANN)
    assert (done["priced"], trail.made[0].who) == (1, "ann")
    [row] = [row for row in ask(context, "usage.list")["entries"] if row["cost_method"] == "estimated"]
    assert (row["usage"], row["usage_source"]) == ({"input_uncached": 1000, "output": 100}, "estimated")
    assert row["usage_rule"].startswith("estimate.median: 1 calls of this tenant, model, operation and purpose")


def test_calls_of_the_last_day_have_time_for_their_usage_to_come(store: Store, context: Context, clock: FakeClock) -> None:
    clock.advance(-1.5 * 86_400)
    assert ask(context, "ledger.estimate")["rows"] == 0
    assert ask(context, "ledger.estimate", to="2026-12-01")["rows"] == 1
    clock.advance(1.5 * 86_400)


def test_by_the_clock_months_close_and_silent_calls_are_estimated(store: Store, context: Context, clock: FakeClock) -> None:
    desk = corrections_desk(SETTINGS, store, CurrentPrices(store, clock, packaged_snapshot), clock)
    assert desk.close_due() == "closed 2026-10"
    assert desk.close_due() == "no month to close"
    assert desk.estimate_due() == "1 calls estimated"
    assert [(run["verb"], run["who"]) for run in ask(context, "ledger.corrections")["runs"]] == [("estimate", "schedule")]


def test_a_closed_month_is_told_and_protected(context: Context, trail: RememberedTrail) -> None:
    assert ask(context, "periods.close", month="2026-10", dry_run=True) == {"closed": ["2026-10"]}
    assert trail.made == []
    assert ask(context, "periods.close", month="2026-10", why="invoice is in") == {"closed": ["2026-10"]}
    assert (trail.made[0].what, trail.made[0].after) == ("periods.close", {"closed": ["2026-10"], "why": "invoice is in"})
    done = ask(context, "ledger.reprice")
    assert (done["changed"], done["protected"]) == (2, 1)
    before = ask(context, "spend.report", period="2026-10", group_by="provider,model")
    assert ask(context, "ledger.reprice", force=True)["changed"] == 1
    assert ask(context, "spend.report", period="2026-10", group_by="provider,model") == before
    november, october = ask(context, "periods.list")["periods"]
    assert {key: october[key] for key in ("month", "closed", "closed_by", "why", "cost_usd", "calls", "late_usd", "late_calls")} == {
        "month": "2026-10", "closed": True, "closed_by": "local", "why": "invoice is in", "cost_usd": "0.0035", "calls": 1,
        "late_usd": "0", "late_calls": 0,
    }  # fmt: skip
    assert (november["closed_at"], november["cost_usd"], november["late_usd"], november["late_calls"]) == (None, "0.0175", "0.0035", 0)
    [mine] = ask(context, "periods.list", ANN)["periods"][:1]
    assert mine["cost_usd"] == "0.007"


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("periods.close", {"month": "2026-11"}, "2026-11 is not over"),
        ("periods.close", {"month": "2026-1"}, "'2026-1' is no month"),
        ("ledger.reprice", {"from": "2026-11-02", "to": "2026-11-01"}, "`to` lies before `from`"),
        ("spend.report", {"period": "2026-10", "from": "2026-10-01"}, "period: takes the place of `from` and `to`"),
    ],
)
def test_bad_input_is_refused_with_how_to_mend_it(
    context: Context, trail: RememberedTrail, name: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        ask(context, name, **given)
    assert trail.made == []


SHARING = load(None, {"OTEL_FINOPS_PRICING__ALLOWANCES": '[{"realms": ["acme"]}]'})


@pytest.fixture
def grounded(store: Store, clock: FakeClock, trail: RememberedTrail) -> Context:
    """Two prompts of Gemini with searches, of acme and of globex: by the list 0.035 USD a prompt, of which 1,500 a day are free."""
    subjects, prices = Subjects(), CurrentPrices(store, clock, packaged_snapshot)
    gemini: dict[str, Any] = {"provider": "gemini", "request_model": "gemini-2.5-flash", "price_models": ("gemini-2.5-flash",)}
    with store.write() as transaction:
        asked = [call(number, tenant, usage={"web_searches": 3}, **gemini) for number, tenant in ((1, "acme"), (2, "globex"))]
        record(transaction, [JournalRow(one, None) for one in asked], now_ns=NOON, settle_after_ns=0, subjects=subjects)
    Settler(store, Leases(store, clock, "test"), PRICES, (Rollups(),), clock).settle_all()
    return make_context(SHARING, store, subjects, prices, clock, trail=trail)


def test_free_searches_of_a_day_that_is_over_are_booked(grounded: Context, trail: RememberedTrail) -> None:
    dry = ask(grounded, "ledger.allowances", dry_run=True)
    assert numbers(dry) == (1, 1, "0.035", "0", "-0.035")
    assert trail.made == []
    done = ask(grounded, "ledger.allowances")
    assert {**done, "dry_run": True, "run": None} == dry
    [change] = trail.made
    assert (change.what, change.after["usd"], change.after["why"]) == ("ledger.allowances", "0", "free allowances")
    [run] = ask(grounded, "ledger.corrections")["runs"]
    assert (run["verb"], run["difference_usd"]) == ("allowances", "-0.035")
    assert ask(grounded, "ledger.allowances")["entries"] == ask(grounded, "ledger.reprice")["changed"] == 0


def test_an_allowance_is_no_single_tenants(grounded: Context) -> None:
    with pytest.raises(Forbidden, match="all tenants"):
        ask(grounded, "ledger.allowances", ANN)
    with pytest.raises(BadInput, match="`to` lies before"):
        ask(grounded, "ledger.allowances", **{"from": "2026-11-02", "to": "2026-11-01"})


def test_free_searches_are_booked_by_the_clock(store: Store, grounded: Context, clock: FakeClock) -> None:
    desk = corrections_desk(SHARING, store, CurrentPrices(store, clock, packaged_snapshot), clock)
    assert [desk.allowances_due() for _ in range(2)] == ["free searches of 1 calls changed", "free searches of 0 calls changed"]
    [run] = ask(grounded, "ledger.corrections")["runs"]
    assert (run["verb"], run["who"], run["why"]) == ("allowances", "schedule", "by the clock (pricing.allowances)")
