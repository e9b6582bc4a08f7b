"""What runs by the clock, when it ran last, and running it now."""

from __future__ import annotations

from starlette.responses import Response

from otel_finops.surfaces.ui.page import Page, action, page


@page("/jobs", title="Jobs", group="System", needs=("jobs.list",))
def jobs(page: Page) -> Response:
    """All jobs with their last run."""
    return page.render("jobs/jobs.html", jobs=page.ask("jobs.list")["jobs"])


@page("/jobs/{job}", title="Job", needs=("jobs.show",))
def job(page: Page) -> Response:
    """One job and its runs."""
    return page.render("jobs/job.html", **page.ask("jobs.show"))


@action("/jobs/{job}/run", needs="jobs.run")
def run(page: Page) -> Response:
    """Run it now; the page waits for it."""
    done = page.submit("jobs.run", job=page.path["job"])
    notice = f"{page.path['job']} ran." if done.answer is not None else done.filled.fault
    return page.to(page.url("/jobs/{job}", job=page.path["job"]), notice)
