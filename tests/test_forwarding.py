"""A request that travels on carries the quote on its calls, our mark on all its spans, and is otherwise the one that came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_finops.base.protocols import Credential, ExportRequest
from otel_finops.base.span import Rejection, WantedKeys
from otel_finops.forwarding import HOP, WANTED, Onward
from otel_finops.otlp.decode import decode
from otel_finops.otlp.forward import ForwardCounters
from otel_finops.pricing.quote import Quote

NOW = 1_795_000_000_000_000_000
PRICED = Quote(12_500_000_000, "computed", (), "gpt-4o", "exact", "e72b09ba")  # 0.0125 USD
UNPRICED = Quote(None, "unpriced", unpriced_reason="unknown_model")
OURS = "aaaa000011112222"
WRITTEN = {
    "gen_ai.usage.cost": 0.0125, "finops.cost.method": "computed", "finops.price.key": "gpt-4o", "finops.price.version": "e72b09ba",
    HOP: OURS,
}  # fmt: skip


class Kept:
    """Keeps what is passed on."""

    def __init__(self) -> None:
        self.counters = ForwardCounters()
        self.body = b""
        self.spans = 0

    def pass_on(self, body: bytes, spans: int) -> tuple[Rejection, ...]:
        self.body, self.spans = body, spans
        return ()


def request(*spans: dict[str, Any], bad: Sequence[int] = ()) -> ExportTraceServiceRequest:
    """A request with a span for each set of attributes; the span ids of the `bad` ones are too short."""
    made = ExportTraceServiceRequest()
    scope = made.resource_spans.add().scope_spans.add()
    for place, attributes in enumerate(spans):
        span = scope.spans.add(name=f"span {place}", trace_id=bytes([1] * 16), span_id=bytes([place + 1] * (3 if place in bad else 8)))
        span.start_time_unix_nano, span.end_time_unix_nano = NOW, NOW + 1
        for key, value in attributes.items():
            kept = span.attributes.add(key=key).value
            if isinstance(value, float):
                kept.double_value = value
            else:
                kept.string_value = value
    return made


def passed_on(body: bytes, quotes: Sequence[Quote | None], *, details: bool = False, encoding: Any = "protobuf") -> list[dict[str, Any]]:
    """The attributes of the spans that travel on."""
    onward = Onward(kept := Kept(), OURS, details)
    batch = decode(body, encoding, WantedKeys(frozenset({"gen_ai.request.model"}) | WANTED.exact), NOW)
    assert onward.pass_on(ExportRequest(body, encoding, Credential()), batch, quotes) == ()
    spans = [
        {kv.key: getattr(kv.value, str(kv.value.WhichOneof("value"))) for kv in span.attributes}
        for resource in ExportTraceServiceRequest.FromString(kept.body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert len(spans) == kept.spans
    return spans


def test_a_priced_call_carries_its_quote() -> None:
    body = request({"gen_ai.request.model": "gpt-4o"}).SerializeToString()
    assert passed_on(body, [PRICED]) == [{"gen_ai.request.model": "gpt-4o", **WRITTEN}]


def test_amount_currency_and_source_are_written_when_asked_for() -> None:
    [span] = passed_on(request({}).SerializeToString(), [PRICED], details=True)
    assert span == WRITTEN | {
        "gen_ai.usage.cost.amount": "0.0125", "gen_ai.usage.cost.currency": "USD", "gen_ai.usage.cost.source": "computed",
    }  # fmt: skip


def test_what_is_no_call_gets_our_mark_alone() -> None:
    assert passed_on(request({"http.method": "GET"}).SerializeToString(), [None]) == [{"http.method": "GET", HOP: OURS}]


def test_an_unpriced_call_gets_no_cost_and_keeps_the_senders() -> None:
    body = request({"gen_ai.usage.cost": 0.5}).SerializeToString()
    assert passed_on(body, [UNPRICED]) == [{"gen_ai.usage.cost": 0.5, "finops.cost.method": "unpriced", HOP: OURS}]


def test_the_senders_own_cost_is_kept_under_another_name() -> None:
    body = request({"gen_ai.usage.cost": 0.5}).SerializeToString()
    assert passed_on(body, [PRICED]) == [WRITTEN | {"finops.cost.reported": 0.5}]


def test_behind_another_ledger_the_senders_own_cost_is_still_the_one_that_is_kept() -> None:
    """The other ledger's quote gives way to ours, its mark stays in front of ours."""
    before = {"finops.cost.reported": 0.5, "gen_ai.usage.cost": 0.02, "finops.cost.method": "computed", HOP: "bbbb000011112222"}
    [span] = passed_on(request(before).SerializeToString(), [PRICED])
    assert span == WRITTEN | {"finops.cost.reported": 0.5, HOP: f"bbbb000011112222 {OURS}"}


def test_rejected_spans_and_those_that_were_here_before_do_not_travel_on() -> None:
    body = request({"a": "1"}, {"a": "2"}, {HOP: f"bbbb {OURS}"}, {"a": "4"}, bad=[1]).SerializeToString()
    assert [span["a"] for span in passed_on(body, [None, None])] == ["1", "4"]


def test_nothing_is_sent_when_nothing_travels_on() -> None:
    assert passed_on(request({HOP: OURS}).SerializeToString(), []) == []


def test_json_travels_on_as_protobuf() -> None:
    span = {
        "traceId": "01" * 16, "spanId": "02" * 8, "name": "chat", "startTimeUnixNano": str(NOW), "endTimeUnixNano": str(NOW),
        "attributes": [{"key": "gen_ai.request.model", "value": {"stringValue": "gpt-4o"}}],
    }  # fmt: skip
    spans = [span, span | {"spanId": "xyz"}, span | {"spanId": "03" * 8}]
    body = orjson.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})
    assert passed_on(body, [PRICED, None], encoding="json") == [
        {"gen_ai.request.model": "gpt-4o", **WRITTEN},
        {"gen_ai.request.model": "gpt-4o", HOP: OURS},
    ]


@pytest.mark.parametrize("marks", ["x" * 100_000, " ".join(f"{number:016x}" for number in range(1_000))])
def test_a_long_trail_of_marks_is_cut(marks: str) -> None:
    [span] = passed_on(request({HOP: marks}).SerializeToString(), [None])
    assert span[HOP].endswith(OURS)
    assert len(span[HOP]) < 1_000
