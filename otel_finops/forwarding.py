"""What travels on after the commit: the sender's request, with the quote written on the spans that are calls by themselves.

The attributes are the contract's (docs/forwarding.md). Nothing else changes, ids stay, and no span is left out but a rejected one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple, Protocol

from otel_finops.base.money import PICO_PER_USD, format_usd
from otel_finops.base.protocols import ExportRequest
from otel_finops.base.span import Rejection, Span, WantedKeys
from otel_finops.otlp.batch import DecodedBatch
from otel_finops.otlp.decode_json import TRACES, parse_json
from otel_finops.otlp.enrich import Edit, encode_attributes, splice
from otel_finops.otlp.forward import ForwardCounters
from otel_finops.otlp.transcode import to_protobuf
from otel_finops.pricing.quote import Quote

COST: Final = "gen_ai.usage.cost"
COST_DETAILS: Final = ("gen_ai.usage.cost.amount", "gen_ai.usage.cost.currency", "gen_ai.usage.cost.source")
METHOD: Final = "finops.cost.method"
REPORTED: Final = "finops.cost.reported"
PRICE_KEY: Final = "finops.price.key"
PRICE_VERSION: Final = "finops.price.version"
HOP: Final = "finops.hop"
WANTED: Final = WantedKeys(frozenset({HOP, REPORTED}))
"""What must be decoded of spans that travel on."""

_GONE: Final = {key.encode(): None for key in (METHOD, PRICE_KEY, PRICE_VERSION, HOP, *COST_DETAILS)}
_MOVED: Final[Mapping[bytes, bytes | None]] = {**_GONE, COST.encode(): REPORTED.encode()}
_MOVED_BEFORE: Final[Mapping[bytes, bytes | None]] = {**_GONE, COST.encode(): None}
"""For spans that a hop like us priced before: the sender's own cost stands under its name already."""
_UNPRICED: Final[Mapping[bytes, bytes | None]] = {key: None for key in _GONE if key.decode() not in COST_DETAILS}
_HOP_ONLY: Final[Mapping[bytes, bytes | None]] = {HOP.encode(): None}
_HOPS_CHARS_MAX: Final = 512
"""Thirty ledgers in a row; no real chain is longer, and a mark must not grow with every hop for ever."""


class Forwarder(Protocol):
    """Hands requests to the next hop, now or from a queue (`otlp.forward`, `otlp.spool`)."""

    counters: ForwardCounters

    def pass_on(self, body: bytes, spans: int) -> tuple[Rejection, ...]:
        """Hand over a protobuf request; what the hop refused. Raises Unavailable when the sender must repeat it."""
        ...


class Onward(NamedTuple):
    """The way to the next hop.

    Attributes:
        forwarder: takes the enriched requests.
        hop: this ledger's id, written on every span that leaves; what comes back with it is neither journalled nor passed on.
        details: write amount, currency and source of the cost too.
    """

    forwarder: Forwarder
    hop: str
    details: bool = False

    def is_ours(self, span: Span) -> bool:
        """The span has been here before."""
        return HOP in span.attributes and self.hop in _hops(span)

    def pass_on(self, request: ExportRequest, batch: DecodedBatch, quotes: Iterable[Quote | None]) -> tuple[Rejection, ...]:
        """Hand over a request whose spans are in the ledger.

        Args:
            request: as it came.
            batch: what was decoded of it.
            quotes: one for each span of the batch that is not ours, in order; None on what is no call; those not given count as None.

        Raises:
            Unavailable: as `Forwarder.pass_on`.
        """
        edits = self._edits(batch, quotes)
        body = request.body
        if request.encoding == "json":
            body, dropped = to_protobuf(parse_json(body, TRACES), {place for place, edit in enumerate(edits) if edit is None})
            self.forwarder.counters.drop(dropped)
        spans = sum(edit is not None for edit in edits)
        return self.forwarder.pass_on(splice(body, edits), spans) if spans else ()

    def _edits(self, batch: DecodedBatch, quotes: Iterable[Quote | None]) -> list[Edit | None]:
        """What changes in each span of the request, rejected ones included; None leaves it out."""
        spans, priced, rejected = iter(batch.spans), iter(quotes), frozenset(batch.rejected_at)
        edits: list[Edit | None] = []
        for place in range(batch.received):
            span = None if place in rejected else next(spans)
            edits.append(None if span is None or self.is_ours(span) else self._edit(span, next(priced, None)))
        return edits

    def _edit(self, span: Span, quote: Quote | None) -> Edit:
        hop = " ".join((*_hops(span), self.hop)) if HOP in span.attributes else self.hop
        if quote is None:
            return Edit(_constant(None, None, None, hop), _HOP_ONLY)
        constant = _constant(quote.method, quote.price_key, quote.price_version, hop)
        if quote.cost_pico is None:
            return Edit(constant, _UNPRICED)
        cost: dict[str, str | float] = {COST: quote.cost_pico / PICO_PER_USD}
        if self.details:
            cost |= zip(COST_DETAILS, (format_usd(quote.cost_pico), "USD", quote.method), strict=True)
        return Edit(encode_attributes(cost) + constant, _MOVED_BEFORE if REPORTED in span.attributes else _MOVED)


def _hops(span: Span) -> list[str]:
    """The ledgers that a span has passed, the last ones, in order."""
    return str(span.attributes.get(HOP) or "")[-_HOPS_CHARS_MAX:].split()


@lru_cache(maxsize=4096)
def _constant(method: str | None, key: str | None, version: str | None, hop: str) -> bytes:
    """The attributes that many spans share."""
    attributes = {METHOD: method, PRICE_KEY: key, PRICE_VERSION: version, HOP: hop}
    return encode_attributes({name: value for name, value in attributes.items() if value is not None})
