"""`docs/api-parity.md` names what exists, and nothing as missing that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.settings.features import Features
from otel_finops.surfaces.cli.table import command_table

PAGE = (Path(__file__).parents[2] / "docs" / "api-parity.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| `")]
ENDPOINTS = [row for row in ROWS if re.match(r"`(GET|POST|PUT|DELETE) ", row[0])]
COMMANDS = [row for row in ROWS if row[0].startswith("`ai-finops:")]
AWAITED = {
    "budgets": "budgets", "policies": "policies", "approvals": "approvals", "allocation": "allocation", "routing": "routing",
    "forecasts": "forecast", "anomalies": "anomalies", "what-if": "whatif", "footprint": "footprint", "credits": "credits",
    "alerts": "alerts", "agents": "copilot",
}  # fmt: skip
"""Parts that are not built yet, with the room that their operations will be in."""
GROUPS = {
    "health": 1, "settings": 3, "diagnostics": 1, "usage": 3, "runs": 2, "pricing": 11, "budgets": 6, "dashboard": 5, "policies": 6,
    "approvals": 4, "chargeback": 5, "routing": 6, "forecast": 2, "anomalies": 2, "whatif": 4, "footprint": 2, "credits": 6,
    "alerts": 10, "price-watch": 5, "copilot": 2, "audit": 1,
}  # fmt: skip
"""Endpoints of each group there: a list with create, change and remove are four."""


def test_every_endpoint_is_in_the_table_once() -> None:
    assert len({row[0] for row in ENDPOINTS}) == len(ENDPOINTS)
    found: dict[str, int] = {}
    for row in ENDPOINTS:
        group = re.split("[ /`]", row[0])[2]
        found[group] = found.get(group, 0) + 1
    assert found == GROUPS


@pytest.mark.parametrize("row", ENDPOINTS, ids=lambda row: row[0].strip("`"))
def test_what_is_named_exists_and_what_is_awaited_does_not(row: list[str]) -> None:
    names = {one.name for one in OPERATIONS}
    if row[1].startswith("not yet: "):
        room = AWAITED[row[1].removeprefix("not yet: ")]
        assert not [name for name in names if name.split(".")[0] == room], f"{room} has operations: name them in docs/api-parity.md"
    else:
        named = re.findall("`([a-z_.]+)`", row[1])
        assert named
        assert [name for name in named if name not in names] == []


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row[0].strip("`"))
def test_the_commands_are_there(row: list[str]) -> None:
    if not row[1].startswith("not yet: "):
        words = tuple(word for word in row[1].strip("`").split() if word != "otel-finops" and not word.startswith("-"))
        assert words in command_table(Features())
