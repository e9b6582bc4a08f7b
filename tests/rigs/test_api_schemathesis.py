"""schemathesis over the whole description of a running service, asked by two tenants' admins and by the admin of all.

Everything that the service declares about itself must hold: statuses, media types, shapes of answers, refusals of what the description
does not allow; nothing of the other tenant is in any answer; and what one tenant asks for changes nothing of the other's.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_service import Service, http
from two_tenants import ALL, TENANTS, bearer, marks, token, two_tenants

HERE = Path(__file__).parent
CONFIG = """
[checks.positive_data_acceptance]
# 400: what no schema says: cursors, windows that end before they begin, names and fields that exclude each other.
# 414: texts that are each in order and together too long for a URL. 422: an idempotency key of another request.
expected-statuses = ["2xx", 400, 401, 403, 404, 409, 414, 422, 503]

[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 413, 414, 415, 422, 429, 431, 503]

[[operations]]
# These answer a count that is none with the reason `bad_usage`, as the command `price` does, instead of refusing it.
include-operation-id = [
  "pricing.quote", "pricing.quote.post", "pricing.explain", "pricing.explain.post", "diagnostics.estimate", "diagnostics.estimate.post",
]
checks.negative_data_rejection.enabled = false
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """At the end nothing unexpected is in its log, and the chain verifies."""
    with two_tenants(tmp_path_factory.mktemp("two-tenants")) as one:
        yield one
        one.settled()
        one.stop()
        one.database.verify()


def fuzz(service: Service, secret: str, foreign: list[str], folder: Path, *options: str) -> int:
    """Run schemathesis; returns how many cases it tried, all of which must be well."""
    (folder / "schemathesis.toml").write_text(CONFIG)
    http("GET", f"{service.web}/api/v1/openapi.json", timeout=120)  # is made when it is first asked for
    done = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run", f"{service.web}/api/v1/openapi.json",
            "-H", f"Authorization: Bearer {secret}", "--seed", "20261122", "--no-color", "--generation-database", "none",
            "--continue-on-failure", "--warnings", "off", "--output-truncate", "false", *options,
        ],
        cwd=folder, capture_output=True, text=True, timeout=3_000, check=False,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "api_hooks", "PYTHONPATH": str(HERE), "FOREIGN_MARKS": " ".join(foreign)},
    )  # fmt: skip
    report = done.stdout + done.stderr
    assert done.returncode == 0, report
    return int(re.findall(r"(\d+) generated", report)[0])


def belongings(service: Service, tenant: str) -> dict[str, Any]:
    """What a tenant can see of his own that nobody else may change."""
    paths = ("spend?group_by=agent,step,user", "usage?limit=1000", "prices/watches", "tokens", "senders", "kill-switches", "coverage")
    return {path: http("GET", f"{service.web}/api/v1/{path}", headers=bearer(token(tenant))).json() for path in paths}


@pytest.mark.parametrize("tenant", TENANTS)
def test_a_tenants_admin_finds_no_fault_and_nothing_of_the_other(service: Service, tmp_path: Path, tenant: str) -> None:
    [other] = set(TENANTS) - {tenant}
    before = belongings(service, other)
    assert all(TENANTS[other] in json.dumps(before[path]) for path in ("usage?limit=1000", "coverage"))
    cases = fuzz(service, token(tenant), marks(other), tmp_path, "--phases", "fuzzing", "-n", "2")
    assert cases > 100
    assert belongings(service, other) == before


@pytest.mark.long
@pytest.mark.parametrize("tenant", TENANTS)
def test_long_a_tenants_admin_finds_no_fault_and_nothing_of_the_other(service: Service, tmp_path: Path, tenant: str) -> None:
    [other] = set(TENANTS) - {tenant}
    before = belongings(service, other)
    cases = fuzz(service, token(tenant), marks(other), tmp_path, "--phases", "examples,coverage,fuzzing", "-n", "60")
    print(f"{tenant}: {cases} cases, 0 failures, 0 foreign bytes")
    assert cases > 1000
    assert belongings(service, other) == before


@pytest.mark.long
def test_long_the_admin_of_all_finds_no_fault(service: Service, tmp_path: Path) -> None:
    cases = fuzz(service, ALL, [], tmp_path, "--phases", "examples,coverage,fuzzing", "-n", "60")
    print(f"all tenants: {cases} cases, 0 failures")
    assert cases > 1000


def test_the_check_for_foreign_names_finds_them(service: Service, tmp_path: Path) -> None:
    """An admin who looks for his own names as if they were another's."""
    with pytest.raises(AssertionError, match="tells of another tenant"):
        fuzz(service, token("acme"), marks("acme"), tmp_path, "--phases", "fuzzing", "-n", "1", "--include-operation-id", "usage.list")


@pytest.mark.parametrize("nonsense", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET no path\r\n\r\n"], ids=["tls", "no path"])
def test_what_is_no_http_is_answered_by_a_problem_as_well(service: Service, nonsense: bytes) -> None:
    with socket.create_connection(("127.0.0.1", service.web_port)) as connection:
        connection.sendall(nonsense)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    problem = json.loads(body)
    assert head.startswith(f"HTTP/1.1 {problem['status']} ".encode())
    assert problem["status"] in (400, 414, 431)
