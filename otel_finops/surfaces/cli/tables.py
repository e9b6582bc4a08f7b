"""Any answer for people: single values as lines, lists as tables that fit the screen, or as blocks where no table would.

Numbers stand right, money with its points below each other, instants to the second; columns that are empty in every row stay away.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from otel_finops.surfaces.cli.texts import safe, second

_PIPED_WIDTH: Final = 400
"""Columns where no screen says how wide it is: rows stay on one line for `grep` and `less -S`."""
_GAP: Final = 2
"""Between two columns, as the tables' box draws them."""
_TEXT_MIN: Final = 12
"""A text is folded to this width before a table gives way to blocks."""
_ID_MIN: Final = 16
"""An id of 32 digits is folded into two halves."""
_SENTENCE_CHARS: Final = 60
"""A list with anything longer has a line for each."""
_DEPTH_MAX: Final = 4
"""Objects within objects that are indented; deeper ones stand on one line."""
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_DECIMAL: Final = re.compile(r"-?\d{1,24}(\.\d{1,30})?")
_ID: Final = re.compile(r"[0-9a-f]{16,}(-[0-9a-f]{16})?")
_LEAST_TELLING: Final = (
    "realm", "retired_rows", "first_seen", "source_version", "origin", "duration_ms", "kind", "failed_calls", "runs",
    "last_used_at",
)  # fmt: skip
"""Columns that a narrow screen goes without, in this order."""
_LEFT_OUT_MAX: Final = 3
"""Where more would have to go, blocks with everything tell more."""
_EMPTY: Final[tuple[Any, ...]] = (None, "", [], {})


class Column(NamedTuple):
    """A column, ready to be drawn.

    Attributes:
        name: the field.
        title: over it.
        cells: one for each row; parts of a list below each other.
        right: numbers, all of them or none.
        least: the narrowest that it may be folded to.
    """

    name: str
    title: str
    cells: list[str]
    right: bool
    least: int

    @property
    def width(self) -> int:
        """As wide as its widest line."""
        return max(cell_len(line) for text in (self.title, *self.cells) for line in text.split("\n"))

    @property
    def said(self) -> str:
        """The title on one line."""
        return self.title.replace("\n", " ")

    def wrapped(self) -> Column:
        """With its title in as many lines as it has words, where it is wider than what stands below it."""
        widest = max((cell_len(line) for text in self.cells for line in text.split("\n")), default=0)
        return self._replace(title=self.title.replace(" ", "\n")) if cell_len(self.title) > widest else self

    def lines(self) -> tuple[str, list[str]]:
        """Title and cells; numbers filled up on the left, so that what stands behind a point may be blank."""
        if not self.right:
            return self.title, self.cells
        width = self.width
        return "\n".join(line.rjust(width) for line in self.title.split("\n")), [text.rjust(width) for text in self.cells]


def screen() -> Console:
    """Standard output as rich writes to it: NO_COLOR and the terminal's characters are respected."""
    on_screen = sys.stdout.isatty()
    if isinstance(sys.stdout, io.TextIOWrapper) and not speaks_unicode(sys.stdout.encoding):
        sys.stdout.reconfigure(errors="backslashreplace")
    return Console(file=sys.stdout, highlight=False, soft_wrap=not on_screen, width=None if on_screen else _PIPED_WIDTH)


def speaks_unicode(encoding: str | None) -> bool:
    """Whether lines and bars of Unicode can be written."""
    return (encoding or "").lower().replace("-", "").startswith("utf")


def plain(console: Console, answer: Mapping[str, Any]) -> None:
    """Any answer: its tables, then its single values."""
    tables = {name: rows for name, rows in answer.items() if _is_table(rows)}
    for name, rows in tables.items():
        if len(tables) > 1:
            console.print(Text(safe(name).replace("_", " "), "bold"))
        draw_rows(console, rows)
    if _is_nothing(answer):
        console.print("nothing found")
    if tables and any(value not in _EMPTY for name, value in answer.items() if name not in tables):
        console.print()
    for name, value in answer.items():
        if name == "next_cursor" and value is not None:
            console.print(Text(f"There is more; go on with --cursor {safe(value)}"), soft_wrap=True)
        elif name not in tables and value not in _EMPTY:
            _draw_value(console, name, value, 0)


def _is_nothing(answer: Mapping[str, Any]) -> bool:
    """Whether a list is all that was asked for, and has no row; one that is drawn already is no longer in the answer."""
    lists = [value for value in answer.values() if isinstance(value, list)]
    told = "next_cursor" in answer or all(value in _EMPTY for value in answer.values())
    return next(iter(answer.values()), None) == [] or (told and bool(lists) and not any(lists))


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _draw_value(console: Console, name: str, value: Any, depth: int) -> None:
    """A named value: on its line, or what it holds below it."""
    label = Text.assemble(("  " * depth + safe(name).replace("_", " ") + ": ", "bold"))
    if _is_table(value) and depth < _DEPTH_MAX:
        console.print(label)
        draw_rows(console, value)
    elif isinstance(value, Mapping) and depth < _DEPTH_MAX:
        console.print(label)
        for key, inner in value.items():
            if inner not in _EMPTY:
                _draw_value(console, str(key), inner, depth + 1)
    elif isinstance(value, list) and any(len(str(one)) > _SENTENCE_CHARS for one in value):
        console.print(label)
        for one in value:
            console.print(Text(f"{'  ' * (depth + 1)}{cell(one)}"))
    else:
        console.print(label.append(inline(value)))


