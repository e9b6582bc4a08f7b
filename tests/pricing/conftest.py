"""One engine over the packaged book for all pricing tests; rows are immutable."""

from __future__ import annotations

import pytest

from otel_finops.pricing.engine import PriceEngine


@pytest.fixture(scope="session")
def engine() -> PriceEngine:
    return PriceEngine.load()
