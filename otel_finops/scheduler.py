"""Named jobs at intervals, each under a lease so that of several processes one runs it at a time (`store.jobs`).

Jobs that must not wait for long ones have a thread of their own; all others run one after another on a second one.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Event, Lock, Thread
from typing import Final, Literal, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.store.jobs import Job, JobRun, JobRunner

IDLE_WAIT_S: Final = 3600.0
"""How long a thread sleeps when there is no job at all; being stopped wakes it."""

Outcome = Literal["waiting", "done", "failed", "elsewhere"]


class JobStatus(NamedTuple):
    """How a job fares in this process.

    Attributes:
        name: the job's.
        outcome: `waiting` before its first run; `elsewhere` when another process held its lease, or had run it, at the last attempt.
        message: what the last run said of itself, or its error; "" before.
        last_run_ns: start of the last attempt, Unix nanoseconds; None before.
        duration_s: of the last run.
        runs, failures: since this process began.
        next_in_s: seconds until the next attempt, 0 when it is due.
    """

    name: str
    outcome: Outcome
    message: str
    last_run_ns: int | None
    duration_s: float
    runs: int
    failures: int
    next_in_s: float


class _Entry:
    """A job and what is known of it; only the thread that runs it changes it."""

    def __init__(self, job: Job, due: float, waits_since_ns: int) -> None:
        self.job = job
        self.due = due
        self.waits_since_ns = waits_since_ns
        self.last = JobStatus(job.name, "waiting", "", None, 0.0, 0, 0, 0.0)


class Scheduler:
    """Runs jobs when they are due.

    Args:
        runner: takes their leases and puts their runs on record.
        clock: time, monotonic for intervals.
        stopping: set as soon as no further job is to begin; long jobs look at it between their rounds.
    """

    def __init__(self, runner: JobRunner, clock: Clock, stopping: Event | None = None) -> None:
        self._runner = runner
        self._clock = clock
        self._jobs: dict[str, _Entry] = {}
        self._lock = Lock()
        self._stop = stopping or Event()
        self._threads: list[Thread] = []

    def add(self, job: Job) -> None:
        """Take up a job; before `start`.

        Raises:
            ValueError: the name is taken, or the interval is not positive.
        """
        if job.name in self._jobs:
            raise ValueError(f"there is a job {job.name!r} already")
        if job.interval_s <= 0:
            raise ValueError(f"job {job.name!r} needs a positive interval")
        self._jobs[job.name] = _Entry(job, self._clock.monotonic() + job.first_after_s, self._clock.now_ns())

    def run_due(self) -> float:
        """Run every job that is due, the one due longest first; return the seconds until the next one is."""
        return self._run_due(self._jobs.values())

    def status(self) -> list[JobStatus]:
        """All jobs, in the order in which they were added."""
        now = self._clock.monotonic()
        with self._lock:
            return [entry.last._replace(next_in_s=max(0.0, entry.due - now)) for entry in self._jobs.values()]

    def start(self) -> None:
        """Run jobs on threads of their own from now on."""
        if self._threads:
            raise RuntimeError("the scheduler runs already")
        for name, prompt in (("scheduler", False), ("prompt jobs", True)):
            entries = [entry for entry in self._jobs.values() if entry.job.prompt is prompt]
            self._threads.append(Thread(target=self._loop, args=(entries,), name=name, daemon=True))
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Begin no further job and wait for the running ones, at most `timeout_s`; True when none runs any more."""
        self._stop.set()
        until = self._clock.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until - self._clock.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    @property
    def stopping(self) -> bool:
        """True once `stop` was called; long jobs look at it between their rounds."""
        return self._stop.is_set()

    def _loop(self, entries: list[_Entry]) -> None:
        while not self._stop.wait(self._run_due(entries)):
            pass

    def _run_due(self, entries: Iterable[_Entry]) -> float:
        for entry in sorted(entries, key=lambda entry: entry.due):
            if entry.due <= self._clock.monotonic() and not self._stop.is_set():
                self._attempt(entry)
        now = self._clock.monotonic()
        return max(0.0, min((entry.due for entry in entries), default=now + IDLE_WAIT_S) - now)

    def _attempt(self, entry: _Entry) -> None:
        run = self._runner.run(entry.job, waited_since_ns=entry.waits_since_ns)
        ended = self._clock.monotonic()
        last = entry.last
        with self._lock:
            entry.due = ended + self._rest_s(entry.job, run)
            entry.waits_since_ns = self._clock.now_ns()
            entry.last = JobStatus(
                entry.job.name,
                run.outcome,
                run.said,
                run.started_ns,
                run.took_ns / NS_PER_SECOND,
                last.runs + (run.outcome != "elsewhere"),
                last.failures + (run.outcome == "failed"),
                0.0,
            )

    def _rest_s(self, job: Job, run: JobRun) -> float:
        """How long the job has time now: its interval, less what has passed since another process ran it."""
        passed_s = (self._clock.now_ns() - run.ended_ns) / NS_PER_SECOND
        return job.interval_s - min(max(0.0, passed_s), job.interval_s)
