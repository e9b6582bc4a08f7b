"""T34: replicas of the service, each a process of its own, over one database and real receivers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from delivery_rig import ANN, channel_store, notice, told
from receivers import Receiver, receiving
from standardwebhooks.webhooks import Webhook

from otel_finops.alerting import delivery_log
from otel_finops.alerting.channels import Given
from otel_finops.base.clock import SystemClock
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.store.engine import Store
from otel_finops.testing import NOON

HERE = Path(__file__).parent
NOTICES = 20


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@contextmanager
def replicas(database_url: str, claim_s: float) -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes that are ready to deliver; a claim of theirs lasts so many seconds."""
    words = [sys.executable, str(HERE / "delivering_process.py"), database_url, str(claim_s)]
    started = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def webhook(store: Store, receiver: Receiver, name: str) -> str:
    """Make a webhook that leads to the receiver; its key."""
    _, key = channel_store(store, SystemClock()).create_channel(
        "webhook", None, Given({"name": name, "url": f"{receiver.url}/{name}"}), ANN
    )
    assert key is not None
    return key


def put(store: Store, count: int) -> None:
    at_s = (SystemClock().now_ns() - NOON) // NS_PER_SECOND
    told(store, SystemClock(), *(notice(f"n{no}", key=f"k{no}", at_s=at_s) for no in range(count)))


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_t34_two_replicas_one_delivery_per_channel(store: Store, database_url: str, receiver: Receiver) -> None:
    """20 notices by 3 webhooks: 60 requests, each once, each signed by its channel's key."""
    keys = {f"/{name}": webhook(store, receiver, name) for name in ("a", "b", "c")}
    put(store, NOTICES)
    with replicas(database_url, claim_s=120) as processes:
        for process in processes:
            go(process)
        told_by = [said(process) for process in processes]
    heard = Counter((one.path, one.headers["webhook-id"]) for one in receiver.heard)
    assert heard == Counter((path, f"n{no}") for path in keys for no in range(NOTICES)), told_by
    for one in receiver.heard:
        Webhook(keys[one.path]).verify(one.body, one.headers)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # claims are the same rows; two engines would take twice the time
def test_after_a_kill_in_the_middle_the_other_one_delivers_it_with_the_same_id(store: Store, database_url: str, receiver: Receiver) -> None:
    """The receiver has heard the first request, and its sender is killed before it hears so: at least once, and the same id."""
    webhook(store, receiver, "a")
    put(store, 1)
    with replicas(database_url, claim_s=2) as (first, second):
        receiver.hold.set()
        go(first)
        until_heard(receiver, 1)
        first.kill()
        first.wait()
        receiver.hold.clear()
        time.sleep(2)  # until the claim has run out
        go(second)
        assert said(second) == "1 delivered, 0 to be tried again, 0 given up\n"
    assert [one.headers["webhook-id"] for one in receiver.heard] == ["n0", "n0"]
    assert receiver.heard[0].body == receiver.heard[1].body
    with store.read() as transaction:
        done = delivery_log.find(transaction, None, 1)
    assert done is not None
    assert (done.status, done.attempts) == ("delivered", 2)


def until_heard(receiver: Receiver, count: int) -> None:
    end = time.monotonic() + 10
    while len(receiver.heard) < count:
        assert time.monotonic() < end
        time.sleep(0.01)
