"""What SQLite does to its files, written down: a VFS between the standard library's SQLite and the operating system.

It is put in front of the SQLite that Python's own module uses, so the code under test runs unchanged, on the library it ships with.
Only a process of its own should do that: the VFS stays the default one until the process ends.

Events, in order: `("write", file, offset, bytes)`, `("truncate", file, size)`, `("sync", file, succeeded)`, `("delete", file, durably)`,
and whatever the caller appends.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import errno
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any, Final

Event = tuple[Any, ...]
IOERR_FSYNC: Final = 1034

_CLOSE = CFUNCTYPE(c_int, c_void_p)
_WRITE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)
_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p)
_DELETE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int)


class _Methods(Structure):
    """`sqlite3_io_methods`; what is only passed on is a bare pointer."""

    _fields_ = (
        ("version", c_int), ("close", _CLOSE), ("read", c_void_p), ("write", _WRITE), ("truncate", _TRUNCATE), ("sync", _SYNC),
        *((f"other_{number}", c_void_p) for number in range(13)),
    )  # fmt: skip


class _File(Structure):
    _fields_ = (("methods", POINTER(_Methods)),)


class _Vfs(Structure):
    """`sqlite3_vfs`."""

    _fields_ = (
        ("version", c_int), ("file_bytes", c_int), ("path_chars", c_int), ("next", c_void_p), ("name", c_char_p), ("data", c_void_p),
        ("open", _OPEN), ("delete", _DELETE), *((f"other_{number}", c_void_p) for number in range(14)),
    )  # fmt: skip


class LoggingVfs:
    """Logs to `events` from `install` on.

    Args:
        sync_fails: asked at every sync whether it fails: the operating system then says EIO, once, and takes what was to be written for
            written.
    """

    def __init__(self, sync_fails: Callable[[str], bool] = lambda name: False) -> None:
        self.events: list[Event] = []
        self._sync_fails = sync_fails
        self._names: dict[int, str] = {}
        self._tables: dict[int, _Methods] = {}

    def install(self) -> bool:
        """Become the default VFS; False when Python's SQLite cannot be reached from here."""
        try:
            library = ctypes.CDLL(_sqlite3.__file__)
            find, register = library.sqlite3_vfs_find, library.sqlite3_vfs_register
        except (AttributeError, OSError):
            return False
        find.restype = POINTER(_Vfs)
        self._inner = find(None)
        self._vfs = _Vfs()
        ctypes.pointer(self._vfs)[0] = self._inner[0]
        self._vfs.next, self._vfs.name = None, b"logging"
        self._vfs.open, self._vfs.delete = _OPEN(self._open), _DELETE(self._delete)
        return int(register(ctypes.byref(self._vfs), 1)) == 0

    def write_again(self, file: Path) -> None:
        """What the store does to a log in doubt by the operating system's own calls, past any VFS; logged and failing as they would."""
        if not file.exists():
            return
        failed = self._sync_fails(file.name)
        self.events += [("write", file.name, 0, file.read_bytes()), ("sync", file.name, not failed)]
        if failed:
            raise OSError(errno.EIO, "Input/output error")

    # Names go on as the pointers they came as: SQLite keeps them, and what stands behind them.

    def _open(self, _vfs: int, name: int | None, file: int, flags: int, out: int) -> int:
        code = self._inner[0].open(ctypes.cast(self._inner, c_void_p).value, name, file, flags, out)
        if code == 0:
            found = ctypes.cast(file, POINTER(_File))[0]
            self._names[file] = _name(name) if name else ""
            found.methods = ctypes.pointer(self._table(found.methods))
        return int(code)

    def _table(self, methods: Any) -> _Methods:
        at = ctypes.cast(methods, c_void_p).value or 0
        if at not in self._tables:
            inner, mine = methods[0], _Methods()
            ctypes.pointer(mine)[0] = inner
            mine.close, mine.write = _CLOSE(self._closing(inner)), _WRITE(self._writing(inner))
            mine.truncate, mine.sync = _TRUNCATE(self._truncating(inner)), _SYNC(self._syncing(inner))
            self._tables[at] = mine
        return self._tables[at]

    def _delete(self, _vfs: int, name: int, durably: int) -> int:
        self.events.append(("delete", _name(name), bool(durably)))
        return int(self._inner[0].delete(ctypes.cast(self._inner, c_void_p).value, name, durably))

    def _closing(self, inner: _Methods) -> Callable[[int], int]:
        def close(file: int) -> int:
            self._names.pop(file, None)
            return int(inner.close(file))

        return close

    def _writing(self, inner: _Methods) -> Callable[[int, int, int, int], int]:
        def write(file: int, content: int, size: int, offset: int) -> int:
            self.events.append(("write", self._names[file], offset, ctypes.string_at(content, size)))
            return int(inner.write(file, content, size, offset))

        return write

    def _truncating(self, inner: _Methods) -> Callable[[int, int], int]:
        def truncate(file: int, size: int) -> int:
            self.events.append(("truncate", self._names[file], size))
            return int(inner.truncate(file, size))

        return truncate

    def _syncing(self, inner: _Methods) -> Callable[[int, int], int]:
        def sync(file: int, flags: int) -> int:
            name = self._names[file]
            failed = self._sync_fails(name)
            self.events.append(("sync", name, not failed))
            return IOERR_FSYNC if failed else int(inner.sync(file, flags))

        return sync


def _name(pointer: int) -> str:
    return Path(ctypes.string_at(pointer).decode()).name
