"""Export requests made by hand: calls whose price is known, in any grouping."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

SECOND = 1_000_000_000
INPUT_USD, OUTPUT_USD = "0.0000025", "0.00001"
"""What gpt-4o-2024-08-06 costs a token: 2.50 and 10 USD a million."""

Edit = Callable[[Span, int], None]


def put(span: Span, key: str, value: object) -> None:
    """Set an attribute, replacing what it said."""
    for attribute in span.attributes:
        if attribute.key == key:
            span.attributes.remove(attribute)
            break
    span.attributes.add(key=key).value.CopyFrom(any_value(value))


def any_value(value: object) -> AnyValue:
    """A Python value as OTLP sends it."""
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, list):
        made = AnyValue()
        made.array_value.values.extend(any_value(one) for one in value)
        return made
    return AnyValue(string_value=str(value))


def unchanged(span: Span, index: int) -> None:
    """Edits nothing."""


def calls(
    trace: bytes, count: int = 1, edit: Edit = unchanged, *, start_ns: int | None = None, scope: str = "tests", genai: bool = True
) -> ExportTraceServiceRequest:
    """A request with `count` calls of 1,000 tokens in and 200 out in one trace, each 0.0045 USD; `edit` changes each span."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope_spans = resource_spans.scope_spans.add()
    scope_spans.scope.name = scope
    start_ns = start_ns or time.time_ns() - 60 * SECOND
    for index in range(count):
        span = scope_spans.spans.add(trace_id=trace, span_id=(index + 1).to_bytes(8, "big"), name="chat gpt-4o", kind=3, flags=1)
        span.start_time_unix_nano, span.end_time_unix_nano = start_ns + index, start_ns + index + SECOND
        if genai:
            for key, value in CALL.items():
                put(span, key, value)
        edit(span, index)
    return request


CALL: dict[str, object] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 200,
}


def body(trace: bytes, count: int = 1, edit: Edit = unchanged, **more: Any) -> bytes:
    """The same, serialised."""
    return calls(trace, count, edit, **more).SerializeToString()


def json_body(trace: bytes, attributes: dict[str, dict[str, Any]]) -> bytes:
    """One call in OTLP/JSON; `attributes` are values as they stand in the text, e.g. `{"intValue": "12"}`."""
    said = {key: {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value} for key, value in CALL.items()}
    said.update(attributes)
    now = time.time_ns() - 60 * SECOND
    span = {
        "traceId": trace.hex(), "spanId": "00000000000000aa", "name": "chat gpt-4o", "kind": 3,
        "startTimeUnixNano": str(now), "endTimeUnixNano": str(now + SECOND),
        "attributes": [{"key": key, "value": value} for key, value in said.items()],
    }  # fmt: skip
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "tests"}, "spans": [span]}]}]}).encode()


def trace_id(number: int, run: int = 0) -> bytes:
    """A trace id that is the same in every run of the tests."""
    return random.Random(f"{run}-{number}").randbytes(16)


# --- recorded requests ---------------------------------------------------------------------------------------------


def recorded(corpus: Path, *beginnings: str) -> list[ExportTraceServiceRequest]:
    """All recorded trace requests of the cases whose names begin so."""
    folders = [folder for folder in sorted(corpus.iterdir()) if folder.name.startswith(beginnings)]
    return [
        ExportTraceServiceRequest.FromString(path.read_bytes()) for folder in folders for path in sorted(folder.glob("request-*.binpb"))
    ]


def single_spans(requests: Iterable[ExportTraceServiceRequest]) -> Iterator[ExportTraceServiceRequest]:
    """Every span in a request of its own, with its resource and scope."""
    for request in requests:
        for of_resource in request.resource_spans:
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    one = ExportTraceServiceRequest()
                    resource_spans = one.resource_spans.add(resource=of_resource.resource, schema_url=of_resource.schema_url)
                    resource_spans.scope_spans.add(scope=of_scope.scope, schema_url=of_scope.schema_url, spans=[span])
                    yield one


def regrouped(requests: Iterable[ExportTraceServiceRequest], seed: int) -> list[bytes]:
    """The same spans, one in three twice, shuffled, in requests of one to twelve."""
    rng = random.Random(seed)
    singles = list(single_spans(requests))
    singles += rng.sample(singles, len(singles) // 3)
    rng.shuffle(singles)
    bodies = []
    while singles:
        size = rng.randint(1, 12)
        group = ExportTraceServiceRequest()
        for one in singles[:size]:
            group.MergeFrom(one)
        del singles[:size]
        bodies.append(group.SerializeToString())
    return bodies


def length_delimited(bodies: Iterable[bytes]) -> bytes:
    """Requests as the Collector's file exporter writes them."""
    return b"".join(len(one).to_bytes(4, "big") + one for one in bodies)
