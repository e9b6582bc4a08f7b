"""The story of one request, read aloud: decode, normalise, price, journal; only then does the sender hear OK."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.protocols import Credential, ExportOutcome, ExportRequest
from otel_finops.base.span import Rejection, Span
from otel_finops.genai.normalise import Normaliser
from otel_finops.genai.sighting import CALL, Sighting
from otel_finops.ledger.group_commit import GroupCommitter
from otel_finops.ledger.journal import JournalRow
from otel_finops.ledger.quarantine import rejections
from otel_finops.metrics.self_metrics import SelfMetrics
from otel_finops.metrics.telemetry import Telemetry
from otel_finops.otlp.admission import Admission
from otel_finops.otlp.decode import decode
from otel_finops.pricing.engine import PriceEngine


class Pipeline(NamedTuple):
    """What stands behind the receivers. Settling goes on behind it, off the sender's path (`ledger.settle`)."""

    normaliser: Normaliser
    prices: PriceEngine
    committer: GroupCommitter
    admission: Admission
    metrics: SelfMetrics
    telemetry: Telemetry
    clock: Clock
    metering: bool = True

    def __call__(self, request: ExportRequest, /) -> ExportOutcome:
        """Take in one export request; returns once its spans are durable (see `TraceIntake`)."""
        with self.telemetry.span("take in") as stage:
            batch = decode(request.body, request.encoding, self.normaliser.wanted, self.clock.now_ns())
            stage.set("spans", batch.received)
            with self.admission.hold(spans=batch.received):
                fates, refused = self.journal(batch.spans, request.credential)
            outcome = ExportOutcome(sum(fates.values()), batch.rejections + refused)
            self.metrics.spans(batch.received, rejections=outcome.rejections, **fates)
        return outcome

    def journal(self, spans: Sequence[Span], credential: Credential) -> tuple[dict[str, int], tuple[Rejection, ...]]:
        """Make the spans durable; returns how many met which fate, and those that cannot be recorded."""
        if not self.metering:
            return {"ignored": len(spans)}, ()
        recorded = self.committer.submit(self.price(self.normalise(spans, credential)))
        return {"journalled": recorded.journalled, "duplicate": recorded.duplicates}, rejections(recorded)

    def normalise(self, spans: Sequence[Span], credential: Credential) -> list[Sighting]:
        """One sighting for each span; spans that are no GenAI spans become skeletons."""
        return [self.normaliser(span, credential) for span in spans]

    def price(self, sightings: Sequence[Sighting]) -> list[JournalRow]:
        """Put a quote beside every sighting that is a call by itself; whether it is charged is decided when its trace settles."""
        quote, priceable = self.prices.quote, self.prices.priceable
        return [JournalRow(s, quote(priceable(s)) if s.kind == CALL else None) for s in sightings]
