"""Small drawings that stand in tables and on cards: curves of a line's height, bars of what is most, budgets, parts of a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

from markupsafe import Markup

from otel_finops.surfaces.ui.drawings.svg import WHOLE, Tell, boxed, drawing, escaped, mark, placed, rect, share
from otel_finops.surfaces.ui.formats import DEFAULT_LOCALE, money_of_pico

POINTS_MAX: Final = 240
"""Of a curve: it is about as many pixels wide; more values are added up, so many to a point."""
PARTS_MAX: Final = 100
"""Bars and parts that are drawn: lists of what is most have at most fifty, and an area of a hundredth is a hair."""


class Part(NamedTuple):
    """A value with its name.

    Attributes:
        value: in pico-USD, tokens or whatever `tell` writes; below zero it has no width.
        colour: a class, one of `svg.PAINTS`.
        href: where it leads; None for nowhere.
    """

    name: str
    value: int
    colour: str = "c0"
    href: str | None = None


# --- a curve of a line's height --------------------------------------------------------------------------------------


def sparkline(values: Sequence[int], label: str, *, width: int = 120, height: int = 28, colour: str = "c0") -> Markup:
    """A curve from the first value to the last over zero, with a dot at its end.

    Args:
        label: what it shows, the figures included: the curve itself says nothing to those who cannot see it.
        width, height: in pixels.
        colour: a class, one of `svg.PAINTS`.
    """
    points, base = _curve(values, width, height)
    line = " ".join(f"{_tenths(x)},{_tenths(y)}" for x, y in points)
    shapes = ""
    if points:
        (first, _), (last, end) = points[0], points[-1]
        shapes = f'<polygon class="area" points="{_tenths(first)},{_tenths(base)} {line} {_tenths(last)},{_tenths(base)}"/>'
        shapes += f'<polyline points="{line}"/><circle cx="{_tenths(last)}" cy="{_tenths(end)}" r="2"/>'
    text = escaped(label, None)
    opening = (
        f'<svg class="drawing sparkline" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="{text}">'
    )
    return Markup(f"{opening}{mark(shapes, text, colour, None)}</svg>")  # noqa: S704 - the label is escaped, all else are numbers


def _curve(values: Sequence[int], width: int, height: int) -> tuple[list[tuple[int, int]], int]:
    """The points and where zero is, in tenths of pixels, with a margin of three pixels for the dot."""
    sums = _condensed(values)
    low, high = min(0, *sums, 0), max(0, *sums, 0)
    inner, tall = 10 * width - 60, 10 * height - 60
    steps, span = max(1, len(sums) - 1), high - low or 1
    base = 30 + tall + tall * low // span
    return [(30 + inner * at // steps, base - tall * value // span) for at, value in enumerate(sums)], base


def _condensed(values: Sequence[int]) -> list[int]:
    each = max(1, -(-len(values) // POINTS_MAX))
    return [sum(values[start : start + each]) for start in range(0, len(values), each)]


def _tenths(number: int) -> str:
    whole, tenth = divmod(number, 10)
    return f"{whole}.{tenth}" if tenth else str(whole)


# --- what is most ------------------------------------------------------------------------------------------------------

BAR_ROW: Final = 36
"""Height of a bar with its name above it, in pixels."""


def bars(rows: Sequence[Part], label: str, *, whole: int | None = None, tell: Tell = money_of_pico, locale: str = DEFAULT_LOCALE) -> Markup:
    """Bars one below the other, each with its name, value and share; the longest is as wide as the drawing.

    Args:
        whole: what shares are of; None for the sum of the rows.
    """
    shown = rows[:PARTS_MAX]
    sum_of = sum(max(0, row.value) for row in rows) if whole is None else whole
    top = max((row.value for row in shown), default=0)
    parts = [_bar(at, row, top, sum_of, tell, locale) for at, row in enumerate(shown)]
    return drawing(parts, "bars", label, BAR_ROW * max(1, len(shown)), leads=any(row.href is not None for row in shown))


def _bar(at: int, row: Part, top: int, whole: int, tell: Tell, locale: str) -> str:
    y = BAR_ROW * at
    name, amount, of = escaped(row.name), escaped(tell(row.value)), share(max(0, row.value), whole, locale)
    width = max(WHOLE * row.value // top, 20) if row.value > 0 else 0
    told = f'{amount}<tspan class="quiet" dx="8">{of}</tspan>' if of else amount
    shapes = (
        f'<rect class="row" x="0" y="{y}" width="100%" height="{BAR_ROW}"/>',
        boxed(0, 6_000, y, 22, f'<text x="0" y="16">{name}</text>'),
        f'<text class="end" x="100%" y="{y + 16}">{told}</text>',
        rect(0, WHOLE, y + 23, 6, "track"),
        rect(0, width, y + 23, 6, "bar") if width else "",
    )
    return mark("".join(shapes), f"{name} · {amount}{of and f' ({of})'}", row.colour, row.href)


# --- parts of a whole ----------------------------------------------------------------------------------------------------


def stacked(parts: Sequence[Part], label: str, *, height: int = 14, tell: Tell = money_of_pico, locale: str = DEFAULT_LOCALE) -> Markup:
    """One bar of parts beside each other, each as wide as its share."""
    kept = [part for part in parts if part.value > 0][:PARTS_MAX]
    total = sum(part.value for part in parts if part.value > 0)
    edges = placed([part.value for part in kept], 0, WHOLE, total)
    marks = (
        mark(
            rect(left, right, 0, height),
            f"{escaped(part.name)} · {escaped(tell(part.value))} ({share(part.value, total, locale)})",
            part.colour,
            part.href,
        )
        for part, left, right in zip(kept, edges, edges[1:], strict=False)
    )
    return drawing(
        [rect(0, WHOLE, 0, height, "track"), *marks], "stacked", label, height, leads=any(part.href is not None for part in kept)
    )


# --- a budget ------------------------------------------------------------------------------------------------------------

State = Literal["ok", "warning", "exceeded"]
_STATES: Final = {"ok": "good", "warning": "warn", "exceeded": "danger"}


def meter(
    spent: int,
    reserved: int,
    pending: int,
    limit: int,
    name: str,
    *,
    state: State = "ok",
    marks: Sequence[int] = (),
    height: int = 12,
    tell: Tell = money_of_pico,
    locale: str = DEFAULT_LOCALE,
) -> Markup:
    """How much of a budget is used: what is booked, what is pending, what is reserved, and where the limit is when it is passed.

    Args:
        name: the budget's.
        state: what the budget's operation says; it decides the colour.
        marks: thresholds in per cent of the limit, drawn as thin lines.
    """
    pieces = [(kind, max(0, amount)) for kind, amount in (("spent", spent), ("pending", pending), ("reserved", reserved))]
    used = sum(amount for _, amount in pieces)
    whole = max(limit, used, 1)
    edges = placed([amount for _, amount in pieces], 0, WHOLE, whole)
    shapes = [rect(0, WHOLE, 0, height, "track")]
    for (kind, amount), left, right in zip(pieces, edges, edges[1:], strict=False):
        if right > left:
            title = f"{kind} {escaped(tell(amount))}{_of_limit(amount, limit, locale)}"
            shapes.append(mark(rect(left, right, 0, height, kind), title, _STATES[state], None))
    shapes += _lines(limit, whole, marks, height, tell)
    said = f"{name}: {tell(used)} of {tell(limit)}{_of_limit(used, limit, locale)}"
    return drawing(shapes, "meter", said, height)


def _of_limit(amount: int, limit: int, locale: str) -> str:
    of = share(amount, limit, locale)
    return of and f" ({of})"


def _lines(limit: int, whole: int, marks: Sequence[int], height: int, tell: Tell) -> Iterator[str]:
    for percent in marks:
        if 0 < percent < 100:
            place = WHOLE * limit * percent // (100 * whole)
            yield f'<g class="mark"><title>{percent} %</title>{rect(place, place + 10, 0, height)}</g>'
    if 0 < limit < whole:
        place = WHOLE * limit // whole
        yield f'<g class="limit"><title>limit {escaped(tell(limit))}</title>{rect(place, place + 30, 0, height)}</g>'
