"""How answers about prices look: models without one, house rules, quotes and their reasons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from otel_finops.surfaces.cli.tables import draw_rows, plain
from otel_finops.surfaces.cli.texts import many, safe, second


def unpriced(console: Console, answer: Mapping[str, Any]) -> None:
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


def rules(console: Console, answer: Mapping[str, Any]) -> None:
    """House rules as a table, and by whom they were ended."""
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


def models(console: Console, answer: Mapping[str, Any]) -> None:
    """Rows of the book with their standard prices; `--json` has the list's own fields."""
    plain(console, {**answer, "models": [_model(one) for one in answer["models"]]})


def _model(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"key": one["key"], "usd": _prices(one["prices"]), **{name: one[name] for name in ("provider", "mode", "source", "retired")}}


def history(console: Console, answer: Mapping[str, Any]) -> None:
    """Each period with its standard prices."""
    kept = ("from", "to", "kind", "holds", "announced", "key", "version")
    periods = [{**{name: one[name] for name in kept}, "usd": _prices(one["prices"])} for one in answer["periods"]]
    plain(console, {**answer, "periods": periods})


def _prices(prices: Iterable[Mapping[str, Any]]) -> str:
    """As rules write them: tokens per million, other things for one."""
    standard = (one for one in prices if one["per"] != "factor" and not (one["tier"] or one["above"] or one["within"]))
    return ", ".join(f"{one['unit']}={one['usd']}" for one in standard)


def _said(rule: Mapping[str, Any]) -> str:
    prices = ", ".join(f"{name}={price}" for name, price in rule["prices"].items())
    whose = f" for account {rule['account']}" if rule["account"] else ""
    return f"is {rule['key']}" if rule["key"] else prices + whose


def _ends(rule: Mapping[str, Any]) -> str:
    if rule["ended"] is not None:
        return second(rule["ended"]["at"]) or "withdrawn"
    return second(rule["to"])


def rule(console: Console, answer: Mapping[str, Any]) -> None:
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


def quote(console: Console, answer: Mapping[str, Any]) -> None:
    """What calls cost, with the lines of a single one."""
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


def explained(console: Console, answer: Mapping[str, Any]) -> None:
    """The steps by which a price was found, and its lines."""
    for step in answer["steps"]:
        console.print(Text(safe(step)))
    if not answer["steps"]:
        console.print("nothing found")
    if answer["lines"]:
        draw_rows(console, answer["lines"], ("unit", "quantity", "rate_usd", "amount_usd", "field"))
