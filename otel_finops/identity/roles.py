"""Roles as a declared matrix over permissions; there is nothing else that decides what a role may do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

Permission: TypeAlias = Literal["ingest", "view", "manage", "approve", "admin"]
"""ingest: bring in spans; view: read; manage: change what governs spend; approve: decide on requests; admin: change the service."""

PERMISSIONS: Final[frozenset[Permission]] = frozenset(("ingest", "view", "manage", "approve", "admin"))

ROLES: Final[Mapping[str, frozenset[Permission]]] = {
    "viewer": frozenset(("view",)),
    "analyst": frozenset(("view", "ingest")),
    "approver": frozenset(("view", "approve")),
    "manager": frozenset(("view", "ingest", "manage", "approve")),
    "admin": PERMISSIONS,
}
"""What each role may do."""
