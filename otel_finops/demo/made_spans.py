"""Spans made by hand with given times, as the semantic conventions for GenAI write them: one run of an application is one trace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from random import Random
from typing import Final, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.util.types import AttributeValue

from otel_finops.base.times import NS_PER_SECOND

NAMESPACE: Final = "demo"
"""`service.namespace` and environment of all that is made up."""
APPLICATION_SCOPE: Final = "demo.application"
_CLIENT_SCOPE: Final = "opentelemetry.instrumentation.genai"
_FRAMEWORK_SCOPE: Final = "opentelemetry.instrumentation.langchain"
_TRACE_BYTES: Final = 16
_SPAN_BYTES: Final = 8
_FIRST_TOKEN_S: Final = 0.4
_TOKENS_PER_S: Final = 90.0
_GAP_S: Final = 0.02
_REFUSED_S: Final = 0.2


class Model(NamedTuple):
    """A model and who sells it, in the words of spans."""

    provider: str
    name: str
    served: str = ""


class Tokens(NamedTuple):
    """What a call takes; `prompt` includes what was read from and written to the cache."""

    prompt: int
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


class Run:
    """One trace in the making. Its clock stands where the last span ended; stages hold what is made inside them.

    Args:
        service: the `service.name`.
        start_ns: when its first span begins.
    """

    def __init__(self, service: str, start_ns: int, rng: Random) -> None:
        self.service = service
        self.start_ns = self.now_ns = start_ns
        self.rng = rng
        self.trace_id = rng.randbytes(_TRACE_BYTES)
        self.spans: list[tuple[str, Span]] = []
        self.calls = 0
        self._parents: list[bytes] = []

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += round(seconds * NS_PER_SECOND)

    @contextlib.contextmanager
    def stage(self, name: str, attributes: Mapping[str, AttributeValue] | None = None, *, scope: str = APPLICATION_SCOPE) -> Iterator[Span]:
        """A span of the application's own around what is made inside."""
        span = self._begin(scope, name, attributes or {}, Span.SPAN_KIND_INTERNAL if self._parents else Span.SPAN_KIND_SERVER)
        self._parents.append(span.span_id)
        self.wait(_GAP_S)
        yield span
        self.wait(_GAP_S)
        self._parents.pop()
        span.end_time_unix_nano = self.now_ns

    def agent(self, name: str, **attributes: AttributeValue) -> contextlib.AbstractContextManager[Span]:
        """An agent's run."""
        return self.stage(
            f"invoke_agent {name}", {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name, **_dotted(attributes)}
        )

    def step(self, name: str) -> contextlib.AbstractContextManager[Span]:
        """A step of an agent, or of the application."""
        return self.stage(name.replace("_", " "), {"finops.step": name})

    def tool(self, name: str, seconds: float, *, failed: bool = False) -> None:
        """A tool that an agent runs."""
        with self.stage(f"execute_tool {name}", {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name}) as span:
            self.wait(seconds)
        if failed:
            span.status.code = Status.STATUS_CODE_ERROR

    def call(self, model: Model, tokens: Tokens, *, operation: str = "chat", wrapped: bool = False) -> None:
        """A call of a model; `wrapped`: a framework's span around it says the same numbers, as many do."""
        attributes = _said(model, tokens, operation)
        if not wrapped:
            self._answered(model, tokens, operation, attributes)
            return
        with self.stage(f"{operation} {model.name}", attributes, scope=_FRAMEWORK_SCOPE):
            self._answered(model, tokens, operation, attributes)

    def guarded(self, guardrail: str, verdict: str, reason: str) -> None:
        """What a guardrail says of the step in which it looks."""
        said = {"finops.guardrail.verdict": verdict, "finops.guardrail.name": guardrail, "finops.guardrail.reason": reason}
        with self.stage(f"guardrail {guardrail}", said):
            self.wait(_GAP_S)

    def refused(self, model: Model, error: str, *, seconds: float = _REFUSED_S) -> None:
        """A call that came to nothing: an error answer, or a time-out, of which nobody knows what it cost."""
        span = self._begin(_CLIENT_SCOPE, f"chat {model.name}", _asked(model, "chat") | {"error.type": error}, Span.SPAN_KIND_CLIENT)
        span.status.code = Status.STATUS_CODE_ERROR
        self.wait(seconds)
        span.end_time_unix_nano = self.now_ns
        self.calls += 1

    def _answered(self, model: Model, tokens: Tokens, operation: str, attributes: Mapping[str, AttributeValue]) -> None:
        answer = {"gen_ai.response.id": f"demo-{self.rng.getrandbits(64):016x}"}
        span = self._begin(_CLIENT_SCOPE, f"{operation} {model.name}", {**attributes, **answer}, Span.SPAN_KIND_CLIENT)
        self.wait(_FIRST_TOKEN_S + tokens.prompt / 40_000 + tokens.output / _TOKENS_PER_S)
        span.end_time_unix_nano = self.now_ns
        self.calls += 1

    def _begin(self, scope: str, name: str, attributes: Mapping[str, AttributeValue], kind: Span.SpanKind.ValueType) -> Span:
        span = Span(trace_id=self.trace_id, span_id=self.rng.randbytes(_SPAN_BYTES), name=name, kind=kind, flags=1)
        if self._parents:
            span.parent_span_id = self._parents[-1]
        span.start_time_unix_nano = self.now_ns
        span.attributes.extend(_attributes(attributes))
        self.spans.append((scope, span))
        return span


def request_of(runs: Iterable[Run]) -> bytes:
    """The runs' spans as one OTLP export request, protobuf."""
    request = ExportTraceServiceRequest()
    for run in runs:
        spans = request.resource_spans.add()
        spans.resource.attributes.extend(_attributes(_resource(run.service)))
        for scope in dict.fromkeys(scope for scope, _ in run.spans):
            scoped = spans.scope_spans.add()
            scoped.scope.name = scope
            scoped.spans.extend(span for its, span in run.spans if its == scope)
    return request.SerializeToString()


def _resource(service: str) -> dict[str, AttributeValue]:
    return {
        "service.name": service,
        "service.namespace": NAMESPACE,
        "service.instance.id": f"{service}-0",
        "deployment.environment.name": NAMESPACE,
    }


def _asked(model: Model, operation: str) -> dict[str, AttributeValue]:
    return {"gen_ai.operation.name": operation, "gen_ai.provider.name": model.provider, "gen_ai.request.model": model.name}


def _said(model: Model, tokens: Tokens, operation: str) -> dict[str, AttributeValue]:
    """What a span says of an answered call; counts of nothing are left out."""
    counts = {
        "gen_ai.usage.output_tokens": tokens.output,
        "gen_ai.usage.cache_read.input_tokens": tokens.cache_read,
        "gen_ai.usage.cache_creation.input_tokens": tokens.cache_write,
        "gen_ai.usage.reasoning.output_tokens": tokens.reasoning,
    }
    said = _asked(model, operation)
    said["gen_ai.response.model"], said["gen_ai.usage.input_tokens"] = model.served or model.name, tokens.prompt
    said.update((key, count) for key, count in counts.items() if count)
    return said


def _dotted(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    return {f"finops.{key.replace('__', '.')}": value for key, value in attributes.items()}


def _attributes(said: Mapping[str, AttributeValue]) -> Iterator[KeyValue]:
    for key, value in said.items():
        yield KeyValue(key=key, value=_value(value))


def _value(value: AttributeValue) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(string_value=str(value))
