"""Runs an ASGI application in a thread of its own, with the deadlines and caps that uvicorn does not have.

uvicorn waits without end for a client that connects and sends nothing, or drips its headers or body. The protocol class
here cuts such connections off, bounds the size of headers and the number of connections.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from otel_finops.base import limits
from otel_finops.base.errors import StartRefused
from otel_finops.otlp.intake import Reception
from otel_finops.otlp.receive_http import ABORT_STATE, DEADLINE_STATE, HttpApp
from otel_finops.settings.addresses import Address

_BACKLOG: Final = 1_024
_NEVER: Final = float("inf")
_ANSWER_MARGIN_S: Final = 1.0
"""How much longer than the application's own deadline a connection is kept, so that the application can still answer."""


def _refusal(status: int, phrase: str, slug: str, detail: str, *headers: str) -> bytes:
    """An answer before any application is asked: a problem document (RFC 9457), and the connection ends."""
    problem = {"type": f"urn:otel-finops:problem:{slug}", "title": phrase, "status": status, "detail": detail}
    body = json.dumps(problem).encode()
    lines = (f"HTTP/1.1 {status} {phrase}", *headers, "content-type: application/problem+json", "connection: close")
    return "\r\n".join((*lines, f"content-length: {len(body)}", "", "")).encode() + body


_FULL: Final = _refusal(503, "Service Unavailable", "busy", "Too many connections are open; try again.", "retry-after: 2")
_HEADERS_TOO_LARGE: Final = _refusal(
    431, "Request Header Fields Too Large", "headers-too-large", f"Request line and headers may have {limits.HEADER_BYTES_MAX} bytes."
)
_NO_HTTP: Final = _refusal(
    400, "Bad Request", "no-http", f"This is no HTTP/1.1 request, or its request line has more than {limits.HEADER_BYTES_MAX} bytes."
)


class _Config(uvicorn.Config):
    """uvicorn's configuration, and the bounds that our protocol adds."""

    request_deadline_s: float = limits.REQUEST_DEADLINE_S
    connections_max: int = limits.CONNECTIONS_MAX


