"""The nodes that `traces.show` answers, as the icicle and the waterfall take them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from otel_finops.base.money import parse_usd
from otel_finops.base.times import NS_PER_MS, parse_ns
from otel_finops.surfaces.ui.drawings.icicle import Slice
from otel_finops.surfaces.ui.drawings.svg import MUTED
from otel_finops.surfaces.ui.drawings.waterfall import Row

Node: TypeAlias = Mapping[str, Any]
"""One of `nodes`, see `operations.traces.TraceNode`."""
Link: TypeAlias = Callable[[str], str | None]
"""Where a span's mark leads, by its id."""

KINDS: Final = {"call": "c0", "agent": "c2", "workflow": "c5", "tool": "c1", "other": MUTED}
"""The colour of each kind of span, for legends too."""


def depths(nodes: Sequence[Node]) -> list[int]:
    """How deep each node lies: the nodes come depth first, so the parent is the nearest open one of that id; without one it is a root."""
    found: list[int] = []
    path: list[str] = []
    standing: dict[str, list[int]] = {}  # where an id stands on the path: senders of different tokens may use one twice
    for node in nodes:
        places = standing.get(node["parent_span_id"] or "")
        depth = places[-1] + 1 if places else 0
        while len(path) > depth:
            standing[path.pop()].pop()
        standing.setdefault(node["span_id"], []).append(depth)
        path.append(node["span_id"])
        found.append(depth)
    return found


def below(deep: Sequence[int], at: int) -> range:
    """The positions of a node and of everything below it, for a drawing of this part alone."""
    end = at + 1
    while end < len(deep) and deep[end] > deep[at]:
        end += 1
    return range(at, end)


def cost_slices(nodes: Sequence[Node], link: Link = lambda _: None) -> list[Slice]:
    """As wide as what they cost, in pico-USD."""
    return [
        Slice(
            depth, _name(node), _pico(node["own_usd"]), _pico(node["subtree_usd"]), KINDS[node["kind"]], link(node["span_id"]), _note(node)
        )
        for node, depth in zip(nodes, depths(nodes), strict=True)
    ]


def time_slices(nodes: Sequence[Node], link: Link = lambda _: None) -> list[Slice]:
    """As wide as the nanoseconds that they work: a span itself while none of its children does, so that a whole is the sum of its parts.
    Children that work at the same time are beside each other, so a subtree can be longer than the clock says."""
    deep = depths(nodes)
    own = _own_times(nodes, deep)
    return [
        Slice(depth, _name(node), itself, itself, KINDS[node["kind"]], link(node["span_id"]), _note(node))
        for node, depth, itself in zip(nodes, deep, own, strict=True)
    ]


def waterfall_rows(nodes: Sequence[Node], link: Link = lambda _: None) -> list[Row]:
    """From when to when, with what each itself is charged."""
    return [
        Row(
            depth,
            _name(node),
            parse_ns(node["started_at"]),
            None if node["duration_ms"] is None else _nanoseconds(node),
            None if node["own_usd"] is None else parse_usd(node["own_usd"]),
            KINDS[node["kind"]],
            link(node["span_id"]),
            _note(node),
        )
        for node, depth in zip(nodes, depths(nodes), strict=True)
    ]


def _own_times(nodes: Sequence[Node], deep: Sequence[int]) -> list[int]:
    """Each node's length less the time in which a child of it runs. Siblings come by start, so one instant is enough to know what is
    covered so far."""
    own: list[int] = []
    path: list[list[int]] = []  # [position, end, covered up to] of the nodes that lie above
    for at, (node, depth) in enumerate(zip(nodes, deep, strict=True)):
        del path[depth:]
        start = parse_ns(node["started_at"])
        end = start + max(0, _nanoseconds(node))
        own.append(end - start)
        if path:
            parent, parent_end, covered = path[-1]
            begins, ends = max(start, covered), min(end, parent_end)
            own[parent] -= max(0, ends - begins)
            path[-1][2] = max(covered, ends)
        path.append([at, end, start])
    return own


def _nanoseconds(node: Node) -> int:
    return round((node["duration_ms"] or 0) * NS_PER_MS)


def _pico(amount: str | None) -> int:
    return parse_usd(amount) if amount else 0


def _name(node: Node) -> str:
    return str(node["name"] or f"span {node['span_id']}")


def _note(node: Node) -> str:
    """Whose it is, and what the tree says about it."""
    return " · ".join(text for text in (node["agent"], node["step"], *node["notes"]) if text)
