"""Drawings made on the server: SVG as `Markup`, with every text escaped, no style and no script; colours are classes (drawings.css).

Values are whole numbers (pico-USD, nanoseconds, tokens); only places on the page are rounded. Nothing recurses, everything is
bounded, and equal input gives equal markup.
"""

from otel_finops.surfaces.ui.drawings.icicle import Slice, icicle
from otel_finops.surfaces.ui.drawings.small import Part, bars, meter, sparkline, stacked
from otel_finops.surfaces.ui.drawings.svg import COLOURS, colours
from otel_finops.surfaces.ui.drawings.traces import KINDS, below, cost_slices, depths, time_slices, waterfall_rows
from otel_finops.surfaces.ui.drawings.treemap import Group, Tile, treemap
from otel_finops.surfaces.ui.drawings.waterfall import Row, Window, waterfall, window_of

__all__ = [
    "COLOURS", "KINDS", "Group", "Part", "Row", "Slice", "Tile", "Window", "bars", "below", "colours", "cost_slices", "depths", "icicle",
    "meter", "sparkline", "stacked", "time_slices", "treemap", "waterfall", "waterfall_rows", "window_of",
]  # fmt: skip
