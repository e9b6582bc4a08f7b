"""What rules find in a real ledger: thresholds of budgets, spend that is too fast, calls without a price, credits, switches, policies.

Calls are of gpt-4o with 1,000 tokens in at 2.50 USD a million and 100 out at 10 USD: 0.0025 + 0.0010 = 0.0035 USD, 1,100 tokens.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from checking_rig import CheckingRig
from counting_rig import USD, CountingRig
from ledger_rig import CENT, call
from price_lists import BASE, ROWS, row

from otel_finops.alerting.findings import Feed, Finding
from otel_finops.alerting.governance_feeds import BudgetFeed, CreditFeed, KillSwitchFeed, PolicyFailureFeed
from otel_finops.alerting.insight_feeds import AnomalyFeed, CaptureFeed, ForecastFeed
from otel_finops.alerting.parameters import Kind
from otel_finops.alerting.price_feeds import PriceChangeFeed
from otel_finops.alerting.rules import Rule, checked
from otel_finops.alerting.spend_feeds import Pair, SpendRateFeed, UnpricedFeed, burn
from otel_finops.governance.credit_desk import LowBalance
from otel_finops.governance.credits import Pool
from otel_finops.governance.kill_switches import KillSwitches, Target
from otel_finops.governance.periods import Period
from otel_finops.governance.policies import Policy
from otel_finops.governance.policy_store import Failures
from otel_finops.governance.scopes import Scope
from otel_finops.insight.anomaly_scan import Scope as Whose
from otel_finops.insight.anomaly_store import Finding as Anomaly
from otel_finops.insight.anomaly_store import Mute, Note, add_mute, add_note, put_anomaly
from otel_finops.insight.capture import CaptureRate, keep
from otel_finops.insight.forecast_store import ForecastKeeper
from otel_finops.ledger.price_watches import PriceWatches
from otel_finops.pricing.book import PriceBook
from otel_finops.pricing.engine import PriceEngine
from otel_finops.settings.kill_switch import KillSwitch
from otel_finops.store.engine import Store

HOUR, DAY = 3_600, 86_400
NS = 10**9


@pytest.fixture
def rig(store: Store) -> CountingRig:
    return CountingRig(store)


def rule(kind: Kind, tenant: str | None = None, **params: Any) -> Rule:
    return checked(Rule(1, "rule", kind, tenant, params=params))


def found(rig: CountingRig, feed: Feed, one: Rule, since_s: float = 60) -> list[Finding]:
    now_ns = rig.clock.now_ns()
    return list(feed(one, now_ns, now_ns - int(since_s * NS)))


# --- thresholds of budgets -----------------------------------------------------------------------------------------------


def test_spend_that_jumps_over_three_thresholds_is_told_once(rig: CountingRig) -> None:
    rig.make("ml", {"tenant": "acme"}, amount=CENT, thresholds=(50, 80, 100))
    rig.settle(*(call(one, trace=one, attribution={"tenant": "acme"}) for one in range(1, 5)))  # 1.40 of the cent
    checking = CheckingRig(rig.store, rig.clock, BudgetFeed(rig.store, rig.clock))
    checking.rule()
    done = checking.check(1)
    [told] = done.notices
    assert (told.title, told.severity, told.tenant) == ("ml: 100 % of the budget spent", "critical", "acme")
    assert told.figures == {"percent": "100", "booked": "0.014", "limit": "0.01", "unit": "USD"}
    assert told.labels == {"budget": "ml", "budget_no": "1"}
    assert checking.told() == []


def test_each_further_threshold_is_told_and_the_next_window_is_another_alert(rig: CountingRig) -> None:
    rig.make("day", amount=CENT, period=Period.of("daily"), thresholds=(50, 100))
    checking = CheckingRig(rig.store, rig.clock, BudgetFeed(rig.store, rig.clock))
    checking.rule()
    rig.settle(call(1), call(2, trace=2))  # 0.70
    assert checking.told(1) == [("firing", "day: 50 % of the budget spent")]
    rig.settle(call(3, trace=3))  # 1.05
    assert checking.told(1) == [("firing", "day: 100 % of the budget spent")]
    assert checking.told(DAY / 2 - 120) == []
    assert checking.told(119) == [("resolved", "Over: day: 100 % of the budget spent")]  # after midnight


def test_a_threshold_that_was_passed_and_is_no_more_at_the_check_is_told_all_the_same(rig: CountingRig) -> None:
    """Passed ten seconds before midnight, looked at ten seconds after it."""
    rig.make("day", amount=CENT, period=Period.of("daily"), thresholds=(50,))
    feed = BudgetFeed(rig.store, rig.clock)
    rig.clock.advance(12 * HOUR - 12)
    at_s = 12 * HOUR - 20
    rig.settle(*(call(one, trace=one, at_s=at_s) for one in (1, 2)))
    rig.clock.advance(20)
    assert [one.title for one in found(rig, feed, rule("budget"))] == ["day: 50 % of the budget spent"]
    rig.clock.advance(120)
    assert found(rig, feed, rule("budget")) == []


def test_only_the_budgets_and_thresholds_that_the_rule_names(rig: CountingRig) -> None:
    one = rig.make("one", amount=CENT, thresholds=(20, 90))
    rig.make("two", amount=CENT, thresholds=(20,))
    rig.edit(rig.make("off", amount=CENT, thresholds=(20,)), enabled=False)
    rig.settle(call(1))  # 0.35
    feed = BudgetFeed(rig.store, rig.clock)
    assert [finding.labels["budget"] for finding in found(rig, feed, rule("budget"))] == ["one", "two"]
    assert [finding.labels["budget"] for finding in found(rig, feed, rule("budget", budgets=[one.no]))] == ["one"]
    assert found(rig, feed, rule("budget", percent=50)) == []
    assert found(rig, feed, rule("budget", critical_percent=20))[0].severity == "critical"


# --- the rate of spend ----------------------------------------------------------------------------------------------------


def test_a_burn_is_what_both_windows_are_of_an_even_pace() -> None:
    """24 USD a day are 1 an hour: 15 USD in an hour and 0.5 in five minutes are 15 and 6 times that."""
    even = Fraction(24 * USD, DAY * NS)
    one = burn(Pair.of("60/5/14.4"), 15 * USD, USD // 2, even)
    assert (one.long_times, one.short_times, one.is_too_fast) == (Fraction(15), Fraction(6), False)
    assert burn(Pair.of("60/5/6"), 15 * USD, USD // 2, even).is_too_fast
    assert not burn(Pair.of("60/5/6"), 5 * USD, USD // 2, even).is_too_fast


def spend(rig: CountingRig, *minutes_ago: int, **attribution: str) -> None:
    """A call each so many minutes before now."""
    now_s = (rig.clock.now_ns() - call(1).start_ns) // NS
    known = [call(n, trace=1_000 + n * 100_000 + now_s, at_s=now_s - m * 60, attribution=attribution) for n, m in enumerate(minutes_ago)]
    rig.settle(*known)


def test_a_budget_that_burns_is_found_and_one_that_burned_is_not(rig: CountingRig) -> None:
    """0.24 USD a day are 0.01 an hour: 0.0105 in the hour before noon is 1.05 times that, of which 0.0035 in five minutes are 4.2."""
    rig.make("ml", {"tenant": "acme", "model": "gpt-*"}, amount=24 * CENT, period=Period.of("daily"))
    rig.make("other", {"tenant": "globex"}, amount=24 * CENT, period=Period.of("daily"))
    rig.make("trace", {"trace": "0" * 31 + "1"}, amount=1, period=Period.of("daily"))
    spend(rig, 50, 30, 3, tenant="acme")
    feed = SpendRateFeed(rig.store, rig.clock)
    [one] = found(rig, feed, rule("spend_rate", windows="60/5/1"))
    assert (one.tenant, one.labels["budget"]) == ("acme", "ml")
    assert one.figures == {
        "times": "1.1", "long_minutes": "60", "short_minutes": "5", "spent_long": "0.0105", "spent_short": "0.0035", "limit": "0.24",
        "remaining": "0.2295", "unit": "USD",
    }  # fmt: skip
    assert one.text.endswith("At this rate the 0.2295 USD that are left last 21.9 hours.")  # 0.2295 / 0.0105
    assert found(rig, feed, rule("spend_rate", windows="60/5/1.1")) == []
    assert found(rig, feed, rule("spend_rate", windows="60/2/1")) == []  # nothing in the last two minutes
    rig.clock.advance(4 * 60)
    assert found(rig, feed, rule("spend_rate", windows="60/5/0.5")) == []


def test_windows_longer_than_a_budgets_own_are_left_out(rig: CountingRig) -> None:
    rig.make("hour", amount=1, period=Period.of("rolling_hours", length=1))
    spend(rig, 3)
    feed = SpendRateFeed(rig.store, rig.clock)
    assert found(rig, feed, rule("spend_rate", windows="360/30/1")) == []
    assert len(found(rig, feed, rule("spend_rate", windows="60/5/1"))) == 1


def test_a_pace_without_a_budget_is_held_for_each_value(rig: CountingRig) -> None:
    """0.001 USD an hour: acme's 0.0105 are 10.5 times that, globex's 0.0035 are 3.5."""
    spend(rig, 50, 30, 3, tenant="acme")
    spend(rig, 2, tenant="globex")
    feed = SpendRateFeed(rig.store, rig.clock)
    [one] = found(rig, feed, rule("spend_rate", usd_per_hour="0.001", windows="60/5/5", by="tenant"))
    assert (one.tenant, one.title) == ("acme", "tenant acme: spent 10.5 times too fast")
    [both] = found(rig, feed, rule("spend_rate", usd_per_hour="0.001", windows="60/5/5"))
    assert (both.tenant, both.figures["spent_long"]) == ("", "0.014")
    [own] = found(rig, feed, rule("spend_rate", "globex", usd_per_hour="0.001", windows="60/5/3"))
    assert (own.tenant, own.figures["times"]) == ("globex", "3.5")


# --- calls without a price ----------------------------------------------------------------------------------------------


def test_tokens_without_a_price_are_found_with_the_models(rig: CountingRig) -> None:
    """Two calls of 1,100 tokens without a price, six with one: a quarter."""
    unknown = {"request_model": "house-1", "response_model": "house-1", "price_models": ("house-1",)}
    rig.settle(*(call(n, trace=n, attribution={"tenant": "acme"}, **(unknown if n < 3 else {})) for n in range(1, 9)))
    feed = UnpricedFeed(rig.store)
    [one] = found(rig, feed, rule("unpriced", tokens=2_200, percent="24.9"))
    assert one.title == "All spend: 25.0 % of the tokens have no price"
    assert one.text == (
        "2200 of 8800 tokens and 2 of 8 calls of the last 24 hours could not be priced, most of them of house-1 of openai. What they cost "
        "is in no sum."
    )
    assert found(rig, feed, rule("unpriced", tokens=2_200, percent=25)) == []
    assert found(rig, feed, rule("unpriced", tokens=2_201)) == []
    [model] = found(rig, feed, rule("unpriced", tokens=1, percent=50, by="model"))
    assert (model.labels, model.figures["percent"]) == ({"model": "house-1"}, "100.0")
    assert found(rig, feed, rule("unpriced", "globex", tokens=1)) == []


# --- credits, switches, policies, prices ----------------------------------------------------------------------------------


def test_pools_that_run_low_until_they_have_enough_again() -> None:
    pool = Pool(3, "prepaid", Scope((("tenant", "acme"),)))
    low = [LowBalance(2, pool, 5 * USD, 4 * USD, 1_000 * NS, None), LowBalance(1, pool, 5 * USD, 3 * USD, 10 * NS, 900 * NS)]
    feed = CreditFeed(lambda tenants, before, limit: low)
    [one] = feed(rule("credit"), 1_060 * NS, 1_000 * NS)
    assert (one.tenant, one.title, one.figures) == ("acme", "prepaid: credits run low", {"level": "4", "low": "5"})
    assert len(feed(rule("credit"), 60 * NS, 5 * NS)) == 2  # what came and went since the last look is told too
    assert feed(rule("credit", pools=[4]), 1_060 * NS, 1_000 * NS) == []


def test_kill_switches_that_are_set(rig: CountingRig) -> None:
    switches = KillSwitches(rig.store, rig.clock, KillSwitch(models=("gpt-4o",), why="too dear"))
    switches.set(Target("tenant", "acme"), who="ann", why="an agent ran away")
    given, stored = KillSwitchFeed(switches.all)(rule("kill_switch"), 0, 0)
    assert (given.tenant, given.text) == ("", "It stops model gpt-4o; the settings set it: too dear")
    assert (stored.tenant, stored.title) == ("acme", "Kill switch: tenant acme")


def test_policies_that_failed_of_late() -> None:
    policies = [Policy(1, "loops", "block"), Policy(2, "large", "block")]
    failures = {1: Failures(7, 100 * HOUR * NS, "no such field"), 2: Failures(1, 98 * HOUR * NS, "too slow")}
    feed = PolicyFailureFeed(lambda: policies, lambda asked: failures)
    [one] = feed(rule("policy_failure"), 100 * HOUR * NS + 1, 0)
    assert (one.labels, one.figures) == ({"policy": "loops", "policy_no": "1"}, {"failures": "7"})


def test_changes_of_watched_prices_are_told_once(rig: CountingRig) -> None:
    """gpt-4o costs 5 instead of 2.50 USD a million from an hour ago on; gpt-4.1 changes in January, and nobody watches our-model."""
    now_ns = rig.clock.now_ns()
    coming = {"models": {"openai/gpt-4.1": {"prices": [["", row(2, 8)], ["2027-01-01", row(3, 8)]]}}}
    dearer = BASE._replace(version="c" * 16, valid_from_ns=now_ns - HOUR * NS, rows={**ROWS, "gpt-4o": row(5)})
    engine = PriceEngine(PriceBook.of([BASE._replace(dated=coming), dearer]))
    watches = PriceWatches(rig.store, rig.clock)
    watches.add("*", "openai", "gpt-4o", who="ann")
    watches.add("acme", "openai", "gpt-4.1", who="ann")
    feed = PriceChangeFeed(rig.store, rig.clock, lambda: engine)
    changed, announced = found(rig, feed, rule("price_change"))
    assert (changed.tenant, changed.title) == ("", "gpt-4o of openai: price changed since 2026-11-21 11:00:00 UTC")
    assert changed.text.startswith("input_cost_per_token 0.0000025 to 0.000005 USD, since 2026-11-21 11:00:00 UTC.")
    assert (announced.tenant, announced.title) == ("acme", "gpt-4.1 of openai: price changed from 2027-01-01 00:00:00 UTC")
    assert [changed.lasting, announced.lasting] == [False, False]
    rig.clock.advance(DAY)
    assert [one.labels["model"] for one in found(rig, feed, rule("price_change"))] == ["gpt-4.1"]


# --- what insight knows ---------------------------------------------------------------------------------------------------


def test_anomalies_that_nobody_has_acknowledged_or_muted(rig: CountingRig) -> None:
    now_ns, scopes = (
        rig.clock.now_ns(),
        (Whose("global"), Whose("tenant", "acme"), Whose("agent", "acme", "planner"), Whose("tenant", "globex")),
    )
    with rig.store.write() as transaction:
        for scope in scopes:
            one = Anomaly(0, scope, "day", now_ns - DAY * NS, now_ns, True, now_ns, now_ns, 12 * USD, 2 * USD, USD, 9.0, 7, 40, None)
            no = put_anomaly(transaction, one)
            if scope.tenant == "globex":
                add_note(transaction, no, Note("ack", "known", "ann", now_ns))
        add_mute(transaction, Mute(0, "acme", "agent", "planner", "", None, "known", "ann", now_ns))
    feed = AnomalyFeed(rig.store)
    everything = found(rig, feed, rule("anomaly"))
    assert sorted((one.tenant, one.labels["scope"]) for one in everything) == [("", "global"), ("acme", "tenant")]
    assert everything[0].text == "12 USD where 2 USD would have been usual."
    assert not any(one.lasting for one in everything)
    assert [one.tenant for one in found(rig, feed, rule("anomaly", "acme"))] == ["acme"]
    assert [one.labels["scope"] for one in found(rig, feed, rule("anomaly", scopes="global"))] == ["global"]
    assert found(rig, feed, rule("anomaly", usd="10.01")) == []
    rig.clock.advance(2 * DAY)
    assert found(rig, feed, rule("anomaly")) == []


def test_budgets_that_are_forecast_to_be_exceeded(rig: CountingRig) -> None:
    """A call of 0.0035 USD on each of twenty days: some 0.1 USD by the month's end, of 0.09."""
    rig.make("tight", {"tenant": "acme"}, amount=9 * CENT)
    rig.make("wide", {"tenant": "acme"}, amount=100 * CENT)
    rig.settle(*(call(day, trace=day, at_s=-DAY * day, attribution={"tenant": "acme"}) for day in range(20)))
    while rig.filler.run(lambda: False):
        pass
    ForecastKeeper(rig.store, rig.clock, rig.followed, rig.spending).run()
    feed = ForecastFeed(rig.store, rig.clock)
    [one] = found(rig, feed, rule("forecast"))
    assert (one.tenant, one.labels["budget"], one.figures["limit"], one.figures["spent"]) == ("acme", "tight", "0.09", "0.07")
    assert "It passes the limit about 2026-11-2" in one.text
    assert [both.labels["budget"] for both in found(rig, feed, rule("forecast", percent=5))] == ["tight", "wide"]
    rig.clock.advance(DAY + 1)  # nobody made it anew
    assert found(rig, feed, rule("forecast")) == []


