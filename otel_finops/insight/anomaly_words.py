"""An anomaly in words and figures that people read: its drivers as JSON values, and one sentence on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from otel_finops.base.money import PICO_PER_USD, divide_half_even, format_usd, parse_usd
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.insight.drivers import PROMPT, Detail, Driver, Kind

_DIGITS: Final = 6
"""Digits behind the point of ratios that are no money."""
_NAMES: Final[Mapping[str, str]] = {
    "new_tenant": "a new tenant",
    "new_agent": "a new agent",
    "new_model": "a new model",
    "volume": "volume",
    "model_mix": "the mix of models",
    "price": "prices",
    "tokens_per_call": "tokens per call",
    "cache_hits": "lost cache hits",
    "unknown": "calls that are not kept any more",
}
_SCOPES: Final[Mapping[str, str]] = {"model": "model", "agent": "agent", "cost_center": "cost centre"}


def drivers_json(drivers: Iterable[Driver]) -> list[dict[str, Any]]:
    """Drivers as JSON values: money and ratios as plain decimal strings, names that are not known as null."""
    return [
        {"kind": one.kind, "amount_usd": format_usd(one.amount), "details": [_detail(one.kind, part) for part in one.details]}
        for one in drivers
    ]


def _detail(kind: Kind, part: Detail) -> dict[str, Any]:
    said = [_ratio(kind, value) for value in (part.before, part.after)]
    names = {name: value or None for name, value in part.cell._asdict().items()}
    return {
        "amount_usd": format_usd(part.amount), **names, "unit": part.unit or None, "before": said[0], "after": said[1],
        "text": _text(kind, part, *said),
    }  # fmt: skip


def _ratio(kind: Kind, value: Fraction | None) -> str | None:
    if value is None:
        return None
    if kind == "price":
        return format_usd(divide_half_even(value.numerator, value.denominator))
    return _decimal(value)


def _decimal(value: Fraction) -> str:
    scaled = divide_half_even(value.numerator * 10**_DIGITS, value.denominator)
    return format_usd(scaled * (PICO_PER_USD // 10**_DIGITS))


def _text(kind: Kind, part: Detail, before: str | None, after: str | None) -> str:
    whose, model = _whose(part), part.cell.model or "an unknown model"
    if before is None or after is None:
        return f"{whose}: {_NAMES[kind]}"
    if kind == "price":
        return f"{part.cell.provider or 'unknown'}/{model}: {after} USD instead of {before} USD for {_unit(part.unit)}"
    if kind == "tokens_per_call":
        return f"{whose}, {model}: {_short(part.after)} {_unit(part.unit)} a call instead of {_short(part.before)}"
    if kind == "cache_hits":
        return f"{whose}, {model}: {_percent(part.after)} of the prompt read from the cache instead of {_percent(part.before)}"
    calls = f"{_short(part.after)} calls instead of {_short(part.before)}"
    return f"{whose}: {calls}" if kind in ("volume", "new_agent", "new_tenant") else f"{whose}: {calls} of {model}"


def _whose(part: Detail) -> str:
    agent = f"agent {part.cell.agent}" if part.cell.agent else ""
    tenant = f"tenant {part.cell.tenant}" if part.cell.tenant else ""
    return ", ".join(one for one in (agent, tenant) if one) or "all agents"


def _unit(unit: str) -> str:
    return "prompt tokens" if unit == PROMPT else unit.replace("_", " ")


def _short(value: Fraction | None) -> str:
    """A count as people say it: whole ones from ten on, below with a digit behind the point."""
    assert value is not None
    if value >= 10:
        return f"{divide_half_even(value.numerator, value.denominator):,}"
    return format_usd(divide_half_even(value.numerator * 10, value.denominator) * (PICO_PER_USD // 10))


def _percent(value: Fraction | None) -> str:
    assert value is not None
    return f"{divide_half_even(value.numerator * 100, value.denominator)} %"


def said_of(kind: str, tenant: str, name: str) -> str:
    """A scope as people say it."""
    whose = "" if tenant == ANY_TENANT else f" of tenant {tenant}"
    return f"the {_SCOPES[kind]} {name}{whose}" if kind in _SCOPES else ("everything" if kind == "global" else f"tenant {tenant}")


def sentence(value: int, expected: int, drivers: Sequence[Mapping[str, Any]] | None) -> str:
    """What was spent, what would have been usual, and what drives the difference, in one or two sentences."""
    first = f"{_cents(value)} USD where {_cents(expected)} USD would have been usual."
    driver = next((one for one in drivers or () if not one["amount_usd"].startswith("-") and one["amount_usd"] != "0"), None)
    if driver is None:
        return first
    details = driver["details"]
    most = f": {details[0]['text']}" if details else ""
    return f"{first} {_cents(parse_usd(driver['amount_usd']))} USD of the difference are due to {_NAMES[driver['kind']]}{most}."


def _cents(pico: int) -> str:
    """To the cent, smaller amounts to the third digit that is not zero."""
    if abs(pico) >= PICO_PER_USD // 10:
        return format_usd(divide_half_even(pico, PICO_PER_USD // 100) * (PICO_PER_USD // 100))
    unit = 10 ** max(0, len(str(abs(pico))) - 3)
    return format_usd(divide_half_even(pico, unit) * unit)
