"""Changes that pages of other sites have a browser send are refused, and nothing is changed; those of the console's own pages are done."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest
from console_sites import Site
from playwright.sync_api import Browser
from watched_pages import signed_in

from otel_finops.surfaces.ui import app as _app  # noqa: F401 - registers the pages
from otel_finops.surfaces.ui.page import PAGES

FORM = {"content-type": "application/x-www-form-urlencoded"}
ACTIONS = ["/sign-out", *dict.fromkeys(one.path for one in PAGES if one.changes)]
FOREIGN: dict[str, dict[str, str]] = {
    "another site": {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
    "another site that hides its origin": {"sec-fetch-site": "cross-site", "origin": "null"},
    "a subdomain, or another port": {"sec-fetch-site": "same-site", "origin": "http://sub.HOST"},
    "another site, with our origin": {"sec-fetch-site": "cross-site", "origin": "http://HOST"},
    "our own, says the browser, but from another origin": {"sec-fetch-site": "same-origin", "origin": "https://evil.example"},
    "a sandboxed frame": {"sec-fetch-site": "same-origin", "origin": "null"},
    "no page at all": {"sec-fetch-site": "none"},
    "an old browser that says nothing": {},
    "an old browser on another site": {"origin": "https://evil.example"},
    "an old browser in a sandbox": {"origin": "null"},
    "an old browser on another port": {"origin": "http://HOSTNAME:1"},
    "an old browser on a subdomain": {"origin": "http://sub.HOST"},
    "an old browser on a host that begins like ours": {"origin": "http://HOST.evil.example"},
    "an old browser with our host as user": {"origin": "http://HOST@evil.example"},
    "an old browser, referred by us": {"referer": "http://HOST/"},
}
"""What browsers say of a form's origin, by what it comes from; HOST stands for ours, with its port."""


def headers_from(site: Site, said: dict[str, str]) -> dict[str, str]:
    host = urlsplit(site.url)
    return {name: text.replace("HOSTNAME", host.hostname or "").replace("HOST", host.netloc) for name, text in said.items()}


def state(site: Site) -> list[tuple[object, ...]]:
    """What changes of whoever is signed in leave behind in the trail; the service's own jobs go on meanwhile."""
    with site.core.store.read() as transaction:
        return [tuple(row) for row in transaction.execute("SELECT COUNT(*) FROM audit_entries WHERE who = 'first admin'")]


def posted(site: Site, path: str, headers: dict[str, str], body: bytes = b"name=x&amount=5&why=x") -> httpx.Response:
    assert site.token is not None
    cookies = {"otel_finops_token": site.token}
    return httpx.post(site.url + path.replace("{", "").replace("}", ""), content=body, headers={**FORM, **headers}, cookies=cookies)


@pytest.mark.parametrize("whence", FOREIGN)
def test_a_form_of_another_page_changes_nothing(empty: Site, whence: str) -> None:
    before = state(empty)
    for path in ACTIONS:
        answer = posted(empty, path, headers_from(empty, FOREIGN[whence]))
        assert answer.status_code == 403, f"{path}: {answer.status_code}"
        assert "otel_finops_token" not in answer.headers.get("set-cookie", "")
        assert "content-security-policy" in answer.headers
    assert state(empty) == before


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_json_in_whatever_a_form_may_send_changes_nothing(empty: Site, kind: str) -> None:
    """The console asks where it comes from whatever it is, and the API asks for a token that no other site can have a browser send."""
    before = state(empty)
    said = {"content-type": kind, **headers_from(empty, FOREIGN["another site"])}
    json = b'{"name": "x", "amount": "5"}'
    assert {posted(empty, path, said, json).status_code for path in ACTIONS} == {403}
    assert posted(empty, "/api/v1/budgets", said, json).status_code == 401
    assert posted(empty, "/api/v1/kill_switch/set", said, b'{"scope": "global", "why": "x"}').status_code in (401, 404)
    assert state(empty) == before


@pytest.mark.parametrize(
    "said", [{"sec-fetch-site": "same-origin", "origin": "http://HOST"}, {"sec-fetch-site": "same-origin"}, {"origin": "http://HOST"}]
)
def test_a_form_of_our_own_page_is_taken(empty: Site, said: dict[str, str]) -> None:
    answer = posted(empty, "/sign-out", headers_from(empty, said))
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


@contextmanager
def other_site(html: str) -> Iterator[str]:
    """A site on another port: for cookies the same site as ours, which is the worst case."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = html.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def test_a_real_browser_on_another_port_is_refused_and_on_our_page_is_not(browser: Browser, empty: Site) -> None:
    form = f'<form method="post" action="{empty.url}/sign-out"><button>win a prize</button></form>'
    with signed_in(browser, empty) as context, other_site(form) as elsewhere:
        page = context.new_page()
        page.goto(elsewhere)
        with page.expect_response(f"{empty.url}/sign-out") as answered:
            page.get_by_role("button").click()
        assert answered.value.status == 403
        page.goto(empty.url)  # still signed in
        assert "/sign-in" not in page.url
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in*")


def test_our_pages_show_up_in_no_frame_of_another_site(browser: Browser, empty: Site) -> None:
    with signed_in(browser, empty) as context, other_site(f'<iframe src="{empty.url}/" name="ours"></iframe>') as elsewhere:
        page = context.new_page()
        page.goto(elsewhere)
        page.wait_for_timeout(300)
        framed = page.frame(name="ours")
        assert framed is None or framed.locator("nav").count() == 0
