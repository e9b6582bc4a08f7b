"""Progress of long work: a bar on standard error while a person looks at it, and nothing at all otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Timer
from typing import TYPE_CHECKING, Final, TypeAlias

from otel_finops.base.progress import listening

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Told: TypeAlias = Callable[[str, int, int | None], None]
"""(what is counted, how many are done, how many there are)."""

_PER_SECOND: Final = 8
"""How often a bar is drawn anew: enough to look alive, and nothing beside the work."""


_QUIET_S: Final = 1.0
"""After so long without a word a person wants to know that something goes on."""


@contextmanager
def shown(title: str, *, waits: bool = False) -> Iterator[Told]:
    """Show how far the work of this block is; the bar goes away with the block.

    Args:
        title: what is being done.
        waits: show also that work goes on of which nothing is told, a service's for instance.

    Yields:
        a listener, for work that tells its caller and not `base.progress`.
    """
    if not sys.stderr.isatty():
        yield _nobody
        return
    bar = _Bar(title)
    timer = Timer(_QUIET_S, bar.working)
    timer.daemon = True
    if waits:
        timer.start()
    try:
        with listening(bar.told):
            yield bar.told
    finally:
        timer.cancel()
        bar.close()


def _nobody(what: str, done: int, all_: int | None) -> None:
    """Nobody looks."""


class _Bar:
    """A bar that appears when something is told for the first time: most commands are done before."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._closed = False
        self._turn = Lock()

    def told(self, what: str, done: int, all_: int | None) -> None:
        with self._turn:
            if not self._closed:
                self._draw(what, done, all_)

    def working(self) -> None:
        """Say that work goes on, if nothing was told yet."""
        with self._turn:
            if not self._closed and self._progress is None:
                self._draw("done so far", 0, None)

    def _draw(self, what: str, done: int, all_: int | None) -> None:
        progress = self._progress or self._begin()
        if self._task is None:
            self._task = progress.add_task(self._title, total=all_, what=what)
        progress.update(self._task, completed=done, total=all_, what=what)

    def _begin(self) -> Progress:
        from rich.console import Console  # noqa: PLC0415 - only on terminals, and only for long work
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        columns = (
            SpinnerColumn("line"),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[what]}"),
        )
        console = Console(stderr=True)
        self._progress = Progress(*columns, TimeElapsedColumn(), console=console, transient=True, refresh_per_second=_PER_SECOND)
        self._progress.start()
        return self._progress

    def close(self) -> None:
        with self._turn:
            self._closed = True
            if self._progress is not None:
                self._progress.stop()
