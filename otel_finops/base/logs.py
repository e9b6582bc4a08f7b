"""The service's log: one line an event on standard error, for people or as JSON."""

from __future__ import annotations

import json
import logging
import sys
from typing import Final, Literal

from otel_finops.base.times import NS_PER_SECOND, format_ns

LEVELS: Final = ("debug", "info", "warning", "error")
_QUIET: Final = ("uvicorn", "alembic", "grpc", "opentelemetry")
"""Libraries whose information is not ours to tell; their warnings are."""

_SILENT: Final = ("urllib3",)
"""Its warnings hold what a next hop answered, with a stack; that the hop is away is told by whoever asked it."""


class _TextFormatter(logging.Formatter):
    """`2026-11-21T09:30:00Z INFO otel_finops: ready`."""

    def format(self, record: logging.LogRecord) -> str:
        moment = format_ns(int(record.created * NS_PER_SECOND))[:19]
        text = f"{moment}Z {record.levelname} {record.name}: {_one_line(record.getMessage())}"
        return text + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


class _JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, and the trace of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": format_ns(int(record.created * NS_PER_SECOND)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False)


def start_logging(level: Literal["debug", "info", "warning", "error"], style: Literal["text", "json"]) -> None:
    """Write this process's log to standard error, from this severity on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if style == "json" else _TextFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.ERROR)


def _one_line(message: str) -> str:
    """Text of senders can stand in a message; it must not be able to fake a line of its own."""
    return message.replace("\r", "\\r").replace("\n", "\\n")
