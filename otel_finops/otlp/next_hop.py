"""The OTLP backend behind us: one request handed over as bytes, by gRPC or HTTP, and what it answered.

Nothing is tried again here: the only retry layer is the sender (inline) or the spool. What is read of an answer is bounded, and
nothing of it but numbers and a short text goes any further.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol
from urllib.parse import urlsplit

import grpc
import urllib3
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_finops.base import limits
from otel_finops.otlp.signals import SIGNALS

_METHOD: Final = f"/{SIGNALS[0].grpc_service}/Export"
_PATH: Final = SIGNALS[0].http_path
_GZIP_LEVEL: Final = 1
"""Between data centres bytes matter, but not as much as this core."""
_RETRYABLE_HTTP: Final = frozenset({429, 502, 503, 504})
_RETRYABLE_GRPC: Final = frozenset({
    grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.ABORTED,
    grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS,
})  # fmt: skip
"""Statuses after which the same request may succeed (OTLP specification); RESOURCE_EXHAUSTED is what busy collectors answer."""

_RECONNECT_MS: Final = {"initial": 500, "min": 5_000, "max": 2_000}
"""When gRPC tries to connect again (`min` is how long one try may take): left to itself it lets a hop that is back wait for two minutes."""

_TOO_LARGE: Final = "larger than max"
"""gRPC's own words with RESOURCE_EXHAUSTED when a message is over one side's limit: it will be the next time too."""


class Reply(NamedTuple):
    """What became of one request at the next hop.

    Attributes:
        fate: `taken`; `refused` for good, so that sending it again is useless; `away` when it may succeed later.
        rejected: spans that the hop refused although it took the request.
        detail: one line for our log; never for a sender.
    """

    fate: Literal["taken", "refused", "away"]
    rejected: int = 0
    detail: str = ""


class NextHop(Protocol):
    """An OTLP trace receiver. Safe to use from many threads."""

    def send(self, body: bytes, timeout_s: float) -> Reply:
        """Hand over one protobuf request; never raises for what the hop or the network does."""
        ...

    def close(self) -> None:
        """Close its connections."""
        ...


class HopSettings(NamedTuple):
    """How to reach the next hop.

    Attributes:
        endpoint: `http://..` or `https://..` for HTTP, `grpc://..`, `grpcs://..` or `HOST:PORT` for gRPC.
        headers: sent with every request.
        gzip: compress the bodies.
        ca_file, certificate_file, key_file: PEM files; None for the system's authorities and for no certificate of our own.
    """

    endpoint: str
    headers: Mapping[str, str] = {}
    gzip: bool = True
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None


class GrpcHop:
    """A next hop that speaks OTLP/gRPC."""

    def __init__(self, settings: HopSettings) -> None:
        address = urlsplit(settings.endpoint if "://" in settings.endpoint else f"grpc://{settings.endpoint}")
        options = [
            ("grpc.max_send_message_length", limits.FORWARD_BODY_BYTES_MAX),
            ("grpc.max_receive_message_length", limits.HOP_ANSWER_BYTES_MAX),
            ("grpc.enable_retries", 0),
            *((f"grpc.{which}_reconnect_backoff_ms", milliseconds) for which, milliseconds in _RECONNECT_MS.items()),
        ]
        if address.scheme == "grpcs":
            secrets = grpc.ssl_channel_credentials(*map(_content, (settings.ca_file, settings.key_file, settings.certificate_file)))
            self._channel = grpc.secure_channel(address.netloc, secrets, options)
        else:
            self._channel = grpc.insecure_channel(address.netloc, options)
        self._export = self._channel.unary_unary(_METHOD, request_serializer=bytes, response_deserializer=bytes)
        self._metadata = tuple((name.lower(), value) for name, value in settings.headers.items())
        self._compression = grpc.Compression.Gzip if settings.gzip else grpc.Compression.NoCompression

    def send(self, body: bytes, timeout_s: float) -> Reply:
        """See `NextHop`."""
        try:
            answer = self._export(body, timeout=timeout_s, metadata=self._metadata, compression=self._compression)
        except grpc.RpcError as error:
            code = error.code()
            again = code in _RETRYABLE_GRPC and _TOO_LARGE not in (error.details() or "")
            return Reply("away" if again else "refused", detail=f"gRPC {code.name}")
        return _taken(answer)

    def close(self) -> None:
        """See `NextHop`."""
        self._channel.close()


class HttpHop:
    """A next hop that speaks OTLP/HTTP with protobuf bodies; a redirect counts as a refusal."""

    def __init__(self, settings: HopSettings) -> None:
        address = urlsplit(settings.endpoint)
        path = address.path if address.path.strip("/") else _PATH
        self._url = address._replace(path=path, fragment="").geturl()
        self._gzip = settings.gzip
        self._headers = {"content-type": "application/x-protobuf", **settings.headers}
        if settings.gzip:
            self._headers["content-encoding"] = "gzip"
        self._pool = urllib3.PoolManager(
            maxsize=limits.RECEIVE_THREADS, retries=False, ca_certs=settings.ca_file, cert_file=settings.certificate_file,
            key_file=settings.key_file,
        )  # fmt: skip

    def send(self, body: bytes, timeout_s: float) -> Reply:
        """See `NextHop`."""
        sent = gzip.compress(body, _GZIP_LEVEL) if self._gzip else body
        try:
            status, answer = self._post(sent, timeout_s)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return Reply("away", detail=type(error).__name__)
        if 200 <= status < 300:
            return _taken(answer)
        return Reply("away" if status in _RETRYABLE_HTTP else "refused", detail=f"HTTP {status}")

    def _post(self, body: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Status and the first bytes of the answer; what is longer is left unread and its connection closed."""
        response = self._pool.request(
            "POST", self._url, body=body, headers=self._headers, timeout=urllib3.Timeout(total=timeout_s), redirect=False,
            preload_content=False,
        )  # fmt: skip
        try:
            answer = response.read(limits.HOP_ANSWER_BYTES_MAX)
            if response.read(1):
                answer = b""
                response.close()
            return response.status, answer
        finally:
            response.release_conn()

    def close(self) -> None:
        """See `NextHop`."""
        self._pool.clear()


def open_hop(settings: HopSettings) -> NextHop:
    """The client for an endpoint; it connects when it is first used."""
    return HttpHop(settings) if settings.endpoint.startswith(("http://", "https://")) else GrpcHop(settings)


def _taken(answer: bytes) -> Reply:
    """What a hop that took the request says of single spans; an answer that cannot be read says nothing."""
    try:
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
    except DecodeError:
        return Reply("taken")
    return Reply("taken", max(0, partial.rejected_spans), "the next hop rejected spans" if partial.rejected_spans > 0 else "")


def _content(path: str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
