"""What surrounds every request, as plain ASGI: a request id, security headers, who may call without a token, limits on URLs and bodies,
HEAD, an answer to any fault, and a line in the log."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, TypeAlias

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from otel_finops.base.errors import BadInput, Busy, Forbidden, TooLarge, UrlTooLong
from otel_finops.base.limits import API_BODIES_BYTES_MAX, API_BODY_MIB, API_URL_BYTES_MAX, HOSTS_KNOWN_MAX, MIB
from otel_finops.otlp.browsers import is_local, is_local_origin
from otel_finops.surfaces.api.access_log import log_request
from otel_finops.surfaces.api.problems import of_fault

log = logging.getLogger(__name__)

Told: TypeAlias = Mapping[bytes, Sequence[str]]

REQUEST_ID: Final = "x-request-id"
_REQUEST_ID: Final = REQUEST_ID.encode()
PROBES: Final = frozenset({"/healthz", "/readyz"})
"""Paths that say nothing that a stranger must not know."""
_SAFE_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with `no-referrer` browsers send forms of our own pages with `Origin: null`
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Set where an answer does not set them itself."""
_HEADERS: Final = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
_OURS: Final = frozenset({_REQUEST_ID, *(name for name, _ in _HEADERS)})
_LOOKED_AT: Final = frozenset({_REQUEST_ID, b"content-length", b"host", b"origin"})
"""Headers of a request that are of interest here."""


class Shell:
    """The outermost layer of the application.

    Args:
        app: what it surrounds.
        names: host names by which this machine is called besides loopback; None when every caller shows a token, so that
            neither host nor origin matters.
        body_mib_max: MiB that a request's body may have.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] | None = None, *, body_mib_max: int = API_BODY_MIB) -> None:
        self._app = app
        self._names = None if names is None else frozenset(name.lower() for name in names)
        self._is_local = lru_cache(HOSTS_KNOWN_MAX)(lambda host: is_local(host, self._names or ()))
        self._bodies = _Bodies(body_mib_max)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = time.monotonic()
        told = _told(scope["headers"])
        bodiless = scope.setdefault("state", {})["bodiless"] = scope["method"] == "HEAD"
        request_id = scope["state"]["request_id"] = _request_id(told)
        answer = _Answer(send, request_id, bodiless=bodiless)
        inner = {**scope, "method": "GET"} if bodiless else scope
        body = self._bodies.limited(receive, told)
        try:
            self._admit(scope, told)
            await self._app(inner, body.receive, answer.send)
        except (BadInput, Busy) as fault:
            await answer.fault(fault, scope, receive)
        except Exception as fault:
            log.exception("request %s failed", request_id)
            await answer.fault(fault, scope, receive)
        finally:
            body.release()
            log_request(inner, scope["method"], answer.status, answer.sent_bytes, time.monotonic() - began_s)

    def _admit(self, scope: Scope, told: Told) -> None:
        """Refuse endless URLs, and what a foreign web page has a browser send while everyone is admin."""
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > API_URL_BYTES_MAX:
            raise UrlTooLong(f"Path and query may have {API_URL_BYTES_MAX} bytes; some operations take their parameters as a body too.")
        if self._names is None or scope["path"] in PROBES:
            return
        hosts = told.get(b"host", ())
        if len(hosts) != 1 or not self._is_local(hosts[0]):
            raise Forbidden(
                "While auth.mode is off this service answers to loopback names and addresses only: call it by 127.0.0.1 or localhost, "
                "list the name in http.names, or set auth.mode to token."
            )
        if not all(is_local_origin(origin, self._names) for origin in told.get(b"origin", ())):
            raise Forbidden("While auth.mode is off, requests of other sites' pages are refused; set auth.mode to token.")


def _told(headers: Iterable[tuple[bytes, bytes]]) -> Told:
    """What is of interest here, in one walk through the headers: all values of each name."""
    told: dict[bytes, list[str]] = {}
    for name, value in headers:
        if name in _LOOKED_AT:
            told.setdefault(name, []).append(value.decode("latin-1"))
    return told


def _request_id(told: Told) -> str:
    """The caller's own, when it can do no harm in a log. Ours tell requests apart and guard nothing."""
    given = told.get(_REQUEST_ID)
    return given[0] if given and _SAFE_ID.fullmatch(given[0]) else f"{random.getrandbits(64):016x}"


class _Answer:
    """Puts headers on what is sent, counts it, and answers faults if nothing was sent yet."""

    def __init__(self, send: Send, request_id: str, *, bodiless: bool) -> None:
        self._send = send
        self._request_id = request_id
        self._bodiless = bodiless
        self.status = 0
        """0 until an answer began."""
        self.sent_bytes = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": self._completed(message.get("headers", ()))}
        elif message["type"] == "http.response.body":
            message = {**message, "body": b""} if self._bodiless else message
            self.sent_bytes += len(message.get("body", b""))
        await self._send(message)

    def _completed(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        named = (_REQUEST_ID, self._request_id.encode())
        own = {name.lower() for name, _ in headers}
        if own.isdisjoint(_OURS):
            return [*headers, named, *_HEADERS]
        kept = (one for one in headers if one[0].lower() != _REQUEST_ID)
        return [*kept, named, *(one for one in _HEADERS if one[0] not in own)]

    async def fault(self, fault: Exception, scope: Scope, receive: Receive) -> None:
        if self.status:
            raise fault
        await of_fault(fault, self._request_id)(scope, receive, self.send)


class _Bodies:
    """Bounds each body, and all that are held at a time."""

    def __init__(self, mib_max: int) -> None:
        self.mib_max = mib_max
        self.held_bytes = 0

    def limited(self, receive: Receive, told: Told) -> _Body:
        return _Body(self, receive, told.get(b"content-length", ("0",))[0])


class _Body:
    """A request's body while it arrives: refused over the limit, announced or not."""

    def __init__(self, bodies: _Bodies, receive: Receive, announced: str) -> None:
        self._bodies = bodies
        self._receive = receive
        self._announced = int(announced) if announced.isdecimal() and len(announced) < 20 else 0
        self._bytes = 0

    async def receive(self) -> Message:
        message = await self._receive()
        came = len(message.get("body", b""))
        self._bytes += came
        self._bodies.held_bytes += came
        if max(self._bytes, self._announced) > self._bodies.mib_max * MIB:
            raise TooLarge(f"A request's body may have {self._bodies.mib_max} MiB (http.body_mib_max).")
        if self._bodies.held_bytes > API_BODIES_BYTES_MAX:
            raise Busy("Too many large requests arrive at once; send it again.", retry_after_s=2)
        return message

    def release(self) -> None:
        self._bodies.held_bytes -= self._bytes
        self._bytes = 0
