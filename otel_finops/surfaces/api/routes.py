"""Routes made from operations: path, parameters, answers and faults are all read from the declaration."""

from __future__ import annotations

import gzip
import logging
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Final, NamedTuple

import orjson
from fastapi import FastAPI, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from otel_finops.base.errors import BadInput, Busy, FinopsError
from otel_finops.base.limits import API_GZIP_BYTES_MIN, HEAVY_AT_ONCE_MAX
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.desks import Replayed
from otel_finops.operations.registry import Operation, admit, invoke
from otel_finops.operations.requests import PREFIX
from otel_finops.surfaces.api.described import answers, route_extras
from otel_finops.surfaces.api.gate import Gate
from otel_finops.surfaces.api.given import check_type, read_given
from otel_finops.surfaces.api.problems import of_fault
from otel_finops.surfaces.api.streams import stream_answer

log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]
HEAVY: Final = frozenset({"coverage.report", "ledger.verify", "replay.run", "unit_costs.report", "waste.report", "routing.simulate", "whatif.simulate"})
"""Operations that walk through the ledger and may take many seconds; runs do as well."""
_GZIP_LEVEL: Final = 3


class Places:
    """Places for operations that take long; counted on the event loop alone."""

    def __init__(self, most: int = HEAVY_AT_ONCE_MAX) -> None:
        self._most = most
        self._taken = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold one; raises Busy when there is none."""
        if self._taken >= self._most:
            raise Busy(f"{self._most} long operations run already, as many as this process runs at a time; ask again.", retry_after_s=5)
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


class Shared(NamedTuple):
    """What all routes have in common.

    Attributes:
        context: what operations work on.
        gate: lets requests in.
        places: for operations that take long.
        exports: places for streams, which take as long as their reader does.
        quick: threads for what is asked with every model call, so that it does not wait for what takes longer.
    """

    context: Context
    gate: Gate
    places: Places
    exports: Places
    quick: ThreadPoolExecutor


def add_route(app: FastAPI, one: Operation, shared: Shared) -> None:
    """Serve an operation at its path; GET for what reads, POST for what changes; both where what is read may be asked by a body."""
    endpoint = _endpoint(one, shared, body=one.changes)
    _add(app, one, endpoint, one.method, one.name)
    if one.own_record:  # asked with every model call: found first, and without what the framework does for handlers that declare more
        app.router.routes.insert(0, _QuickRoute(f"{PREFIX}/{one.path}", endpoint, methods=[one.method], include_in_schema=False))
    if one.by_body:
        _add(app, one, _endpoint(one, shared, body=True), "POST", f"{one.name}.post")


class _QuickRoute(Route):
    """Tells the access log which route it was, as the framework's own do."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        return match, {**found, "route": self} if match is Match.FULL else found


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
                return await get_running_loop().run_in_executor(shared.quick, _asked_with_every_call, one, request, shared, body_read)
            principal = await run_in_threadpool(admitted, one, request, shared)
            if one.streams:
                held = ExitStack()
                held.enter_context(shared.exports.taken())
                takes_gzip = _takes_gzip(request.headers.get("accept-encoding", ""))
                still = partial(shared.gate.still, request, principal)
                return await stream_answer(one, request, shared.context, principal, held, still, takes_gzip=takes_gzip)
            given = await request.body() if body else None
            with shared.places.taken() if one.runs or one.name in HEAVY else nullcontext():
                return await run_in_threadpool(_answer, one, request, shared.context, principal, given)
        except (FinopsError, ValidationError) as fault:
            return of_fault(fault, request.state.request_id)
        except Exception as fault:
            log.exception("request %s to %s failed", request.state.request_id, one.name)
            return of_fault(fault, request.state.request_id)

    return endpoint


def admitted(one: Operation, request: Request, shared: Shared) -> Principal:
    """Who asks, before a byte of the body is read; raises what `Gate.principal` and `registry.admit` raise.

    What is on record by itself is asked with every model call, and its line has a limit of its own.
    """
    principal = shared.gate.principal(request, counted=not one.own_record)
    admit(one, shared.context, principal)
    return principal


def _is_short(request: Request) -> bool:
    """Whether the body may be read before it is known who sends it."""
    length = request.headers.get("content-length", "")
    return length.isdecimal() and len(length) <= _SHORT_DIGITS


_SHORT_DIGITS: Final = 4
"""Up to 9,999 bytes; a question for a decision has some 300."""


def _asked_with_every_call(one: Operation, request: Request, shared: Shared, body: bytes) -> Response:
    """Admission and answer in one turn of a thread: each further one costs as much as the answer."""
    return _answer(one, request, shared.context, admitted(one, request, shared), body)


def _answer(one: Operation, request: Request, context: Context, principal: Principal, body: bytes | None) -> Response:
    """The answer, made in the handler's thread: a large tree has tens of megabytes, and the loop serves others meanwhile."""
    if body is not None:
        check_type(request.headers, body)
    given = read_given(one, request, body)
    answer = invoke(one, context, principal, given, origin=_origin(request), key=_key(request))
    response = json_answer(request, orjson.dumps(answer))
    if isinstance(answer, Replayed):
        response.headers["Idempotent-Replayed"] = "true"
    return response


def json_answer(request: Request, content: bytes) -> Response:
    """An answer, compressed where that is worth it and the caller takes it."""
    headers = {"Vary": "Accept-Encoding"}
    if len(content) >= API_GZIP_BYTES_MIN and _takes_gzip(request.headers.get("accept-encoding", "")):
        content = gzip.compress(content, _GZIP_LEVEL, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(content, media_type="application/json", headers=headers)


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding names gzip, or everything, and not with the weight 0."""
    weights = {name.strip().lower(): weight.strip() for name, _, weight in (part.partition(";") for part in accepted.split(","))}
    weight = weights.get("gzip", weights.get("*"))
    return weight == "" or (weight is not None and weight.removeprefix("q=").strip("0.") != "")


def _key(request: Request) -> str | None:
    """The idempotency key; None without one."""
    keys = request.headers.getlist("idempotency-key")
    if len(keys) > 1:
        raise BadInput("Idempotency-Key: given more than once; a request has one key")
    return keys[0] if keys else None


def _origin(request: Request) -> str:
    """From where, for the trail of changes."""
    return f"api {request.client.host if request.client else 'unknown'} request {request.state.request_id}"
