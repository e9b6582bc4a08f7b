"""The command line at a service: the same answers, tables, messages and exit codes as on a database of this machine."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from certificates import self_signed
from cli_world import Said, run, scripted, serving
from surfaces_world import ACME_TRACE, HARMLESS, NO_INPUT, SHARED_TRACE

from otel_finops.base.errors import BadInput, Busy, FinopsError, Unavailable
from otel_finops.identity.principals import LOCAL, Principals
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.faults import KINDS
from otel_finops.operations.local import Room
from otel_finops.operations.requests import request_of
from otel_finops.settings import load
from otel_finops.surfaces.api.app import build_api
from otel_finops.surfaces.api.problems import problem_response
from otel_finops.surfaces.cli.remote import Service, address_of
from otel_finops.testing import FakeClock

SPEND = OPERATIONS.named("spend.report")
REPRICE = OPERATIONS.named("ledger.reprice")
WATCH = OPERATIONS.named("prices.watch")
EMPTY_REPORT = orjson.dumps({"groups": [], "total_usd": "0", "pending_usd": "0", "unpriced_tokens_share": 0})


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands have the room's clock, which stands still."""
    monkeypatch.setattr("otel_finops.operations.local.SystemClock", FakeClock)


@pytest.fixture(scope="module")
def service(room: Room) -> Iterator[str]:
    """The URL of a service over the ledger at which everyone is admin."""
    with serving(build_api(room.context, lambda _: LOCAL)) as url:
        yield url


@pytest.fixture(scope="module")
def guarded_service(room: Room) -> Iterator[str]:
    """One that knows two tokens: `see-acme`, a viewer of acme, and `see-all`, an admin."""
    tokens = [
        {"token_sha256": sha256(b"see-acme").hexdigest(), "tenants": ["acme"], "role": "viewer"},
        {"token_sha256": sha256(b"see-all").hexdigest(), "tenants": ["*"], "role": "admin"},
    ]
    auth = load(None, {"OTEL_FINOPS_AUTH__MODE": "token", "OTEL_FINOPS_AUTH__TOKENS": json.dumps(tokens)}).auth
    with serving(build_api(room.context, Principals(auth))) as url:
        yield url


# --- the same as here ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", [one for one in OPERATIONS if one.name != "health"], ids=lambda one: one.name)
def test_a_service_answers_as_the_database_does(service: str, database: str, one: Any) -> None:
    words = [*one.words, *HARMLESS.get(one.name, NO_INPUT).words]
    for more in (["--json"], []):
        here, there = run(*words, *more, database=database), run(*words, *more, url=service)
        assert (there.exit_code, there.stderr) == (here.exit_code, here.stderr) == (0, "")
        if more:
            assert there.stdout == here.stdout
        assert there.stdout


def test_the_report_is_the_same(service: str, database: str) -> None:
    words = ("report", "--days", "3", "--to", "2026-11-22", "--by", "tenant,step")
    assert run(*words, url=service).stdout == run(*words, database=database).stdout
    assert run(*words, "--json", url=service).stdout == run(*words, "--json", database=database).stdout


@pytest.mark.parametrize(
    "words",
    [
        ("trace", "xyz"),
        ("trace", "f" * 32),
        ("spend", "report", "--group-by", "password"),
        ("usage", "list", "--limit", "many"),
        ("prices", "show", "no-such-model"),
        ("pricing", "end", "77", "--why", "x"),
    ],
)
def test_faults_are_told_in_the_same_words(service: str, database: str, words: tuple[str, ...]) -> None:
    here, there = run(*words, database=database), run(*words, url=service)
    assert (there.exit_code, there.stderr, there.stdout) == (here.exit_code, here.stderr, "")
    assert here.exit_code == 2


def test_every_problem_of_the_api_becomes_the_fault_that_it_was() -> None:
    for kind, said in KINDS.items():
        answer = problem_response(said, "It is so.", "7")
        with scripted(Said(answer.status_code, bytes(answer.body))) as at, pytest.raises(FinopsError, match="It is so") as raised:
            Service(address_of(at.url)).run(SPEND, SPEND.input())
        assert type(raised.value) is kind


# --- who asks ------------------------------------------------------------------------------------------------------


