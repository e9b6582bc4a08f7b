"""A cost tree as the rows of a page: lists within lists, opened where the money is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from otel_finops.operations.registry import Json

_OPEN_ALL: Final = 60
"""A tree of so few nodes is shown with all of them open."""
_OPEN_DEPTH: Final = 2
"""How deep a larger one is open, but for the path to what is looked at."""
_ALIKE_MAX: Final = 4
"""Siblings of one name that stand one by one; of more the dearest does, and the others are folded."""
_LEVELS_MAX: Final = 40
"""Lists within lists: what lies deeper stands at the last level. Browsers nest 512 elements, and a level has three."""
_BAR: Final = 64
"""Width of the bar of the whole, in pixels."""


class TreeRow(NamedTuple):
    """A node, or several that stand in one row: folded because they have the same name, or gathered because there is no room.

    Attributes:
        node: as `traces.show` has it; None for several.
        nodes, usd: how many those are, and what they cost with all that is below them.
        below: the span below which it was gathered; None: beside the first ones.
        name: which those have that were folded; empty for others.
        parent: it has rows below it.
        open: those are to be seen.
        closes: so many lists end behind it.
        marked: it lies on the path to what is looked at.
        chosen: it is what is looked at.
        own, rest: widths of the bars of what itself and what all below it cost, in pixels.
    """

    node: Json | None
    nodes: int = 0
    usd: str = "0"
    below: str | None = None
    name: str = ""
    parent: bool = False
    open: bool = False
    closes: int = 0
    marked: bool = False
    chosen: bool = False
    own: float = 0.0
    rest: float = 0.0


def dearest_path(nodes: Sequence[Json]) -> list[int]:
    """Positions from the dearest root down along the dearest child, to where a node itself costs more than anything below it."""
    path: list[int] = []
    children = [at for at, node in enumerate(nodes) if node["depth"] == nodes[0]["depth"]]
    own = Decimal(0)
    while children:
        at = max(children, key=lambda child: Decimal(nodes[child]["subtree_usd"]))
        if Decimal(nodes[at]["subtree_usd"]) <= own:
            break
        path.append(at)
        own = Decimal(nodes[at]["own_usd"] or 0)
        children = list(_children(nodes, at))
    return path


def path_to(nodes: Sequence[Json], span_id: str) -> list[int]:
    """Positions from the top down to a span; empty where it is not among the nodes."""
    at = next((at for at, node in enumerate(nodes) if node["span_id"] == span_id.lower()), None)
    if at is None:
        return []
    path = [at]
    for above in range(at - 1, -1, -1):
        if nodes[above]["depth"] < nodes[path[-1]]["depth"]:
            path.append(above)
    return path[::-1]


def _children(nodes: Sequence[Json], at: int) -> Iterator[int]:
    for child in range(at + 1, len(nodes)):
        if nodes[child]["depth"] <= nodes[at]["depth"]:
            return
        if nodes[child]["depth"] == nodes[at]["depth"] + 1:
            yield child


def tree_rows(shown: Json, path: Sequence[int]) -> list[TreeRow]:
    """The rows of a tree: of siblings the dearest first, many of one name folded into a row, and what was gathered behind them.

    Args:
        shown: the answer of `traces.show`, sorted by cost.
        path: positions of the nodes that lead to what is looked at, that one last.
    """
    nodes = shown["nodes"]
    families = _families(nodes)
    whole = sum((Decimal(nodes[at]["subtree_usd"]) for at in families.get(None, ())), Decimal(0))
    marked, chosen = frozenset(path), path[-1] if path else None
    steps = [step._replace(depth=min(step.depth, _LEVELS_MAX)) for step in _steps(shown, families, marked)]
    rows: list[TreeRow] = []
    for number, step in enumerate(steps):
        following = steps[number + 1].depth if number + 1 < len(steps) else 0
        made = step.row._replace(parent=following > step.depth, closes=max(0, step.depth - following))
        if step.at is not None:
            opened = len(nodes) <= _OPEN_ALL or step.depth < _OPEN_DEPTH or step.at in marked
            made = made._replace(open=opened, marked=step.at in marked, chosen=step.at == chosen, **_bars(nodes[step.at], whole))
        else:
            made = made._replace(**_bars({"own_usd": None, "subtree_usd": made.usd}, whole))
        rows.append(made)
    return rows


class _Step(NamedTuple):
    """A row at its depth; `at` is the position of its node, None for those that stand for several; `inside` is what they stand for."""

    depth: int
    row: TreeRow
    at: int | None = None
    inside: Sequence[int] = ()


def _families(nodes: Sequence[Json]) -> dict[int | None, list[int]]:
    """The positions right below each position, the dearest first; below None the topmost."""
    found: dict[int | None, list[int]] = {}
    above: list[int] = []
    for at, node in enumerate(nodes):
        while above and nodes[above[-1]]["depth"] >= node["depth"]:
            above.pop()
        found.setdefault(above[-1] if above else None, []).append(at)
        above.append(at)
    for children in found.values():
        children.sort(key=lambda at: -Decimal(nodes[at]["subtree_usd"]))
    return found


def _steps(shown: Json, families: Mapping[int | None, Sequence[int]], marked: Collection[int]) -> Iterator[_Step]:
    """All rows in the order of the page."""
    nodes = shown["nodes"]
    waiting = _below(shown, nodes, families.get(None, ()), marked, 0)
    while waiting:
        step = waiting.pop()
        yield step
        if step.at is not None:
            waiting += _below(nodes[step.at], nodes, families.get(step.at, ()), marked, step.depth + 1)
        else:
            waiting += [_Step(step.depth + 1, TreeRow(nodes[at]), at) for at in reversed(step.inside)]


def _below(parent: Json, nodes: Sequence[Json], children: Sequence[int], marked: Collection[int], depth: int) -> list[_Step]:
    """The rows right below a node, the last one first."""
    names = Counter(nodes[at]["name"] for at in children)
    folds: dict[str | None, list[int]] = {name: [] for name, count in names.items() if count > _ALIKE_MAX and depth < _LEVELS_MAX}
    first: set[str | None] = set()
    steps: list[_Step] = []
    for at in children:
        name = nodes[at]["name"]
        if name in folds and name in first and at not in marked:
            folds[name].append(at)
        else:
            first.add(name)
            steps.append(_Step(depth, TreeRow(nodes[at]), at))
    for name, inside in folds.items():
        usd = sum((Decimal(nodes[at]["subtree_usd"]) for at in inside), Decimal(0))
        steps.append(_Step(depth, TreeRow(None, len(inside), format(usd, "f"), name=name or "span"), None, inside))
    if "gathered" in parent:
        steps.append(_Step(depth, TreeRow(None, parent["gathered"]["nodes"], parent["gathered"]["usd"], parent.get("span_id"))))
    return steps[::-1]


def _bars(node: Json, whole: Decimal) -> dict[str, Any]:
    if not whole:
        return {}
    own, all_of_it = Decimal(node["own_usd"] or 0), Decimal(node["subtree_usd"])
    return {"own": round(float(_BAR * own / whole), 1), "rest": round(float(_BAR * (all_of_it - own) / whole), 1)}
