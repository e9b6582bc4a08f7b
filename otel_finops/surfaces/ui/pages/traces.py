"""Traces by what they cost, and one of them: which step of which agent it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, Final

from starlette.responses import Response

from otel_finops.base.errors import BadInput
from otel_finops.base.times import NS_PER_MS, parse_ns
from otel_finops.operations.registry import Json
from otel_finops.surfaces.ui.calls import call_facts
from otel_finops.surfaces.ui.drawings import KINDS, cost_slices, icicle, time_slices, waterfall, waterfall_rows
from otel_finops.surfaces.ui.drawings.waterfall import Window
from otel_finops.surfaces.ui.formats import duration_ns, locale_of
from otel_finops.surfaces.ui.page import Page, page
from otel_finops.surfaces.ui.tree_rows import dearest_path, path_to, tree_rows

SORTS: Final = {"cost": "Cost", "calls": "Calls", "tokens": "Tokens", "started": "Newest"}
_ROWS: Final = 50

VIEWS: Final = {"tree": "Cost tree", "icicle": "Icicle", "waterfall": "Waterfall", "totals": "Totals"}
BY: Final = {"cost": "By cost", "time": "By time"}
NODES_SHOWN: Final = 200
"""Of a tree and of a page of a waterfall: more rows are not read, and take seconds to lay out."""
NODES_DRAWN: Final = 2_000
"""Of an icicle: more are narrower than what is drawn."""
_ABOVE_MAX: Final = 64
"""Of a call that is shown alone: so many nodes are read to find the run that it lies in."""


@page("/traces", title="Traces", group="Agents", needs=("traces.search",))
def traces(page: Page) -> Response:
    """Search, the dearest first."""
    found = page.ask("traces.search", limit=_ROWS)
    return page.render(
        "traces/traces.html",
        window=page.window(),
        found=found,
        sorts=SORTS,
        sort=page.query.get("sort", "cost"),
        most=max((float(one["cost_usd"]) for one in found["traces"]), default=0.0),
    )


@page("/traces/{trace_id}", title="Trace", needs=("traces.show",))
def trace(page: Page) -> Response:
    """One trace in one of four views, and beside it the call that is looked at: the dearest path's end, unless another is chosen."""
    trace_id = page.path["trace_id"]
    if page.is_partial and "span" in page.query:
        return _call_alone(page, trace_id)
    view, by = _one_of(page, "view", VIEWS), _one_of(page, "by", BY)
    shown = page.ask("traces.show", carry=("below",), trace_id=trace_id, **_nodes_asked(page, view, by))
    nodes = shown["nodes"]
    path = path_to(nodes, page.query["span"]) if "span" in page.query else dearest_path(nodes)
    chosen = _chosen(page, trace_id, nodes, path, view)
    return page.render(
        "traces/trace.html",
        trace=shown,
        outcomes=page.try_ask("outcomes.list", carry=(), trace_id=trace_id, limit=10).value if page.can("outcomes.list") else None,
        view=view,
        views=VIEWS,
        by=by,
        ways=BY,
        kinds=KINDS,
        step=_dearest_step(shown),
        call=chosen,
        most=NODES_SHOWN,
        **_VIEWS[view](page, shown, path, by),
    )


def _one_of(page: Page, name: str, choices: Mapping[str, str]) -> str:
    chosen = page.query.get(name, next(iter(choices)))
    if chosen not in choices:
        raise BadInput(f"{name}: must be one of {', '.join(choices)}")
    return chosen


def _nodes_asked(page: Page, view: str, by: str) -> dict[str, Any]:
    """Which nodes a view shows; the waterfall has pages of all of them too."""
    span = page.query.get("span")
    if view == "totals":
        return {"sort": "cost", "span": span, "limit": _ABOVE_MAX}
    if view == "icicle":
        return {"sort": "duration" if by == "time" else "cost", "span": span, "limit": NODES_DRAWN}
    if view == "waterfall" and "skip" in page.query:
        return {"sort": "tree", "skip": page.query["skip"], "limit": NODES_SHOWN}
    return {"sort": "cost", "span": span, "limit": NODES_SHOWN}


def _chosen(page: Page, trace_id: str, nodes: Sequence[Json], path: Sequence[int], view: str) -> Json | None:
    """What is shown beside the view; a span that is on another page of the waterfall is read by itself."""
    if path and (view != "totals" or "span" in page.query):
        return call_facts(page, trace_id, nodes, path)
    if "span" in page.query:
        return _read_alone(page, trace_id)
    return None


def _call_alone(page: Page, trace_id: str) -> Response:
    """The part of the page that a script puts in place."""
    return page.render("traces/call.html", call=_read_alone(page, trace_id), trace_id=trace_id)


def _read_alone(page: Page, trace_id: str) -> Json:
    span = page.query["span"]
    nodes = page.ask("traces.show", carry=(), trace_id=trace_id, sort="cost", span=span, limit=_ABOVE_MAX)["nodes"]
    return call_facts(page, trace_id, nodes, path_to(nodes, span))


def _dearest_step(shown: Json) -> Json | None:
    """The step that the money went into, where there are several."""
    steps = [step for step in shown["steps"] if step["step"] or step["agent"]]
    return max(steps, key=lambda step: Decimal(step["usd"]), default=None) if len(shown["steps"]) > 1 else None


# --- views -----------------------------------------------------------------------------------------------------------


def _tree(page: Page, shown: Json, path: Sequence[int], by: str) -> dict[str, Any]:
    return {"rows": tree_rows(shown, path)}


def _icicle(page: Page, shown: Json, path: Sequence[int], by: str) -> dict[str, Any]:
    nodes = shown["nodes"]
    locale = _locale(page)
    made = (time_slices if by == "time" else cost_slices)(nodes, partial(_link, page))
    top = nodes[0]["depth"] if nodes else 0
    current = path[-1] if path else None
    slices = [
        one._replace(depth=node["depth"] - top, current=at == current) for at, (one, node) in enumerate(zip(made, nodes, strict=True))
    ]
    if by == "time":
        return {"drawing": icicle(slices, "Working time", tell=lambda value: duration_ns(value, locale), locale=locale)}
    return {"drawing": icicle(slices, "Cost", locale=locale)}


def _waterfall(page: Page, shown: Json, path: Sequence[int], by: str) -> dict[str, Any]:
    nodes = shown["nodes"]
    top = min((node["depth"] for node in nodes), default=0)
    made = waterfall_rows(nodes, partial(_link, page))
    current = path[-1] if path else None
    rows = [row._replace(depth=node["depth"] - top, current=at == current) for at, (row, node) in enumerate(zip(made, nodes, strict=True))]
    start = parse_ns(shown["started_at"])
    window = Window(start, start + round(shown["duration_ms"] * NS_PER_MS))
    return {"drawing": waterfall(rows, "Course in time", window=window, locale=_locale(page)), "skip": int(page.query.get("skip", "0"))}


def _totals(page: Page, shown: Json, path: Sequence[int], by: str) -> dict[str, Any]:
    return {"steps": sorted(shown["steps"], key=lambda step: -Decimal(step["usd"]))}


_VIEWS: Final = {"tree": _tree, "icicle": _icicle, "waterfall": _waterfall, "totals": _totals}


def _link(page: Page, span_id: str) -> str:
    return page.here(span=span_id)


def _locale(page: Page) -> str:
    return locale_of(page.request.headers.get("accept-language", ""))
