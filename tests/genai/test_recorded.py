"""Payloads of libraries recorded for these tests (tests/data/recorded): every call once, under its agent, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from genai_corpus import case
from test_roles_corpus import faults

from otel_finops.genai.roles import decide

RECORDED = Path(__file__).parent.parent / "data" / "recorded"
NAMES = sorted(truth.parent.name for truth in RECORDED.glob("*/expected.json"))


@pytest.mark.parametrize("name", NAMES)
def test_every_visible_call_stands_exactly_once_under_its_agent(name: str) -> None:
    recorded = case(RECORDED, name)
    assert faults(recorded, decide(recorded.sightings())) == []
