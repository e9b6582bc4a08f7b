"""The service's own traces and metrics, sent by OTLP to another endpoint. Off unless an endpoint is set.

What is recorded are names of stages, durations and numbers; by its types it has no place for text of a span, an error message
or an id of a person. The providers are private: code of others in the process sees no global tracer.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Thread
from typing import Final, Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, StatusCode

from otel_finops.base.errors import StartRefused
from otel_finops.metrics import catalog
from otel_finops.metrics.self_metrics import SelfMetrics
from otel_finops.settings.addresses import Address

_log: Final = logging.getLogger(__name__)

SERVICE_NAME: Final = "otel-finops"
EXPORT_TIMEOUT_S: Final = 5.0
SPANS_QUEUED_MAX: Final = 2_048
"""Spans that wait for export; beyond it they are dropped, the service never waits for its own telemetry."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_REACHED_BY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - who connects to the wildcard address reaches loopback

Number = int | float | bool
OtlpProtocol = Literal["grpc", "http/protobuf"]


class Target(NamedTuple):
    """Where the service's own telemetry goes.

    Attributes:
        endpoint: base URL, e.g. `http://collector:4317`; with `http/protobuf` the paths `/v1/traces` and `/v1/metrics` are added.
        protocol: `grpc` or `http/protobuf`.
        headers: sent with every export, e.g. a token.
        interval_s: seconds between two exports of metrics.
    """

    endpoint: str
    protocol: OtlpProtocol = "grpc"
    headers: Mapping[str, str] = {}
    interval_s: float = 60.0


class StageSpan(Protocol):
    """A running span of ours, to which only numbers can be added."""

    def set(self, name: str, value: Number) -> None:
        """Record a number, e.g. how many spans a batch had."""
        ...


class _NoSpan:
    def set(self, name: str, value: Number) -> None:
        """Nothing is recorded."""


class _SdkSpan:
    def __init__(self, span: Span) -> None:
        self._span = span

    def set(self, name: str, value: Number) -> None:
        """Record a number under `finops.NAME`."""
        self._span.set_attribute(f"finops.{name}", value)


class Telemetry:
    """Spans of stages and the service's own metrics; `Telemetry()` is off and costs a function call."""

    _nothing: Final[AbstractContextManager[StageSpan]] = nullcontext(_NoSpan())

    def __init__(self, tracers: TracerProvider | None = None, meters: MeterProvider | None = None) -> None:
        self._tracers = tracers
        self._meters = meters
        self._tracer = tracers.get_tracer("otel_finops") if tracers else None

    @property
    def on(self) -> bool:
        """Something is recorded."""
        return self._tracer is not None

    def span(self, name: str) -> AbstractContextManager[StageSpan]:
        """A span around a stage; an exception marks it as failed with the exception's type and goes on."""
        return self._nothing if self._tracer is None else self._record(name)

    @contextmanager
    def _record(self, name: str) -> Iterator[StageSpan]:
        assert self._tracer is not None
        with self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
            try:
                yield _SdkSpan(span)
            except Exception as fault:
                span.set_attribute("error.type", type(fault).__name__)
                span.set_status(StatusCode.ERROR)
                raise

    def shutdown(self, timeout_s: float = EXPORT_TIMEOUT_S) -> bool:
        """Send what waits and stop; True when that was done within `timeout_s`, else it is given up."""
        providers = [provider.shutdown for provider in (self._tracers, self._meters) if provider is not None]
        if not providers:
            return True
        worker = Thread(target=lambda: [stop() for stop in providers], name="telemetry-shutdown", daemon=True)
        worker.start()
        worker.join(timeout_s)
        if worker.is_alive():
            _log.warning("own telemetry was not delivered within %.0f s and is given up", timeout_s)
        return not worker.is_alive()


def start(target: Target, metrics: SelfMetrics, listeners: Sequence[Address], *, version: str, instance: str) -> Telemetry:
    """Begin to export, or return telemetry that is off when the endpoint is empty.

    Args:
        target: where to.
        metrics: the counts to export.
        listeners: addresses where this process listens, with the ports that it really has.
        version, instance: of this service, for the resource.

    Raises:
        StartRefused: the endpoint is no URL, or it is one of `listeners`.
    """
    if not target.endpoint:
        return Telemetry()
    refuse_own_tail(target.endpoint, listeners)
    resource = Resource.create({"service.name": SERVICE_NAME, "service.version": version, "service.instance.id": instance})
    spans, measures = _exporters(target)
    return assemble(spans, measures, metrics, resource=resource, interval_s=target.interval_s)


