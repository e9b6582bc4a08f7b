"""The HTTP API: answers by contract, tenants, roles, problems, limits, and what never leaves it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from surfaces_world import ACME_TRACE, HOSTILE, SHARED_TRACE, asked

from otel_finops.base.errors import Busy, Unavailable
from otel_finops.identity import roles
from otel_finops.identity.principals import Principals
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.local import Room
from otel_finops.settings import load
from otel_finops.settings.features import Features
from otel_finops.surfaces.api.app import build_api
from otel_finops.surfaces.api.pages import index_page

ROLES = ("viewer", "analyst", "approver", "manager", "admin")


def token(role: str, tenant: str) -> dict[str, Any]:
    return {"token_sha256": sha256(f"{role}-{tenant}".encode()).hexdigest(), "tenants": [tenant], "role": role}


TOKENS = [token(role, tenant) for role in ROLES for tenant in ("acme", "globex", "*")]


def client(room: Room, *, mode: str = "off", **context: Any) -> TestClient:
    auth = load(None, {"OTEL_FINOPS_AUTH__MODE": mode, "OTEL_FINOPS_AUTH__TOKENS": json.dumps(TOKENS)}).auth
    app = build_api(replace(room.context, **context), Principals(auth))
    return TestClient(app, raise_server_exceptions=False)


def get(api: TestClient, path: str, who: str | None = None, **headers: str) -> Any:
    bearer = {"Authorization": f"Bearer {who}"} if who else {}
    return api.get(f"/api/v1/{path}", headers=bearer | headers)


def ask(api: TestClient, one: Any, who: str | None = None) -> Any:
    """Any operation with an input that does no harm."""
    bearer = {"Authorization": f"Bearer {who}"} if who else {}
    method, path, given = asked(one)
    return api.request(method, path, headers=bearer, **given)


@pytest.fixture(scope="module")
def api(room: Room) -> TestClient:
    return client(room)


@pytest.fixture(scope="module")
def guarded(room: Room) -> TestClient:
    return client(room, mode="token")


def holds(contracts: Path, name: str, answer: Any) -> None:
    schemas = json.loads((contracts / "api.schema.json").read_text())
    jsonschema.validate(answer, {**schemas, "$ref": f"#/$defs/{name}"})


def test_the_cost_tree_of_a_trace(api: TestClient, contracts: Path) -> None:
    answer = get(api, f"traces/{ACME_TRACE}").json()
    holds(contracts, "trace", answer)
    assert answer["total_usd"] == "0.007"
    assert [(n["name"], n["kind"], n["own_usd"], n["subtree_usd"], n["calls"], n["tokens"]) for n in answer["nodes"]] == [
        ("span 1", "other", None, "0.007", 2, 2200),
        ("span 2", "agent", None, "0.007", 2, 2200),
        ("span 3", "call", "0.0035", "0.0035", 1, 1100),
        ("span 4", "call", "0.0035", "0.0035", 1, 1100),
    ]
    assert answer["steps"] == [
        {"step": "plan", "agent": "planner", "usd": "0.0035", "calls": 1, "tokens": 1100},
        {"step": "act", "agent": "planner", "usd": "0.0035", "calls": 1, "tokens": 1100},
    ]
    assert get(api, f"traces/{ACME_TRACE.upper()}").json() == answer


def test_spend_by_provider_and_tenant(api: TestClient, contracts: Path) -> None:
    answer = get(api, "spend?group_by=provider,tenant").json()
    holds(contracts, "spend", answer)
    assert [(g["key"], g["cost_usd"], g["calls"], g["tokens"]) for g in answer["groups"]] == [
        ({"provider": "openai", "tenant": "acme"}, "0.0105", 3, 3300),
        ({"provider": "openai", "tenant": "globex"}, "0.0035", 1, 1100),
    ]
    assert answer["total_usd"] == "0.014"
    assert get(api, "spend").json()["groups"][0]["key"] == {}
    assert get(api, "spend?from=2026-11-22").json()["total_usd"] == "0"
    assert get(api, "spend?from=2026-11-21&to=2026-11-22T00:00:00Z&tenant=globex").json()["total_usd"] == "0.0035"
    assert get(api, "spend?user=user-7").json()["total_usd"] == "0.0035"


def test_rows_are_paged_and_show_clear_users(api: TestClient, contracts: Path) -> None:
    entry = json.loads((contracts / "entry.schema.json").read_text())
    first = get(api, "usage?limit=3").json()
    second = get(api, f"usage?limit=3&cursor={first['next_cursor']}").json()
    rows = first["entries"] + second["entries"]
    for row in rows:
        jsonschema.validate(row, entry)
    assert len({row["span_id"] for row in rows}) == len(rows) == 4
    assert second["next_cursor"] is None
    assert [row["user"] for row in rows if row["user"]] == ["user-7"]


def test_the_most_expensive_traces_come_first(api: TestClient) -> None:
    page = get(api, "traces?limit=1").json()
    assert (page["traces"][0]["trace_id"], page["traces"][0]["cost_usd"], page["traces"][0]["calls"]) == (ACME_TRACE, "0.007", 2) or (
        page["traces"][0]["trace_id"] == SHARED_TRACE  # both cost 0.007
    )
    rest = get(api, f"traces?limit=1&cursor={page['next_cursor']}").json()
    assert {page["traces"][0]["trace_id"], rest["traces"][0]["trace_id"]} == {ACME_TRACE, SHARED_TRACE}
    assert rest["next_cursor"] is None
    assert get(api, "traces?tenant=globex").json()["traces"][0]["cost_usd"] == "0.0035"


def test_the_ledger_verifies_and_prices_are_told(api: TestClient) -> None:
    verified = get(api, "ledger/verify").json()
    assert (verified["ok"], verified["entries"], verified["total_usd"]) == (True, 4, "0.014")
    row = get(api, "prices?model=gpt-4o&provider=openai").json()
    assert (row["key"], row["rates"]["input_cost_per_token"], row["rates"]["output_cost_per_token"]) == ("gpt-4o", "0.0000025", "0.00001")
    assert get(api, "prices?model=no-such-model").status_code == 404
    assert get(api, "prices/status").json()["rows"] > 1000
    assert get(api, "health").json()["ok"] is True


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.name)
def test_every_answer_fits_the_declared_model(api: TestClient, one: Any) -> None:
    answer = ask(api, one)
    assert answer.status_code == 200
    rows = [json.loads(line) for line in answer.content.split(b"\n") if line] if one.streams else [answer.json()]
    for row in rows:
        one.output.model_validate(row, strict=True)


# --- who may see what ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.name)
def test_without_a_known_token_nothing_is_answered(guarded: TestClient, one: Any) -> None:
    for who in (None, "nobody", "' OR '1'='1", "x" * 9000):
        answer = ask(guarded, one, who)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"


MAY = {
    "ingest": ("analyst", "manager", "admin"), "approve": ("approver", "manager", "admin"), "manage": ("manager", "admin"),
    "admin": ("admin",),
}  # fmt: skip


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.name)
@pytest.mark.parametrize("role", ROLES)
def test_every_role_may_read_and_change_what_its_permissions_allow(guarded: TestClient, one: Any, role: str) -> None:
    allowed = one.permission == "view" or role in MAY[one.permission]
    assert ask(guarded, one, f"{role}-*").status_code == (200 if allowed else 403)


def test_a_role_without_the_permission_is_refused(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_finops.identity.principals.ROLES", {**roles.ROLES, "viewer": frozenset()})
    answer = get(client(room, mode="token"), "spend", "viewer-*")
    assert (answer.status_code, answer.json()["detail"]) == (403, "spend.report needs the permission view.")


def test_other_tenants_traces_do_not_exist(guarded: TestClient) -> None:
    there = get(guarded, f"traces/{ACME_TRACE}", "viewer-globex")
    nowhere = get(guarded, f"traces/{'f' * 32}", "viewer-globex")
    assert there.status_code == nowhere.status_code == 404
    assert there.json()["detail"].replace(ACME_TRACE, "") == nowhere.json()["detail"].replace("f" * 32, "")


def test_a_shared_trace_shows_each_tenant_its_own_spans(guarded: TestClient) -> None:
    seen = {who: get(guarded, f"traces/{SHARED_TRACE}", f"viewer-{who}").json() for who in ("acme", "globex", "*")}
    assert {who: (tree["total_usd"], [n["name"] for n in tree["nodes"]]) for who, tree in seen.items()} == {
        "acme": ("0.0035", ["span 7"]),
        "globex": ("0.0035", ["span 6"]),
        "*": ("0.007", ["span 5", "span 6", "span 7"]),
    }


def test_sums_rows_and_searches_hold_the_own_tenants_only(guarded: TestClient) -> None:
    assert get(guarded, "spend", "viewer-globex").json()["total_usd"] == "0.0035"
    assert get(guarded, "spend?tenant=acme", "viewer-globex").json()["total_usd"] == "0"
    assert get(guarded, "spend?tenant=*", "viewer-globex").json()["total_usd"] == "0.0035"
    rows = get(guarded, "usage", "viewer-globex").json()["entries"]
    assert [row["tenant"] for row in rows] == ["globex"]
    assert get(guarded, "usage?tenant=acme", "viewer-globex").json()["entries"] == []
    assert [t["trace_id"] for t in get(guarded, "traces", "viewer-globex").json()["traces"]] == [SHARED_TRACE]
    assert get(guarded, "ledger/verify", "admin-globex").status_code == 403


# --- bad input -----------------------------------------------------------------------------------------------------

BAD = {
    "traces/xyz": "trace_id: a trace id has 32 hex digits",
    f"traces/{'0' * 32}": "trace_id: a trace id has 32 hex digits",
    "spend?group_by=password": "cannot be grouped",
    "spend?group_by=provider;drop": "cannot be grouped",
    "spend?from=yesterday": "from: not an instant",
    "spend?from=2026-11-22&to=2026-11-21": "before",
    "spend?from=9999-01-01": "from: out of range",
    "spend?grup_by=provider": "grup_by: there is no such parameter",
    "spend?tenant=a&tenant=b": "tenant: given more than once",
    "usage?limit=0": "limit: must be greater than or equal to 1",
    "usage?limit=1001": "limit: must be less than or equal to 1000",
    "usage?limit=1e9": "limit: must be a valid integer",
    "usage?cursor=xxx": "cursor",
    "usage?cursor=%ff": "cursor",
    "usage?kind=theft": "kind: must be 'charge'",
    "traces?sort=password": "sort: must be 'cost'",
    "traces?cursor=AAAA": "cursor: not a next_cursor",
    "traces?cursor=%C3%A9": "cursor: not a next_cursor",
    f"usage?agent={'a' * 300}": "agent: String should have at most 256 characters",
    "usage?agent=%00": "agent: names hold no NUL",
    "prices": "model: must be given",
    "ledger/verify?head=[]": "head: give the JSON object",
    "ledger/verify?head={}": "no signed head",
    f"traces/{ACME_TRACE}?trace_id=1": "trace_id: stands in the path already",
}
LEAK = re.compile(
    r"Traceback|File \"|\.py\b|SELECT|INSERT|sqlite|postgres|sqlalchemy|pydantic|/home|/tmp|/work|site-packages", re.IGNORECASE
)


def is_problem(answer: Any, contracts: Path) -> bool:
    holds(contracts, "problem", answer.json())
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code
    assert answer.json()["instance"].endswith(answer.headers["x-request-id"])
    assert not LEAK.search(answer.text), answer.text
    return True


@pytest.mark.parametrize("path", BAD)
def test_bad_input_is_a_problem_that_says_how_to_mend_it(api: TestClient, contracts: Path, path: str) -> None:
    answer = get(api, path)
    assert answer.status_code == 400, answer.text
    assert BAD[path] in answer.json()["detail"]
    assert is_problem(answer, contracts)


def test_t56_no_fault_tells_paths_sql_or_stack_traces(room: Room, contracts: Path) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError('File "/srv/app/x.py": SELECT * FROM entries; postgresql://u:hunter2@db')

    def away(*_: Any) -> Any:
        raise Unavailable("The database is away.", retry_after_s=7)

    def busy(*_: Any) -> Any:
        raise Busy("The ledger is busy.", retry_after_s=0.2)

    api = client(room, verify=broken)
    answers = [
        api.get("/nowhere"), api.get("/api/v1/nowhere/../../etc/passwd"), api.post("/api/v1/spend"), api.delete("/"),
        api.put(f"/api/v1/traces/{ACME_TRACE}", content=b"x" * 2_000_000), get(api, "ledger/verify"),
        get(client(room, verify=away), "ledger/verify"), get(client(room, verify=busy), "ledger/verify"),
        get(client(room, mode="token"), "spend"), get(client(room, features=Features(spend=False)), "spend"),
        *(get(api, path) for path in BAD),
    ]  # fmt: skip
    assert [answer.status_code for answer in answers[:10]] == [404, 404, 405, 405, 405, 500, 503, 503, 401, 404]
    assert answers[2].headers["allow"] == "GET, HEAD, OPTIONS"
    assert [answer.headers["retry-after"] for answer in answers[6:8]] == ["7", "1"]
    assert answers[5].json()["detail"] == "The fault is in the service's log under this request's id."
    assert sum(not is_problem(answer, contracts) for answer in answers) == 0


# --- switches, headers, page ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("feature", ["traces", "spend", "usage", "coverage", "ledger", "prices", "quarantine", "api"])
def test_what_is_switched_off_has_no_route(room: Room, feature: str) -> None:
    api = client(room, features=Features(**{feature: False}))
    for one in OPERATIONS:
        off = feature in ("api", one.feature)
        assert ask(api, one).status_code == (404 if off else 200)
    assert api.get("/healthz").status_code == 200


def test_the_description_is_openapi_3_1_and_names_every_operation(api: TestClient) -> None:
    document = api.get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    named = sorted(op["operationId"] for path in document["paths"].values() for op in path.values())
    assert named == sorted([*(one.name for one in OPERATIONS), *(f"{one.name}.post" for one in OPERATIONS if one.by_body)])
    spend = document["paths"]["/api/v1/spend"]["get"]
    assert {p["name"] for p in spend["parameters"]} >= {"group_by", "from", "to"}
    assert set(spend["responses"]) == {"200", "400", "401", "403", "404", "405", "414", "429", "431", "500", "503"}
    assert {"413", "415"} <= set(document["paths"]["/api/v1/ledger/reprice"]["post"]["responses"])


def test_request_ids_are_echoed_only_when_harmless(api: TestClient) -> None:
    assert api.get("/healthz", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert re.fullmatch(r"[0-9a-f]{16}", api.get("/healthz", headers={"X-Request-Id": "a b<script>"}).headers["x-request-id"])


def test_the_host_header_changes_nothing(api: TestClient) -> None:
    for path in ("/api/v1/spend", "/api/v1/openapi.json", "/", "/nowhere", "/api/v1/spend/"):
        here, elsewhere = (api.get(path, headers={"Host": host, "X-Request-Id": "1"}) for host in ("localhost", "evil.example/api/v1/x?"))
        assert (here.status_code, here.content, here.headers) == (elsewhere.status_code, elsewhere.content, elsewhere.headers)


def test_answers_bear_security_headers(api: TestClient) -> None:
    for path in ("/", "/api/v1/spend", "/nowhere"):
        headers = api.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "unsafe" not in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers


def test_the_index_page_needs_nothing_from_elsewhere(room: Room) -> None:
    app = build_api(room.context, lambda _: pytest.fail("open"), listeners={"OTLP/HTTP": '127.0.0.1:4318"><script>'})
    page = TestClient(app).get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "<script" not in page.text
    assert "/api/v1/openapi.json" in page.text
    assert not re.search(r"(src|href)=\"(https?:)?//", page.text)


@pytest.mark.parametrize("tokens", [True, False])
def test_the_index_page_tells_senders_of_their_token_where_one_is_needed(tokens: bool) -> None:
    page = bytes(index_page("1.0", {"OTLP/HTTP": "127.0.0.1:4318"}, [], tokens=tokens).body).decode()
    assert ("export OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20TOKEN" in page) is tokens


def test_hostile_texts_come_back_as_json_and_nothing_else(api: TestClient) -> None:
    answer = get(api, f"traces/{SHARED_TRACE}")
    assert answer.headers["content-type"] == "application/json"
    assert HOSTILE in {step["step"] for step in answer.json()["steps"]}


def test_others_are_mounted_at_their_exact_path(room: Room) -> None:
    async def metrics(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"finops 1"})

    api = TestClient(build_api(room.context, lambda _: pytest.fail("open"), mounts={"/metrics": metrics}))
    assert api.get("/metrics").text == "finops 1"
    assert api.get("/metrics/x").status_code == 404


def test_readiness_tells_which_part_is_not_well(room: Room) -> None:
    from otel_finops.operations.context import Health  # noqa: PLC0415 - used once

    api = client(room, health=lambda: (Health("store", False, "it is away"),))
    answer = api.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "not ready", "parts": {"store": False}})
    assert client(room).get("/readyz").status_code == 200
