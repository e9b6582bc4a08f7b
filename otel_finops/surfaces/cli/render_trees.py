"""How cost trees look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from otel_finops.surfaces.cli.tables import draw_rows, speaks_unicode
from otel_finops.surfaces.cli.texts import safe

_SHOWN_DEPTH_MAX: Final = 24
"""Deeper spans are drawn at this depth, with their real one beside them."""
_PLAIN_LINES: Final = str.maketrans({"├": "|", "└": "`", "│": "|", "─": "-"})
"""Lines of trees where the terminal knows no others."""


def trace(console: Console, answer: Mapping[str, Any]) -> None:
    """A trace as a tree, and what its steps cost."""
    console.print(Text.assemble(("trace ", "bold"), safe(answer["trace_id"]), f"  {answer['total_usd']} USD{_caveats(answer)}"))
    lines = {} if speaks_unicode(console.encoding) else _PLAIN_LINES
    for drawn, node in _drawn(answer["nodes"]):
        prefix = drawn.translate(lines)
        console.print(Text.assemble(prefix, _label(node), (f"  {_money(node)}", "bold"), (_counts(node), "dim")))
        blank = drawn.replace("├─ ", "│  ").replace("└─ ", "   ").translate(lines)
        for note in node["notes"]:
            console.print(Text.assemble(blank, (f"   {safe(note)}", "dim italic")))
    if answer.get("omitted_nodes"):
        console.print(f"... and {answer['omitted_nodes']} more spans; the sums cover them")
    if answer["steps"]:
        draw_rows(console, answer["steps"])


def _caveats(answer: Mapping[str, Any]) -> str:
    unpriced = f", {answer['unpriced_calls']} calls unpriced" if answer["unpriced_calls"] else ""
    return f"{unpriced}{', not settled yet' if answer['pending'] else ''}"


def _label(node: Mapping[str, Any]) -> str:
    name = safe(node["name"] or node["span_id"])
    kind = "" if node["kind"] == "other" else f" [{node['kind']}]"
    return f"{name}{kind}"


def _money(node: Mapping[str, Any]) -> str:
    own, below = node["own_usd"], node["subtree_usd"]
    if own is not None:
        return f"{own} USD" if own == below else f"{own} USD, {below} with all below"
    return f"{below} USD" if node["calls"] else ""


def _counts(node: Mapping[str, Any]) -> str:
    return f"  {node['calls']} call{'s' if node['calls'] > 1 else ''}, {node['tokens']} tokens" if node["calls"] else ""


def _drawn(nodes: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every node with the lines in front of it; nodes come parents first, so one pass draws any depth."""
    last_child = {node["parent_span_id"]: node["span_id"] for node in nodes}
    below: dict[str, tuple[int, str]] = {}
    for node in nodes:
        parent = below.get(node["parent_span_id"] or "")
        depth, lines = (0, "") if parent is None else parent
        is_last = last_child.get(node["parent_span_id"]) == node["span_id"]
        prefix = "" if parent is None else lines + ("└─ " if is_last else "├─ ")
        inner = "" if parent is None else lines + ("   " if is_last else "│  ")
        if depth > _SHOWN_DEPTH_MAX:
            prefix, inner = f"{lines}({depth}) ", lines
        below[node["span_id"]] = (depth + 1, inner)
        yield prefix, node
