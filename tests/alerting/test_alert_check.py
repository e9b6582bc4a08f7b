"""The check of alert rules: one transaction of what holds, what is on record and what is to be delivered, by one process at a time."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from checking_rig import OWNER, CheckingRig, Stub, fault, finding, lost

from otel_finops.alerting.defaults import DEFAULTS
from otel_finops.alerting.quiet import QuietHours
from otel_finops.alerting.rules import Rule
from otel_finops.alerting.store import alert_key, events
from otel_finops.base.errors import BadInput, Busy, Conflict, Forbidden, NotFound
from otel_finops.base.ids import RandomIds
from otel_finops.identity.principals import Editor
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock

MAX = Editor("max", ("acme",))


@pytest.fixture
def rig(store: Store) -> CheckingRig:
    return CheckingRig(store, FakeClock())


def feed(rig: CheckingRig) -> Stub:
    assert isinstance(rig.feed, Stub)
    return rig.feed


def test_what_is_found_is_told_by_every_channel_that_may_carry_it(rig: CheckingRig) -> None:
    rule = rig.rule()
    for name, tenant in (("ops", None), ("acme's", "acme"), ("globex's", "globex")):
        rig.channel(name, tenant)
    feed(rig).found = [finding()]
    assert rig.told() == [("firing", "b1 at 80 %")]
    assert rig.told() == []
    feed(rig).found = []
    assert rig.told() == [("resolved", "Over: b1 at 80 %")]
    key = alert_key(rule.no, "acme\nb1")
    assert rig.deliveries() == [(key, 1, "firing"), (key, 2, "firing"), (key, 1, "resolved"), (key, 2, "resolved")]
    became = [(one.deed, one.deliveries, bool(one.notice_id), one.tenant) for one in rig.events()]
    assert became == [("firing", 2, True, "acme"), ("over", 2, True, "acme")]
    assert rig.standing() == []


def test_two_processes_that_check_at_once_tell_once(store: Store) -> None:
    """Two replicas, one threshold crossed: one notice, one delivery for each channel, round after round."""
    clock, found = FakeClock(), Stub()
    processes = [CheckingRig(store, clock, found, ids=RandomIds()) for _ in range(2)]
    processes[0].rule()
    processes[0].channel()
    for round_ in range(4):
        clock.advance(60)
        found.found = [finding()] if round_ % 2 == 0 else []
        barrier = threading.Barrier(2)
        outcomes: list[str] = []

        def check(rig: CheckingRig, barrier: threading.Barrier = barrier, outcomes: list[str] = outcomes) -> None:
            barrier.wait()
            outcomes.append(rig.run().outcome)

        threads = [threading.Thread(target=check, args=(rig,)) for rig in processes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert "done" in outcomes
        assert set(outcomes) <= {"done", "elsewhere"}
    assert [state for _, _, state in processes[0].deliveries()] == ["firing", "resolved", "firing", "resolved"]


def test_who_lost_the_lease_writes_nothing_and_tells_nobody(rig: CheckingRig) -> None:
    rig.rule()
    rig.channel()
    feed(rig).found = [finding()]
    with pytest.raises(Busy):
        rig.checker.check(lost(Busy("lost")))
    assert (rig.deliveries(), rig.events(), rig.standing(), rig.faults()) == ([], [], [], [])


def test_not_to_know_is_not_to_be_well(rig: CheckingRig) -> None:
    rig.rule()
    feed(rig).found = [finding()]
    rig.check()
    feed(rig).found = fault("there is no exchange rate for EUR")
    assert rig.told() == []
    assert (rig.standing(), rig.faults()) == ([("firing", "b1 at 80 %")], ["there is no exchange rate for EUR"])
    feed(rig).found = ZeroDivisionError("secret detail")
    assert rig.told() == []
    assert rig.faults() == ["ZeroDivisionError"]
    feed(rig).found = []
    assert rig.told() == [("resolved", "Over: b1 at 80 %")]
    assert rig.faults() == [""]


def test_who_is_asked_hears_since_when_nobody_found_out(rig: CheckingRig) -> None:
    rig.rule()
    rig.check()
    feed(rig).found = fault("away")
    rig.check()
    rig.check()
    feed(rig).found = []
    rig.check()
    since = [since_ns for _, since_ns in feed(rig).asked]
    assert since == [feed(rig).asked[0][0], *[feed(rig).asked[0][0]] * 3]


def test_kinds_of_which_nobody_knows_are_said(rig: CheckingRig) -> None:
    rig.rule("switches", "kill_switch")
    rig.check()
    assert rig.faults() == ["nothing is known of what rules of kind kill_switch are about: that feature is switched off"]


def test_a_rule_of_one_tenant_tells_of_that_tenant_alone(rig: CheckingRig) -> None:
    rig.rule(tenant="globex")
    feed(rig).found = [finding("b1"), finding("b2", tenant="globex"), finding("b3", tenant="")]
    assert rig.told() == [("firing", "b2 at 80 %")]


def test_what_a_rule_told_is_over_when_it_is_taken_away_or_switched_off(rig: CheckingRig) -> None:
    first, second = rig.rule(clear_s=600), rig.rule("others")
    feed(rig).found = [finding()]
    assert len(rig.told()) == 2
    rig.rules.delete(first.no, OWNER)
    rig.rules.update(second.no, lambda rule: rule._replace(enabled=False), OWNER)
    done = rig.check()
    assert [(one.state, one.rule, one.kind) for one in done.notices] == [
        ("resolved", "budgets", "budget"),
        ("resolved", "others", "budget"),
    ]
    assert rig.standing() == []


def test_quiet_hours_hold_back_what_is_not_critical(rig: CheckingRig) -> None:
    """Noon is quiet until 12:30."""
    rig.rule(quiet=QuietHours.of("11:00-12:30", "UTC"))
    feed(rig).found = [finding("b1"), finding("b2", severity="critical")]
    assert rig.told() == [("firing", "b2 at 80 %")]
    assert [(one.title, one.held_back) for one in rig.events()] == [("b2 at 80 %", ""), ("b1 at 80 %", "quiet hours")]
    assert rig.told(29 * 60) == [("firing", "b1 at 80 %")]


def test_a_muted_rule_tells_nobody_until_the_mute_ends(rig: CheckingRig) -> None:
    rule = rig.rule()
    rig.mute(rule, hours=1)
    feed(rig).found = [finding(severity="critical")]
    assert rig.told() == []
    assert [one.held_back for one in rig.events()] == ["muted"]
    assert rig.told(3_600) == [("firing", "b1 at 80 %")]


def test_one_alert_can_be_muted_and_heard_of_again(rig: CheckingRig) -> None:
    rule = rig.rule()
    key = alert_key(rule.no, "acme\nb1")
    rig.mute(rule, alert_key=key)
    feed(rig).found = [finding("b1"), finding("b2")]
    assert rig.told() == [("firing", "b2 at 80 %")]
    rig.mute(rule, hours=0, alert_key=key)
    assert rig.told() == [("firing", "b1 at 80 %")]


def test_a_trial_says_what_would_be_told_and_leaves_nothing(rig: CheckingRig) -> None:
    rig.rule()
    rig.channel()
    feed(rig).found = [finding()]
    assert [one.title for one in rig.checker.check(None, dry_run=True).notices] == ["b1 at 80 %"]
    assert (rig.deliveries(), rig.events(), rig.standing(), rig.faults()) == ([], [], [], [])


def test_the_rules_that_come_with_the_product_are_stored_once(store: Store) -> None:
    clock = FakeClock()
    first, second = (CheckingRig(store, clock) for _ in range(2))
    assert first.run().said == f"{len(DEFAULTS)} rules, 0 alerts, 0 told, {len(DEFAULTS) - 1} rules could not be checked"
    first.rules.delete(1, OWNER)
    clock.advance(60)
    second.run()
    assert [rule.name for rule in first.rules.all()] == [rule.name for rule in DEFAULTS[1:]]


def test_no_rule_comes_back_that_somebody_made_and_took_away(rig: CheckingRig) -> None:
    rig.rules.delete(rig.rule().no, OWNER)
    rig.run()
    assert len(rig.rules.all()) == 0


# --- who may change what --------------------------------------------------------------------------------------------------


def test_rules_are_changed_by_whom_they_belong_to(rig: CheckingRig) -> None:
    shared, own = rig.rule("acme's, by us", tenant="acme"), rig.rules.create(Rule(0, "own", "budget", tenant="acme"), MAX)
    of_all = rig.rule()
    with pytest.raises(Forbidden, match="was made by olga, who sees all tenants"):
        rig.rules.delete(shared.no, MAX)
    with pytest.raises(NotFound):
        rig.rules.delete(of_all.no, MAX)
    before, after = rig.rules.update(own.no, lambda rule: rule._replace(severity="critical"), MAX, own.revision)
    assert (before.severity, after.severity, after.made_by) == ("warning", "critical", "max")
    with pytest.raises(Conflict, match=f"is of revision {after.revision}"):
        rig.rules.update(own.no, lambda rule: rule, MAX, own.revision)
    with pytest.raises(BadInput, match=f"name: rule {own.no} is called so already"):
        rig.rules.create(Rule(0, "own", "budget", tenant="acme"), OWNER)
    rig.rules.delete(own.no, MAX)
    assert [(one.left.severity, one.deleted) for one in rig.rules.history(own.no, ("acme",))] == [
        ("critical", True), ("critical", False), ("warning", False),
    ]  # fmt: skip
    with pytest.raises(NotFound):
        rig.rules.history(own.no, ("globex",))


def test_a_rule_is_read_as_it_was_written(rig: CheckingRig) -> None:
    said = Rule(
        0, "night shift", "spend_rate", "acme", "critical", {"windows": "60/5/10", "usd_per_hour": "2.50"}, False, 60, 120, 600, False,
        QuietHours.of("22:00-07:00", "Europe/Rome", (1, 5)), ("budget", "model"), {"team": "ml"},
    )  # fmt: skip
    made = rig.rules.create(said, OWNER)
    [read] = CheckingRig(rig.store, rig.clock).rules.all()
    assert read == made
    assert (read.params["windows"], read.params["usd_per_hour"]) == (["60/5/10"], "2.5")


def test_what_became_of_alerts_is_read_by_tenant_rule_and_alert_a_page_at_a_time(rig: CheckingRig) -> None:
    """Three alerts of two tenants and one about all begin, in two checks."""
    rule = rig.rule()
    feed(rig).found = [finding("a"), finding("b", tenant="globex")]
    rig.check()
    feed(rig).found = [*feed(rig).found, finding("c"), finding("d", tenant="")]
    rig.check()

    def titles(tenants: tuple[str, ...] | None = None, before_no: int | None = None, **wanted: Any) -> list[str]:
        with rig.store.read() as transaction:
            return [one.title[0] for one in events(transaction, tenants, before_no, 2, wanted.get("rule_no"), wanted.get("key"))]

    assert set(titles()) == {"c", "d"}
    assert titles(("acme",)) == ["c", "a"]
    assert titles(("acme", "globex"), before_no=3) == ["b", "a"]
    assert titles(()) == []
    assert titles(rule_no=rule.no + 1) == []
    assert titles(("acme",), key=alert_key(rule.no, "acme\na")) == ["a"]
    assert titles(("globex",), key=alert_key(rule.no, "acme\na")) == []


def test_a_clock_that_was_an_hour_ahead_delays_nothing_once_it_is_right_again(rig: CheckingRig) -> None:
    """Found at 13:00 by a wrong clock that is set back to 12:00: told after the rule's five minutes, not after an hour and five; and over
    after its five minutes likewise. Feeds are never asked for what happened since a time to come."""
    rig.rule(for_s=300, clear_s=300)
    feed(rig).found = [finding()]
    rig.check(3_600)
    assert rig.told(-3_600) == []
    assert feed(rig).asked[-1] == (rig.clock.now_ns(), rig.clock.now_ns())
    assert rig.told(299) == []
    assert rig.told(1) == [("firing", "b1 at 80 %")]
    feed(rig).found = []
    assert rig.told(3_600) == []
    assert rig.told(-3_600) == []
    assert rig.told(300) == [("resolved", "Over: b1 at 80 %")]
