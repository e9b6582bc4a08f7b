"""Probes and metrics: open or closed by a setting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from starlette.testclient import TestClient

from otel_finops.base.errors import Unavailable
from otel_finops.identity.entrance import entrance
from otel_finops.identity.principals import Principal
from otel_finops.identity.stored import TokenDraft
from otel_finops.operations.local import Room, open_room, upgrade_database
from otel_finops.settings import load
from otel_finops.settings.tree import Http
from otel_finops.surfaces.api.app import build_api
from otel_finops.testing import FakeClock


class House(NamedTuple):
    """An empty ledger, and a viewer's token for one tenant."""

    room: Room
    token: str

    def api(self, **http: Any) -> TestClient:
        doors = entrance(self.room.settings, self.room.store, self.room.clock)
        return TestClient(build_api(self.room.context, doors.principals, http=Http(rate_per_s=0, **http)))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    settings = load(None, {"OTEL_FINOPS_DATABASE__URL": f"sqlite:///{tmp_path}/ledger.db", "OTEL_FINOPS_AUTH__MODE": "token"})
    clock = FakeClock()
    upgrade_database(settings, clock)
    with open_room(settings, clock=clock) as room:
        made = room.context.tokens.create(TokenDraft("kubelet", ("acme",), "viewer"), who="ann", dry_run=False)
        yield House(room, made.secret or "")


def test_of_several_tokens_none_counts(house: House) -> None:
    """A proxy in between may have looked at another one than the service would."""
    one = ("Authorization", f"Bearer {house.token}")
    for shown, status in (([one], 200), ([one, one], 401), ([one, ("Authorization", "Bearer x")], 401)):
        assert house.api().get("/api/v1/tokens/whoami", headers=shown).status_code == status


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_are_open_unless_they_are_closed(house: House, path: str) -> None:
    bearer = {"Authorization": f"Bearer {house.token}"}
    assert house.api().get(path).status_code == 200
    closed = house.api(open_probes=False)
    refused = closed.get(path)
    assert (refused.status_code, refused.json()["type"]) == (401, "urn:otel-finops:problem:unauthenticated")
    assert closed.get(path, headers=bearer).json()["status"] == "ok"


def test_a_closed_probe_is_answered_503_while_nobody_can_tell_who_asks(house: House) -> None:
    def away(token: str | None) -> Principal:
        raise Unavailable("Who you are cannot be told now; try again.")

    api = TestClient(build_api(house.room.context, away, http=Http(rate_per_s=0, open_probes=False)))
    assert api.get("/healthz").status_code == 503
    assert TestClient(build_api(house.room.context, away, http=Http(rate_per_s=0))).get("/healthz").status_code == 200
