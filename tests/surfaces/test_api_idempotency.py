"""Idempotency keys and the trail over the API: what clients send, are answered, and find on record."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.operations.local import open_room, upgrade_database
from otel_finops.settings import load
from otel_finops.settings.tree import Http
from otel_finops.surfaces.api.app import build_api
from otel_finops.testing import FakeClock

WATCH = "/api/v1/prices/watches"
BEARERS = {"ann": Principal("ann", ("acme",), ROLES["manager"]), "bob": Principal("bob", ("globex",), ROLES["manager"])}
STORM = 8


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    settings = load(None, {"OTEL_FINOPS_DATABASE__URL": f"sqlite:///{tmp_path}/ledger.db"})
    upgrade_database(settings, FakeClock())
    with open_room(settings, clock=FakeClock()) as room:
        app = build_api(room.context, lambda token: BEARERS.get(token or "", LOCAL), http=Http(rate_per_s=0))
        yield TestClient(app, raise_server_exceptions=False)


def watch(client: TestClient, model: str, key: str | None = "k", who: str = "", **headers: str) -> Any:
    keyed = {} if key is None else {"Idempotency-Key": key}
    return client.post(WATCH, json={"model": model}, headers={**keyed, "Authorization": f"Bearer {who}", **headers})


def on_record(client: TestClient, who: str = "", **query: str) -> list[dict[str, Any]]:
    found = client.get("/api/v1/audit", params={"what": "prices.watch", **query}, headers={"Authorization": f"Bearer {who}"})
    return list(found.json()["entries"])


def test_a_repeated_request_gets_the_stored_answer_and_says_so(client: TestClient) -> None:
    first, again = watch(client, "gpt-4o"), watch(client, "gpt-4o")
    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert len(on_record(client)) == 1


def test_a_key_of_another_request_is_told_as_a_problem(client: TestClient) -> None:
    watch(client, "gpt-4o")
    problem = watch(client, "gpt-4o-mini")
    assert (problem.status_code, problem.json()["type"]) == (422, "urn:otel-finops:problem:key-reused")
    assert "make a new key for every change" in problem.json()["detail"]


@pytest.mark.parametrize("key", ["a b", "k" * 129, "'; DROP TABLE idempotency_keys; --\t"])
def test_what_is_no_key_is_told_as_a_problem(client: TestClient, key: str) -> None:
    problem = watch(client, "gpt-4o", key)
    assert (problem.status_code, problem.json()["type"]) == (400, "urn:otel-finops:problem:bad-input")


def test_two_keys_are_none(client: TestClient) -> None:
    problem = client.post(WATCH, json={"model": "gpt-4o"}, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
    assert (problem.status_code, problem.json()["detail"]) == (400, "Idempotency-Key: given more than once; a request has one key")


def test_the_same_key_of_two_principals_is_two_keys(client: TestClient) -> None:
    """Each watches for its own tenant; nobody is answered with the other's."""
    answers = [
        client.post(WATCH, json={"model": "gpt-4o", "tenant": tenant}, headers={"Idempotency-Key": "k", "Authorization": f"Bearer {who}"})
        for who, tenant in (("ann", "acme"), ("bob", "globex"))
    ]
    assert [answer.json()["tenant"] for answer in answers] == ["acme", "globex"]
    assert [one["tenant"] for one in on_record(client, "ann")] == ["acme"]
    assert [one["tenant"] for one in on_record(client, "bob")] == ["globex"]


def test_reads_take_no_notice_of_a_key(client: TestClient) -> None:
    for _ in range(2):
        answer = client.get(WATCH, headers={"Idempotency-Key": "k"})
        assert (answer.status_code, "idempotent-replayed" in answer.headers) == (200, False)


def test_a_storm_of_one_key_changes_once(client: TestClient) -> None:
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(watch(client, "gpt-4o"))) for _ in range(STORM)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == STORM - 1
    assert len(on_record(client)) == 1


def test_the_record_says_from_where(client: TestClient) -> None:
    watch(client, "gpt-4o", None, **{"X-Request-Id": "req-7"})
    [entry] = on_record(client)
    assert (entry["who"], entry["origin"], entry["outcome"]) == ("local", "api testclient request req-7", "done")
