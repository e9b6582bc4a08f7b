"""The console as an ASGI application: pages, what their forms change, signing in, and files."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Final, NamedTuple
from urllib.parse import urlencode

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp

from otel_finops.base.errors import BadInput, Busy, FinopsError, NotFound, Unauthenticated, Unavailable
from otel_finops.identity.principals import Principal
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.faults import KINDS, Kind, explained, printable
from otel_finops.operations.registry import admit
from otel_finops.surfaces.ui import pages as _pages  # noqa: F401 - registers them
from otel_finops.surfaces.ui.forms import Posted
from otel_finops.surfaces.ui.live import EVENTS, LIVE, Live
from otel_finops.surfaces.ui.page import PAGES, Declared, Page, after, input_of
from otel_finops.surfaces.ui.rendering import Renderer
from otel_finops.surfaces.ui.session import local_path, must_be_opened, must_be_own, path_of, sign_in, sign_out, token_of
from otel_finops.surfaces.ui.static_files import PREFIX, StaticFiles
from otel_finops.surfaces.web.gate import Gate
from otel_finops.surfaces.web.places import Places
from otel_finops.surfaces.web.streams import stream_answer

log = logging.getLogger(__name__)

_GZIP_BYTES_MIN: Final = 1_400
"""What fits one packet gains nothing."""
_FILES_MAX: Final = 1
_FIELDS_MAX: Final = 200
_FIELD_BYTES_MAX: Final = 1 << 20
_STRANGERS_FIELD_BYTES_MAX: Final = 16 << 10
"""Of whoever is not signed in yet: a token, of some other service at the most."""
_NOBODY: Final = Principal("nobody", (), frozenset())
_NOT_SO: Final = Kind(405, "not-so", "Not in this way")
_UNEXPECTED: Final = Kind(500, "unexpected", "Something went wrong here")


class _Console(NamedTuple):
    """What all pages have in common."""

    context: Context
    gate: Gate
    renderer: Renderer


def build_console(context: Context, gate: Gate, exports: Places, heavy: Places, *, listeners: Mapping[str, str]) -> ASGIApp:
    """The application behind every path that is none of the API's.

    Args:
        context: what operations work on; its features decide which pages there are.
        gate: lets requests in; here by the token in a cookie.
        exports: places for downloads.
        heavy: places for what takes long.
        listeners: where spans are taken, by name (`OTLP/gRPC`, `OTLP/HTTP`), for those who send their first one.
    """
    static = StaticFiles()
    console = _Console(context, gate.reading(token_of), Renderer(static, context.version, listeners))
    routes = [
        Route(f"{PREFIX}/{{version}}/{{name:path}}", static.answer, methods=["GET"]),
        Route("/live/events", _live(console), methods=["GET"]),
        Route("/download/{operation}", _download(console, exports), methods=["GET"]),
        Route("/sign-in", _threaded(console, _sign_in_page), methods=["GET"]),
        Route("/sign-in", _threaded(console, _sign_in, known=False), methods=["POST"]),
        Route("/sign-out", _threaded(console, _sign_out, known=False), methods=["POST"]),
    ]
    for one in sorted(PAGES, key=lambda one: one.path.count("{")):  # `/budgets/new` before `/budgets/{no}`
        answer = partial(_page_answer, declared=one)
        routes.append(Route(one.path, _threaded(console, answer, heavy, one.slow), methods=["POST" if one.changes else "GET"]))
    app = Starlette(
        routes=routes,
        middleware=[Middleware(GZipMiddleware, minimum_size=_GZIP_BYTES_MIN)],
        exception_handlers={HTTPException: _refusal(console)},
    )
    app.router.redirect_slashes = False
    return app


def _threaded(
    console: _Console,
    answer: Callable[..., Response],
    heavy: Places | None = None,
    slow: Callable[[Mapping[str, str]], bool] | None = None,
    *,
    known: bool = True,
) -> Callable[..., Awaitable[Response]]:
    """An endpoint: reads what a form sends, once it is known to come from a page of ours and (`known`) who sends it, and answers in a
    thread; what takes long in one of the places for that."""

    async def endpoint(request: Request) -> Response:
        posted = None
        try:
            if request.method == "POST":
                must_be_own(request)
                if known:
                    request.state.sender = await run_in_threadpool(console.gate.principal, request)
                posted = await _posted(request, _FIELD_BYTES_MAX if known else _STRANGERS_FIELD_BYTES_MAX)
            else:
                must_be_opened(request)
            takes_long = heavy is not None and slow is not None and slow(dict(request.query_params))
            with heavy.taken() if heavy is not None and takes_long else nullcontext():
                return await run_in_threadpool(answer, console, request, posted)
        except Unauthenticated:
            return _to_sign_in(request)
        except FinopsError as refused:
            return await run_in_threadpool(_fault_page, console, request, _NOBODY, refused)

    return endpoint


def _live(console: _Console) -> Callable[[Request], Awaitable[Response]]:
    live = Live(lambda page: console.gate.still(page.request, page.principal))

    async def events(request: Request) -> Response:
        try:
            must_be_opened(request)
            principal = await run_in_threadpool(console.gate.principal, request)
            admit(OPERATIONS.named(LIVE.needs[0]), console.context, principal)
        except FinopsError:
            return Response(status_code=204)  # a browser does not ask again then
        if request.state.bodiless:
            return Response(media_type=EVENTS)
        return live.answer(Page(request, principal, console.context, LIVE, console.renderer))

    return events


def _download(console: _Console, exports: Places) -> Callable[[Request], Awaitable[Response]]:
    """Files of the operations that stream, for who is signed in by a cookie."""

    async def download(request: Request) -> Response:
        principal = _NOBODY
        try:
            must_be_opened(request)
            principal = await run_in_threadpool(console.gate.principal, request)
            one = next((one for one in OPERATIONS if one.streams and one.name == request.path_params["operation"]), None)
            if one is None:
                raise NotFound("There is no such file.")
            read = partial(input_of, one, dict(request.query_params))
            return await stream_answer(one, request, read, console.context, principal, exports, console.gate)
        except Unauthenticated:
            return _to_sign_in(request)
        except Exception as fault:  # noqa: BLE001 - told and logged
            return await run_in_threadpool(_fault_page, console, request, principal, fault)

    return download


async def _posted(request: Request, field_bytes_max: int) -> Posted:
    """A form's texts and files; of a name that is given twice the last one counts, as of a box that is ticked."""
    try:
        async with request.form(max_files=_FILES_MAX, max_fields=_FIELDS_MAX, max_part_size=field_bytes_max) as form:
            items = form.multi_items()
            texts = {name: value for name, value in items if isinstance(value, str)}
            files = {name: value for name, value in items if isinstance(value, UploadFile)}
            names = {name: value.filename or "" for name, value in files.items()}
            return Posted(texts, {name: await value.read() for name, value in files.items()}, names)
    except (HTTPException, MultiPartException, ClientDisconnect, ValueError):  # ValueError: parts and charsets that are none
        raise BadInput("What the form sent cannot be read: it has too many fields or files, too long ones, or is cut off.") from None


