"""The disk after a power cut, rebuilt from a log of what was done to files.

What was synced is there. Of what was written since, each sector of 512 bytes is there or not, at random, and so are truncations, deletions
and files that were never synced. After a sync that failed the operating system takes what it held for written: a later sync
says nothing of it, unless its page of 4,096 bytes is written to again.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from logging_vfs import Event

SECTOR: Final = 512
PAGE: Final = 4096
LOGS: Final = ("-wal", "-journal")
"""Files with whose first sync SQLite syncs the folder too, and with it all deletions before."""


class Piece(NamedTuple):
    """A write, or a truncation (`content` is None) to `offset`."""

    offset: int
    content: bytes | None

    def pages(self) -> set[int]:
        return set(range(self.offset // PAGE, (self.offset + len(self.content or b"") - 1) // PAGE + 1))


class DiskFile:
    """One file: what is durable, what the next sync makes durable, and what a failed sync left behind."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.pending: list[Piece] = []
        self.stale: list[Piece] = []
        self.synced = False
        self.deleted = False

    def write(self, piece: Piece) -> None:
        if piece.content is None:  # what lay behind the new end is in no cache any more
            self.stale = [old for old in self.stale if old.offset < piece.offset]
        elif self.stale:
            pages = piece.pages()
            again = [old for old in self.stale if old.pages() & pages]
            self.stale = [old for old in self.stale if not old.pages() & pages]
            self.pending += again
        self.pending.append(piece)

    def sync(self, succeeded: bool) -> None:
        if not succeeded:  # sizes of files are kept in order by file systems' journals, whatever becomes of the content
            self.stale += [piece for piece in self.pending if piece.content is not None]
            self.pending = [piece for piece in self.pending if piece.content is None]
            return
        for piece in self.pending:
            apply(self.content, piece)
        self.pending, self.synced = [], True

    def after_the_cut(self, rng: random.Random, kept: float) -> bytearray | None:
        """Its content; None when there is no such file."""
        if (not self.synced or self.deleted) and rng.random() > kept:
            return None
        content = bytearray(self.content)
        for piece in (*self.stale, *self.pending):
            for part in sectors(piece):
                if rng.random() < kept:
                    apply(content, part)
        return content


def apply(content: bytearray, piece: Piece) -> None:
    if piece.content is None:
        del content[piece.offset :]
        return
    if len(content) < piece.offset:
        content.extend(bytes(piece.offset - len(content)))
    content[piece.offset : piece.offset + len(piece.content)] = piece.content


def sectors(piece: Piece) -> Iterable[Piece]:
    """The parts of a write that reach the disk or not, each by itself."""
    if piece.content is None:
        yield piece
        return
    at, end = piece.offset, piece.offset + len(piece.content)
    while at < end:
        until = min(end, (at // SECTOR + 1) * SECTOR)
        yield Piece(at, piece.content[at - piece.offset : until - piece.offset])
        at = until


class Disk:
    """All files, as far as the log was followed."""

    def __init__(self) -> None:
        self.files: dict[str, DiskFile] = {}

    def follow(self, event: Event) -> None:
        """One event of `LoggingVfs`; others mean nothing to a disk."""
        kind, name, *rest = event
        if kind == "delete" and name in self.files:
            if rest[0]:
                del self.files[name]
            else:
                self.files[name].deleted = True
        elif kind in ("write", "truncate"):
            file = self.files.get(name)
            if file is None or file.deleted:
                file = self.files[name] = DiskFile()
            file.write(Piece(rest[0], rest[1] if kind == "write" else None))
        elif kind == "sync" and name in self.files:
            first = not self.files[name].synced
            self.files[name].sync(rest[0])
            if rest[0] and first and name.endswith(LOGS):
                self.files = {name: file for name, file in self.files.items() if not file.deleted}

    def cut(self, rng: random.Random, folder: Path) -> None:
        """Write the files as they are after a cut at this moment."""
        kept: Any = rng.choice((0.0, rng.random(), rng.random(), 1.0))
        for old in folder.iterdir():
            old.unlink()
        for name, file in self.files.items():
            content = file.after_the_cut(rng, kept)
            if content is not None:
                (folder / name).write_bytes(content)
