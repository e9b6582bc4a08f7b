"""The jobs of a service over its store: what `operations.insight_desks.Jobs` promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event

from otel_finops.base.errors import Busy, NotFound
from otel_finops.operations.insight_desks import JobState
from otel_finops.store.jobs import Job, JobRun, JobRunner, JobRuns
from otel_finops.store.lease import Leases


class JobsDesk:
    """See `operations.insight_desks.Jobs`. Safe to use from many threads.

    Args:
        all_of: the jobs, from what says whether no further round is to begin.

    Attributes:
        jobs: those that the settings want.
        runner: runs them, for the scheduler.
        stopping: set as soon as no further round of a job is to begin.
    """

    def __init__(self, leases: Leases, records: JobRuns, runner: JobRunner, all_of: Callable[[Callable[[], bool]], Sequence[Job]]) -> None:
        self._leases = leases
        self._records = records
        self.runner = runner
        self.stopping = Event()
        self.jobs = tuple(all_of(self.stopping.is_set))

    def all(self) -> Sequence[JobState]:
        """See `Jobs.all`."""
        return self._states(self.jobs)

    def find(self, name: str) -> JobState:
        """See `Jobs.find`."""
        return self._states([self._named(name)])[0]

    def runs(self, name: str, before_no: int | None, limit: int) -> Sequence[JobRun]:
        """See `Jobs.runs`."""
        return self._records.of(self._named(name).name, before_no, limit)

    def run(self, name: str, *, who: str) -> JobRun:
        """See `Jobs.run`."""
        run = self.runner.run(self._named(name), who)
        if run.outcome == "elsewhere":
            raise Busy(f"job {name} runs already: {run.said}; see jobs.list", holder=self._leases.holder_of(f"job:{name}"))
        return run

    def _states(self, jobs: Sequence[Job]) -> list[JobState]:
        last, failing = self._records.last(), self._records.failing()
        return [JobState(job, self._leases.holder_of(f"job:{job.name}"), last.get(job.name), failing.get(job.name)) for job in jobs]

    def _named(self, name: str) -> Job:
        for job in self.jobs:
            if job.name == name:
                return job
        raise NotFound(f"There is no job {name[:40]!r}, or the settings do not want it; jobs.list names them.")
