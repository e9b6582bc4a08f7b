"""Parquet, by pyarrow: money as decimal128(38, 12), instants in nanoseconds UTC, row groups of bounded size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import PARQUET_GROUP_BYTES_MAX, PARQUET_GROUP_ROWS_MAX
from otel_finops.operations.registry import Json
from otel_finops.operations.streams import Column, Kind
from otel_finops.surfaces.exports.cells import Cells
from otel_finops.surfaces.exports.formats import Encoder, table_of

try:
    import pyarrow as pa
    from pyarrow import parquet as pq
except ImportError:
    pa = pq = None
_COMPRESSION: Final = "zstd"
_FORMAT: Final = "2.6"
"""The first version of the format with nanoseconds."""


def parquet_of(columns: Sequence[Column]) -> Encoder:
    """An encoder; raises BadInput where pyarrow is not installed."""
    if pa is None:
        raise BadInput(
            "format: parquet needs an extra that is not installed here: pip install 'otel-finops[parquet]'; or ask for csv or jsonl"
        )
    return Parquet(columns)


class Parquet:
    """Collects rows, in columns, until they are a row group; at the end stands the footer without which a reader refuses the file."""

    def __init__(self, columns: Sequence[Column]) -> None:
        types = _types()
        self._columns = columns
        self._schema = pa.schema([pa.field(column.name, types[column.kind]) for column in columns])
        self._sink = _Sink()
        self._writer = pq.ParquetWriter(pa.PythonFile(self._sink, "w"), self._schema, compression=_COMPRESSION, version=_FORMAT)
        self._waiting: list[Any] = []
        self._waiting_rows = self._waiting_bytes = 0

    def begin(self) -> bytes:
        """The magic number."""
        return self._sink.taken()

    def rows(self, batch: Sequence[Json], /) -> bytes:
        """A row group once there are enough rows for one."""
        table = table_of(self._columns, batch)
        arrays = [
            _array(column.kind, field.type, table[at]) for at, (column, field) in enumerate(zip(self._columns, self._schema, strict=True))
        ]
        self._collect(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        return self._sink.taken()

    def end(self) -> bytes:
        """The last row group and the footer."""
        self._write_group()
        self._writer.close()
        return self._sink.taken()

    def _collect(self, batch: Any) -> None:
        self._waiting.append(batch)
        self._waiting_rows += batch.num_rows
        self._waiting_bytes += batch.nbytes
        if self._waiting_rows >= PARQUET_GROUP_ROWS_MAX or self._waiting_bytes >= PARQUET_GROUP_BYTES_MAX:
            self._write_group()

    def _write_group(self) -> None:
        if self._waiting_rows:
            self._writer.write_table(pa.Table.from_batches(self._waiting), row_group_size=self._waiting_rows)
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0


class _Sink:
    """A file that is taken away piece by piece."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        return len(part)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self.closed = True

    def taken(self) -> bytes:
        whole = b"".join(self._parts)
        self._parts = []
        return whole


def _types() -> Mapping[Kind, Any]:
    return {
        "text": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "flag": pa.bool_(),
        "money": pa.decimal128(38, 12),
        "instant": pa.timestamp("ns", "UTC"),
        "second": pa.timestamp("ms", "UTC"),
        "json": pa.string(),
    }


def _array(kind: Kind, type_: Any, values: Cells) -> Any:
    if kind in ("money", "instant", "second"):
        return pa.array(values, pa.string()).cast(type_)
    if kind == "json":
        values = [None if value is None else orjson.dumps(value).decode() for value in values]
    return pa.array(values, type_)
