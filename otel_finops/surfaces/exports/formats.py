"""The formats of a stream: which there are, what they are called, and their bytes piece by piece."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

import orjson

from otel_finops.base.times import NS_PER_SECOND, format_ns
from otel_finops.operations.registry import Json
from otel_finops.operations.streams import Column, LedgerFormat, Stream, Streamed
from otel_finops.surfaces.exports.cells import Cells, cells, harmless

GZIP: Final = "application/gzip"
_GZIP_LEVEL: Final = 6
_GZIP_CONTAINER: Final = 31
"""zlib's sign for a gzip header; it writes no time into it, so that equal rows are equal bytes."""


class Kind(NamedTuple):
    """What a format is called."""

    media_type: str
    suffix: str


KINDS: Final[dict[LedgerFormat, Kind]] = {
    "jsonl": Kind("application/x-ndjson", "jsonl"),
    "csv": Kind("text/csv; charset=utf-8; header=present", "csv"),
    "parquet": Kind("application/vnd.apache.parquet", "parquet"),
    "focus": Kind("text/csv; charset=utf-8; header=present", "csv"),
}


class Encoder(Protocol):
    """Turns rows into bytes. What it holds back is bounded."""

    def begin(self) -> bytes:
        """What stands before the first row."""
        ...

    def rows(self, batch: Sequence[Json], /) -> bytes:
        """Further rows; empty while it collects them."""
        ...

    def end(self) -> bytes:
        """The rest. Without it the file is not whole."""
        ...


class JsonLines:
    """One JSON object a line, exactly the rows."""

    def __init__(self, *, sorted_keys: bool) -> None:
        self._options = orjson.OPT_APPEND_NEWLINE | (orjson.OPT_SORT_KEYS if sorted_keys else 0)

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def rows(self, batch: Sequence[Json], /) -> bytes:
        """A line each."""
        return b"".join([orjson.dumps(row, option=self._options) for row in batch])

    def end(self) -> bytes:
        """Nothing."""
        return b""


class Csv:
    """RFC 4180 in UTF-8 with a header; nothing stands for null, and texts are harmless (`cells`)."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns

    def begin(self) -> bytes:
        """The header."""
        return _lines([[harmless(column.name) for column in self._columns]])

    def rows(self, batch: Sequence[Json], /) -> bytes:
        """A line each, unless a text holds line breaks."""
        table = table_of(self._columns, batch)
        return _lines(zip(*[cells(column.kind, values) for column, values in zip(self._columns, table, strict=True)], strict=True))

    def end(self) -> bytes:
        """Nothing."""
        return b""


def _lines(rows: Sequence[Sequence[str]] | zip[tuple[object, ...]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def table_of(columns: Sequence[Column], batch: Sequence[Json]) -> list[Cells]:
    """The rows as columns of values; None where a row holds nothing."""
    known: dict[tuple[str, ...], Sequence[Any]] = {(): batch}
    for column in columns:
        # A loop, as a function that calls itself would keep every batch until cycles are collected, which a service does seldom.
        for depth in range(1, len(column.path) + 1):
            path = column.path[:depth]
            if path not in known:
                known[path] = [None if holder is None else holder.get(path[-1]) for holder in known[path[:-1]]]
    return [known[column.path] for column in columns]


def encoded(stream: Stream, given: Streamed) -> Iterator[bytes]:
    """The stream's bytes in the format that was asked for, in pieces, some of them empty; closing the iterator closes the stream.

    Raises:
        BadInput: this installation cannot write the format. Whatever the stream raises, when its rows are read.
    """
    encoder = _encoder(stream, given.format)
    return compressed(_pieces(encoder, stream), _GZIP_LEVEL) if given.gzip else _pieces(encoder, stream)


def media_type(given: Streamed) -> str:
    """What the bytes are."""
    return GZIP if given.gzip else KINDS[given.format].media_type


def file_name(stream: Stream, given: Streamed, now_ns: int) -> str:
    """A name to keep it under, e.g. `otel-finops-usage-20261122T093000Z.csv.gz`."""
    moment = format_ns(now_ns // NS_PER_SECOND * NS_PER_SECOND).partition(".")[0].replace("-", "").replace(":", "")
    return f"otel-finops-{stream.name}-{moment}Z.{KINDS[given.format].suffix}{'.gz' if given.gzip else ''}"


def _encoder(stream: Stream, form: LedgerFormat) -> Encoder:
    if form == "jsonl":
        return JsonLines(sorted_keys=stream.sorted_keys)
    if form in ("csv", "focus"):
        return Csv(stream.columns)
    from otel_finops.surfaces.exports.parquet import parquet_of  # noqa: PLC0415 - it needs an optional extra, which takes long to load

    return parquet_of(stream.columns)


def _pieces(encoder: Encoder, stream: Stream) -> Iterator[bytes]:
    yield encoder.begin()
    for batch in stream.batches:
        yield encoder.rows(batch)
    yield encoder.end()


def compressed(pieces: Iterator[bytes], level: int) -> Iterator[bytes]:
    """The pieces as one gzip stream."""
    packer = zlib.compressobj(level, zlib.DEFLATED, _GZIP_CONTAINER)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()
