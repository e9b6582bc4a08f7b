"""Routes made from operations: path, parameters, answers and faults are all read from the declaration."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from otel_finops.base.errors import BadInput, FinopsError
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.registry import Input, Operation, invoke
from otel_finops.otlp.bearer import bearer_token
from otel_finops.surfaces.api.problems import MEDIA_TYPE, Problem, of_fault

log = logging.getLogger(__name__)

PREFIX: Final = "/api/v1"
Authenticate = Callable[[str | None], Principal]
Endpoint = Callable[[Request], Awaitable[Response]]

_FAULTS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": description, "model": Problem, "content": {MEDIA_TYPE: {}}}
    for status, description in {
        400: "Bad input; the detail names the field and how to mend it.",
        401: "No token, or one that is not known.",
        403: "The token's role does not allow it.",
        404: "No such thing for this token; another tenant's things are not found either.",
        405: "Another method.",
        413: "Body too large.",
        500: "Unexpected fault; the instance is in the log.",
        503: "Try again after `Retry-After` seconds.",
    }.items()
}


def add_route(app: FastAPI, one: Operation, context: Context, authenticate: Authenticate) -> None:
    """Serve an operation at its path; GET for what reads, POST for what changes; both where what is read may be asked by a body."""
    _add(app, one, _endpoint(one, context, authenticate, body=one.changes), one.method, one.name)
    if one.by_body:
        _add(app, one, _endpoint(one, context, authenticate, body=True), "POST", f"{one.name}.post")


def _add(app: FastAPI, one: Operation, endpoint: Endpoint, method: str, operation_id: str) -> None:
    by_body = method == "POST"
    app.add_api_route(
        f"{PREFIX}/{one.path}",
        endpoint,
        methods=[method],
        operation_id=operation_id,
        summary=one.summary,
        tags=[one.name.partition(".")[0]],
        responses={200: {"description": "The answer.", "model": one.output}, **_FAULTS},
        response_class=Response,
        response_model=None,
        openapi_extra={
            "parameters": parameters(one, by_body=by_body),
            "security": [{"bearer": []}, {}],
            **({"requestBody": request_body(one)} if by_body and set(one.input.model_fields) - set(one.path_fields) else {}),
        },
    )


def _endpoint(one: Operation, context: Context, authenticate: Authenticate, *, body: bool) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            principal = authenticate(bearer_token(request.headers.get("authorization")))
            given = one.input.model_validate(await _given(one, request, body=body))
            answer = await run_in_threadpool(_answer, one, context, principal, given, _origin(request))
        except (FinopsError, ValidationError) as fault:
            return of_fault(fault, request.state.request_id)
        except Exception as fault:
            log.exception("request %s to %s failed", request.state.request_id, one.name)
            return of_fault(fault, request.state.request_id)
        return Response(answer, media_type="application/json")

    return endpoint


def _answer(one: Operation, context: Context, principal: Principal, given: Input, origin: str) -> bytes:
    """The answer's bytes, made in the handler's thread: a large tree has tens of megabytes, and the loop serves others meanwhile."""
    return orjson.dumps(invoke(one, context, principal, given, origin=origin))


async def _given(one: Operation, request: Request, *, body: bool) -> dict[str, Any]:
    """Path parameters, and the query's (or the JSON body's) fields."""
    fields: Mapping[str, Any] = await _body(request) if body else _query(request)
    if taken := sorted(set(fields) & set(one.path_fields)):
        raise BadInput(f"{', '.join(taken)}: stands in the path already")
    return {**fields, **request.path_params}


def _query(request: Request) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in given:
            raise BadInput(f"{name[:80]}: given more than once")
        given[name] = value
    return given


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = orjson.loads(await request.body() or b"{}")
    except orjson.JSONDecodeError:
        raise BadInput("The body is no JSON.") from None
    if not isinstance(body, dict):
        raise BadInput("The body must be a JSON object.")
    return body


def _origin(request: Request) -> str:
    return request.client.host if request.client else "api"


def request_body(one: Operation) -> dict[str, Any]:
    """The operation's input as an OpenAPI request body, fields of the path left out."""
    schema = one.input.model_json_schema()
    fields = {name: field for name, field in schema.get("properties", {}).items() if name not in one.path_fields}
    required = [name for name in schema.get("required", ()) if name in fields]
    described = {
        "type": "object",
        "properties": fields,
        "additionalProperties": schema.get("additionalProperties", False),
        **({"required": required} if required else {}),
    }
    return {"required": bool(required), "content": {"application/json": {"schema": described}}}


def parameters(one: Operation, *, by_body: bool) -> list[dict[str, Any]]:
    """The operation's input as OpenAPI parameters; where a body holds it only those of the path."""
    schema = one.input.model_json_schema()
    required = schema.get("required", [])
    found = []
    for name, field in schema.get("properties", {}).items():
        place = "path" if name in one.path_fields else "query"
        if place == "query" and by_body:
            continue
        found.append({
            "name": name,
            "in": place,
            "required": name in required,
            "description": field.get("description", ""),
            "schema": _parameter_schema(field),
        })  # fmt: skip
    return found


def _parameter_schema(field: Mapping[str, Any]) -> dict[str, Any]:
    """A query parameter is absent rather than null."""
    kinds = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
    return {key: value for key, value in kinds[0].items() if key not in ("title", "description") and value is not None}
