"""The frozen description of the API: whoever changes what clients see is shown it, and writes it down on purpose."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from openapi_changes import changes

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.settings.features import Features
from otel_finops.surfaces.api.app import openapi
from otel_finops.surfaces.reference import openapi_file

FROZEN = Path(__file__).parents[2] / "docs" / "openapi.json"
RENEW = "python -m otel_finops.surfaces.reference docs"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi()


def test_the_api_is_as_it_was_frozen() -> None:
    frozen, current = FROZEN.read_text(), openapi_file()
    found = changes(json.loads(frozen), json.loads(current))
    shown = "\n  ".join(found or ["only descriptions, titles or the order of things"])
    assert frozen == current, f"the API is not as docs/openapi.json says:\n  {shown}\nwhere that is meant, renew it: {RENEW}"


def test_changes_are_told_field_by_field(document: dict[str, Any]) -> None:
    before = copy.deepcopy(document)
    after = copy.deepcopy(document)
    del after["paths"]["/api/v1/spend"]
    after["paths"]["/api/v1/costs"] = {"get": before["paths"]["/api/v1/spend"]["get"]}
    limit = next(one for one in after["paths"]["/api/v1/usage"]["get"]["parameters"] if one["name"] == "limit")
    limit["schema"]["maximum"] = 5
    del after["components"]["schemas"]["TraceNode"]["properties"]["agent"]
    found = changes(before, after)
    assert [line for line in found if not line.startswith("changed")] == [
        "removed  GET /api/v1/spend",
        "added    GET /api/v1/costs",
        "removed  GET /api/v1/traces/{trace_id}: answer 200 application/json .nodes[] .agent (string or null, required)",
    ]
    assert [line for line in found if line.startswith("changed")] == [
        "changed  GET /api/v1/usage: query limit: was default 100, maximum 1000, minimum 1, integer, optional; "
        "is default 100, maximum 5, minimum 1, integer, optional"
    ]
    assert changes(before, before) == []


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [value["$ref"]] if isinstance(value.get("$ref"), str) else [one for part in value.values() for one in references(part)]
        return [one for part in value for one in references(part)] if isinstance(value, list) else []

    there = {f"#/components/{kind}/{name}" for kind, named in document["components"].items() for name in named}
    assert set(references(document)) <= there


def test_what_is_switched_off_is_not_described() -> None:
    document = openapi(Features(spend=False))
    assert "/api/v1/spend" not in document["paths"]
    assert "/api/v1/usage" in document["paths"]


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    described = {operation["operationId"] for methods in document["paths"].values() for operation in methods.values()}
    assert described == {one.name for one in OPERATIONS} | {f"{one.name}.post" for one in OPERATIONS if one.by_body}