def test_the_token_decides_what_is_seen(guarded_service: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("see-acme\n")
    mine = run("spend", "report", "--group-by", "tenant", "--json", "--url", "", url=guarded_service, token="see-acme")
    assert mine.exit_code == 2  # --url given twice: the empty one is no address
    by_file = run("--token-file", str(file), "spend", "report", "--group-by", "tenant", "--json", url=guarded_service)
    assert [group["key"]["tenant"] for group in json.loads(by_file.stdout)["groups"]] == ["acme"]
    by_environment = run("spend", "report", "--group-by", "tenant", "--json", url=guarded_service, token="see-all")
    assert len(json.loads(by_environment.stdout)["groups"]) == 2
    other = run("trace", SHARED_TRACE, url=guarded_service, token="see-acme")
    assert "0.0035 USD" in other.stdout  # acme's call alone


def test_refusals_of_the_token_are_told(guarded_service: str) -> None:
    none = run("spend", "report", url=guarded_service)
    assert (none.exit_code, none.stdout) == (2, "")
    assert "The token comes from OTEL_FINOPS_TOKEN or --token-file FILE." in none.stderr
    unknown = run("spend", "report", url=guarded_service, token="s3cret-of-nobody")
    assert unknown.exit_code == 2
    assert "This token is not known." in unknown.stderr
    assert "s3cret" not in unknown.stderr
    forbidden = run("prices", "unwatch", "1", url=guarded_service, token="see-acme")
    assert forbidden.exit_code == 2
    assert "needs the permission" in forbidden.stderr


def test_the_token_is_shown_to_the_service_alone() -> None:
    with scripted(Said(302, b"", {"location": "http://127.0.0.1:9/elsewhere"})) as at:
        moved = run("spend", "report", url=at.url, token="s3cret")
    assert moved.exit_code == 2
    assert "redirects are not followed" in moved.stderr
    assert [one.headers["authorization"] for one in at.heard] == ["Bearer s3cret"]


def test_a_person_at_a_terminal_is_asked_for_the_token() -> None:
    report = orjson.dumps({"total_usd": "1"})
    problem = orjson.dumps({"status": 401, "type": "urn:otel-finops:problem:unauthenticated", "detail": "Send a token."})
    with scripted(Said(401, problem), Said(200, report)) as at:
        answer = Service(address_of(at.url), ask=lambda: "typed").run(SPEND, SPEND.input())
    assert answer == {"total_usd": "1"}
    assert [one.headers.get("authorization") for one in at.heard] == [None, "Bearer typed"]


@pytest.mark.parametrize(
    ("text", "said"), [("", "holds no token"), ("two words", "holds no token"), ("tökn", "holds no token"), ("x" * 5000, "holds no token")]
)
def test_what_is_no_token_is_not_sent(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    refused = run("--token-file", str(file), "spend", "report", url="http://127.0.0.1:9")
    assert refused.exit_code == 2
    assert said in refused.stderr
    absent = run("--token-file", str(tmp_path / "absent"), "spend", "report", url="http://127.0.0.1:9")
    assert (absent.exit_code, "cannot be read: No such file" in absent.stderr) == (2, True)


# --- where -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("finops.example.org", "not the address of a service"),
        ("ftp://finops.example.org", "not the address of a service"),
        ("http://", "not the address of a service"),
        ("http://[::1", "not the address of a service"),
        ("http://host:port", "not the address of a service"),
        ("https://host/?a=b", "not the address of a service"),
        ("https://ann:secret@host", "no user or password belongs in it"),
        ("http://finops.example.org", "would cross the network"),
    ],
)
def test_an_address_that_cannot_be_asked_says_why(url: str, said: str) -> None:
    refused = run("spend", "report", url=url, token="t")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert said in refused.stderr
    assert "secret" not in refused.stderr


def test_plain_http_is_for_loopback_and_for_trusted_networks() -> None:
    assert address_of("http://localhost:1/", with_token=True).url == "http://localhost:1"
    assert address_of("https://host/finops/api/v1", with_token=True).url == "https://host/finops"
    assert address_of("http://host", with_token=False).url == "http://host"
    assert address_of("http://host", with_token=True, plain_http=True).url == "http://host"


def test_a_service_and_a_local_ledger_are_not_asked_at_once(database: str) -> None:
    both = run("--database", database, "spend", "report", url="http://127.0.0.1:9")
    assert (both.exit_code, "give one of them" in both.stderr) == (2, True)
    local = run("spend", "report", "--json", database=database, OTEL_FINOPS_URL="http://127.0.0.1:9")
    assert local.exit_code == 0  # the command line counts before the environment


@pytest.mark.parametrize(
    "words", [("price",), ("resolve",), ("ledger", "head"), ("audit", "head"), ("db", "upgrade"), ("db", "backup", "x")]
)
def test_what_works_on_files_of_this_machine_says_so(words: tuple[str, ...]) -> None:
    asked = run(*words, url="http://127.0.0.1:9", given="")
    by_environment = run(*words, given="", OTEL_FINOPS_URL="http://127.0.0.1:9")
    assert (asked.exit_code, by_environment.exit_code) == (2, 2)
    assert f"{' '.join(words[:2])}` works on this machine and cannot be asked of a service: leave --url away" in asked.stderr
    assert "unset OTEL_FINOPS_URL" in by_environment.stderr


