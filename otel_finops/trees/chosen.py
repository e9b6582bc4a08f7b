"""Which nodes of a tree are told where not all of them are: the dearest, the longest, a part of it, or a page of it.

Nodes are places in the depth-first order here, so that what lies below one is the stretch behind it. Nothing recurses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Final, Literal, NamedTuple, TypeAlias

Sort: TypeAlias = Literal["tree", "cost", "duration"]


class Choice(NamedTuple):
    """What of a tree is told; sums cover all of it in any case.

    Attributes:
        sort: what comes first where there is no room for all: `tree` the first of the depth-first order, else those that cost most or last
            longest with what is below them, each with all that is above it.
        limit: how many nodes at most; None for as many as are ever told.
        skip: so many of the depth-first order come before the first.
        below: only this span and what lies below it.
        span: this one is told in any case, unless pages of the order are asked for.
    """

    sort: Sort = "tree"
    limit: int | None = None
    skip: int = 0
    below: str | None = None
    span: str | None = None


EVERYTHING: Final = Choice()


class Gathered(NamedTuple):
    """Nodes that are left out: how many, and what they cost."""

    nodes: int
    pico: int


class Told(NamedTuple):
    """What is told.

    Attributes:
        places: ascending.
        omitted: how many of the nodes that were asked for are left out.
        gathered: what is left out right below a place and deeper; that of None is left out beside the first ones.
    """

    places: Sequence[int]
    omitted: int
    gathered: Mapping[int | None, Gathered]


class Outline(NamedTuple):
    """A tree in depth-first order.

    Attributes:
        depths: of every place, 0 for roots.
        ends: where the stretch of each place ends.
    """

    depths: Sequence[int]
    ends: Sequence[int]

    def children(self, start: int, end: int) -> Iterator[int]:
        """The topmost places of a stretch."""
        while start < end:
            yield start
            start = self.ends[start]

    def above(self, place: int) -> Iterator[int]:
        """The places above one, the nearest first."""
        depth = self.depths[place]
        for at in range(place - 1, -1, -1):
            if self.depths[at] < depth:
                depth = self.depths[at]
                yield at
            if not depth:
                return


def outline_of(depths: Sequence[int]) -> Outline:
    """The outline of a tree by the depths of its order."""
    ends = [len(depths)] * len(depths)
    open_places: list[int] = []
    for place, depth in enumerate(depths):
        while len(open_places) > depth:
            ends[open_places.pop()] = place
        open_places.append(place)
    return Outline(depths, ends)


def choose(
    outline: Outline, choice: Choice, most: int, weights: Sequence[int], picos: Sequence[int], below: int | None, span: int | None
) -> Told:
    """Choose the places that are told.

    Args:
        most: how many there may ever be.
        weights: what each place and everything below it comes to, by what is sorted; not asked for where `sort` is `tree`.
        picos: what each costs with everything below it.
        below, span: the places of `choice.below` and `choice.span`.
    """
    limit = most if choice.limit is None else min(choice.limit, most)
    start, end = (0, len(outline.depths)) if below is None else (below, outline.ends[below])
    if choice.sort == "tree":
        places = range(min(end, start + choice.skip), min(end, start + choice.skip + limit))
        return Told(places, end - start - len(places), {})
    path: list[int] = []
    if span is not None and start <= span < end:
        path = _path(outline, span, start, limit)
        if outline.depths[path[-1]] > outline.depths[start]:  # too deep for all that is above it
            start, end = path[-1], outline.ends[path[-1]]
    kept = _greatest(outline, range(start, end), weights, limit, path)
    return Told(kept, end - start - len(kept), _gathered(outline, range(start, end), kept, picos))


def _path(outline: Outline, place: int, start: int, limit: int) -> list[int]:
    """A place and those above it as far as `start`, half of the limit at most."""
    path = [place]
    for above in outline.above(place):
        if above < start or len(path) >= max(1, limit // 2):
            break
        path.append(above)
    return path


def _greatest(outline: Outline, stretch: range, weights: Sequence[int], limit: int, path: Iterable[int]) -> list[int]:
    """The greatest places, ascending: a place is taken after those above it, and the path in any case."""
    kept = set(path)
    waiting = [(-weights[at], at) for at in outline.children(stretch.start, stretch.stop) if at not in kept]
    waiting += [(-weights[at], at) for place in kept for at in outline.children(place + 1, outline.ends[place]) if at not in kept]
    heapify(waiting)
    while waiting and len(kept) < limit:
        _, place = heappop(waiting)
        kept.add(place)
        for at in outline.children(place + 1, outline.ends[place]):
            heappush(waiting, (-weights[at], at))
    return sorted(kept)


def _gathered(outline: Outline, stretch: range, kept: Sequence[int], picos: Sequence[int]) -> dict[int | None, Gathered]:
    shown = set(kept)
    families: list[tuple[int | None, range]] = [(None, stretch), *((at, range(at + 1, outline.ends[at])) for at in kept)]
    found: dict[int | None, Gathered] = {}
    for parent, below in families:
        left = [at for at in outline.children(below.start, below.stop) if at not in shown]
        if left:
            found[parent] = Gathered(sum(outline.ends[at] - at for at in left), sum(picos[at] for at in left))
    return found
