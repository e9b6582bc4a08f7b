"""Answers for people: what each operation's answer looks like. Every text may come from a sender, so none reaches the terminal unsafe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from otel_finops.surfaces.cli.tables import draw_rows, plain, screen, speaks_unicode
from otel_finops.surfaces.cli.texts import many, safe, second

_SHOWN_DEPTH_MAX: Final = 24
"""Deeper spans are drawn at this depth, with their real one beside them."""
_ENTRY: Final = (
    "started_at", "kind", "role", "tenant", "provider", "request_model", "response_model", "agent", "step", "cost_usd", "cost_method",
    "trace_id",
)  # fmt: skip
"""Columns of ledger rows; `--json` has all of them."""
_PLAIN_LINES: Final = str.maketrans({"├": "|", "└": "`", "│": "|", "─": "-"})
"""Lines of trees where the terminal knows no others."""


def show(name: str, answer: Mapping[str, Any]) -> None:
    """Print an operation's answer to standard output."""
    draw(screen(), name, answer)


def draw(console: Console, name: str, answer: Mapping[str, Any]) -> None:
    """The same on any console."""
    _SPECIAL.get(name, plain)(console, answer)


def _entries(console: Console, answer: Mapping[str, Any]) -> None:
    """A page of ledger rows, by their most telling columns."""
    if answer["entries"]:
        draw_rows(console, answer["entries"], _ENTRY)
    plain(console, {**answer, "entries": answer["entries"] and None})


# --- the cost tree -------------------------------------------------------------------------------------------------


def _trace(console: Console, answer: Mapping[str, Any]) -> None:
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


# --- coverage --------------------------------------------------------------------------------------------------------


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


def _coverage(console: Console, answer: Mapping[str, Any]) -> None:
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


# --- prices ----------------------------------------------------------------------------------------------------------


def _unpriced(console: Console, answer: Mapping[str, Any]) -> None:
    """A table of the models; below it, in its order, what mends each."""
    models = answer["models"]
    if not models:
        console.print("No call without a price was found.")
        return
    names = ("provider", "model", "reason", "calls", "tokens")
    draw_rows(console, models, (*names, "first_seen", "last_seen"))
    for one in models:
        like = f"; names like it: {', '.join(map(safe, one['suggestions']))}" if one["suggestions"] else ""
        console.print(Text.assemble((safe(one["model"]) or "(no name)", "bold"), f": {safe(one['says'])}{like}"))
        for command in one["mend"]:
            console.print(Text(f"  {safe(command)}"), soft_wrap=True)  # to be copied in one piece
    if answer["next_cursor"]:
        _go_on(console, f"{len(models)} of {answer['total_models']} models", answer["next_cursor"])
    console.print(f"{many(answer['total_calls'], 'call')} without a price, {answer['total_tokens']} tokens.")


def _go_on(console: Console, said: str, cursor: str) -> None:
    console.print(Text(f"{said}; go on with --cursor {safe(cursor)}"), soft_wrap=True)  # to be copied in one piece


def _rules(console: Console, answer: Mapping[str, Any]) -> None:
    if not answer["rules"]:
        console.print("nothing found")
        return
    rows = [
        {
            "rule": one["rule"],
            "kind": one["kind"],
            "provider": one["provider"] or "any",
            "model": one["model"],
            "says": _said(one),
            "holds": one["holds"],
            "from": second(one["from"]) or "the beginning",
            "to": _ends(one),
            "who": one["who"],
            "why": one["why"],
        }
        for one in answer["rules"]
    ]
    draw_rows(console, rows)
    for one in answer["rules"]:
        if one["ended"]:
            ended = one["ended"]
            console.print(
                Text(f"Rule {one['rule']} was ended by {safe(ended['who'])} at {second(ended['ended_at'])}: {safe(ended['why'])}")
            )
    if answer["next_cursor"]:
        _go_on(console, "There are older rules", answer["next_cursor"])


def _said(rule: Mapping[str, Any]) -> str:
    prices = ", ".join(f"{name}={price}" for name, price in rule["prices"].items())
    whose = f" for account {rule['account']}" if rule["account"] else ""
    return f"is {rule['key']}" if rule["key"] else prices + whose


def _ends(rule: Mapping[str, Any]) -> str:
    if rule["ended"] is not None:
        return second(rule["ended"]["at"]) or "withdrawn"
    return second(rule["to"])


def _rule(console: Console, answer: Mapping[str, Any]) -> None:
    """What was set or ended, in sentences."""
    rule = answer["rule"]
    number = "This rule" if rule["rule"] is None else f"Rule {rule['rule']}"
    begins, ends = second(rule["from"]), _ends(rule)
    span = " ".join(filter(None, (f"from {begins}" if begins else "", ends if ends == "withdrawn" else f"to {ends}" if ends else "")))
    whose = f" of {rule['provider']}" if rule["provider"] else ""
    console.print(Text(safe(f"{number} ({rule['kind']}): {rule['model']}{whose} {_said(rule)}; {span or 'for all time'}.")))
    if (repriced := answer.get("repriced")) is not None:
        calls, cost = repriced["calls"], repriced["cost_usd"]
        console.print(
            f"{many(calls, 'call')} that had no price cost{'s' if calls == 1 else ''} {cost} USD."
            if calls
            else "No call gets a price by it."
        )
        notes = {
            "still_unpriced": "without a price all the same (pricing unpriced says why)",
            "skipped": "not settled yet; reprice again later",
        }
        notes["protected"] = "in closed months, left as they are (ledger reprice --force)"
        for name, note in notes.items():
            if repriced[name]:
                console.print(f"{many(repriced[name], 'call')}: {note}.")
        if repriced["stopped"]:
            console.print(Text(f"Not all calls were repriced, {safe(repriced['stopped'])}; otel-finops ledger reprice does the rest."))
    if answer["dry_run"]:
        console.print("This was a dry run: nothing is stored.")


def _calls(count: int) -> str:
    return many(count, "call")


def _quote(console: Console, answer: Mapping[str, Any]) -> None:
    quotes = answer["quotes"]
    if quotes is not None:
        columns = ("id", "usd", "key", "match", "partial", "reason", "detail")
        draw_rows(console, quotes, columns)
        console.print(f"{answer['usd'] or 'none has a price'}{' USD' if answer['usd'] else ''}; {answer['unpriced']} without a price")
        return
    if answer["lines"]:
        draw_rows(console, answer["lines"])
    if answer["usd"] is None:
        console.print(Text(f"no price: {safe(answer['detail'])} ({answer['reason']})"))
        return
    partial = "; a unit had no rate of its own, see pricing explain" if answer["partial"] else ""
    console.print(Text(f"{answer['usd']} USD, by {safe(answer['key'])} ({answer['match']}) of {answer['price_version']}{partial}"))


def _explained(console: Console, answer: Mapping[str, Any]) -> None:
    for step in answer["steps"]:
        console.print(Text(safe(step)))
    if not answer["steps"]:
        console.print("nothing found")
    if answer["lines"]:
        draw_rows(console, answer["lines"], ("unit", "quantity", "rate_usd", "amount_usd", "field"))


_SPECIAL: Final[Mapping[str, Callable[[Console, Mapping[str, Any]], None]]] = {
    "pricing.unpriced": _unpriced,
    "pricing.rules": _rules,
    "pricing.override": _rule,
    "pricing.alias": _rule,
    "pricing.end": _rule,
    "pricing.quote": _quote,
    "pricing.explain": _explained,
    "traces.show": _trace,
    "usage.list": _entries,
    "coverage.report": _coverage,
}
