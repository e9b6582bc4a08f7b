"""How insight looks: what matters in a sentence, then tables that fit a terminal, with amounts as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from otel_finops.surfaces.cli.charts import amount
from otel_finops.surfaces.cli.render_dashboard import percent
from otel_finops.surfaces.cli.tables import draw_rows, plain
from otel_finops.surfaces.cli.texts import many, safe, second

_MORE: Final = "(--json has all of each)"
_ESTIMATED: Final = ("projected", "low", "high", "spent", "expected")
_GROUPS: Final = ("key", "spent", "projected", "low", "high", "days_known")
_BUDGETS: Final = (
    "no", "name", "tenant", "limit", "unit", "spent", "projected", "low", "high", "will_exceed", "exceeds_at", "chance", "why_not",
)  # fmt: skip
_STEPS: Final = ("to", "expected", "low", "high")
_METHODS: Final = ("method", "projected", "low", "high", "will_exceed")


# --- forecasts -------------------------------------------------------------------------------------------------------


def forecast_spend(console: Console, answer: Mapping[str, Any]) -> None:
    """What calls will cost by the end of the period, then by group, then by day."""
    _headline(console, f"{safe(answer['period'])}, {safe(answer['zone'])}", answer, {**answer["total"], "unit": "USD"})
    if answer["groups"]:
        _draw(console, [_rounded({**_keyed(one), **one}) for one in answer["groups"]], (*answer["groups"][0]["key"], *_GROUPS[1:]))
        if answer["others"]:
            console.print(Text(f"and {many(answer['others'], 'group')} more", "dim"))
    _draw(console, list(map(_rounded, answer["steps"])), _STEPS)
    console.print(Text(_MORE, "dim"))


def forecast_budgets(console: Console, answer: Mapping[str, Any]) -> None:
    """Budgets with what their windows come to."""
    rows = [_rounded({**(one["forecast"] or {}), **one, "unit": one["currency"] or one["kind"]}) for one in answer["budgets"]]
    _draw(console, rows, _BUDGETS)
    plain(console, {**answer, "budgets": None if rows else []})


def forecast_budget(console: Console, answer: Mapping[str, Any]) -> None:
    """A budget's window: what it comes to, when the limit is passed, day by day, and what each method says."""
    found, unit = answer["forecast"], answer["currency"] or answer["kind"]
    if found is None:
        console.print(Text(f"{safe(answer['name'])}: no forecast; {safe(answer['why_not'])}", "bold"))
        return
    _headline(console, f"{safe(answer['name'])}, limit {answer['limit']}", found, {**found, "spent": answer["spent"], "unit": unit})
    if found["exceeds_at"] or found["earliest"]:
        when = [f"{name.replace('_', ' ')} {second(found[name])}" for name in ("exceeds_at", "earliest", "latest") if found[name]]
        console.print(Text(f"The limit is passed: {', '.join(when)}"))
    if found["chance"] is not None:
        console.print(Text(f"Chance that the limit is passed: {percent(found['chance'])}"))
    _draw(console, list(map(_rounded, answer["steps"])), _STEPS)
    _draw(console, list(map(_rounded, answer["methods"])), _METHODS)
    console.print(Text(_MORE, "dim"))


