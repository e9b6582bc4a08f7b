"""What a request gives to an operation: the texts of path and query, or a JSON body, as values of the declared types.

Both are read strictly: a body's `"5"` is no number, and the URL's texts are read as the JSON values that the declaration asks for
(`true`, not `yes`). So what the API takes is what its description says.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
from starlette.requests import Request

from otel_finops.base.errors import BadInput, TooLarge, WrongType
from otel_finops.base.limits import API_JSON_CONTAINERS_MAX
from otel_finops.operations.registry import Input, Operation
from otel_finops.surfaces.web.texts import kinds_of, value_of

_SHOWN_CHARS: Final = 80


def read_given(one: Operation, request: Request, body: bytes | None) -> Input:
    """The operation's input; `body` is None where the query gives it.

    Raises:
        BadInput: unknown or repeated names, no JSON object, what stands in the path as well.
        ValidationError: the declaration refuses it.
    """
    kinds = kinds_of(one.input)
    fields = _from_query(request, kinds) if body is None else _from_body(body)
    if one.input.model_config.get("extra") != "allow" and (unknown := sorted(fields.keys() - kinds.keys())):
        raise BadInput("; ".join(f"{name[:_SHOWN_CHARS]}: there is no such parameter{_hint(name, kinds)}" for name in unknown[:20]))
    path = {name: value_of(text, kinds[name]) for name, text in request.path_params.items()}
    if taken := sorted(fields.keys() & path.keys()):
        raise BadInput(f"{', '.join(taken)}: stands in the path already")
    try:
        return one.input.model_validate_json(orjson.dumps({**fields, **path}), strict=True)
    except orjson.JSONEncodeError:
        raise BadInput("The body holds half of a surrogate pair, or a whole number beyond 64 bits.") from None


def check_type(headers: Mapping[str, str], body: bytes) -> None:
    """Refuse a body that does not say it is plain JSON: pages of other sites can send forms and texts, but no JSON.

    Raises:
        WrongType: it says that it is something else, or nothing.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and (body or kind):
        raise WrongType("Send the parameters as a JSON object, with `Content-Type: application/json`.")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise WrongType("Send the body as it is, without Content-Encoding.")


def _from_query(request: Request, kinds: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, text in request.query_params.multi_items():
        if name in given:
            raise BadInput(f"{name[:_SHOWN_CHARS]}: given more than once")
        given[name] = value_of(text, kinds.get(name, frozenset()))
    return given


def _from_body(body: bytes) -> dict[str, Any]:
    return _read_apart(body) if (plain := _plain(body)) is None else plain


def _plain(body: bytes) -> dict[str, Any] | None:
    """What `_read_apart` says, at a fifth of its cost, of an object of texts, whole numbers and flags without escapes; None of all else.

    There every quote stands beside a name or a text, so that there are more of them than what was read accounts for where a name came
    twice. A whole number beyond 64 bits is read as a fraction.
    """
    if body.count(b"{") != 1 or b"[" in body or b"\\" in body:
        return None
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(given, dict):
        return None
    kinds = [type(value) for value in given.values()]
    return given if float not in kinds and body.count(b'"') == 2 * (len(kinds) + kinds.count(str)) else None


def _read_apart(body: bytes) -> dict[str, Any]:
    if body.count(b"{") + body.count(b"[") > API_JSON_CONTAINERS_MAX:
        raise TooLarge(f"A body may hold {API_JSON_CONTAINERS_MAX} objects and lists; send it in parts.")
    try:
        given = json.loads(body.decode() or "{}", object_pairs_hook=_each_once, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        raise BadInput("The body is no JSON.") from None
    if not isinstance(given, dict):
        raise BadInput("The body must be a JSON object.")
    return given


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) < len(pairs):
        names = [name for name, _ in pairs]
        raise BadInput(f"{next(name for name in names if names.count(name) > 1)[:_SHOWN_CHARS]}: given more than once")
    return read


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise BadInput(f"The body holds {text[:_SHOWN_CHARS]}; numbers are finite.")
    return number


def _hint(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name[:_SHOWN_CHARS], known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
