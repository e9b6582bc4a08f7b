"""Runs, sessions and the ledger's rows."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient
from surfaces_world import ACME_TRACE
from test_ui_traces import CALL, text_of

RUN = f"{ACME_TRACE}-{2:016x}"


@pytest.mark.parametrize("view", ["runs", "agents", "steps", "outcomes"])
def test_every_view_of_runs_opens(console: TestClient, view: str) -> None:
    assert console.get(f"/runs?view={view}&range=12m").status_code == 200


def test_runs_are_the_operations(console: TestClient, api: TestClient) -> None:
    page = console.get("/runs?range=12m").text
    for one in api.get("/api/v1/runs").json()["runs"]:
        assert f"/runs/{one['run_id']}" in page
        assert f'title="${one["cost_usd"]}"' in page


def test_steps_and_agents_cost_what_the_report_says(console: TestClient) -> None:
    """The planner's two steps cost 0.0035 USD each of 0.014 in all."""
    assert "planner $0.007 50.0%" in text_of(console.get("/runs?view=agents&range=12m").text)
    assert "plan planner $0.0035 25.0%" in text_of(console.get("/runs?view=steps&range=12m").text)


def test_a_run_shows_its_steps_and_calls(console: TestClient) -> None:
    page = console.get(f"/runs/{RUN}").text
    assert f"/traces/{ACME_TRACE}?below={2:016x}" in page
    assert f"/traces/{ACME_TRACE}?span={CALL}" in page
    assert "plan $0.0035 50.0%" in text_of(page)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/runs?range=12m&agent=nobody-at-all", "No run fits"),
        ("/runs?view=agents&range=12m&agent=nobody-at-all", "No agent spent anything"),
        ("/runs?view=steps&range=12m&agent=nobody-at-all", "No step spent anything"),
        ("/runs?view=outcomes&range=12m", "Nobody said how work came out"),
        ("/sessions?range=12m&user=nobody-at-all", "No session in this time"),
        ("/usage?range=12m&agent=nobody-at-all", "No row fits"),
    ],
)
def test_empty_pages_say_what_would_stand_there(console: TestClient, path: str, said: str) -> None:
    answer = console.get(path)
    assert answer.status_code == 200
    assert said in text_of(answer.text)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/runs?view=pies", 400), ("/runs?view=outcomes&by=weather", 400), ("/runs/nonsense", 400), (f"/runs/{ACME_TRACE}-{'9' * 16}", 404),
        ("/sessions/no/such/session", 404), ("/usage?trace_id=zz", 400), (f"/usage/{ACME_TRACE}/{'9' * 16}", 404),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said(console: TestClient, path: str, status: int) -> None:
    assert console.get(path).status_code == status


def test_a_session_is_told_turn_by_turn(console: TestClient) -> None:
    """One call of one trace: 0.0035 USD."""
    assert "/sessions/session-1" in console.get("/sessions?range=12m").text
    page = console.get("/sessions/session-1").text
    assert f"/traces/{ACME_TRACE}" in page
    assert "1 1.1K $0.0035 $0.0035" in text_of(page)


def test_a_session_is_found_whatever_it_is_called(console: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Applications name sessions as they like, with slashes and what addresses have a meaning for."""
    name = "a/b?c#d%e {x}"
    told: dict[str, Any] = {"tenants": [], "users": [], "first_at": "2026-11-20T12:00:00Z", "last_at": "2026-11-20T12:00:00Z", "course": []}
    counts = dict.fromkeys(("traces", "runs", "calls", "failed_calls", "unpriced_calls", "tokens"), 0)
    answered = {**told, **counts, "cost_usd": "0", "next_cursor": None}
    monkeypatch.setattr("otel_finops.surfaces.ui.page.Page.ask", lambda page, verb, **given: {**answered, "session": given["session"]})
    answer = console.get(f"/sessions/{quote(name, safe='')}")
    assert answer.status_code == 200
    assert f"<h1>{name}</h1>" in unescape(answer.text)


def test_rows_of_a_trace_are_found_whenever_they_were(console: TestClient, api: TestClient) -> None:
    rows = api.get("/api/v1/usage", params={"trace_id": ACME_TRACE}).json()["entries"]
    page = console.get(f"/usage?trace_id={ACME_TRACE}").text
    assert "All rows of one trace" in page
    assert page.count(f'href="/usage/{ACME_TRACE}/') == len(rows) == 2


def test_a_span_has_its_price_and_its_history(console: TestClient) -> None:
    shown = text_of(console.get(f"/usage/{ACME_TRACE}/{CALL}").text)
    assert "Input 1,000 $2.50 / 1M $0.0025" in shown
    assert "First seen as a call" in shown


def test_other_tenants_rows_runs_and_sessions_are_not_there(console_as: Callable[..., TestClient]) -> None:
    viewer = console_as("viewer", ("globex",))
    for path in (f"/runs/{RUN}", "/sessions/session-1", f"/usage/{ACME_TRACE}/{CALL}"):
        assert viewer.get(path).status_code == 404
    assert ACME_TRACE not in viewer.get("/usage?range=12m").text
