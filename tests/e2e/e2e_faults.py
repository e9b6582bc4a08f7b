"""Every fault that a sender or a reader can meet, provoked on a running service, with the whole answer kept."""

from __future__ import annotations

import hashlib
import json
import re
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import grpc
import httpx
from e2e_service import JSON, PROTOBUF, Service, eventually, http
from e2e_spans import body, json_body, trace_id
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

SENDER, VIEWER, WATCHER = "sender-secret", "viewer-secret", "watcher-secret"
"""Tokens: two of one tenant, `acme`, and one that reads the metrics of all."""
BEARER = f"Bearer {SENDER}"
MIB = 1024 * 1024

TELLTALE = {
    "path": re.compile(r"(?<![\w.])/(?:home|tmp|usr|var|work|opt|root|proc|dev)/|site-packages|\w+\.py\b|\.db\b"),
    "statement": re.compile(r"\b(?:SELECT|INSERT|UPDATE|DELETE|PRAGMA|BEGIN IMMEDIATE)\b"),
    "database": re.compile(r"sqlite3?\b|psycopg|sqlalchemy|alembic|postgresql://|://[^/\s]+:[^/\s]+@", re.IGNORECASE),
    "stack": re.compile(r"Traceback|File \"|line \d+, in|\bat 0x[0-9a-f]+|Error\("),
    "secret": re.compile(r"sender-secret|viewer-secret|watcher-secret|nobody'"),
}
"""What no answer may hold, by what it would tell of."""


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


GUARD = {
    "AUTH__MODE": "token",
    "AUTH__SENDERS": json.dumps([{"token_sha256": digest(SENDER), "tenants": ["acme"]}]),
    "AUTH__TOKENS": json.dumps(
        [
            {"token_sha256": digest(VIEWER), "tenants": ["acme"], "role": "viewer"},
            {"token_sha256": digest(WATCHER), "tenants": ["*"], "role": "viewer"},
        ]
    ),
}


class Answer(NamedTuple):
    """What came back.

    Attributes:
        fault: what was done.
        way: grpc, protobuf, json, or api for the web side.
        status: HTTP status or name of the gRPC status.
        text: message and body, whatever a person could read in them.
        delay: of RetryInfo or Retry-After, None without.
        right_form: the body is a Status in the request's encoding, or both trailers (or none of them) are there.
    """

    fault: str
    way: str
    status: str
    text: str
    delay: float | None
    right_form: bool

    def __str__(self) -> str:
        return f"{self.fault:24} {self.way:9} {self.status:20} delay {self.delay}  {self.text[:90]!r}"


def over_http(service: Service, fault: str, way: str, content: bytes | Iterator[bytes], **changes: str) -> Answer:
    """POST with a good token; `changes` replaces headers (`_` for `-`), and `method` and `path`."""
    method, path = changes.pop("method", "POST"), changes.pop("path", "/v1/traces")
    headers = {"authorization": BEARER, **(JSON if way == "json" else PROTOBUF)}
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    headers = {name: value for name, value in headers.items() if value}
    url = f"http://127.0.0.1:{service.http_port}{path}"
    return http_answer(fault, way, http(method, url, content=content, headers=headers, timeout=60))


def http_answer(fault: str, way: str, answer: httpx.Response) -> Answer:
    delay = answer.headers.get("retry-after")
    said = answer.text if way != "protobuf" else str(Status.FromString(answer.content)) + repr(answer.content)
    form = answer.headers.get("content-type", "").split(";")[0] == ("application/json" if way == "json" else "application/x-protobuf")
    if way == "json":
        form = form and isinstance(json.loads(answer.content).get("message"), str)
    headers = " ".join(f"{name}: {value}" for name, value in answer.headers.items())
    return Answer(fault, way, str(answer.status_code), f"{said} {headers}", float(delay) if delay else None, form)


def over_grpc(service: Service, fault: str, content: bytes, authorization: str = BEARER) -> Answer:
    metadata = [("authorization", authorization)] if authorization else []
    try:
        answer = service.call(content, metadata, 60)
    except grpc.RpcError as error:
        return grpc_answer(fault, error)
    return Answer(fault, "grpc", "OK", str(answer), None, True)


def grpc_answer(fault: str, error: Any) -> Answer:
    trailers = dict(error.trailing_metadata() or ())
    standard, extra = trailers.get("grpc-status-details-bin"), trailers.get("google.rpc.retryinfo-bin")
    delay = None
    if extra is not None:
        given = RetryInfo.FromString(extra).retry_delay
        delay = given.seconds + given.nanos / 1e9
    same = (standard is None) == (extra is None)
    if standard is not None and extra is not None:
        status, info = Status.FromString(standard), RetryInfo()
        same = status.details[0].Unpack(info) and info == RetryInfo.FromString(extra)
    return Answer(fault, "grpc", error.code().name, f"{error.details()} {trailers}", delay, same)


@contextmanager
def no_room_on_disk(service: Service, room: int = 1) -> Iterator[None]:
    """No file of the service can be written beyond its byte `room` any more; the service goes on running."""
    _, hard = resource.prlimit(service.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (hard, hard))


