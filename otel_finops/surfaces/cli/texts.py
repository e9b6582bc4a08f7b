"""Texts that may come from a sender, made fit for a terminal. Imports nothing heavy: faults are told by it too."""

from __future__ import annotations

import unicodedata
from typing import Any


def safe(value: Any) -> str:
    """A value as text without control, format or bidirectional characters; they are shown by their code."""
    text = "" if value is None else "yes" if value is True else "no" if value is False else str(value)
    return text if text.isascii() and text.isprintable() else "".join(map(_visible, text))


def safe_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(map(safe, text.split("\n")))


def _visible(character: str) -> str:
    if character == " " or unicodedata.category(character)[0] not in "CZ":
        return character
    return f"\\u{ord(character):04x}"


def second(instant: str | None) -> str:
    """An instant to the second: people do not read nanoseconds."""
    return "" if instant is None else f"{instant[:10]} {instant[11:19]}Z"


def many(count: int, noun: str) -> str:
    """A number with its noun: `1 call`, `2 calls`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
