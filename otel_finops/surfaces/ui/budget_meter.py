"""A budget as a bar."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from otel_finops.base.money import parse_usd
from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui import drawings
from otel_finops.surfaces.ui.formats import count, locale_of, money_of_pico
from otel_finops.surfaces.ui.page import Page


def budget_meter(page: Page, budget: Json) -> Markup:
    """What is booked, pending and reserved of a budget against its limit, with its thresholds."""
    locale = locale_of(page.request.headers.get("accept-language", ""))
    standing = budget["status"]
    spent, reserved, pending, limit = (_whole(standing[name], budget["kind"]) for name in ("booked", "reserved", "pending", "limit"))
    return drawings.meter(
        spent,
        reserved,
        pending,
        limit,
        budget["name"],
        state=standing["state"],
        marks=budget["thresholds"],
        tell=_teller(budget, locale),
        locale=locale,
    )


def _whole(amount: str, kind: str) -> int:
    """A limit's unit in whole numbers: pico, tokens or calls."""
    return parse_usd(amount) if kind == "money" else int(amount)


def _teller(budget: Json, locale: str) -> Callable[[int], str]:
    if budget["kind"] == "money":
        return lambda amount: money_of_pico(amount, budget["currency"], locale)
    return lambda amount: f"{count(amount, locale)} {budget['kind']}"
