"""What all drawings are made of: marks with a title, colours by class, places as per cent of the width.

Drawings are as wide as what they stand in: horizontal places are hundredths of a per cent of that (`WHOLE` of them), so that
everything is a whole number until it is written; vertical ones are pixels. Nothing carries a style or a script, and every
text goes through `escaped`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final, TypeAlias

from markupsafe import Markup, escape

from otel_finops.surfaces.ui import formats

WHOLE: Final = 10_000
"""A drawing's width in its own unit: on 1,200 pixels one of them is an eighth of a pixel."""
COLOURS: Final = tuple(f"c{number}" for number in range(10))
"""Classes of series, in the order in which they are given out."""
MUTED: Final = "muted"
PAINTS: Final = frozenset({*COLOURS, MUTED, "accent", "good", "warn", "danger"})
"""Classes that a mark may have as its colour."""
TEXT_CHARS_MAX: Final = 80
"""Of a name, in a title or a label: names have up to 256, and a drawing has thousands of them; the page's table has them whole."""

Tell: TypeAlias = Callable[[int], str]
"""How a drawing writes its values, as `formats.money_of_pico` with a currency and a locale."""


def colours(names: Iterable[str | None]) -> dict[str | None, str]:
    """A class for each name: the first ten have a colour of their own, the rest are muted."""
    given: dict[str | None, str] = {}
    for name in names:
        if name not in given:
            given[name] = COLOURS[len(given)] if len(given) < len(COLOURS) else MUTED
    return given


def drawing(parts: Iterable[str], kind: str, label: str, height: int, *, leads: bool = False) -> Markup:
    """A whole drawing.

    Args:
        parts: marks, their texts escaped.
        kind: its class beside `drawing`.
        label: what it shows, for those who cannot see it.
        height: in pixels; the width is that of what it stands in.
        leads: whether marks are links: an image's content is hidden from those who read by ear, that of a group is not.
    """
    role = "group" if leads else "img"
    opening = f'<svg class="drawing {kind}" width="100%" height="{height}" role="{role}" aria-label="{escaped(label, None)}">'
    return Markup("".join((opening, *parts, "</svg>")))  # noqa: S704 - every text in the parts went through `escaped`


def nothing(kind: str, label: str) -> Markup:
    """A drawing of nothing, which says what it would have shown."""
    return drawing([f'<text class="none" x="0" y="15">{escaped(label)}</text>'], kind, label, 22)


def escaped(text: str, limit: int | None = TEXT_CHARS_MAX) -> str:
    """A text as it may stand between tags and in attributes, cut after so many characters."""
    return str(escape(text if limit is None or len(text) <= limit else f"{text[: limit - 1]}…"))


def mark(shape: str, title: str, colour: str, href: str | None, *, current: bool = False) -> str:
    """A mark with what it says when pointed at, as a link where it leads somewhere.

    Args:
        shape: the elements that are seen.
        title: escaped.
        colour: one of `PAINTS`.
        href: a path, query or fragment of our own.
        current: it is what the page looks at.

    Raises:
        ValueError: there is no such colour, or the link leads elsewhere.
    """
    if colour not in PAINTS:
        raise ValueError(f"no colour of drawings: {colour!r}")
    looked_at = ' aria-current="true"' if current else ""
    if href is None:
        return f'<g class="{colour}"{looked_at}><title>{title}</title>{shape}</g>'
    if href[:1] not in ("/", "?", "#") or href[:2] in ("//", "/\\"):
        raise ValueError(f"marks lead to pages of the console only: {href!r}")
    return f'<a class="{colour}" href="{escape(href)}"{looked_at}><title>{title}</title>{shape}</a>'


def rect(left: int, right: int, top: float, height: float, kind: str = "") -> str:
    """A rectangle between two places of the width."""
    named = f' class="{kind}"' if kind else ""
    return f'<rect{named} x="{across(left)}" y="{top:g}" width="{across(right - left)}" height="{height:g}"/>'


def boxed(left: int, right: int, top: float, height: float, content: str) -> str:
    """What is cut off at the edges of a box: texts keep their size however narrow the drawing is."""
    return f'<svg role="none" x="{across(left)}" y="{top:g}" width="{across(right - left)}" height="{height:g}">{content}</svg>'


FILL: Final = '<rect width="100%" height="100%"/>'
"""Fills a box."""


@lru_cache(maxsize=2 * WHOLE)
def across(place: int) -> str:
    """A place or a length of the width as SVG has it."""
    whole, hundredths = divmod(place, 100)
    return f"{whole}.{hundredths:02}".rstrip("0").rstrip(".") + "%" if hundredths else f"{whole}%"


def share(part: int, whole: int, locale: str) -> str:
    """A part of a whole in per cent; "" where there is no whole."""
    if whole <= 0:
        return ""
    thousandths = part * 1000 // whole
    return _share(thousandths, 0 < part < whole, locale)


@lru_cache(maxsize=4096)
def _share(thousandths: int, between: bool, locale: str) -> str:
    return formats.percent(Decimal("0.0001") if between and not thousandths else Decimal(thousandths) / 1000, locale)


def placed(sizes: Sequence[int], left: int, right: int, whole: int) -> list[int]:
    """Where pieces that follow each other begin, and where the last one ends, as a whole of such a size has them on this stretch."""
    places, passed = [left], 0
    for size in sizes:
        passed += size
        places.append(left + (right - left) * passed // whole if whole else left)
    return places
