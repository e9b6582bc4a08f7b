"""A change is one line of the log."""

from __future__ import annotations

import logging

import pytest

from otel_finops.audit.trail import Change, LogTrail


def test_a_change_is_one_line_with_who_what_before_after_when_and_from_where(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        LogTrail().record(Change("board", "budgets.create", None, {"limit_usd": "5\n"}, 0, "cli"))
    assert caplog.messages == [
        'change {"after": {"limit_usd": "5\\n"}, "at": "1970-01-01T00:00:00.000000000Z", '
        '"before": null, "origin": "cli", "what": "budgets.create", "who": "board"}'
    ]
