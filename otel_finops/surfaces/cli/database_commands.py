"""`db upgrade`, `db backup` and `db restore`: they work on the database's own files, so no service can be asked for them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from otel_finops.surfaces.cli.generated import JsonOption
from otel_finops.surfaces.cli.progress import shown
from otel_finops.surfaces.cli.runtime import CHECK_FAILED, guarded, settings_of, write_json
from otel_finops.surfaces.cli.texts import safe

if TYPE_CHECKING:
    from otel_finops.operations.backups import Restored


@guarded
def db_upgrade(context: typer.Context, as_json: JsonOption = False) -> None:
    """Create the database's tables, or bring them to this version; a SQLite file is copied before."""
    from otel_finops.operations.local import upgrade_database  # noqa: PLC0415 - `--help` must not load the database rooms

    with shown("upgrade"):
        done = upgrade_database(settings_of(context))
    if as_json:
        write_json({"before": done.before, "after": done.after, "copy": done.copy and str(done.copy)})
    elif done.before == done.after:
        print(f"The database is at revision {done.after} already.")
    else:
        copy = f"; the former one was copied to {done.copy}" if done.copy else ""
        print(f"The database is at revision {done.after} now{copy}.")


@guarded
def db_backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where the copy goes; only this user can read it.", metavar="FILE")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE when it exists.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy the whole database to a file while the service runs; PostgreSQL by pg_dump (docs/operating.md)."""
    from otel_finops.operations.backups import back_up_database  # noqa: PLC0415 - `--help` must not load the database rooms

    settings = settings_of(context)
    with shown("backup") as told:
        copied = back_up_database(settings, file, overwrite=overwrite, progress=lambda done, all_: told("pages", done, all_))
    if as_json:
        write_json({"file": str(file), "bytes": copied})
    else:
        print(f"The database was copied to {file} ({copied:,} bytes). Check it where it is kept: otel-finops db restore to another place.")


@guarded
def db_restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="What `db backup` wrote; it is only read.", metavar="FILE")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also when the database holds entries; a SQLite file is kept under another name.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a backup (pages, revision, chain of blocks) and put it in the database's place, which no service may use; exit code 1: its
    chain is broken.
    """
    from otel_finops.operations.backups import restore_database  # noqa: PLC0415 - `--help` must not load the database rooms

    settings = settings_of(context)
    with shown("restore"):
        result = restore_database(settings, file, overwrite=overwrite)
    if as_json:
        write_json(_as_json(result))
    else:
        _tell(result, file)
    if result.report is not None and result.report.faults:
        raise typer.Exit(CHECK_FAILED)


def _as_json(result: Restored) -> dict[str, Any]:
    report = result.report
    return {
        "done": result.done,
        "revision": result.revision,
        "former": None if result.former is None else str(result.former),
        "entries": None if report is None else report.entries,
        "blocks": None if report is None else report.blocks,
        "faults": [{"place": fault.place, "message": fault.what} for fault in report.faults] if report else [],
    }


def _tell(result: Restored, file: Path) -> None:
    """What was done to standard output, what is wrong to standard error."""
    for fault in result.report.faults if result.report else ():
        print(safe(f"{fault.place}: {fault.what}"), file=sys.stderr)
    if not result.done:
        print(f"{file} was not restored: its chain of blocks is broken.", file=sys.stderr)
        return
    if result.former is not None:
        print(f"The former database is {result.former} now.")
    if result.report is None:
        print(f"Restored, of the older revision {result.revision}: run `otel-finops db upgrade`, then `otel-finops ledger verify`.")
    else:
        print(f"Restored: {result.report.entries:,} entries in {result.report.blocks:,} blocks.")
