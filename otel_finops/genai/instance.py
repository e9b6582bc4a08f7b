"""The service instance of a span: the process within which equal numbers of two scopes may be one call."""

from __future__ import annotations

import hashlib
from typing import Final

from otel_finops.base.span import Attributes
from otel_finops.genai.texts import clean_name

INSTANCE_KEYS: Final = ("service.namespace", "service.name", "service.instance.id", "host.name", "process.pid")
_CHARS_MAX: Final = 96
"""Longer keys are hashed: this one stands on every journal row and in an index."""
_SEPARATOR: Final = "|"


def service_instance(realm: str, resource: Attributes) -> str:
    """Name the service instance: realm, namespace, name, and the instance's id, else host and process, else the name alone.

    Returns:
        At most 96 characters, equal for equal instances only (a hash when the parts are long or hold the separator).
    """
    namespace, name, instance, host, pid = (clean_name(resource.get(key)) or "" for key in INSTANCE_KEYS)
    parts = [realm, namespace, name]
    if instance:
        parts.append(instance)
    elif host and pid:
        parts += [host, pid]
    text = _SEPARATOR.join(parts)
    if len(text) <= _CHARS_MAX and text.count(_SEPARATOR) == len(parts) - 1:
        return text
    return "sha256:" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]
