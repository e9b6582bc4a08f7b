"""How agent runs look: what one did and cost, its steps, tools, calls, failures, and the runs below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from otel_finops.surfaces.cli.tables import cell, draw_rows
from otel_finops.surfaces.cli.texts import many, safe, second

_INDENT_MAX: Final = 20
"""Runs below are indented by their depth, so far at most."""
_LISTS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "steps": ("steps", ("step", "agent", "usd", "calls", "tokens", "failed_calls")),
    "tools": ("tools", ("tool", "uses", "failures", "duration_ms", "usd", "calls", "errors")),
    "model_calls": ("calls", ("started_at", "step", "provider", "response_model", "cost_usd", "tokens", "finish_reasons", "error_type")),
    "failures": ("failures", ("started_at", "kind", "name", "error_type", "span_id")),
    "runs": ("runs below", ("name", "kind", "status", "cost_usd", "own_cost_usd", "calls", "tokens", "run_id")),
    "linked": ("linked runs, not part of this one", ("direction", "name", "cost_usd", "calls", "run_id", "trace_id")),
}
"""Lists of a run: what stands above each, and its columns."""


def run(console: Console, answer: Mapping[str, Any]) -> None:
    """One run."""
    ended = (
        f", {safe(answer['error_type'])}"
        if answer["error_type"]
        else f", {safe(answer['finish_reason'])}"
        if answer["finish_reason"]
        else ""
    )
    console.print(Text.assemble((safe(answer["name"]), "bold"), f" [{answer['kind']}] {answer['status']}{ended}"))
    console.print(Text(f"run {safe(answer['run_id'])}"))
    console.print(Text(f"{second(answer['started_at'])}, {cell(answer['duration_ms'])} ms{_where(answer)}"))
    own = (
        ""
        if answer["own_calls"] == answer["calls"]
        else f" ({answer['own_cost_usd']} USD in {many(answer['own_calls'], 'call')} of its own)"
    )
    console.print(Text(f"{answer['cost_usd']} USD, {many(answer['calls'], 'call')}, {answer['tokens']} tokens{own}{_wrong(answer)}"))
    for name, (title, columns) in _LISTS.items():
        if rows := answer[name]:
            console.print()
            console.print(Text(title, "bold"))
            draw_rows(console, _indented(rows) if name == "runs" else rows, columns)
            if left_out := answer["omitted"].get(name):
                console.print(f"... and {left_out} more; the sums cover them")


def _where(answer: Mapping[str, Any]) -> str:
    said = (f"{name} {safe(answer[name])}" for name in ("tenant", "service", "environment", "user", "session") if answer[name])
    return "".join(f", {one}" for one in said)


def _wrong(answer: Mapping[str, Any]) -> str:
    counts = {"failed": answer["failed_calls"], "without a price": answer["unpriced_calls"]}
    said = "".join(f", {many(count, 'call')} {what}" for what, count in counts.items() if count)
    tools = f", {many(answer['tools_used'], 'use')} of tools, {answer['failed_tools']} failed" if answer["tools_used"] else ""
    return f"{said}{tools}{', not settled yet' if answer['pending'] else ''}"


def _indented(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Runs below by their depth; they come depth first."""
    return [{**one, "name": f"{'  ' * min(_INDENT_MAX, one['depth'] - 1)}{one['name']}"} for one in runs]
