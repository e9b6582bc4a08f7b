"""Telling how far long work is, to whoever started it.

Nobody listens by default, and telling then costs one look-up; so the work needs no argument for it and knows no screen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeAlias

Listener: TypeAlias = Callable[[str, int, int | None], None]
"""(what is counted, how many are done, how many there are; None where that is not known)."""

_LISTENER: Final[ContextVar[Listener | None]] = ContextVar("progress", default=None)


def tell(what: str, done: int, all_: int | None = None) -> None:
    """Say that so many of `what` are done; for each page of work and not for each row."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(what, done, all_)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Hear what the work of this block tells, in this thread."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)
