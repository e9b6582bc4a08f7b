"""What the API takes and how it says no: rates, sizes, types of bodies, values, methods; and what is written about it in the log."""

from __future__ import annotations

import gzip
import json
import logging
import threading
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from starlette.testclient import TestClient
from surfaces_world import ACME_TRACE

from otel_finops.base.errors import TooManyRequests
from otel_finops.base.limits import API_JSON_CONTAINERS_MAX, API_URL_BYTES_MAX, HEAVY_AT_ONCE_MAX, MIB
from otel_finops.identity.principals import LOCAL, Principals
from otel_finops.operations.local import Room
from otel_finops.operations.readers import Verdict
from otel_finops.settings import load
from otel_finops.settings.tree import Http
from otel_finops.surfaces.api.app import build_api
from otel_finops.surfaces.web.rates import Rates, address_key
from otel_finops.testing import FakeClock

TOKENS = [
    {"token_sha256": sha256(name.encode()).hexdigest(), "tenants": ["acme"], "role": "admin", "name": name} for name in ("ann", "bob")
]
QUOTE = "/api/v1/pricing/quote"
PROBLEM = "urn:otel-finops:problem:"


def client(room: Room, *, tokens: bool = False, http: Http | None = None, **context: Any) -> TestClient:
    if tokens:
        auth = load(None, {"OTEL_FINOPS_AUTH__MODE": "token", "OTEL_FINOPS_AUTH__TOKENS": json.dumps(TOKENS)}).auth
        app = build_api(replace(room.context, **context), Principals(auth), http=http or Http(rate_per_s=0))
    else:
        app = build_api(replace(room.context, **context), lambda _: LOCAL, http=http or Http(rate_per_s=0))
    return TestClient(app, raise_server_exceptions=False)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def refused(answer: Any, status: int, kind: str) -> str:
    """The detail of a problem of this status and kind."""
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["type"]) == (status, status, PROBLEM + kind), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(problem["detail"])


# --- how often ------------------------------------------------------------------------------------------------------


def test_a_bucket_gives_its_burst_at_once_and_then_the_rate() -> None:
    clock = FakeClock()
    rates = Rates(2.0, 3, clock)
    for _ in range(3):
        rates.take("ann")
    with pytest.raises(TooManyRequests) as refusal:
        rates.take("ann")
    assert refusal.value.retry_after_s == 0.5  # the next of two a second
    rates.take("bob")  # has a bucket of his own
    clock.advance(0.5)
    rates.take("ann")
    clock.advance(3600)
    for _ in range(3):  # never more than the burst
        rates.take("ann")
    with pytest.raises(TooManyRequests):
        rates.take("ann")


def test_buckets_take_bounded_memory_and_the_quietest_are_forgotten_first() -> None:
    rates = Rates(1.0, 1, FakeClock(), keys_max=100)
    for number in range(1_000):
        rates.take(f"caller {number}")
    assert len(rates) == 100
    rates.take("caller 0")  # forgotten, so as free as a new one
    with pytest.raises(TooManyRequests):
        rates.take("caller 999")


def test_an_ipv6_network_is_one_caller() -> None:
    assert address_key("2001:db8:1:2:3::4") == address_key("2001:db8:1:2:ffff::1") == "at 2001:db8:1:2::/64"
    assert address_key("2001:db8:1:3::4") != address_key("2001:db8:1:2::4")
    assert (address_key("192.0.2.7"), address_key("testclient"), address_key("")) == ("at 192.0.2.7", "at testclient", "at ")


def test_who_asks_too_often_is_told_when_to_come_again_and_others_are_not_hurt(room: Room) -> None:
    api = client(room, tokens=True, http=Http(rate_per_s=0.5, burst=2))
    answers = [api.get("/api/v1/health", headers=bearer("ann")) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].headers["retry-after"] == "2"
    assert "http.rate_per_s" in refused(answers[2], 429, "too-many-requests")
    assert api.get("/api/v1/health", headers=bearer("bob")).status_code == 200
    assert [api.get("/healthz").status_code for _ in range(9)] == [200] * 9
    assert [api.get("/readyz").status_code for _ in range(9)] == [200] * 9


def test_without_a_known_token_the_address_is_counted_whatever_is_asked_for(room: Room) -> None:
    for path in ("/", "/nowhere", "/api/v1/openapi.json", "/api/v1/health"):
        api = client(room, tokens=True, http=Http(rate_per_s=1, burst=2))
        answers = [api.get(path, headers=bearer(f"guess {number}")) for number in range(3)]
        assert answers[0].status_code == answers[1].status_code != 429
        refused(answers[2], 429, "too-many-requests")


# --- how large and of what kind ------------------------------------------------------------------------------------


