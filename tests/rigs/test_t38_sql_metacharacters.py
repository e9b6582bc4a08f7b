"""T38: what means something in SQL, put into every text that the API reads: parameters, paths, tokens, headers. Nothing comes of it.

The answer is a good one or a refusal, never a fault; a filter finds what a name that nobody has finds, so that no condition was opened;
and afterwards the database has the tables and the rows that it had.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from e2e_service import Service
from surfaces_world import HARMLESS, NO_INPUT
from two_tenants import ALL, bearer, two_tenants

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.registry import Operation

PAYLOADS = (
    "' OR '1'='1", "'; DROP TABLE entries; --", '" OR 1=1 --', "%' UNION SELECT token_sha256 FROM api_tokens --",
    "\\'; SELECT pg_sleep(9); --", "1); DELETE FROM traces WHERE (1=1", "%", "_", "?", ":name", "%s %(x)s", "{0}", "$1", "/*",
    "' || (SELECT 1/0) || '",
)  # fmt: skip
NOBODY = "nobody-7"
BY_THE_LIST = {
    ("diagnostics.estimate", "model"), ("prices.differences", "model"), ("prices.models", "search"), ("pricing.explain", "model"),
    ("pricing.quote", "model"),
}  # fmt: skip
"""Looked up in a price list in memory and not in the database: by a part of the name, or by its letters and digits alone."""
QUOTING = {"policies.validate"}
"""They answer with what is wrong with a text, and where."""
SLOW_S = 5.0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with two_tenants(tmp_path_factory.mktemp("metacharacters")) as one:
        before = state(one)
        yield one
        assert state(one) == before
        one.stop()  # and nothing unexpected is in its log
        one.database.verify()


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{service.web}/api/v1/", timeout=60) as opened:
        yield opened


def state(service: Service) -> dict[str, Any]:
    """The tables, and the rows of those that nobody may change by asking."""
    tables = [row[0] for row in service.database.sql("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    kept = ("entries", "journal", "blocks", "traces", "quarantine", "price_rules")
    return {"tables": tables} | {name: service.database.number(f"SELECT COUNT(*) FROM {name}") for name in kept if name in tables}


def texts_of(one: Operation) -> list[str]:
    """Parameters that are texts."""
    fields = one.input.model_json_schema().get("properties", {})
    kinds = {name: [kind.get("type") for kind in field.get("anyOf", [field])] for name, field in fields.items()}
    return [name for name, types in kinds.items() if "string" in types]


def ask(client: httpx.Client, one: Operation, fields: dict[str, Any]) -> httpx.Response:
    fields = dict(fields)
    path = one.path.format(**{name: quote(str(fields.pop(name)), safe="") for name in one.path_fields})
    given: dict[str, Any] = {"json": fields} if one.changes else {"params": fields}
    return client.request(one.method, path, headers=bearer(ALL), **given)


def seen(answer: httpx.Response) -> str:
    """Status and body without the request's id and moments; names are compared in lower case, as some operations show them so."""
    return f"{answer.status_code} " + re.sub(r"request:[0-9a-z]+|\d{4}-\d\d-\d\dT[0-9:.]+Z", "", answer.text).lower()


def well(answer: httpx.Response) -> None:
    assert answer.status_code < 500, answer.text
    assert answer.elapsed.total_seconds() < SLOW_S
    assert not re.search(r"syntax error|near \"|sqlite|psycopg|sqlalchemy|no such column", answer.text, re.IGNORECASE), answer.text


READS = [one for one in OPERATIONS if not one.changes]
CHANGES = [one for one in OPERATIONS if one.changes]


@pytest.mark.parametrize("one", READS, ids=lambda one: one.name)
def test_t38_every_text_of_what_reads(client: httpx.Client, one: Operation) -> None:
    harmless = {name: _text(value) for name, value in HARMLESS.get(one.name, NO_INPUT).fields.items()}
    for name in texts_of(one):
        nobodys = seen(ask(client, one, {**harmless, name: f"team={NOBODY}" if name == "tag" else NOBODY}))
        for payload in PAYLOADS:
            answer = ask(client, one, {**harmless, name: payload})
            well(answer)
            if answer.status_code == 200 and (one.name, name) not in BY_THE_LIST and one.name not in QUOTING:
                assert seen(answer) == nobodys.replace(NOBODY, json.dumps(payload)[1:-1].lower()), f"{name}={payload!r}"


@pytest.mark.parametrize("one", CHANGES, ids=lambda one: one.name)
def test_t38_every_text_of_what_changes(client: httpx.Client, one: Operation) -> None:
    """Where it can be tried without doing it, it is only tried."""
    harmless = HARMLESS.get(one.name, NO_INPUT).fields
    for name in texts_of(one):
        for payload in PAYLOADS:
            well(ask(client, one, {**harmless, name: payload}))


def _text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, bool) else value


@pytest.mark.parametrize("payload", PAYLOADS)
def test_t38_tokens_and_headers(client: httpx.Client, payload: str) -> None:
    for authorization in (f"Bearer {payload}", payload, f"Bearer {ALL}{payload}", f"Basic {payload}"):
        answer = client.get("spend", headers={"authorization": authorization})
        well(answer)
        assert answer.status_code == 401, authorization
    for header in ("x-request-id", "idempotency-key", "accept", "accept-encoding", "user-agent", "cookie", "x-forwarded-for", "origin"):
        answer = client.post("ledger/reprice", json={"dry_run": True}, headers={**bearer(ALL), header: payload})
        well(answer)
        assert answer.status_code in (200, 400), header


@pytest.mark.parametrize("payload", [*PAYLOADS, "..", "../../etc/passwd", "%2e%2e%2f", "\x00", "\udcff".encode("utf-8", "surrogateescape")])
def test_t38_parts_of_paths(client: httpx.Client, payload: str | bytes) -> None:
    part = quote(payload, safe="")
    for path in ("traces/{}", "traces/{}/x", "prices/watches/{}/end", "quarantine/{}/drop", "{}", "prices/snapshots/{}/activate"):
        for method in ("GET", "POST"):
            answer = client.request(method, path.format(part), headers=bearer(ALL), json={} if method == "POST" else None)
            well(answer)
            assert answer.status_code in (400, 404, 405), (method, path, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("payload", PAYLOADS)
def test_t38_senders_tokens(service: Service, payload: str) -> None:
    for authorization in (f"Bearer {payload}", payload):
        answer = service.post(b"", {"content-type": "application/x-protobuf", "authorization": authorization})
        assert answer.status_code == 401, answer.text
