"""How the coverage report looks: numbers, their legend, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from otel_finops.surfaces.cli.texts import safe

_MERGED: Final = ("duplicates", "wrappers", "gateway_copies")
_COVERED: Final[Mapping[str, tuple[str, ...]]] = {
    "calls": ("calls",),
    "unpriced": ("unpriced_calls",),
    "guessed": ("estimated_calls",),
    "partial": ("partial_calls",),
    "failed": ("failed_calls",),
    "merged": _MERGED,
    "no calls": ("traces_without_calls",),
}
"""Columns of the report with the numbers that each adds up; those behind the first two only where there is anything to show."""
_ALWAYS_COVERED: Final = ("calls", "unpriced")
_LEGEND: Final = {
    "guessed": "counts that the sender estimated",
    "partial": "may have cost more than was counted",
    "failed": "answered with an error, cost nothing",
    "merged": "further spans of calls that are charged once: seen twice, summed up, or answered from a gateway's cache",
    "no calls": "traces in which agents ran and no call shows",
}
_COUNTED_BY_TRACE: Final = ("no_calls", "agent_totals")
"""Causes of advice whose calls are not known, so that their numbers are of traces."""
_NARROW: Final = 140
"""Below this width a scope stands under its service, so that both fit beside the numbers."""


def coverage(console: Console, answer: Mapping[str, Any]) -> None:
    """Numbers as a table with its legend; below it what to do, each advice once, with the services and scopes that it is for."""
    groups = answer["groups"]
    if not groups:
        console.print("nothing found")
        return
    numbers = {name: [sum(group[part] for part in parts) for group in groups] for name, parts in _COVERED.items()}
    shown = {name: column for name, column in numbers.items() if name in _ALWAYS_COVERED or any(column)}
    console.print(_coverage_table(groups, shown, narrow=console.width < _NARROW))
    for name in shown:
        if name in _LEGEND:
            console.print(Text.assemble((f"{name}: ", "bold"), (_LEGEND[name], "dim")))
    advised: dict[str, list[Text]] = {}
    for group in groups:
        for one in group["advice"]:
            whose = f"{safe(group['service'])} {safe(group['scope'])}".strip()
            advised.setdefault(one["advice"], []).append(Text.assemble((whose, "bold"), f", {_advised(one)}"))
    for advice, those in advised.items():
        console.print()
        for line in those:
            console.print(line)
        console.print(Text(safe(advice)) if console.soft_wrap else Padding(Text(safe(advice)), (0, 0, 0, 2)))
    if not answer["complete"]:
        console.print("There are older rows that were not looked at; narrow the time to see them.")


def _coverage_table(groups: Sequence[Mapping[str, Any]], shown: Mapping[str, Sequence[int]], *, narrow: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("service, scope",) if narrow else ("service", "scope"):
        table.add_column(name, overflow="fold")
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    for row, group in enumerate(groups):
        service, scope = safe(group["service"]) or "(no service)", safe(group["scope"]) or "(span not kept)"
        who = [Text(f"{service}\n  {scope}")] if narrow else [Text(service), Text(scope)]
        table.add_row(*who, *(Text(str(column[row] or "")) for column in shown.values()))
    return table


def _advised(advice: Mapping[str, Any]) -> str:
    """How many calls the advice is for, and the models of most."""
    noun = "trace" if advice["cause"] in _COUNTED_BY_TRACE else "call"
    models = f" ({', '.join(map(safe, advice['models']))})" if advice["models"] else ""
    return f"{advice['calls']} {noun}{'' if advice['calls'] == 1 else 's'}{models}"
