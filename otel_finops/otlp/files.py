"""Export requests from files: what the Collector's file exporter writes, and single requests as exporters send them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

import orjson

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import BODY_BYTES_MAX
from otel_finops.base.protocols import Credential, ExportRequest

SUFFIXES: Final = (".binpb", ".json", ".jsonl")
_LENGTH_BYTES: Final = 4


def check_readable(paths: Sequence[Path]) -> None:
    """Refuse before anything is taken in, when a name among many is wrong.

    Raises:
        BadInput: names every file that is missing, unreadable or of an unknown kind.
    """
    faults = [fault for path in paths if (fault := _fault_of(path))]
    if faults:
        raise BadInput("; ".join(faults))


def _fault_of(path: Path) -> str | None:
    if path.suffix not in SUFFIXES:
        return f"{path}: unknown kind of file; OTLP files end in {', '.join(SUFFIXES)}"
    try:
        with path.open("rb"):
            return None
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}"


def read_requests(path: Path, credential: Credential) -> Iterator[ExportRequest]:
    """The requests of one file, one at a time.

    Args:
        path: `.binpb` (one protobuf request, or several behind four-byte big-endian lengths), `.json` (one JSON object, or
            one a line) or `.jsonl` (one a line).
        credential: who is taken to have sent them.

    Raises:
        BadInput: the file cannot be read or is of another kind; the message names it.
    """
    check_readable([path])
    try:
        with path.open("rb") as file:
            if path.suffix == ".binpb":
                bodies = _protobuf_bodies(path, file)
            elif path.suffix == ".json":
                bodies = _json_bodies(path, file)
            else:
                bodies = _lines(path, file)
            for body in bodies:
                yield ExportRequest(body, "protobuf" if path.suffix == ".binpb" else "json", credential)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error


def _protobuf_bodies(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    """One request, or length-delimited ones: a protobuf message cannot begin with a zero byte, a length below 16 MiB does."""
    if file.peek(1)[:1] != b"\0":  # type: ignore[attr-defined]
        yield _bounded(path, file)
        return
    while prefix := file.read(_LENGTH_BYTES):
        size = int.from_bytes(prefix, "big")
        body = file.read(size) if size <= BODY_BYTES_MAX else b""
        if len(prefix) != _LENGTH_BYTES or len(body) != size:
            raise BadInput(f"{path}: broken off, or no OTLP file: byte {file.tell()}")
        yield body


def _json_bodies(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    """One object over any number of lines; else one a line."""
    first = file.readline(BODY_BYTES_MAX + 1)
    file.seek(0)
    if _is_object(first):
        yield from _lines(path, file)
    else:
        yield _bounded(path, file)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _lines(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    number = 0
    while line := file.readline(BODY_BYTES_MAX + 1):
        number += 1
        if len(line) > BODY_BYTES_MAX:
            raise BadInput(f"{path}: line {number} is longer than {BODY_BYTES_MAX} bytes")
        if line.strip():
            yield line


def _bounded(path: Path, file: IO[bytes]) -> bytes:
    body = file.read(BODY_BYTES_MAX + 1)
    if len(body) > BODY_BYTES_MAX:
        raise BadInput(f"{path}: one request of more than {BODY_BYTES_MAX} bytes; split it, or write one request a line (.jsonl)")
    return body
