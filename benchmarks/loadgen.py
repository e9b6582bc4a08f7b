"""Sends OTLP trace requests over gRPC or HTTP and measures how they are answered.

    python -m benchmarks.loadgen --target 127.0.0.1:4317 --connections 8 --seconds 10

Closed loop: each connection sends its next request when the last one is answered. Open loop (`--rate`): requests have a time to be sent,
and latency counts from that time, so that a stalled server is not flattered by requests that were never sent.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import threading
import time
from collections import Counter
from typing import Any, Final, NamedTuple, Protocol

import grpc

from benchmarks.payloads import Payload, Shape, build

_EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_TIMEOUT_S: Final = 120.0
_PAUSE_AFTER_ERROR_S: Final = 0.05


class Plan(NamedTuple):
    """What to send.

    Attributes:
        target: host:port.
        protocol: grpc or http.
        headers: sent with every request, lower-case names.
        connections: how many at once.
        seconds: how long; ignored when `requests` is set.
        requests: how many in all; 0 for as many as fit into `seconds`.
        rate: spans a second for the open loop; 0 for the closed loop.
        shape: of the requests.
        payloads: different buffers, spread over the connections.
        new_answers: also renew the providers' answer ids.
        seed: of buffers and ids.
        warm: requests per connection before the clock starts.
    """

    target: str
    protocol: str = "grpc"
    headers: tuple[tuple[str, str], ...] = ()
    connections: int = 8
    seconds: float = 10.0
    requests: int = 0
    rate: float = 0.0
    shape: Shape = Shape()
    payloads: int = 16
    new_answers: bool = True
    seed: int = 1
    warm: int = 2


class Outcome(NamedTuple):
    """What came of it; latencies in milliseconds.

    Attributes:
        accepted_spans: of requests answered OK within the measured time.
        warm_spans: accepted before the clock started.
        bytes: of accepted requests.
        wall_s: from the start to the last answer.
        generator_cpu_s: CPU time of the generator itself.
        errors: by text.
    """

    accepted_spans: int
    warm_spans: int
    bytes: int
    wall_s: float
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    generator_cpu_s: float
    errors: dict[str, int]

    @property
    def spans_per_s(self) -> float:
        return self.accepted_spans / self.wall_s if self.wall_s else 0.0


class Client(Protocol):
    """One connection."""

    def send(self, body: bytes) -> str | None:
        """Send a request; None when it was answered OK, else what was answered."""
        ...


class GrpcClient:
    """A channel of its own, so that connections are real ones."""

    def __init__(self, plan: Plan) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        self._channel = grpc.insecure_channel(plan.target, options=options)
        self._export = self._channel.unary_unary(_EXPORT, request_serializer=None, response_deserializer=None)
        self._metadata = plan.headers

    def send(self, body: bytes) -> str | None:
        try:
            self._export(body, timeout=_TIMEOUT_S, metadata=self._metadata, wait_for_ready=True)
        except grpc.RpcError as fault:
            return f"{fault.code().name}: {fault.details()}"
        return None


class HttpClient:
    """A kept-alive HTTP/1.1 connection."""

    def __init__(self, plan: Plan) -> None:
        host, _, port = plan.target.rpartition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=_TIMEOUT_S)
        self._headers = {"content-type": "application/x-protobuf", **dict(plan.headers)}

    def send(self, body: bytes) -> str | None:
        try:
            self._connection.request("POST", "/v1/traces", body, self._headers)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as fault:
            self._connection.close()
            return type(fault).__name__
        return None if answer.status == 200 else f"HTTP {answer.status}"


class _Run:
    """The state that all connections share."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.lock = threading.Lock()
        self.ready = threading.Barrier(plan.connections + 1)
        self.begun = threading.Event()
        self.start = self.end = 0.0
        self.taken = self.spans = self.warm_spans = self.bytes = 0
        self.latencies: list[float] = []
        self.errors: Counter[str] = Counter()

    def take(self) -> int | None:
        """The number of the next request; None when all are taken."""
        with self.lock:
            if self.plan.requests and self.taken >= self.plan.requests:
                return None
            self.taken += 1
            return self.taken - 1

    def drive(self, connection: int, payloads: list[Payload]) -> None:
        client = GrpcClient(self.plan) if self.plan.protocol == "grpc" else HttpClient(self.plan)
        rng = random.Random(f"{time.time_ns()}/{connection}")
        for number in range(self.plan.warm):
            payload = payloads[number % len(payloads)]
            if client.send(self._body(payload, rng)) is None:
                with self.lock:
                    self.warm_spans += payload.spans
        self.ready.wait()
        self.begun.wait()
        number = 0
        while (request := self.take()) is not None:
            payload = payloads[number % len(payloads)]
            number += 1
            body = self._body(payload, rng)
            due = self._due(request, payload.spans)
            if not self.plan.requests and due > self.start + self.plan.seconds:
                return
            self._measure(client, body, payload.spans, due)

    def _body(self, payload: Payload, rng: random.Random) -> bytes:
        payload.renew(rng, answers=self.plan.new_answers)
        return bytes(payload.buffer)

    def _due(self, request: int, spans: int) -> float:
        """When the request is to be sent: at its time in the open loop, now in the closed one."""
        now = time.perf_counter()
        if not self.plan.rate:
            return now
        due = self.start + request * spans / self.plan.rate
        if due > now and due <= self.start + self.plan.seconds:
            time.sleep(due - now)
        return due

    def _measure(self, client: Client, body: bytes, spans: int, due: float) -> None:
        error = client.send(body)
        ended = time.perf_counter()
        with self.lock:
            self.end = max(self.end, ended)
            if error is None:
                self.spans += spans
                self.bytes += len(body)
                self.latencies.append(ended - due)
            else:
                self.errors[error[:160]] += 1
        if error:
            time.sleep(_PAUSE_AFTER_ERROR_S)


