from __future__ import annotations

import threading
import time

import pytest

from otel_finops.base.clock import SystemClock
from otel_finops.base.errors import Busy, Unavailable
from otel_finops.scheduler import Scheduler
from otel_finops.store.jobs import HeldLease, Job, JobRun, JobRunner
from otel_finops.store.unit_of_work import Transaction
from otel_finops.testing import NOON, FakeClock


class Lease:
    def __init__(self, held: set[str], name: str) -> None:
        self._held, self._name = held, name

    def confirm(self, transaction: Transaction) -> None:
        assert self._name in self._held

    def renew(self) -> None:
        assert self._name in self._held

    def release(self) -> None:
        self._held.discard(self._name)


class Runs:
    """Runs that are on record, of this process and of others."""

    def __init__(self) -> None:
        self.ended: list[JobRun] = []

    def last(self) -> dict[str, JobRun]:
        return {run.job: run for run in self.ended}

    def end(self, run: JobRun, lease: HeldLease) -> None:
        self.ended.append(run)
        lease.release()


class Leases:
    """Leases of one process, with the names that other processes hold."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.elsewhere: set[str] = set()

    def acquire(self, name: str, ttl_s: float = 10.0) -> HeldLease | None:
        if name in self.elsewhere:
            return None
        assert name not in self.held
        self.held.add(name)
        return Lease(self.held, name)

    def holder_of(self, name: str) -> str | None:
        return "another" if name in self.elsewhere else None


class Fixture:
    def __init__(self) -> None:
        self.clock, self.leases, self.runs, self.ran = FakeClock(), Leases(), Runs(), list[str]()
        self.scheduler = Scheduler(JobRunner(self.leases, self.runs, self.clock), self.clock)

    def job(self, name: str, interval_s: float, *, takes_s: float = 0.0, first_after_s: float = 0.0) -> None:
        def body(lease: HeldLease) -> str:
            assert f"job:{name}" in self.leases.held
            self.clock.advance(takes_s)
            self.ran.append(name)
            return f"{name} ran"

        self.scheduler.add(Job(name, interval_s, body, first_after_s))


@pytest.fixture
def fixture() -> Fixture:
    return Fixture()


def test_jobs_run_at_their_intervals(fixture: Fixture) -> None:
    fixture.job("prune", 60)
    fixture.job("prices", 100, first_after_s=30)
    assert fixture.scheduler.run_due() == 30
    assert fixture.ran == ["prune"]
    fixture.clock.advance(30)
    assert fixture.scheduler.run_due() == 30  # prune is due at 60, prices at 130
    fixture.clock.advance(100)
    fixture.scheduler.run_due()
    assert fixture.ran == ["prune", "prices", "prune", "prices"]
    assert fixture.leases.held == set()


def test_the_interval_begins_when_a_run_ends(fixture: Fixture) -> None:
    fixture.job("slow", 60, takes_s=45)
    assert fixture.scheduler.run_due() == 60
    [status] = fixture.scheduler.status()
    assert (status.outcome, status.message, status.last_run_ns, status.duration_s, status.runs) == ("done", "slow ran", NOON, 45.0, 1)
    assert status.next_in_s == 60
    assert fixture.runs.ended == [JobRun(0, "slow", NOON, 45 * 10**9, "done", "slow ran")]


def test_a_job_that_another_process_runs_is_left_to_it(fixture: Fixture) -> None:
    fixture.job("prune", 60)
    fixture.leases.elsewhere.add("job:prune")
    fixture.scheduler.run_due()
    [status] = fixture.scheduler.status()
    assert (fixture.ran, status.outcome, status.runs) == ([], "elsewhere", 0)
    fixture.leases.elsewhere.clear()
    fixture.clock.advance(60)
    fixture.scheduler.run_due()
    assert fixture.ran == ["prune"]


def test_what_another_process_ran_while_this_one_waited_is_not_done_again(fixture: Fixture) -> None:
    fixture.job("prune", 60)
    fixture.scheduler.run_due()
    fixture.clock.advance(40)
    fixture.runs.ended.append(JobRun(2, "prune", fixture.clock.now_ns(), 5 * 10**9, "done", "3 rows", process="b"))  # from 40 s to 45 s
    fixture.clock.advance(20)
    assert fixture.scheduler.run_due() == 45  # due 60 s after that ended, at 105 s
    [status] = fixture.scheduler.status()
    assert (fixture.ran, status.outcome, status.message) == (["prune"], "elsewhere", "b ran it a moment ago: 3 rows")
    fixture.clock.advance(45)
    fixture.scheduler.run_due()
    assert fixture.ran == ["prune", "prune"]
    assert fixture.leases.held == set()


def test_a_new_process_runs_what_an_earlier_one_ran(fixture: Fixture) -> None:
    fixture.runs.ended.append(JobRun(1, "prune", NOON - 10**9, 0, "done", "3 rows"))
    fixture.job("prune", 60)
    fixture.scheduler.run_due()
    assert fixture.ran == ["prune"]


@pytest.mark.parametrize(
    ("fault", "outcome", "message", "failures"),
    [
        (Unavailable("the store is away"), "failed", "the store is away", 1),
        (ZeroDivisionError("secret detail"), "failed", "ZeroDivisionError", 1),
        (Busy("lease lost", holder="b"), "elsewhere", "lease lost", 0),
    ],
)
def test_a_failing_job_is_told_and_tried_again_and_the_others_go_on(
    fixture: Fixture, fault: Exception, outcome: str, message: str, failures: int
) -> None:
    def fails(lease: HeldLease) -> str:
        raise fault

    fixture.scheduler.add(Job("broken", 60, fails))
    fixture.job("prune", 60)
    fixture.scheduler.run_due()
    broken, prune = fixture.scheduler.status()
    assert (broken.outcome, broken.message, broken.failures) == (outcome, message, failures)
    assert prune.outcome == "done"
    assert fixture.leases.held == set()
    fixture.clock.advance(60)
    fixture.scheduler.run_due()
    assert fixture.scheduler.status()[0].failures == 2 * failures


def test_jobs_that_make_no_sense_are_refused(fixture: Fixture) -> None:
    fixture.job("prune", 60)
    with pytest.raises(ValueError, match="a job 'prune' already"):
        fixture.job("prune", 60)
    with pytest.raises(ValueError, match="positive interval"):
        fixture.job("never", 0)


def test_the_thread_runs_jobs_and_stops_promptly() -> None:
    ran = threading.Event()

    def body(lease: HeldLease) -> str:
        ran.set()
        return ""

    scheduler = Scheduler(JobRunner(Leases(), Runs(), SystemClock()), SystemClock())
    scheduler.add(Job("often", 3600, body))
    scheduler.start()
    assert ran.wait(5)
    started = time.monotonic()
    assert scheduler.stop()
    assert time.monotonic() - started < 1
    assert scheduler.stopping


def test_prompt_jobs_do_not_wait_for_long_ones() -> None:
    ran, leave = threading.Event(), threading.Event()

    def long(lease: HeldLease) -> str:
        leave.wait(10)
        return ""

    def prompt(lease: HeldLease) -> str:
        ran.set()
        return ""

    scheduler = Scheduler(JobRunner(Leases(), Runs(), SystemClock()), SystemClock())
    scheduler.add(Job("long", 3600, long))
    scheduler.add(Job("prompt", 3600, prompt, prompt=True))
    scheduler.start()
    assert ran.wait(5)
    leave.set()
    assert scheduler.stop()


def test_stopping_does_not_wait_for_ever() -> None:
    running, leave = threading.Event(), threading.Event()

    def body(lease: HeldLease) -> str:
        running.set()
        leave.wait(10)
        return ""

    scheduler = Scheduler(JobRunner(Leases(), Runs(), SystemClock()), SystemClock())
    scheduler.add(Job("stuck", 3600, body))
    scheduler.start()
    assert running.wait(5)
    assert scheduler.stop(timeout_s=0.05) is False
    leave.set()
    assert scheduler.stop() is True