def _headline(console: Console, what: str, window: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """What was spent and what is expected, with the range."""
    console.print(Text(f"{second(window['from'])} to {second(window['to'])} ({what})"))
    if found["projected"] is None:
        console.print(Text(f"{_money(found['spent'])} {safe(found['unit'])} spent; nothing to forecast by", "bold"))
        return
    sure = "; too few days for a range"
    if found["low"] is not None:
        sure = f", four times in five between {_money(found['low'])} and {_money(found['high'])}"
    unit = safe(found["unit"])
    console.print(Text(f"{_money(found['spent'])} {unit} spent, {_money(found['projected'])} {unit} expected at the end{sure}", "bold"))


# --- anomalies -------------------------------------------------------------------------------------------------------

_FOUND: Final = ("no", "from", "step", "what", "usd", "usual", "score", "state", "driver", "driver_usd")
_COURSE: Final = ("from", "usd", "usual", "calls", "score", "stands_out")
_CAUSES: Final = ("driver", "usd", "text")


def anomalies(console: Console, answer: Mapping[str, Any]) -> None:
    """What stands out, a line each, with its largest driver."""
    rows = list(map(_found, answer["anomalies"]))
    _draw(console, rows, _FOUND)
    if rows:
        console.print(Text("(anomalies show NO has the drivers and traces of one)", "dim"))
    plain(console, {**answer, "anomalies": None if rows else []})


def anomaly(console: Console, answer: Mapping[str, Any]) -> None:
    """One that stands out, in words, with what drives it and its dearest traces."""
    one = answer["anomaly"]
    console.print(Text(safe(one["text"]), "bold"))
    console.print(Text(f"no {one['no']}, {_state(one)}, score {one['score']} beside {many(one['compared_with'], 'other ' + one['step'])}"))
    _draw(console, _causes(one["drivers"]), _CAUSES)
    plain(console, {**answer, "anomaly": None})


def explained(console: Console, answer: Mapping[str, Any]) -> None:
    """Why a time cost another amount than another one."""
    console.print(Text(safe(answer["text"]), "bold"))
    _draw(console, _causes(answer["drivers"]), _CAUSES)
    plain(console, {**answer, "text": None, "drivers": None})


def course(console: Console, answer: Mapping[str, Any]) -> None:
    """Days or hours with what was expected of each."""
    rows = [{**one, "usd": _money(one["value_usd"]), "usual": _money(one["expected_usd"])} for one in answer["pieces"]]
    _draw(console, rows, _COURSE)
    plain(console, {**answer, "pieces": None if rows else []})


def _found(one: Mapping[str, Any]) -> dict[str, Any]:
    first = next(iter(one["drivers"]), {"kind": None, "amount_usd": None})
    name = " ".join(filter(None, (one["scope"].replace("_", " "), one["name"] or (one["tenant"] if one["scope"] == "tenant" else None))))
    return {
        **one,
        "what": name if one["scope"] == "tenant" or not one["tenant"] else f"{name} of {one['tenant']}",
        "usd": _money(one["value_usd"]),
        "usual": _money(one["expected_usd"]),
        "state": _state(one),
        "driver": first["kind"],
        "driver_usd": _money(first["amount_usd"]),
    }


def _state(one: Mapping[str, Any]) -> str:
    return str(one["state"]) + (", muted" if one["muted"] else "") + (", running" if one["running"] else "")


def _causes(drivers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Drivers, each with its parts in words below it."""
    rows: list[dict[str, Any]] = []
    for driver in drivers:
        rows.append({"driver": driver["kind"], "usd": _money(driver["amount_usd"]), "text": ""})
        rows += [{"driver": "", "usd": _money(part["amount_usd"]), "text": part["text"]} for part in driver["details"]]
    return rows


# --- waste, outcomes, unit costs ---------------------------------------------------------------------------------------

_WASTED: Final = ("usd", "kind", "tenant", "agent", "model", "instead", "calls", "traces", "dearest")
_OUTCOMES: Final = ("attempts", "successes", "failures", "success_rate", "cost_usd", "usd_per_attempt", "usd_per_success")
_UNITS: Final = ("calls", "cost_usd", "usd_per_call", "usd_per_trace", "usd_per_user", "usd_per_1k_tokens", "cache_hit_rate")


def wasted(console: Console, answer: Mapping[str, Any]) -> None:
    """What was spent for nothing, the dearest first, then what to do about each kind."""
    console.print(Text(f"{second(answer['from'])} to {second(answer['to'])}, {_looked_at(answer)}"))
    if not answer["findings"]:
        console.print("nothing found")
        return
    _draw(console, list(map(_finding, answer["findings"])), _WASTED)
    for kind in answer["kinds"]:
        _advice(console, kind, next((one for one in answer["findings"] if one["kind"] == kind["kind"]), None))
    console.print(Text(_MORE, "dim"))


def _looked_at(answer: Mapping[str, Any]) -> str:
    read = f"{many(answer['calls'], 'call')} for {_money(answer['cost_usd'])} USD"
    if answer["complete"]:
        return read
    return f"{read}, the {answer['chosen']} of {many(answer['all_calls'], 'call')} for {_money(answer['all_cost_usd'])} USD"


def _finding(one: Mapping[str, Any]) -> dict[str, Any]:
    dearest = one["dearest"][0]["trace_id"] if one["dearest"] else None
    return {**one, "usd": _money(one["usd"]), "agent": one["agent"] or one["step"], "dearest": dearest}


def _advice(console: Console, kind: Mapping[str, Any], dearest: Mapping[str, Any] | None) -> None:
    """A kind with its sum, what to do, and the policy for its dearest finding."""
    console.print()
    console.print(Text(f"{safe(kind['kind'])}: {_money(kind['usd'])} USD in {many(kind['findings'], 'finding')}", "bold"))
    if dearest is None:
        return
    console.print(Text(safe(dearest["advice"])))
    if dearest["policy"]:
        console.print("A policy that would have stopped the dearest of them:")
        console.print(Text(f"  {safe(dearest['policy']['command'])}"), soft_wrap=True)


def outcomes(console: Console, answer: Mapping[str, Any]) -> None:
    """Attempts, successes and the price of one."""
    _grouped(console, answer, _OUTCOMES)


def unit_costs(console: Console, answer: Mapping[str, Any]) -> None:
    """What one of anything cost on average."""
    _grouped(console, answer, _UNITS)


def _grouped(console: Console, answer: Mapping[str, Any], figures: Sequence[str]) -> None:
    """Groups by their telling figures, unless the only one is the total; then everything else."""
    rows = [{**_keyed(one), **{name: _average(name, value) for name, value in one.items()}} for one in answer["groups"]]
    if rows and answer["groups"][0]["key"]:
        _draw(console, rows, (*answer["groups"][0]["key"], *figures))
        console.print(Text(_MORE, "dim"))
    plain(console, {**answer, "groups": None if rows else []})


# --- footprint, chargeback -------------------------------------------------------------------------------------------

_BURDENS: Final = ("direct_usd", "given_usd", "received_usd", "fees_usd", "credits_usd", "total_usd", "subtree_usd")
_FOOTPRINT: Final = ("kwh", "co2e_g", "calls", "tokens", "flat_share")


def footprint(console: Console, answer: Mapping[str, Any]) -> None:
    """Electricity and CO2e, in all and by group."""
    total = _printed(answer["total"])
    console.print(Text(f"{second(answer['from'])} to {second(answer['to'])}, estimated by {safe(answer['source'])}"))
    console.print(Text(f"{total['kwh']} kWh, {total['co2e_g']} g CO2e, {many(total['calls'], 'call')}", "bold"))
    if answer["groups"]:
        _draw(console, [{**_keyed(one), **_printed(one)} for one in answer["groups"]], (*answer["groups"][0]["key"], *_FOOTPRINT))
    if answer["others"]:
        console.print(Text(f"and {many(answer['others'], 'group')} more", "dim"))
    if flat := answer["total"]["flat_share"]:
        console.print(Text(f"{percent(flat)} of the energy by the flat factor: nobody knows these models", "dim"))


def footprint_trend(console: Console, answer: Mapping[str, Any]) -> None:
    """The course of electricity and CO2e."""
    _draw(console, [_printed(one) for one in answer["pieces"]], ("from", *_FOOTPRINT))
    groups = [{"from": one["from"], **_keyed(part), **_printed(part)} for one in answer["pieces"] for part in one["groups"]]
    if groups:
        _draw(console, groups, ("from", *answer["pieces"][0]["groups"][0]["key"], *_FOOTPRINT))
    plain(console, {**answer, "pieces": None if answer["pieces"] else []})


def chargeback(console: Console, answer: Mapping[str, Any]) -> None:
    """Who bears what; columns that are zero for everybody stay away."""
    rows = [{**row, "cost_center": row["cost_center"] or "(not allocated)"} for row in answer["rows"]]
    burdens = [name for name in _BURDENS if name == "total_usd" or any(Decimal(row.get(name) or 0) for row in rows)]
    if all(row.get("subtree_usd") == row["total_usd"] for row in rows):
        burdens = [name for name in burdens if name != "subtree_usd"]
    _draw(console, rows, ("cost_center", "tenant", "name", "owner", "calls", *burdens))
    plain(console, {**answer, "rows": None if rows else []})


def _printed(one: Mapping[str, Any]) -> dict[str, Any]:
    flat = None if one["flat_share"] is None else percent(one["flat_share"])
    return {**one, "kwh": _range(one["energy_kwh"]), "co2e_g": _range(one["co2e_g"]), "flat_share": flat}


def _range(band: Mapping[str, float]) -> str:
    low, high = (f"{band[name]:.3g}" if band[name] < 1_000 else f"{band[name]:,.0f}" for name in ("low", "high"))
    return low if low == high else f"{low} to {high}"


# --- reconciliation --------------------------------------------------------------------------------------------------

_GAP: Final = ("cause", "usd", "meaning")
_COMPARED: Final = ("model", "from", "billed_usd", "booked_usd", "gap_usd", "captured", "largest_cause")
_RATES: Final = ("name", "tenant", "days", "billed_usd", "booked_usd", "gap_usd", "captured", "largest_cause")


def reconciled(console: Console, answer: Mapping[str, Any]) -> None:
    """Whether the ledger agrees with a bill: the gap by cause, then by model and by day."""
    rate = "" if answer["capture_rate"] is None else f", {percent(answer['capture_rate'])} of the bill"
    sums = f"{answer['billed_usd']} USD billed, {answer['booked_usd']} USD booked{rate}; the gap is {answer['gap_usd']} USD"
    console.print(Text(f"{safe(answer['name'])}: {sums}", "bold"))
    _draw(console, answer["causes"], _GAP)
    _draw(console, list(map(_compared, answer["models"])), _COMPARED)
    _draw(console, list(map(_compared, answer["days"])), _COMPARED)
    console.print(Text("(--json has all of each, and model by model of each day)", "dim"))
    said = ("name", "billed_usd", "booked_usd", "gap_usd", "capture_rate", "causes", "models", "days", "cells")
    plain(console, {**answer, **dict.fromkeys(said)})


def rates(console: Console, answer: Mapping[str, Any]) -> None:
    """How each bill compared, a line each."""
    rows = [{**_compared(one), "days": f"{one['from'][:10]} to {one['to'][:10]}"} for one in answer["rates"]]
    _draw(console, rows, _RATES)
    others = {name: value for name, value in answer.items() if value != []}
    plain(console, {**others, "rates": None} if rows else answer)


def _compared(one: Mapping[str, Any]) -> dict[str, Any]:
    """With the capture rate in per cent, and the cause that is most of the gap."""
    rate, largest = one["capture_rate"], max(one["causes"].items(), key=lambda cause: abs(Decimal(cause[1])), default=None)
    return {
        **one,
        "captured": None if rate is None else percent(rate),
        "largest_cause": None if largest is None else f"{largest[0].replace('_', ' ')} {_money(largest[1])}",
    }


# --- in common -------------------------------------------------------------------------------------------------------


def _draw(console: Console, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    if rows:
        draw_rows(console, [{name: row.get(name) for name in columns} for row in rows], columns)


def _average(name: str, value: Any) -> Any:
    """What one of something costs to two digits that say something, anything else as it is."""
    return _money(value) if name.startswith("usd_per_") else value


def _keyed(one: Mapping[str, Any]) -> dict[str, Any]:
    """A group's key as columns of its own; calls that name none are told so."""
    return {name: "(none)" if value is None else value for name, value in (one.get("key") or {}).items()}


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """With estimated amounts to two digits that say something: more of them are not known."""
    return {name: _money(value) if name in _ESTIMATED else value for name, value in row.items()}


def _money(value: str | None) -> str | None:
    return None if value is None else amount(Decimal(value)).replace(",", "")
