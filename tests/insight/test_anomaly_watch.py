"""Anomalies looked for in a ledger: found once, explained to the pico, followed while calls come late, seen by those whose they are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from ledger_rig import SECOND, Rig, call

from otel_finops.base.errors import BadInput, Busy, NotFound
from otel_finops.base.money import parse_usd
from otel_finops.base.times import parse_ns
from otel_finops.insight.anomaly_scan import Scope
from otel_finops.insight.anomaly_store import (
    Finding,
    Mute,
    Note,
    Wanted,
    add_mute,
    add_note,
    end_mute,
    find_anomaly,
    list_anomalies,
    read_scores,
    standing_mutes,
)
from otel_finops.insight.anomaly_watch import AnomalyWatch
from otel_finops.settings.anomalies import Anomalies
from otel_finops.store.engine import Store

CALL = parse_usd("0.0035")
"""gpt-4o, 1,000 tokens in and 100 out; in `tests/ledger/ledger_rig.py`."""
EVERYBODY, ACME = Scope("global"), Scope("tenant", "acme")
GPT, CRAWLER, PLANNER = Scope("model", "acme", "gpt-4o"), Scope("agent", "acme", "crawler"), Scope("agent", "acme", "planner")
_numbers = count(1)


@pytest.fixture
def rig(store: Store) -> Rig:
    """Ten calls of acme's planner at nine on four days; on the fifth, which runs (it is noon), as many and ninety of a new agent."""
    rig = Rig(store)
    rig.settle(*(one for day in (17, 18, 19, 20, 21) for one in calls(10, f"2026-11-{day}T09:00:00Z", "planner")))
    rig.settle(*calls(90, "2026-11-21T09:00:00Z", "crawler"))
    return rig


def calls(times: int, moment: str, agent: str, tenant: str = "acme", cost_center: str | None = None, **known: Any) -> Iterator[Any]:
    """So many calls that begin at a moment, a second after each other."""
    attribution = {"tenant": tenant, "agent": agent} | ({"cost_center": cost_center} if cost_center else {})
    for place in range(times):
        start, number = parse_ns(moment) + place * SECOND, next(_numbers)
        yield call(number, trace=number, start_ns=start, end_ns=start + SECOND, attribution=attribution, **known)


def watch(rig: Rig, **said: Any) -> AnomalyWatch:
    return AnomalyWatch(rig.store, rig.leases, rig.clock, Anomalies(**said), "UTC")


def found(rig: Rig, *states: Any, **wanted: Any) -> dict[Scope, Finding]:
    """What is stored, by scope."""
    with rig.store.read() as transaction:
        states = states or ("open", "acked")
        return {one.scope: one for one in list_anomalies(transaction, Wanted(wanted.pop("tenants", None), states=states, **wanted))}


def test_the_running_fifth_day_stands_out_already(rig: Rig) -> None:
    """Usual is 0.035; a deviation is 0.01 at least, which is more than a quarter of that: (0.35 - 0.035) / 0.01 = 31.5."""
    done = watch(rig).run(hours=0)
    assert (done.standing, done.new) == (3, 3)
    of_all = found(rig)
    assert set(of_all) == {EVERYBODY, ACME, GPT}  # there is nothing to compare the new agent's first day with
    one = of_all[EVERYBODY]
    assert (one.value, one.expected, one.spread, one.score) == (100 * CALL, 10 * CALL, parse_usd("0.01"), pytest.approx(31.5))
    assert (one.step, one.start_ns, one.end_ns, one.is_running) == ("day", parse_ns("2026-11-21"), parse_ns("2026-11-22"), True)
    assert (one.points, one.calls, one.state) == (4, 100, "open")


def test_each_names_what_drives_it(rig: Rig) -> None:
    watch(rig).run(hours=0)
    for one in found(rig).values():
        assert one.drivers is not None
        [driver] = one.drivers
        assert (driver["kind"], driver["amount_usd"]) == ("new_agent", "0.315")
        [detail] = driver["details"]
        assert (detail["agent"], detail["before"], detail["after"]) == ("crawler", "0", "90")
        assert detail["text"] == "agent crawler, tenant acme: 90 calls instead of 0"


def test_dearer_calls_of_a_known_agent_are_told_apart(store: Store) -> None:
    """Ten calls a day of 0.0035 each; then 20 of 4,000 tokens in, of which 2,000 come out of the cache (at 1.25 USD a million), 100 out.

    volume: ten calls more at 0.0035                                         0.035
    cache: 20 x 2,000 tokens at 1.25 instead of 2.50 USD a million          -0.05
    length of prompts: 20 x 3,000 tokens at 2.50 USD a million               0.15
    """
    rig = Rig(store)
    rig.settle(*(one for day in (17, 18, 19, 20) for one in calls(10, f"2026-11-{day}T09:00:00Z", "planner")))
    rig.settle(*calls(20, "2026-11-21T09:00:00Z", "planner", usage={"input_uncached": 2000, "cache_read": 2000, "output": 100}))
    watch(rig).run(hours=0)
    one = found(rig)[PLANNER]
    assert one.value - one.expected == parse_usd("0.135")
    assert one.drivers is not None
    assert {driver["kind"]: driver["amount_usd"] for driver in one.drivers} == {
        "tokens_per_call": "0.15", "volume": "0.035", "cache_hits": "-0.05",
    }  # fmt: skip
    assert one.drivers[0]["details"][0]["text"] == "agent planner, tenant acme, gpt-4o: 4,000 prompt tokens a call instead of 1,000"


