"""How `report` looks: sums with their change, a curve of the days, and what cost most."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_finops.base.times import NS_PER_SECOND, parse_ns
from otel_finops.base.zones import zone_of
from otel_finops.operations.registry import Json
from otel_finops.surfaces.cli.charts import Ink, amount, sparkline
from otel_finops.surfaces.cli.render_dashboard import changed, ink_of, percent, top_list
from otel_finops.surfaces.cli.report import Answers
from otel_finops.surfaces.cli.texts import many, safe


def draw(console: Console, days: int, tenant: str | None, answers: Answers) -> None:
    """The report for people."""
    ink = ink_of(console)
    figures = answers.kpis["window"]
    whose = "all tenants that you may see" if tenant is None else f"tenant {safe(tenant)}"
    zone = safe(answers.kpis["zone"])
    when = f"from {_day(figures['from'], zone)} to {_day(figures['to'], zone, before=1)} ({zone})"
    console.print(Text.assemble((f"Spend of {many(days, 'day')}", "bold"), f" {when}, {whose}"))
    console.print()
    console.print(_sums(answers.kpis, days))
    console.print()
    console.print(_curve(answers.trend, zone, ink, console.width - 4))
    for key, answer in answers.top.items():
        if any(row["name"] is not None for row in answer["top"]):
            console.print()
            console.print(top_list(key, answer, ink))


def _day(instant: str, zone: str, *, before: int = 0) -> str:
    """The date of an instant, or of so many nanoseconds before it, where the days are those of the zone."""
    return datetime.fromtimestamp((parse_ns(instant) - before) // NS_PER_SECOND, zone_of(zone)).date().isoformat()


def _sums(kpis: Json, days: int) -> Table:
    """The sums, each with what became of it against the time before."""
    now, before = kpis["window"], kpis["window"]["before"]
    cost, spent_before = Decimal(now["cost_usd"]), Decimal(before["cost_usd"])
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    table.add_row("  cost", Text(amount(cost), "bold"), "USD", changed(cost, spent_before), _dim(f"{amount(spent_before)} as long before"))
    table.add_row("  a day", amount(cost / days), "USD")
    average = now["average_usd"]
    table.add_row("  calls", *_count(now, before, "calls"), _dim(f"{amount(Decimal(average))} USD a call" if average else ""))
    cached = f"{percent(now['cache_share'])} of the prompt from a cache" if now["cache_share"] else ""
    table.add_row("  tokens", *_count(now, before, "tokens"), _dim(cached))
    table.add_row("  models", *_count(now, before, "models"))
    if now["failed_calls"]:
        table.add_row("  failed", *_count(now, before, "failed_calls"))
    if now["unpriced_calls"]:
        unpriced = f"{percent(now['unpriced_tokens_share'])} of the tokens; see pricing unpriced"
        table.add_row("  unpriced", *_count(now, before, "unpriced_calls"), _dim(unpriced))
    if kpis["pending_usd"] != "0":
        table.add_row("  pending", amount(Decimal(kpis["pending_usd"])), "USD", "", _dim("not settled yet, not in the sums"))
    return table


def _count(now: Mapping[str, Any], before: Mapping[str, Any], name: str) -> tuple[str, str, Text]:
    """A number, its unit (none), and its change; more of what went wrong is red."""
    wrong = name in ("failed_calls", "unpriced_calls")
    return f"{now[name]:,}", "", changed(Decimal(now[name]), Decimal(before[name]), plain=not wrong)


def _dim(text: str) -> Text:
    return Text(text, "dim")


def _curve(trend: Json, zone: str, ink: Ink, width: int) -> Text:
    """The cost of each day, from the first to the last."""
    spent = [Decimal(piece["cost_usd"]) for piece in trend["pieces"]]
    dearest = max(range(len(spent)), key=spent.__getitem__)
    day = _day(trend["pieces"][dearest]["from"], zone)
    said = f"a day, at most {amount(spent[dearest])} USD on {day}" if spent[dearest] > 0 else "nothing was spent"
    return Text.assemble("  ", (sparkline(spent, ink, width), "cyan"), "\n  ", (said, "dim"))
