"""What the demo's applications have in common: a stock tracer provider, and a loop of runs until they are told to stop."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Final, NamedTuple, TypeAlias

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

_log: Final = logging.getLogger(__name__)

TENANTS: Final = ("acme", "globex", "initech")
_EXPORT_DELAY_MS: Final = 1_000
_STOP_S: Final = 5


class Options(NamedTuple):
    """How an application is started.

    Attributes:
        otlp_endpoint: OTLP/gRPC, e.g. `http://127.0.0.1:4317`.
        provider_url: base URL of the model provider.
        runs_per_s: how often the application does its work.
        seed: other seeds make other work.
        runs: how many times; 0 for until stopped.
    """

    otlp_endpoint: str
    provider_url: str
    runs_per_s: float
    seed: int
    runs: int


Run: TypeAlias = Callable[[Tracer, Random, int], None]
"""One piece of work, given its own randomness and its number."""


def read_options(arguments: list[str] | None = None) -> Options:
    """Options from the command line."""
    parser = argparse.ArgumentParser(description="One of the demo's applications.")
    parser.add_argument("--otlp-endpoint", required=True)
    parser.add_argument("--provider-url", required=True)
    parser.add_argument("--runs-per-s", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=0)
    return Options(**vars(parser.parse_args(arguments)))


def start_tracing(service: str, version: str, options: Options) -> TracerProvider:
    """The SDK as its documentation sets it up: a batch processor and the OTLP exporter."""
    resource = Resource.create({"service.name": service, "service.version": version, "deployment.environment.name": "demo"})
    provider = TracerProvider(resource=resource)
    exporter = OTLPSpanExporter(endpoint=options.otlp_endpoint, insecure=True)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_EXPORT_DELAY_MS))
    trace.set_tracer_provider(provider)
    return provider


@contextlib.contextmanager
def stage(tracer: Tracer, name: str, kind: SpanKind = SpanKind.INTERNAL, **attributes: AttributeValue) -> Iterator[Span]:
    """A span of the application's own; underscores in names of attributes stand for dots, double ones for underscores."""
    named = {key.replace("__", "\0").replace("_", ".").replace("\0", "_"): value for key, value in attributes.items()}
    with tracer.start_as_current_span(name, kind=kind, attributes=named) as span:
        yield span


def run_until_stopped(options: Options, provider: TracerProvider, run: Run) -> None:
    """Do the work at its rate until its number is reached or standard input closes, as it does when the parent is gone."""
    tracer = provider.get_tracer("demo.application")
    stop = _stop_when_input_closes()
    began, number = time.monotonic(), 0
    while not stop.is_set() and (options.runs == 0 or number < options.runs):
        run_once(run, tracer, options.seed, number)
        number += 1
        stop.wait(max(0.0, began + number / options.runs_per_s - time.monotonic()))
    provider.force_flush(_STOP_S * 1000)
    provider.shutdown()


def run_once(run: Run, tracer: Tracer, seed: int, number: int) -> None:
    """One piece of work; a failing provider is part of the demo and ends it early."""
    try:
        run(tracer, Random(f"{seed}/{number}"), number)  # noqa: S311 - repeatable, no secret
    except Exception as fault:  # noqa: BLE001 - whatever the clients raise for an error answer; it is in the trace
        _log.info("run %d failed: %s", number, type(fault).__name__)
        trace.get_current_span().set_status(StatusCode.ERROR)


def _stop_when_input_closes() -> threading.Event:
    stop = threading.Event()

    def wait() -> None:
        sys.stdin.buffer.read()
        stop.set()

    threading.Thread(target=wait, name="stop", daemon=True).start()
    return stop


def passage(rng: Random, about: str, words: int) -> str:
    """Text of some length, so that prompts have the sizes that they have in earnest."""
    stock = (
        "policy",
        "customer",
        "order",
        "delivery",
        "refund",
        "invoice",
        "account",
        "warranty",
        "return",
        "payment",
        "address",
        "support",
    )
    return f"{about}: " + " ".join(rng.choices(stock, k=words))
