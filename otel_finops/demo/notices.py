"""Takes notices in on a loopback port while the story is told, so that its webhook's deliveries arrive."""

from __future__ import annotations

import http.server
import threading
from types import TracebackType
from typing import Final, Self

_LOOPBACK: Final = "127.0.0.1"


class NoticeDesk:
    """A web server that answers 204 to whatever is posted, and keeps nothing.

    Attributes:
        network: the network in which it is, as `outbound.networks` names it.
        port: on which it listens.
        url: to post to.
    """

    network = f"{_LOOPBACK}/32"

    def __init__(self) -> None:
        self._server = http.server.ThreadingHTTPServer((_LOOPBACK, 0), _Taker)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.url = f"http://{_LOOPBACK}:{self.port}/notices"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="notices", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Taker(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Nothing: each notice is in the ledger's own log."""
