"""Runs of jobs: under a lease, on record for every process that shares the database, and the last of each kept."""

from __future__ import annotations

import threading
import time

import pytest

from otel_finops.base.clock import SystemClock
from otel_finops.base.errors import Busy, Unavailable
from otel_finops.store import jobs as jobs_module
from otel_finops.store.engine import Store
from otel_finops.store.jobs import Failing, HeldLease, Job, JobRun, JobRunner, JobRuns
from otel_finops.store.lease import Leases
from otel_finops.testing import NOON, FakeClock

SECOND = 10**9


class Process:
    """One process that runs jobs on a store."""

    def __init__(self, store: Store, clock: FakeClock, name: str = "serve on a (1)") -> None:
        self.leases, self.runs = Leases(store, clock, name), JobRuns(store)
        self.runner = JobRunner(self.leases, self.runs, clock, self.leases.holder)
        self._clock = clock

    def job(self, name: str = "prune", *, takes_s: float = 0, fault: Exception | None = None) -> Job:
        def body(lease: HeldLease) -> str:
            assert self.leases.holder_of(f"job:{name}") == self.leases.holder
            self._clock.advance(takes_s)
            if fault is not None:
                raise fault
            return "3 rows pruned"

        return Job(name, 60, body)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def process(store: Store, clock: FakeClock) -> Process:
    return Process(store, clock)


def test_a_run_is_on_record_for_every_process(store: Store, clock: FakeClock, process: Process) -> None:
    process.runner.run(process.job(takes_s=2), "ann")
    expected = JobRun(1, "prune", NOON, 2 * SECOND, "done", "3 rows pruned", "ann", "serve on a (1)")
    assert Process(store, clock, "serve on b (2)").runs.last() == {"prune": expected}
    assert process.leases.holder_of("job:prune") is None


def test_who_does_not_hold_the_lease_does_nothing(store: Store, clock: FakeClock, process: Process) -> None:
    held = process.leases.acquire("job:prune")
    assert held is not None
    other = Process(store, clock, "serve on b (2)")
    assert other.runner.run(other.job()).outcome == "elsewhere"
    assert other.runs.last() == {}
    held.release()
    assert other.runner.run(other.job()).outcome == "done"


@pytest.mark.parametrize(
    ("fault", "outcome", "said"),
    [(Unavailable("the store is away"), "failed", "the store is away"), (ZeroDivisionError("secret"), "failed", "ZeroDivisionError")],
)
def test_a_fault_is_told_and_on_record(process: Process, fault: Exception, outcome: str, said: str) -> None:
    run = process.runner.run(process.job(fault=fault))
    assert (run.outcome, run.said) == (outcome, said)
    assert process.runs.last()["prune"].said == said
    assert process.leases.holder_of("job:prune") is None


def test_who_loses_the_lease_on_the_way_leaves_no_run(process: Process) -> None:
    assert process.runner.run(process.job(fault=Busy("the lease was lost"))).outcome == "elsewhere"
    assert process.runs.last() == {}


def test_since_when_a_job_fails(process: Process, clock: FakeClock) -> None:
    broken = process.job(fault=Unavailable("away"))
    process.runner.run(broken)
    process.runner.run(process.job())
    clock.advance(60)
    since_ns = clock.now_ns()
    for _ in range(3):
        process.runner.run(broken)
        clock.advance(60)
    process.runner.run(process.job("other"))
    assert process.runs.failing() == {"prune": Failing(since_ns, 3)}
    process.runner.run(process.job())
    assert process.runs.failing() == {}


def test_the_last_runs_of_each_job_are_kept(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "JOB_RUNS_KEPT", 3)
    process.runner.run(process.job("rare"))
    for _ in range(5):
        process.runner.run(process.job("often"))
    assert [run.no for run in process.runs.of("often", None, 10)] == [6, 5, 4]
    assert [run.no for run in process.runs.of("often", 6, 1)] == [5]
    assert [run.no for run in process.runs.of("rare", None, 10)] == [1]


def test_what_is_said_at_length_is_cut(process: Process) -> None:
    assert process.runner.run(process.job(fault=Unavailable("x" * 5_000))).said == "x" * 500


def test_a_lease_is_kept_for_as_long_as_the_work_takes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease of 0.9 s is held for 1.6, and nobody else begins."""
    monkeypatch.setattr(jobs_module, "LEASE_TTL_S", 0.9)
    clock = SystemClock()
    process, other = (JobRunner(Leases(store, clock, name), JobRuns(store), clock, name) for name in "ab")
    begun = threading.Event()

    def body(lease: HeldLease) -> str:
        begun.set()
        time.sleep(1.6)
        return "done"

    thread = threading.Thread(target=process.run, args=(Job("long", 60, body),))
    thread.start()
    assert begun.wait(5)
    outcomes = set()
    until = time.monotonic() + 1.4
    while time.monotonic() < until:
        outcomes.add(other.run(Job("long", 60, lambda lease: "too early")).outcome)
        time.sleep(0.05)
    assert set(outcomes) == {"elsewhere"}
    thread.join()
    assert [run.said for run in JobRuns(store).of("long", None, 10)] == ["done"]
