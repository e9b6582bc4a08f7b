"""Chargeback, cost centres, reconciliation and exports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from otel_finops.surfaces.ui.pages.chargeback import in_tree_order


@pytest.mark.parametrize("path", ["/chargeback", "/chargeback?mode=showback", "/cost-centers", "/reconciliation", "/exports"])
def test_every_page_opens(console: TestClient, path: str) -> None:
    assert console.get(path).status_code == 200


def test_the_report_is_the_operations(console: TestClient, api: TestClient) -> None:
    report = api.get("/api/v1/chargeback/report", params={"period": "2026-11", "mode": "chargeback"}).json()
    page = console.get("/chargeback?period=2026-11").text
    assert f'title="${report["total_usd"]}"' in page
    assert all(row["name"] in page for row in report["rows"] if row["name"])


def row(code: str | None, parent: str | None = None) -> dict[str, Any]:
    return {"tenant": None, "cost_center": code, "parent": parent}


def test_parts_stand_behind_what_contains_them() -> None:
    rows = [row("search", "product"), row("legal"), row("product"), row("ranking", "search"), row(None)]
    assert [(depth, one["cost_center"]) for depth, one in in_tree_order(rows)] == [
        (0, "legal"), (0, "product"), (1, "search"), (2, "ranking"), (0, None),
    ]  # fmt: skip


def test_what_is_part_of_something_unknown_is_still_shown() -> None:
    assert in_tree_order([row("search", "gone")]) == [(0, row("search", "gone"))]


def test_a_bill_is_held_against_the_ledger(console: TestClient, api: TestClient) -> None:
    name = api.get("/api/v1/bills").json()["bills"][0]["name"]
    report = api.get("/api/v1/reconciliation", params={"name": name}).json()
    page = console.get("/reconciliation", params={"name": name}).text
    assert f'title="${report["billed_usd"]}"' in page
    assert all(cause["meaning"] in page for cause in report["causes"])


def test_a_file_that_is_no_bill_is_refused_beside_the_form(console: TestClient) -> None:
    files = {"content": ("junk.csv", b"\x00\x01", "text/csv")}
    answer = console.post("/reconciliation/import", data={"name": "October", "provider": "openai"}, files=files)
    assert answer.status_code == 400
    assert 'value="October"' in answer.text


def test_exports_name_every_operation_that_streams(console: TestClient) -> None:
    page = console.get("/exports").text
    for name in ("spend.export", "usage.export", "ledger.export", "focus.export", "chargeback.export"):
        assert f"/download/{name}?" in page


def test_who_may_only_look_gets_no_forms(console_as: Callable[..., TestClient]) -> None:
    for path in ("/cost-centers", "/reconciliation"):
        assert "<form" not in console_as("viewer").get(path).text.split("<main")[1]
    assert console_as("viewer").post("/cost-centers/create", data={"code": "x", "name": "y"}).status_code == 403
