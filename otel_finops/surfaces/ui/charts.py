"""What the console's script draws as series in time: operations' answers as the JSON that it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from otel_finops.base.times import NS_PER_SECOND, parse_ns


def seconds(instants: Sequence[str]) -> list[float]:
    """Instants as the chart's x values."""
    return [parse_ns(one) / NS_PER_SECOND for one in instants]


def trend_chart(trend: Mapping[str, Any], zone: str, opens: Sequence[str] = ()) -> dict[str, Any]:
    """The answer of `dashboard.trend`, stacked where it is split.

    Args:
        zone: IANA name of the time zone in which instants are written.
        opens: for each piece the path to which a click on it leads.
    """
    pieces = trend["pieces"]
    names = ["others" if line["others"] else line["name"] or "(none)" for line in trend["lines"]]
    if names:
        columns = [[float(piece["parts"][at]["cost_usd"]) for piece in pieces] for at in range(len(names))]
    else:
        names, columns = ["cost"], [[float(piece["cost_usd"]) for piece in pieces]]
    series = [
        {"name": name, "values": column, **({"color": "muted"} if name == "others" else {})}
        for name, column in zip(names, columns, strict=True)
    ]
    x = seconds([piece["from"] for piece in pieces])
    return {"x": x, "series": series, "unit": "money", "stacked": True, "zone": zone, "opens": list(opens), "zooms": True}
