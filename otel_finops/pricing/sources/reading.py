"""From the bytes of a price file to a parsed document: bounded, strict, and with the line of what is wrong."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Callable
from json.decoder import JSONObject  # type: ignore[attr-defined]
from json.scanner import py_make_scanner  # type: ignore[attr-defined]
from typing import Any, Final, NamedTuple

from otel_finops.base import limits
from otel_finops.base.errors import BadInput, TooLarge

_GZIP: Final = b"\x1f\x8b"
_GZIP_WBITS: Final = 31
_NO_NUMBER: Final = re.compile(r"(?<![\w\"])-?(NaN|Infinity)(?![\w\"])")


class Document(NamedTuple):
    """A price file that could be read.

    Attributes:
        name: the file's, for messages.
        text: as it was delivered, inflated.
        value: the parsed JSON.
        sha256: of the inflated bytes; its first 16 digits are the price version.
    """

    name: str
    text: str
    value: Any
    sha256: str

    def place(self, row: str) -> str:
        """Where a row stands, for messages: `NAME, line 12`, or the name alone when its name cannot be found."""
        line = _line_of(self.text, row)
        return self.name if line is None else f"{self.name}, line {line}"


class _Duplicate(ValueError):
    """An object names a key twice."""


def read_document(data: bytes, name: str, sha256: str | None = None) -> Document:
    """Parse a price file, gzipped or not.

    Args:
        data: the file's bytes.
        name: for messages.
        sha256: what the bytes, as delivered or inflated, must have, in hex; None for any.

    Raises:
        BadInput: another digest, no UTF-8, no JSON, a number that is none, or a name that stands twice in one object; with the line.
        TooLarge: more than `limits.PRICE_FILE_BYTES_MAX`, inflated, or too many values to be parsed.
    """
    raw = inflated(data, name, limits.PRICE_FILE_BYTES_MAX)
    digest = hashlib.sha256(raw).hexdigest()
    if sha256 is not None and sha256.lower() not in (digest, hashlib.sha256(data).hexdigest()):
        raise BadInput(
            f"{name}: its sha256 is {hashlib.sha256(data).hexdigest()}, not {sha256.lower()}: it is another file, or was changed"
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise BadInput(f"{name}: byte {fault.start} is no UTF-8") from None
    if text.count("{") + text.count("[") > limits.JSON_CONTAINERS_MAX or text.count('"') > limits.JSON_QUOTES_MAX:
        raise TooLarge(f"{name}: too many objects or texts for a price list")
    return Document(name, text, _parsed(text, name), digest)


def inflated(data: bytes, name: str, bytes_max: int) -> bytes:
    """The bytes of a file that may be gzipped.

    Raises:
        BadInput: it begins like gzip and is none, or is cut off.
        TooLarge: more than `bytes_max`, as delivered or inflated.
    """
    _bounded(data, name, bytes_max)
    if not data.startswith(_GZIP):
        return data
    inflater = zlib.decompressobj(_GZIP_WBITS)
    try:
        raw = inflater.decompress(data, bytes_max + 1)
    except zlib.error as fault:
        raise BadInput(f"{name}: begins like gzip and cannot be inflated") from fault
    _bounded(raw, f"{name} inflated", bytes_max)
    if not inflater.eof:
        raise BadInput(f"{name}: the gzip stream is cut off")
    return raw


def _bounded(data: bytes, name: str, bytes_max: int) -> None:
    if len(data) > bytes_max:
        raise TooLarge(f"{name}: larger than {bytes_max} bytes")


def _parsed(text: str, name: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except _Duplicate:
        key, line = _duplicate(text)
        raise BadInput(f"{name}, line {line}: {key!r} stands twice in one object") from None
    except json.JSONDecodeError as fault:
        raise BadInput(f"{name}, line {fault.lineno}: no JSON: {fault.msg}") from None
    except RecursionError:
        raise BadInput(f"{name}: nested too deeply") from None
    except ValueError:
        found = _NO_NUMBER.search(text)
        at = "" if found is None else f", line {_line(text, found.start())}"
        raise BadInput(f"{name}{at}: {'a number has too many digits' if found is None else f'{found[0]} is no number'}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Duplicate
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(text)


def _duplicate(text: str) -> tuple[str, int]:
    """The first key that stands twice in one object, and the line where it does so again.

    The parser in C is fast and tells no places; this one is slow and is asked only once something is wrong.
    """
    decoder = json.JSONDecoder()
    decoder.parse_object = _Locator(text)  # type: ignore[attr-defined]
    try:
        py_make_scanner(decoder)(text, 0)
    except _Found as found:
        return found.key, found.line
    raise AssertionError("a parser saw a key twice that the other one did not")


class _Found(Exception):
    def __init__(self, key: str, line: int) -> None:
        super().__init__(key)
        self.key = key
        self.line = line


class _Locator:
    """Parses objects as the standard library does, and stops at the first one with a key that stands twice."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(
        self, state: tuple[str, int], strict: bool, scan: Callable[[str, int], Any], hook: Any, pairs_hook: Any, memo: Any = None
    ) -> Any:
        pairs: list[tuple[str, Any]] = []
        _, end = JSONObject(state, strict, scan, None, pairs.extend, memo)
        seen: set[str] = set()
        for key, _value in pairs:
            if key in seen:
                raise _Found(key, self._line_of_second(key, state[1], end))
            seen.add(key)
        return dict(pairs), end

    def _line_of_second(self, key: str, start: int, end: int) -> int:
        places = [match.start() for match in _named(key).finditer(self._text, start, end)]
        return _line(self._text, places[1] if len(places) > 1 else start)


def _line_of(text: str, row: str) -> int | None:
    found = _named(row).search(text) or re.search(re.escape(json.dumps(row, ensure_ascii=False)), text)
    return None if found is None else _line(text, found.start())


def _named(key: str) -> re.Pattern[str]:
    return re.compile(rf"({re.escape(json.dumps(key, ensure_ascii=False))}|{re.escape(json.dumps(key))})\s*:")


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
