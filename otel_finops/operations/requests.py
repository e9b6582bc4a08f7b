"""How an operation is asked over HTTP: one rule for the API that answers and for the command line that asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from otel_finops.operations.registry import Input, Operation

PREFIX: Final = "/api/v1"
"""Where all operations' paths begin."""


class Asked(NamedTuple):
    """A request for an operation.

    Attributes:
        method: GET for what reads by its query; POST for what changes, and for reads whose input is too long or nested for a URL.
        path: from the root of the service, values percent-encoded.
        query: of a GET, texts as the operation's model reads them.
        body: the JSON object of a POST, None for a GET.
    """

    method: str
    path: str
    query: Mapping[str, str]
    body: Mapping[str, Any] | None


def request_of(one: Operation, given: Input) -> Asked:
    """The request that asks the operation for this input; what was not given stays away, so that the service's defaults hold."""
    fields = given.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
    path = f"{PREFIX}/{one.path.format(**{name: quote(str(fields.pop(name)), safe='') for name in one.path_fields})}"
    if one.changes or one.by_body:
        return Asked("POST", path, {}, fields)
    return Asked(one.method, path, {name: _text(value) for name, value in fields.items()}, None)


def _text(value: Any) -> str:
    return ("false", "true")[value] if isinstance(value, bool) else str(value)
