"""What all pages have in common: who gets in, what a form may change, what a bad URL is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from ui_console import console_over

from otel_finops.base.errors import Unauthenticated
from otel_finops.identity.principals import Principal
from otel_finops.identity.roles import ROLES
from otel_finops.operations.local import Room, open_room, upgrade_database
from otel_finops.settings import load
from otel_finops.surfaces.ui.page import PAGES
from otel_finops.testing import FakeClock


def who(token: str | None) -> Principal:
    """Knows one token."""
    if token != "right":
        raise Unauthenticated("This token is not known.")
    return Principal("ann", None, ROLES["admin"])


@pytest.fixture
def locked(room: Room) -> Iterator[TestClient]:
    """The console where tokens are asked for."""
    settings = room.context.settings
    closed = settings.model_copy(update={"auth": settings.auth.model_copy(update={"mode": "token"})})
    with console_over(replace(room.context, settings=closed), who) as client:
        yield client


def test_every_page_says_what_it_may_load(console: TestClient) -> None:
    for path in ("/", "/explore", "/no-such-page", "/static/x/none.css"):
        policy = console.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_who_is_not_signed_in_signs_in_and_comes_back(locked: TestClient) -> None:
    away = locked.get("/explore?by=agent")
    assert (away.status_code, away.headers["location"]) == (303, "/sign-in?next=%2Fexplore%3Fby%3Dagent")
    wrong = locked.post(away.headers["location"], data={"token": "wrong"})
    assert wrong.status_code == 401
    assert "This token is not known." in wrong.text
    assert "wrong" not in wrong.text.split("<main")[1].replace("unknown", "")
    back = locked.post(away.headers["location"], data={"token": "right"})
    assert (back.status_code, back.headers["location"]) == (303, "/explore?by=agent")
    assert all(word in back.headers["set-cookie"] for word in ("HttpOnly", "SameSite=lax"))
    assert locked.get("/explore?by=agent").status_code == 200
    locked.post("/sign-out")
    assert locked.get("/explore").status_code == 303


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb"])
def test_signing_in_leads_nowhere_else(locked: TestClient, target: str) -> None:
    assert locked.post("/sign-in", params={"next": target}, data={"token": "right"}).headers["location"] == "/"


def test_the_cookie_opens_no_door_of_the_api(locked: TestClient) -> None:
    """A page of another site could have it sent along."""
    locked.post("/sign-in", data={"token": "right"})
    assert locked.get("/").status_code == 200
    assert locked.get("/api/v1/tokens/whoami").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "", "Origin": "null"},
        {"Sec-Fetch-Site": "", "Origin": "http://testserver:81"},
        {"Sec-Fetch-Site": "", "Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
        {"Sec-Fetch-Site": ""},
    ],
)
def test_a_form_of_another_page_changes_nothing(locked: TestClient, headers: dict[str, str]) -> None:
    refused = locked.post("/sign-in", data={"token": "right"}, headers=headers)
    assert refused.status_code == 403
    assert "set-cookie" not in refused.headers


def test_an_old_browser_is_known_by_its_origin(locked: TestClient) -> None:
    headers = {"Sec-Fetch-Site": "", "Origin": "http://testserver"}
    assert locked.post("/sign-in", data={"token": "right"}, headers=headers).status_code == 303


def test_an_empty_ledger_says_how_to_send_the_first_span(tmp_path: Path) -> None:
    settings = load(None, {"OTEL_FINOPS_DATABASE__URL": f"sqlite:///{tmp_path}/ledger.db"})
    upgrade_database(settings, FakeClock())
    with open_room(settings, clock=FakeClock()) as empty:
        page = console_over(empty.context, lambda _: who("right")).get("/").text
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318" in page
    assert "endpoint: 127.0.0.1:4317" in page


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/explore?range=5y", "range: must be one of"),
        ("/explore?zone=Mars/Base", "zone: there is no time zone"),
        ("/explore?by=nonsense", "by: must be one of"),
        ("/?split=nonsense", "split: must be"),
        ("/?from=yesterday", "from: "),
    ],
)
def test_a_bad_address_is_told_what_is_wrong(console: TestClient, path: str, said: str) -> None:
    answer = console.get(path)
    assert answer.status_code == 400
    assert said in answer.text


def test_the_overview_shows_the_ledgers_figures(console: TestClient, api: TestClient) -> None:
    """Whatever the API says of a month stands on the page."""
    query = {"from": "2026-11-01", "to": "2026-12-01"}
    window = api.get("/api/v1/dashboard/kpis", params={**query, "zone": "UTC"}).json()["window"]
    page = console.get("/", params={**query, "zone": "UTC"}).text
    assert f'title="${window["cost_usd"]}"' in page
    assert f"<dd>{window['calls']}</dd>" in page


def test_every_page_has_the_call_and_the_command_behind_it(console: TestClient) -> None:
    page = console.get("/explore?by=agent&from=2026-11-01&to=2026-12-01&provider=openai").text
    assert "otel-finops spend report --provider openai --from 2026-11-01" in page
    assert "/api/v1/spend/report?" in page or "/api/v1/spend?" in page


def test_what_a_role_may_not_do_is_not_shown(console_as: Callable[..., TestClient]) -> None:
    viewer = console_as("viewer").get("/explore").text
    for declared in PAGES:
        if declared.is_entry and set(declared.needs) <= {"audit.list", "settings.show", "tokens.list"}:
            assert f'href="{declared.path}"' not in viewer
            assert console_as("viewer").get(declared.path).status_code == 403


def test_a_file_has_the_rows_of_the_page(console: TestClient) -> None:
    file = console.get("/download/spend.export?format=csv&group_by=model&from=2026-11-01&to=2026-12-01")
    assert file.headers["content-disposition"].startswith("attachment")
    assert file.text.startswith("model,")
    assert console.get("/download/budgets.create").status_code == 404


def test_files_are_kept_by_browsers_until_they_change(console: TestClient) -> None:
    page = console.get("/").text
    path = page.split('rel="stylesheet" href="')[2].split('"')[0]
    assert "immutable" in console.get(path).headers["cache-control"]
    assert console.get("/static/old/app.css").headers["cache-control"] == "no-cache"
    assert console.get("/static/old/../app.py").status_code == 404


def test_what_takes_long_says_so_at_once(console: TestClient) -> None:
    """A browser that opens the page gets one that fetches the rest; a script, and who has none, get all of it."""
    opened = console.get("/waste", headers={"Sec-Fetch-Mode": "navigate"}).text
    assert 'hx-get="/waste?wait=1"' in opened
    assert "looked at" not in opened
    waited = console.get("/waste?wait=1", headers={"Sec-Fetch-Mode": "navigate"})
    for whole in (waited, console.get("/waste", headers={"HX-Request": "true"})):
        assert "looked at" in whole.text
        assert "wait=1" not in whole.text.split("<main")[1]
    quick = console.get("/explore?by=model", headers={"Sec-Fetch-Mode": "navigate"}).text
    assert "hx-get" not in quick


def test_without_the_console_the_index_page_says_what_runs(api: TestClient) -> None:
    """`features.console` off: nothing but the API, the probes and a page that says how to send the first span."""
    assert "What listens here" in api.get("/").text
    assert api.get("/explore").status_code == 404
