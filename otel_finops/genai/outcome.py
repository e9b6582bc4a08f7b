"""How a call ended: its error, and why it has no usage."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from otel_finops.base.limits import FINISH_REASON_CHARS_MAX, FINISH_REASONS_MAX
from otel_finops.genai.texts import clean_name, read_json

NO_USAGE: Final = "no_usage"
NO_USAGE_STREAM: Final = "no_usage_stream"
NO_USAGE_TIMEOUT: Final = "no_usage_timeout"
BAD_USAGE: Final = "bad_usage"

_TIMEOUT: Final = re.compile(r"time.?d?.?out|deadline", re.IGNORECASE)
_CUT: Final = re.compile(
    r"cancel|abort|generatorexit|connection|disconnect|incomplete.?read|broken.?pipe|remote.?protocol|(read|write|stream)error|chunkedencoding|interrupt",
    re.IGNORECASE,
)
_NO_TYPE: Final = "_OTHER"


def error_of(error_type: str | None, exception_type: str | None, is_error: bool, http_status: int | None) -> str | None:
    """The error of a span: what it names, else its exception, else the HTTP status, else `error`; None for a span that did not fail."""
    if error_type and error_type != _NO_TYPE:
        return error_type
    if is_error or error_type:
        return exception_type or (str(http_status) if http_status and http_status >= 400 else _NO_TYPE if error_type else "error")
    if http_status is not None and http_status >= 400:
        return exception_type or str(http_status)
    return None


def missing_reason(error_type: str | None, http_status: int | None, streaming: bool | None, answered: bool, bad: bool) -> str | None:
    """Why a call has no usage; None when the provider answered with an error, which costs nothing.

    A time-out or an abort on the client's side is no answer: the provider bills what it had begun. Nor is an error in the middle of a
    stream that had begun to answer. A status of 400 and above always is one.

    Args:
        answered: the span names the answer's id.
        bad: counts were sent, but they are no counts.
    """
    if bad:
        return BAD_USAGE
    stream_or_none = NO_USAGE_STREAM if streaming else NO_USAGE
    if error_type is None:
        return stream_or_none
    if error_type.isdigit() or (http_status is not None and http_status >= 400):
        return None
    ending = _client_ending(error_type)
    if ending is not None:
        return NO_USAGE_TIMEOUT if ending == "timeout" else stream_or_none
    return NO_USAGE_STREAM if streaming and answered else None


@lru_cache(maxsize=2_048)
def _client_ending(error_type: str) -> str | None:
    if _TIMEOUT.search(error_type):
        return "timeout"
    return "cut" if _CUT.search(error_type) else None


def is_partial(streaming: bool | None, output: int, failed: bool, finished: bool) -> bool:
    """A broken-off stream whose counts look complete: at most one token of output, and an error or no reason why it finished."""
    return bool(streaming) and output <= 1 and (failed or not finished)


def finish_reasons(value: object) -> tuple[str, ...]:
    """Why the answers of a call ended, as sent: each reason once, in the order of the answers; empty where none is said.

    Args:
        value: one reason, a list of them, or such a list as JSON.
    """
    if type(value) is tuple:
        return _reasons(tuple([text[:_READ_CHARS] for text in value[:_READ_REASONS] if type(text) is str]))
    if type(value) is not str:
        return ()
    return _listed(value[:_READ_CHARS]) if value[:1] == "[" else _reasons((value[:_READ_CHARS],))


_READ_REASONS: Final = 128
_READ_CHARS: Final = 512
"""What is looked at of a list of reasons: one for each of the most answers that a provider gives at once."""


@lru_cache(maxsize=512)
def _listed(text: str) -> tuple[str, ...]:
    found = read_json(text)
    return _reasons(tuple([reason for reason in found if type(reason) is str])) if isinstance(found, list) else ()


@lru_cache(maxsize=512)
def _reasons(texts: tuple[str, ...]) -> tuple[str, ...]:
    named = dict.fromkeys(reason for text in texts if (reason := clean_name(text, FINISH_REASON_CHARS_MAX)) is not None)
    return tuple(named)[:FINISH_REASONS_MAX]