def inline(value: Any) -> str:
    """A value on one line."""
    return ", ".join(map(cell, value)) if isinstance(value, list) else cell(value)


def draw_rows(console: Console, rows: Sequence[Mapping[str, Any]], names: Sequence[str] | None = None) -> None:
    """Rows as a table; on a narrow screen with texts folded, then without the least telling columns, then as blocks.

    Args:
        names: the columns, in order; all that are not empty in every row when not given.
    """
    columns = columns_of(rows, names)
    if _width(columns) > console.width:
        columns = [column.wrapped() for column in columns]
    if _width(columns) <= console.width:
        console.print(_table(columns, fold=False))
        return
    kept, left_out = _telling(columns, console.width)
    if kept is None:
        _blocks(console, columns)
        return
    console.print(_table(kept, fold=True))
    if left_out:
        console.print(Text(f"(no room on this screen for: {', '.join(column.said for column in left_out)})", "dim"))


def _width(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + _GAP * (len(columns) - 1)


def _telling(columns: Sequence[Column], width: int) -> tuple[Sequence[Column] | None, Sequence[Column]]:
    """The columns that fit when they are folded, and those that had to go; None when too much would have to go."""
    left_out: list[Column] = []
    while True:
        kept = [column for column in columns if column not in left_out]
        if sum(min(column.width, column.least) for column in kept) + _GAP * (len(kept) - 1) <= width:
            return kept, left_out
        goes = next((column for name in _LEAST_TELLING for column in kept if column.name == name), None)
        if goes is None or len(left_out) == _LEFT_OUT_MAX:
            return None, ()
        left_out.append(goes)


def columns_of(rows: Sequence[Mapping[str, Any]], names: Sequence[str] | None = None) -> list[Column]:
    """The columns of these rows; a spend group's key is shown as columns of its own."""
    flat = [_flat(row) for row in rows]
    wanted = names or tuple(dict.fromkeys(name for row in flat for name in row))
    filled = [name for name in wanted if any(row.get(name) not in _EMPTY for row in flat)]
    return [_column(name, [row.get(name) for row in flat]) for name in filled or wanted[:1]]


def _flat(row: Mapping[str, Any]) -> Mapping[str, Any]:
    key = row.get("key")
    return {**key, **{name: value for name, value in row.items() if name != "key"}} if isinstance(key, Mapping) else row


def _column(name: str, values: Sequence[Any]) -> Column:
    title = safe(name).replace("_", " ")
    given = [value for value in values if value not in _EMPTY]
    if given and not name.endswith("id") and all(_is_number(value) for value in given):
        cells = _aligned([_number(value) for value in values])
        return Column(name, title, cells, True, 10**6)
    cells = [cell(value) for value in values]
    if all(isinstance(value, str) and _ID.fullmatch(value) for value in given):
        return Column(name, title, cells, False, max(_ID_MIN, _longest_word(title)))
    if all(isinstance(value, str) and _INSTANT.fullmatch(value) for value in given):
        return Column(name, title, cells, False, 10**6)
    return Column(name, title, cells, False, max(_TEXT_MIN, _longest_word(title)))


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return _DECIMAL.fullmatch(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> str:
    """A number without an exponent: amounts may be tiny."""
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    return "" if value in _EMPTY else str(value)


def _aligned(numbers: Sequence[str]) -> list[str]:
    """Numbers filled up behind the point, so that the points stand below each other when the column is set to the right."""
    digits = max((len(number.partition(".")[2]) for number in numbers), default=0)
    if not digits:
        return list(numbers)
    return [number + " " * (digits - len(number.partition(".")[2]) + ("." not in number)) for number in numbers]


def _longest_word(title: str) -> int:
    return max(map(cell_len, title.split(" ")))


def _table(columns: Sequence[Column], *, fold: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        rigid = not fold or column.least >= column.width
        table.add_column(
            Text(column.lines()[0]),
            overflow="fold",
            no_wrap=rigid,
            min_width=column.width if rigid else column.least,
        )
    for row in zip(*(column.lines()[1] for column in columns), strict=True):
        table.add_row(*(Text(text) for text in row))
    return table


def _blocks(console: Console, columns: Sequence[Column]) -> None:
    """Each row as lines of its own: name and value."""
    names = [column.said for column in columns]
    width = min(max(map(cell_len, names)), 24)
    for texts in zip(*(column.cells for column in columns), strict=True):
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=width, overflow="fold")
        grid.add_column(overflow="fold")
        for name, text in zip(names, texts, strict=True):
            if text.strip():
                grid.add_row(Text(name, "bold"), Text(text.strip()))
        console.print(Padding(grid, (0, 0, 1, 0)))


def cell(value: Any) -> str:
    """A value in a table: the parts of a list below each other, of an object beside each other."""
    if isinstance(value, Mapping):
        return ", ".join(f"{safe(name).replace('_', ' ')} {cell(inner)}" for name, inner in value.items() if inner not in _EMPTY)
    if isinstance(value, list):
        return "\n".join(map(cell, value))
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        return second(value)
    return safe(value)
