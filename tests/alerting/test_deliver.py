"""Delivering: once by each channel, again after failures, in order, by any number of processes."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from delivery_rig import ANN, Ear, channel_store, deliverer, notice, slack, told

from otel_finops.alerting import delivery_log, outbox
from otel_finops.alerting.channel_rows import followed_routing
from otel_finops.alerting.channels import Given
from otel_finops.alerting.deliver import Deliverer, Postman
from otel_finops.alerting.delivery_log import Delivery, Query
from otel_finops.alerting.outbox import packed, put, unpacked
from otel_finops.alerting.senders import Attempt
from otel_finops.base.limits import DELIVERY_CLAIM_S
from otel_finops.store.engine import Store
from otel_finops.testing import NOON, FakeClock

AGAIN = Attempt("again", "answered 503", 503)


def delivery(store: Store, no: int) -> Delivery:
    with store.read() as transaction:
        found = delivery_log.find(transaction, None, no)
    assert found is not None
    return found


def attempts(store: Store, no: int) -> list[tuple[int, str, int | None]]:
    with store.read() as transaction:
        return [(one.attempt, one.outcome, one.code) for one in delivery_log.attempts_of(transaction, no)][::-1]


def test_a_notice_survives_being_stored() -> None:
    one = notice(title='with "quotes" and \u20ac')
    assert unpacked(packed(one)) == one


def test_a_notice_is_delivered_once_by_every_channel(store: Store) -> None:
    clock, ear = FakeClock(), Ear()
    channels = channel_store(store, clock)
    slack(channels, "ops"), slack(channels, "oncall")
    assert told(store, clock, notice("n1"), notice("n1")) == [1, 2]  # said twice, put once
    assert str(deliverer(store, clock, ear).run()) == "2 delivered, 0 to be tried again, 0 given up"
    assert deliverer(store, clock, ear).run() == (0, 0, 0)
    assert sorted(ear.heard) == [("oncall", "n1"), ("ops", "n1")]
    done = delivery(store, 1)
    assert (done.status, done.attempts, done.said, done.done_ns) == ("delivered", 1, "heard", NOON)


def test_nothing_is_delivered_of_a_transaction_that_is_rolled_back(store: Store) -> None:
    clock, ear = FakeClock(), Ear()
    slack(channel_store(store, clock))
    routing = followed_routing(store, clock)
    with store.write_or_try(dry_run=True) as transaction:
        assert put(transaction, notice(), routing.seen_by(transaction)) == [1]
    assert deliverer(store, clock, ear).run() == (0, 0, 0)
    assert ear.heard == []


def test_what_fails_is_tried_again_with_delays_that_double(store: Store) -> None:
    """5, 10, 20 seconds; each attempt with the same id and in the log."""
    clock = FakeClock()
    answers = [AGAIN, AGAIN, AGAIN, Attempt("delivered", "answered 200", 200)]
    ear = Ear(lambda channel, one: answers.pop(0))
    slack(channel_store(store, clock))
    told(store, clock, notice("n1"))
    one = deliverer(store, clock, ear)
    assert one.run() == (0, 1, 0)
    for delay_s in (5, 10, 20):
        clock.advance(delay_s - 0.001)
        assert one.run() == (0, 0, 0)  # not yet
        clock.advance(0.001)
        one.run()
    assert ear.ids == ["n1"] * 4
    assert attempts(store, 1) == [(1, "again", 503), (2, "again", 503), (3, "again", 503), (4, "delivered", 200)]
    assert delivery(store, 1).status == "delivered"


def test_what_waits_is_known_with_the_age_of_the_first(store: Store) -> None:
    clock = FakeClock()
    slack(channel_store(store, clock))
    one = deliverer(store, clock, Ear(lambda channel, said: AGAIN))
    assert one.backlog() == (0, 0.0)
    told(store, clock, notice("n1"), notice("n2", key="other", at_s=10))
    clock.advance(30)
    one.run()
    assert one.backlog() == (2, 30.0)


def test_who_asks_us_to_wait_is_not_asked_before(store: Store) -> None:
    clock = FakeClock()
    answers = [Attempt("again", "answered 429", 429, 120.0), Attempt("delivered", "answered 200", 200)]
    slack(channel_store(store, clock))
    told(store, clock, notice())
    one = deliverer(store, clock, Ear(lambda channel, told_: answers.pop(0)))
    one.run()
    clock.advance(119)
    assert one.run() == (0, 0, 0)
    clock.advance(1)
    assert one.run() == (1, 0, 0)


def test_delays_vary_so_that_channels_that_failed_together_are_not_asked_together(store: Store) -> None:
    clock = FakeClock()
    channels = channel_store(store, clock)
    for name in "abcdefgh":
        slack(channels, name)
    told(store, clock, notice())
    one = Deliverer(store, clock, Ear(lambda channel, told_: AGAIN), channels.secrets, clock.now_ns, patience_s=3_600)
    while one.run() != (0, 0, 0):
        pass
    delays = {((delivery(store, no).next_ns or 0) - NOON) / 1e9 for no in range(1, 9)}
    assert len(delays) > 1
    assert all(2.5 <= delay <= 7.5 for delay in delays)


def test_after_its_time_a_delivery_is_given_up_and_can_be_tried_anew(store: Store) -> None:
    """With a patience of 30 s the attempts are at 0, 5 and 15 s; the next would be at 35 s."""
    clock, failing = FakeClock(), [True]
    slack(channel_store(store, clock))
    told(store, clock, notice("n1"))
    ear = Ear(lambda channel, one: AGAIN if failing[0] else Attempt("delivered", "answered 200", 200))
    one = deliverer(store, clock, ear, patience_s=30)
    for delay_s in (0, 5, 10, 20):
        clock.advance(delay_s)
        one.run()
    given_up = delivery(store, 1)
    assert (given_up.status, given_up.attempts, given_up.said) == ("failed", 3, "answered 503; given up after 3 attempts")
    failing.clear()
    failing.append(False)
    with store.write() as transaction:
        assert delivery_log.try_again(transaction, 1, clock.now_ns())
        assert not delivery_log.try_again(transaction, 1, clock.now_ns())  # it waits already
    assert one.run() == (1, 0, 0)
    assert ear.ids == ["n1"] * 4


def test_what_is_said_of_an_alert_arrives_in_its_order(store: Store) -> None:
    """The end of an alert waits until its beginning was told; other alerts do not wait for either."""
    clock = FakeClock()
    slack(channel_store(store, clock))
    down = {"begin"}
    ear = Ear(lambda channel, one: AGAIN if one.notice_id in down else Attempt("delivered", ""))
    told(store, clock, notice("begin", key="a"), notice("end", key="a", state="resolved"), notice("other", key="b"))
    one = deliverer(store, clock, ear)
    one.run()
    assert ear.ids == ["begin", "other"]
    down.clear()
    clock.advance(5)
    one.run()
    assert ear.ids == ["begin", "other", "begin", "end"]


def test_a_channel_that_is_slow_holds_no_other_one_up(store: Store) -> None:
    clock, wake, heard = FakeClock(), threading.Event(), threading.Event()

    def answer(channel: object, one: object) -> Attempt:
        if getattr(channel, "name", "") == "slow":
            wake.wait(10)
        elif getattr(one, "notice_id", "") == "n3":
            heard.set()
        return Attempt("delivered", "")

    channels = channel_store(store, clock)
    slack(channels, "slow"), slack(channels, "fast")
    told(store, clock, *(notice(f"n{no}", key=f"k{no}") for no in (1, 2, 3)))
    thread = threading.Thread(target=deliverer(store, clock, Ear(answer)).run)
    thread.start()
    assert heard.wait(5)  # all three by the fast one, while the slow one has not ended its first
    wake.set()
    thread.join()


def test_two_replicas_deliver_each_notice_once(store: Store) -> None:
    """Two processes look at the same moment, over 30 notices in 3 channels: 90 deliveries, each attempted once."""
    clock, ear = FakeClock(), Ear()
    channels = channel_store(store, clock)
    for name in ("a", "b", "c"):
        slack(channels, name)
    told(store, clock, *(notice(f"n{no}", key=f"k{no}") for no in range(30)))
    start = threading.Barrier(2)

    def replica() -> None:
        one = deliverer(store, clock, ear)
        start.wait()
        one.run()

    threads = [threading.Thread(target=replica) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while any(deliverer(store, clock, ear).run()):  # what one of them left because the other one was at the channel
        pass
    assert Counter(ear.heard) == Counter((channel, f"n{no}") for channel in "abc" for no in range(30))


def test_both_replicas_may_say_the_same_and_it_is_heard_once(store: Store) -> None:
    clock, ear = FakeClock(), Ear()
    slack(channel_store(store, clock))
    start = threading.Barrier(2)

    def replica() -> None:
        start.wait()
        told(store, clock, notice("n1"))

    threads = [threading.Thread(target=replica) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deliverer(store, clock, ear).run()
    assert ear.ids == ["n1"]


def test_after_a_crash_it_is_delivered_with_the_same_id(store: Store) -> None:
    """A process claims a delivery and dies, before or after it told: another one tells it when the claim has run out."""
    clock, ear = FakeClock(), Ear()
    slack(channel_store(store, clock))
    told(store, clock, notice("n1"))
    [claimed] = deliverer(store, clock, ear).claim(4)
    assert (claimed.notice.notice_id, claimed.attempt) == ("n1", 1)
    other = deliverer(store, clock, ear)
    assert other.run() == (0, 0, 0)
    clock.advance(DELIVERY_CLAIM_S)
    assert other.run() == (1, 0, 0)
    assert ear.ids == ["n1"]
    assert attempts(store, 1) == [(2, "delivered", None)]


def test_a_clock_that_was_far_ahead_holds_nothing_up_once_it_is_right_again(store: Store) -> None:
    """A day ahead one delivery failed, and a process died over another one; then the clock is set back, and both are due."""
    clock = FakeClock()
    channels = channel_store(store, clock)
    slack(channels, "a"), slack(channels, "b")
    told(store, clock, notice())
    clock.advance(86_400)
    away = deliverer(store, clock, Ear(lambda channel, notice: Attempt("again", "away")), patience_s=10 * 86_400)
    first, _ = away.claim(2)
    away.attempt(first)
    clock.advance(-86_400)
    assert deliverer(store, clock, ear := Ear()).run() == (2, 0, 0)
    assert sorted(ear.heard) == [("a", "n1"), ("b", "n1")]


def test_who_comes_back_after_its_claim_changes_nothing_but_what_was_heard(store: Store) -> None:
    clock = FakeClock()
    slack(channel_store(store, clock))
    told(store, clock, notice("n1"))
    failing = deliverer(store, clock, Ear(lambda channel, one: AGAIN))
    [stale] = failing.claim(1)
    clock.advance(DELIVERY_CLAIM_S)
    [fresh] = failing.claim(1)
    failing.attempt(stale)
    with store.read() as transaction:
        assert delivery_log.page(transaction, None, Query("waiting"), None, 10)[0].under_way  # the claim of the other one stands
    deliverer(store, clock, Ear()).attempt(stale._replace(attempt=1))
    failing.attempt(fresh)
    assert delivery(store, 1).status == "delivered"


def test_a_channel_that_is_gone_or_off_carries_nothing_more(store: Store) -> None:
    clock, ear = FakeClock(), Ear()
    channels = channel_store(store, clock)
    gone, off = slack(channels, "gone"), slack(channels, "off")
    told(store, clock, notice())
    channels.delete_channel(gone.no, ANN)
    channels.update_channel(off.no, Given({"enabled": False}), ANN)
    assert deliverer(store, clock, ear).run() == (0, 0, 2)
    assert ear.heard == []
    assert [delivery(store, no).said for no in (1, 2)] == ["not sent: the channel was taken away", "not sent: the channel is switched off"]


def test_a_fault_of_our_own_is_a_failed_attempt(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()

    def broken(channel: object, one: object) -> Attempt:
        raise KeyError("s3cr3t")

    slack(channel_store(store, clock))
    told(store, clock, notice())
    assert deliverer(store, clock, Ear(broken)).run() == (0, 1, 0)
    assert delivery(store, 1).said == "not sent: a fault of the service's own (KeyError)"
    assert "channel 1 could not be told" in caplog.text


def test_a_channel_takes_no_more_than_so_many_that_wait(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "DELIVERIES_WAITING_MAX", 3)
    clock = FakeClock()
    slack(channel_store(store, clock))
    *_, last = told(store, clock, *(notice(f"n{no}") for no in range(4)))
    assert [delivery(store, no).status for no in (1, 2, 3)] == ["waiting"] * 3
    full = delivery(store, last)
    assert (full.status, full.said) == ("failed", "not sent: 3 deliveries wait in this channel")


def test_no_tenant_takes_the_others_places_in_a_channel_of_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two may wait about one tenant: acme's third fails, what is about globex and about all does not; acme's own channel takes all."""
    monkeypatch.setattr(outbox, "DELIVERIES_WAITING_OF_TENANT_MAX", 2)
    clock = FakeClock()
    channels = channel_store(store, clock)
    slack(channels), slack(channels, "acme's", "acme")
    told(store, clock, *(notice(f"n{no}") for no in range(3)), notice("g", tenant="globex"), notice("a", tenant=""), notice("b", tenant=""))
    with store.read() as transaction:
        made = delivery_log.page(transaction, None, Query(), None, 20)
    failed = [(one.channel_name, one.notice.notice_id, one.said) for one in made if one.status == "failed"]
    assert failed == [("ops", "n2", "not sent: 2 deliveries about this tenant wait in this channel")]
    assert len(made) == 9


