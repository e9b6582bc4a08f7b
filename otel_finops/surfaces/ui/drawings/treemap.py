"""Two levels of amounts as areas: groups, and in each its tiles, as near to squares as they can be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from otel_finops.surfaces.ui.drawings.svg import FILL, MUTED, WHOLE, Tell, boxed, drawing, escaped, mark, nothing, share
from otel_finops.surfaces.ui.formats import DEFAULT_LOCALE, money_of_pico

GROUPS_MAX: Final = 20
TILES_MAX: Final = 50
"""In a group; what is beyond either is gathered as one: smaller areas are not told apart."""
_NOMINAL_WIDTH: Final = 1_000
"""Pixels that a drawing is taken to be wide when tiles are made square; it is as wide as its place on the page in fact."""


class Tile(NamedTuple):
    """A part of a group; amounts of zero and less have no area and are left out."""

    name: str
    value: int
    href: str | None = None


class Group(NamedTuple):
    """Tiles of one colour (a class, one of `svg.PAINTS`)."""

    name: str
    tiles: Sequence[Tile]
    colour: str = "c0"


class Box(NamedTuple):
    """An area by its edges."""

    left: float
    top: float
    right: float
    bottom: float


class PlacedTile(NamedTuple):
    """A tile with its group and its area: places of the width (`svg.WHOLE`), and tenths of pixels down."""

    group: Group
    tile: Tile
    first: bool
    left: int
    top: int
    right: int
    bottom: int


def treemap(groups: Sequence[Group], label: str, *, height: int = 360, tell: Tell = money_of_pico, locale: str = DEFAULT_LOCALE) -> Markup:
    """Draw groups, the greatest first; each one's name stands on its greatest tile."""
    places = layout(groups, height)
    total = sum(_worth(group) for group in groups)
    said = f"{label}: {tell(total)}"
    if not places:
        return nothing("treemap", said)
    parts = [_mark(place, total, tell, locale) for place in places]
    return drawing(parts, "treemap", said, height, leads=any(place.tile.href is not None for place in places))


def layout(groups: Sequence[Group], height: int) -> list[PlacedTile]:
    """Where every tile stands. Areas are as the amounts are, to the rounding of their edges; edges that touch are the same."""
    kept = _gathered_groups(groups)
    boxes = squarified([_worth(group) for group in kept], Box(0, 0, _NOMINAL_WIDTH, height))
    return [place for group, box in zip(kept, boxes, strict=True) for place in _within(group, box)]


def _within(group: Group, box: Box) -> Iterator[PlacedTile]:
    tiles = _gathered_tiles(group.tiles)
    for at, (tile, inner) in enumerate(zip(tiles, squarified([tile.value for tile in tiles], box), strict=True)):
        left, right = (round(edge * WHOLE / _NOMINAL_WIDTH) for edge in (inner.left, inner.right))
        yield PlacedTile(group, tile, at == 0, left, round(inner.top * 10), right, round(inner.bottom * 10))


def _worth(group: Group) -> int:
    return sum(max(0, tile.value) for tile in group.tiles)


def _gathered_groups(groups: Sequence[Group]) -> list[Group]:
    kept = sorted((group for group in groups if _worth(group)), key=_worth, reverse=True)
    if len(kept) <= GROUPS_MAX:
        return kept
    rest = kept[GROUPS_MAX - 1 :]
    tiles = [Tile(f"{len(rest)} smaller", sum(map(_worth, rest)))]
    return [*kept[: GROUPS_MAX - 1], Group("others", tiles, MUTED)]


def _gathered_tiles(tiles: Sequence[Tile]) -> list[Tile]:
    kept = sorted((tile for tile in tiles if tile.value > 0), key=lambda tile: tile.value, reverse=True)
    if len(kept) <= TILES_MAX:
        return kept
    rest = kept[TILES_MAX - 1 :]
    return [*kept[: TILES_MAX - 1], Tile(f"{len(rest)} smaller", sum(tile.value for tile in rest))]


