"""Operations that answer with a stream of rows: exports of any size, in constant memory.

A streaming operation is declared like every other (`@operation(..., streams=True)`); its handler gives a `Stream`, and route and command
are made from the declaration. What the handler checks it checks before it returns, so that a surface can still answer with a fault; the
rows come later, a batch at a time, and no batch holds a transaction of the database open while its reader is slow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from pydantic import BeforeValidator, Field

from otel_finops.base.errors import BadInput
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.registry import Input, Json, Operation, admit

Kind: TypeAlias = Literal["text", "integer", "number", "flag", "money", "instant", "second", "json"]
"""What a column holds: `number` may have a fraction, `flag` is true or false, `money` is a decimal string of USD with at most twelve
digits after the point, `instant` is RFC 3339 in UTC with nine digits, `second` the same in whole seconds, `json` is any JSON value."""
Format: TypeAlias = Literal["jsonl", "csv", "parquet"]
LedgerFormat: TypeAlias = Literal["jsonl", "csv", "parquet", "focus"]
"""`focus` is CSV with the columns of FOCUS; its stream must have them."""


class Column(NamedTuple):
    """A column of the formats that are tables.

    Attributes:
        name: its header, which stays the same from version to version.
        kind: what it holds; every column may be null.
        path: the keys under which a row holds the value, outermost first.
    """

    name: str
    kind: Kind
    path: tuple[str, ...]


class Stream(NamedTuple):
    """What a streaming handler gives.

    Attributes:
        name: what the rows are, for the name of a file: `usage`, `ledger-net`.
        columns: for CSV and Parquet, in order; JSON lines hold the rows as they are.
        batches: JSON rows, some hundreds at a time; closing the iterator frees what it holds.
        sorted_keys: JSON lines have their keys sorted.
    """

    name: str
    columns: Sequence[Column]
    batches: Iterator[Sequence[Json]]
    sorted_keys: bool = False


def _format(value: Any) -> Any:
    if value == "focus":
        raise ValueError("focus is a form of the whole ledger: ask ledger.export or focus.export; here write jsonl, csv or parquet")
    return value


class Streamed(Input):
    """How a stream is written; base of the input of every streaming operation."""

    format: Annotated[Format, BeforeValidator(_format)] = Field(default="jsonl", description="jsonl, csv or parquet.")
    gzip: bool = Field(default=False, description="Compress jsonl or csv; parquet is compressed by itself.")


def open_stream(one: Operation, context: Context, principal: Principal, given: Streamed) -> Stream:
    """Begin a streaming operation for a principal: the only way to its rows, whatever the surface.

    Raises:
        NotFound, Forbidden, BadInput, Busy, Unavailable: as `registry.invoke`; the rows' iterator raises the last two as well.
    """
    admit(one, context, principal)
    if given.gzip and given.format == "parquet":
        raise BadInput("gzip: goes with jsonl or csv; parquet is compressed by itself")
    stream = one.handler(context, principal, given)
    assert isinstance(stream, Stream), f"{one.name} streams and must give a stream"
    return stream
