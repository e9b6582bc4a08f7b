"""Whose rows a reader may see: the principal's tenants are an argument of everything that reads."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

from otel_finops.base.protocols import ANY_TENANT, DEFAULT_REALM

Tenants: TypeAlias = Collection[str] | None
"""Tenants that a principal may see; None, or one of them being `*`, for all."""


def restricted(tenants: Tenants) -> frozenset[str] | None:
    """The tenants to keep to; None for all."""
    return None if tenants is None or ANY_TENANT in tenants else frozenset(tenants)


def own_realms(tenants: Tenants) -> frozenset[str] | None:
    """The realms of these tenants' own tokens; None for all.

    The shared realm `default` is not among them, because whose its spans are is known only after settling.
    """
    kept = restricted(tenants)
    return None if kept is None else kept - {DEFAULT_REALM}
