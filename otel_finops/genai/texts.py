"""Texts as senders really write them: names with JSON quotes, flags as words, JSON that is a Python literal or was cut."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import orjson

from otel_finops.base.limits import JSON_DEPTH_MAX, NAME_CHARS_MAX

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<number>-?\d{1,30}(?:\.\d{1,30})?(?:[eE][+-]?\d{1,3})?)"""
    r"""|(?P<word>[A-Za-z_][\w.]*)"""
    r"""|(?P<mark>[{}\[\]():,=]))""",
    re.DOTALL,
)
_CONSTRUCTED: Final = re.compile(r"[A-Z]\w{0,99}\((?=[a-z_]\w{0,99}=)")
"""How the representation of an object with named fields begins."""
_WORDS: Final = {"true": True, "True": True, "false": False, "False": False}
_TOKENS_MAX: Final = 4_000
"""Tokens read of JSON that is none: a usage object has a few dozen, and reading them in Python takes a microsecond each."""


def clean_name(value: object, limit: int = NAME_CHARS_MAX) -> str | None:
    """Make a stored name of an attribute value: whole numbers as digits, JSON quotes and blanks stripped, cut to `limit` with an ellipsis.

    Returns:
        The name, or None for blanks, "None", booleans, floats, lists and maps.
    """
    if type(value) is not str:
        return str(value) if type(value) is int else None
    if not value.isprintable() or value[:1] in ' "' or value[-1:] == " ":
        value = _storable(value)
    if not value or value == "None":
        return None
    return value if len(value) <= limit else f"{value[: limit - 1]}…"


def _storable(value: str) -> str:
    """Blanks and JSON quotes off, control characters out: no database stores NUL or half a surrogate pair."""
    text = value.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    return "".join(character for character in text if character.isprintable())


def first_name(values: Iterable[object]) -> str | None:
    """The first value that is a name."""
    for value in values:
        name = clean_name(value)
        if name:
            return name
    return None


def read_flag(value: object) -> bool | None:
    """Read a flag: a boolean, or the words true and false in any case; None otherwise."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return None


def read_json(value: object) -> object:
    """Read JSON, a Python literal, or either cut short by a limit; what stands before the cut is kept.

    The representation of a Python object (`Completion(id='x', usage=Usage(total_tokens=7))`) is read by its fields, too.
    Depth and length are bounded (`limits.JSON_DEPTH_MAX`). Returns None when nothing can be read.
    """
    if not isinstance(value, str):
        return None
    text = value.strip()
    if text[:1] not in ("{", "["):
        made = _CONSTRUCTED.match(text)
        return _Loose().read(text[made.end() - 1 :]) if made is not None else None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _Loose().read(text)


class _Loose:
    """Reads what only resembles JSON, without recursion, up to the first thing that it cannot read.

    A number that touches the end of the text may have lost digits, so it is dropped.
    """

    def __init__(self) -> None:
        self._root: object = None
        self._open: list[dict[str, object] | list[object]] = []
        self._keys: list[str | None] = []
        self._scalar: object = None
        self._has_scalar = False

    def read(self, text: str) -> object:
        scanner = _TOKEN.scanner(text)  # type: ignore[attr-defined]  # typeshed does not know Pattern.scanner
        for _ in range(_TOKENS_MAX):
            match = scanner.match()
            if match is None or not self._take(match.lastgroup, match[match.lastgroup], match.end() == len(text)):
                break
        if self._open:
            self._flush()
        return self._root

    def _take(self, kind: str, token: str, at_end: bool) -> bool:
        """Use one token; False ends the reading."""
        if kind == "mark":
            return self._mark(token)
        if kind == "number":
            if at_end:
                return False
            self._scalar = float(token) if any(sign in token for sign in ".eE") else int(token)
        else:
            self._scalar = token[1:-1] if kind == "text" else _WORDS.get(token, token)
            if token in ("null", "None"):
                self._scalar = None
        self._has_scalar = True
        return True

    def _mark(self, mark: str) -> bool:
        if mark in "{[(":
            return self._enter({} if mark != "[" else [])
        if mark in ":=":
            if self._keys and self._has_scalar:
                self._keys[-1], self._has_scalar = str(self._scalar), False
            return True
        self._flush()
        if mark != ",":
            self._open.pop()
            self._keys.pop()
        return bool(self._open)

    def _enter(self, container: dict[str, object] | list[object]) -> bool:
        if len(self._open) >= JSON_DEPTH_MAX:
            return False
        self._has_scalar = False
        if self._open:
            self._attach(container)
        else:
            self._root = container
        self._open.append(container)
        self._keys.append(None)
        return True

    def _flush(self) -> None:
        if self._has_scalar:
            self._attach(self._scalar)
            self._has_scalar = False

    def _attach(self, value: object) -> None:
        container, key = self._open[-1], self._keys[-1]
        if isinstance(container, list):
            container.append(value)
        elif key is not None:
            container[key] = value
            self._keys[-1] = None
