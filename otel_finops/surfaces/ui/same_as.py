"""The API call and the command behind what a page shows."""

from __future__ import annotations

import shlex
from typing import NamedTuple
from urllib.parse import urlencode

import orjson

from otel_finops.operations.fields import NAMED
from otel_finops.operations.registry import Input, Operation
from otel_finops.operations.requests import request_of


class SameAs(NamedTuple):
    """One operation that was asked, said otherwise.

    Attributes:
        name: of the operation.
        summary: what it does.
        method: of the API call.
        path: of the API call with its query, from the root of the service.
        curl: a command line that makes the call, against `base`.
        command: the command line of `otel-finops`.
    """

    name: str
    summary: str
    method: str
    path: str
    curl: str
    command: str


def same_as(one: Operation, given: Input, base: str, *, token: bool) -> SameAs:
    """Say an operation with its input as an API call and as a command.

    Args:
        base: scheme, host and port at which the service was called.
        token: whether calls must show one.
    """
    asked = request_of(one, given)
    path = asked.path + (f"?{urlencode(asked.query)}" if asked.query else "")
    curl = ["curl", "-s"]
    shown = ' -H "Authorization: Bearer $OTEL_FINOPS_TOKEN"' if token else ""
    if asked.body is not None:
        curl += ["-H", "Content-Type: application/json", "-d", orjson.dumps(asked.body).decode()]
    return SameAs(one.name, one.summary, asked.method, path, f"{shlex.join(curl)}{shown} {shlex.quote(base + path)}", _command(one, given))


def _command(one: Operation, given: Input) -> str:
    fields = type(given).model_fields
    said = given.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    words, options = ["otel-finops", *one.words], list[str]()
    for name, value in said.items():
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        if fields[name].is_required() and not _is_named(fields[name].json_schema_extra):
            words.append(text)
        elif value is True:
            options.append("--" + (fields[name].alias or name).replace("_", "-"))
        else:
            options += ["--" + (fields[name].alias or name).replace("_", "-"), text]
    return shlex.join(words + options)


def _is_named(extra: object) -> bool:
    return isinstance(extra, dict) and extra.items() >= NAMED.items()