@contextmanager
def all_bytes_spoken_for(service: Service) -> Iterator[None]:
    """Four senders have sent the largest bodies but for the last byte, so that the budget of bytes in flight is used up.

    Nothing else is sent before all has arrived: the smallest request that is held meanwhile would get the last of them refused.
    """
    held = [almost_sent(service) for _ in range(4)]
    try:
        eventually(lambda: service.metric("finops_in_flight_bytes", WATCHER) == 4 * (64 * MIB - 1), 15)
        yield
    finally:
        for one in held:
            one.close()


def almost_sent(service: Service) -> socket.socket:
    """A connection over which the largest body was sent but for its last byte."""
    head = f"POST /v1/traces HTTP/1.1\r\nhost: x\r\nauthorization: {BEARER}\r\ncontent-type: application/x-protobuf\r\n"
    one = socket.create_connection(("127.0.0.1", service.http_port))
    one.sendall(f"{head}content-length: {64 * MIB}\r\n\r\n".encode() + bytes(64 * MIB - 1))
    return one


def senders_faults(service: Service) -> Iterator[Answer]:
    """Every row of the table that a sender can meet, over every way; `service` runs with GUARD."""
    good, good_json = body(trace_id(1, 77)), json_body(trace_id(1, 77), {})
    bodies: dict[str, tuple[bytes, bytes]] = {
        "undecodable": (b"\xff\xfe\x00 SELECT 1", b'{"resourceSpans": ['),
        "too many spans": (_many_spans(), b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"{}," * 100_001 + b"{}]}]}]}"),
        "too large": (bytes(64 * MIB + 1), b" " * (64 * MIB + 1)),
    }
    for fault, (protobuf, text) in bodies.items():
        yield over_grpc(service, fault, protobuf)
        yield over_http(service, fault, "protobuf", protobuf)
        yield over_http(service, fault, "json", text)
    yield over_http(service, "too deep", "json", b'{"resourceSpans":' + b"[" * 10_000 + b"]" * 10_000 + b"}")
    for fault, token in (("no token", ""), ("unknown token", "Bearer nobody' OR 1=1 --")):
        yield over_grpc(service, fault, good, token)
        yield over_http(service, fault, "protobuf", good, authorization=token)
        yield over_http(service, fault, "json", good_json, authorization=token)
    yield over_http(service, "wrong content type", "json", good, content_type="text/plain")
    yield over_http(service, "wrong coding", "json", good_json, content_encoding="br")
    yield over_http(service, "broken gzip", "json", b"\x1f\x8b no gzip", content_encoding="gzip")
    yield over_http(service, "wrong method", "json", b"", method="PUT")
    yield over_http(service, "wrong path", "json", good_json, path="/v1/../etc/passwd")
    yield from _everywhere(service, "all bytes spoken for", all_bytes_spoken_for, good, good_json)
    yield from _everywhere(service, "disk full", no_room_on_disk, body(trace_id(2, 77)), json_body(trace_id(3, 77), {}))


def _everywhere(service: Service, fault: str, state: Callable[[Service], Any], protobuf: bytes, text: bytes) -> Iterator[Answer]:
    with state(service):
        yield over_grpc(service, fault, protobuf)
        yield over_http(service, fault, "protobuf", protobuf)
        yield over_http(service, fault, "json", text)


def _many_spans() -> bytes:
    spans = b"\x12\x00" * 100_001
    return _field(1, _field(2, spans))


def _field(number: int, content: bytes) -> bytes:
    size, length = len(content), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def readers_faults(service: Service) -> Iterator[Answer]:
    """What a reader can do wrong on the web side."""
    asked: dict[str, tuple[str, str | None]] = {
        "no token": ("/api/v1/usage", None),
        "unknown token": ("/api/v1/usage", "x' OR '1'='1"),
        "not allowed": ("/api/v1/ledger/verify", VIEWER),
        "no such trace": (f"/api/v1/traces/{'ab' * 16}", VIEWER),
        "no trace id": ("/api/v1/traces/x%27%3B%20DROP%20TABLE%20entries", VIEWER),
        "no such column": ("/api/v1/spend?group_by=1%3BDROP%20TABLE%20entries", VIEWER),
        "bad cursor": ("/api/v1/usage?cursor=%00%ff", VIEWER),
        "bad number": ("/api/v1/usage?limit=99999999999999999999999", VIEWER),
        "bad time": ("/api/v1/spend?from=9999-99-99", VIEWER),
        "foreign tenant": ("/api/v1/usage?tenant=globex", VIEWER),
        "wrong path": ("/api/v1/../etc/passwd", VIEWER),
        "metrics without token": ("/metrics", None),
    }
    for fault, (path, token) in asked.items():
        headers = {"authorization": f"Bearer {token}"} if token else {}
        answer = http("GET", f"{service.web}{path}", headers=headers)
        kind = answer.headers.get("content-type", "").split(";")[0]
        said = " ".join(f"{name}: {value}" for name, value in answer.headers.items())
        right = answer.status_code < 400 or kind == "application/problem+json"
        yield Answer(fault, "api", str(answer.status_code), f"{answer.text} {said}", None, right)
