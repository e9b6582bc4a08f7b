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


@contextmanager
def running_server() -> Iterator[str]:
    """Start a cluster; yields a SQLAlchemy URL of its maintenance database."""
    programs, owner = _programs(), _owner()
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    if owner:
        shutil.chown(folder, owner)
    data = folder / "data"

    def run(*command: str) -> None:
        subprocess.run(
            [str(programs / command[0]), *command[1:]], user=owner, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=60
        )

    try:
        run("initdb", "-D", str(data), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync")
        run("pg_ctl", "-D", str(data), "-o", f"-k {folder} {_SETTINGS}", "-l", str(folder / "log"), "-w", "start")
        try:
            yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
