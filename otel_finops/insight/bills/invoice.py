"""Any table with a header: a column mapping says what its columns are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from otel_finops.base.errors import BadInput
from otel_finops.base.times import NS_PER_DAY, month_end_ns, parse_ns
from otel_finops.insight.bills.line import UNITS, Bill, BillLine, Builder
from otel_finops.insight.bills.rows import Row, Table

CSV: Final = "csv"
_SINGLE: Final = ("date", "to", "model", "amount", "currency", "requests", "unit", "quantity", "category")
FIELDS: Final = (*_SINGLE, *sorted(UNITS - {"", "requests"}))
"""What a column can be: one of these, or a count of a unit."""
_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "date": ("date", "day", "usage_date", "start", "start_date", "from", "period", "month"),
    "to": ("to", "end", "end_date"),
    "model": ("model", "model_id", "model_name"),
    "amount": ("amount", "cost", "total", "cost_usd", "amount_usd", "total_usd", "usd"),
    "currency": ("currency",),
    "requests": ("requests", "calls", "num_requests", "num_model_requests", "request_count"),
    "category": ("category", "type"),
    "unit": ("unit",),
    "quantity": ("quantity",),
    "prompt": ("prompt_tokens", "input_tokens", "tokens_input", "tokens_prompt"),
    "completion": ("completion_tokens", "output_tokens", "tokens_output", "tokens_completion"),
    "cache_read": ("cache_read_tokens", "cached_tokens", "cache_read_input_tokens"),
    "tokens": ("tokens", "total_tokens"),
}
"""Headers, in lower case with underscores, that say by themselves what a column is."""
_MONTH: Final = re.compile(r"\d{4}-\d{2}")
_OTHERS: Final = frozenset({"fee", "fees", "tax", "taxes", "credit", "credits", "discount", "purchase", "adjustment", "refund", "other"})
_GROUPED: Final = re.compile(r"-?\d{1,3}(\.\d{3})+(,\d+)?|-?\d+(,\d+)?")


def read(name: str, table: Table, mapping: Mapping[str, str], currency: str | None, decimal_comma: bool) -> Bill:
    """Read the rows.

    Args:
        mapping: the column of each of `FIELDS` that there is; what it leaves out is found by its header.
        currency: of rows that do not say; None for USD.
        decimal_comma: numbers are written 1.234,56.

    Raises:
        BadInput: a field or column that there is not, or a value that can be none.
    """
    columns = _columns(name, table.columns, mapping)
    builder = Builder(name)
    if "currency" not in columns:
        builder.in_currency(currency or "USD")
    for number, row in table.rows:
        _take(builder, {field: row[column] for field, column in columns.items()}, f"{name}, line {number}", decimal_comma)
    return builder.built(CSV, None, "cost" if "amount" in columns else "usage.calls")


def _columns(name: str, headers: Sequence[str], mapping: Mapping[str, str]) -> dict[str, str]:
    for field, column in mapping.items():
        if field not in FIELDS:
            raise BadInput(f"mapping: {field[:40]!r} is none of {', '.join(FIELDS)}")
        if column not in headers:
            raise BadInput(f"mapping: {name} has no column {column[:60]!r}; it has {', '.join(headers)[:500]}")
    plain = {re.sub(r"[^a-z0-9]+", "_", header.lower()).strip("_"): header for header in headers}
    taken = set(mapping.values())
    found = dict(mapping)
    for field, names in _HEADERS.items():
        free = [plain[one] for one in names if one in plain and plain[one] not in taken]
        if field not in found and free:
            found[field] = free[0]
            taken.add(free[0])
    if "date" not in found or not found.keys() - {"date", "to", "model", "currency", "category", "unit"}:
        raise BadInput(
            f"{name}: no column says the date, or none an amount or a count; say which by `mapping`, e.g. "
            '{"date": "Usage day", "model": "Product", "amount": "Total"}; its columns are ' + ", ".join(headers)[:500]
        )
    return found


def _take(builder: Builder, row: Row, where: str, decimal_comma: bool) -> None:
    def number(field: str) -> Any:
        value = row.get(field)
        return _dotted(value, where) if decimal_comma and isinstance(value, str) else value

    if row.get("currency"):
        builder.in_currency(str(row["currency"]))
    times, model = _times(row, where), str(row.get("model") or "")
    other = str(row.get("category") or "").strip().lower() in _OTHERS
    amount = builder.money(number("amount"), f"{where}, amount") if row.get("amount") not in (None, "") else None
    if other:
        builder.add(BillLine(*times, category="other", amount=amount))
        return
    unit = _unit(str(row.get("unit") or ""), where)
    quantity = builder.count(number("quantity"), f"{where}, quantity") if unit else None
    builder.add(BillLine(*times, model, unit, "usage", amount, quantity, builder.count(number("requests"), f"{where}, requests")))
    for field in row.keys() - set(_SINGLE):
        if count := builder.count(number(field), f"{where}, {field}"):
            builder.add(BillLine(*times, model, field, quantity=count))


def _unit(text: str, where: str) -> str:
    if text not in UNITS:
        raise BadInput(f"{where}: unit {text[:40]!r} is none of {', '.join(sorted(UNITS - {''}))}")
    return text


def _dotted(text: str, where: str) -> str:
    text = text.strip()
    if text and not _GROUPED.fullmatch(text):
        raise BadInput(f"{where}: {text[:40]!r} is no number with a decimal comma")
    return text.replace(".", "").replace(",", ".")


def _times(row: Row, where: str) -> tuple[int, int]:
    """From the row's date to its end; a month without an end is that month, a date that day."""
    text = str(row.get("date") or "").strip()
    try:
        if _MONTH.fullmatch(text):
            start = parse_ns(f"{text}-01")
            end = month_end_ns(start)
        else:
            start = parse_ns(text)
            end = start - start % NS_PER_DAY + NS_PER_DAY
        return start, parse_ns(str(row["to"]).strip()) if row.get("to") else end
    except (ValueError, OverflowError):
        raise BadInput(f"{where}: {text[:40]!r} is no date; write 2026-11-21, or 2026-11 for a month") from None
