"""Requests as no exporter writes them and protobuf allows them: they are read, and travel on equal but for what is added.

What should come out is made from the parsed request by Google's own library, attribute by attribute.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_finops.base.protocols import Credential, ExportRequest
from otel_finops.base.span import Rejection, WantedKeys
from otel_finops.forwarding import COST, COST_DETAILS, HOP, METHOD, PRICE_KEY, PRICE_VERSION, REPORTED, WANTED, Onward
from otel_finops.otlp.decode import decode
from otel_finops.otlp.forward import ForwardCounters
from otel_finops.pricing.quote import Quote

NOW = 1_795_000_000_000_000_000
PRICED = Quote(12_500_000_000, "computed", (), "gpt-4o", "exact", "e72b09ba")
UNPRICED = Quote(None, "unpriced", unpriced_reason="unknown_model")
OURS = "aaaa000011112222"
OUR_KEYS = {METHOD, PRICE_KEY, PRICE_VERSION, HOP, *COST_DETAILS}


class Sent(NamedTuple):
    """A request and what is known of its spans, in order."""

    body: bytes
    quotes: list[Quote | None]


# --- writing the wire format, in any legal way ---------------------------------------------------------------------


def varint(value: int, longer: int = 0) -> bytes:
    """A varint, with so many bytes more than it needs."""
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    for _ in range(longer):
        written[-1] |= 128
        written.append(0)
    return bytes(written)


@st.composite
def fields(draw: st.DrawFn, known: list[tuple[int, bytes]], unknown: int = 2) -> bytes:
    """Known length-delimited fields in their order, some with lengths and tags longer than need be, unknown ones in between."""
    pieces = []
    for number, content in known:
        tag, length = (draw(st.sampled_from((0, 0, 0, 1, 2))) for _ in range(2))
        pieces.append(varint(number << 3 | 2, tag) + varint(len(content), length) + content)
    for _ in range(draw(st.integers(0, unknown))):
        pieces.insert(draw(st.integers(0, len(pieces))), draw(UNKNOWN))
    return b"".join(pieces)


def _unknown(number: int, wire: int, filling: bytes) -> bytes:
    content = {0: varint(len(filling) * 99, 1), 1: bytes(8), 2: varint(len(filling)) + filling, 5: bytes(4)}[wire]
    return varint(number << 3 | wire) + content


FILLINGS = st.sampled_from((b"", COST.encode(), b"\x0a\x00"))
UNKNOWN = st.builds(
    _unknown, st.integers(1000, 2**29 - 1), st.sampled_from((0, 1, 2, 5)), st.sampled_from((b"", COST.encode(), b"\x0a\x00"))
)

# --- spans ---------------------------------------------------------------------------------------------------------

KEYS = st.sampled_from(["gen_ai.request.model", "a", "", COST, COST, REPORTED, HOP, *sorted(OUR_KEYS)])
VALUES = st.one_of(
    st.builds(lambda text: AnyValue(string_value=text), st.sampled_from(["", "0.5", COST, "bbbb000011112222", "x" * 200])),
    st.builds(lambda number: AnyValue(int_value=number), st.integers(-(2**63), 2**63 - 1)),
    st.builds(lambda number: AnyValue(double_value=number), st.floats(allow_nan=False)),
    st.builds(lambda value: AnyValue(bool_value=value), st.booleans()),
    st.builds(lambda content: AnyValue(bytes_value=content), st.binary(max_size=3)),
    st.builds(AnyValue),
)


@st.composite
def attribute(draw: st.DrawFn) -> bytes:
    """Now and then with its value in front of its key, the key twice (the last one counts), or no value."""
    key, value = (1, draw(KEYS).encode()), (2, draw(VALUES).SerializeToString())
    order = draw(st.sampled_from(([key, value], [key, value], [value, key], [(1, b"other"), key, value], [key])))
    return draw(fields(order, unknown=1))


@st.composite
def span(draw: st.DrawFn, number: int) -> bytes:
    times = b"\x39" + NOW.to_bytes(8, "little") + b"\x41" + (NOW + 1).to_bytes(8, "little")
    known = [(1, bytes([1] * 16)), (2, number.to_bytes(8, "big")), (5, b"chat")]
    known += [(9, one) for one in draw(st.lists(attribute(), max_size=6))]
    return draw(fields(draw(st.permutations(known)))) + times


@st.composite
def sent(draw: st.DrawFn) -> Sent:
    """Resources, scopes and spans in any number, none included; a resource may follow its scopes and come twice."""
    quotes: list[Quote | None] = []
    resources = []
    for _ in range(draw(st.integers(0, 2))):
        scopes = []
        for _ in range(draw(st.integers(0, 2))):
            spans = []
            for _ in range(draw(st.integers(0, 3))):
                quotes.append(draw(st.sampled_from((PRICED, UNPRICED, None))))
                spans.append((2, draw(span(len(quotes)))))
            scopes.append((2, draw(fields(draw(st.permutations([(1, b"\x0a\x01s"), *spans])) if draw(st.booleans()) else spans))))
        resource = draw(st.lists(st.just((1, b"\x0a\x0b\x0a\x01r\x12\x06\x0a\x04shop")), max_size=2))
        resources.append((1, draw(fields([*scopes, *resource] if draw(st.booleans()) else [*resource, *scopes]))))
    body = draw(fields(resources))
    return Sent(body, _in_order(body, quotes))


def _in_order(body: bytes, quotes: list[Quote | None]) -> list[Quote | None]:
    """The quotes in the order in which their spans stand in the body: shuffled spans keep theirs by number."""
    return [quotes[int.from_bytes(one.span_id) - 1] for one in spans_of(ExportTraceServiceRequest.FromString(body))]


# --- what should come out ------------------------------------------------------------------------------------------


def spans_of(request: ExportTraceServiceRequest) -> list[Span]:
    return [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


def expected(span: Span, quote: Quote | None) -> None:
    """Change the span as the contract says."""
    before = [KeyValue.FromString(one.SerializeToString()) for one in span.attributes]
    hops = [one.value for one in before if one.key == HOP and one.value.WhichOneof("value") not in (None, "bytes_value")]
    priced_before = any(one.key == REPORTED and one.value.WhichOneof("value") not in (None, "bytes_value") for one in before)
    gone = {HOP} if quote is None else {METHOD, PRICE_KEY, PRICE_VERSION, HOP}
    if quote is PRICED:
        gone |= set(COST_DETAILS) | ({COST} if priced_before else set())
    kept = [one for one in before if one.key not in gone]
    if quote is PRICED:
        for one in kept:
            one.key = REPORTED if one.key == COST else one.key
    del span.attributes[:]
    span.attributes.extend(kept)
    if quote is PRICED:
        span.attributes.add(key=COST).value.double_value = 0.0125
    if quote is not None:
        span.attributes.add(key=METHOD).value.string_value = quote.method
    if quote is PRICED:
        span.attributes.add(key=PRICE_KEY).value.string_value = "gpt-4o"
        span.attributes.add(key=PRICE_VERSION).value.string_value = "e72b09ba"
    mark = str(_said(hops[-1]) or "") if hops else ""
    span.attributes.add(key=HOP).value.string_value = " ".join((*mark.split(), OURS))


def _said(value: AnyValue) -> Any:
    return getattr(value, str(value.WhichOneof("value")))


class Kept:
    """Keeps what is passed on."""

    def __init__(self) -> None:
        self.counters = ForwardCounters()
        self.body, self.spans = b"", 0

    def pass_on(self, body: bytes, spans: int) -> tuple[Rejection, ...]:
        self.body, self.spans = body, spans
        return ()


@settings(max_examples=300, deadline=None)
@given(sent())
@example(Sent(b"", []))
@example(Sent(b"\x0a\x00\x8a\x00\x82\x00\x12\x00", []))
def test_what_is_legal_travels_on_equal_but_for_the_additions(request: Sent) -> None:
    batch = decode(request.body, "protobuf", WantedKeys(frozenset({"gen_ai.request.model", COST}) | WANTED.exact), NOW)
    assert (batch.received, batch.rejections) == (len(request.quotes), ())
    onward = Onward(kept := Kept(), OURS)
    assert onward.pass_on(ExportRequest(request.body, "protobuf", Credential()), batch, request.quotes) == ()
    wanted = ExportTraceServiceRequest.FromString(request.body)
    for one, quote in zip(spans_of(wanted), request.quotes, strict=True):
        expected(one, quote)
    assert kept.spans == len(request.quotes)
    if request.quotes:
        assert written(ExportTraceServiceRequest.FromString(kept.body)) == written(wanted)


def written(request: ExportTraceServiceRequest) -> bytes:
    """Comparing messages would leave out fields that the library does not know."""
    return request.SerializeToString(deterministic=True)