def test_a_service_that_is_away_ends_with_three_and_says_what_to_do() -> None:
    away = run("spend", "report", url="http://127.0.0.1:9", token="s3cret")
    assert (away.exit_code, away.stdout) == (3, "")
    assert "http://127.0.0.1:9 cannot be reached (Connection refused): is `otel-finops serve` running there?" in away.stderr
    assert "s3cret" not in away.stderr


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (Said(404, b"<html>"), 2, "answered 404, but not as an otel_finops service does: is the URL right?"),
        (Said(502, b"Bad gateway"), 3, "what stands before the service cannot reach it"),
        (Said(200, b"<html>"), 2, "but not as an otel_finops service does"),
        (Said(200, b"[]"), 2, "but not as an otel_finops service does"),
        (
            Said(500, b'{"status": 500, "title": "Unexpected fault", "detail": "In the log.", "instance": "urn:7"}'),
            2,
            "In the log. (urn:7)",
        ),
        (Said(503, b'{"status": 503, "detail": "Later."}', {"retry-after": "3600"}), 3, "Later."),
        (Said(400, b'{"status": 400, "detail": "a\\u001b[31m\\u202eb"}'), 2, "a\\u001b[31m\\u202eb"),
    ],
)
def test_other_answers_are_readable(answer: Said, code: int, said: str) -> None:
    with scripted(answer) as at:
        result = run("spend", "report", url=at.url)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert len(at.heard) == 1


# --- tried again -----------------------------------------------------------------------------------------------------


def test_a_busy_service_is_asked_again_when_it_says() -> None:
    waited: list[float] = []
    with scripted(Said(503, b"{}", {"retry-after": "2"}), Said(429, b"{}", {"retry-after": "7"}), Said(200, EMPTY_REPORT)) as at:
        answer = Service(address_of(at.url), sleep=waited.append).run(SPEND, SPEND.input())
    assert (answer["total_usd"], waited, len(at.heard)) == ("0", [2.0, 7.0], 3)


def test_it_is_asked_four_times_at_most() -> None:
    waited: list[float] = []
    with scripted(Said(503, b'{"status": 503, "detail": "Busy."}', {"retry-after": "1"})) as at, pytest.raises(Unavailable, match="Busy"):
        Service(address_of(at.url), sleep=waited.append).run(SPEND, SPEND.input())
    assert (len(at.heard), waited) == (4, [1.0, 1.0, 1.0])


def test_without_a_pause_named_the_refusal_stands() -> None:
    with scripted(Said(503, b'{"status": 503, "type": "urn:x:busy", "detail": "Busy."}')) as at, pytest.raises(Busy):
        Service(address_of(at.url), sleep=pytest.fail).run(SPEND, SPEND.input())
    assert len(at.heard) == 1


def test_a_change_that_is_sent_again_bears_the_same_key() -> None:
    """The connection broke after the service had taken it; while it is under way it says so; then it gives the stored answer."""
    waited: list[float] = []
    with scripted(Said(0), Said(409, b"{}"), Said(200, b'{"no": 2}')) as at:
        answer = Service(address_of(at.url), sleep=waited.append).run(WATCH, WATCH.input.model_validate({"model": "gpt-4o"}))
    assert (answer, waited) == ({"no": 2}, [1.0])
    keys = {one.headers["idempotency-key"] for one in at.heard}
    assert (len(at.heard), len(keys), min(map(len, keys))) == (3, 1, 32)
    with scripted(Said(200, b'{"no": 3}')) as other:
        Service(address_of(other.url)).run(WATCH, WATCH.input.model_validate({"model": "gpt-4o"}))
    assert other.heard[0].headers["idempotency-key"] not in keys


def test_a_read_is_sent_again_and_bears_no_key() -> None:
    with scripted(Said(0), Said(200, EMPTY_REPORT)) as at:
        Service(address_of(at.url)).run(SPEND, SPEND.input())
    assert [("idempotency-key" in one.headers) for one in at.heard] == [False, False]


@pytest.mark.parametrize("name", ["fx.import", "bills.import", "quality.import", "prices.refresh"])
def test_a_file_of_this_machine_is_sent_with_what_it_holds(tmp_path: Path, name: str) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes(b"model,score\ngpt-4o,0.9\n")
    one = OPERATIONS.named(name)
    with scripted(Said(200, b"{}")) as (url, seen):
        Service(address_of(url), None).run(one, one.input.model_validate({"from": str(file)}))
    sent = orjson.loads(seen[0].body)
    assert (sent["from"], sent["content"]) == ("list.csv", "bW9kZWwsc2NvcmUKZ3B0LTRvLDAuOQo=")


