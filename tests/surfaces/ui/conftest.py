"""The console over the surfaces' settled ledger, for whoever a test wants to be."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from ui_console import console_over

from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.operations.local import Room
from otel_finops.settings.tree import RoleName

TESTS = Path(__file__).parents[2]
sys.path[:0] = [str(TESTS / room) for room in ("e2e", "rigs")]


@pytest.fixture(scope="session")
def console(room: Room) -> TestClient:
    """The console of whoever may do everything."""
    return console_over(room.context, lambda _: LOCAL)


@pytest.fixture(scope="session")
def console_as(room: Room) -> Callable[..., TestClient]:
    """Makes the console of a role, for all tenants or some."""

    def made(role: RoleName, tenants: tuple[str, ...] | None = None) -> TestClient:
        return console_over(room.context, lambda _: Principal("ann", tenants, ROLES[role]))

    return made