def squarified(values: Sequence[int], box: Box) -> list[Box]:
    """Cut a box into one for each value, rows along its shorter side as long as that makes them squarer (Bruls, Huizing, van Wijk 2000).

    Args:
        values: more than zero, the greatest first.
    """
    placed: list[Box] = []
    left_over, start = sum(values), 0
    while start < len(values):
        end = _row_end(values, start, left_over, box)
        row = values[start:end]
        strip, box = _cut(box, sum(row), left_over)
        placed += _along(row, strip)
        left_over, start = left_over - sum(row), end
    return placed


def _row_end(values: Sequence[int], start: int, left_over: int, box: Box) -> int:
    """Where the row that begins here ends: before the first value that would make it worse."""
    width, height = box.right - box.left, box.bottom - box.top
    scale, side = width * height / left_over, min(width, height)
    sum_of, end, worst = 0, start, float("inf")
    while end < len(values):
        longer = sum_of + values[end]
        now = _worst(values[start], values[end], longer, scale, side)
        if now > worst:
            break
        sum_of, worst, end = longer, now, end + 1
    return end


def _worst(greatest: int, least: int, row: int, scale: float, side: float) -> float:
    """The worst ratio of a tile's sides in a row; a box without an area has none that is better."""
    depth = row * scale / side if side else 0.0
    if not depth:
        return 0.0
    longest, shortest = greatest * scale / depth, least * scale / depth
    return max(longest / depth, depth / shortest if shortest else float("inf"))


def _cut(box: Box, row: int, whole: int) -> tuple[Box, Box]:
    """A strip for a row off the shorter side, and the rest; the last row takes all that is there."""
    width, height = box.right - box.left, box.bottom - box.top
    if width >= height:
        at = box.right if row == whole else box.left + width * (row / whole)
        return box._replace(right=at), box._replace(left=at)
    at = box.bottom if row == whole else box.top + height * (row / whole)
    return box._replace(bottom=at), box._replace(top=at)


def _along(row: Sequence[int], strip: Box) -> Iterator[Box]:
    """The tiles of a row, one after the other on its longer way; each begins where the one before ended."""
    down = strip.bottom - strip.top >= strip.right - strip.left
    start, end = (strip.top, strip.bottom) if down else (strip.left, strip.right)
    whole, passed, at = sum(row), 0, start
    for value in row:
        passed += value
        edge = end if passed == whole else start + (end - start) * (passed / whole)
        yield strip._replace(top=at, bottom=edge) if down else strip._replace(left=at, right=edge)
        at = edge


_NAMED: Final = (450, 180)
_TOLD: Final = (450, 340)
"""Least width, in hundredths of a per cent, and height, in tenths of pixels, of a tile with its name, and with its amount."""


def _mark(place: PlacedTile, total: int, tell: Tell, locale: str) -> str:
    group, tile = place.group, place.tile
    amount = escaped(tell(tile.value))
    title = f"{escaped(group.name)} · {escaped(tile.name)} · {amount} ({share(tile.value, total, locale)})"
    content = FILL + "".join(_lines(place, amount))
    box = boxed(place.left, place.right, place.top / 10, (place.bottom - place.top) / 10, content)
    return mark(box, title, group.colour, tile.href)


def _lines(place: PlacedTile, amount: str) -> Iterator[str]:
    """The group's name on its first tile, the tile's own, and its amount, as far as there is room."""
    width, height = place.right - place.left, place.bottom - place.top
    if width < _NAMED[0] or height < _NAMED[1]:
        return
    lines = [("", escaped(place.tile.name))]
    if place.first and place.group.name != place.tile.name and height >= _TOLD[1]:
        lines.insert(0, ("strong", escaped(place.group.name)))
    if height >= _TOLD[1] + 160 * (len(lines) - 1):
        lines.append(("", amount))
    for at, (kind, text) in enumerate(lines):
        named = f' class="{kind}"' if kind else ""
        yield f'<text{named} x="6" y="{16 + 16 * at}">{text}</text>'