def test_a_file_that_cannot_be_sent_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = OPERATIONS.named("fx.import")
    away = Service(address_of("http://127.0.0.1:1"), None)
    with pytest.raises(BadInput, match=r"^rates.csv: cannot be read: No such file or directory$"):
        away.run(one, one.input.model_validate({"from": str(tmp_path / "rates.csv")}))
    (tmp_path / "rates.csv").write_bytes(b"12")
    monkeypatch.setattr("otel_finops.surfaces.cli.remote.SENT_FILE_BYTES_MAX", 1)
    with pytest.raises(BadInput, match=r"^rates.csv: larger than 0 MiB, which no request may be; import it where the service runs$"):
        away.run(one, one.input.model_validate({"from": str(tmp_path / "rates.csv")}))


def test_a_long_run_is_not_sent_again() -> None:
    with scripted(Said(0)) as at, pytest.raises(Unavailable, match="It may have been done: look before you ask again"):
        Service(address_of(at.url)).run(REPRICE, REPRICE.input())
    assert len(at.heard) == 1


def test_a_stored_answer_makes_one_change_of_two_requests(service: str) -> None:
    """The real service: a request repeated with its key changes nothing a second time."""
    watches = ("prices", "watches", "--json")
    before = run(*watches, url=service).stdout.count('"no"')
    given = WATCH.input.model_validate({"model": "gpt-4o-mini"})
    said = []
    for _ in range(2):
        at = Service(address_of(service))
        with at.answer(request_of(WATCH, given), key="the-same-key") as response:
            said.append(response.read())
    assert json.loads(said[0]) == json.loads(said[1])
    assert run(*watches, url=service).stdout.count('"no"') == before + 1


# --- how it is asked -------------------------------------------------------------------------------------------------


def test_an_input_becomes_path_query_or_body() -> None:
    with scripted(Said(404, b"{}")) as at:
        run("trace", ACME_TRACE, url=at.url)
        run("traces", "search", "--from", "2026-11-01", "--tenant", "a/b c&d=", url=at.url)
        run("quarantine", "drop", "all", url=at.url)
        run("prices", "unwatch", "3", url=at.url)
    assert [(one.method, one.path, one.body) for one in at.heard] == [
        ("GET", f"/api/v1/traces/{ACME_TRACE}", b""),
        ("GET", "/api/v1/traces?tenant=a%2Fb+c%26d%3D&from=2026-11-01", b""),
        ("POST", "/api/v1/quarantine/all/drop", b"{}"),
        ("POST", "/api/v1/prices/watches/3/end", b"{}"),
    ]


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A service behind a certificate that nobody but the holder of its authority's file trusts."""
    certificate, key = self_signed(tmp_path_factory.mktemp("tls"), "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Keeps standard error clean."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(EMPTY_REPORT)))
            self.end_headers()
            self.wfile.write(EMPTY_REPORT)

    class Quiet(HTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A client that does not trust us hangs up."""

    server = Quiet(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}", certificate
    server.shutdown()
    thread.join()
    server.server_close()


def test_certificates_are_checked(tls: tuple[str, Path]) -> None:
    url, certificate = tls
    distrusted = run("spend", "report", url=url, token="s3cret")
    assert (distrusted.exit_code, distrusted.stdout) == (2, "")
    assert "name its authority's file by --ca-file" in distrusted.stderr
    assert run("--ca-file", str(certificate), "spend", "report", url=url).exit_code == 0
    assert run("spend", "report", url=url, OTEL_FINOPS_CA_FILE=str(certificate)).exit_code == 0
    absent = run("--ca-file", "/nowhere.pem", "spend", "report", url=url)
    assert (absent.exit_code, "--ca-file: /nowhere.pem cannot be read" in absent.stderr) == (2, True)


def test_tls_at_a_port_without_it_says_so() -> None:
    with scripted(Said(200)) as at:
        result = run("spend", "report", url=at.url.replace("http://", "https://"))
    assert (result.exit_code, "does it speak TLS there, or http://?" in result.stderr) == (2, True)


def test_an_answer_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    from otel_finops.surfaces.cli import remote  # noqa: PLC0415 - its limit is made small

    monkeypatch.setattr(remote, "ANSWER_BYTES_MAX", 10)
    with scripted(Said(200, EMPTY_REPORT)) as at, pytest.raises(BadInput, match="ask for less"):
        Service(address_of(at.url)).run(SPEND, SPEND.input())
