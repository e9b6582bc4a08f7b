"""What failed, where a tracer only says `Exception`."""

from __future__ import annotations

import pytest

from otel_finops.otlp.exception_names import exception_name


@pytest.mark.parametrize(
    ("kind", "message", "name"),
    [
        ("openai.APITimeoutError", "Request timed out.", "openai.APITimeoutError"),
        ("RateLimitError", "Error: timed out", "RateLimitError"),
        (None, "Request timed out.", None),
        ("Exception", None, "Exception"),
        ("Exception", "APITimeoutError('Request timed out.')\n\nTraceback (most recent call last): ...", "APITimeoutError"),
        ("Exception", "httpx.ReadTimeout('')", "ReadTimeout"),
        ("Exception", "CancelledError()", "CancelledError"),
        ("Exception", "GeneratorExit()", "GeneratorExit"),
        ("Exception", "RateLimitError(\"Error code: 429 - {'error': 'timeout'}\")", "RateLimitError"),
        ("Exception", "Exception('the request timed out')", "TimeoutError"),
        ("Error", "Request timed out.\n\nError: Request timed out.\n    at OpenAI.makeRequest", "TimeoutError"),
        ("Error", "Error: Request was aborted.", "AbortError"),
        ("Error", "TimeoutError: The operation was aborted due to timeout", "TimeoutError"),
        ("Error", "The operation was aborted due to timeout", "TimeoutError"),
        ("Error", "504 Gateway Timeout", "Error"),
        ("Error", "429 You exceeded your quota; requests timed out", "Error"),
        ("Error", "no such model: timeout-1", "Error"),
        ("Exception", "something went wrong", "Exception"),
        ("Exception", "tell me(about it)", "Exception"),
    ],
)
def test_the_name_of_what_failed(kind: str | None, message: str | None, name: str | None) -> None:
    assert exception_name(kind, message) == name
