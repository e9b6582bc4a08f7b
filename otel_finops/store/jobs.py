"""Jobs: work that is done again and again, by one process at a time, and what its runs came to, kept over restarts.

A run takes the lease `job:NAME`, keeps it while it works, and gives it back in the transaction that puts the run on record. A process
that dies while it works leaves no record, and the lease runs out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from otel_finops.base.clock import Clock
from otel_finops.base.errors import Busy, FinopsError
from otel_finops.base.limits import JOB_RUNS_KEPT, JOB_SAID_CHARS_MAX
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.store.engine import Store
from otel_finops.store.lease import LEASE_TTL_S
from otel_finops.store.unit_of_work import Row, Transaction

_log: Final = logging.getLogger(__name__)

SCHEDULER: Final = "scheduler"
"""Who runs what runs by the clock."""
_COLUMNS: Final = "run_no, job, started_ns, took_ns, outcome, said, who, process"
_INSERT: Final = "INSERT INTO job_runs (job, started_ns, took_ns, outcome, said, who, process) VALUES (?, ?, ?, ?, ?, ?, ?)"
_FORGET: Final = (
    "DELETE FROM job_runs WHERE job = ? AND run_no <= (SELECT run_no FROM job_runs WHERE job = ? ORDER BY run_no DESC LIMIT 1 OFFSET ?)"
)
_LAST: Final = f"SELECT {_COLUMNS} FROM job_runs WHERE run_no IN (SELECT MAX(run_no) FROM job_runs GROUP BY job)"
_OF_JOB: Final = f"SELECT {_COLUMNS} FROM job_runs WHERE job = ? AND run_no < ? ORDER BY run_no DESC LIMIT ?"
_FAILING: Final = (
    "SELECT job, MIN(started_ns), COUNT(*) FROM job_runs AS r WHERE outcome = 'failed' AND NOT EXISTS "
    "(SELECT 1 FROM job_runs AS later WHERE later.job = r.job AND later.run_no > r.run_no AND later.outcome = 'done') GROUP BY job"
)
_LAST_NO: Final = 2**63 - 1

Outcome: TypeAlias = Literal["done", "failed", "elsewhere"]


class HeldLease(Protocol):
    """A lease that this process holds (`store.lease.Lease`)."""

    def confirm(self, transaction: Transaction) -> None:
        """Renew it inside a transaction, so that nobody can take it before that ends; raises Busy when it was lost."""
        ...

    def renew(self) -> None:
        """Renew it in a transaction of its own; raises Busy when it was lost."""
        ...

    def release(self) -> None:
        """Give it up; harmless when it was lost already."""
        ...


class LeaseSource(Protocol):
    """Where leases come from (`store.lease.Leases`)."""

    def acquire(self, name: str, ttl_s: float = LEASE_TTL_S) -> HeldLease | None:
        """The lease, or None while another process holds it."""
        ...

    def holder_of(self, name: str) -> str | None:
        """Who holds a lease now; None when nobody does."""
        ...


JobBody: TypeAlias = Callable[[HeldLease], str]
"""What a job does; it returns one line for a person to read, e.g. `412 rows pruned`."""


class Job(NamedTuple):
    """A piece of work that is to be done again and again.

    Attributes:
        name: unique; its lease is `job:NAME`.
        interval_s: from the end of one run to the start of the next.
        body: the work.
        first_after_s: delay of the first run.
        summary: what it does, one sentence for people.
        operation: which operation does the same when a person asks for it; "": `jobs.run` alone.
        prompt: it must not wait for long jobs, and is none.
    """

    name: str
    interval_s: float
    body: JobBody
    first_after_s: float = 0.0
    summary: str = ""
    operation: str = ""
    prompt: bool = False


class JobRun(NamedTuple):
    """A run that ended.

    Attributes:
        no: larger than that of every run recorded before; 0 of one that is not on record.
        job: the name.
        started_ns: Unix nanoseconds.
        took_ns: how long it worked.
        outcome: `elsewhere`: another process holds the lease, or ran it a moment ago; nothing was done and nothing goes on record.
        said: what it said of itself, or its error.
        who: `scheduler`, or who asked for it.
        process: which process ran it.
    """

    no: int
    job: str
    started_ns: int
    took_ns: int
    outcome: Outcome
    said: str
    who: str = SCHEDULER
    process: str = ""

    @property
    def ended_ns(self) -> int:
        """When it ended."""
        return self.started_ns + self.took_ns


class Failing(NamedTuple):
    """A job whose last runs failed: since when, and how many of them are on record."""

    since_ns: int
    times: int


class Records(Protocol):
    """Where runs are put on record (`JobRuns`)."""

    def last(self) -> dict[str, JobRun]:
        """The last run of each job that ever ran, by name."""
        ...

    def end(self, run: JobRun, lease: HeldLease) -> None:
        """Put a run on record and give its lease back, both in one transaction."""
        ...


class JobRuns:
    """The runs of one ledger's jobs: the last `JOB_RUNS_KEPT` of each. Safe to use from many threads and processes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def last(self) -> dict[str, JobRun]:
        """See `Records.last`."""
        with self._store.read() as transaction:
            return {run.job: run for run in map(_run, transaction.execute(_LAST))}

    def failing(self) -> dict[str, Failing]:
        """The jobs whose last run failed, by name, with the runs that failed since the last one that did not."""
        with self._store.read() as transaction:
            return {job: Failing(int(since_ns), int(times)) for job, since_ns, times in transaction.execute(_FAILING)}

    def of(self, job: str, before_no: int | None, limit: int) -> list[JobRun]:
        """A page of a job's runs, newest first, those before a number."""
        with self._store.read() as transaction:
            return [_run(row) for row in transaction.execute(_OF_JOB, (job, _LAST_NO if before_no is None else before_no, limit))]

    def end(self, run: JobRun, lease: HeldLease) -> None:
        """See `Records.end`; raises Busy or Unavailable, the store's: the lease then runs out by itself."""
        with self._store.together():
            with self._store.write(housekeeping=True) as transaction:
                transaction.execute(_INSERT, (run.job, run.started_ns, run.took_ns, run.outcome, run.said, run.who, run.process))
                transaction.execute(_FORGET, (run.job, run.job, JOB_RUNS_KEPT))
            lease.release()


