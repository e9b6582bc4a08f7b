"""The three OTLP signals: how they are addressed, and what an accepted request of each is answered.

Only traces are read. Metrics and logs are answered OK, so that a stock set-up that sends all three to one endpoint does
not fail or repeat itself; they are counted, and the log says so once.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import Final, Literal, NamedTuple, TypeAlias

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_finops.base.protocols import Encoding, ExportOutcome
from otel_finops.otlp.counters import ReceiverCounters

logger = logging.getLogger(__name__)

SignalName: TypeAlias = Literal["traces", "metrics", "logs"]


class Signal(NamedTuple):
    """How one signal is addressed over gRPC and HTTP."""

    name: SignalName
    grpc_service: str
    http_path: str


_PACKAGE: Final = "opentelemetry.proto.collector"
SIGNALS: Final = (
    Signal("traces", f"{_PACKAGE}.trace.v1.TraceService", "/v1/traces"),
    Signal("metrics", f"{_PACKAGE}.metrics.v1.MetricsService", "/v1/metrics"),
    Signal("logs", f"{_PACKAGE}.logs.v1.LogsService", "/v1/logs"),
)

_EMPTY: Final[dict[Encoding, bytes]] = {"protobuf": b"", "json": b"{}"}


class IgnoredSignals:
    """Answers the signals that are not read: counts each request, and says once per signal that nothing is done with it."""

    def __init__(self, counters: ReceiverCounters) -> None:
        self._counters = counters
        self._lock = threading.Lock()
        self._said: set[str] = set()

    def answer(self, signal: SignalName, encoding: Encoding) -> bytes:
        """The body of an OK with nothing rejected."""
        self._counters.ignored(signal)
        with self._lock:
            first = signal not in self._said
            self._said.add(signal)
        if first:
            logger.warning("OTLP %s are received and ignored; send traces only, or send %s elsewhere", signal, signal)
        return _EMPTY[encoding]


def trace_answer(outcome: ExportOutcome, encoding: Encoding) -> bytes:
    """The body of an OK, with OTLP's partial success when spans were refused."""
    if not outcome.rejections:
        return _EMPTY[encoding]
    message = "; ".join(f"{each.spans} spans refused ({each.reason}): {each.message}" for each in outcome.rejections)
    if encoding == "json":
        # proto3's JSON mapping writes 64-bit integers as strings.
        return json.dumps({"partialSuccess": {"rejectedSpans": str(outcome.rejected), "errorMessage": message}}).encode()
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = outcome.rejected
    response.partial_success.error_message = message
    return response.SerializeToString()
