"""What the console's script draws as series in time: operations' answers as the JSON that it takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from otel_finops.base.times import NS_PER_DAY, NS_PER_SECOND, parse_ns

_STEP_MARGIN_NS: Final = 30 * NS_PER_DAY
"""So much is drawn before the first change and after one that lies ahead."""


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
    return {"x": x, "series": series, "unit": "money", "stacked": True, "bars": True, "zone": zone, "opens": list(opens), "zooms": True}


def stacked_chart(rows: Sequence[tuple[str, str | None, str]], zone: str, most: int) -> dict[str, Any]:
    """Amounts by instant and name, stacked: the dearest names, and the rest together.

    Args:
        rows: (instant, name, amount) in any order.
        most: so many names at most.
    """
    sums: defaultdict[str, float] = defaultdict(float)
    for _, name, amount in rows:
        sums[name or "(none)"] += float(amount)
    shown = sorted(sums, key=lambda name: -sums[name])[:most]
    instants = sorted({instant for instant, _, _ in rows})
    places = {instant: at for at, instant in enumerate(instants)}
    lines = {name: [0.0] * len(instants) for name in [*shown, *(["others"] if len(sums) > most else [])]}
    for instant, name, amount in rows:
        said = name or "(none)"
        lines[said if said in lines else "others"][places[instant]] += float(amount)
    series = [{"name": name, "values": values} for name, values in lines.items()]
    return {"x": seconds(instants), "series": series, "unit": "money", "stacked": True, "bars": True, "zone": zone, "zooms": True}


def step_chart(begins: Sequence[str | None], lines: Mapping[str, Sequence[str | None]], zone: str, now_ns: int) -> dict[str, Any]:
    """Prices that hold from one moment to the next.

    Args:
        begins: when each holds, oldest first; None: always had. Some may lie ahead.
        lines: by name the amount of each time, None for none.
        now_ns: the present; the last amounts are drawn until then, or for a while where they begin later.
    """
    moments = [parse_ns(one) for one in begins if one is not None]
    margin = max(_STEP_MARGIN_NS, (max(moments) - min(moments)) // 10) if moments else _STEP_MARGIN_NS
    first, last = min([*moments, now_ns]) - margin, max([now_ns, *(moment + margin for moment in moments if moment > now_ns)])
    starts = [first if one is None else parse_ns(one) for one in begins]
    ends = [*(start - NS_PER_SECOND for start in starts[1:]), last]
    x = [edge / NS_PER_SECOND for pair in zip(starts, ends, strict=True) for edge in pair]
    series = [
        {"name": name, "values": [None if amount is None else float(amount) for amount in amounts for _ in (0, 1)]}
        for name, amounts in lines.items()
    ]
    return {"x": x, "series": series, "unit": "money", "zone": zone}
