"""Puts the API together: operations that are switched on, health probes, the index page, and what others mount beside them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.surfaces.api.pages import index_page
from otel_finops.surfaces.api.problems import of_fault, of_status
from otel_finops.surfaces.api.routes import PREFIX, Authenticate, add_route
from otel_finops.surfaces.api.shell import Shell

OPENAPI_PATH: Final = f"{PREFIX}/openapi.json"


def build_api(
    context: Context,
    authenticate: Authenticate,
    *,
    mounts: Mapping[str, ASGIApp] | None = None,
    listeners: Mapping[str, str] | None = None,
    names: Collection[str] | None = None,
) -> ASGIApp:
    """The application behind the HTTP listener.

    Args:
        context: what the operations work on; its features decide which routes exist.
        authenticate: a bearer token (None without one) to a principal, raising Unauthenticated.
        mounts: further ASGI applications by exact path, e.g. `/metrics`.
        listeners: addresses to show on the index page, by name (`OTLP/gRPC`, `OTLP/HTTP`).
        names: as `Shell` takes them: needed where `authenticate` lets everyone in, None where tokens are shown.
    """
    app = _routes(context, authenticate)
    _add_probes(app, context)
    for path, mounted in (mounts or {}).items():
        app.router.routes.append(Route(path, endpoint=_Mounted(mounted), methods=None))
    _add_index(app, context, sorted(mounts or {}), listeners or {})
    return Shell(app, names)


class _Mounted:
    """An ASGI application as a route's endpoint: the router takes plain functions for handlers of requests."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, *call: Any) -> None:
        await self._app(*call)


def openapi(context: Context) -> dict[str, Any]:
    """The OpenAPI 3.1 description of the operations that are switched on."""

    def nobody(token: str | None) -> Any:
        raise AssertionError("only described, never called")

    return _routes(context, nobody).openapi()


def _routes(context: Context, authenticate: Authenticate) -> FastAPI:
    on = context.features.api
    app = FastAPI(
        title="otel_finops",
        version=context.version,
        description="What AI calls cost. Money is a decimal string in USD; faults are RFC 9457 problems.",
        openapi_url=OPENAPI_PATH if on else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )
    if on:
        for one in OPERATIONS.switched_on(context.features):
            add_route(app, one, context, authenticate)
        _describe_security(app)
    return app


def _describe_security(app: FastAPI) -> None:
    document = app.openapi()
    scheme = {"type": "http", "scheme": "bearer", "description": "A token of auth.tokens; needed when auth.mode is token."}
    document.setdefault("components", {})["securitySchemes"] = {"bearer": scheme}


async def _refused(request: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    return of_status(fault.status_code, request.state.request_id, dict(fault.headers or {}))


async def _failed(request: Request, fault: Exception) -> Response:
    return of_fault(fault, request.state.request_id)


def _add_probes(app: FastAPI, context: Context) -> None:
    async def alive(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(request: Request) -> Response:
        parts = await run_in_threadpool(context.health)
        well = all(part.ok is not False for part in parts)
        return JSONResponse(
            {"status": "ok" if well else "not ready", "parts": {part.name: part.ok for part in parts}}, 200 if well else 503
        )

    app.router.routes.append(Route("/healthz", alive, methods=["GET"]))
    app.router.routes.append(Route("/readyz", ready, methods=["GET"]))


def _add_index(app: FastAPI, context: Context, mounted: list[str], listeners: Mapping[str, str]) -> None:
    links = [("/readyz", "whether all parts are well"), *((path, "for scrapers") for path in mounted)]
    if context.features.api:
        links += [(OPENAPI_PATH, "the API's description, OpenAPI 3.1")]
        links += [(f"{PREFIX}/{one.path}", one.summary) for one in OPERATIONS.switched_on(context.features) if _opens_by_itself(one)]

    async def index(request: Request) -> Response:
        return index_page(context.version, listeners, links)

    app.router.routes.append(Route("/", index, methods=["GET"]))


def _opens_by_itself(one: Any) -> bool:
    return not one.changes and not any(field.is_required() for field in one.input.model_fields.values())
