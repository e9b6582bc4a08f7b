"""While everyone is admin, requests that a foreign page has a browser send are refused (docs/security.md)."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from otel_finops.identity.principals import LOCAL
from otel_finops.operations.local import Room
from otel_finops.otlp.browsers import is_local, is_local_origin
from otel_finops.surfaces.api.app import build_api


def called(room: Room, *names: str, tokens: bool = False) -> TestClient:
    return TestClient(build_api(room.context, lambda token: LOCAL, names=None if tokens else names))


@pytest.fixture(scope="module")
def local(room: Room) -> TestClient:
    """A service that only this machine may call."""
    return called(room)


LOCAL_HOSTS = ["127.0.0.1", "127.0.0.1:8080", "127.1.2.3:80", "localhost:8080", "LocalHost", "[::1]:8080", "[::1]"]
FOREIGN_HOSTS = ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.1.7:8080", "8.8.8.8",
                 "", ":8080", "127.0.0.1@evil.example", "[::2]:8080", "0.0.0.0:8080", "127.0.0.1:8080:evil"]  # fmt: skip


@pytest.mark.parametrize("host", LOCAL_HOSTS)
@pytest.mark.parametrize("path", ["/", "/api/v1/spend", "/api/v1/openapi.json"])
def test_calls_by_a_name_of_this_machine_are_answered(local: TestClient, host: str, path: str) -> None:
    assert local.get(path, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
@pytest.mark.parametrize("path", ["/", "/api/v1/spend", "/api/v1/openapi.json", "/nowhere"])
def test_a_name_that_was_bent_to_this_machine_is_refused(local: TestClient, host: str, path: str) -> None:
    answer = local.get(path, headers={"Host": host})
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
    assert "http.names" in answer.json()["detail"]
    assert "evil" not in answer.text


def test_configured_names_and_callers_with_tokens_are_answered(room: Room) -> None:
    headers = {"Host": "host.docker.internal:8080"}
    assert called(room, "Host.Docker.internal").get("/api/v1/spend", headers=headers).status_code == 200
    assert called(room, tokens=True).get("/api/v1/spend", headers=headers | {"Origin": "https://evil.example"}).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_may_call_by_any_name(local: TestClient, path: str) -> None:
    assert local.get(path, headers={"Host": "node-7.cluster"}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "file://", "http://127.0.0.1.evil.example"])
def test_pages_of_other_sites_are_refused(local: TestClient, origin: str) -> None:
    headers = {"Host": "127.0.0.1:8080", "Origin": origin}
    assert local.get("/api/v1/spend", headers=headers).status_code == 403
    assert local.get("/api/v1/spend", headers=headers | {"Origin": "http://localhost:8080"}).status_code == 200


@pytest.mark.parametrize("second", ["https://evil.example", "null"])
def test_a_second_origin_is_looked_at_too(local: TestClient, second: str) -> None:
    headers = [("Host", "127.0.0.1:8080"), ("Origin", "http://localhost:8080"), ("Origin", second)]
    assert local.get("/api/v1/spend", headers=headers).status_code == 403


@pytest.mark.parametrize(("host", "local"), [*((one, True) for one in LOCAL_HOSTS), *((one, False) for one in FOREIGN_HOSTS)])
def test_hosts_and_origins_are_told_apart(host: str, local: bool) -> None:
    assert is_local(host) is local
    assert is_local_origin(f"http://{host}") is local
    assert is_local(host, {"evil.example"}) is (local or host.startswith("evil.example"))