def _page_answer(console: _Console, request: Request, posted: Posted | None, declared: Declared) -> Response:
    """Let in, make the page, say what keeps it from being made."""
    principal = _NOBODY
    try:
        principal = _sender(console, request) if posted is not None else console.gate.principal(request)
        page = Page(request, principal, console.context, declared, console.renderer, posted)
        if declared.needs and not any(page.can(name) for name in declared.needs):
            admit(OPERATIONS.named(declared.needs[0]), console.context, principal)
        if declared.slow(page.query) and not page.is_waited_for:
            return page.render("working.html")
        return declared.handler(page)
    except Unauthenticated:
        return _to_sign_in(request)
    except Exception as fault:  # noqa: BLE001 - told and logged
        return _fault_page(console, request, principal, fault)


def _sender(console: _Console, request: Request) -> Principal:
    """Who sends a form; that he still may is asked anew once it is here."""
    sender: Principal = request.state.sender
    console.gate.still(request, sender)
    return sender


def _refusal(console: _Console) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def refused(request: Request, fault: Exception) -> Response:
        assert isinstance(fault, HTTPException)
        return await run_in_threadpool(_no_page, console, request, fault.status_code)

    return refused


def _no_page(console: _Console, request: Request, status: int) -> Response:
    """Of a path that no page has, or none for this method; who is not signed in does not learn which there are."""
    try:
        principal = console.gate.principal(request)
    except Unauthenticated:
        return _to_sign_in(request)
    except FinopsError as fault:
        return _fault_page(console, request, _NOBODY, fault)
    if status != 405:
        return _fault_page(console, request, principal, NotFound("There is no such page."))
    allowed = {"Allow": ", ".join(sorted(_methods(request)))}
    if request.method == "OPTIONS":
        return Response(status_code=204, headers=allowed)
    answer = _told(console, request, principal, _NOT_SO, "Here is a form's address, or a page that takes no form: go by the pages' links.")
    answer.headers.update(allowed)
    return answer