class JobRunner:
    """Runs jobs under their leases and puts the runs on record.

    Args:
        process: which process this is, for people.
    """

    def __init__(self, leases: LeaseSource, records: Records, clock: Clock, process: str = "") -> None:
        self._leases = leases
        self._records = records
        self._clock = clock
        self._process = process

    def run(self, job: Job, who: str = SCHEDULER, waited_since_ns: int | None = None) -> JobRun:
        """Run a job now. Its errors are recorded and told, never raised: other jobs must go on.

        Args:
            waited_since_ns: since when this process waits for the job to be due: where another one ran it meanwhile, that was it.
        """
        started_ns = self._clock.now_ns()
        try:
            lease = self._leases.acquire(f"job:{job.name}", LEASE_TTL_S)
        except Busy as fault:
            return JobRun(0, job.name, started_ns, 0, "elsewhere", str(fault), who)
        except FinopsError as fault:
            _log.warning("job %s did not run: %s", job.name, fault)
            return JobRun(0, job.name, started_ns, 0, "failed", str(fault), who)
        if lease is None:
            return JobRun(0, job.name, started_ns, 0, "elsewhere", "another process holds its lease", who)
        return self._elsewhere(job, lease, waited_since_ns) or self._here(job, lease, who)

    def _elsewhere(self, job: Job, lease: HeldLease, waited_since_ns: int | None) -> JobRun | None:
        """The run of another process that this one has waited for; None where it is this one's turn."""
        if waited_since_ns is None:
            return None
        try:
            last = self._records.last().get(job.name)
            if last is None or last.started_ns <= waited_since_ns or last.ended_ns > self._clock.now_ns():
                return None
            lease.release()
        except FinopsError as fault:
            _log.warning("what job %s came to last cannot be looked up: %s", job.name, fault)
            return None
        return last._replace(no=0, outcome="elsewhere", said=f"{last.process or 'another process'} ran it a moment ago: {last.said}")

    def _here(self, job: Job, lease: HeldLease, who: str) -> JobRun:
        started_ns, started = self._clock.now_ns(), self._clock.monotonic()
        with _kept(lease, job.name):
            outcome, said = _outcome(job, lease)
        took_ns = round((self._clock.monotonic() - started) * NS_PER_SECOND)
        run = JobRun(0, job.name, started_ns, took_ns, outcome, said[:JOB_SAID_CHARS_MAX], who, self._process)
        try:
            if outcome == "elsewhere":
                lease.release()
            else:
                self._records.end(run, lease)
        except FinopsError as fault:
            _log.warning("the run of job %s is not on record: %s", job.name, fault)
        return run


def _outcome(job: Job, lease: HeldLease) -> tuple[Outcome, str]:
    try:
        return "done", job.body(lease)
    except Busy as fault:
        return "elsewhere", str(fault)
    except FinopsError as fault:
        _log.warning("job %s failed: %s", job.name, fault)
        return "failed", str(fault)
    except Exception as fault:  # noqa: BLE001 - a fault of one job's code must not end the thread that runs all of them
        _log.exception("job %s failed", job.name)
        return "failed", type(fault).__name__


@contextmanager
def _kept(lease: HeldLease, name: str) -> Iterator[None]:
    """Renew a lease while somebody works under it, however long that takes."""
    over = Event()

    def renew() -> None:
        while not over.wait(LEASE_TTL_S / 3):
            try:
                lease.renew()
            except FinopsError as fault:
                _log.warning("the lease of job %s is not renewed: %s", name, fault)

    keeper = Thread(target=renew, name=f"keeps job:{name}", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


def _run(row: Row) -> JobRun:
    no, job, started_ns, took_ns, outcome, said, who, process = row
    return JobRun(int(no), job, int(started_ns), int(took_ns), outcome, said, who, process)
