"""Jobs, the record of changes, tokens, settings and diagnostics."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from otel_finops.surfaces.ui.pages.audit import differences


@pytest.mark.parametrize("path", ["/jobs", "/audit", "/tokens", "/settings", "/diagnostics", "/audit?verify=1", "/diagnostics?verify=1"])
def test_every_page_opens(console: TestClient, path: str) -> None:
    assert console.get(path).status_code == 200


def test_jobs_lead_to_their_runs(console: TestClient) -> None:
    paths = re.findall(r'href="(/jobs/[^"]+)"', console.get("/jobs").text)
    assert paths
    assert {console.get(path).status_code for path in paths} == {200}
    assert console.get("/jobs/none-such").status_code == 404


def test_of_a_change_the_fields_that_differ_are_shown() -> None:
    changed = {"before": {"name": "a", "amount": "10"}, "after": {"name": "a", "amount": "20", "hard": True}}
    assert differences(changed) == [("amount", "10", "20"), ("hard", None, True)]
    assert differences({"before": None, "after": {"name": "a"}}) == [("name", None, "a")]
    assert differences({"before": None, "after": None}) == []


def test_a_chain_that_holds_together_is_said_to(console: TestClient) -> None:
    assert "hold together" in console.get("/audit?verify=1").text
    assert "blocks hold together" in console.get("/diagnostics?verify=1").text


def test_a_token_that_is_not_well_described_is_not_made(console: TestClient) -> None:
    """What was typed stands in the form again, with the fault beside it."""
    answer = console.post("/tokens/create", data={"name": "new one", "role": "king", "tenants": "acme"})
    assert answer.status_code == 400
    assert 'value="new one"' in answer.text
    assert 'class="fault"' in answer.text
    assert "new one" not in console.get("/tokens").text


@pytest.mark.parametrize("path", ["/audit", "/tokens", "/settings"])
def test_these_are_not_for_everybody(console_as: Callable[..., TestClient], path: str) -> None:
    assert console_as("viewer").get(path).status_code == 403
    assert f'href="{path}"' not in console_as("viewer").get("/jobs").text


def test_who_may_only_look_gets_no_buttons(console_as: Callable[..., TestClient]) -> None:
    assert "Run now" not in console_as("viewer").get("/jobs").text
    assert console_as("viewer").post("/jobs/anomalies/run").status_code == 403
