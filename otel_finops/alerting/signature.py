"""Signatures of webhooks, as Standard Webhooks 1.0 says: who receives one can tell that we sent it, and that it is not an old one."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

_MARK: Final = "whsec_"
_BYTES: Final = 32
_BYTES_MIN, _BYTES_MAX = 24, 64


def new_key() -> str:
    """A key as receivers' libraries take it: `whsec_` and base64."""
    return _MARK + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def checked_key(key: str) -> str:
    """The key itself; raises ValueError for what is none."""
    try:
        size = len(_raw(key))
    except (binascii.Error, ValueError):
        size = 0
    if not key.startswith(_MARK) or not _BYTES_MIN <= size <= _BYTES_MAX:
        raise ValueError(f"not a key of Standard Webhooks: whsec_ and {_BYTES_MIN} to {_BYTES_MAX} bytes in base64")
    return key


def signed_headers(message_id: str, at_s: int, body: bytes, keys: Sequence[str]) -> Mapping[str, str]:
    """The three headers of a webhook.

    Args:
        message_id: the same in every attempt.
        at_s: of this attempt, Unix seconds.
        keys: one, or several while a key is being replaced; each signs.
    """
    signatures = " ".join(f"v1,{_signature(message_id, at_s, body, key)}" for key in keys)
    return {"webhook-id": message_id, "webhook-timestamp": str(at_s), "webhook-signature": signatures}


def _signature(message_id: str, at_s: int, body: bytes, key: str) -> str:
    content = b".".join((message_id.encode(), str(at_s).encode(), body))
    return base64.b64encode(hmac.digest(_raw(key), content, hashlib.sha256)).decode()


def _raw(key: str) -> bytes:
    return base64.b64decode(key.removeprefix(_MARK), validate=True)
