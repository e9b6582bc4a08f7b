"""Running the command line in a test: on a database, or at a service."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import uvicorn
from typer.testing import CliRunner, Result

from otel_finops.settings.features import Features
from otel_finops.surfaces.cli.main import build_cli


def run(
    *arguments: str,
    database: str = "",
    url: str = "",
    token: str | None = None,
    given: str | bytes | None = None,
    features: Features | None = None,
    **environ: str | None,
) -> Result:
    """One command. The environment's own OTEL_FINOPS_ variables are not seen."""
    before = ["--database", database] if database else ["--url", url] if url else []
    cleared = dict.fromkeys(("OTEL_FINOPS_URL", "OTEL_FINOPS_TOKEN_FILE", "OTEL_FINOPS_DATABASE__URL"))
    return CliRunner().invoke(
        build_cli(features=features), [*before, *arguments], input=given, env={**cleared, "OTEL_FINOPS_TOKEN": token, **environ}
    )


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The URL at which an ASGI application is served."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


class Said(NamedTuple):
    """What a scripted service answers to one request; status 0 breaks the connection."""

    status: int
    body: bytes = b"{}"
    headers: dict[str, str] = {}  # noqa: RUF012 - never written to


class Heard(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Scripted(NamedTuple):
    """A service that answers by a script, and what it was asked."""

    url: str
    heard: list[Heard]


@contextmanager
def scripted(*script: Said) -> Iterator[Scripted]:
    """A service that gives these answers, one a request; the last one for ever."""
    heard: list[Heard] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Keeps standard error clean."""

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            heard.append(Heard(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            said = script[min(len(heard), len(script)) - 1]
            if not said.status:
                self.close_connection = True
                return
            self.send_response(said.status)
            for name, value in {"content-length": str(len(said.body)), **said.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said.body)

        do_GET = do_POST = answer  # noqa: N815 - the names that the library calls

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield Scripted(f"http://127.0.0.1:{server.server_port}", heard)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
