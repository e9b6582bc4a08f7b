"""Commands of streaming operations: they write a file to standard output, from a database of this machine or from a service."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Final

import typer

from otel_finops.base.errors import BadInput, FinopsError
from otel_finops.base.limits import MIB
from otel_finops.surfaces.cli.progress import shown
from otel_finops.surfaces.cli.runtime import settings_of
from otel_finops.surfaces.cli.transport import service_of

if TYPE_CHECKING:
    from otel_finops.operations.registry import Operation
    from otel_finops.operations.streams import Streamed
    from otel_finops.settings import Settings

_PIECE_BYTES: Final = 64 * 1024


def write_stream(context: typer.Context, one: Operation, given: Streamed, *, as_json: bool) -> None:
    """Write all of a stream, in the format that was asked for.

    Raises:
        BadInput: what is asked for contradicts itself, or cannot be shown on a terminal.
        FinopsError: what the operation raises; behind the first row it is said that the output is not whole.
    """
    if as_json and given.format != "jsonl":
        raise BadInput(f"--json asks for JSON lines and --format for {given.format}: give one of them")
    if (given.gzip or given.format == "parquet") and sys.stdout.isatty():
        raise BadInput("this output is no text: send it to a file, e.g. with `> FILE`")
    written = 0
    with shown(one.name) as told, closing(_pieces(context, one, given)) as pieces:
        try:
            for piece in pieces:
                written += sys.stdout.buffer.write(piece)
                if not sys.stdout.isatty():
                    told("MiB", written // MIB, None)
        except FinopsError:
            if written:
                print("otel-finops: the output is not whole", file=sys.stderr)
            raise


def _pieces(context: typer.Context, one: Operation, given: Streamed) -> Generator[bytes]:
    service = service_of(context)
    if service is None:
        yield from _local(settings_of(context), one, given)
        return
    from otel_finops.operations.requests import request_of  # noqa: PLC0415 - `--help` must not load the operations

    with service.answer(request_of(one, given)) as response:
        yield from response.stream(_PIECE_BYTES, decode_content=True)


def _local(settings: Settings, one: Operation, given: Streamed) -> Iterator[bytes]:
    from otel_finops.identity.principals import LOCAL  # noqa: PLC0415 - `--help` must not load the database rooms
    from otel_finops.operations.local import open_room  # noqa: PLC0415
    from otel_finops.operations.streams import open_stream  # noqa: PLC0415
    from otel_finops.surfaces.exports.formats import encoded  # noqa: PLC0415

    with open_room(settings) as room:
        yield from encoded(open_stream(one, room.context, LOCAL, given), given)
