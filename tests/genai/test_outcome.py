"""Errors, missing usage and broken-off streams."""

from __future__ import annotations

import pytest

from otel_finops.genai.outcome import error_of, finish_reasons, is_partial, missing_reason


def reason(error: str | None, *, status: int | None = None, streaming: bool | None = None, answered: bool = False) -> str | None:
    return missing_reason(error, status, streaming, answered, bad=False)


def test_a_call_that_went_well_says_whether_it_was_a_stream() -> None:
    assert reason(None) == "no_usage"
    assert reason(None, streaming=True) == "no_usage_stream"


@pytest.mark.parametrize("error", ["openai.RateLimitError", "ThrottlingException", "429", "504", "api_error", "InternalServerError"])
def test_the_providers_error_answer_needs_no_reason(error: str) -> None:
    assert reason(error) is None
    assert reason(error, streaming=True) is None


@pytest.mark.parametrize("error", ["APITimeoutError", "httpx.ReadTimeout", "TimeoutError", "grpc.DEADLINE_EXCEEDED", "timed out"])
def test_a_time_out_of_the_client_is_no_answer(error: str) -> None:
    assert reason(error) == "no_usage_timeout"


@pytest.mark.parametrize(
    "error", ["asyncio.CancelledError", "GeneratorExit", "APIUserAbortError", "RemoteProtocolError", "APIConnectionError"]
)
def test_an_abort_is_no_answer(error: str) -> None:
    assert reason(error) == "no_usage"
    assert reason(error, streaming=True) == "no_usage_stream"


def test_a_status_of_the_provider_is_an_answer_whatever_the_error_is_called() -> None:
    assert reason("TimeoutError", status=504) is None


def test_an_error_in_the_middle_of_an_answer_leaves_a_bill() -> None:
    assert reason("ValueError", streaming=True, answered=True) == "no_usage_stream"


def test_bad_counts_come_first() -> None:
    assert missing_reason("APITimeoutError", None, True, True, bad=True) == "bad_usage"


def test_the_best_name_of_an_error_is_kept() -> None:
    assert error_of("openai.RateLimitError", "x.Other", True, 429) == "openai.RateLimitError"
    assert error_of("_OTHER", "x.Other", True, None) == "x.Other"
    assert error_of(None, "x.Other", True, None) == "x.Other"
    assert error_of(None, None, True, 529) == "529"
    assert error_of(None, None, True, None) == "error"
    assert error_of(None, None, False, 503) == "503"


def test_an_exception_that_was_handled_is_no_error() -> None:
    assert error_of(None, "x.Retried", False, 200) is None


def test_broken_off_streams_are_partial() -> None:
    assert is_partial(True, 1, failed=True, finished=False)
    assert is_partial(True, 0, failed=False, finished=False)
    assert not is_partial(True, 1, failed=False, finished=True)
    assert not is_partial(True, 223, failed=True, finished=False)
    assert not is_partial(None, 1, failed=False, finished=False)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (("stop",), ("stop",)),
        (("tool_calls", "stop", "tool_calls"), ("tool_calls", "stop")),
        ("end_turn", ("end_turn",)),
        ('["stop", "length"]', ("stop", "length")),
        ("FinishReason.STOP", ("FinishReason.STOP",)),
        (("", "None", 7, None, ("stop",)), ()),
        ("[]", ()),
        ('["stop", "cut sh', ("stop",)),
        (None, ()),
        ({"reason": "stop"}, ()),
        (7, ()),
    ],
)
def test_why_an_answer_ended_is_kept_as_sent(sent: object, kept: tuple[str, ...]) -> None:
    assert finish_reasons(sent) == kept


def test_what_is_no_word_is_cut_and_many_are_left_out() -> None:
    [cut] = finish_reasons("x" * 1000)
    assert cut == "x" * 63 + "…"
    assert finish_reasons(tuple(f"r{n}" for n in range(20))) == tuple(f"r{n}" for n in range(8))
