"""Alerts in the console: what stands, rules, channels, routes and deliveries."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.routing import compile_path
from starlette.testclient import TestClient
from ui_console import console_over, copied_ledger

from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.operations.local import Room, open_room
from otel_finops.settings import load
from otel_finops.surfaces.ui.page import PAGES
from otel_finops.surfaces.ui.pages.alerts import quantities
from otel_finops.testing import FakeClock

READ = [
    "/alerts", "/alerts/rules", "/alerts/rules/1", "/alerts/channels", "/alerts/channels/1", "/alerts/routes/1", "/alerts/deliveries",
    "/alerts/deliveries/1",
]  # fmt: skip
FEEDS = Path(__file__).parents[3] / "otel_finops" / "alerting"


@pytest.fixture(scope="module")
def own(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """A ledger that these tests change: two rules of kill switches, one alert, one channel with its route, one failed delivery."""
    url = copied_ledger(database, tmp_path_factory.mktemp("alerts"))
    with open_room(load(None, {"OTEL_FINOPS_DATABASE__URL": url}), clock=FakeClock()) as room:
        yield room


@pytest.fixture(scope="module")
def mine(own: Room) -> TestClient:
    return console_over(own.context, lambda _: LOCAL)


@pytest.fixture(scope="module")
def viewer(own: Room) -> TestClient:
    return console_over(own.context, lambda _: Principal("ann", None, ROLES["viewer"]))


def words(page: str) -> str:
    """What a page says, without its markup."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


# --- alerts -----------------------------------------------------------------------------------------------------------


def test_an_alert_is_muted_and_heard_of_again(mine: TestClient) -> None:
    page = mine.get("/alerts").text
    alert = re.findall(r'name="alert" value="([^"]+)"', page)[0]
    assert "firing" in words(page)
    silent = mine.post("/alerts/mutes", data={"alert": alert, "hours": "2", "why": ""})
    assert silent.status_code == 400
    assert f'<input type="hidden" name="alert" value="{alert}">' in silent.text
    assert mine.post("/alerts/mutes", data={"alert": alert, "hours": "2", "why": "known"}).status_code == 303
    muted = mine.get("/alerts").text
    assert "known" in words(muted.split('id="mutes"')[1])
    assert mine.post("/alerts/mutes/end", data={"alert": alert, "why": "over"}).status_code == 303
    assert 'id="mutes"' not in mine.get("/alerts").text


def test_a_check_can_be_tried_first(mine: TestClient) -> None:
    page = mine.post("/alerts/check", data={"do": "try"})
    assert page.status_code == 200
    assert "What a check would tell now" in page.text
    assert mine.post("/alerts/check", data={"do": "check"}).headers["location"] == "/alerts"


def test_filters_stand_in_the_url(mine: TestClient) -> None:
    assert "No alert fits these filters." in mine.get("/alerts?severity=critical&phase=pending").text
    assert "<article" in mine.get("/alerts?rule_no=2").text


def test_figures_are_written_as_what_they_are() -> None:
    figures = {"percent": "80", "booked": "12.5", "limit": "15", "unit": "EUR", "chance": "0.80", "times": "3.4", "input_before": "1"}
    assert quantities({"figures": figures}) == [
        ("percent", "percent", "80", "EUR"), ("booked", "money", "12.5", "EUR"), ("limit", "money", "15", "EUR"),
        ("chance", "chance", "0.80", "EUR"), ("times", "plain", "3.4", "EUR"),
    ]  # fmt: skip
    assert quantities({"figures": {"booked": "1200", "unit": "tokens"}}) == [("booked", "count", "1200", "tokens")]


def test_alerts_lead_to_pages_of_the_console() -> None:
    said = [link for file in FEEDS.glob("*_feeds.py") for link in re.findall(r'link=f?"([^"]+)"', file.read_text(encoding="utf-8"))]
    assert len(said) > 5
    pages = [compile_path(one.path)[0] for one in PAGES if not one.changes]
    for link in said:
        path = re.sub(r"{[^}]+}", "7", link)
        assert any(one.match(path) for one in pages), link


