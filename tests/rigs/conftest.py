"""Makes the helpers of the rooms importable from here, and ledgers by the dozen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / room) for room in ("genai", "ledger", "e2e", "surfaces")]

from rig_ledgers import Ledgers  # noqa: E402 - it needs the folders above


@pytest.fixture
def ledgers(tmp_path: Path) -> Iterator[Ledgers]:
    """Makes empty ledgers, as many as a test wants."""
    made = Ledgers(tmp_path)
    yield made
    made.close()
