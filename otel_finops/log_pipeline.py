"""The story of one log request: decode, normalise, price, journal; the records that show calls go the way of spans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from otel_finops.base.protocols import Credential, ExportOutcome, ExportRequest
from otel_finops.base.span import NOTHING, LogRecord, Rejection
from otel_finops.genai.logs import LogNormaliser
from otel_finops.otlp.decode import decode_logs
from otel_finops.pipeline import Pipeline


class LogPipeline(NamedTuple):
    """What stands behind the receivers for logs; it shares all but the decoder and the normaliser with that for spans."""

    spans: Pipeline
    normaliser: LogNormaliser

    def __call__(self, request: ExportRequest, /) -> ExportOutcome:
        """Take in one export request; returns once its calls are durable (see `TraceIntake`)."""
        shared, normaliser = self.spans, self.normaliser
        wanted, events = (normaliser.wanted, normaliser.events) if shared.metering else (NOTHING, frozenset[str]())
        with shared.telemetry.span("take in logs") as stage:
            batch = decode_logs(request.body, request.encoding, wanted, events, shared.clock.now_ns())
            stage.set("log_records", batch.received)
            with shared.admission.hold(spans=batch.received):
                fates, refused = self.journal(batch.records, request.credential)
            fates["ignored"] += batch.ignored
            outcome = ExportOutcome(sum(fates.values()), batch.rejections + refused)
            shared.metrics.log_records(batch.received, rejections=outcome.rejections, **fates)
        return outcome

    def journal(self, records: Sequence[LogRecord], credential: Credential) -> tuple[dict[str, int], tuple[Rejection, ...]]:
        """Make the calls that the records show durable; returns how many records met which fate, and those that cannot be recorded."""
        if not self.spans.metering:
            return {"ignored": len(records)}, ()
        calls = [call for record in records if (call := self.normaliser(record, credential)) is not None]
        fates, refused = self.spans.journal(self.spans.price(calls))
        return {**fates, "ignored": len(records) - len(calls)}, refused
