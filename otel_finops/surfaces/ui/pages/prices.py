"""The price book: models, one model's rates and how they came to be, what a call would cost, and the lists behind it all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from starlette.responses import Response

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui.charts import step_chart
from otel_finops.surfaces.ui.forms import Filled, empty_form
from otel_finops.surfaces.ui.page import Answer, Page, action, page

COLUMNS: Final = ("input", "output", "cache_read", "cache_write_5m")
"""Units that the list of models has a column for; others stand in one together."""
COUNTED: Final = (
    "input_tokens_uncached", "output_tokens", "cache_read", "cache_write_5m", "cache_write_1h", "reasoning_tokens", "audio_in", "audio_out",
    "image_in", "image_out", "images", "seconds", "characters", "pages", "queries", "web_searches", "requests",
)  # fmt: skip
"""What a call of the calculator may count."""
CHOSEN: Final = ("service_tier", "region_kind", "region", "speed", "mode", "image_size", "quality", "resolution", "tenant", "at")
_FEW: Final = 6
_USED_MAX: Final = 12
_LINES_MAX: Final = 6
_ROWS: Final = 50
_MOVES: Final = 200


class RateTable(NamedTuple):
    """Rates as a table: a row for a service tier or an edge, a column for a unit.

    Attributes:
        units: of the columns.
        rows: (name, price of each unit, None where there is none).
    """

    units: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str | None]]]


@page("/prices", title="Models", group="Prices", needs=("prices.models",))
def models(page: Page) -> Response:
    """The book as it holds now."""
    book = page.try_ask("prices.status").value
    sources = sorted({one["source"] for one in book["lists"]} if book else ())
    found = page.ask("prices.models", limit=_ROWS)
    return page.render("prices/models.html", found=found, used=_used(page), book=book, sources=sources, columns=COLUMNS, by_unit=_by_unit)


def _used(page: Page) -> Sequence[Json]:
    """The dearest models of the ledger, where nobody looks for one."""
    if not page.can("dashboard.top") or page.query.keys() & {"search", "provider", "source", "cursor"}:
        return ()
    found = page.try_ask("dashboard.top", carry=("tenant",), by="model", limit=_USED_MAX).value
    return [row for row in found["top"] if row["name"]] if found else ()


def _by_unit(prices: Iterable[Json]) -> Mapping[str, Json]:
    return {one["unit"]: one for one in prices}


@page("/prices/{model:path}", title="Model", needs=("prices.show",))
def model(page: Page) -> Response:
    """What a model's calls are charged by, since when, and why."""
    row = page.try_ask("prices.show")
    why = page.try_ask("pricing.explain")
    history = page.try_ask("prices.history", limit=_ROWS)
    rules = page.try_ask("pricing.rules", carry=("model",))
    contested = page.try_ask("prices.differences", model=row.value["key"]).value if row.value else None
    prices = row.value["prices"] if row.value else []
    return page.render(
        "prices/model.html",
        status=200 if row.value else 404,
        row=row,
        why=why,
        history=history,
        rules=rules,
        contested=[one for one in contested["differences"] if one["key"] == row.value["key"]] if contested and row.value else [],
        tokens=rate_table(prices, "million", row.value["rates"] if row.value else {}),
        others=rate_table(prices, "one", {}),
        factors=[one for one in prices if one["per"] == "factor"],
        chart=_history_chart(page, history),
        units=_units(history),
        standard=lambda period: _by_unit(_standard(period)),
        watches=_watches(page),
    )


def rate_table(prices: Iterable[Json], per: str, rates: Mapping[str, Any]) -> RateTable:
    """The prices of a row that are for `per`, the standard ones first.

    Args:
        rates: the list's own fields, which say where parts of the row begin and end.
    """
    kept = [one for one in prices if one["per"] == per]
    names = dict.fromkeys(_circumstance(one, rates) for one in kept)
    cells = {(_circumstance(one, rates), one["unit"]): one["usd"] for one in kept}
    units = list(dict.fromkeys(one["unit"] for one in kept))
    return RateTable(units, [(name, [cells.get((name, unit)) for unit in units]) for name in names])


def _circumstance(one: Json, rates: Mapping[str, Any]) -> str:
    parts = [_part(one["within"], rates) if one["within"] else "", one["tier"] or "", f"above {one['above']}" if one["above"] else ""]
    return " ".join(part for part in parts if part) or "standard"


def _part(within: str, rates: Mapping[str, Any]) -> str:
    """`tiered_pricing[1]` by the tokens between which it holds, any other part by its name."""
    name, bracket, index = within.rstrip("]").partition("[")
    entries = rates.get(name)
    if bracket and isinstance(entries, list) and index.isdigit() and int(index) < len(entries):
        edges = entries[int(index)].get("range")
        if edges:
            return f"{edges[0]} to {edges[1]} tokens"
    return within.replace("_", " ")