def test_bills_that_the_ledger_does_not_agree_with(rig: CountingRig) -> None:
    """93 of 100 USD, and 102: too little and too much; 95 and 101 are near enough."""
    now_ns = rig.clock.now_ns()
    with rig.store.write() as transaction:
        rates = [
            CaptureRate(tenant, f"bill {booked}", "openai", now_ns - 9 * DAY * NS, now_ns - DAY * NS, 100 * USD, booked * USD, booked / 100,
                        {"missing_usage": 5 * USD, "unexplained": 2 * USD} if booked == 93 else {}, now_ns)
            for tenant, booked in (("", 93), ("acme", 102), ("acme", 95), ("acme", 101))
        ]  # fmt: skip
        keep(transaction, rates)
    feed = CaptureFeed(rig.store)
    less, more = sorted(found(rig, feed, rule("capture_rate")), key=lambda one: one.title)[::-1]
    assert (less.tenant, less.title) == ("", "bill 93: the ledger has 93.0 % of the bill")
    assert less.text == "93 USD of 100 USD billed for 2026-11-12 to 2026-11-20: missing usage 5 USD, unexplained 2 USD."
    assert (more.tenant, more.figures["percent"]) == ("acme", "102.0")
    assert found(rig, feed, rule("capture_rate", days=1)) == []
