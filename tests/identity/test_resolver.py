"""A host application's own credentials: what it says of them holds for a while; what is not said in time and in order lets nobody in."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from otel_finops.base.errors import Busy, Forbidden, StartRefused, Unauthenticated, Unavailable
from otel_finops.base.limits import RESOLVED_REMEMBERED_MAX, RESOLVER_CALLS_MAX
from otel_finops.base.protocols import Credential
from otel_finops.identity import resolver as resolver_module
from otel_finops.identity.principals import Principals
from otel_finops.identity.resolver import Resolver, resolver_of
from otel_finops.identity.senders import Senders
from otel_finops.identity.tokens import PREFIX_CHARS, TOKEN_PATTERN
from otel_finops.settings import load
from otel_finops.settings.tree import Auth
from otel_finops.testing import FakeClock

ANN = {"who": "ann@host", "tenants": ["acme"], "role": "manager"}
SECURITY = Path(__file__).parents[2] / "docs" / "security.md"


def auth(resolver: str = "", **more: str) -> Auth:
    named = {f"OTEL_FINOPS_AUTH__{name.upper()}": value for name, value in more.items()}
    return load(None, {"OTEL_FINOPS_AUTH__MODE": "token", "OTEL_FINOPS_AUTH__RESOLVER": resolver, **named}).auth


class Host:
    """A host application that knows these credentials, and counts how often it is asked."""

    def __init__(self, **known: Any) -> None:
        self.known = known
        self.asked: list[str] = []

    def __call__(self, credential: str) -> Any:
        self.asked.append(credential)
        answer = self.known.get(credential)
        if isinstance(answer, Exception):
            raise answer
        return answer


def resolver(ask: Any, clock: FakeClock | None = None, timeout_s: float = 10, hold_s: float = 30) -> Resolver:
    return Resolver(ask, clock or FakeClock(), timeout_s=timeout_s, hold_s=hold_s)


# --- what a credential stands for ----------------------------------------------------------------------------------


def test_a_known_credential_is_who_the_host_says_it_is() -> None:
    ask = resolver(Host(cookie=ANN, all={**ANN, "tenants": ["*"], "role": "viewer", "more": "is ignored"}))
    principals = Principals(auth(), None, ask)
    ann, viewer = principals("cookie"), principals("all")
    assert (ann.who, ann.tenants, ann.may("manage"), ann.may("admin")) == ("ann@host", ("acme",), True, False)
    assert (viewer.tenants, viewer.permissions) == (None, {"view"})
    with pytest.raises(Unauthenticated, match="This token is not known"):
        principals("nobody's")


def test_senders_of_the_host_are_bound_to_their_tenants_and_need_a_role_that_sends() -> None:
    host = Host(
        one={**ANN, "role": "analyst"}, two={**ANN, "tenants": ["acme", "globex"]}, watcher={**ANN, "role": "viewer"},
        shared={**ANN, "tenants": ["default"]},
    )  # fmt: skip
    senders = Senders(auth(), None, resolver(host))
    assert senders("one") == Credential("acme", ("acme",))
    assert senders("two") == Credential("default", ("acme", "globex"))
    with pytest.raises(Forbidden, match="the role viewer may not send spans"):
        senders("watcher")
    with pytest.raises(Forbidden, match="the tenant 'default'"):
        senders("shared")
    with pytest.raises(Unauthenticated):
        senders("nobody's")


def test_tokens_of_ours_never_leave_and_settings_come_first() -> None:
    host = Host()
    ours = "ofk_" + "a" * 52
    for door in (Principals(auth(), None, resolver(host)), Senders(auth(), None, resolver(host))):
        for token in (ours, ours.replace("ofk", "ofs"), None, "", "x" * 5_000):
            with pytest.raises(Unauthenticated):
                door(token)
    assert host.asked == []


# --- fails closed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        KeyError("x"), "ann", 7, [ANN], {}, {**ANN, "who": ""}, {**ANN, "who": "a\nb"}, {**ANN, "role": "root"}, {**ANN, "tenants": []},
        {**ANN, "tenants": "acme"}, {**ANN, "tenants": [""]},
        {**ANN, "tenants": [f"t{n}" for n in range(257)]},
        {**ANN, "seconds": -1}, {"who": "ann", "role": "admin"},
    ],
)  # fmt: skip
def test_an_answer_out_of_order_lets_nobody_in_and_is_not_logged(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    host = Host(sesame=answer)
    principals = Principals(auth(), None, resolver(host))
    for _ in range(3):
        with pytest.raises(Unavailable, match="Who you are cannot be told now"):
            principals("sesame")
    assert len(host.asked) == 3
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "sesame" not in record.getMessage()
    assert "root" not in record.getMessage()


def test_trouble_is_told_again_after_it_was_over(caplog: pytest.LogCaptureFixture) -> None:
    host = Host(sesame=OSError("away"), fine=ANN)
    ask = resolver(host)
    for credential in ("sesame", "sesame", "fine", "sesame"):
        try:
            ask(credential)
        except Unavailable:
            assert credential == "sesame"
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == ["OSError", "OSError"]


def test_a_function_that_does_not_answer_keeps_nobody_waiting_and_only_so_many_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver_module, "RESOLVER_CALLS_MAX", 2)
    wait = threading.Event()
    ask = resolver(lambda credential: (wait.wait(20), None)[1], timeout_s=0.05)
    for credential in ("one", "two"):
        with pytest.raises(Unavailable):
            ask(credential)
    with pytest.raises(Busy, match="Too many credentials are being looked up"):
        ask("three")
    wait.set()
    answered = resolver(Host(), timeout_s=10)
    assert answered("three") is None


# --- remembered for a while ----------------------------------------------------------------------------------------


def test_an_answer_holds_as_long_as_the_settings_say() -> None:
    host, clock = Host(cookie=ANN), FakeClock()
    ask = resolver(host, clock, hold_s=30)
    for _ in range(3):
        ask("cookie")
    assert len(host.asked) == 1
    clock.advance(29.9)
    host.known = {}
    assert ask("cookie") is not None
    clock.advance(0.1)
    assert ask("cookie") is None


def test_the_host_may_shorten_that_and_not_lengthen_it() -> None:
    clock = FakeClock()
    host = Host(short={**ANN, "seconds": 2}, long={**ANN, "seconds": 1e9}, once={**ANN, "seconds": 0})
    ask = resolver(host, clock, hold_s=30)
    for seconds, asked in ((0, 3), (1.9, 1), (0.1, 2), (28, 3)):  # once: each time; short: after 2 s; long: after 30 s
        clock.advance(seconds)
        before = len(host.asked)
        for credential in ("short", "long", "once"):
            ask(credential)
        assert len(host.asked) - before == asked


def test_a_refusal_holds_for_five_seconds_at_most() -> None:
    host, clock = Host(), FakeClock()
    ask = resolver(host, clock)
    assert ask("new") is None
    host.known = {"new": ANN}
    clock.advance(4.9)
    assert ask("new") is None
    clock.advance(0.1)
    assert ask("new") is not None


def test_guesses_push_no_good_answer_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver_module, "RESOLVED_REMEMBERED_MAX", 10)
    host = Host(cookie=ANN)
    ask = resolver(host)
    ask("cookie")
    for number in range(50):
        assert ask(f"guess {number}") is None
    before = len(host.asked)
    ask("cookie")
    ask("guess 49")
    assert len(host.asked) == before
    assert len(ask._refused) == 10


def test_who_asks_for_the_same_at_once_waits_for_the_same_answer() -> None:
    host, asked, go = Host(cookie=ANN), threading.Event(), threading.Event()

    def slow(credential: str) -> Any:
        asked.set()
        go.wait(20)
        return host(credential)

    ask, answers = resolver(slow), []
    threads = [threading.Thread(target=lambda: answers.append(ask("cookie"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert asked.wait(10)
    go.set()
    for thread in threads:
        thread.join()
    assert len(host.asked) == 1
    assert [answer.who for answer in answers if answer] == ["ann@host"] * 8


# --- by HTTP -------------------------------------------------------------------------------------------------------


class Endpoint:
    """An endpoint that answers what it is told to; `heard` are the requests."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, json.dumps(ANN).encode(), {"content-type": "application/json"}
        self.heard: list[tuple[str, dict[str, str], Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.heard.append((self.path, {name.lower(): value for name, value in self.headers.items()}, json.loads(body)))
                self.send_response(outer.status)
                for name, value in {**outer.headers, "content-length": str(len(outer.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(outer.body)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *args: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/who"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.server.shutdown()
    made.server.server_close()


def asker(url: str, **more: str) -> Callable[[str], Any]:
    found = resolver_of(auth(url, resolver_headers='{"x-api-key": "ours"}', resolver_cache="0", **more), FakeClock())
    assert found is not None
    return found


def test_an_endpoint_is_asked_by_post_with_our_headers(endpoint: Endpoint) -> None:
    assert asker(endpoint.url)("cookie").who == "ann@host"
    [(path, headers, body)] = endpoint.heard
    assert (path, headers["x-api-key"], headers["content-type"], body) == ("/who", "ours", "application/json", {"credential": "cookie"})


@pytest.mark.parametrize("status", [401, 403])
def test_an_endpoint_says_by_its_status_that_it_does_not_know(endpoint: Endpoint, status: int) -> None:
    endpoint.status = status
    assert asker(endpoint.url)("cookie") is None


@pytest.mark.parametrize("status", [204, 301, 302, 307, 404, 429, 500, 503])
def test_any_other_status_lets_nobody_in_and_no_redirect_is_followed(endpoint: Endpoint, status: int) -> None:
    endpoint.status = status
    endpoint.headers["location"] = endpoint.url + "/elsewhere"
    with pytest.raises(Unavailable):
        asker(endpoint.url)("cookie")
    assert [path for path, _, _ in endpoint.heard] == ["/who"]


@pytest.mark.parametrize("body", [b"", b"null!", b"[" * 100_000, b'"' + b"x" * 2_000_000 + b'"', b"\xff"])
def test_an_answer_that_is_no_json_or_too_large_lets_nobody_in(endpoint: Endpoint, body: bytes) -> None:
    endpoint.body = body
    with pytest.raises(Unavailable):
        asker(endpoint.url)("cookie")


def test_an_endpoint_that_is_away_lets_nobody_in(endpoint: Endpoint) -> None:
    endpoint.server.shutdown()
    endpoint.server.server_close()
    with pytest.raises(Unavailable):
        asker(endpoint.url)("cookie")


# --- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no_such_module_anywhere:ask", "cannot be loaded"),
        ("json:no_such_function", "cannot be loaded"),
        ("json:__doc__", "is no function"),
    ],
)
def test_a_resolver_that_is_not_there_refuses_the_start(name: str, says: str) -> None:
    with pytest.raises(StartRefused, match=f"auth.resolver: {name} {says}"):
        resolver_of(auth(name), FakeClock())


@pytest.mark.parametrize(
    "text",
    [
        "http://elsewhere/who", "https://user:secret@elsewhere/who", "https:///who", "ftp://elsewhere", "not a name", "module:", ":f",
        "file:///etc/passwd", "http://127.0.0.1.evil.example/who", "http://[::1", "http://127.0.0.1:99999/",
    ],
)  # fmt: skip
def test_credentials_are_sent_encrypted_or_nowhere(text: str) -> None:
    with pytest.raises(StartRefused) as caught:
        auth(text)
    assert "AUTH__RESOLVER" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_resolver_without_tokens_is_refused() -> None:
    with pytest.raises(StartRefused, match="nobody is asked for a credential"):
        load(None, {"OTEL_FINOPS_AUTH__RESOLVER": "host.identity:resolve"})


def test_no_resolver_is_asked_where_none_is_named() -> None:
    assert resolver_of(auth(), FakeClock()) is None


def test_what_the_documentation_says_in_numbers_is_so() -> None:
    text = " ".join(SECURITY.read_text(encoding="utf-8").split())
    assert f"At most {RESOLVER_CALLS_MAX} credentials are asked for at a time" in text
    assert (RESOLVED_REMEMBERED_MAX, resolver_module._UNKNOWN_S) == (10_000, 5)
    assert "refusals for five seconds, ten thousand of each" in text
    said = Auth()
    assert (said.resolver_timeout, said.resolver_cache) == (2, 30)
    assert "`auth.resolver_timeout` (2 s)" in text
    assert "`auth.resolver_cache` (30 s, at most 300)" in text
    assert f"Scanners for secrets find all of them by `{TOKEN_PATTERN}`" in text
    assert f"its first {PREFIX_CHARS} characters" in text


def test_the_example_of_the_documentation_works(monkeypatch: pytest.MonkeyPatch) -> None:
    [example] = re.findall(r"```python\n(.*?)```", SECURITY.read_text(encoding="utf-8"), re.DOTALL)
    module = ModuleType("shop_identity")
    exec(compile(example, "docs/security.md", "exec"), module.__dict__)
    monkeypatch.setitem(__import__("sys").modules, "shop_identity", module)
    principals = Principals(auth(), None, resolver_of(auth("shop_identity:resolve"), FakeClock()))
    module.__dict__["SESSIONS"]["s-1"] = ("ann", "acme", "manager")
    ann = principals("s-1")
    assert (ann.who, ann.tenants, ann.permissions) == ("ann@shop", ("acme",), {"view", "ingest", "manage", "approve"})
    with pytest.raises(Unauthenticated):
        principals("s-2")