def test_a_tenant_sees_his_notices_by_his_channels(store: Store) -> None:
    clock = FakeClock()
    channels = channel_store(store, clock)
    slack(channels, "everybody's"), slack(channels, "acme's", "acme"), slack(channels, "globex's", "globex")
    told(store, clock, notice("n1", tenant="acme"), notice("n2", tenant="globex"), notice("n3", tenant=""))
    with store.read() as transaction:
        seen = delivery_log.page(transaction, ("acme",), Query(), None, 10)
        assert [(one.channel_name, one.notice.notice_id) for one in seen] == [("acme's", "n1")]
        assert len(delivery_log.page(transaction, None, Query(), None, 10)) == 5
        assert delivery_log.find(transaction, ("globex",), seen[0].no) is None
        assert delivery_log.page(transaction, (), Query(), None, 10) == []


def test_a_postman_delivers_by_himself_until_he_is_stopped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_finops.alerting.deliver.LOOK_S", 0.01)
    clock, heard = FakeClock(), threading.Event()

    def answer(channel: object, one: object) -> Attempt:
        heard.set()
        return Attempt("delivered", "")

    slack(channel_store(store, clock))
    postman = Postman(deliverer(store, clock, Ear(answer)))
    postman.start()
    told(store, clock, notice())
    assert heard.wait(5)
    postman.stop(5)
