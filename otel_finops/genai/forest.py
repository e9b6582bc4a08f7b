"""The spans of a neighbourhood as trees: parents, depth-first order, depth; safe against everything a sender can send.

Missing parents make roots; a cycle (a self-parent is one) is cut at its smallest span. Nothing here recurses, so depth is
bounded by memory alone, and everything is linear in the number of spans.
"""

from __future__ import annotations

from collections.abc import Iterable

from otel_finops.genai.sighting import Sighting, SpanKey

NO_PARENT = -1


class Forest:
    """Spans in the order of their keys, so that whatever is derived from their numbers cannot depend on arrival.

    Attributes:
        sightings: one per span, sorted by key; all other lists run parallel to it.
        parent: number of the parent, `NO_PARENT` for roots, orphans and where a cycle was cut.
        order: all numbers, depth first, parents before children.
        position: place of each span in `order`.
        last: greatest position within the span's subtree.
        depth: how many ancestors the span has.
    """

    __slots__ = ("depth", "last", "order", "parent", "position", "sightings")

    def __init__(self, sightings: Iterable[Sighting]) -> None:
        by_key = _one_per_span(sightings)
        keys = sorted(by_key)
        self.sightings: list[Sighting] = [by_key[key] for key in keys]
        number = {key: i for i, key in enumerate(keys)}
        self.parent: list[int] = [
            number.get((s.trace_id, s.parent_span_id), NO_PARENT) if s.parent_span_id else NO_PARENT for s in self.sightings
        ]
        self.order: list[int] = []
        self.position: list[int] = [-1] * len(keys)
        self._walk()
        self.depth: list[int] = [0] * len(keys)
        self.last: list[int] = self.position.copy()
        self._measure()

    def is_above(self, upper: int, lower: int) -> bool:
        """Whether `upper` is a strict ancestor of `lower`."""
        return self.position[upper] < self.position[lower] <= self.last[upper]

    def _walk(self) -> None:
        children: dict[int, list[int]] = {}
        for child, parent in enumerate(self.parent):
            children.setdefault(parent, []).append(child)
        self._descend(children.get(NO_PARENT, ()), children)
        if len(self.order) < len(self.parent):
            for start in range(len(self.parent)):
                if self.position[start] < 0:
                    cut = self._cut_cycle(start)
                    self._descend((cut,), children)

    def _descend(self, roots: Iterable[int], children: dict[int, list[int]]) -> None:
        order, position = self.order, self.position
        stack = list(roots)
        stack.reverse()
        while stack:
            node = stack.pop()
            if position[node] >= 0:  # where a cycle was cut its old parent still lists it
                continue
            position[node] = len(order)
            order.append(node)
            below = children.get(node)
            if below is not None:
                stack.extend(reversed(below))

    def _cut_cycle(self, start: int) -> int:
        """Make the smallest span of the cycle above `start` a root; every unvisited span has one above it."""
        seen: set[int] = set()
        node = start
        while node not in seen:
            seen.add(node)
            node = self.parent[node]
        smallest, at = node, self.parent[node]
        while at != node:
            smallest = min(smallest, at)
            at = self.parent[at]
        self.parent[smallest] = NO_PARENT
        return smallest

    def _measure(self) -> None:
        parent, depth, last = self.parent, self.depth, self.last
        for node in self.order:
            above = parent[node]
            if above >= 0:
                depth[node] = depth[above] + 1
        for node in reversed(self.order):
            above = parent[node]
            if above >= 0 and last[node] > last[above]:
                last[above] = last[node]


def _one_per_span(sightings: Iterable[Sighting]) -> dict[SpanKey, Sighting]:
    """Repetitions fall away; of two versions of a span the one that the journal would keep stays (design 1, step 5)."""
    by_key: dict[SpanKey, Sighting] = {}
    for sighting in sightings:
        key = sighting.trace_id, sighting.span_id
        known = by_key.setdefault(key, sighting)
        if known is not sighting and known != sighting:
            by_key[key] = max(known, sighting, key=_version)
    return by_key


def _version(sighting: Sighting) -> tuple[int, int, str]:
    return sighting.end_ns, sighting.usage.get("output", 0), repr(sighting)
