"""The story of one request, read aloud: decode, normalise, price, journal, pass on; only then does the sender hear OK."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.protocols import Credential, ExportOutcome, ExportRequest
from otel_finops.base.span import Rejection, Span, WantedKeys
from otel_finops.forwarding import Onward
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
    """What stands behind the receivers. Settling goes on behind it, off the sender's path (`ledger.settle`).

    Attributes:
        prices: gives the engine over the price book of now; cheap, it is asked for every batch.
        wanted: the attributes that anybody reads.
        onward: the way to the next hop; None when spans end here.
        metering: False lets spans pass on unpriced.
    """

    normaliser: Normaliser
    prices: Callable[[], PriceEngine]
    committer: GroupCommitter
    admission: Admission
    metrics: SelfMetrics
    telemetry: Telemetry
    clock: Clock
    wanted: WantedKeys
    onward: Onward | None = None
    metering: bool = True

    def __call__(self, request: ExportRequest, /) -> ExportOutcome:
        """Take in one export request; returns once its spans are durable (see `TraceIntake`)."""
        with self.telemetry.span("take in") as stage:
            batch = decode(request.body, request.encoding, self.wanted, self.clock.now_ns())
            stage.set("spans", batch.received)
            with self.admission.hold(spans=batch.received):
                rows = self.price(self.normalise(self.new(batch.spans), request.credential)) if self.metering else []
                fates, refused = self.journal(rows)
                fates["ignored"] = len(batch.spans) - len(rows)
                outcome = ExportOutcome(sum(fates.values()), batch.rejections + refused)
                self.metrics.spans(batch.received, rejections=outcome.rejections, **fates)
                not_taken = self.onward.pass_on(request, batch, (row.quote for row in rows)) if self.onward else ()
        return ExportOutcome(outcome.accepted, outcome.rejections + not_taken)

    def new(self, spans: Sequence[Span]) -> Sequence[Span]:
        """The spans without those that come back to us from the next hop."""
        return [span for span in spans if not self.onward.is_ours(span)] if self.onward else spans

    def normalise(self, spans: Sequence[Span], credential: Credential) -> list[Sighting]:
        """One sighting for each span; spans that are no GenAI spans become skeletons."""
        return [self.normaliser(span, credential) for span in spans]

    def price(self, sightings: Sequence[Sighting]) -> list[JournalRow]:
        """Put a quote beside every sighting that is a call by itself; whether it is charged is decided when its trace settles."""
        self.metrics.bad_reports(sum([s.reported_source is not None and s.reported_pico is None for s in sightings]))
        prices = self.prices()
        quote, priceable = prices.quote, prices.priceable
        return [JournalRow(s, quote(priceable(s)) if s.kind == CALL else None) for s in sightings]

    def journal(self, rows: Sequence[JournalRow]) -> tuple[dict[str, int], tuple[Rejection, ...]]:
        """Make the rows durable; returns how many met which fate, and those that cannot be recorded."""
        recorded = self.committer.submit(rows)
        return {"journalled": recorded.journalled, "duplicate": recorded.duplicates}, rejections(recorded)