def assemble(spans: SpanExporter, measures: MetricExporter, metrics: SelfMetrics, *, resource: Resource, interval_s: float) -> Telemetry:
    """Telemetry over two exporters."""
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(
        BatchSpanProcessor(spans, max_queue_size=SPANS_QUEUED_MAX, max_export_batch_size=512, export_timeout_millis=EXPORT_TIMEOUT_S * 1000)
    )
    reader = PeriodicExportingMetricReader(
        measures, export_interval_millis=interval_s * 1000, export_timeout_millis=EXPORT_TIMEOUT_S * 1000
    )
    meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    _instruments(meters.get_meter("otel_finops"), metrics)
    return Telemetry(tracers, meters)


def refuse_own_tail(endpoint: str, listeners: Iterable[Address]) -> None:
    """Raise `StartRefused` when the endpoint leads back to one of our listeners: each export would make spans for the next.

    Names are resolved, wildcard listeners stand for every address of this machine; a name that does not resolve now is let pass,
    it leads nowhere.
    """
    try:
        parts = urlsplit(endpoint)
        default = _DEFAULT_PORTS[parts.scheme]
        port = parts.port or default
    except (ValueError, KeyError) as fault:
        raise StartRefused(f"telemetry.endpoint is no endpoint: {endpoint!r}; write http://HOST:PORT or https://HOST:PORT") from fault
    addresses = _resolve(_REACHED_BY.get(parts.hostname or "", parts.hostname or ""))
    for listener in listeners:
        if listener.port == port and _leads_to(addresses, listener.host):
            raise StartRefused(
                f"telemetry.endpoint {endpoint} is this service's own listener {listener}; its telemetry must go to another place"
            )


def _resolve(host: str) -> set[str]:
    try:
        return {str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return set()


def _leads_to(addresses: set[str], listener_host: str) -> bool:
    if listener_host in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return any(_is_local(address) for address in addresses)
    return bool(addresses & _resolve(listener_host))


def _is_local(address: str) -> bool:
    """An address of this machine: only those can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _exporters(target: Target) -> tuple[SpanExporter, MetricExporter]:
    headers = dict(target.headers)
    if target.protocol == "grpc":
        # The exporters' imports are slow and needed only here: telemetry is off by default.
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics  # noqa: PLC0415
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans  # noqa: PLC0415

        return (
            GrpcSpans(endpoint=target.endpoint, headers=headers, timeout=EXPORT_TIMEOUT_S),
            GrpcMetrics(endpoint=target.endpoint, headers=headers, timeout=EXPORT_TIMEOUT_S),
        )
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics  # noqa: PLC0415 - see above
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans  # noqa: PLC0415

    base = target.endpoint.rstrip("/")
    return (
        HttpSpans(endpoint=f"{base}/v1/traces", headers=headers, timeout=EXPORT_TIMEOUT_S),
        HttpMetrics(endpoint=f"{base}/v1/metrics", headers=headers, timeout=EXPORT_TIMEOUT_S),
    )


def _instruments(meter: Meter, metrics: SelfMetrics) -> None:
    """One observable instrument for each counter and gauge of the service; commits are seen in its spans."""
    for metric in catalog.SELF_METRICS:
        if metric.kind == "counter":
            meter.create_observable_counter(_otel_name(metric), [_reader(metric, metrics)], description=metric.meaning)
        elif metric.kind == "gauge":
            meter.create_observable_gauge(_otel_name(metric), [_reader(metric, metrics)], description=metric.meaning)


def _otel_name(metric: catalog.Metric) -> str:
    return metric.name.replace("finops_", "finops.", 1)


def _reader(metric: catalog.Metric, metrics: SelfMetrics) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        for family in metrics.collect():
            if family.name == metric.name:
                for sample in family.samples:
                    yield Observation(sample.value, sample.labels)

    return observe
