"""Rows of CSV and Parquet files, one at a time, as texts and numbers by column."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, NamedTuple, TypeAlias

from otel_finops.base.errors import BadInput, TooLarge
from otel_finops.base.limits import BILL_COLUMNS_MAX, BILL_ROW_CHARS_MAX, BILL_ROWS_MAX

try:
    from pyarrow import ArrowInvalid
    from pyarrow import parquet as pq
except ImportError:
    pq = ArrowInvalid = None

Row: TypeAlias = Mapping[str, Any]
PARQUET_MAGIC: Final = b"PAR1"
_DELIMITERS: Final = ",;\t|"
_BATCH_ROWS: Final = 20_000


class Table(NamedTuple):
    """Columns, and the rows with the numbers of their lines or places; `rows` can be read once."""

    columns: Sequence[str]
    rows: Iterator[tuple[int, Row]]


def csv_table(raw: bytes, name: str) -> Table:
    """A CSV file with a header; the delimiter is the one of comma, semicolon, tab and bar that the header has most of.

    Raises:
        BadInput: no UTF-8, no header, or, as rows are read, a row that is broken.
        TooLarge: more columns, or as rows are read longer lines or more of them, than any bill has.
    """
    text = io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8-sig", newline="")
    try:
        head = next(_lines(text, name), "")
        text.seek(0)
        reader = csv.reader(_lines(text, name), delimiter=max(_DELIMITERS, key=head.count), strict=True)
        columns = [column.strip() for column in next(reader, [])]
    except (UnicodeDecodeError, csv.Error) as fault:
        raise _broken(name, 1, fault) from None
    if len(columns) > BILL_COLUMNS_MAX:
        raise TooLarge(f"{name}: more than {BILL_COLUMNS_MAX} columns")
    if not any(columns) or len(set(columns)) != len(columns):
        raise BadInput(f"{name}: the first line must name the columns, each once")
    return Table(columns, _csv_rows(reader, columns, name))


def _lines(text: io.TextIOWrapper, name: str) -> Iterator[str]:
    """Line by line: one that is all of a file would be as many values as the file has bytes."""
    for number, line in enumerate(iter(lambda: text.readline(BILL_ROW_CHARS_MAX + 1), ""), 1):
        if len(line) > BILL_ROW_CHARS_MAX:
            raise TooLarge(f"{name}, line {number}: longer than {BILL_ROW_CHARS_MAX} characters")
        yield line


def _csv_rows(reader: Any, columns: Sequence[str], name: str) -> Iterator[tuple[int, Row]]:
    while True:
        try:
            values = next(reader, None)
        except (UnicodeDecodeError, csv.Error) as fault:
            raise _broken(name, reader.line_num, fault) from None
        if values is None:
            return
        if not any(values):
            continue
        if len(values) != len(columns):
            raise BadInput(f"{name}, line {reader.line_num}: {len(values)} values under {len(columns)} columns")
        if reader.line_num > BILL_ROWS_MAX:
            raise TooLarge(f"{name}: more than {BILL_ROWS_MAX} lines; import it in parts")
        yield reader.line_num, dict(zip(columns, values, strict=True))


def _broken(name: str, line: int, fault: Exception) -> BadInput:
    said = "is no UTF-8" if isinstance(fault, UnicodeDecodeError) else f"is no CSV: {fault}"
    return BadInput(f"{name}, line {line}: {said}")


def parquet_table(raw: bytes, name: str) -> Table:
    """A Parquet file.

    Raises:
        BadInput: it cannot be read, or pyarrow is not installed.
    """
    if pq is None:
        raise BadInput(f"{name}: Parquet needs an extra that is not installed here: pip install 'otel-finops[parquet]'; or send it as CSV")
    try:
        file = pq.ParquetFile(io.BytesIO(raw))
    except (ArrowInvalid, OSError):
        raise BadInput(f"{name}: is no Parquet file that can be read") from None
    if file.metadata.num_rows > BILL_ROWS_MAX:
        raise TooLarge(f"{name}: more than {BILL_ROWS_MAX} rows; import it in parts")
    return Table(file.schema_arrow.names, _parquet_rows(file, name))


def _parquet_rows(file: Any, name: str) -> Iterator[tuple[int, Row]]:
    number = 0
    try:
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield number, {key: _plain(value) for key, value in row.items()}
    except (ArrowInvalid, OSError):
        raise BadInput(f"{name}: cannot be read beyond row {number}") from None


def _plain(value: Any) -> Any:
    """Times as texts, and lists of pairs as mappings, as Parquet keeps maps."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, list) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        return dict(value)
    return value
