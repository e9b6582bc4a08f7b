"""What of a change goes on record: everything but secrets, and of long values only the beginning and a digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from otel_finops.base.limits import AUDIT_TEXT_CHARS_MAX, AUDIT_VALUE_BYTES_MAX, AUDIT_VALUE_DEPTH_MAX

REDACTED: Final = "(secret)"
SECRET_FIELDS: Final = frozenset((
    "access_key", "access_token", "api_key", "apikey", "authorization", "auth_token", "bearer", "client_secret", "cookie", "credential",
    "credentials", "id_token", "password", "passphrase", "private_key", "proxy_authorization", "refresh_token", "secret", "secret_key",
    "session_token", "set_cookie", "signing_key", "token", "token_sha256", "webhook_secret", "x_api_key",
))  # fmt: skip
"""Names of fields whose values are never stored or shown, in lower case with underscores; this list is the only one."""
_SECRET_VALUES: Final = (
    re.compile(r"\bof[a-z]_[A-Za-z0-9_-]{16,}"),  # our own tokens
    re.compile(r"(?<=\bBearer )[^\s\"']{8,}", re.IGNORECASE),
    re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"),  # user and password of a URL
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
)
_BEGINNING_CHARS: Final = 200


def redacted(value: Any) -> Any:
    """A JSON value without secrets; its shape stays, so that a stored answer still has the form of the first one."""
    return _without_secrets(value, AUDIT_VALUE_DEPTH_MAX, _without_tokens)


def recorded(value: Any) -> Any:
    """What of a JSON value goes on record: redacted, long texts cut, and a value that is large all the same replaced by a digest.

    Returns:
        The value, or `{"cut": true, "bytes", "sha256", "begins"}`, its digest over what is left without secrets, as canonical JSON. That
        of a long text is over the text itself.
    """
    kept = _without_secrets(value, AUDIT_VALUE_DEPTH_MAX, _shortened)
    text = canonical(kept)
    if len(text) <= AUDIT_VALUE_BYTES_MAX:
        return kept
    begins = text[:_BEGINNING_CHARS].decode("utf-8", "ignore")
    return {"cut": True, "bytes": len(text), "sha256": hashlib.sha256(text).hexdigest(), "begins": begins}


def canonical(value: Any) -> bytes:
    """The one spelling of a JSON value: keys sorted, no blanks, UTF-8; values that are no JSON as their text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str).encode("utf-8", "backslashreplace")


def _without_secrets(value: Any, depth: int, text: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return text(value)
    if depth == 0:
        return REDACTED if isinstance(value, Mapping | list | tuple) else value
    if isinstance(value, Mapping):
        return {str(name): _field(str(name), one, depth, text) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(one, depth - 1, text) for one in value]
    return value


def _field(name: str, value: Any, depth: int, text: Callable[[str], str]) -> Any:
    if name.lower().replace("-", "_") in SECRET_FIELDS and value is not None and not isinstance(value, bool | int | float):
        return REDACTED
    return _without_secrets(value, depth - 1, text)


def _without_tokens(text: str) -> str:
    for pattern in _SECRET_VALUES:
        text = pattern.sub(REDACTED, text)
    return text


def _shortened(text: str) -> str:
    """A long text's beginning and digest. More of it than is shown is looked through, so that no half of a secret is left at the cut."""
    if len(text) <= AUDIT_TEXT_CHARS_MAX:
        return _without_tokens(text)
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
    return f"{_without_tokens(text[:AUDIT_TEXT_CHARS_MAX])[:_BEGINNING_CHARS]}… ({len(text)} characters, SHA-256 {digest})"
