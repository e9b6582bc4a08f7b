"""What each role may do, operation by operation, as docs/security.md declares it: every cell is tried over HTTP with a stored token."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from starlette.testclient import TestClient
from surfaces_world import asked

from otel_finops.identity.entrance import entrance
from otel_finops.identity.roles import PERMISSIONS, ROLES
from otel_finops.identity.stored import TokenDraft
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.local import open_room, upgrade_database
from otel_finops.settings import load
from otel_finops.settings.tree import RoleName
from otel_finops.surfaces.api.app import build_api
from otel_finops.testing import FakeClock

SECURITY = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
ROLE_NAMES: tuple[RoleName, ...] = ("viewer", "analyst", "approver", "manager", "admin")


def table(first: str) -> tuple[list[str], dict[str, list[bool]]]:
    """Columns and rows of the table whose first column is headed so."""
    [(head, body)] = re.findall(rf"^\| {first} \|(.*)\|\n\|[-|]+\|\n((?:\|.*\|\n)+)", SECURITY, re.MULTILINE)
    rows = {}
    for line in body.splitlines():
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert set(cells) <= {"yes", ""}, line
        rows[name.strip("`")] = [cell == "yes" for cell in cells]
    return [column.strip() for column in head.split("|")], rows


class House(NamedTuple):
    """A service's web side over an empty ledger, a token of each role for all tenants, and one of an admin of the tenant acme."""

    api: TestClient
    tokens: Mapping[str, str]
    bound: str


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("roles")
    settings = load(None, {"OTEL_FINOPS_DATABASE__URL": f"sqlite:///{folder}/ledger.db", "OTEL_FINOPS_AUTH__MODE": "token"})
    clock = FakeClock()
    upgrade_database(settings, clock)
    with open_room(settings, clock=clock) as room:
        drafts = {role: TokenDraft(role, ("*",), role) for role in ROLE_NAMES}
        made = {role: room.context.tokens.create(draft, who="ann", dry_run=False) for role, draft in drafts.items()}
        tokens: dict[str, str] = {role: one.secret or "" for role, one in made.items()}
        bound = room.context.tokens.create(TokenDraft("acme's admin", ("acme",), "admin"), who="ann", dry_run=False).secret or ""
        doors = entrance(settings, room.store, clock)
        yield House(TestClient(build_api(room.context, doors.principals), raise_server_exceptions=False), tokens, bound)


def test_the_matrix_of_roles_is_the_declared_one() -> None:
    columns, rows = table("role")
    assert set(columns) == PERMISSIONS
    assert {role: {name for name, may in zip(columns, cells, strict=True) if may} for role, cells in rows.items()} == ROLES


def test_every_operation_has_its_row() -> None:
    columns, rows = table("operation")
    assert columns == list(ROLE_NAMES)
    assert list(rows) == [one.name for one in OPERATIONS], "docs/security.md, Roles: a row for every operation, in the order of names"


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.name)
def test_every_cell_is_as_declared(house: House, one: Any) -> None:
    expected = dict(zip(ROLE_NAMES, table("operation")[1][one.name], strict=True))
    method, path, given = asked(one)
    found = {}
    for role, token in house.tokens.items():
        answer = house.api.request(method, path, headers={"Authorization": f"Bearer {token}"}, **given)
        assert answer.status_code in (200, 400, 403, 404), (role, answer.text)
        found[role] = answer.status_code != 403
    assert found == expected
    for headers in ({}, {"Authorization": "Bearer ofk_" + "a" * 52}, {"Authorization": "Basic YTpi"}):
        assert house.api.request(method, path, headers=headers, **given).status_code == 401


OF_ALL_TENANTS = {
    "anomalies.run",
    "alerts.check", "credits.expire", "jobs.list", "jobs.run", "jobs.show",
    "bills.pull", "deliveries.run", "reconcile.run",
    "fx.import", "kill_switch.clear", "kill_switch.set", "ledger.allowances", "ledger.corrections", "ledger.verify", "periods.close",
    "prices.activate", "prices.refresh", "pricing.alias", "pricing.end", "pricing.override", "retention.prune", "retention.status",
    "settings.show", "subscriptions.add", "subscriptions.end", "subscriptions.list", "subscriptions.spread", "subscriptions.windows",
}  # fmt: skip
"""What is asked here of these concerns all tenants: the switch is one for an agent of whichever tenant."""


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.name)
def test_an_admin_of_one_tenant_changes_nothing_that_is_everybodys(house: House, one: Any) -> None:
    """His role allows him everything; what is refused is refused because it is not his tenant's alone."""
    method, path, given = asked(one)
    answer = house.api.request(method, path, headers={"Authorization": f"Bearer {house.bound}"}, **given)
    assert (answer.status_code == 403) == (one.name in OF_ALL_TENANTS), answer.text
    assert answer.status_code in ((403,) if one.name in OF_ALL_TENANTS else (200, 400, 404)), answer.text
