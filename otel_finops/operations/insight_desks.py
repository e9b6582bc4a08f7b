"""What the operations on insight and alerting ask of the rooms below: one protocol for each desk."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:  # these rooms load a database toolkit, which `--help` must not wait for
    from otel_finops.store.jobs import Failing, Job, JobRun, JobRunner


class JobState(NamedTuple):
    """A job and how it fares.

    Attributes:
        holder: which process runs it now; None: nobody does.
        last: the last run that ended, in whichever process; None: it never ran.
        failing: since when all its runs failed; None: the last one did not.
    """

    job: Job
    holder: str | None
    last: JobRun | None
    failing: Failing | None


class Jobs(Protocol):
    """What the service does by the clock.

    Attributes:
        jobs: what the settings want.
        runner: runs them under their leases.
        stopping: set as soon as no further round of a job is to begin.

    Raises:
        NotFound: there is no such job.
        Busy, Unavailable: the store cannot answer now.
    """

    jobs: tuple[Job, ...]
    runner: JobRunner
    stopping: Event

    def all(self) -> Sequence[JobState]:
        """The jobs that the settings want, and how they fare."""
        ...

    def find(self, name: str) -> JobState:
        """One of them."""
        ...

    def runs(self, name: str, before_no: int | None, limit: int) -> Sequence[JobRun]:
        """A page of a job's runs, newest first, those before a number."""
        ...

    def run(self, name: str, *, who: str) -> JobRun:
        """Run a job now; its fault is told in the run. Raises Busy while another process runs it."""
        ...
