"""What guards' tests ask of the service that they talk to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fake_service import FakeService

from otel_finops.client.service import Service


def settled(fake: FakeService, service: Service) -> dict[str, Any]:
    assert service.settlements.flush(5)
    return fake.settled


def released(fake: FakeService) -> list[str]:
    return [asked.path.split("/")[-2] for asked in fake.asked if asked.path.endswith("/release")]


class RefusedByProvider(Exception):
    """As the vendors' SDKs raise it."""

    status_code = 429


def events(words: int) -> Iterator[dict[str, Any]]:
    yield {"model": "gpt-5-2025", "choices": [{"delta": {"role": "assistant"}, "finish_reason": None}], "usage": None}
    for _ in range(words):
        yield {"choices": [{"delta": {"content": "four"}, "finish_reason": None}], "usage": None}
    yield {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": words}}
