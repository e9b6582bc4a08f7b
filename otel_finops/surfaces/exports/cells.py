"""Cells of a CSV file: numbers as they are, and no text that a spreadsheet would take for a formula.

A spreadsheet runs what begins with `=`, `+`, `-`, `@` (or a wide form of one), whoever wrote it: a model's name, a tag, a user's id. An
apostrophe in front makes it text. It also stands where a reader that splits at another separator, or trips over a quotation mark,
would begin a cell in the middle of ours. In JSON cells such a character is written as its `\\u` escape instead, so that their value is
the same. Amounts and counts are no texts: a negative one is a number in every spreadsheet.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import orjson

from otel_finops.operations.streams import Kind

Cells: TypeAlias = Sequence[Any]

_SIGN: Final = re.compile("[-=+@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b]")
"""What a formula begins with, and the wide and small forms of it, which some readers take for it."""
_BREAKS: Final = frozenset("\t\r\n\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029")
"""What may end a cell or a line, in this file or in a reader's idea of it."""
_SEPARATORS: Final = _BREAKS.union(",;|'\"\uff0c\uff1b\uff5c\uff07\uff02")
_JSON_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_REPEATED: Final[frozenset[Kind]] = frozenset(("text", "flag", "instant", "second", "money"))
"""Kinds of values that often come again in a batch and look alike where they are equal: each is made once."""
_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?")


def harmless(text: str) -> str:
    """The text with an apostrophe wherever a cell that a spreadsheet runs could begin."""
    guarded = _guarded(text, lambda sign: f"'{sign}")
    head = next((letter for letter in text if letter in _BREAKS or not _is_unseen(letter)), "")
    return f"'{guarded}" if head in _BREAKS else guarded


def harmless_json(value: Any) -> str:
    """The value as JSON in which no text begins a formula; it reads as the same value."""
    text = orjson.dumps(value).decode()
    if _SIGN.search(text) is None:
        return text
    return _JSON_TEXT.sub(lambda found: _guarded(found[0], lambda sign: f"\\u{ord(sign):04x}"), text)


def _guarded(text: str, guard: Callable[[str], str]) -> str:
    """The text with `guard` of every sign with which a cell could begin."""
    parts, done = [], 0
    for at in _beginnings(text):
        parts += [text[done:at], guard(text[at])]
        done = at + 1
    return "".join((*parts, text[done:])) if parts else text


def _beginnings(text: str) -> Iterator[int]:
    """Where signs stand at the beginning, or behind a separator, with nothing between that is seen."""
    for sign in _SIGN.finditer(text):
        at = sign.start()
        while at and text[at - 1] not in _SEPARATORS and _is_unseen(text[at - 1]):
            at -= 1
        if not at or text[at - 1] in _SEPARATORS:
            yield sign.start()


def _is_unseen(letter: str) -> bool:
    """A blank, control or mark without width, which a reader may leave out."""
    return letter.isspace() or unicodedata.category(letter) in ("Cc", "Cf")


def cells(kind: Kind, values: Cells) -> Cells:
    """What stands in the file for a column's values; None for nothing."""
    make = _CELL[kind]
    if kind not in _REPEATED:
        return [None if value is None else make(value) for value in values]
    made = {value: make(value) for value in set(values) if value is not None}
    return [made.get(value) for value in values]


def _text(value: Any) -> str:
    text = str(value)
    return text if text.isalnum() else harmless(text)


def _number(value: Any) -> str:
    text = str(value)
    return text if _NUMBER.fullmatch(text) else harmless(text)


def _flag(value: Any) -> str:
    return "true" if value else "false"


_CELL: Final[dict[Kind, Callable[[Any], str]]] = {
    "text": _text,
    "integer": _number,
    "number": _number,
    "flag": _flag,
    "money": _number,
    "instant": _text,
    "second": _text,
    "json": harmless_json,
}
