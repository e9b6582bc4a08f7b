"""What operations refuse, in words that every surface shows alike, and the one table of kinds that HTTP and its clients speak of."""

from __future__ import annotations

from typing import Final, NamedTuple

from pydantic import ValidationError

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

_SHOWN_FAULTS_MAX: Final = 20


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
    Conflict: Kind(409, "conflict", "Not possible as things stand"),
    KeyReused: Kind(422, "key-reused", "Idempotency key of another request"),
    BadInput: Kind(400, "bad-input", "Bad input"),
    TooManyRequests: Kind(429, "too-many-requests", "Too many requests"),
    Busy: Kind(503, "busy", "Busy, try again"),
    Unavailable: Kind(503, "unavailable", "Unavailable, try again"),
    BrokenLedger: Kind(500, "broken-ledger", "The ledger contradicts itself"),
    StartRefused: Kind(500, "refused", "The service is not set up for this"),
}
"""First match in this order; classes stand before their bases."""


def explained(error: ValidationError) -> str:
    """Every fault of the input with its field; the values themselves are not repeated."""
    return "; ".join(f"{field or 'input'}: {said}" for field, said in faults_of(error))


def faults_of(error: ValidationError) -> list[tuple[str, str]]:
    """The first faults of an input: the field (empty for the whole), as `scope.agent` where it lies deeper, and what is wrong with it."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)[:_SHOWN_FAULTS_MAX]
    return [(printable(".".join(map(str, fault["loc"]))[:80]), printable(_message(fault["type"], fault["msg"]))) for fault in faults]


def _message(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "there is no such parameter"
    if kind == "missing":
        return "must be given"
    return message.removeprefix("Value error, ").replace("Input should be", "must be")


def printable(text: str) -> str:
    """The text with lone surrogates replaced, so that it can be written as UTF-8."""
    return text.encode("utf-8", "replace").decode()
