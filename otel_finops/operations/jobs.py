"""Jobs: what the service does by the clock, when it did it last, and doing it now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from otel_finops.base.times import NS_PER_SECOND, format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Name, NoInput, Paged, place_cursor
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.shapes import At, Count

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.operations.insight_desks import JobState
    from otel_finops.store.jobs import JobRun

_SHOW: Final = "jobs.show"
_OF_ALL: Final = "Jobs work on the data of all tenants"


class ShownRun(Output):
    """A run that ended."""

    no: int | None = Field(description="In the order of running; null: it is not on record yet.")
    started_at: At
    seconds: float = Field(description="How long it worked.")
    outcome: str = Field(description="done or failed.")
    said: str = Field(description="What the run said of itself, or its error.")
    who: str = Field(description="scheduler, or who asked for it.")
    process: str


class ShownJob(Output):
    """A job and how it fares, in whichever process."""

    job: str
    summary: str
    operation: str | None = Field(description="Which operation does the same when a person asks for it; null: jobs.run alone.")
    every_seconds: float = Field(description="From the end of a run to the start of the next.")
    running_in: str | None = Field(description="Which process runs it at this moment; null: nobody does.")
    last_at: At | None = Field(description="When the last run that ended began; null: it never ran.")
    seconds: float | None = Field(description="How long that worked.")
    outcome: str | None = Field(description="What came of it: done or failed.")
    said: str | None = Field(description="What it said of itself, or its error.")
    next_at: At | None = Field(description="When it is due, if a service runs; null: it never ran, or runs.")
    failing_since: At | None = Field(description="Since when every run failed; null: the last one did not.")
    failures: Count = Field(description="How many runs failed since then, of those that are kept.")


class Jobs(Output):
    """All jobs that the settings want."""

    jobs: list[ShownJob]


@operation(
    "jobs.list",
    "jobs",
    takes=NoInput,
    output=Jobs,
    permission="view",
    feature="jobs",
    summary="List what the service does by the clock, with the last run, how long it took and what came of it.",
)
def listed(context: Context, principal: Principal, given: NoInput) -> Json:
    """The runs of every process that shares the database count."""
    principal.must_see_all(_OF_ALL)
    return {"jobs": [_job(state) for state in context.jobs.all()]}


class JobQuery(Paged):
    """Which job."""

    job: Name = Field(min_length=1, description="The job's name, as jobs.list shows it.")


class JobShown(Output):
    """A job and its last runs."""

    job: ShownJob
    runs: list[ShownRun] = Field(description="Newest first; the last hundred are kept.")
    next_cursor: str | None


@operation(
    _SHOW,
    "jobs/{job}",
    takes=JobQuery,
    output=JobShown,
    permission="view",
    feature="jobs",
    summary="Show a job and its last runs, newest first.",
)
def show(context: Context, principal: Principal, given: JobQuery) -> Json:
    """One job."""
    principal.must_see_all(_OF_ALL)
    place = given.place(_SHOW)
    state = context.jobs.find(given.job)
    found = context.jobs.runs(given.job, place[0] if place else None, given.limit + 1)
    page = found[: given.limit]
    more = place_cursor(_SHOW, [page[-1].no]) if len(found) > given.limit else None
    return {"job": _job(state), "runs": [shown_run(run) for run in page], "next_cursor": more}


class JobName(Input):
    """Which job."""

    job: Name = Field(min_length=1, description="The job's name, as jobs.list shows it.")
    dry_run: bool = Field(default=False, description="Only say whether there is such a job, and whether it runs.")


class JobDone(Output):
    """What the run came to."""

    job: ShownJob
    run: ShownRun | None = Field(description="Null: this was a dry run.")


@operation(
    "jobs.run",
    "jobs/{job}/run",
    takes=JobName,
    output=JobDone,
    permission="admin",
    feature="jobs",
    changes=True,
    runs=True,
    agents=False,
    summary="Run a job now, and wait for it; refused while another process runs it.",
)
def start(context: Context, principal: Principal, given: JobName) -> Changed | Unchanged:
    """It does what it does by the clock, under the same lease; a run that failed says so in its outcome."""
    principal.must_see_all(_OF_ALL)
    if given.dry_run:
        return Unchanged({"job": _job(context.jobs.find(given.job)), "run": None})
    done = shown_run(context.jobs.run(given.job, who=principal.who))
    answer = {"job": _job(context.jobs.find(given.job)), "run": done}
    return Changed(answer, None, {"job": given.job, "outcome": done["outcome"], "said": done["said"]})


def _job(state: JobState) -> dict[str, Any]:
    job, last, failing = state.job, state.last, state.failing
    waits = last is not None and state.holder is None
    run = None if last is None else shown_run(last)
    return {
        "job": job.name,
        "summary": job.summary,
        "operation": job.operation or None,
        "every_seconds": job.interval_s,
        "running_in": state.holder,
        **{name: None if run is None else run[name] for name in ("seconds", "outcome", "said")},
        "last_at": None if run is None else run["started_at"],
        "next_at": format_ns(last.ended_ns + round(job.interval_s * NS_PER_SECOND)) if last is not None and waits else None,
        "failing_since": None if failing is None else format_ns(failing.since_ns),
        "failures": 0 if failing is None else failing.times,
    }


def shown_run(run: JobRun) -> dict[str, Any]:
    """A run as answers show it."""
    return {
        "no": run.no or None,
        "started_at": format_ns(run.started_ns),
        "seconds": round(run.took_ns / NS_PER_SECOND, 3),
        "outcome": run.outcome,
        "said": run.said,
        "who": run.who,
        "process": run.process,
    }
