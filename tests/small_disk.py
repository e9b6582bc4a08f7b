"""A file system of limited size, for tests of full disks."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

Resize = Callable[[str], None]


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Resize]:
    """Mount a file system in memory on `folder`, e.g. of `3m`; gives the function that resizes it."""

    def mount(*words: str) -> int:
        return subprocess.run(["mount", *words, str(folder)], capture_output=True, check=False).returncode

    def resize(to: str) -> None:
        assert mount("-o", f"remount,size={to}") == 0

    if mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs") != 0:
        pytest.skip("SKIPPED LOUDLY: this user may not mount a file system of limited size")
    try:
        yield resize
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
