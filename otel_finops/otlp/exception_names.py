"""What an exception event is called.

Tracers that are told of a failure as a text raise it again as a plain `Exception` or `Error`, with the name of what really failed in the
message. Whether a call timed out or was refused decides whether it may be billed, so that name is taken, and nothing else of a message.
"""

from __future__ import annotations

import re
from typing import Final

_PLAIN: Final = frozenset({"Exception", "Error"})
_NAMED: Final = re.compile(r"\s*(?:\w+\.)*([A-Za-z_]\w*)[(:]")
"""`APITimeoutError('Request timed out.')` as Python shows an exception, `TimeoutError: ...` as JavaScript does."""
_NAMES: Final = re.compile(r"(?:Error|Exception|Timeout|Exit|Interrupt|Cancelled)$")
_REFUSED: Final = re.compile(r"\D{0,20}[45]\d\d\b")
"""A status near the beginning: somebody answered, whatever the text says of time-outs."""
_TIMED_OUT: Final = re.compile(r"\btimed out\b|\bdue to timeout\b", re.IGNORECASE)
_ABORTED: Final = re.compile(r"\baborted\b", re.IGNORECASE)
_FIRST_LINE_MAX: Final = 120


def exception_name(kind: str | None, message: str | None) -> str | None:
    """`exception.type`, or where that says nothing, the name in `exception.message`, or what the first line of it tells.

    Returns:
        The type as sent where it is a real one, or nothing better is known; None without one.
    """
    if kind not in _PLAIN or not message:
        return kind
    named = _NAMED.match(message)
    if named and named[1] not in _PLAIN and _NAMES.search(named[1]):
        return named[1]
    line = message[named.end() if named else 0 :].lstrip().split("\n", 1)[0][:_FIRST_LINE_MAX]
    if _REFUSED.match(line):
        return kind
    return "TimeoutError" if _TIMED_OUT.search(line) else "AbortError" if _ABORTED.search(line) else kind
