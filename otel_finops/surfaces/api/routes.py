"""Routes made from operations: path, parameters, answers and faults are all read from the declaration."""

from __future__ import annotations

import gzip
import logging
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson
from fastapi import FastAPI, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from otel_finops.base.errors import BadInput, FinopsError
from otel_finops.base.limits import API_GZIP_BYTES_MIN
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.desks import Replayed
from otel_finops.operations.registry import Input, Operation, admit, invoke
from otel_finops.operations.requests import PREFIX
from otel_finops.surfaces.api.described import answers, route_extras
from otel_finops.surfaces.api.given import check_type, read_given
from otel_finops.surfaces.api.problems import of_fault
from otel_finops.surfaces.web.coding import takes_gzip
from otel_finops.surfaces.web.gate import Gate
from otel_finops.surfaces.web.places import Places
from otel_finops.surfaces.web.streams import stream_answer

if TYPE_CHECKING:
    from otel_finops.surfaces.api.line import Line

log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]
HEAVY: Final = frozenset(
    {"coverage.report", "ledger.verify", "replay.run", "unit_costs.report", "waste.report", "routing.simulate", "whatif.simulate"}
)
"""Operations that walk through the ledger and may take many seconds; runs do as well."""
_GZIP_LEVEL: Final = 3
_PLAIN: Final = [(b"vary", b"Accept-Encoding")]
_PACKED: Final = [*_PLAIN, (b"content-encoding", b"gzip")]


class Shared(NamedTuple):
    """What all routes have in common.

    Attributes:
        context: what operations work on.
        gate: lets requests in.
        places: for operations that take long.
        exports: places for streams, which take as long as their reader does.
        quick: threads for what is asked with every model call, so that it does not wait for what takes longer.
        line: where those stand that are answered together.
    """

    context: Context
    gate: Gate
    places: Places
    exports: Places
    quick: ThreadPoolExecutor
    line: Line


def add_route(app: FastAPI, one: Operation, shared: Shared) -> None:
    """Serve an operation at its path; GET for what reads, POST for what changes; both where what is read may be asked by a body."""
    _add(app, one, _endpoint(one, shared, body=one.changes), one.method, one.name)
    if one.by_body:
        _add(app, one, _endpoint(one, shared, body=True), "POST", f"{one.name}.post")


class QuickLane:
    """What is asked with every model call is found first, and without what the framework does for handlers that declare more.

    Args:
        app: what serves everything else.
        operations: those that are served.
    """

    def __init__(self, app: ASGIApp, operations: Iterable[Operation], shared: Shared) -> None:
        self._app = app
        routes = [(one, _QuickRoute(one, _endpoint(one, shared, body=True))) for one in operations if one.own_record]
        self._plain = {(one.method, route.path): route for one, route in routes if not one.path_fields}
        self._routes = [route for one, route in routes if one.path_fields]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or (route := self._found(scope)) is None:
            await self._app(scope, receive, send)
            return
        response = await route.answer(Request(scope, receive, send))
        await response(scope, receive, send)

    def _found(self, scope: Scope) -> _QuickRoute | None:
        """The route of a request, of which its scope is told; None where others serve it."""
        if (plain := self._plain.get((scope["method"], scope["path"]))) is not None:
            scope.update(path_params={}, **plain.known)
            return plain
        for route in self._routes:
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope.update(found, **route.known)
                return route
        return None


class _QuickRoute(Route):
    """Tells the access log which route it was, and that what it did is on record anyway."""

    def __init__(self, one: Operation, answer: Endpoint) -> None:
        super().__init__(f"{PREFIX}/{one.path}", answer, methods=[one.method])
        self.answer = answer
        self.known = {"route": self, "own_record": True}


def _add(app: FastAPI, one: Operation, endpoint: Endpoint, method: str, operation_id: str) -> None:
    app.add_api_route(
        f"{PREFIX}/{one.path}",
        endpoint,
        methods=[method],
        operation_id=operation_id,
        summary=one.summary,
        tags=[one.name.partition(".")[0]],
        responses=answers(one),
        response_class=Response,
        response_model=None,
        openapi_extra=route_extras(one, by_body=method == "POST"),
    )


