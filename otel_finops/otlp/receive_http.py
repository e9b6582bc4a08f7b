"""OTLP over HTTP as a bare ASGI application: protobuf and JSON, gzip inflated with a bound, answers of the one table."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple, TypeAlias

from google.protobuf.json_format import MessageToJson

from otel_finops.base import limits
from otel_finops.base.errors import BadInput, Forbidden, TooLarge, Unavailable, Undecodable
from otel_finops.base.protocols import Credential, Encoding, ExportRequest
from otel_finops.otlp.admission import Ticket
from otel_finops.otlp.browsers import is_local_origin
from otel_finops.otlp.inflate import CODINGS, inflate
from otel_finops.otlp.intake import Reception
from otel_finops.otlp.signals import SIGNALS, Signal
from otel_finops.otlp.status import CONTENT_TYPES, NO_SUCH_PATH, WRONG_METHOD, WRONG_TYPE, Fault, Refusal

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

DEADLINE_STATE: Final = "request_deadline"
"""Key in the ASGI scope's state: the event loop's time at which the request must have arrived (set by `http_server`)."""
ABORT_STATE: Final = "abort"
"""Another key: cuts the connection off at once, with what waits to be sent (set by `http_server`)."""

_PARSED_JSON_BYTES: Final = 2
"""What parsed JSON takes of the budget beside its text, so that the largest body, gzipped, still fits an empty budget."""
_PATHS: Final = {signal.http_path: signal for signal in SIGNALS}
_ENCODINGS: Final[dict[str, Encoding]] = {content_type: encoding for encoding, content_type in CONTENT_TYPES.items()}


class _FrameFault(BadInput):
    """A request that is refused for its path, method or type, before anything of it is read."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


class _SenderGone(Exception):
    """The connection was closed before the request was complete: nobody is there to be answered."""


class _Head(NamedTuple):
    """What the head of a request says, checked."""

    signal: Signal
    encoding: Encoding
    coding: str


class HttpApp:
    """The ASGI application; `http_server.HttpReceiver` runs it, any ASGI server can.

    Decoding and waiting for the ledger happen in a bounded pool of threads, never on the event loop.

    Args:
        local_pages_only: refuse what pages of other sites have a browser send; for where senders show no token.
    """

    def __init__(
        self,
        reception: Reception,
        *,
        threads: int = limits.RECEIVE_THREADS,
        deadline_s: float = limits.REQUEST_DEADLINE_S,
        local_pages_only: bool = False,
    ) -> None:
        self._reception = reception
        self._local_pages_only = local_pages_only
        self._deadline_s = deadline_s
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="otlp-http")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3)."""
        if scope["type"] != "http":
            return
        headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))  # of a repeated header the first counts
        encoding = _encoding(headers) or "json"
        try:
            body = await self._take(scope, headers, receive)
        except _SenderGone:
            return
        except Exception as error:  # noqa: BLE001 - the catch-all: an error here must be the table's 503, not the server's 500
            await _send(send, *_refusal(self._refuse(error), encoding))
        else:
            await _send(send, 200, encoding, body, [])

    def close(self) -> None:
        """Wait for the requests in the pool."""
        self._threads.shutdown()

    def _refuse(self, error: Exception) -> Refusal:
        if isinstance(error, _FrameFault):
            self._reception.counters.refused(error.fault.name)
            return Refusal(error.fault, str(error))
        return self._reception.refuse(error)

    async def _take(self, scope: Message, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        signal = _signal(scope)
        if self._local_pages_only and b"origin" in headers and not is_local_origin(headers[b"origin"].decode("latin-1")):
            raise Forbidden("while auth.mode is off, spans from other sites' pages are refused; set auth.mode to token")
        loop = asyncio.get_running_loop()
        credential = await loop.run_in_executor(self._threads, self._reception.credential, headers.get(b"authorization"))
        head = _head(signal, headers)
        deadline = scope.get("state", {}).get(DEADLINE_STATE, loop.time() + self._deadline_s)
        with self._reception.admission.hold() as ticket:
            try:
                async with asyncio.timeout_at(deadline):
                    body = await _body(ticket, receive)
            except TimeoutError:
                raise Unavailable(f"the request did not arrive within {self._deadline_s:g} seconds") from None
            return await loop.run_in_executor(self._threads, self._answer, head, ticket, credential, body)

    def _answer(self, head: _Head, ticket: Ticket, credential: Credential, body: bytes) -> bytes:
        inflated = inflate(body, head.coding, ticket.grow)
        if head.encoding == "json":
            ticket.grow(len(inflated) * _PARSED_JSON_BYTES)
        return self._reception.answer(head.signal.name, "http", ExportRequest(inflated, head.encoding, credential))


def _signal(scope: Message) -> Signal:
    signal = _PATHS.get(scope["path"])
    if signal is None:
        raise _FrameFault(NO_SUCH_PATH, f"no such path; OTLP/HTTP is taken at {', '.join(_PATHS)}")
    if scope["method"] != "POST":
        raise _FrameFault(WRONG_METHOD, "OTLP/HTTP requests are sent with POST")
    return signal


def _encoding(headers: dict[bytes, bytes]) -> Encoding | None:
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    return _ENCODINGS.get(content_type.partition(";")[0].strip().lower())


def _head(signal: Signal, headers: dict[bytes, bytes]) -> _Head:
    encoding = _encoding(headers)
    if encoding is None:
        raise _FrameFault(WRONG_TYPE, f"Content-Type must be {' or '.join(CONTENT_TYPES.values())}")
    coding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower() or "identity"
    if coding not in CODINGS:
        raise _FrameFault(WRONG_TYPE, f"Content-Encoding must be one of {', '.join(sorted(CODINGS))}")
    length = headers.get(b"content-length", b"0")
    if not length.isdigit():
        raise Undecodable("Content-Length is no number")
    if int(length[:20]) > limits.BODY_BYTES_MAX:
        raise TooLarge(f"the body is over {limits.BODY_BYTES_MAX} bytes; send smaller batches")
    return _Head(signal, encoding, coding)


async def _body(ticket: Ticket, receive: Receive) -> bytes:
    """Read the body as sent; it takes from the budget what has arrived, since announcing a large body costs a sender nothing."""
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _SenderGone
        piece = message.get("body", b"")
        if size + len(piece) > limits.BODY_BYTES_MAX:
            raise TooLarge(f"the body is over {limits.BODY_BYTES_MAX} bytes; send smaller batches")
        ticket.grow(len(piece))
        size += len(piece)
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


def _refusal(refusal: Refusal, encoding: Encoding) -> tuple[int, Encoding, bytes, list[tuple[bytes, bytes]]]:
    status = refusal.status()
    body = MessageToJson(status, indent=None).encode() if encoding == "json" else status.SerializeToString()
    return refusal.fault.http, encoding, body, refusal.headers()


async def _send(send: Send, http_status: int, encoding: Encoding, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    head = [(b"content-type", CONTENT_TYPES[encoding].encode()), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": http_status, "headers": head})
    await send({"type": "http.response.body", "body": body})
