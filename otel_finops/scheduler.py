"""Named jobs at intervals: one thread, and a lease for each job so that of several processes one runs it at a time.

A job keeps its lease while it runs. It is handed the lease, so that a long job can confirm it in each of its transactions;
a lease that runs out lets another process begin.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from otel_finops.base.clock import Clock
from otel_finops.base.errors import Busy, FinopsError

_log: Final = logging.getLogger(__name__)

LEASE_TTL_S: Final = 10.0
IDLE_WAIT_S: Final = 3600.0
"""How long the thread sleeps when there is no job at all; being stopped wakes it."""


class HeldLease(Protocol):
    """A lease that this process holds (`store.lease.Lease`)."""

    def release(self) -> None:
        """Give it up; never raises when it was lost already."""
        ...


class LeaseSource(Protocol):
    """Where leases come from (`store.lease.Leases`)."""

    def acquire(self, name: str, ttl_s: float = LEASE_TTL_S) -> HeldLease | None:
        """The lease, or None while another process holds it."""
        ...


JobBody: TypeAlias = Callable[[HeldLease], str]
"""What a job does; it returns one line for a person to read, e.g. `412 rows pruned`."""

Outcome = Literal["waiting", "done", "failed", "elsewhere"]


class Job(NamedTuple):
    """A piece of work that is to be done again and again.

    Attributes:
        name: unique; its lease is `job:NAME`.
        interval_s: from the end of one run to the start of the next.
        body: the work.
        first_after_s: delay of the first run.
    """

    name: str
    interval_s: float
    body: JobBody
    first_after_s: float = 0.0


class JobStatus(NamedTuple):
    """How a job fares, for health reports.

    Attributes:
        name: the job's.
        outcome: `waiting` before its first run; `elsewhere` when another process held its lease at the last attempt.
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
    """A job and what is known of it; only the running thread changes it."""

    def __init__(self, job: Job, due: float) -> None:
        self.job = job
        self.due = due
        self.last = JobStatus(job.name, "waiting", "", None, 0.0, 0, 0, 0.0)


class Scheduler:
    """Runs jobs when they are due, one after another.

    Args:
        leases: where the jobs' leases come from.
        clock: time, monotonic for intervals.
    """

    def __init__(self, leases: LeaseSource, clock: Clock) -> None:
        self._leases = leases
        self._clock = clock
        self._jobs: dict[str, _Entry] = {}
        self._lock = Lock()
        self._stop = Event()
        self._thread: Thread | None = None

    def add(self, job: Job) -> None:
        """Take up a job; before `start`.

        Raises:
            ValueError: the name is taken, or the interval is not positive.
        """
        if job.name in self._jobs:
            raise ValueError(f"there is a job {job.name!r} already")
        if job.interval_s <= 0:
            raise ValueError(f"job {job.name!r} needs a positive interval")
        self._jobs[job.name] = _Entry(job, self._clock.monotonic() + job.first_after_s)

    def run_due(self) -> float:
        """Run every job that is due, the one due longest first; return the seconds until the next one is."""
        for entry in sorted(self._jobs.values(), key=lambda entry: entry.due):
            if entry.due <= self._clock.monotonic() and not self._stop.is_set():
                self._attempt(entry)
        return max(
            0.0, min((entry.due for entry in self._jobs.values()), default=self._clock.monotonic() + IDLE_WAIT_S) - self._clock.monotonic()
        )

    def status(self) -> list[JobStatus]:
        """All jobs, in the order in which they were added."""
        now = self._clock.monotonic()
        with self._lock:
            return [entry.last._replace(next_in_s=max(0.0, entry.due - now)) for entry in self._jobs.values()]

    def start(self) -> None:
        """Run jobs on a thread of their own from now on."""
        if self._thread is not None:
            raise RuntimeError("the scheduler runs already")
        self._thread = Thread(target=self._loop, name="scheduler", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Begin no further job and wait for the running one, at most `timeout_s`; True when none runs any more."""
        self._stop.set()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """True once `stop` was called; long jobs look at it between their rounds."""
        return self._stop.is_set()

    def _loop(self) -> None:
        while not self._stop.wait(self.run_due()):
            pass

    def _attempt(self, entry: _Entry) -> None:
        started_ns, started = self._clock.now_ns(), self._clock.monotonic()
        outcome, message = self._run(entry.job)
        ended = self._clock.monotonic()
        last = entry.last
        with self._lock:
            entry.due = ended + entry.job.interval_s
            entry.last = JobStatus(
                entry.job.name,
                outcome,
                message,
                started_ns,
                ended - started,
                last.runs + (outcome != "elsewhere"),
                last.failures + (outcome == "failed"),
                0.0,
            )

    def _run(self, job: Job) -> tuple[Outcome, str]:
        """Run a job under its lease. Its errors are recorded and told, never raised: the other jobs must go on."""
        try:
            lease = self._leases.acquire(f"job:{job.name}", LEASE_TTL_S)
            if lease is None:
                return "elsewhere", "another process holds its lease"
            try:
                return "done", job.body(lease)
            finally:
                lease.release()
        except Busy as fault:
            return "elsewhere", str(fault)
        except FinopsError as fault:
            _log.warning("job %s failed: %s", job.name, fault)
            return "failed", str(fault)
        except Exception as fault:  # noqa: BLE001 - a fault of one job's code must not end the thread that runs all of them
            _log.exception("job %s failed", job.name)
            return "failed", type(fault).__name__
