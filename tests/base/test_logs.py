"""The log: one line an event, whatever a message holds."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from otel_finops.base.logs import start_logging


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_a_message_cannot_fake_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("info", "text")
    logging.getLogger("otel_finops.test").warning("span named %s", "x\n2026-01-01T00:00:00Z ERROR forged")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].endswith(r"WARNING otel_finops.test: span named x\n2026-01-01T00:00:00Z ERROR forged")


def test_json_lines_carry_exceptions(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("info", "json")
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("otel_finops.test").exception("failed")
    event = json.loads(capsys.readouterr().err)
    assert (event["level"], event["logger"], event["message"]) == ("error", "otel_finops.test", "failed")
    assert "ValueError: broken" in event["exception"]


def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("warning", "text")
    logging.getLogger("otel_finops.test").info("chatter")
    assert capsys.readouterr().err == ""


def test_what_a_next_hop_answered_is_not_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging("info", "text")
    logging.getLogger("urllib3.connection").warning("Failed to parse headers, unparsed data: %r", "secret")
    assert capsys.readouterr().err == ""
