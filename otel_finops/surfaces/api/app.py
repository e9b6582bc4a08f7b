"""Puts the API together: operations that are switched on, health probes, the index page, and what others mount beside them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Final, cast

import anyio
import orjson
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from otel_finops.base.errors import FinopsError, TooManyRequests
from otel_finops.base.limits import DECISION_THREADS, EXPORTS_AT_ONCE_MAX
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.requests import PREFIX
from otel_finops.settings.features import Features
from otel_finops.settings.tree import Http
from otel_finops.surfaces.api.described import ABOUT, OPENAPI_PATH, VERSION, completed
from otel_finops.surfaces.api.line import Line
from otel_finops.surfaces.api.pages import index_page
from otel_finops.surfaces.api.problems import of_fault, of_status
from otel_finops.surfaces.api.routes import QuickLane, Shared, add_route, json_answer
from otel_finops.surfaces.api.shell import Shell
from otel_finops.surfaces.web.gate import Authenticate, Gate
from otel_finops.surfaces.web.places import Places
from otel_finops.surfaces.web.rates import Rates

UNHURRIED: Final = Http(rate_per_s=0)
"""For applications that count no requests."""
_PROBES_AT_ONCE: Final = 4
"""Threads of their own, so that probes are answered while all others are taken."""


def build_api(
    context: Context,
    authenticate: Authenticate,
    *,
    mounts: Mapping[str, ASGIApp] | None = None,
    listeners: Mapping[str, str] | None = None,
    names: Collection[str] | None = None,
    http: Http = UNHURRIED,
    console: Callable[[Gate, Places, Places], ASGIApp] | None = None,
) -> ASGIApp:
    """The application behind the HTTP listener.

    Args:
        context: what the operations work on; its features decide which routes exist.
        authenticate: a bearer token (None without one) to a principal, raising Unauthenticated.
        mounts: further ASGI applications by exact path, e.g. `/metrics`.
        listeners: addresses to show on the index page, by name (`OTLP/gRPC`, `OTLP/HTTP`).
        names: as `Shell` takes them: needed where `authenticate` lets everyone in, None where tokens are shown.
        http: the settings of rates and sizes.
        console: makes what answers all other paths, given the gate and the places for exports and for what takes long; None: an index
            page at `/`, and nothing else.
    """
    gate = Gate(authenticate, Rates(http.rate_per_s, http.burst, context.clock) if http.rate_per_s else None)
    shared = _shared(context, gate, context.settings.enforcement.store_timeout)
    app = _routes(context.features, shared)
    if context.features.api:
        _add_description(app, context.features, gate)
    _add_probes(app, context, None if http.open_probes else gate)
    for path, mounted in (mounts or {}).items():
        app.router.routes.append(Route(path, endpoint=_Mounted(mounted, gate), methods=None))
    if console is None:
        _add_index(app, context, gate, sorted(mounts or {}), listeners or {})
    else:
        app.router.default = _Elsewhere(console(gate, shared.exports, shared.places), app.router.default)
    quick = QuickLane(app, OPERATIONS.switched_on(context.features) if context.features.api else (), shared)
    return Shell(quick, names, body_mib_max=http.body_mib_max)


class _Elsewhere:
    """What answers paths that the API has not: the console, but for those below the API's own prefix."""

    def __init__(self, console: ASGIApp, unknown: ASGIApp) -> None:
        self._console = console
        self._unknown = unknown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._unknown if f"{scope['path']}/".startswith("/api/") else self._console)(scope, receive, send)


