"""The whole web side as a client of a test sees it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from starlette.testclient import TestClient
from starlette.types import ASGIApp

from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.surfaces.api.app import build_api
from otel_finops.surfaces.ui.app import build_console
from otel_finops.surfaces.web.gate import Gate
from otel_finops.surfaces.web.places import Places

LISTENERS = {"OTLP/gRPC": "127.0.0.1:4317", "OTLP/HTTP": "127.0.0.1:4318"}
OWN = {"Sec-Fetch-Site": "same-origin"}
"""What a browser says of a form of the console's own page."""


def console_over(context: Context, authenticate: Callable[[str | None], Principal]) -> TestClient:
    """The whole web side, console included."""

    def console(gate: Gate, exports: Places, heavy: Places) -> ASGIApp:
        return build_console(context, gate, exports, heavy, listeners=LISTENERS)

    return TestClient(build_api(context, authenticate, console=console), headers=OWN, follow_redirects=False)


def copied_ledger(url: str, folder: Path) -> str:
    """A copy of a SQLite ledger in a folder, for tests that change it; returns its URL."""
    source, copy = Path(url.removeprefix("sqlite:///")), folder / "ledger.db"
    with sqlite3.connect(source) as read, sqlite3.connect(copy) as written:
        read.backup(written)
    read.close()
    written.close()
    for key in source.parent.glob(f"{source.name}.key"):
        shutil.copyfile(key, folder / key.name)
    return f"sqlite:///{copy}"
