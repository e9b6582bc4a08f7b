"""How what-if and routing look: the verdict first, then the candidates in a table, then what the figures do not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from otel_finops.surfaces.cli.render_dashboard import percent
from otel_finops.surfaces.cli.tables import draw_rows, plain
from otel_finops.surfaces.cli.texts import safe

_CANDIDATES: Final = (
    "model", "verdict", "score", "projected_usd", "saved_usd", "usd_per_call", "usd_per_success", "front", "source",
)  # fmt: skip
_RECORDED: Final = ("model", "calls", "booked_usd", "usd_per_call", "score", "usd_per_success")
_MODELS: Final = ("model", "calls", "booked_usd", "list_usd", "projected_usd", "saved_usd")


def simulated(console: Console, answer: Mapping[str, Any]) -> None:
    """Which model a rule comes to."""
    console.print(Text(safe(answer["says"]), "bold"))
    draw_rows(console, list(map(_candidate, answer["candidates"])), _CANDIDATES)
    if answer["recorded"]:
        console.print(Text("recorded", "bold"))
        draw_rows(console, list(map(_scored, answer["recorded"])), _RECORDED)
    plain(console, {**answer, "candidates": None, "recorded": None, "says": None})


def compared(console: Console, answer: Mapping[str, Any]) -> None:
    """What calls would have cost otherwise."""
    share = "" if answer["saved_share"] is None else f", {percent(answer['saved_share'])} of what was booked"
    console.print(Text(f"{answer['saved_usd']} USD saved{share}, over {answer['calls']} calls", "bold"))
    if answer["models"]:
        draw_rows(console, list(map(_named, answer["models"])), _MODELS)
    plain(console, {**answer, "models": None, "saved_usd": None, "saved_share": None, "calls": None})


def _candidate(one: Mapping[str, Any]) -> dict[str, Any]:
    quality = one["quality"] or {}
    verdict = one["verdict"].replace("_", " ") + (" (uncertain)" if one["uncertain"] else "")
    return {**_scored(one), "verdict": verdict, "front": one["on_front"], "source": quality.get("source")}


def _scored(one: Mapping[str, Any]) -> dict[str, Any]:
    quality = one["quality"]
    return {**_named(one), "score": None if quality is None else quality["score"]}


def _named(one: Mapping[str, Any]) -> dict[str, Any]:
    """With the provider in front of the model, where it is known."""
    parts = [one["provider"], one["model"]]
    return {**one, "model": "/".join(part for part in parts if part) or None}
