"""Copies of the whole ledger: made beside a running service, checked before they take a ledger's place."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from otel_finops.audit.clockwork import note
from otel_finops.base.clock import Clock, SystemClock
from otel_finops.base.errors import BadInput, StartRefused
from otel_finops.identity.principals import LOCAL
from otel_finops.ledger.verify import Report, verify
from otel_finops.settings.tree import Settings
from otel_finops.store.backup import Progress, back_up, copy_to_try, put_in_place, restore_postgres, without_others
from otel_finops.store.engine import Store
from otel_finops.store.sqlite import SqliteDriver
from otel_finops.store.upgrade import head, revision


class Restored(NamedTuple):
    """What restoring came to.

    Attributes:
        done: the copy is the ledger now; without it nothing was changed, because its chain does not verify.
        revision: of the copy's tables; one older than the program's waits for `db upgrade`.
        report: what walking its chain found; None for an older revision, which can be walked after its upgrade.
        former: where the former SQLite database lies; None when there was none.
    """

    done: bool
    revision: str
    report: Report | None
    former: Path | None = None


def back_up_database(settings: Settings, file: Path, *, overwrite: bool = False, progress: Progress = lambda done, all_: None) -> int:
    """Copy the database that the settings name, of whatever revision, to a file of mode 0600; returns its bytes.

    Raises:
        StartRefused: there is no such database.
        BadInput, Busy, Unavailable: see `store.backup.back_up`.
    """
    store = Store.open(settings.database.url, SystemClock(), create=False)
    try:
        back_up(store, file.absolute(), overwrite=overwrite, progress=progress)
    finally:
        store.close()
    return file.stat().st_size


def restore_database(settings: Settings, file: Path, *, overwrite: bool = False, clock: Clock | None = None) -> Restored:
    """Let a copy become the database that the settings name, once it is checked: every page, its revision, its chain of blocks.

    Args:
        overwrite: the database may hold entries; a SQLite file is kept under another name.

    Raises:
        BadInput: the copy cannot be used, or the database holds entries.
        Busy: a service uses the database.
    """
    clock = clock or SystemClock()
    if not settings.database.url.startswith("sqlite"):
        return _restore_postgres(settings, file, overwrite, clock)
    database = SqliteDriver.path_of(settings.database.url)
    if file.absolute() == database:
        raise BadInput(f"{file} is the database itself: name the backup")
    with copy_to_try(file.absolute(), database) as tried:
        tested = _tested(Store.open(f"sqlite:///{tried}", clock, create=False), file)
        if not tested.done:
            return tested
        with without_others(database) as holds_something:
            if holds_something and not overwrite:
                raise BadInput(f"{database} holds entries or spans: give --overwrite to put the backup in its place (it is kept beside it)")
            former = put_in_place(tried, database, clock)
    return _noted(Store.open(settings.database.url, clock), tested._replace(former=former), file)


def _restore_postgres(settings: Settings, file: Path, overwrite: bool, clock: Clock) -> Restored:
    """An empty database is asked for: dropping tables and filling them anew could not be one step."""
    store = Store.open(settings.database.url, clock)
    try:
        if revision(store) is not None:
            said = "--overwrite is for SQLite; " if overwrite else ""
            raise BadInput(f"the database has tables already: {said}create an empty database and name that one in database.url")
        restore_postgres(store, file)
    except StartRefused as fault:
        raise BadInput(str(fault)) from fault
    finally:
        store.close()
    tested = _tested(Store.open(settings.database.url, clock), file)._replace(done=True)
    return _noted(Store.open(settings.database.url, clock), tested, file)


def _noted(store: Store, done: Restored, file: Path) -> Restored:
    """Put on record, in the ledger that was restored, that it was; one of an older revision has no trail to do so. Closes it."""
    try:
        if done.report is not None:
            after = {"file": file.name, "entries": done.report.entries, "former": done.former and done.former.name}
            note(store, store.clock, "db.restore", None, after, who=LOCAL.who)
    finally:
        store.close()
    return done


def _tested(store: Store, file: Path) -> Restored:
    """Revision and chain of a copy; closes it."""
    try:
        found = revision(store)
        if found is None:
            raise BadInput(f"{file} holds no ledger")
        if found != head():
            return Restored(True, found, None)
        with store.read() as transaction:
            report = verify(transaction)
        return Restored(report.sound, found, report)
    except StartRefused as fault:
        raise BadInput(str(fault).replace(store.place, str(file))) from fault
    finally:
        store.close()
