"""The API's description, OpenAPI 3.1, read from the declarations of the operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

from otel_finops.base.limits import IDEMPOTENCY_KEY_CHARS_MAX
from otel_finops.operations.registry import Input, Operation
from otel_finops.operations.requests import PREFIX
from otel_finops.surfaces.api.problems import MEDIA_TYPE, Problem
from otel_finops.surfaces.web.streams import stream_content

OPENAPI_PATH: Final = f"{PREFIX}/openapi.json"
ABOUT: Final = "What AI calls cost. Money is a decimal string in USD; faults are RFC 9457 problems."
VERSION: Final = "1"
"""Of the API, not of the product: it changes when what clients rely on goes away."""
_INPUTS: Final = "Input_"
"""Parts of inputs and parts of answers are apart, because one class may look different in both."""

_REQUEST_ID: Final = {"X-Request-Id": {"description": "Names the request, here and in the log.", "schema": {"type": "string"}}}
_AGAIN: Final = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
_ALLOWED: Final = {"Allow": {"description": "The methods of this path.", "schema": {"type": "string"}}}
_CHALLENGE: Final = {"WWW-Authenticate": {"description": "Bearer.", "schema": {"type": "string"}}}
_FAULTS: Final[Mapping[int, tuple[str, Mapping[str, Any]]]] = {
    400: ("Bad input; the detail names the field and how to mend it.", {}),
    401: ("No token, or one that is not known.", _CHALLENGE),
    403: ("The token's role does not allow it.", {}),
    404: ("No such thing for this token; another tenant's things are not found either.", {}),
    405: ("Another method.", _ALLOWED),
    409: ("The same change was asked for with this key before and is not done yet.", {}),
    413: ("Body too large.", {}),
    414: ("Path and query too long.", {}),
    415: ("The body is no JSON.", {}),
    422: ("The idempotency key was sent with another request before.", {}),
    429: ("Too many requests; try again after `Retry-After` seconds.", _AGAIN),
    431: ("Request line and headers too long.", {}),
    500: ("Unexpected fault; the instance is in the log.", {}),
    503: ("Try again after `Retry-After` seconds.", _AGAIN),
}


_OF_BODIES: Final = (413, 415)
_OF_KEYS: Final = (409, 422)
_KEY: Final[Mapping[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Who repeats the request with the same key gets the same answer, and nothing is changed again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_KEY_CHARS_MAX, "pattern": "^[!-~]+$"},
}
_REPLAYED: Final = {
    "Idempotent-Replayed": {"description": "`true`: the stored answer to an earlier request with this key.", "schema": {"type": "string"}}
}


def _problem(description: str, headers: Mapping[str, Any]) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}, "headers": {**_REQUEST_ID, **headers}}


def _fault(status: int) -> dict[str, Any]:
    return {"$ref": f"#/components/responses/Problem{status}"}


def answers(one: Operation) -> dict[int | str, dict[str, Any]]:
    """The answer where all is well."""
    headers = {**_REQUEST_ID, **(_REPLAYED if one.changes else {})}
    if one.streams:
        headers["Content-Disposition"] = {"description": "A name for the file.", "schema": {"type": "string"}}
        return {200: {"description": "A file of rows.", "content": stream_content(), "headers": headers}}
    return {200: {"description": "The answer.", "model": one.output, "headers": headers}}


def route_extras(one: Operation, *, by_body: bool) -> dict[str, Any]:
    """What the web framework cannot know: parameters, body, security."""
    schema = input_schema(one.input)
    parameters = [*_parameters(one, schema, by_body=by_body), *([dict(_KEY)] if one.changes else [])]
    extras: dict[str, Any] = {"parameters": parameters, "security": [{"bearer": []}, {}]}
    return {**extras, "requestBody": _request_body(one, schema)} if by_body else extras


@cache
def input_schema(model: type[Input]) -> Mapping[str, Any]:
    """The JSON Schema of an input; its parts stand among the document's schemas. Made once: two methods and the parts ask for the same."""
    return model.model_json_schema(ref_template=f"#/components/schemas/{_INPUTS}{{model}}")


def _request_body(one: Operation, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The input as a request body, fields of the path left out."""
    fields = {name: field for name, field in schema.get("properties", {}).items() if name not in one.path_fields}
    required = [name for name in schema.get("required", ()) if name in fields]
    described = {
        "type": "object",
        "properties": fields,
        "additionalProperties": schema.get("additionalProperties", False),
        **({"required": required} if required else {}),
    }
    return {"required": bool(required), "content": {"application/json": {"schema": described}}}


def _parameters(one: Operation, schema: Mapping[str, Any], *, by_body: bool) -> list[dict[str, Any]]:
    """The input as parameters; where a body holds it only those of the path."""
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "path" if name in one.path_fields else "query",
            "required": name in required or name in one.path_fields,
            "description": field.get("description", ""),
            "schema": _parameter_schema(field),
        }
        for name, field in schema.get("properties", {}).items()
        if name in one.path_fields or not by_body
    ]


def _parameter_schema(field: Mapping[str, Any]) -> dict[str, Any]:
    """A query parameter is absent rather than null."""
    plain = {key: value for key, value in field.items() if key not in ("title", "description", "anyOf") and value is not None}
    kinds = [kind for kind in field.get("anyOf", ()) if kind.get("type") != "null"]
    return {**plain, **kinds[0]} if len(kinds) == 1 else {**plain, "anyOf": kinds} if kinds else plain


def completed(document: dict[str, Any], operations: Iterable[Operation]) -> dict[str, Any]:
    """The framework's document with the faults, the parts of inputs, and the way to authenticate."""
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API token, or a credential of the host application (auth.resolver); needed when auth.mode is token.",
        }
    }
    components["responses"] = {f"Problem{status}": _problem(*fault) for status, fault in _FAULTS.items()}
    for methods in document.get("paths", {}).values():
        for described in methods.values():
            left_out: tuple[int, ...] = () if "requestBody" in described else _OF_BODIES
            left_out += () if dict(_KEY) in described.get("parameters", ()) else _OF_KEYS
            described["responses"] |= {str(status): _fault(status) for status in _FAULTS if status not in left_out}
    schemas = components.setdefault("schemas", {})
    schemas[Problem.__name__] = Problem.model_json_schema()
    for one in operations:
        for name, part in input_schema(one.input).get("$defs", {}).items():
            schemas[f"{_INPUTS}{name}"] = part
    return document
