"""Faults as RFC 9457 problem documents: one table from our exceptions to statuses, and nothing in a body that a stranger must not read."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.responses import Response

from otel_finops.base.errors import (
    BadInput,
    BrokenLedger,
    Busy,
    Conflict,
    FinopsError,
    Forbidden,
    KeyReused,
    NotFound,
    StartRefused,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
    UrlTooLong,
    WrongType,
)
from otel_finops.operations.faults import explained, printable

MEDIA_TYPE: Final = "application/problem+json"


class Problem(BaseModel):
    """RFC 9457: what went wrong, for programs (`type`, `status`) and people (`title`, `detail`); `instance` names the request."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    instance: str = ""


class Kind(NamedTuple):
    """A class of faults: its status, its title, and what it means."""

    status: int
    slug: str
    title: str


KINDS: Final[dict[type[FinopsError], Kind]] = {
    UrlTooLong: Kind(414, "url-too-long", "URL too long"),
    TooLarge: Kind(413, "too-large", "Too large"),
    WrongType: Kind(415, "wrong-type", "Wrong content type"),
    Unauthenticated: Kind(401, "unauthenticated", "Not authenticated"),
    Forbidden: Kind(403, "forbidden", "Not allowed"),
    NotFound: Kind(404, "not-found", "Not found"),
    Conflict: Kind(409, "conflict", "Asked for before, not done yet"),
    KeyReused: Kind(422, "key-reused", "Idempotency key of another request"),
    BadInput: Kind(400, "bad-input", "Bad input"),
    TooManyRequests: Kind(429, "too-many-requests", "Too many requests"),
    Busy: Kind(503, "busy", "Busy, try again"),
    Unavailable: Kind(503, "unavailable", "Unavailable, try again"),
    BrokenLedger: Kind(500, "broken-ledger", "The ledger contradicts itself"),
    StartRefused: Kind(500, "refused", "The service is not set up for this"),
}
"""First match in this order; classes stand before their bases."""
UNEXPECTED: Final = Kind(500, "unexpected", "Unexpected fault")
METHOD: Final = Kind(405, "method-not-allowed", "Method not allowed")


def problem_response(kind: Kind, detail: str, request_id: str, headers: dict[str, str] | None = None) -> Response:
    """The problem document as an answer."""
    problem = Problem(
        type=f"urn:otel-finops:problem:{kind.slug}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=f"urn:otel-finops:request:{request_id}",
    )
    return Response(orjson.dumps(problem.model_dump()), kind.status, headers, MEDIA_TYPE)


def of_fault(fault: Exception, request_id: str) -> Response:
    """The answer to a fault: our own messages are safe to show, anybody else's are not."""
    if isinstance(fault, ValidationError):
        return problem_response(KINDS[BadInput], explained(fault), request_id)
    if not isinstance(fault, FinopsError):
        return problem_response(UNEXPECTED, "The fault is in the service's log under this request's id.", request_id)
    kind = next(kind for base, kind in KINDS.items() if isinstance(fault, base))
    return problem_response(kind, printable(str(fault)), request_id, _headers(fault))


def of_status(status: int, request_id: str, headers: dict[str, str] | None = None) -> Response:
    """The answer to what the router refuses by itself."""
    if status == 404:
        return of_fault(NotFound("There is no such path; all paths are in /api/v1/openapi.json."), request_id)
    if status == 405:
        return problem_response(METHOD, f"This path takes {(headers or {}).get('Allow', 'another method')}.", request_id, headers)
    return problem_response(Kind(status, "refused", "Refused"), "", request_id, headers)


def _headers(fault: FinopsError) -> dict[str, str]:
    if isinstance(fault, Unauthenticated):
        return {"WWW-Authenticate": 'Bearer realm="otel-finops"'}
    if isinstance(fault, Busy | Unavailable):
        return {"Retry-After": str(max(1, math.ceil(fault.retry_after_s)))}
    return {}
