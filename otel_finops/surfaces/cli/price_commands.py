"""`prices refresh`, `prices diff` and `fx import`: they read files, which the operations behind them are handed as content."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Any

import typer

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import PRICE_FILE_BYTES_MAX
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.surfaces.cli.generated import JsonOption, KeyOption, finish, run_operation
from otel_finops.surfaces.cli.runtime import guarded

SourceOption = Annotated[str | None, typer.Option("--source", help="Which importer reads it; the one that recognises it when not given.")]
LimitOption = Annotated[str | None, typer.Option("--limit", help="Most rows of each kind that are listed. [default: 100]")]


@guarded
def prices_refresh(
    context: typer.Context,
    origin: Annotated[
        str | None, typer.Option("--from", help="A file, or an https URL; prices.refresh_from when not given.", metavar="FILE|URL")
    ] = None,
    source: SourceOption = None,
    sha256: Annotated[str | None, typer.Option("--sha256", help="The SHA-256 that the list must have.", metavar="HEX")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    accept: Annotated[bool, typer.Option("--accept", help="Take what the guards doubt, and leave out rows with unknown units.")] = False,
    valid_from: Annotated[str | None, typer.Option("--valid-from", help="From which moment of a call the changes hold; now.")] = None,
    limit: LimitOption = None,
    as_json: JsonOption = False,
    idempotency_key: KeyOption = None,
) -> None:
    """Read a price list and make it part of the price book, whole or not at all (docs/pricing.md)."""
    given: dict[str, Any] = {"source": source, "sha256": sha256, "valid_from": valid_from, "limit": limit, **_origin(origin)}
    _run(context, "prices.refresh", {**given, "dry_run": dry_run, "accept": accept}, as_json, idempotency_key)


@guarded
def prices_diff(
    context: typer.Context,
    before: Annotated[str | None, typer.Option("--before", help="A stored list; the one active before --after.")] = None,
    after: Annotated[str | None, typer.Option("--after", help="A stored list; the newest.")] = None,
    file: Annotated[str | None, typer.Option("--file", help="A list to hold against the active one of its source.", metavar="FILE")] = None,
    source: SourceOption = None,
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what changes between two stored price lists, or between the active one and a file."""
    content = None if file is None else _content(file)
    _run(context, "prices.diff", {"before": before, "after": after, "content": content, "source": source, "limit": limit}, as_json)


@guarded
def fx_import(
    context: typer.Context,
    origin: Annotated[
        str | None,
        typer.Option("--from", help="File or https:// URL: eurofxref-hist.zip, or the CSV or XML inside of it.", metavar="FILE|URL"),
    ] = None,
    sha256: Annotated[str | None, typer.Option("--sha256", help="The SHA-256 that the file must have.", metavar="HEX")] = None,
    as_json: JsonOption = False,
    idempotency_key: KeyOption = None,
) -> None:
    """Import the European Central Bank's exchange rates from a file."""
    _run(context, "fx.import", {**_origin(origin), "sha256": sha256}, as_json, idempotency_key)


def _origin(origin: str | None) -> dict[str, Any]:
    """A URL for the operation to fetch, or a file of this machine as content."""
    if origin is None or "://" in origin:
        return {"from": origin}
    return {"from": Path(origin).name, "content": _content(origin)}


def _run(context: typer.Context, name: str, given: dict[str, Any], as_json: bool, key: str | None = None) -> None:
    one = OPERATIONS.named(name)
    said = one.input.model_validate({name: value for name, value in given.items() if value is not None})
    finish(one, run_operation(context, one, said, key), as_json)


def _content(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return base64.b64encode(file.read(PRICE_FILE_BYTES_MAX + 1)).decode()
    except OSError as fault:
        raise BadInput(f"{path}: cannot be read: {fault.strerror or type(fault).__name__}") from fault
