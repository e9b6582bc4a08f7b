"""Forecast, anomalies, waste, unit costs, what-if, routing and footprint."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from otel_finops.surfaces.ui.pages.efficiency import policy_fields
from otel_finops.surfaces.ui.pages.forecast import course

PAGES = ("/forecast", "/anomalies", "/waste", "/unit-costs", "/what-if", "/routing", "/footprint")


@pytest.mark.parametrize("path", PAGES)
def test_every_page_opens(console: TestClient, path: str) -> None:
    assert console.get(path).status_code == 200


def test_the_course_of_a_forecast_goes_on_where_the_days_end() -> None:
    """Two days of 2 and 3 dollars; at the end of the third it will be 9, between 7 and 12."""
    found = {
        "days": [{"from": "2026-11-01T00:00:00Z", "spent": "2"}, {"from": "2026-11-02T00:00:00Z", "spent": "3"}],
        "steps": [{"from": "2026-11-03T00:00:00Z", "to": "2026-11-04T00:00:00Z", "expected": "9", "low": "7", "high": "12"}],
    }
    chart = course(found, "UTC")
    spent, expected, most, least = (one["values"] for one in chart["series"])
    assert spent == [0.0, 2.0, 5.0, None]
    assert (expected, most, least) == ([None, None, 5.0, 9.0], [None, None, 5.0, 12.0], [None, None, 5.0, 7.0])
    assert len(chart["x"]) == 4


def test_a_course_without_days_to_come_ends_with_the_days() -> None:
    chart = course({"days": [{"from": "2026-11-01T00:00:00Z", "spent": "2"}], "steps": []}, "UTC")
    assert chart["series"][0]["values"] == [0.0]
    assert len(chart["x"]) == 1


def test_an_anomaly_shows_its_drivers_and_is_noted(console: TestClient, api: TestClient) -> None:
    no = api.get("/api/v1/anomalies", params={"state": "all"}).json()["anomalies"][0]["no"]
    shown = api.get(f"/api/v1/anomalies/{no}").json()["anomaly"]
    page = console.get(f"/anomalies/{no}").text
    assert shown["difference_usd"] == "9"
    assert 'title="$9.00"' in page
    assert all(detail["text"] in page for driver in shown["drivers"] for detail in driver["details"][:5])
    assert f'action="/anomalies/{no}/' in page
    assert console.post("/anomalies/99999/ack", data={"why": "looked at"}).status_code == 404


def test_a_finding_names_the_policy_as_a_form_sends_it() -> None:
    ready = {
        "name": "loops",
        "ready": "runaway-trace-cost",
        "action": "block",
        "limit": "5",
        "downgrade_to": None,
        "scope": {"agent": "coder"},
    }
    assert policy_fields(ready) == {"name": "loops", "ready": "runaway-trace-cost", "limit": "5", "scope": '{"agent":"coder"}'}
    own = {"name": "small", "ready": None, "action": "downgrade", "limit": None, "downgrade_to": "gpt-5-mini", "scope": {}}
    assert policy_fields(own) == {"name": "small", "action": "downgrade", "downgrade_to": "gpt-5-mini"}


def test_what_if_answers_once_it_is_asked(console: TestClient) -> None:
    assert "What would it have cost?" in console.get("/what-if").text or "Kept questions" in console.get("/what-if").text
    asked = console.get("/what-if?range=90d&to_model=gpt-4o-mini&to_provider=openai").text
    assert "Would have cost" in asked


def test_an_unknown_model_is_refused_in_its_place(console: TestClient) -> None:
    asked = console.get("/what-if?to_model=no-such-model&to_provider=openai")
    assert asked.status_code == 200
    assert 'role="alert"' in asked.text


def test_who_may_only_look_gets_no_forms_that_change(console_as: Callable[..., TestClient]) -> None:
    for path in PAGES:
        assert 'method="post"' not in console_as("viewer").get(path).text.split("<main")[1]
