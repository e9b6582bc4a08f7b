"""Commands that are no operation: they stream, act on files, or end with an exit code of their own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from otel_finops.base.errors import BadInput
from otel_finops.surfaces.cli.price_commands import fx_import, prices_diff, prices_refresh
from otel_finops.surfaces.cli.proofs import audit_head, audit_verify, ledger_head, ledger_verify
from otel_finops.surfaces.cli.runtime import CHECK_FAILED, guarded, settings_of, write_lines

if TYPE_CHECKING:
    from otel_finops.base.clock import Clock
    from otel_finops.operations.local import Room
    from otel_finops.pricing.engine import PriceEngine
    from otel_finops.settings import Settings

_HEAD_FILE_BYTES_MAX: Final = 65_536


class ExportFormat(StrEnum):
    """Formats of `ledger export`."""

    jsonl = "jsonl"
    csv = "csv"


@guarded
def price(context: typer.Context) -> None:
    """Price records of standard input, one JSON object a line (docs/pricing.md)."""
    from otel_finops.pricing.calculator import price_lines  # noqa: PLC0415 - `--help` must not load the price rooms

    _calculate(context, price_lines)


@guarded
def resolve(context: typer.Context) -> None:
    """Find the price row of every model of standard input, one JSON object a line."""
    from otel_finops.pricing.calculator import resolve_lines  # noqa: PLC0415 - as above

    _calculate(context, resolve_lines)


def _calculate(context: typer.Context, calculator: Callable[[Iterable[str], PriceEngine, Clock], Iterator[str]]) -> None:
    from otel_finops.base.clock import SystemClock  # noqa: PLC0415 - as above

    engine = _engine(settings_of(context))
    lines = (raw.decode("utf-8", "replace") for raw in sys.stdin.buffer)
    for answer in calculator(lines, engine, SystemClock()):
        sys.stdout.write(answer.rstrip("\n") + "\n")
        sys.stdout.flush()


def _engine(settings: Settings) -> PriceEngine:
    """The price book of the settings' ledger, with its lists and house rules; where there is no ledger, that of the settings' list."""
    if not _has_ledger(settings.database.url):
        from otel_finops.pricing.engine import PriceEngine  # noqa: PLC0415 - as above

        return PriceEngine.load(settings.prices.path)
    from otel_finops.operations.local import open_room  # noqa: PLC0415 - a calculator without a ledger must not load the database rooms

    with open_room(settings) as room:
        return room.prices.fresh()


def _has_ledger(url: str) -> bool:
    """False for a SQLite file that is not there."""
    scheme, _, file = url.partition(":///")
    return not scheme.startswith("sqlite") or Path(file.partition("?")[0]).exists()


@guarded
def ledger_export(
    context: typer.Context,
    net: Annotated[bool, typer.Option("--net", help="One row for every span that stands, corrections folded in.")] = False,
    canonical: Annotated[bool, typer.Option("--canonical", help="With --net: the form that two ledgers of the same spans share.")] = False,
    subjects: Annotated[bool, typer.Option("--subjects", help="Users and sessions in clear instead of as references.")] = False,
    form: Annotated[ExportFormat, typer.Option("--format", help="jsonl or csv.")] = ExportFormat.jsonl,
) -> None:
    """Write the ledger to standard output, in constant memory."""
    if canonical and not (net and form is ExportFormat.jsonl):
        raise BadInput("--canonical goes with --net and --format jsonl")
    from otel_finops.operations.local import open_room  # noqa: PLC0415 - `--help` must not load the database rooms

    with open_room(settings_of(context)) as room:
        write_lines(_exported(room, net, canonical, subjects, form))


def _exported(room: Room, net: bool, canonical: bool, subjects: bool, form: ExportFormat) -> Iterator[str]:
    from otel_finops.ledger.export import export_canonical, export_entries, export_net  # noqa: PLC0415 - as above

    with room.store.read() as transaction:
        if canonical:
            yield from export_canonical(transaction, None, room.subjects)
            return
        export = export_net if net else export_entries
        yield from export(transaction, None, form.value, subjects=room.subjects if subjects else None)


@guarded
def db_upgrade(context: typer.Context) -> None:
    """Create the database's tables, or bring them to this version; a SQLite file is copied before."""
    from otel_finops.operations.local import upgrade_database  # noqa: PLC0415 - `--help` must not load the database rooms

    done = upgrade_database(settings_of(context))
    if done.before == done.after:
        print(f"The database is at revision {done.after} already.")
    else:
        copy = f"; the former one was copied to {done.copy}" if done.copy else ""
        print(f"The database is at revision {done.after} now{copy}.")


@guarded
def db_backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where the copy goes; only this user can read it.", metavar="FILE")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE when it exists.")] = False,
) -> None:
    """Copy the whole database to a file while the service runs; PostgreSQL by pg_dump (docs/operating.md)."""
    from otel_finops.operations.backups import back_up_database  # noqa: PLC0415 - `--help` must not load the database rooms

    copied = back_up_database(settings_of(context), file, overwrite=overwrite, progress=_show_pages)
    print(f"The database was copied to {file} ({copied:,} bytes). Check it where it is kept: otel-finops db restore to another place.")


def _show_pages(done: int, all_: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,}/{all_:,} pages", end="\n" if done == all_ else "", file=sys.stderr, flush=True)


@guarded
def db_restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="What `db backup` wrote; it is only read.", metavar="FILE")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also when the database holds entries; a SQLite file is kept under another name.")
    ] = False,
) -> None:
    """Check a backup (pages, revision, chain of blocks) and put it in the database's place, which no service may use; exit code 1: its
    chain is broken.
    """
    from otel_finops.operations.backups import restore_database  # noqa: PLC0415 - `--help` must not load the database rooms

    result = restore_database(settings_of(context), file, overwrite=overwrite)
    for fault in result.report.faults if result.report else ():
        print(f"{fault.place}: {fault.what}", file=sys.stderr)
    if not result.done:
        print(f"{file} was not restored: its chain of blocks is broken.", file=sys.stderr)
        raise typer.Exit(CHECK_FAILED)
    if result.former is not None:
        print(f"The former database is {result.former} now.")
    if result.report is None:
        print(f"Restored, of the older revision {result.revision}: run `otel-finops db upgrade`, then `otel-finops ledger verify`.")
        return
    print(f"Restored: {result.report.entries:,} entries in {result.report.blocks:,} blocks.")
    if result.report.faults:
        raise typer.Exit(CHECK_FAILED)


HAND_WRITTEN: Final[dict[tuple[str, ...], tuple[Callable[..., None], str | None]]] = {
    ("price",): (price, None),
    ("resolve",): (resolve, None),
    ("prices", "refresh"): (prices_refresh, "prices"),
    ("prices", "diff"): (prices_diff, "prices"),
    ("fx", "import"): (fx_import, "fx"),
    ("ledger", "export"): (ledger_export, "ledger"),
    ("ledger", "verify"): (ledger_verify, "ledger"),
    ("ledger", "head"): (ledger_head, "ledger"),
    ("audit", "verify"): (audit_verify, "audit"),
    ("audit", "head"): (audit_head, "audit"),
    ("db", "upgrade"): (db_upgrade, None),
    ("db", "backup"): (db_backup, None),
    ("db", "restore"): (db_restore, None),
}
"""Function and feature switch by the command's words; they stand in place of generated ones of the same words."""
