"""How the dashboard looks: key figures beside those of before, curves with bars, and what costs most."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_finops.surfaces.cli.charts import ASCII, UNICODE, Ink, amount, bar, change, share
from otel_finops.surfaces.cli.tables import draw_rows, inline, speaks_unicode
from otel_finops.surfaces.cli.texts import safe, second

BAR_WIDTH: Final = 12
NAME_WIDTH: Final = 40
_TIMES: Final = ("today", "month", "window")


def ink_of(console: Console) -> Ink:
    """What this terminal can be drawn on with."""
    return UNICODE if speaks_unicode(console.encoding) else ASCII


# --- key figures -----------------------------------------------------------------------------------------------------


def kpis(console: Console, answer: Mapping[str, Any]) -> None:
    """Today, the month and the time that was asked for, each beside the time before."""
    table = Table.grid(padding=(0, 2))
    table.add_column("")
    for name in _TIMES:
        table.add_column(name, justify="right")
        table.add_column("", justify="right")
    table.add_row(*(Text(str(column.header), "bold") for column in table.columns))
    for name, said in _FIGURES.items():
        cells = [cell for time in _TIMES for cell in said(name, answer[time])]
        table.add_row(name.replace("_", " ").removesuffix(" usd"), *cells)
    console.print(table)
    console.print()
    for name in _TIMES:
        console.print(Text(f"{name}: from {second(answer[name]['from'])} to {second(answer[name]['to'])}, beside as long before", "dim"))
    console.print(Text(f"Money in USD ({safe(answer['basis'])}), days of {safe(answer['zone'])}.", "dim"))
    if answer["pending_usd"] != "0":
        console.print(Text(f"{amount(Decimal(answer['pending_usd']))} USD are not settled yet and in no sum."))


def _money(name: str, time: Mapping[str, Any]) -> tuple[str, Text]:
    now, before = (None if figures[name] is None else Decimal(figures[name]) for figures in (time, time["before"]))
    return "" if now is None else amount(now), Text() if now is None or before is None else changed(now, before)


def _count(name: str, time: Mapping[str, Any]) -> tuple[str, Text]:
    return f"{time[name]:,}", changed(Decimal(time[name]), Decimal(time["before"][name]), plain=name not in _WRONG)


def _part(name: str, time: Mapping[str, Any]) -> tuple[str, str]:
    return "" if time[name] is None else percent(time[name]), ""


_WRONG: Final = ("unpriced_calls", "failed_calls")
"""More of these is bad news."""
_FIGURES: Final[Mapping[str, Callable[[str, Mapping[str, Any]], tuple[str | Text, str | Text]]]] = {
    "cost_usd": _money,
    "calls": _count,
    "average_usd": _money,
    "tokens": _count,
    "cache_share": _part,
    "models": _count,
    "failed_calls": _count,
    "unpriced_calls": _count,
    "unpriced_tokens_share": _part,
}


def changed(now: Decimal, before: Decimal, *, plain: bool = False) -> Text:
    """What became of a number, in red where more of it is bad news and there is more."""
    colour = "" if plain or now == before else "red" if now > before else "green"
    return Text(change(now, before), colour)


def percent(part: float | str) -> str:
    """A share between 0 and 1."""
    return share(Decimal(str(part)), Decimal(1))


# --- the course ------------------------------------------------------------------------------------------------------


def trend(console: Console, answer: Mapping[str, Any]) -> None:
    """A line for each piece with its bar; where it is split, what the parts cost stands behind it as far as the screen reaches."""
    pieces = answer["pieces"]
    if not pieces:
        console.print("nothing found")
        return
    top, ink = max(Decimal(piece["cost_usd"]) for piece in pieces), ink_of(console)
    rows = [
        {
            answer["by"]: second(piece["from"]),
            " ": bar(Decimal(piece["cost_usd"]), top, ink, BAR_WIDTH),
            "cost_usd": piece["cost_usd"],
            "calls": piece["calls"],
            "tokens": piece["tokens"],
            **{_line(answer["lines"], place): part["cost_usd"] for place, part in enumerate(piece["parts"])},
        }
        for piece in pieces
    ]
    room = max(0, (console.width - _FIRST_COLUMNS_WIDTH) // _COLUMN_WIDTH)
    draw_rows(console, rows, list(rows[0])[: 5 + room])
    if answer["lines"]:
        console.print()
        draw_rows(console, [{**line, "name": _line(answer["lines"], place)} for place, line in enumerate(answer["lines"])], _LINE)
    console.print(f"{amount(Decimal(answer['total_usd']))} USD in all, days of {safe(answer['zone'])}")


_LINE: Final = ("name", "cost_usd", "calls", "tokens")
_FIRST_COLUMNS_WIDTH: Final = 70
_COLUMN_WIDTH: Final = 18
"""About what a part's column takes."""


def _line(lines: Sequence[Mapping[str, Any]], place: int) -> str:
    line = lines[place]
    return "(others)" if line["others"] else "(none)" if line["name"] is None else str(line["name"])


# --- what costs most -------------------------------------------------------------------------------------------------


def top(console: Console, answer: Mapping[str, Any]) -> None:
    """What costs most, and the rest in one line."""
    console.print(top_list(answer["by"], answer, ink_of(console)))
    console.print()
    became = change(Decimal(answer["total_usd"]), Decimal(answer["total_usd"]) - Decimal(answer["change_usd"]))
    total = f"{amount(Decimal(answer['total_usd']))} USD in all{f', {became} against as long before' if became else ''}"
    console.print(Text(f"{total}; from {second(answer['from'])} to {second(answer['to'])}, {inline(answer['basis'])}"))


def top_list(key: str, answer: Mapping[str, Any], ink: Ink) -> Table:
    """A list of `dashboard.top` with bars."""
    whole = Decimal(answer["total_usd"])
    table = Table.grid(padding=(0, 2))
    table.add_column(f"  by {key.replace('_', ' ')}", overflow="fold", max_width=NAME_WIDTH)
    for name in ("", "share", "USD", "change", "calls", "tokens"):
        table.add_column(name, justify="left" if name == "" else "right", no_wrap=True)
    table.add_row(*(Text(str(column.header), "bold") for column in table.columns))
    for row in answer["top"]:
        name = "(none)" if row["name"] is None else safe(row["name"])
        table.add_row(Text(f"  {name}"), *_cells(row, whole, ink))
    if others := answer["others"]["count"]:
        table.add_row(Text(f"  {others} more", "dim"), *_cells(answer["others"], whole, ink))
    return table


def _cells(row: Mapping[str, Any], whole: Decimal, ink: Ink) -> tuple[str | Text, ...]:
    cost = Decimal(row["cost_usd"])
    spent = "unpriced" if row["calls"] and row["calls"] == row["unpriced_calls"] else amount(cost)
    became = changed(cost, cost - Decimal(row["change_usd"]))
    return Text(bar(cost, whole, ink, BAR_WIDTH), "cyan"), share(cost, whole), spent, became, f"{row['calls']:,}", f"{row['tokens']:,}"