# --- rules ------------------------------------------------------------------------------------------------------------


def test_a_kind_explains_its_parameters(mine: TestClient) -> None:
    page = mine.get("/alerts/rules/new?kind=unpriced").text
    assert 'name="param.percent" value="5"' in page
    assert "Above how many percent of the tokens have no price. Usual: 5." in page
    assert mine.get("/alerts/rules/new?kind=other").status_code == 404


def test_a_rule_is_tried_made_changed_and_taken_away(mine: TestClient) -> None:
    said = {"kind": "unpriced", "name": "No price", "severity": "critical", "param.percent": "5", "param.hours": "24", "param.tokens": "0"}
    tried = mine.post("/alerts/rules/new", data={**said, "do": "try"})
    assert tried.status_code == 200
    assert "What it finds now" in tried.text
    assert "No price" not in mine.get("/alerts/rules").text
    made = mine.post("/alerts/rules/new", data={**said, "do": "store"})
    assert made.status_code == 303
    place = made.headers["location"]
    assert "No price" in mine.get("/alerts/rules").text
    revision = int(re.findall(r'name="revision" value="(\d+)"', mine.get(place).text)[0])
    changed = {**said, "revision": f"{revision}", "param.percent": "7", "quiet": "22:00-07:00", "labels": "team=ml", "do": "store"}
    assert mine.post(place, data=changed).status_code == 303
    page = mine.get(place).text
    assert 'name="param.percent" value="7"' in page
    assert 'value="22:00-07:00"' in page
    assert "percent=7" in page
    late = mine.post(place, data={**changed, "quiet": "", "do": "store"})
    assert late.status_code == 400
    assert "look at it again" in late.text
    newer = re.findall(r'name="revision" value="(\d+)"', mine.get(place).text)[0]
    cleared = mine.post(place, data={**changed, "revision": newer, "quiet": "", "labels": "", "do": "store"})
    assert cleared.status_code == 303
    assert 'value="22:00-07:00"' not in mine.get(place).text
    assert "team=ml" not in mine.get(place).text
    assert mine.post(f"{place}/delete").headers["location"] == "/alerts/rules"
    assert "taken away" in mine.get(place).text


def test_a_parameter_that_is_wrong_is_marked(mine: TestClient) -> None:
    said = {"kind": "unpriced", "name": "Wrong", "param.percent": "many", "param.hours": "24", "param.tokens": "0", "do": "store"}
    answer = mine.post("/alerts/rules/new", data=said)
    assert answer.status_code == 400
    field = answer.text.split('name="param.percent"')[1].split("</div>")[0]
    assert "a decimal number" in field
    assert 'name="name" value="Wrong"' in answer.text


# --- channels ---------------------------------------------------------------------------------------------------------


def test_the_key_of_a_webhook_is_shown_once(mine: TestClient) -> None:
    secret = "https://hooks.example.com/t0ken"
    made = mine.post("/alerts/channels/new", data={"type": "webhook", "name": "Desk", "url": secret, "enabled": "true"})
    assert (made.status_code, made.headers["cache-control"]) == (200, "no-store")
    [key] = re.findall(r"whsec_[A-Za-z0-9+/=]+", made.text)
    place = re.findall(r'href="(/alerts/channels/\d+)"', made.text)[0]
    rotated = mine.post(f"{place}/rotate-key")
    [other] = re.findall(r"whsec_[A-Za-z0-9+/=]+", rotated.text)
    assert other != key
    for path in (place, "/alerts/channels", "/audit"):
        page = mine.get(path).text
        assert not any(hidden in page for hidden in (key, other, "t0ken"))
    assert mine.post(f"{place}/delete").headers["location"] == "/alerts/channels"


def test_what_is_secret_is_typed_anew(mine: TestClient) -> None:
    said = {"type": "webhook", "name": "", "url": "https://hooks.example.com/t0ken", "password": "pa55", "key": "whsec_short"}
    answer = mine.post("/alerts/channels/new", data=said)
    assert answer.status_code == 400
    assert not any(hidden in answer.text for hidden in ("t0ken", "pa55", "whsec_short"))


