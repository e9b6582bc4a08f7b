"""What surrounds every request, as plain ASGI: a request id, security headers, a limit on bodies, and an answer to any fault."""

from __future__ import annotations

import logging
import re
import secrets
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from otel_finops.base.errors import TooLarge
from otel_finops.surfaces.api.problems import of_fault

log = logging.getLogger(__name__)

BODY_BYTES_MAX: Final = 1024 * 1024
"""The API takes small JSON documents; spans go to the OTLP listeners."""
REQUEST_ID: Final = "x-request-id"
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
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

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
            await self._app(scope, _limited(receive, headers), answer.send)
        except TooLarge as fault:
            await answer.fault(fault, scope, receive)
        except Exception as fault:
            log.exception("request %s failed", request_id)
            await answer.fault(fault, scope, receive)


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