def _methods(request: Request) -> set[str]:
    """What a path takes, by all routes of the console."""
    there = (route for route in request.app.router.routes if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE)
    return {"OPTIONS"}.union(*(route.methods or () for route in there))


def _fault_page(console: _Console, request: Request, principal: Principal, fault: Exception) -> Response:
    """Our own messages are safe to show, anybody else's are not."""
    kind, said = _UNEXPECTED, "The fault is in the service's log under this request's id."
    if isinstance(fault, ValidationError):
        kind, said = KINDS[BadInput], explained(fault)
    elif isinstance(fault, FinopsError):
        kind, said = next(kind for base, kind in KINDS.items() if isinstance(fault, base)), printable(str(fault))
    else:
        log.error("request %s to the console failed", request.state.request_id, exc_info=fault)
    answer = _told(console, request, principal, kind, said)
    if isinstance(fault, Busy | Unavailable):
        answer.headers["Retry-After"] = after(fault)
    return answer


def _told(console: _Console, request: Request, principal: Principal, kind: Kind, said: str) -> Response:
    """The page of a fault; it asks no operation, for the fault may be that none can be asked."""
    page = Page(
        request, principal, console.context, Declared("", kind.title, "", (), lambda page: page.render("fault.html")), console.renderer
    )
    return page.render("fault.html", status=kind.status, kind=kind, said=said, request_id=request.state.request_id)


# --- signing in and out ----------------------------------------------------------------------------------------------


def _to_sign_in(request: Request) -> Response:
    """A script's partial request has the browser go there as a whole."""
    query = request.scope["query_string"].decode("latin-1")
    asked = path_of(request) + (f"?{query}" if query else "")
    target = f"/sign-in?{urlencode({'next': asked if request.method == 'GET' else '/'})}"
    if request.headers.get("hx-request") == "true":
        return Response(status_code=204, headers={"HX-Redirect": target})
    return RedirectResponse(target, 303)


def _sign_in_page(console: _Console, request: Request, posted: Posted | None, fault: str = "") -> Response:
    if console.context.settings.auth.mode == "off":
        return RedirectResponse(local_path(request.query_params.get("next")), 303)
    declared = Declared("/sign-in", "Sign in", "", (), lambda page: page.render("sign_in.html"))
    page = Page(request, _NOBODY, console.context, declared, console.renderer)
    return page.render("sign_in.html", status=401 if fault else 200, fault=fault)


def _sign_in(console: _Console, request: Request, posted: Posted | None) -> Response:
    token = posted.texts.get("token", "").strip() if posted else ""
    try:
        console.gate.reading(lambda _: token or None).principal(request)
    except Unauthenticated as fault:
        return _sign_in_page(console, request, posted, str(fault) if token else "Paste a token.")
    except FinopsError as fault:
        return _fault_page(console, request, _NOBODY, fault)
    response = RedirectResponse(local_path(request.query_params.get("next")), 303)
    sign_in(response, request, token)
    return response


def _sign_out(console: _Console, request: Request, posted: Posted | None) -> Response:
    response = RedirectResponse("/sign-in", 303)
    sign_out(response)
    return response
