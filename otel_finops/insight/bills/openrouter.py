"""OpenRouter's activity: one row a day, model and endpoint, in USD."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from otel_finops.base.errors import BadInput
from otel_finops.base.times import NS_PER_DAY, parse_ns
from otel_finops.insight.bills.line import Bill, BillLine, Builder

PROVIDER: Final = "openrouter"
ACTIVITY: Final = "openrouter_activity"
_NEEDED: Final = ("date", "model", "usage", "requests")


def recognises(row: Mapping[str, Any]) -> bool:
    """Whether a row is one of it."""
    return all(name in row for name in _NEEDED)


def read(name: str, rows: Iterable[Mapping[str, Any]]) -> Bill:
    """Read rows; those that were paid with keys of one's own cost what OpenRouter took for them.

    Raises:
        BadInput: a value that can be none.
    """
    builder = Builder(name, exact=True)
    builder.in_currency("USD")
    for number, row in enumerate(rows, 1):
        where = f"{name}, row {number}"
        if not recognises(row):
            raise BadInput(f"{where}: needs {', '.join(_NEEDED)}")
        try:
            start = parse_ns(str(row["date"])[:10])
        except ValueError:
            raise BadInput(f"{where}: date is none") from None
        times, model = (start, start + NS_PER_DAY), str(row.get("model_permaslug") or row["model"])
        amount = builder.money(row["usage"], f"{where}, usage")
        requests = builder.count(row["requests"], f"{where}, requests")
        builder.add(BillLine(*times, model, "", "usage", amount, None, requests))
        for key, unit in (("prompt_tokens", "prompt"), ("completion_tokens", "completion")):
            if count := builder.count(row.get(key), f"{where}, {key}"):
                builder.add(BillLine(*times, model, unit, quantity=count))
    return builder.built(ACTIVITY, PROVIDER, "cost")