def _units(history: Answer) -> Sequence[str]:
    """Units whose standard price some period has, the best known ones first."""
    periods = history.value["periods"] if history.value else []
    found = dict.fromkeys(one["unit"] for period in periods for one in _standard(period))
    return [*(unit for unit in COLUMNS if unit in found), *(unit for unit in found if unit not in COLUMNS)][:_LINES_MAX]


def _standard(period: Json) -> list[Json]:
    return [one for one in period["prices"] if one["per"] != "factor" and not (one["tier"] or one["above"] or one["within"])]


def _history_chart(page: Page, history: Answer) -> Mapping[str, Any] | None:
    """Steps of the standard prices; None where there was no change."""
    periods = history.value["periods"][::-1] if history.value else []
    if len(periods) < 2:
        return None
    lines = {unit: [_price(period, unit) for period in periods] for unit in _units(history)}
    return step_chart([period["from"] for period in periods], lines, page.zone, page.context.clock.now_ns())


def _price(period: Json, unit: str) -> str | None:
    return next((one["usd"] for one in _standard(period) if one["unit"] == unit), None)


def _watches(page: Page) -> Sequence[Json]:
    """The watches of this very name."""
    found = page.try_ask("prices.watches", carry=()).value
    name = page.path["model"].lower()
    return [one for one in found["watches"] if one["model"].lower() == name] if found else []


# --- what a call would cost ------------------------------------------------------------------------------------------


@page("/prices/calculator", title="Calculator", needs=("pricing.quote",))
def calculator(page: Page) -> Response:
    """A call that somebody describes, line by line."""
    asked = {name: page.query[name] for name in ("model", "provider", *COUNTED, *CHOSEN) if name in page.query}
    counts = any(name in asked for name in COUNTED)
    ready = "model" in asked and counts
    form = empty_form(OPERATIONS.named("pricing.quote"), asked)
    return page.render(
        "prices/calculator.html",
        form=form,
        counted=COUNTED,
        chosen=CHOSEN,
        few=_FEW,
        missing="How many tokens, or what else, does the call have?" if "model" in asked and not counts else "",
        quote=page.try_ask("pricing.quote", carry=tuple(asked)) if ready else None,
        why=page.try_ask("pricing.explain", carry=tuple(asked)) if ready else None,
    )


# --- lists and refreshes ---------------------------------------------------------------------------------------------


@page("/prices/lists", title="Price lists", needs=("prices.snapshots",))
def lists(page: Page) -> Response:
    """Which lists there are and were, and what changes from one to another."""
    return _lists(page)


@action("/prices/lists", needs="prices.refresh")
def refresh(page: Page) -> Response:
    """Try a refresh, or make it."""
    tries = _texts(page).get("do") != "take"
    done = page.submit("prices.refresh", limit=_MOVES, dry_run=tries)
    if done.answer is None or tries:
        return _lists(page, done.filled, done.answer)
    said = f"{done.answer['source']} {done.answer['version'][:16]} is {done.answer['outcome']}"
    return page.to(page.url("/prices/lists"), f"{said}: {done.answer['new_rows']} new, {done.answer['changed_rows']} changed rows.")


@action("/prices/lists/activate", needs="prices.activate")
def activate(page: Page) -> Response:
    """Make a stored list the active one again."""
    done = page.submit("prices.activate")
    if done.answer is None:
        return _lists(page, fault="; ".join(filter(None, [done.filled.fault, *(one.fault for one in done.filled.fields.values())])))
    return page.to(page.url("/prices/lists"), f"{done.answer['source']} {done.answer['version'][:16]} is active.")


def _lists(page: Page, filled: Filled | None = None, report: Json | None = None, fault: str = "") -> Response:
    compared = page.query.get("before") or page.query.get("after")
    form = filled or empty_form(OPERATIONS.named("prices.refresh"))
    return page.render(
        "prices/lists.html",
        status=400 if fault or (filled and report is None) else 200,
        book=page.ask("prices.status", carry=()),
        kept=page.ask("prices.snapshots", carry=("cursor",), limit=_ROWS),
        diff=page.try_ask("prices.diff", carry=("before", "after"), limit=_MOVES) if compared else None,
        form=form,
        report=report,
        fault=fault,
        refresh_from=page.context.settings.prices.refresh_from,
    )


def _texts(page: Page) -> Mapping[str, str]:
    return page.posted.texts if page.posted else {}
