"""One conventional span for a model call that no instrumentation saw. Where one did see it, the ledger makes one call of both.

It says what the current GenAI conventions of OpenTelemetry have words for, and nothing of the call's content.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from otel_finops.client.attribution import Held, entered, held
from otel_finops.client.usage import Told, Usage, told_by

_log: Final = logging.getLogger(__name__)

SCOPE: Final = "otel_finops.client"
ESTIMATES: Final = "otel_finops.client.estimate"
"""The scope of spans whose counts are our own guess of a stream, as the meter makes it; the ledger knows it by this name."""
_NS_PER_S: Final = 1_000_000_000
_TIERS: Final = {"openai": "openai.response.service_tier", "anthropic": "anthropic.response.service_tier"}


class Recorded(NamedTuple):
    """The span that was written.

    Attributes:
        trace_id, span_id: lower-case hex, as `cost` and `trace_cost` take them.
    """

    trace_id: str
    span_id: str


def record(
    answer: object = None,
    *,
    provider: str,
    model: str | None = None,
    operation: str = "chat",
    usage: Usage | None = None,
    estimated: bool = False,
    response_id: str | None = None,
    duration_s: float | None = None,
    started_ns: int | None = None,
    error: BaseException | str | None = None,
    attributes: Mapping[str, Any] | None = None,
    tracer_provider: trace.TracerProvider | None = None,
) -> Recorded | None:
    """Write a span of a call that has been made, now that it is over. Never raises, and never asks for a decision.

        record(answer, provider="openai", duration_s=1.2)
        record(provider="house", model="llama-4", usage=Usage(input_uncached=900, output=120))

    In a guard's block it bears the guard's reservation. A call that an instrumentation shows too is booked once: give the provider's
    answer, or `response_id`, so that both name the same one.

    Args:
        answer: the provider's whole answer, object or dict (OpenAI, Anthropic); what is given beside it holds instead.
        provider: who bills, in any spelling.
        model: the model that was asked for; None: the one that answered.
        operation: `chat`, `embeddings`, `generate_content`, `text_completion` ...
        usage: what it used. estimated: of a stream that was cut off, as a meter counted it.
        duration_s, started_ns: how long it took, or when it began (nanoseconds since 1970); with neither it began just now.
        error: what it failed with.
        attributes: further ones.
        tracer_provider: None: the global one.

    Returns:
        None when nothing was written: no OpenTelemetry SDK is set up, the span is not sampled, or what was given makes no span (logged).
    """
    try:
        told = told_by(answer)
        said = _said(told, provider, model, operation, usage, response_id, estimated=estimated) | dict(attributes or {})
        tracer = (tracer_provider or trace.get_tracer_provider()).get_tracer(ESTIMATES if estimated else SCOPE)
        return _written(tracer, f"{operation} {model or told.model or ''}".rstrip(), said, _start(duration_s, started_ns), error)
    except Exception:  # noqa: BLE001 - an application's bookkeeping is never the reason that its work fails
        _log.warning("A model call could not be recorded.", exc_info=True)
        return None


def _written(
    tracer: trace.Tracer, name: str, attributes: dict[str, Any], started_ns: int, error: BaseException | str | None
) -> Recorded | None:
    with entered({}, decision=held() or Held()):
        span = tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes, start_time=started_ns)
    if not span.is_recording():
        return None
    if error is not None:
        _failed(span, error)
    span.end()
    context = span.get_span_context()
    return Recorded(trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id))


def _failed(span: Span, error: BaseException | str) -> None:
    """The kind of fault alone: messages of providers quote prompts."""
    kind = error if isinstance(error, str) else type(error).__qualname__
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


def _start(duration_s: float | None, started_ns: int | None) -> int:
    if started_ns is not None:
        return int(started_ns)
    return time.time_ns() - (0 if duration_s is None else max(0, round(duration_s * _NS_PER_S)))


def _said(
    told: Told, provider: str, model: str | None, operation: str, usage: Usage | None, response_id: str | None, *, estimated: bool
) -> dict[str, Any]:
    said: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model or told.model,
        "gen_ai.response.model": told.model,
        "gen_ai.response.id": response_id or told.response_id,
        "gen_ai.request.stream": True if estimated else None,
        _TIERS.get(provider, "openai.response.service_tier"): told.service_tier,
    }
    used = usage or told.usage
    if used is not None:
        said |= _counts(used)
    return {key: value for key, value in said.items() if value is not None}


def _counts(usage: Usage) -> dict[str, int]:
    """By convention the input holds the cached tokens; writes for an hour have no word of the conventions' own but Anthropic's."""
    parts = {
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_5m + usage.cache_write_1h,
        "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": usage.cache_write_1h,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
        "gen_ai.usage.audio.input_tokens": usage.audio_in,
        "gen_ai.usage.audio.output_tokens": usage.audio_out,
    }
    stated = {key: count for key, count in parts.items() if count}
    return {"gen_ai.usage.input_tokens": usage.prompt, "gen_ai.usage.output_tokens": usage.output, **stated}
