"""Servers of tests that hear what is sent to them."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple


class Heard(NamedTuple):
    """A request, its headers by lower-case name."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """An HTTP server that hears everything.

    Attributes:
        heard: all requests so far.
        answers: status, headers and body of the next answers, in order; then 200 and `ok`.
        port: where it listens, on 127.0.0.1.
        hold: while it is set, what is heard is not answered.
    """

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.port = 0
        self.lock = threading.Lock()
        self.hold = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def receiving(tls: tuple[Path, Path] | None = None) -> Iterator[Receiver]:
    """A receiver that listens; `tls`: a certificate and its key, by which it speaks TLS."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            said = {name.lower(): value for name, value in self.headers.items()}
            with receiver.lock:
                receiver.heard.append(Heard(self.command, self.path, said, body))
                status, headers, answer = receiver.answers.pop(0) if receiver.answers else (200, {}, b"ok")
            while receiver.hold.is_set():
                time.sleep(0.01)
            self.send_response(status)
            for name, value in {"content-length": str(len(answer)), **headers}.items():
                self.send_header(name, value)
            with suppress(BrokenPipeError, ConnectionResetError):  # whoever asked may be gone
                self.end_headers()
                self.wfile.write(answer)

        do_GET = do_POST  # noqa: N815 - as the standard library names it

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the standard library names it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    """A port of 127.0.0.1, for servers that cannot draw one by themselves."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