def test_a_second_look_finds_nothing_new(rig: Rig) -> None:
    watch(rig).run(hours=0)
    before = found(rig)
    rig.clock.advance(900)
    done = watch(rig).run(hours=0)
    assert (done.standing, done.new, done.renewed, done.cleared) == (3, 0, 0, 0)
    assert found(rig) == before


def test_what_comes_late_changes_the_figures_of_what_was_found(rig: Rig) -> None:
    watch(rig).run(hours=0)
    first = found(rig)[EVERYBODY]
    rig.settle(*calls(10, "2026-11-21T10:00:00Z", "crawler"))
    done = watch(rig).run(hours=0)
    assert (done.new, done.renewed) == (0, 3)
    now = found(rig)[EVERYBODY]
    assert (now.no, now.found_ns, now.value) == (first.no, first.found_ns, 110 * CALL)
    assert now.drivers is not None
    assert now.drivers[0]["amount_usd"] == "0.35"


def test_what_does_not_stand_out_any_more_is_cleared(rig: Rig) -> None:
    """Sixty late calls on each of the days before: usual are 70 now, a deviation is a quarter of 0.245, and 100 are 1.7 of them above."""
    watch(rig).run(hours=0)
    rig.settle(*(one for day in (17, 18, 19, 20) for one in calls(60, f"2026-11-{day}T09:00:00Z", "planner")))
    done = watch(rig).run(hours=0)
    assert (done.standing, done.cleared) == (0, 3)
    assert found(rig) == {}
    assert {one.state for one in found(rig, "cleared").values()} == {"cleared"}


def test_hours_are_compared_with_the_same_hour(rig: Rig) -> None:
    done = watch(rig).run(days=0)
    assert done.standing == 3
    one = found(rig)[ACME]
    assert (one.step, one.start_ns, one.is_running) == ("hour", parse_ns("2026-11-21T09:00:00Z"), False)
    assert (one.value, one.expected) == (100 * CALL, pytest.approx(10 * CALL, abs=2))
    assert one.drivers is not None
    assert sum(parse_usd(driver["amount_usd"]) for driver in one.drivers) == one.value - one.expected


def test_a_dry_run_stores_nothing(rig: Rig) -> None:
    assert watch(rig).run(dry_run=True).standing == 6
    assert found(rig) == {}


def test_only_one_looks_at_a_time(rig: Rig) -> None:
    held = rig.leases.acquire("anomalies")
    assert held is not None
    with pytest.raises(Busy, match="Somebody else is looking"):
        watch(rig).run()
    held.release()


def test_what_was_found_long_ago_is_dropped(rig: Rig) -> None:
    watch(rig).run(hours=0)
    rig.clock.advance(86_400 * 12)
    watch(rig, keep_days=11, look_back=1).run(hours=0)
    assert found(rig, "open", "cleared") == {}


def test_tenants_see_their_own(rig: Rig) -> None:
    watch(rig).run(hours=0)
    assert set(found(rig, tenants=("acme",))) == {ACME, GPT}
    assert found(rig, tenants=("globex",)) == {}
    no = found(rig)[EVERYBODY].no
    with rig.store.read() as transaction, pytest.raises(NotFound, match=f"There is no anomaly {no}"):
        find_anomaly(transaction, no, ("acme",))


def test_pages_go_from_the_newest_to_the_oldest(rig: Rig) -> None:
    watch(rig).run()
    with rig.store.read() as transaction:
        whole = list_anomalies(transaction, Wanted(None))
        pages, after = [], None
        while page := list_anomalies(transaction, Wanted(None, after=after, limit=2)):
            pages += page
            after = page[-1].start_ns, page[-1].no
    assert len(whole) == 6
    assert pages == whole
    assert [one.start_ns for one in whole] == sorted((one.start_ns for one in whole), reverse=True)


def test_what_somebody_says_of_it_stands_until_somebody_says_otherwise(rig: Rig) -> None:
    watch(rig).run(hours=0)
    no = found(rig)[ACME].no
    for verb, state in (("ack", "acked"), ("reopen", "open")):
        with rig.store.write() as transaction:
            add_note(transaction, no, Note(verb, "load test", "ann", 5))  # type: ignore[arg-type]
        assert found(rig)[ACME].state == state
        assert set(found(rig, state)) >= {ACME}
    assert found(rig)[ACME].note == Note("reopen", "load test", "ann", 5)


