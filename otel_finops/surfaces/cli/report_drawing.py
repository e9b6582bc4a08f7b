"""How `report` looks: sums with their change, a curve of the days, and what cost most."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_finops.operations.registry import Json
from otel_finops.surfaces.cli.charts import ASCII, UNICODE, Ink, amount, bar, change, share, sparkline
from otel_finops.surfaces.cli.report import Answers, Span
from otel_finops.surfaces.cli.tables import speaks_unicode
from otel_finops.surfaces.cli.texts import many, safe

_BAR_WIDTH: Final = 12
_NAME_WIDTH: Final = 40


def draw(console: Console, span: Span, tenant: str | None, answers: Answers, top: int) -> None:
    """The report for people."""
    ink = UNICODE if speaks_unicode(console.encoding) else ASCII
    first, *_, last = span.dates() * 2
    whose = "all tenants that you may see" if tenant is None else f"tenant {safe(tenant)}"
    console.print(Text(f"Spend from {first} to {last} (UTC), {whose}", "bold"))
    console.print()
    console.print(_sums(answers, span))
    console.print()
    console.print(_curve(answers, span, ink, console.width - 4))
    for key, answer in answers.by.items():
        if any(group["key"][key] is not None for group in answer["groups"]):
            console.print()
            console.print(_list(key, answer, ink, top))


def _sums(answers: Answers, span: Span) -> Table:
    """The sums, each with what became of it against the days before."""
    now, before = answers.now, answers.before
    cost, spent_before = Decimal(now["total_usd"]), Decimal(before["total_usd"])
    table = Table.grid(padding=(0, 2))
    for justify in ("left", "right", "left", "right"):
        table.add_column(justify=justify)
    table.add_column()
    against = f"against {amount(spent_before)} in the {many(span.days, 'day')} before"
    table.add_row("  cost", Text(amount(cost), "bold"), "USD", _changed(cost, spent_before), Text(against, "dim"))
    if now.get("currency"):
        table.add_row("", Text(amount(Decimal(now["total"])), "bold"), safe(now["currency"]))
    table.add_row("  a day", amount(cost / span.days), "USD")
    for name in ("calls", "tokens", "unpriced_calls"):
        count, count_before = (sum(group[name] for group in answer["groups"]) for answer in (now, before))
        note = (
            f"{share(Decimal(str(now['unpriced_tokens_share'])), Decimal(1))} of all tokens" if name == "unpriced_calls" and count else ""
        )
        changed = _changed(Decimal(count), Decimal(count_before), plain=name != "unpriced_calls")
        table.add_row(f"  {name.replace('_', ' ')}", f"{count:,}", "", changed, Text(note, "dim"))
    if now["pending_usd"] != "0":
        table.add_row("  pending", amount(Decimal(now["pending_usd"])), "USD", "", Text("not settled yet, not in the sums", "dim"))
    return table


def _changed(now: Decimal, before: Decimal, *, plain: bool = False) -> Text:
    colour = "" if plain or now == before else "red" if now > before else "green"
    return Text(change(now, before), colour)


def _curve(answers: Answers, span: Span, ink: Ink, width: int) -> Text:
    """The cost of each day, from the first to the last."""
    spent = {group["key"]["day"]: Decimal(group["cost_usd"]) for group in answers.daily["groups"]}
    dates = [day.isoformat() for day in span.dates()]
    values = [spent.get(day, Decimal(0)) for day in dates]
    dearest = max(range(len(values)), key=values.__getitem__)
    said = f"a day, at most {amount(values[dearest])} USD on {dates[dearest]}" if values[dearest] > 0 else "nothing was spent"
    return Text.assemble("  ", (sparkline(values, ink, width), "cyan"), "\n  ", (said, "dim"))


def _list(key: str, answer: Json, ink: Ink, top: int) -> Table:
    """What cost most, and the rest in one line."""
    whole = Decimal(answer["total_usd"])
    table = Table.grid(padding=(0, 2))
    table.add_column(f"  by {key.replace('_', ' ')}", overflow="fold", max_width=_NAME_WIDTH)
    for name in ("", "share", "USD", "calls", "tokens"):
        table.add_column(name, justify="left" if name == "" else "right", no_wrap=True)
    table.add_row(*(Text(str(column.header), "bold") for column in table.columns))
    groups = answer["groups"]
    for group in groups[:top]:
        cost = Decimal(group["cost_usd"])
        cells = (*_measured(cost, whole, ink)[:2], "unpriced") if group["calls"] == group["unpriced_calls"] else _measured(cost, whole, ink)
        name = "(none)" if group["key"][key] is None else safe(group["key"][key])
        table.add_row(f"  {name}", *cells, f"{group['calls']:,}", f"{group['tokens']:,}")
    if rest := groups[top:]:
        cost = sum((Decimal(group["cost_usd"]) for group in rest), Decimal(0))
        counts = (f"{sum(group[name] for group in rest):,}" for name in ("calls", "tokens"))
        table.add_row(Text(f"  {len(rest)} more", "dim"), *_measured(cost, whole, ink), *counts)
    return table


def _measured(cost: Decimal, whole: Decimal, ink: Ink) -> tuple[Text, str, str]:
    return Text(bar(cost, whole, ink, _BAR_WIDTH), "cyan"), share(cost, whole), amount(cost)
