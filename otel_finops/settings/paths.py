"""Paths of files, as settings may name them."""

from __future__ import annotations

from pathlib import PurePath


def file_path(text: str) -> str:
    """The path itself; raises ValueError for one that climbs, or that no file can have."""
    if "\0" in text or ".." in PurePath(text).parts:
        raise ValueError("a path must not climb with '..'; write it absolute or below the working folder")
    return text
