"""Fetching a list: bounded, and never by a weaker way than the one that was named."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from otel_finops.base import limits
from otel_finops.base.errors import BadInput, TooLarge, Unavailable
from otel_finops.pricing.sources.fetch import checked_url, fetch, shown_url


class Server(ThreadingHTTPServer):
    """Answers each path with what it was told: (status, headers, body)."""

    answers: dict[str, tuple[int, dict[str, str], bytes]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, headers, body = self.server.answers[self.path]  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as opened:
        opened.answers = {"/list": (200, {}, b'{"a": 1}')}
        thread = Thread(target=opened.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield opened
        opened.shutdown()
        thread.join()


def pinned(url: str) -> bytes:
    return fetch(url, pinned=True, timeout_s=5)


def test_plain_http_will_do_where_the_digest_is_known(server: Server) -> None:
    assert pinned(f"{server.url}/list") == b'{"a": 1}'
    with pytest.raises(BadInput, match="http lets anybody on the way change prices"):
        fetch(f"{server.url}/list", pinned=False, timeout_s=5)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("file:///etc/passwd", "write an https:// URL"),
        ("ftp://host/list", "write an https:// URL"),
        ("https://", "write an https:// URL"),
        ("https://user:secret@host/list", "a URL with credentials"),
        ("https://[::1", "not a URL"),
    ],
)
def test_other_places_are_refused(url: str, told: str) -> None:
    with pytest.raises(BadInput, match=told) as raised:
        checked_url(url, pinned=True)
    assert "secret" not in str(raised.value)


def test_redirects_keep_their_scheme_and_end(server: Server) -> None:
    server.answers |= {
        "/moved": (302, {"location": "/list"}, b""),
        "/away": (302, {"location": "file:///etc/passwd"}, b""),
        "/round": (302, {"location": "/round"}, b""),
        "/nowhere": (302, {}, b""),
    }
    assert pinned(f"{server.url}/moved") == b'{"a": 1}'
    for path, told in {"/away": "another scheme", "/nowhere": "another scheme", "/round": "more than 3 redirects"}.items():
        with pytest.raises(BadInput, match=told):
            pinned(server.url + path)


def test_a_large_answer_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PRICE_FILE_BYTES_MAX", 1000)
    server.answers["/large"] = (200, {}, b"0" * 1001)
    with pytest.raises(TooLarge, match="larger than 1000 bytes"):
        pinned(f"{server.url}/large")


def test_errors_name_the_place_without_its_query(server: Server) -> None:
    server.answers |= {"/gone?token=secret": (404, {}, b""), "/ill?token=secret": (503, {}, b"")}
    with pytest.raises(BadInput, match="/gone answered 404") as gone:
        pinned(f"{server.url}/gone?token=secret")
    with pytest.raises(Unavailable, match="/ill answered 503") as ill:
        pinned(f"{server.url}/ill?token=secret")
    with pytest.raises(Unavailable, match="cannot be fetched") as away:
        pinned("http://127.0.0.1:1/list?token=secret")
    assert not any("secret" in str(one.value) for one in (gone, ill, away))
    assert shown_url("https://host/a?b=c#d") == "https://host/a"
