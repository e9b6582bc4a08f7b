"""`/metrics` as an ASGI application: open where the API is, behind a token of all tenants where tokens are needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from otel_finops.base.errors import FinopsError, Forbidden
from otel_finops.otlp.bearer import bearer_token
from otel_finops.surfaces.api.problems import of_fault
from otel_finops.surfaces.web.gate import Authenticate

_PERMISSION: Final = "view"


class Page(Protocol):
    """A rendered page."""

    @property
    def body(self) -> bytes:
        """What is sent."""
        ...

    @property
    def content_type(self) -> str:
        """In which format."""
        ...


def metrics_endpoint(render: Callable[[str | None], Page], authenticate: Authenticate) -> ASGIApp:
    """The endpoint.

    Args:
        render: the page in the format that an Accept header prefers.
        authenticate: a bearer token to a principal. The sums go over all tenants, so one that sees all is needed.
    """

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        answer = await run_in_threadpool(_answer, request, render, authenticate)
        await answer(scope, receive, send)

    return endpoint


def _answer(request: Request, render: Callable[[str | None], Page], authenticate: Authenticate) -> Response:
    try:
        principal = authenticate(bearer_token(request.headers.get("authorization")))
        if principal.tenants is not None or not principal.may(_PERMISSION):
            raise Forbidden('The metrics are sums over all tenants: use a token whose tenants are ["*"].')
    except FinopsError as fault:
        return of_fault(fault, request.state.request_id)
    page = render(request.headers.get("accept"))
    return Response(page.body, headers={"Content-Type": page.content_type})
