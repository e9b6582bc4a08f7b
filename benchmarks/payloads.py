"""OTLP requests of agent traces, serialised once and made new in place: every id in the buffer can be overwritten before a send."""

from __future__ import annotations

import json
import random
import struct
import time
from typing import Final, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

Plain = str | int | float | bool

_ID_MARK: Final = b"\xf1\x9d\x0b\xe7"
_ANSWER_MARK: Final = b"~answer~"
_ID_BYTES: Final = 8
_CLIENT: Final = "opentelemetry.instrumentation.genai.openai"
_AGENT: Final = "bench.agent"
_HTTP: Final = "opentelemetry.instrumentation.httpx"
_DATABASE: Final = "opentelemetry.instrumentation.psycopg"
_MODELS: Final = (
    ("openai", "gpt-5-mini", "gpt-5-mini-2025-08-07"),
    ("openai", "gpt-4.1", "gpt-4.1-2025-04-14"),
    ("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
    ("gcp.gemini", "gemini-2.5-flash", "gemini-2.5-flash"),
)
_RESOURCE: Final[dict[str, Plain]] = {
    "service.name": "bench-agent", "service.version": "3.1.0", "service.instance.id": "bench-agent-0",
    "deployment.environment.name": "bench",
    "host.name": "bench-host", "process.pid": 1234, "telemetry.sdk.name": "opentelemetry", "telemetry.sdk.language": "python",
    "telemetry.sdk.version": "1.45.2",
}  # fmt: skip


class Shape(NamedTuple):
    """What requests look like.

    Attributes:
        spans: per request; stock exporters send 512.
        content_bytes: size of each of a model call's two message attributes; 0 leaves them out.
        genai_share: part of the spans that speak of GenAI; the rest are HTTP and database spans.
        tenants, users: how many different ones.
    """

    spans: int = 512
    content_bytes: int = 1024
    genai_share: float = 0.5
    tenants: int = 50
    users: int = 2_000


class Payload:
    """A serialised request and the places of its ids."""

    def __init__(self, serialised: bytes, spans: int, genai: int) -> None:
        self.buffer: Final = bytearray(serialised)
        self.spans: Final = spans
        self.genai: Final = genai
        self._ids = _places(serialised, _ID_MARK, binary=True)
        self._answers = _places(serialised, _ANSWER_MARK, binary=False)
        self._count = 1 + max((index for _, index in (*self._ids, *self._answers)), default=0)

    def renew(self, rng: random.Random, *, answers: bool = True) -> None:
        """Give every trace, span and (unless told otherwise) provider's answer a new id; parents and children keep together."""
        fresh, buffer, size = rng.randbytes(_ID_BYTES * self._count), self.buffer, _ID_BYTES
        for place, index in self._ids:
            buffer[place : place + size] = fresh[index * size : index * size + size]
        if answers:
            text = fresh.hex().encode()
            for place, index in self._answers:
                buffer[place : place + 2 * size] = text[2 * index * size : 2 * (index + 1) * size]


def _places(serialised: bytes, mark: bytes, *, binary: bool) -> list[tuple[int, int]]:
    """Where placeholders stand, and which id each of them is."""
    found, place = [], serialised.find(mark)
    while place >= 0:
        tail = serialised[place + len(mark) : place + (_ID_BYTES if binary else 2 * _ID_BYTES)]
        found.append((place, struct.unpack("<I", tail)[0] if binary else int(tail)))
        place = serialised.find(mark, place + len(mark))
    return found


class _Builder:
    """One request in the making."""

    def __init__(self, shape: Shape, rng: random.Random) -> None:
        self.shape, self.rng = shape, rng
        self.request = ExportTraceServiceRequest()
        resource_spans = self.request.resource_spans.add()
        resource_spans.resource.attributes.extend(_attribute(key, value) for key, value in _RESOURCE.items())
        self.scopes: dict[str, ScopeSpans] = {}
        for name in (_CLIENT, _AGENT, _HTTP, _DATABASE):
            self.scopes[name] = resource_spans.scope_spans.add()
            self.scopes[name].scope.name, self.scopes[name].scope.version = name, "1.3b0"
        self.identifiers = self.spans = self.genai = 0

    @property
    def full(self) -> bool:
        return self.spans >= self.shape.spans

    def identifier(self) -> bytes:
        self.identifiers += 1
        return _ID_MARK + struct.pack("<I", self.identifiers)

    def span(self, scope: str, name: str, parent: Span | bytes, start_ns: int, duration_ns: int, attributes: dict[str, Plain]) -> Span:
        """A span below a parent, or the root of the trace whose id is given."""
        span = self.scopes[scope].spans.add()
        span.trace_id = parent if isinstance(parent, bytes) else parent.trace_id
        span.parent_span_id = b"" if isinstance(parent, bytes) else parent.span_id
        span.span_id, span.name, span.flags = self.identifier(), name, 1
        span.kind = Span.SPAN_KIND_INTERNAL if scope == _AGENT else Span.SPAN_KIND_CLIENT
        span.start_time_unix_nano, span.end_time_unix_nano = start_ns, start_ns + duration_ns
        span.attributes.extend(_attribute(key, value) for key, value in attributes.items())
        self.spans += 1
        self.genai += scope in (_CLIENT, _AGENT)
        return span

    def plain_spans(self, parent: Span, start_ns: int) -> None:
        """HTTP and database spans until the share of GenAI spans is right again."""
        while not self.full and self.genai > self.shape.genai_share * self.spans:
            if self.rng.random() < 0.6:
                self.span(_HTTP, "POST", parent, start_ns, 600_000_000, {
                    "http.request.method": "POST", "url.full": "https://api.example.com/v1/chat/completions",
                    "server.address": "api.example.com", "server.port": 443, "http.response.status_code": 200,
                })  # fmt: skip
            else:
                self.span(_DATABASE, "SELECT", parent, start_ns, 3_000_000, {
                    "db.system.name": "postgresql", "db.namespace": "shop", "db.operation.name": "SELECT",
                    "db.query.text": "SELECT id, status FROM orders WHERE customer = $1 ORDER BY placed_at DESC LIMIT 20",
                })  # fmt: skip

    def trace(self, start_ns: int) -> None:
        """An agent's run of several steps."""
        rng, shape = self.rng, self.shape
        person: dict[str, Plain] = {
            "finops.tenant": f"tenant-{rng.randrange(shape.tenants):03d}",
            "user.id": f"user-{rng.randrange(shape.users):05d}",
            "gen_ai.conversation.id": f"conversation-{rng.getrandbits(48):012x}",
        }
        root = self.span(_AGENT, "invoke_agent planner", self.identifier() + rng.randbytes(8), start_ns, 8_000_000_000, {
            "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner", "gen_ai.provider.name": "openai", **person,
        })  # fmt: skip
        self.plain_spans(root, start_ns)
        for step in range(rng.randint(3, 8)):
            if self.full:
                return
            self.call(root, start_ns + step * 900_000_000, person)
            if not self.full and rng.random() < 0.5:
                self.span(_AGENT, "execute_tool find_order", root, start_ns + step * 900_000_000 + 800_000_000, 40_000_000, {
                    "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "find_order", "gen_ai.tool.type": "function",
                })  # fmt: skip
                self.plain_spans(root, start_ns)

    def call(self, parent: Span, start_ns: int, person: dict[str, Plain]) -> None:
        """One model call with the attributes that official instrumentations set."""
        rng = self.rng
        provider, asked, served = rng.choice(_MODELS)
        prompt = rng.randrange(300, 9_000)
        attributes: dict[str, Plain] = {
            "gen_ai.operation.name": "chat", "gen_ai.provider.name": provider,
            "gen_ai.request.model": asked, "gen_ai.response.model": served,
            "gen_ai.response.id": f"chatcmpl-{_ANSWER_MARK.decode()}{self.identifiers + 1:08d}", "gen_ai.usage.input_tokens": prompt,
            "gen_ai.usage.output_tokens": rng.randrange(20, 900), "gen_ai.usage.cache_read.input_tokens": rng.choice((0, prompt // 2)),
            "gen_ai.request.temperature": 0.2, "gen_ai.request.max_tokens": 2048, "gen_ai.output.type": "text",
            "openai.response.service_tier": "default", "server.address": "api.example.com", "server.port": 443, **person,
        }  # fmt: skip
        if self.shape.content_bytes:
            for key, role in (("gen_ai.input.messages", "user"), ("gen_ai.output.messages", "assistant")):
                text = "lorem ipsum dolor sit amet "[: rng.randint(12, 27)] * (self.shape.content_bytes // 12)
                parts = [{"type": "text", "content": text[: self.shape.content_bytes]}]
                attributes[key] = json.dumps([{"role": role, "parts": parts}])
        call = self.span(_CLIENT, f"chat {asked}", parent, start_ns, 700_000_000, attributes)
        self.plain_spans(call, start_ns)


def _attribute(key: str, value: Plain) -> KeyValue:
    if isinstance(value, bool):
        return KeyValue(key=key, value=AnyValue(bool_value=value))
    if isinstance(value, int):
        return KeyValue(key=key, value=AnyValue(int_value=value))
    if isinstance(value, float):
        return KeyValue(key=key, value=AnyValue(double_value=value))
    return KeyValue(key=key, value=AnyValue(string_value=value))


def build(count: int, shape: Shape, seed: int = 1, now_ns: int | None = None) -> list[Payload]:
    """Different requests, all of whose spans ended within the last minute."""
    rng = random.Random(seed)
    now_ns = now_ns or time.time_ns()
    payloads = []
    for _ in range(count):
        builder = _Builder(shape, rng)
        while not builder.full:
            builder.trace(now_ns - 10_000_000_000 - rng.randrange(50_000_000_000))
        payloads.append(Payload(builder.request.SerializeToString(), builder.spans, builder.genai))
    return payloads