def _percentile(ordered: list[float], share: float) -> float | None:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2) if ordered else None


def run(plan: Plan) -> Outcome:
    """Carry out a plan."""
    each = max(1, plan.payloads // plan.connections)
    state = _Run(plan)
    threads = [
        threading.Thread(target=state.drive, args=(number, build(each, plan.shape, plan.seed * 1000 + number)), daemon=True)
        for number in range(plan.connections)
    ]
    for thread in threads:
        thread.start()
    state.ready.wait()
    cpu, state.start = time.process_time(), time.perf_counter()
    state.begun.set()
    for thread in threads:
        thread.join()
    ordered = sorted(state.latencies)
    return Outcome(
        accepted_spans=state.spans,
        warm_spans=state.warm_spans,
        bytes=state.bytes,
        wall_s=max(state.end - state.start, 0.0),
        p50_ms=_percentile(ordered, 0.5),
        p99_ms=_percentile(ordered, 0.99),
        max_ms=_percentile(ordered, 1.0),
        generator_cpu_s=time.process_time() - cpu,
        errors=dict(state.errors),
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of a plan but for target, protocol and headers."""
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=0.0, help="spans a second, open loop; 0: closed loop")
    parser.add_argument("--spans", type=int, default=512, help="per request")
    parser.add_argument("--content", type=int, default=1024, help="bytes of each message attribute")
    parser.add_argument("--genai-share", type=float, default=0.5)
    parser.add_argument("--payloads", type=int, default=16)
    parser.add_argument("--repeat-answers", action="store_true", help="keep the providers' answer ids, as a resending gateway would")


def plan_of(options: argparse.Namespace, target: str, **others: Any) -> Plan:
    """A plan out of parsed options."""
    shape = Shape(spans=options.spans, content_bytes=options.content, genai_share=options.genai_share)
    return Plan(
        target,
        connections=options.connections,
        seconds=options.seconds,
        rate=options.rate,
        shape=shape,
        payloads=options.payloads,
        new_answers=not options.repeat_answers,
    )._replace(**others)


def main() -> None:
    """One run, one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True)
    parser.add_argument("--protocol", choices=("grpc", "http"), default="grpc")
    parser.add_argument("--header", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--requests", type=int, default=0)
    add_options(parser)
    options = parser.parse_args()
    headers = tuple(tuple(header.split("=", 1)) for header in options.header)
    outcome = run(plan_of(options, options.target, protocol=options.protocol, headers=headers, requests=options.requests))
    print(json.dumps({**outcome._asdict(), "spans_per_s": round(outcome.spans_per_s)}))


if __name__ == "__main__":
    main()
