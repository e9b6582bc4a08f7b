"""How jobs and alert rules look: a line each, with how they stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from otel_finops.surfaces.cli.tables import draw_rows, plain

_JOB: Final = ("job", "every", "last_at", "took", "outcome", "said", "failures")
_RULE: Final = ("no", "name", "kind", "tenant", "severity", "params", "enabled", "alerts", "trouble", "muted_until")
_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def jobs(console: Console, answer: Mapping[str, Any]) -> None:
    """Jobs with what came of their last run."""
    rows = [
        {
            **one,
            "every": _interval(one["every_seconds"]),
            "took": None if one["seconds"] is None else f"{one['seconds']} s",
            "outcome": "running" if one["running_in"] else one["outcome"],
            "failures": one["failures"] or None,
        }
        for one in answer["jobs"]
    ]
    draw_rows(console, rows, _JOB)
    console.print(Text("(jobs show JOB has what it does and its last runs)", "dim"))
    plain(console, {**answer, "jobs": None})


def rules(console: Console, answer: Mapping[str, Any]) -> None:
    """Alert rules with what they find."""
    rows = [{**one, "alerts": (one["state"] or {}).get("alerts"), "trouble": (one["state"] or {}).get("fault")} for one in answer["rules"]]
    if rows:
        draw_rows(console, rows, _RULE)
        console.print(Text("(--json has all of each)", "dim"))
    plain(console, {**answer, "rules": None if rows else []})


def _interval(seconds: float) -> str:
    """An interval in its largest whole unit."""
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def kinds(console: Console, answer: Mapping[str, Any]) -> None:
    """A line for each parameter of each kind."""
    nothing = [{"name": None, "usual": None, "means": None}]
    rows = [
        {"kind": kind["kind"] if first else "", "looks_at": kind["looks_at"] if first else "", **parameter}
        for kind in answer["kinds"]
        for first, parameter in ((at == 0, one) for at, one in enumerate(kind["params"] or nothing))
    ]
    if rows:
        draw_rows(console, rows, ("kind", "looks_at", "name", "usual", "means"))
    else:
        console.print("There are no kinds of alert rules.")
