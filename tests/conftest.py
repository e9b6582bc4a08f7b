"""Fixtures that find the recorded payloads and the price oracle, wherever the checkout keeps them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_HERE = Path(__file__).parent


def shared_folder(name: str) -> Path:
    """The folder of reference material: OTEL_FINOPS_SHARED, else `../shared` beside the checkout, else `tests/data`."""
    candidates = [Path(os.environ["OTEL_FINOPS_SHARED"])] if "OTEL_FINOPS_SHARED" in os.environ else []
    candidates += [_HERE.parent.parent / "shared", _HERE / "data"]
    for candidate in candidates:
        if (candidate / name).is_dir():
            return candidate / name
    pytest.skip(f"SKIPPED LOUDLY: no folder {name!r} in {', '.join(map(str, candidates))}; set OTEL_FINOPS_SHARED")


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Recorded OTLP payloads of real libraries with the truth beside them."""
    return shared_folder("corpus")


@pytest.fixture(scope="session")
def oracle() -> Path:
    """Priced calls and model names answered by other calculators."""
    return shared_folder("oracle")


@pytest.fixture(scope="session")
def contracts() -> Path:
    """The JSON Schemas of what the product writes and answers."""
    return shared_folder("contracts")
