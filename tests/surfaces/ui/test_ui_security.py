"""What the console does to those who mean it ill: other sites, strangers, rude clients, hostile texts, tokens that are taken back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from starlette.requests import Request
from starlette.testclient import TestClient
from ui_console import console_over

import otel_finops.surfaces.ui as ui
from otel_finops.base.errors import Unauthenticated, Unavailable
from otel_finops.base.limits import LIVE_VIEWERS_MAX, LIVE_VIEWERS_OF_ONE_MAX
from otel_finops.identity.principals import Principal
from otel_finops.identity.roles import ROLES
from otel_finops.operations.local import Room
from otel_finops.operations.registry import invoke
from otel_finops.surfaces.ui import live as live_module
from otel_finops.surfaces.ui import page as page_module
from otel_finops.surfaces.ui.live import LIVE, Live
from otel_finops.surfaces.ui.page import PAGES, Declared, Page
from otel_finops.surfaces.ui.rendering import Renderer
from otel_finops.surfaces.ui.session import TOKEN_COOKIE
from otel_finops.surfaces.ui.static_files import StaticFiles

FOLDER = Path(ui.__file__).parent
TEMPLATES = sorted((FOLDER / "templates").rglob("*.html"))


class Door:
    """Knows one token, until it is closed."""

    def __init__(self) -> None:
        self.open = True

    def __call__(self, token: str | None) -> Principal:
        if token != "right" or not self.open:
            raise Unauthenticated("This token is not known.")
        return Principal("ann", None, ROLES["admin"])


DOOR = Door()


@pytest.fixture
def door() -> Iterator[Door]:
    """The door of `locked`, open again afterwards."""
    yield DOOR
    DOOR.open = True


@pytest.fixture(scope="module")
def closed(room: Room) -> Iterator[TestClient]:
    settings = room.context.settings
    asking = settings.model_copy(update={"auth": settings.auth.model_copy(update={"mode": "token"})})
    with console_over(replace(room.context, settings=asking), DOOR) as client:
        yield client


@pytest.fixture
def locked(closed: TestClient) -> TestClient:
    """The console where tokens are asked for, in a browser that has no cookies."""
    closed.cookies.clear()
    return closed


# --- pages of other sites ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/waste", "/live/events", "/download/usage.export", "/no-such-page"])
@pytest.mark.parametrize(
    "said",
    [
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
    ],
)
def test_no_other_site_loads_a_page_into_its_own(console: TestClient, path: str, said: dict[str, str]) -> None:
    """Not even where everybody is in: it would take the places of what takes long, and could tell times from answers."""
    answer = console.get(path, headers=said)
    assert answer.status_code in (403, 404) or (path == "/live/events" and answer.status_code == 204)
    assert not re.search(r"<(table|svg)", answer.text)


def test_a_link_of_another_site_opens_a_page(console: TestClient) -> None:
    said = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    opened = console.get("/jobs", headers=said)
    assert opened.status_code == 200
    assert opened.headers["cross-origin-opener-policy"] == "same-origin"
    assert opened.headers["x-frame-options"] == "DENY"
    assert opened.headers["referrer-policy"] == "same-origin"


def test_the_cookie_goes_by_tls_alone_where_the_browser_came_by_it(locked: TestClient) -> None:
    """A proxy before the service may end TLS: then the service sees plain HTTP, and the browser says what it sees itself."""
    host = {"Host": "finops.example"}
    plain = locked.post("/sign-in", data={"token": "right"}, headers={**host, "Origin": "http://finops.example"})
    proxied = locked.post("/sign-in", data={"token": "right"}, headers={**host, "Origin": "https://finops.example"})
    assert "secure" not in plain.headers["set-cookie"].lower()
    assert "secure" in proxied.headers["set-cookie"].lower()
    assert all("httponly" in one.headers["set-cookie"].lower() for one in (plain, proxied))


def test_nothing_of_a_page_stays_in_the_browser_after_signing_out(locked: TestClient) -> None:
    locked.post("/sign-in", data={"token": "right"})
    assert locked.get("/jobs").headers["cache-control"] == "no-store"
    away = locked.post("/sign-out")
    assert 'otel_finops_token=""' in away.headers["set-cookie"]
    assert locked.get("/jobs").status_code == 303


# --- strangers and rude clients ------------------------------------------------------------------------------------


def spoken(client: TestClient, method: str, path: str, headers: dict[str, str], body: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the application sends to a client that sends these messages, and then nothing more."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        assert body, "the body was read"
        return body.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    anyio.run(client.app, scope_of(method, path, headers), receive, send)
    return sent


def scope_of(method: str, path: str, headers: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
        "headers": [(name.lower().encode(), text.encode()) for name, text in {"Host": "testserver", **headers}.items()],
    }  # fmt: skip


@pytest.mark.parametrize("path", sorted({one.path for one in PAGES if one.changes}))
def test_of_a_stranger_no_form_is_read(locked: TestClient, path: str) -> None:
    headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded", "Content-Length": "8000000"}
    sent = spoken(locked, "POST", path, headers, [])
    assert sent[0]["status"] == 303
    assert (b"location", b"/sign-in?next=%2F") in sent[0]["headers"]


def test_whoever_signs_in_sends_a_token_and_no_more(locked: TestClient) -> None:
    assert locked.post("/sign-in", data={"token": "x" * 20_000}).status_code == 400
    assert locked.post("/sign-in", data={f"f{number}": "x" for number in range(10_000)}).status_code == 400
    assert locked.post("/sign-in", files={"token": b"right"}).status_code == 401


MULTIPART = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nv\r\n'


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (MULTIPART, b"no boundary anywhere"),
        (MULTIPART, b"--y\r\n\r\n"),
        (MULTIPART, b"--x\r\nContent-Disposition: form-data\r\n\r\nv\r\n--x--\r\n"),
        (MULTIPART, b"--x\r\n\x00\x00: y\r\n\r\nv\r\n--x--\r\n"),
        ("multipart/form-data", PART),
        ("multipart/form-data; boundary=x; charset=\x00", PART + b"--x--\r\n"),
        (MULTIPART, PART * 201 + b"--x--\r\n"),
        (MULTIPART, PART.replace(b'name"\r', b'name"; filename="f"\r') * 2 + b"--x--\r\n"),
        ("application/x-www-form-urlencoded", b"&".join(b"f%d=x" % number for number in range(10_000))),
        ("application/x-www-form-urlencoded", b"name=" + b"x" * 1_100_000),
        ("application/x-www-form-urlencoded", b"\xff\xfe=%ff%00&%=%&=&&=="),
        ("application/json", b'{"name": "x"}'),
        ("text/plain", b"name=x"),
        ("\xff\xfe", b"name=x"),
    ],
)
def test_a_form_that_is_none_is_a_fault_of_whoever_sent_it(console: TestClient, kind: str, body: bytes) -> None:
    answer = console.post("/budgets/new", content=body, headers={b"Content-Type": kind.encode("latin-1")})
    assert answer.status_code == 400, answer.text


def test_a_form_that_is_cut_off_is_no_fault_of_ours(console: TestClient) -> None:
    headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
    pieces: list[dict[str, Any]] = [{"type": "http.request", "body": b"name=", "more_body": True}, {"type": "http.disconnect"}]
    assert spoken(console, "POST", "/budgets/new", headers, pieces)[0]["status"] == 400


@pytest.mark.parametrize(("method", "path", "allowed"), [
    ("PUT", "/budgets", "GET, HEAD, OPTIONS"),
    ("GET", "/tokens/create", "OPTIONS, POST"),
    ("DELETE", "/budgets/new", "GET, HEAD, OPTIONS, POST"),
    ("POST", "/live/events", "GET, HEAD, OPTIONS"),
])  # fmt: skip
def test_a_method_that_a_path_does_not_take(console: TestClient, method: str, path: str, allowed: str) -> None:
    answer = console.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert console.options(path).status_code == 204
    assert console.options(path).headers["allow"] == allowed


def test_a_head_is_a_page_without_its_body(console: TestClient) -> None:
    for path in ("/jobs", "/live/events", "/download/usage.export?format=csv"):
        answer = console.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("cookie", [b"\xff\xfe\x00", b"x" * 8_000, b'"; Path=/', b"%00%ff%0d%0aX: y", "ключ".encode()])
@pytest.mark.parametrize("name", [TOKEN_COOKIE, "otel_finops_notice", "otel_finops_theme", "otel_finops_zone"])
def test_cookies_of_any_kind_break_nothing(locked: TestClient, name: str, cookie: bytes) -> None:
    said = {"Cookie": name.encode() + b"=" + cookie + (b"" if name == TOKEN_COOKIE else b"; " + TOKEN_COOKIE.encode() + b"=right")}
    answer = locked.get("/jobs", headers=said)  # type: ignore[arg-type]
    assert answer.status_code == (303 if name == TOKEN_COOKIE else 200)
    assert "X: y" not in str(answer.headers)


@pytest.mark.parametrize(
    "query",
    ["zone=../../etc/passwd", "zone=%00", "zone=" + "A/" * 500, "range=%00", "cursor=%ff%00", "cursor=" + "A" * 3_000, "from=%F0%9F%92%A9",
     "from=99999999999999999999", "from=2026-11-01&to=2026-10-01", "limit=-1", "limit=1e9", "tenant=%00", "tenant=%ED%A0%80", "sort=;--"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/traces", "/usage", "/budgets"])
def test_addresses_of_any_kind_are_told_what_is_wrong(console: TestClient, path: str, query: str) -> None:
    assert console.get(f"{path}?{query}").status_code in (200, 400)


@pytest.mark.parametrize(
    "name", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "....//app.py", "/etc/passwd", "app.css%00", "..\\app.py", ""]
)
def test_no_file_but_the_consoles_own_is_handed_out(console: TestClient, name: str) -> None:
    assert console.get(f"/static/x/{name}").status_code == 404
    assert console.get(f"/download/{name}").status_code == 404


# --- the service is in trouble -------------------------------------------------------------------------------------


def test_a_database_that_is_away_is_told_politely(console: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of the fault asks no operation: nobody would be told anything then."""

    def away(*_: Any, **__: Any) -> Any:
        raise Unavailable("The database does not answer.", retry_after_s=3)

    monkeypatch.setattr(page_module, "invoke", away)
    for path in ("/", "/budgets", "/tokens"):
        answer = console.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
        assert "The database does not answer." in answer.text
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_a_form_that_the_database_cannot_take_now_keeps_what_was_typed(console: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:

    def locked(one: Any, *given: Any, **more: Any) -> Any:
        if one.changes:
            raise Unavailable("The database is locked.", retry_after_s=3)
        return invoke(one, *given, **more)

    monkeypatch.setattr(page_module, "invoke", locked)
    answer = console.post("/budgets/new", data={"name": "what I typed", "amount": "5", "scope": "tenant=acme"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
    assert 'value="what I typed"' in answer.text
    assert "The database is locked." in answer.text


def test_a_fault_of_ours_tells_no_more_than_where_it_is_logged(
    console: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("SELECT secret FROM tokens")

    monkeypatch.setattr(page_module, "invoke", broken)
    answer = console.get("/jobs", headers={"X-Request-Id": "this-one"})
    assert answer.status_code == 500
    assert "this-one" in answer.text
    assert "SELECT" not in answer.text
    assert "SELECT secret" in caplog.text


# --- tokens that are taken back ------------------------------------------------------------------------------------


def test_a_token_that_is_revoked_while_its_form_arrives_changes_nothing(locked: TestClient, door: Door) -> None:
    """Who sends it is known before it is read, and asked anew behind it."""

    class Slow(list[dict[str, Any]]):
        def pop(self, *_: Any) -> dict[str, Any]:
            door.open = False
            return super().pop(0)

    headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded", "Cookie": f"{TOKEN_COOKIE}=right"}
    sent = spoken(locked, "POST", "/budgets/new", headers, Slow([{"type": "http.request", "body": b"name=x&amount=5", "more_body": False}]))
    assert sent[0]["status"] == 303
    assert (b"location", b"/sign-in?next=%2F") in sent[0]["headers"]


def test_a_file_breaks_off_when_its_token_is_revoked(locked: TestClient, door: Door) -> None:
    """As every HTTP/1.1 client sees: the last chunk is missing."""
    headers = {"Sec-Fetch-Site": "same-origin", "Cookie": f"{TOKEN_COOKIE}=right"}
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)
        door.open = False

    anyio.run(locked.app, scope_of("GET", "/download/usage.export", headers), receive, send)
    assert sent[0]["status"] == 200
    assert all(message.get("more_body", True) for message in sent)


def request(path: str = "/live/events", query: bytes = b"") -> Request:
    return Request({
        "type": "http", "method": "GET", "scheme": "http", "path": path, "query_string": query, "headers": [], "path_params": {},
        "client": ("127.0.0.1", 1), "server": ("testserver", 80), "state": {"request_id": "r"},
    })  # fmt: skip


def viewer(room: Room, who: str, query: bytes = b"") -> Page:
    fragments = SimpleNamespace(html=lambda *_: "<tr></tr>")
    return Page(request(query=query), Principal(who, None, ROLES["viewer"]), room.context, LIVE, fragments)  # type: ignore[arg-type]


async def events(live: Live, page: Page, most: int) -> list[bytes]:
    """What a viewer is sent, until he goes away after so many."""
    sent: list[bytes] = []
    with anyio.CancelScope() as gone:

        async def receive() -> dict[str, Any]:
            await anyio.sleep_forever()
            raise AssertionError

        async def send(message: Any) -> None:
            sent.append(message.get("body", b""))
            if len(sent) > most:
                gone.cancel()
                await anyio.sleep(0)

        await live.answer(page)({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)
    return sent[1:]


def test_a_live_page_gives_its_place_back_when_it_goes_away(room: Room) -> None:
    live = Live(lambda _: None, pause_s=0)
    for _ in range(LIVE_VIEWERS_MAX + 1):
        anyio.run(events, live, viewer(room, "ann"), 2)
        assert live.viewers == 0


def test_nobody_takes_all_places_of_live_pages(room: Room) -> None:
    live = Live(lambda _: None, pause_s=0.01)

    async def many() -> tuple[list[bytes], list[bytes]]:
        async with anyio.create_task_group() as tasks:
            for _ in range(LIVE_VIEWERS_OF_ONE_MAX):
                tasks.start_soon(events, live, viewer(room, "ann"), 10_000)
            while live.viewers < LIVE_VIEWERS_OF_ONE_MAX:
                await anyio.sleep(0.01)
            one_more = await events(live, viewer(room, "ann"), 5)
            another = await events(live, viewer(room, "ben"), 2)
            tasks.cancel_scope.cancel()
        return one_more, another

    one_more, another = anyio.run(many)
    assert one_more[-2:] == [b"retry: 10000\nevent: end\ndata: too-many\n\n", b""]
    assert b"too-many" not in b"".join(another)
    assert live.viewers == 0


def test_a_live_page_that_takes_nothing_is_cut_off(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "LIVE_STALL_S", 0.05)
    live = Live(lambda _: None, pause_s=0)

    async def stalled() -> None:
        async def receive() -> dict[str, Any]:
            await anyio.sleep_forever()
            raise AssertionError

        async def send(message: Any) -> None:
            if b"event: rows" in message.get("body", b"") or b": nothing" in message.get("body", b""):
                await anyio.sleep_forever()

        await live.answer(viewer(room, "ann"))({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)

    anyio.run(stalled)
    assert live.viewers == 0


def test_a_live_page_ends_with_its_token(room: Room) -> None:
    told = iter([None, None])

    def still(_: Page) -> None:
        if next(told, "end") == "end":
            raise Unauthenticated("This token is not known.")

    sent = anyio.run(events, Live(still, pause_s=0), viewer(room, "ann"), 50)
    assert sent[-2:] == [b"event: end\ndata: signed-out\n\n", b""]
    assert len(sent) == 5  # how soon to come again, two looks, the end, nothing more


def test_a_live_page_with_a_bad_filter_is_told_so(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    sent = anyio.run(events, Live(lambda _: None, pause_s=0), viewer(room, "ann", b"status=nonsense"), 5)
    assert sent[1] == b"event: end\ndata: bad-address\n\n"
    assert not caplog.records


# --- hostile texts -------------------------------------------------------------------------------------------------


def page_at(room: Room, path: str, declared: Declared = LIVE) -> Page:
    return Page(request(path), Principal("ann", None, ROLES["viewer"]), room.context, declared, SimpleNamespace())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/sessions/a}b{c", "/sessions/a%7Db%7Bc"),
        ("/sessions/{0.__class__}", "/sessions/%7B0.__class__%7D"),
        ("/sessions/a?b#c", "/sessions/a%3Fb%23c"),
        ('/sessions/"><b>', "/sessions/%22%3E%3Cb%3E"),
        ("/sessions/a%2Fb", "/sessions/a%252Fb"),
        ("/sessions/\u202eא", "/sessions/%E2%80%AE%D7%90"),
        ("//evil.example/", "/evil.example/"),
        ("/\\evil.example", "/%5Cevil.example"),
    ],
)
def test_what_a_path_holds_leads_back_to_the_same_page(room: Room, path: str, said: str) -> None:
    page = page_at(room, path)
    assert page.own_path == said
    assert page.here(sort="cost") == f"{said}?sort=cost"


def test_what_shows_a_forms_faults_leads_to_the_page_of_the_form(room: Room) -> None:
    action = next(one for one in PAGES if one.path == "/tokens/create")
    assert page_at(room, "/tokens/create", action).own_path == "/tokens"


def test_links_lead_to_the_console_alone(room: Room) -> None:
    page = page_at(room, "/")
    assert page.url("//evil.example/x") == "/evil.example/x"
    assert page.url("/\\evil.example") == "/evil.example"
    assert page.url("/sessions/{session}", session="../../x?y#z{0}") == "/sessions/..%2F..%2Fx%3Fy%23z%7B0%7D"


def test_no_text_is_marked_as_safe_and_nothing_runs_inline() -> None:
    """Templates escape everything; what is markup comes from the drawings alone, which escape their texts themselves."""
    for template in TEMPLATES:
        text = template.read_text()
        assert not re.search(r"\|\s*safe\b|autoescape|<[^>]*\sstyle=|<[^>]*\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)|<style", text), (
            template
        )
        assert not re.search(r"(href|action|src|hx-[a-z]+)=\"(https?:)?//", text), template
    for module in FOLDER.rglob("*.py"):
        if module.parent.name != "drawings":
            assert "Markup(" not in module.read_text(), module
            assert "|safe" not in module.read_text(), module


def test_the_json_of_a_chart_cannot_end_its_attribute() -> None:
    """Whatever a model is called."""
    templates = Renderer(StaticFiles(), "1", {})._templates
    made = templates.from_string('{% import "macros.html" as ui %}{{ ui.chart(name, chart) }}')
    name = "\"'><script>alert(1)</script>\x00\u202e"
    html = made.render(name=name, chart={"series": [{"name": name}]}, locale="en")
    assert html.count("<") == 2
    assert html.count('"') == 2 * 5
