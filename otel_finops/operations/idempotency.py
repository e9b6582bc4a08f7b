"""Idempotency keys: who repeats a change with the same key gets the answer that was stored when it was made.

The key and the answer are written in the transaction of the change itself, so that there is never the one without the other. A run has
more than one transaction: its key is taken with its intent, and who asks again before it is done is told so.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from otel_finops.audit.redaction import canonical, redacted
from otel_finops.base.errors import BadInput, Conflict, KeyReused
from otel_finops.base.limits import IDEMPOTENCY_ANSWER_BYTES_MAX, IDEMPOTENCY_KEY_CHARS_MAX, IDEMPOTENCY_KEY_HOURS
from otel_finops.base.times import NS_PER_HOUR, format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.desks import Keyed, Replayed

if TYPE_CHECKING:  # the store loads a database toolkit, which `--help` must not wait for
    from otel_finops.base.clock import Clock
    from otel_finops.store.engine import Store

_KEY: Final = re.compile(rf"[\x21-\x7e]{{1,{IDEMPOTENCY_KEY_CHARS_MAX}}}")
_LIFE_NS: Final = IDEMPOTENCY_KEY_HOURS * NS_PER_HOUR
_EXPIRE: Final = "DELETE FROM idempotency_keys WHERE claimed_ns < ?"
_CLAIM: Final = (
    "INSERT INTO idempotency_keys (holder, key, operation, given, claimed_ns) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (holder, key) DO NOTHING RETURNING claimed_ns"
)
_LOOK: Final = "SELECT operation, given, claimed_ns, answer FROM idempotency_keys WHERE holder = ? AND key = ?"
_KEEP: Final = "UPDATE idempotency_keys SET answer = ? WHERE holder = ? AND key = ?"
_RELEASE: Final = "DELETE FROM idempotency_keys WHERE holder = ? AND key = ? AND answer IS NULL"


def checked_key(key: str) -> str:
    """The key as it was given.

    Raises:
        BadInput: it has blanks or characters beyond ASCII, or is empty or too long.
    """
    if not _KEY.fullmatch(key):
        raise BadInput(
            f"Idempotency-Key: 1 to {IDEMPOTENCY_KEY_CHARS_MAX} visible ASCII characters, e.g. a UUID that is made for each change"
        )
    return key


def keyed(operation: str, principal: Principal, given: BaseModel, key: str) -> Keyed:
    """The change that a principal asks for under a key; raises what `checked_key` raises."""
    tenants = None if principal.tenants is None else sorted(principal.tenants)
    holder = canonical([principal.who, tenants, sorted(principal.permissions)])
    return Keyed(_digest(holder), _digest(checked_key(key).encode()), operation, _digest(canonical(given.model_dump(mode="json"))))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class StoredAnswers:
    """See `operations.context.Answers`. Safe to use from many threads and processes."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def claim(self, asked: Keyed, /) -> Replayed | None:
        """See `Answers.claim`. Who comes second at the same moment waits here until the first one's transaction is over."""
        now_ns = self._clock.now_ns()
        with self._store.write() as transaction:
            transaction.execute(_EXPIRE, (now_ns - _LIFE_NS,))
            if transaction.execute(_CLAIM, (*asked, now_ns)):
                return None
            [(operation, given, claimed_ns, answer)] = transaction.execute(_LOOK, asked[:2])
        if (operation, given) != (asked.operation, asked.given):
            raise KeyReused(
                f"Idempotency-Key: this key was sent at {format_ns(claimed_ns)} with another input of {operation}; make a new key for "
                "every change, and send an old one only to repeat the very same request"
            )
        return Replayed(_unpacked(answer, asked.operation, claimed_ns))

    def keep(self, asked: Keyed, answer: Mapping[str, Any], /) -> None:
        """See `Answers.keep`. Secrets are not stored: a repeated answer has none."""
        packed = zlib.compress(json.dumps(redacted(answer), separators=(",", ":")).encode())
        kept = packed if len(packed) <= IDEMPOTENCY_ANSWER_BYTES_MAX else b""
        with self._store.write() as transaction:
            transaction.execute(_KEEP, (kept, asked.holder, asked.key))

    def release(self, asked: Keyed, /) -> None:
        """See `Answers.release`."""
        with self._store.write() as transaction:
            transaction.execute(_RELEASE, (asked.holder, asked.key))


def _unpacked(answer: bytes | None, operation: str, claimed_ns: int) -> dict[str, Any]:
    began = f"{operation} was begun with this Idempotency-Key at {format_ns(claimed_ns)}"
    if answer is None:
        raise Conflict(f"{began} and is not done yet, or was broken off: audit.list says which; try again later, or with another key")
    if not answer:
        raise Conflict(f"{began} and is done; its answer was too long to be kept: look at audit.list, and do not send it again")
    return json.loads(zlib.decompress(bytes(answer)))  # type: ignore[no-any-return]