def test_a_body_is_json_and_says_so(room: Room) -> None:
    api = client(room)
    good = json.dumps({"model": "gpt-4o", "output_tokens": 7}).encode()
    for kind in ("application/json", "application/json; charset=utf-8", "Application/JSON"):
        assert api.post(QUOTE, content=good, headers={"Content-Type": kind}).status_code == 200
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", ""):
        assert "Content-Type: application/json" in refused(api.post(QUOTE, content=good, headers={"Content-Type": kind}), 415, "wrong-type")
    packed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert "Content-Encoding" in refused(api.post(QUOTE, content=gzip.compress(good), headers=packed), 415, "wrong-type")
    assert "name: must be given" in refused(api.post("/api/v1/pricing/alias"), 400, "bad-input")  # nothing at all is an empty object


BODIES = {
    b'{"why": "x"': "no JSON",
    b"\xff\xfe{}": "no JSON",
    b'["why"]': "must be a JSON object",
    b"null": "must be a JSON object",
    b'{"why": "x", "why": "y"}': "why: given more than once",
    b'{"why": [{"id": "1", "id": "2"}]}': "id: given more than once",
    b'{"why": NaN}': "numbers are finite",
    b'{"why": -1e999}': "numbers are finite",
    b'{"why": ' + b"9" * 30 + b"}": "beyond 64 bits",
    b'{"why": ' + b"9" * 9_999 + b"}": "no JSON",
    b'{"why": "\\ud800"}': "surrogate",
    b'{"why": ' + b"[" * 5_000 + b"]" * 5_000 + b"}": "no JSON",
    b'{"dry_run": "true"}': "dry_run: must be a valid boolean",
    b'{"dry_run": 1}': "dry_run: must be a valid boolean",
    b'{"why": 7}': "why: must be a valid string",
    b'{"dryrun": true}': "dryrun: there is no such parameter; did you mean dry_run?",
}


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body[:40].decode("latin-1"))
def test_what_a_body_may_not_hold(room: Room, body: bytes) -> None:
    answer = client(room).post("/api/v1/ledger/reprice", content=body, headers={"Content-Type": "application/json"})
    assert BODIES[body] in refused(answer, 400, "bad-input")


def test_sizes_are_bounded_announced_or_not(room: Room) -> None:
    api = client(room, http=Http(rate_per_s=0, body_mib_max=1))
    large = b'{"model": "' + b"x" * MIB + b'"}'

    def pieces() -> Any:
        yield from (large[start : start + 65_536] for start in range(0, len(large), 65_536))

    for content in (large, pieces()):
        detail = refused(api.post(QUOTE, content=content, headers={"Content-Type": "application/json"}), 413, "too-large")
        assert detail == "A request's body may have 1 MiB (http.body_mib_max)."
    many = b'{"calls": [' + b"{}," * API_JSON_CONTAINERS_MAX + b"{}]}"
    assert "in parts" in refused(api.post(QUOTE, content=many, headers={"Content-Type": "application/json"}), 413, "too-large")
    assert client(room).post(QUOTE, content=large, headers={"Content-Type": "application/json"}).status_code == 400  # fits, is no model


def test_an_endless_url_is_refused(room: Room) -> None:
    api = client(room)
    detail = refused(api.get("/api/v1/spend?group_by=" + "x" * API_URL_BYTES_MAX), 414, "url-too-long")
    assert str(API_URL_BYTES_MAX) in detail
    assert refused(api.get("/" + "x" * API_URL_BYTES_MAX), 414, "url-too-long")
    assert api.get("/api/v1/spend?group_by=" + "x" * 199).status_code == 400  # a grouping that does not exist


# --- values of the URL ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("usage?limit=5.0", "limit: must be a valid integer"),
        ("usage?limit=%205", "limit: must be a valid integer"),
        ("usage?limit=1_0", "limit: must be a valid integer"),
        ("usage?limit=05", "limit: must be a valid integer"),
        ("usage?limit=", "limit: must be a valid integer"),
        ("usage?limit=99999999999999999999", "limit: must be a valid integer"),
        ("pricing/rules?holding=yes", "holding: must be a valid boolean"),
        ("pricing/rules?holding=1", "holding: must be a valid boolean"),
        ("usage?from_=2026-11-21", "from_: there is no such parameter; did you mean from?"),
    ],
)
def test_texts_of_the_url_are_read_as_json_would_be(room: Room, query: str, detail: str) -> None:
    assert detail in refused(client(room).get(f"/api/v1/{query}"), 400, "bad-input")


def test_good_values_of_the_url_are_taken(room: Room) -> None:
    api = client(room)
    assert api.get("/api/v1/usage?limit=5").status_code == 200
    assert api.get("/api/v1/pricing/rules?holding=true").status_code == 200
    assert api.get("/api/v1/pricing/quote?model=gpt-4o&output_tokens=7&seconds=1.5").status_code == 200


# --- methods, compression ------------------------------------------------------------------------------------------


def test_head_answers_like_get_without_the_body(room: Room) -> None:
    api = client(room)
    for path in ("/", "/healthz", "/api/v1/openapi.json", f"/api/v1/traces/{ACME_TRACE}"):
        whole, head = api.get(path), api.head(path)
        assert (head.status_code, head.content) == (whole.status_code, b"")
        assert head.headers["content-length"] == whole.headers["content-length"]
    assert api.head("/api/v1/traces/xyz").status_code == 400
    assert (api.head("/api/v1/ledger/reprice").status_code, api.head("/nowhere").status_code) == (405, 404)


