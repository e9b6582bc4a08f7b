"""Spans in the order of a tree, each with a bar from when it began to when it ended, and what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_SECOND
from otel_finops.surfaces.ui.drawings.svg import Tell, across, boxed, drawing, escaped, mark, nothing, rect
from otel_finops.surfaces.ui.formats import DEFAULT_LOCALE, count, duration_ns, money_of_pico

ROW: Final = 22
_AXIS: Final = 24
"""Height of a row and of the axis above them, in pixels."""
_BARS: Final = (3_200, 8_100)
_LASTED: Final = 9_000
"""Where bars stand, names before them; and where lengths of time end, which come after them, with the amounts at the edge."""
_INDENT: Final = 12
_INDENTS_MAX: Final = 12
"""Pixels that a level is set in, and how many levels are: a chain of thousands keeps its names on the page, with the depth before them."""
_TICKS_MAX: Final = 6
_MINUTE: Final = 60 * NS_PER_SECOND
_LONG_STEPS: Final = tuple(
    [seconds * NS_PER_SECOND for seconds in (10, 15, 30)]
    + [minutes * _MINUTE for minutes in (1, 2, 5, 10, 15, 30)]
    + [hours * NS_PER_HOUR for hours in (1, 2, 3, 6, 12)]
)
"""Between ticks, from ten seconds to half a day; below and above that they are 1, 2 and 5 of a power of ten."""


class Row(NamedTuple):
    """A span.

    Attributes:
        depth: 0 for roots.
        name: data of whoever sent it.
        start_ns: since 1970.
        duration_ns: None where it is not known; such a bar is a thin one.
        cost_pico: None for what is charged nothing by itself.
        colour: a class, one of `svg.PAINTS`.
        href: where it leads; None for nowhere.
        note: what else its title says.
        current: it is what the page looks at.
    """

    depth: int
    name: str
    start_ns: int
    duration_ns: int | None
    cost_pico: int | None
    colour: str = "c0"
    href: str | None = None
    note: str = ""
    current: bool = False


class Window(NamedTuple):
    """The time that the axis shows, in nanoseconds since 1970; what lies outside is drawn at its edge."""

    from_ns: int
    to_ns: int

    @property
    def length(self) -> int:
        """At least a nanosecond."""
        return max(1, self.to_ns - self.from_ns)

    def place(self, instant_ns: int) -> int:
        """Where an instant stands."""
        passed = min(max(0, instant_ns - self.from_ns), self.length)
        return _BARS[0] + (_BARS[1] - _BARS[0]) * passed // self.length


def waterfall(
    rows: Sequence[Row], label: str, *, window: Window | None = None, tell: Tell = money_of_pico, locale: str = DEFAULT_LOCALE
) -> Markup:
    """Draw the rows of a page, all that are given.

    Args:
        rows: in the order of the tree, see `traces.waterfall_rows`.
        label: what the drawing shows.
        window: the time of the axis, the same on all pages of a trace (`window_of` over all its rows); None for that of these rows.
        tell: writes amounts.
    """
    if not rows:
        return nothing("waterfall", label)
    shown = window or window_of(rows)
    height = _AXIS + ROW * len(rows)
    said = f"{label}: {count(len(rows), locale)} spans in {duration_ns(shown.length, locale)}"
    marks = (_row(at, row, shown, tell, locale) for at, row in enumerate(rows))
    return drawing([*_axis(shown, height, locale), *marks], "waterfall", said, height, leads=any(row.href is not None for row in rows))


def window_of(rows: Sequence[Row]) -> Window:
    """From the first beginning to the last end."""
    ends = (row.start_ns + max(0, row.duration_ns or 0) for row in rows)
    return Window(min((row.start_ns for row in rows), default=0), max(ends, default=0))


def span_of(row: Row, window: Window) -> tuple[int, int]:
    """Where the bar of a row begins and ends, never narrower than can be seen."""
    narrowest = 15
    left = min(window.place(row.start_ns), _BARS[1] - narrowest)
    return left, max(window.place(row.start_ns + max(0, row.duration_ns or 0)), left + narrowest)


def ticks(length_ns: int) -> list[int]:
    """Nanoseconds since the axis begins at which it has a tick: few, and round."""
    step = next(step for step in _steps() if step * _TICKS_MAX >= length_ns)
    return list(range(0, length_ns + 1, step))


def _steps() -> Iterator[int]:
    for power in range(10):
        yield from (one * 10**power for one in (1, 2, 5) if one * 10**power < _LONG_STEPS[0])
    yield from _LONG_STEPS
    power = 0
    while True:
        yield from (one * 10**power * NS_PER_DAY for one in (1, 2, 5))
        power += 1


def _axis(window: Window, height: int, locale: str) -> Iterator[str]:
    for passed in ticks(window.length):
        place = across(window.place(window.from_ns + passed))
        yield f'<line class="grid" x1="{place}" x2="{place}" y1="{_AXIS - 6}" y2="{height}"/>'
        yield f'<text class="tick" x="{place}" dx="4" y="14">{duration_ns(passed, locale)}</text>'


def _row(at: int, row: Row, window: Window, tell: Tell, locale: str) -> str:
    top = _AXIS + ROW * at
    name = escaped(row.name)
    lasted = "" if row.duration_ns is None else duration_ns(row.duration_ns, locale)
    cost = "" if row.cost_pico is None else escaped(tell(row.cost_pico))
    title = " · ".join(text for text in (name, lasted, cost, escaped(row.note)) if text)
    parts = (
        f'<rect class="row" y="{top}" width="100%" height="{ROW}"/>',
        boxed(0, _BARS[0] - 50, top, ROW, _name(row.depth, name)),
        rect(*span_of(row, window), top + 5, ROW - 10, "bar"),
        f'<text class="end quiet" x="{across(_LASTED)}" y="{top + 15}">{lasted}</text>' if lasted else "",
        f'<text class="end" x="100%" y="{top + 15}">{cost}</text>' if cost else "",
    )
    return mark("".join(parts), title, row.colour, row.href, current=row.current)


def _name(depth: int, name: str) -> str:
    left = 4 + _INDENT * min(depth, _INDENTS_MAX)
    deeper = f'<tspan class="quiet">{depth} </tspan>' if depth > _INDENTS_MAX else ""
    return f'<text x="{left}" y="15">{deeper}{name}</text>'
