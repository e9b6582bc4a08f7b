"""A tree as an icicle: a row for each level, each node as wide as what it and everything below it cost, children below their parent."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from otel_finops.surfaces.ui.drawings.svg import FILL, MUTED, WHOLE, Tell, boxed, drawing, escaped, mark, nothing, rect, share
from otel_finops.surfaces.ui.formats import DEFAULT_LOCALE, count, money_of_pico

ROW: Final = 22
"""Height of a level, in pixels."""
_MORE_ROW: Final = 7
"""Height of what stands for everything below the last level."""
_NAMED_WIDTH: Final = 300
"""Narrower nodes have no room for a name: 36 of 1,200 pixels."""
MARKS_MAX: Final = 5_000
"""Drawn of one tree: beyond it nobody sees more, and the page gets slow; some 300 bytes each."""


class Slice(NamedTuple):
    """A node; a list of them is a tree in which every node is followed by those below it.

    Attributes:
        depth: its parent is the nearest before it with a lesser one; without such it is a root.
        name: data of whoever sent it.
        own: what itself costs or lasts.
        subtree: what it and everything below it do, those that are not in the list included; never less than the sum is drawn.
        colour: a class, one of `svg.PAINTS`.
        href: where it leads; None for nowhere.
        note: what else its title says.
        current: it is what the page looks at.
    """

    depth: int
    name: str
    own: int
    subtree: int
    colour: str = "c0"
    href: str | None = None
    note: str = ""
    current: bool = False


class Place(NamedTuple):
    """Where a node, or what was gathered, stands.

    Attributes:
        at: the node's position in the list; of what was gathered that of the parent, -1 for the roots'.
        level: 0 for roots.
        left, right: places of the width, see `svg.WHOLE`.
        size: what it stands for.
        gathered: how many nodes it stands for, 0 for a node itself.
        below: it stands for everything below its parent, since the last level is reached.
    """

    at: int
    level: int
    left: int
    right: int
    size: int
    gathered: int = 0
    below: bool = False


class _Shape(NamedTuple):
    """The tree by position: what each node stands for, where the list goes on after all that is below it, and the roots' sum."""

    sizes: list[int]
    ends: list[int]
    total: int


def icicle(
    slices: Sequence[Slice],
    label: str,
    *,
    tell: Tell = money_of_pico,
    locale: str = DEFAULT_LOCALE,
    levels: int = 40,
    narrowest: int = 20,
) -> Markup:
    """Draw a tree, or the part of one that its first node and those below it are.

    Args:
        slices: depth first.
        label: what the drawing shows.
        tell: writes amounts: of cost, or of time.
        levels: how many rows there are at most; what lies deeper is one thin mark that says how much it is.
        narrowest: nodes narrower than that, in hundredths of a per cent, are gathered as one "3 smaller".
    """
    shape = _shape(slices)
    places = list(_places(shape, levels, narrowest))
    drawn = sum(not place.gathered for place in places)
    said = f"{label}: {tell(shape.total)}"
    if drawn < len(slices):
        said += f"; {count(drawn, locale)} of {count(len(slices), locale)} spans are wide enough to be drawn"
    if not places:
        return nothing("icicle", said)
    height = max(_top(place) + _height(place) for place in places)
    parts = [_mark(place, slices, shape.total, tell, locale) for place in places]
    return drawing(parts, "icicle", said, height, leads=any(one.href is not None for one in slices))


def layout(slices: Sequence[Slice], levels: int = 40, narrowest: int = 20) -> list[Place]:
    """Where everything stands, level by level; arguments as of `icicle`."""
    return list(_places(_shape(slices), levels, narrowest))


def _shape(slices: Sequence[Slice]) -> _Shape:
    """Sums from the last node to the first. Amounts below zero have no width, and no parent is narrower than its children."""
    sizes, ends = [0] * len(slices), [0] * len(slices)
    below: list[tuple[int, int, int]] = []  # (depth, size, end) of what has no parent yet, the next node on top
    for at in range(len(slices) - 1, -1, -1):
        one = slices[at]
        size, end = max(0, one.own), at + 1
        while below and below[-1][0] > one.depth:
            _, child, child_end = below.pop()
            size, end = size + child, max(end, child_end)
        sizes[at], ends[at] = max(size, one.subtree), end
        below.append((one.depth, sizes[at], end))
    return _Shape(sizes, ends, sum(size for _, size, _ in below))


def _places(shape: _Shape, levels: int, narrowest: int) -> Iterator[Place]:
    """Level by level, so that what is left out when there are too many is what lies deepest."""
    waiting = deque([Place(-1, -1, 0, WHOLE, shape.total)])
    made = 0
    while waiting and made < MARKS_MAX:
        parent = waiting.popleft()
        for place in _children(shape, parent, levels, narrowest):
            made += 1
            yield place
            if not place.gathered and shape.ends[place.at] > place.at + 1:
                waiting.append(place)
            if made >= MARKS_MAX:
                break


def _children(shape: _Shape, parent: Place, levels: int, narrowest: int) -> Iterator[Place]:
    """Those wide enough, in their order, and after them the rest as one."""
    left, passed, small, gathered = parent.left, 0, 0, 0
    level, width, last = parent.level + 1, parent.right - parent.left, parent.level + 1 >= levels
    child, end = parent.at + 1, shape.ends[parent.at] if parent.at >= 0 else len(shape.ends)
    while child < end:
        size, following = shape.sizes[child], shape.ends[child]
        if not size:
            pass
        elif last or width * size // parent.size < narrowest:
            small, gathered = small + size, gathered + following - child
        else:
            passed += size
            right = parent.left + width * passed // parent.size
            yield Place(child, level, left, right, size)
            left = right
        child = following
    right = parent.left + width * (passed + small) // parent.size if small else left
    if right > left:
        yield Place(parent.at, level, left, right, small, gathered, below=last)


def _top(place: Place) -> int:
    return place.level * ROW


def _height(place: Place) -> int:
    return _MORE_ROW if place.below else ROW - 1


def _mark(place: Place, slices: Sequence[Slice], total: int, tell: Tell, locale: str) -> str:
    said = f"{escaped(tell(place.size))} ({share(place.size, total, locale)})"
    if place.gathered:
        words = f"{count(place.gathered, locale)} {'deeper' if place.below else 'smaller'}"
        return mark(_box(place, words), f"{words} · {said}", MUTED, None)
    one = slices[place.at]
    name = escaped(one.name)
    title = f"{name} · {said}"
    if 0 < one.own < place.size:
        title += f" · itself {escaped(tell(one.own))}"
    if one.note:
        title += f" · {escaped(one.note)}"
    return mark(_box(place, name), title, one.colour, one.href, current=one.current)


def _box(place: Place, name: str) -> str:
    if place.right - place.left < _NAMED_WIDTH or place.below:
        return rect(place.left, place.right, _top(place), _height(place))
    return boxed(place.left, place.right, _top(place), _height(place), f'{FILL}<text x="5" y="15">{name}</text>')