def test_options_names_the_methods_of_a_path_and_allows_no_other_site(room: Room) -> None:
    api = client(room)
    preflight = {"Origin": "http://localhost", "Access-Control-Request-Method": "POST"}
    allowed = {path: api.options(f"/api/v1/{path}", headers=preflight) for path in ("spend", "ledger/reprice", "pricing/quote")}
    assert {path: (answer.status_code, answer.headers["allow"]) for path, answer in allowed.items()} == {
        "spend": (204, "GET, HEAD, OPTIONS"),
        "ledger/reprice": (204, "OPTIONS, POST"),
        "pricing/quote": (204, "GET, HEAD, OPTIONS, POST"),
    }
    assert all("access-control-allow-origin" not in answer.headers for answer in allowed.values())
    assert api.options("/nowhere").status_code == 404
    for method in ("PUT", "PATCH", "DELETE", "TRACE"):
        answer = api.request(method, QUOTE)
        assert refused(answer, 405, "method-not-allowed") == "This path takes GET, HEAD, OPTIONS, POST."
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip", True), ("br, GZIP;q=0.5", True), ("*", True), ("", False), ("br", False), ("gzip;q=0", False), ("gzip;q=0.000, *", False)],
)
def test_large_answers_are_compressed_for_those_who_take_it(room: Room, accepted: str, packed: bool) -> None:
    api = client(room)
    large = api.get("/api/v1/openapi.json", headers={"Accept-Encoding": accepted})
    assert large.headers.get("content-encoding") == ("gzip" if packed else None)
    assert large.headers["vary"] == "Accept-Encoding"
    assert large.json()["openapi"].startswith("3.1")
    assert "content-encoding" not in api.get("/api/v1/health", headers={"Accept-Encoding": accepted}).headers


# --- long operations, keys -----------------------------------------------------------------------------------------


def test_long_operations_leave_room_for_others(room: Room) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()
    verdict = room.context.verify(None, None)

    def slow(*_: Any) -> Verdict:
        begun.release()
        assert go_on.wait(30)
        return verdict

    with client(room, verify=slow) as api:
        answers: list[int] = []
        threads = [threading.Thread(target=lambda: answers.append(api.get("/api/v1/ledger/verify").status_code)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(HEAVY_AT_ONCE_MAX):
            assert begun.acquire(timeout=30)
        refusal = api.get("/api/v1/ledger/verify")
        assert "long operations run already" in refused(refusal, 503, "busy")
        assert refusal.headers["retry-after"] == "5"
        assert api.get("/api/v1/spend").status_code == 200
        go_on.set()
        for thread in threads:
            thread.join(30)
        assert answers == [200] * HEAVY_AT_ONCE_MAX
        assert api.get("/api/v1/ledger/verify").status_code == 200


# --- the log -------------------------------------------------------------------------------------------------------


def test_the_log_tells_of_every_request_and_of_nothing_secret(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    api = client(room, tokens=True)
    with caplog.at_level(logging.DEBUG, logger="otel_finops.surfaces.api.access_log"):
        api.get(f"/api/v1/traces/{ACME_TRACE}?", headers={**bearer("ann"), "X-Request-Id": "first"})
        api.get("/api/v1/usage?user=someone-private", headers={**bearer("ann"), "X-Request-Id": "second"})
        api.post("/api/v1/ledger/reprice", json={"why": "private words"}, headers={**bearer("stolen"), "X-Request-Id": "third"})
        api.get("/secret-path", headers={"X-Request-Id": "fourth"})
        api.get("/healthz", headers={"X-Request-Id": "fifth"})
        api.post("/api/v1/decisions", json={}, headers={**bearer("ann"), "X-Request-Id": "sixth"})
    lines = {record.args[0]: (record.levelname, record.getMessage()) for record in caplog.records if isinstance(record.args, tuple)}
    assert {name: level for name, (level, _) in lines.items()} == {
        "first": "DEBUG", "second": "DEBUG", "third": "INFO", "fourth": "INFO", "fifth": "DEBUG", "sixth": "INFO",
    }  # fmt: skip
    assert lines["first"][1].startswith("request first: GET /api/v1/traces/{trace_id} -> 200, ")
    assert lines["first"][1].endswith(" ms, for ann")
    assert lines["third"][1].startswith("request third: POST /api/v1/ledger/reprice -> 401, ")
    assert lines["third"][1].endswith(" ms, for nobody known")
    assert lines["fourth"][1].startswith("request fourth: GET (no such path) -> 404, ")
    assert lines["sixth"][1].startswith("request sixth: POST /api/v1/decisions -> 400, ")
    assert not any(secret in line for _, line in lines.values() for secret in ("private", "stolen", "secret-path", ACME_TRACE))
