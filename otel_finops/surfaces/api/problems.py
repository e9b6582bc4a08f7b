"""Faults as RFC 9457 problem documents: one table from our exceptions to statuses, and nothing in a body that a stranger must not read."""

from __future__ import annotations

import math
from typing import Final

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.responses import Response

from otel_finops.base.errors import BadInput, Busy, FinopsError, NotFound, Unauthenticated, Unavailable
from otel_finops.operations.faults import KINDS, Kind, explained, printable

MEDIA_TYPE: Final = "application/problem+json"


class Problem(BaseModel):
    """RFC 9457: what went wrong, for programs (`type`, `status`) and people (`title`, `detail`); `instance` names the request."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""
    instance: str = ""


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
