"""A service that answers as it is told, and what an application asks it with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_service import FakeService

from otel_finops.client.service import Service
from otel_finops.client.settings import ClientSettings


@pytest.fixture
def fake() -> Iterator[FakeService]:
    service = FakeService()
    service.answers["/api/v1/health"] = {"ok": True, "parts": [{"name": "store", "ok": True, "detail": ""}]}
    service.answers["/api/v1/pricing/quote"] = {"usd": "0.0003", "unpriced": 0, "lines": [], "quotes": None}
    yield service
    service.close()


@pytest.fixture
def service(fake: FakeService) -> Service:
    return Service(ClientSettings(fake.url, timeout_s=5))