class ForgivingTransport:
    """A transport that drops what is written to a client that has gone: uvloop raises then, and uvicorn would log a fault of ours."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.is_closing = transport.is_closing  # asked for at every request

    def write(self, data: bytes) -> None:
        """Write unless the connection is closing."""
        if not self.is_closing():
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with a deadline for every request, from its first byte to its last."""

    def __init__(self, config: _Config, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self._deadline_s = config.request_deadline_s
        self._connections_max = config.connections_max
        self._due_s = _NEVER
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = self._runs = False
        self._body_came = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(ForgivingTransport(transport))  # type: ignore[arg-type]
        if len(self.connections) > self._connections_max:
            transport.write(_FULL)
            transport.close()
        else:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._due_s == _NEVER:
            self._arm()
        request_ran = self._runs
        self._body_came = False
        super().data_received(data)
        # The piece in which a request begins may hold the end of an earlier one too, so only further pieces count. Of a request that
        # runs, what is neither body nor end is head, trailer or about chunks; that between two pieces of body is not kept anywhere.
        if self._body_came:
            self._head_bytes = 0
        elif request_ran and self._runs and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > limits.HEADER_BYTES_MAX:
                self.transport.write(_HEADERS_TOO_LARGE)
                self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Of what cannot be read as HTTP."""
        self.transport.write(_NO_HTTP)
        self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._arm()
        self._in_head = self._runs = True
        self._head_bytes = 0
        self.scope["state"][DEADLINE_STATE] = self._due_s - _ANSWER_MARGIN_S
        self.scope["state"][ABORT_STATE] = self.transport.abort

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # a trailer is no header: it must not say who sends, or how the body is coded
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._body_came = True
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._runs = False
        super().on_message_complete()
        self._due_s = _NEVER

    def _arm(self) -> None:
        """Give what comes now its time. A timer that runs already looks again when it ends: setting one costs as much as reading a head."""
        self._due_s = self.loop.time() + self._deadline_s + _ANSWER_MARGIN_S
        if self._timer is None:
            self._timer = self.loop.call_at(self._due_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due_s <= self.loop.time():
            self.transport.abort()
        elif self._due_s < _NEVER:
            self._timer = self.loop.call_at(self._due_s, self._look)


class Listener(NamedTuple):
    """What an HTTP listener is called where it cannot start.

    Attributes:
        what: e.g. `OTLP/HTTP`.
        setting: the setting that names its address.
    """

    what: str
    setting: str

    @property
    def variable(self) -> str:
        """The environment variable of the setting."""
        return f"OTEL_FINOPS_{self.setting.upper().replace('.', '__')}"


class AsgiServer:
    """An HTTP listener for one ASGI application.

    Args:
        app: the application.
        address: where to listen; port 0 takes any free one.
        listener: its name, for the refusal when the address cannot be bound.
        reuse_port: let several processes listen on the same port (SO_REUSEPORT).
        deadline_s: how long one request may take to arrive.
        connections_max: open connections; further ones are answered 503.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        address: Address,
        listener: Listener,
        *,
        reuse_port: bool = False,
        deadline_s: float = limits.REQUEST_DEADLINE_S,
        connections_max: int = limits.CONNECTIONS_MAX,
    ) -> None:
        self._address = address
        self._listener = listener
        self._reuse_port = reuse_port
        self._config = _Config(
            app,
            http=_BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
        )
        self._config.request_deadline_s = deadline_s
        self._config.connections_max = connections_max
        self._server = uvicorn.Server(self._config)
        self._thread: threading.Thread | None = None
        self.port = 0
        """The bound port, once started."""

    def start(self) -> None:
        """Listen; raises StartRefused when the address cannot be bound."""
        listener = self._bind()
        self.port = listener.getsockname()[1]
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name=self._listener.what, daemon=True)
        self._thread.start()

    def stop(self, grace_s: float) -> None:
        """Take no new requests, let running ones finish for `grace_s` seconds, then cut them off."""
        self._config.timeout_graceful_shutdown = max(1, round(grace_s))
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()

    def _bind(self) -> socket.socket:
        try:
            family, kind, protocol, _, place = socket.getaddrinfo(
                self._address.host or None, self._address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = socket.socket(family, kind, protocol)
        except OSError as error:
            raise self._refusal(error) from None
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._reuse_port:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(place)
            # Listening from here on, so that nobody is turned away between `start` and the event loop's first turn.
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            raise self._refusal(error) from None
        return listener

    def _refusal(self, error: OSError) -> StartRefused:
        what, setting, variable = self._listener.what, self._listener.setting, self._listener.variable
        return StartRefused(
            f"cannot listen on {self._address} for {what}: {error.strerror}; "
            f"change {setting} ({variable}), or leave it empty to switch {what} off"
        )


class HttpReceiver(AsgiServer):
    """The OTLP/HTTP listener; `threads` bounds the requests that are decoded and stored at the same time."""

    def __init__(
        self,
        reception: Reception,
        address: Address,
        *,
        reuse_port: bool = False,
        deadline_s: float = limits.REQUEST_DEADLINE_S,
        connections_max: int = limits.CONNECTIONS_MAX,
        threads: int = limits.RECEIVE_THREADS,
        local_pages_only: bool = False,
    ) -> None:
        self._app = HttpApp(reception, threads=threads, deadline_s=deadline_s, local_pages_only=local_pages_only)
        super().__init__(
            self._app,
            address,
            Listener("OTLP/HTTP", "otlp.http_address"),
            reuse_port=reuse_port,
            deadline_s=deadline_s,
            connections_max=connections_max,
        )

    def stop(self, grace_s: float) -> None:
        """Stop listening as `AsgiServer.stop` does, then the threads."""
        super().stop(grace_s)
        self._app.close()