def _endpoint(one: Operation, shared: Shared, *, body: bool) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            if one.own_record and _is_short(request):
                body_read = await request.body()
                if one.together is not None:
                    return await shared.line.answered(one, one.together, request, body_read)
                return await get_running_loop().run_in_executor(shared.quick, _asked_with_every_call, one, request, shared, body_read)
            principal = await run_in_threadpool(admitted, one, request, shared.context, shared.gate)
            if one.streams:
                read = partial(read_given, one, request, None)
                return await stream_answer(one, request, read, shared.context, principal, shared.exports, shared.gate)
            given = await request.body() if body else None
            with shared.places.taken() if one.runs or one.name in HEAVY else nullcontext():
                return await run_in_threadpool(_answer, one, request, shared.context, principal, given)
        except Exception as fault:  # noqa: BLE001 - told and logged
            return failed(one, request, fault)

    return endpoint


def failed(one: Operation, request: Request, fault: Exception) -> Response:
    """The answer to who asked for what cannot be done."""
    if not isinstance(fault, FinopsError | ValidationError):
        log.error("request %s to %s failed", request.state.request_id, one.name, exc_info=fault)
    return of_fault(fault, request.state.request_id)


def admitted(one: Operation, request: Request, context: Context, gate: Gate) -> Principal:
    """Who asks, before a byte of the body is read; raises what `Gate.principal` and `registry.admit` raise.

    What is on record by itself is asked with every model call, and its line has a limit of its own.
    """
    principal = gate.principal(request, counted=not one.own_record)
    admit(one, context, principal)
    return principal


def _is_short(request: Request) -> bool:
    """Whether the body may be read before it is known who sends it."""
    length = request.headers.get("content-length", "")
    return length.isdecimal() and len(length) <= _SHORT_DIGITS


_SHORT_DIGITS: Final = 4
"""Up to 9,999 bytes; a question for a decision has some 300."""


def _asked_with_every_call(one: Operation, request: Request, shared: Shared, body: bytes) -> Response:
    """Admission and answer in one turn of a thread: each further one costs as much as the answer."""
    return _answer(one, request, shared.context, admitted(one, request, shared.context, shared.gate), body)


def _answer(one: Operation, request: Request, context: Context, principal: Principal, body: bytes | None) -> Response:
    """The answer, made in the handler's thread: a large tree has tens of megabytes, and the loop serves others meanwhile."""
    given = given_to(one, request, body)
    answer = invoke(one, context, principal, given, origin=_origin(request), key=key_of(request))
    response = json_answer(request, orjson.dumps(answer))
    if isinstance(answer, Replayed):
        response.headers["Idempotent-Replayed"] = "true"
    return response


def given_to(one: Operation, request: Request, body: bytes | None) -> Input:
    """The operation's input; see `read_given`."""
    if body is not None:
        check_type(request.headers, body)
    return read_given(one, request, body)


def json_answer(request: Request, content: bytes) -> Response:
    """An answer, compressed where that is worth it and the caller takes it."""
    packed = len(content) >= API_GZIP_BYTES_MIN and takes_gzip(request.headers.get("accept-encoding", ""))
    response = Response(gzip.compress(content, _GZIP_LEVEL, mtime=0) if packed else content, media_type="application/json")
    response.raw_headers += _PACKED if packed else _PLAIN
    return response


def key_of(request: Request) -> str | None:
    """The idempotency key; None without one."""
    keys = request.headers.getlist("idempotency-key")
    if len(keys) > 1:
        raise BadInput("Idempotency-Key: given more than once; a request has one key")
    return keys[0] if keys else None


def _origin(request: Request) -> str:
    """From where, for the trail of changes."""
    return f"api {request.client.host if request.client else 'unknown'} request {request.state.request_id}"