class _Mounted:
    """An ASGI application as a route's endpoint: the router takes plain functions for handlers of requests."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._gate.stranger(Request(scope))
        await self._app(scope, receive, send)


def openapi(features: Features | None = None) -> dict[str, Any]:
    """The OpenAPI 3.1 description of the operations that are switched on; of all without features."""

    def nobody(token: str | None) -> Any:
        raise AssertionError("only described, never called")

    features = features or Features()
    routed = _routes(features, _shared(cast("Context", None), Gate(nobody), 0))
    return completed(routed.openapi(), OPERATIONS.switched_on(features))


def _shared(context: Context, gate: Gate, patience_s: float) -> Shared:
    quick = ThreadPoolExecutor(DECISION_THREADS, "decisions")
    return Shared(context, gate, Places(), Places(EXPORTS_AT_ONCE_MAX), quick, Line(context, gate, quick, patience_s))


def _routes(features: Features, shared: Shared) -> FastAPI:
    app = FastAPI(
        title="otel_finops",
        version=VERSION,
        description=ABOUT,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={HTTPException: _refusal(shared.gate), TooManyRequests: _failed, Exception: _failed},
    )
    if features.api:
        for one in sorted(OPERATIONS.switched_on(features), key=lambda one: len(one.path_fields)):  # `budgets/tree` before `budgets/{no}`
            add_route(app, one, shared)
    return app


def _add_description(app: FastAPI, features: Features, gate: Gate) -> None:
    @cache
    def document() -> bytes:
        return orjson.dumps(openapi(features))

    def described(request: Request) -> Response:
        gate.stranger(request)
        return json_answer(request, document())

    app.router.routes.append(Route(OPENAPI_PATH, described, methods=["GET"]))


def _refusal(gate: Gate) -> Callable[[Request, Exception], Coroutine[Any, Any, Response]]:
    async def refused(request: Request, fault: Exception) -> Response:
        """The answer to what no route takes; OPTIONS is answered for every path that there is."""
        assert isinstance(fault, HTTPException)
        try:
            gate.stranger(request)
        except TooManyRequests as too_many:
            return of_fault(too_many, request.state.request_id)
        if fault.status_code != 405:
            return of_status(fault.status_code, request.state.request_id)
        allowed = {"Allow": ", ".join(_allowed(request))}
        return (
            Response(status_code=204, headers=allowed) if request.method == "OPTIONS" else of_status(405, request.state.request_id, allowed)
        )

    return refused


def _allowed(request: Request) -> list[str]:
    """The methods of a path, of all its routes."""
    there = (route for route in request.app.router.routes if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE)
    methods = {"OPTIONS"}.union(*(route.methods or () for route in there))
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


async def _failed(request: Request, fault: Exception) -> Response:
    return of_fault(fault, request.state.request_id)


def _add_probes(app: FastAPI, context: Context, gate: Gate | None) -> None:
    """The probes, for everybody or (with a gate) for those whom it lets in. That the process lives is told without any thread or database
    where no token is asked for.
    """
    threads = anyio.CapacityLimiter(_PROBES_AT_ONCE)

    async def refusal(request: Request) -> Response | None:
        return None if gate is None else await anyio.to_thread.run_sync(_refused_by, gate, request, limiter=threads)

    async def alive(request: Request) -> Response:
        return await refusal(request) or JSONResponse({"status": "ok"})

    async def ready(request: Request) -> Response:
        if (refused := await refusal(request)) is not None:
            return refused
        parts = await anyio.to_thread.run_sync(context.health, limiter=threads)
        well = all(part.ok is not False for part in parts)
        return JSONResponse(
            {"status": "ok" if well else "not ready", "parts": {part.name: part.ok for part in parts}}, 200 if well else 503
        )

    # Before all others: each of those costs a look at it.
    app.router.routes[:0] = [Route("/healthz", alive, methods=["GET"]), Route("/readyz", ready, methods=["GET"])]


def _refused_by(gate: Gate, request: Request) -> Response | None:
    try:
        gate.principal(request)
    except FinopsError as fault:
        return of_fault(fault, request.state.request_id)
    return None


def _add_index(app: FastAPI, context: Context, gate: Gate, mounted: list[str], listeners: Mapping[str, str]) -> None:
    links = [("/readyz", "whether all parts are well"), *((path, "for scrapers") for path in mounted)]
    if context.features.api:
        links += [(OPENAPI_PATH, "the API's description, OpenAPI 3.1")]
        links += [(f"{PREFIX}/{one.path}", one.summary) for one in OPERATIONS.switched_on(context.features) if _opens_by_itself(one)]

    def index(request: Request) -> Response:
        gate.stranger(request)
        return index_page(context.version, listeners, links, tokens=context.settings.auth.mode == "token")

    app.router.routes.append(Route("/", index, methods=["GET"]))


def _opens_by_itself(one: Any) -> bool:
    return not one.changes and not any(field.is_required() for field in one.input.model_fields.values())