def test_mutes_cover_what_they_name_until_they_end(rig: Rig) -> None:
    watch(rig).run(hours=0)
    of_all, now_ns = found(rig), rig.clock.now_ns()
    with rig.store.write() as transaction:
        mute = add_mute(transaction, Mute(0, "acme", "model", "", "", now_ns + 60 * SECOND, "known", "ann", now_ns))
        assert [mute.covers(of_all[scope], now_ns) for scope in (EVERYBODY, ACME, GPT)] == [False, False, True]
        assert standing_mutes(transaction, ("acme",), now_ns) == [mute]
        assert standing_mutes(transaction, ("globex",), now_ns) == []
        assert standing_mutes(transaction, None, now_ns + 60 * SECOND) == []
        with pytest.raises(NotFound):
            end_mute(transaction, mute.no, ("globex",), "bob", now_ns)
        assert end_mute(transaction, mute.no, ("acme",), "ann", now_ns) == mute
        assert standing_mutes(transaction, None, now_ns) == []


def test_mutes_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_finops.insight.anomaly_store.ANOMALY_MUTES_MAX", 1)
    with store.write() as transaction:
        add_mute(transaction, Mute(0, "*", "", "", "", None, "", "ann", 1))
        with pytest.raises(BadInput, match="there are 1 mutes already"):
            add_mute(transaction, Mute(0, "*", "", "", "", None, "", "ann", 1))


def test_no_tenant_takes_the_others_mutes_or_reads_those_of_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the operator mutes for everybody may name another tenant's agent, and says why."""
    monkeypatch.setattr("otel_finops.insight.anomaly_store.ANOMALY_MUTES_OF_TENANT_MAX", 1)
    with store.write() as transaction:
        of_all = [add_mute(transaction, Mute(0, "*", "agent", "globex-bot", "", None, "their load test", "ann", 1)) for _ in range(2)]
        own = add_mute(transaction, Mute(0, "acme", "", "", "", None, "", "max", 1))
        with pytest.raises(BadInput, match="there are 1 mutes of this tenant already"):
            add_mute(transaction, Mute(0, "acme", "", "", "", None, "", "max", 1))
        assert standing_mutes(transaction, ("acme",), 2) == [own]
        assert standing_mutes(transaction, None, 2) == [*of_all, own]


def test_scores_say_how_every_scope_stands(rig: Rig) -> None:
    watch(rig).run(hours=0)
    with rig.store.read() as transaction:
        scores = {scope: score for _, scope, score in read_scores(transaction, 10)}
    assert scores == {EVERYBODY: pytest.approx(31.5), ACME: pytest.approx(31.5), GPT: pytest.approx(31.5), PLANNER: pytest.approx(0)}
    with rig.store.read() as transaction:
        assert len(read_scores(transaction, 2)) == 2


def test_cost_centres_of_one_name_are_told_apart_by_tenant(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten calls a day in both, and a hundred on the last day in that of acme; scopes are read one by one here."""
    monkeypatch.setattr("otel_finops.insight.anomaly_scan._SCOPES_AT_ONCE", 1)
    rig = Rig(store)
    days = [(f"2026-11-{day}T09:00:00Z", 10) for day in (17, 18, 19, 20, 21)]
    booked = [(moment, times, tenant) for moment, times in days for tenant in ("acme", "globex")] + [("2026-11-21T10:00:00Z", 90, "acme")]
    rig.settle(*(one for moment, times, tenant in booked for one in calls(times, moment, "planner", tenant, cost_center="search")))
    watch(rig).run(hours=0)
    assert set(found(rig)) == {EVERYBODY, ACME, GPT, PLANNER, Scope("cost_center", "acme", "search")}


def test_days_begin_where_the_zone_has_them(store: Store) -> None:
    """Calls at 23:30 UTC are of the next day in Rome: those of the 20th are of the running 21st."""
    rig = Rig(store)
    booked = [("16", 10), ("17", 10), ("18", 10), ("19", 10), ("20", 100)]
    rig.settle(*(one for day, times in booked for one in calls(times, f"2026-11-{day}T23:30:00Z", "planner")))
    AnomalyWatch(rig.store, rig.leases, rig.clock, Anomalies(), "Europe/Rome").run(hours=0)
    one = found(rig)[EVERYBODY]
    assert (one.start_ns, one.end_ns) == (parse_ns("2026-11-20T23:00:00Z"), parse_ns("2026-11-21T23:00:00Z"))
    assert (one.value, one.expected, one.is_running) == (100 * CALL, 10 * CALL, True)
    assert one.drivers is not None
    assert [(driver["kind"], driver["amount_usd"]) for driver in one.drivers] == [("volume", "0.315")]
