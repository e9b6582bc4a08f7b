"""A throw-away PostgreSQL cluster on a unix socket, for tests."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/pgsql-*/bin")
_SETTINGS = "-c listen_addresses='' -c fsync=off -c full_page_writes=off -c max_connections=60 -c shared_buffers=64MB"


def _programs() -> Path:
    """The folder with initdb and pg_ctl, the newest version if there are several."""
    found = [Path(at).resolve().parent for at in (shutil.which("pg_ctl"),) if at]
    for pattern in _PLACES:
        found += sorted(Path("/").glob(pattern.lstrip("/")), reverse=True)
    for folder in found:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    pytest.skip("SKIPPED LOUDLY: no PostgreSQL server programs (initdb, pg_ctl); install postgresql to run these tests")


def _owner() -> str | None:
    """Whom to run the server as: nobody special, but root may not."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    for name in ("postgres", "nobody"):
        if name in names:
            return name
    pytest.skip("SKIPPED LOUDLY: running as root, and there is no other user to run the PostgreSQL server as")


def _run(folder: Path, *command: str) -> None:
    subprocess.run(
        [str(_programs() / command[0]), *command[1:]], user=_owner(), cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=60
    )


def _start(folder: Path) -> None:
    _run(folder, "pg_ctl", "-D", str(folder / "data"), "-o", f"-k {folder} {_SETTINGS}", "-l", str(folder / "log"), "-w", "start")


def _stop(folder: Path) -> None:
    _run(folder, "pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "stop")


def _folder_of(url: str) -> Path:
    return Path(str(make_url(url).query["host"]))


def stop_server(url: str) -> None:
    """Stop a cluster of `running_server` as a crash would; its data stay."""
    _stop(_folder_of(url))


def start_server(url: str) -> None:
    """Start it again, and wait until it takes connections."""
    _start(_folder_of(url))


def demote_server(url: str) -> None:
    """Let it come back as a standby of nobody, which can only be read: what an old address names after a failover."""
    _stop(_folder_of(url))
    (_folder_of(url) / "data" / "standby.signal").touch()
    _start(_folder_of(url))


def promote_server(url: str) -> None:
    """Make a standby a server again."""
    folder = _folder_of(url)
    _run(folder, "pg_ctl", "-D", str(folder / "data"), "-w", "promote")


@contextmanager
def running_server() -> Iterator[str]:
    """Start a cluster; yields a SQLAlchemy URL of its maintenance database."""
    owner = _owner()
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        if owner:
            shutil.chown(folder, owner)
        _run(folder, "initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync")
        _start(folder)
        try:
            yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
        finally:
            _stop(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