def test_a_test_says_what_came_of_it(mine: TestClient) -> None:
    """Its name stands for no address; mail needs a server in the settings, which there is none of."""
    mail = mine.post("/alerts/channels/new", data={"type": "mail", "name": "People", "to": "ops@example.com", "enabled": "true"})
    assert mail.status_code == 400
    assert "the settings name no mail server" in mail.text
    made = mine.post("/alerts/channels/new", data={"type": "slack", "name": "People", "url": "https://hooks.invalid/x", "enabled": "true"})
    assert made.status_code == 303
    tested = mine.post(f"{made.headers['location']}/test", data={"severity": "warning"})
    assert tested.status_code == 200
    assert "The test failed" in words(tested.text)
    assert "Its last deliveries" in mine.get(made.headers["location"]).text
    changed = mine.post(made.headers["location"], data={"name": "Everybody", "enabled": "false"})
    assert changed.status_code == 303
    assert "Everybody off" in words(mine.get("/alerts/channels").text)


def test_a_route_is_made_changed_and_taken_away(mine: TestClient) -> None:
    said = {"name": "Bad ones", "channels": "1", "kinds": "budget", "min_severity": "critical", "resolved": "true", "enabled": "true"}
    assert mine.post("/alerts/routes/new", data={**said, "channels": ""}).status_code == 400
    assert mine.post("/alerts/routes/new", data=said).status_code == 303
    number = max(map(int, re.findall(r"/alerts/routes/(\d+)", mine.get("/alerts/channels").text)))
    assert mine.post(f"/alerts/routes/{number}", data={**said, "kinds": ""}).status_code == 303
    assert "all kinds, critical and worse" in words(mine.get(f"/alerts/routes/{number}").text)
    assert mine.post(f"/alerts/routes/{number}/delete").status_code == 303
    assert "Bad ones" not in mine.get("/alerts/channels").text.split("<main")[1].split('role="status"')[1].split("</p>", 1)[1]


def test_a_delivery_that_was_given_up_is_tried_again(mine: TestClient) -> None:
    assert "answered 410" in mine.get("/alerts/deliveries?status=failed").text
    assert "8 of 10 USD" in mine.get("/alerts/deliveries/1").text
    assert mine.post("/alerts/deliveries/1/retry").status_code == 303
    assert "waiting" in words(mine.get("/alerts/deliveries/1").text)
    again = mine.post("/alerts/deliveries/1/retry")
    assert again.status_code == 400
    assert mine.get("/alerts/deliveries/none").status_code == 404


# --- roles ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", READ)
def test_a_viewer_reads_and_changes_nothing(viewer: TestClient, path: str) -> None:
    answer = viewer.get(path)
    assert answer.status_code == 200
    assert 'method="post"' not in answer.text
    assert "/new" not in answer.text.split("<main")[1]


@pytest.mark.parametrize(
    "path",
    ["/alerts/mutes", "/alerts/mutes/end", "/alerts/check", "/alerts/rules/new", "/alerts/rules/1", "/alerts/rules/1/delete",
     "/alerts/channels/new", "/alerts/channels/1", "/alerts/channels/1/test", "/alerts/channels/1/rotate-key", "/alerts/channels/1/delete",
     "/alerts/routes/new", "/alerts/routes/1", "/alerts/routes/1/delete", "/alerts/deliveries/1/retry", "/alerts/deliveries/run"],
)  # fmt: skip
def test_what_is_not_shown_is_refused_all_the_same(viewer: TestClient, path: str) -> None:
    assert viewer.post(path, data={"kind": "budget", "type": "mail"}).status_code == 403


def test_another_tenants_channel_is_not_there(own: Room) -> None:
    stranger = console_over(own.context, lambda _: Principal("gus", ("globex",), ROLES["manager"]))
    assert stranger.get("/alerts/channels/1").status_code == 404
    assert stranger.get("/alerts/rules/1").status_code == 404
    assert "acme" not in stranger.get("/alerts/channels").text
