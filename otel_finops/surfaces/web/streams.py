"""Answers of streaming operations: any number of rows at the pace of the client, from one small buffer.

Between two pieces an export holds no transaction, no connection to the database and no thread, so a slow client keeps nobody waiting; one
that goes away, or takes nothing for a minute, frees everything at once; so does one whose token is revoked or expires meanwhile. What
goes wrong after the answer began cannot be a problem document any more: the connection ends without the last chunk, which every HTTP/1.1
client takes for the fault that it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from otel_finops.base.errors import BadInput, FinopsError
from otel_finops.base.limits import EXPORT_STALL_S
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.registry import Input, Operation
from otel_finops.operations.streams import Streamed, open_stream
from otel_finops.otlp.receive_http import ABORT_STATE
from otel_finops.surfaces.exports.formats import GZIP, KINDS, compressed, encoded, file_name, media_type
from otel_finops.surfaces.web.coding import takes_gzip
from otel_finops.surfaces.web.gate import Gate
from otel_finops.surfaces.web.places import Places

log = logging.getLogger(__name__)

_CODING_LEVEL: Final = 3
"""Of the coding on the way: half of the time that the best one takes, for a tenth more bytes."""


class _Begun(NamedTuple):
    """An export whose first rows are read, so that what is wrong with it from the start is known."""

    headers: dict[str, str]
    first: bytes
    rest: Iterator[bytes]


async def stream_answer(
    one: Operation,
    request: Request,
    read: Callable[[], Input],
    context: Context,
    principal: Principal,
    places: Places,
    gate: Gate,
) -> Response:
    """The answer to a request for a stream.

    Args:
        read: what the request gives to the operation; called in a thread.
        places: one of them is held while it runs.
        gate: asked before each piece whether the client may have more of it.

    Raises:
        BadInput: also of a client that speaks HTTP/1.0, which could not tell the end of the rows from a fault.
        NotFound, Forbidden, Busy, Unavailable, ValidationError: as for every operation, with the faults of the first rows.
    """
    with ExitStack() as held:
        held.enter_context(places.taken())
        if request.scope["http_version"] == "1.0":
            raise BadInput(
                "An export needs HTTP/1.1: over HTTP/1.0 its end looks like a fault; a proxy in between can be told to speak it."
            )
        begun = await run_in_threadpool(_begun, one, request, read, context, principal)
        return _StreamResponse(begun, one.name, request, held.pop_all(), partial(gate.still, request, principal))


def _begun(one: Operation, request: Request, read: Callable[[], Input], context: Context, principal: Principal) -> _Begun:
    given = read()
    assert isinstance(given, Streamed), f"{one.name} streams and must take a `Streamed`"
    stream = open_stream(one, context, principal, given)
    pieces = encoded(stream, given)
    name = file_name(stream, given, context.clock.now_ns())
    headers = {"Content-Type": media_type(given), "Content-Disposition": f'attachment; filename="{name}"', "Vary": "Accept-Encoding"}
    if takes_gzip(request.headers.get("accept-encoding", "")) and not given.gzip and given.format != "parquet":
        headers["Content-Encoding"] = "gzip"
        pieces = compressed(pieces, _CODING_LEVEL)
    return _Begun(headers, b"".join(islice(pieces, 2)), pieces)


class _StreamResponse(Response):
    """Sends pieces as the client takes them."""

    def __init__(self, begun: _Begun, name: str, request: Request, held: ExitStack, still: Callable[[], None]) -> None:
        super().__init__(headers=begun.headers)
        del self.headers["content-length"]
        self._first = begun.first
        self._rest = begun.rest
        self._name = name
        self._state = request.state
        self._held = held
        self._still = still

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send everything, unless the client goes away."""
        try:
            async with anyio.create_task_group() as both:
                both.start_soon(_until_gone, receive, both.cancel_scope)
                await self._send_all(send)
                both.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True), self._held:
                await run_in_threadpool(self._rest.close)  # type: ignore[attr-defined]  # a generator

    async def _send_all(self, send: Send) -> None:
        """Returns without the last chunk when something goes wrong: the server ends the connection then, behind what was sent."""
        try:
            await self._send(send, {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if not self._state.bodiless:
                await self._send(send, _body(self._first))
                while (piece := await run_in_threadpool(self._next)) is not None:
                    if piece:
                        await self._send(send, _body(piece))
            await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            log.warning("request %s: the client of %s took nothing for %.0f s and is cut off", self._id, self._name, EXPORT_STALL_S)
            self._abort()
        except FinopsError as fault:
            log.warning("request %s: %s broke off: %s", self._id, self._name, fault)
        except Exception:
            log.exception("request %s: %s broke off", self._id, self._name)

    def _next(self) -> bytes | None:
        """The next piece, None behind the last one."""
        self._still()
        return next(self._rest, None)

    @property
    def _id(self) -> str:
        return str(self._state.request_id)

    async def _send(self, send: Send, message: dict[str, Any]) -> None:
        with anyio.fail_after(EXPORT_STALL_S):
            await send(message)

    def _abort(self) -> None:
        """End the connection with what waits to be sent: nobody takes it."""
        abort = getattr(self._state, ABORT_STATE, None)
        if abort is not None:
            abort()


def _body(piece: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": piece, "more_body": True}


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def stream_content() -> dict[str, Any]:
    """The answer as OpenAPI's media types."""
    kinds = {kind.media_type: {"schema": {"type": "string"}} for form, kind in KINDS.items() if form != "parquet"}
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {**kinds, KINDS["parquet"].media_type: binary, GZIP: binary}
