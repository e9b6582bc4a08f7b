"""What surrounds every request, as plain ASGI: a request id, security headers, who may call without a token, a limit on bodies, and
an answer to any fault."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Collection
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from otel_finops.base.errors import Forbidden, TooLarge
from otel_finops.otlp.browsers import is_local, is_local_origin
from otel_finops.surfaces.api.problems import of_fault

log = logging.getLogger(__name__)

BODY_BYTES_MAX: Final = 1024 * 1024
"""The API takes small JSON documents; spans go to the OTLP listeners."""
REQUEST_ID: Final = "x-request-id"
PROBES: Final = frozenset({"/healthz", "/readyz"})
"""Paths that say nothing that a stranger must not know."""
_SAFE_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Set where an answer does not set them itself."""


class Shell:
    """The outermost layer of the application.

    Args:
        app: what it surrounds.
        names: host names by which this machine is called besides loopback; None when every caller shows a token, so that
            neither host nor origin matters.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] | None = None) -> None:
        self._app = app
        self._names = names if names is None else frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(REQUEST_ID, "")
        request_id = given if _SAFE_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send, request_id)
        try:
            self._admit(scope["path"], headers)
            await self._app(scope, _limited(receive, headers), answer.send)
        except (Forbidden, TooLarge) as fault:
            await answer.fault(fault, scope, receive)
        except Exception as fault:
            log.exception("request %s failed", request_id)
            await answer.fault(fault, scope, receive)

    def _admit(self, path: str, headers: Headers) -> None:
        """Refuse what a foreign web page has a browser send while everyone is admin."""
        if self._names is None or path in PROBES:
            return
        host, origin = headers.get("host", ""), headers.get("origin")
        if len(headers.getlist("host")) != 1 or not is_local(host, self._names):
            raise Forbidden(
                "While auth.mode is off this service answers to loopback names and addresses only: call it by 127.0.0.1 or localhost, "
                "list the name in http.names, or set auth.mode to token."
            )
        if origin is not None and not is_local_origin(origin, self._names):
            raise Forbidden("While auth.mode is off, requests of other sites' pages are refused; set auth.mode to token.")


class _Answer:
    """Puts headers on what is sent, and answers faults if nothing was sent yet."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self._started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self._request_id
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)

    async def fault(self, fault: Exception, scope: Scope, receive: Receive) -> None:
        if self._started:
            raise fault
        await of_fault(fault, self._request_id)(scope, receive, self.send)


def _limited(receive: Receive, headers: Headers) -> Receive:
    """A `receive` that refuses bodies over the limit, announced or not."""
    announced = headers.get("content-length", "0")
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > BODY_BYTES_MAX or (announced.isdigit() and int(announced) > BODY_BYTES_MAX):
            raise TooLarge(f"A request body may have {BODY_BYTES_MAX} bytes.")
        return message

    return limited
