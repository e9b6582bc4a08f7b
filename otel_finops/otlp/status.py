"""The one table of faults: what a sender is answered over gRPC and over HTTP.

Stock exporters repeat on UNAVAILABLE, 429, 502, 503 and 504 only, and drop the batch on INTERNAL, UNKNOWN and 500.
So everything that is not the sender's fault is UNAVAILABLE / 503 with a delay, our own bugs included.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from math import ceil
from typing import Final, NamedTuple

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from otel_finops.base.errors import Busy, FinopsError, Forbidden, TooLarge, Unauthenticated, Unavailable, Undecodable
from otel_finops.base.protocols import Encoding

logger = logging.getLogger(__name__)

CONTENT_TYPES: Final[Mapping[Encoding, str]] = {"protobuf": "application/x-protobuf", "json": "application/json"}
RETRY_AFTER_S: Final = 2.0
_LOG_EVERY_S: Final = 10.0
_OUR_FAULT: Final = "the spans could not be recorded now, nothing of this request is lost by sending it again"


class Fault(NamedTuple):
    """A row of the table.

    Attributes:
        name: a word for counters.
        code, http: gRPC and HTTP status.
        error: the exception that it stands for; None for faults of the HTTP frame.
        retryable: whether the answer carries a delay.
    """

    name: str
    code: grpc.StatusCode
    http: int
    error: type[Exception] | None = None
    retryable: bool = False


OUR_FAULT: Final = Fault("unavailable", grpc.StatusCode.UNAVAILABLE, 503, Unavailable, retryable=True)
UNDECODABLE: Final = Fault("undecodable", grpc.StatusCode.INVALID_ARGUMENT, 400, Undecodable)
TABLE: Final = (
    UNDECODABLE,
    Fault("unauthenticated", grpc.StatusCode.UNAUTHENTICATED, 401, Unauthenticated),
    Fault("forbidden", grpc.StatusCode.PERMISSION_DENIED, 403, Forbidden),
    Fault("too_large", grpc.StatusCode.RESOURCE_EXHAUSTED, 413, TooLarge),
    Fault("busy", grpc.StatusCode.RESOURCE_EXHAUSTED, 429, Busy, retryable=True),
    OUR_FAULT,
)
NO_SUCH_PATH: Final = Fault("no_such_path", grpc.StatusCode.UNIMPLEMENTED, 404)
WRONG_METHOD: Final = Fault("wrong_method", grpc.StatusCode.UNIMPLEMENTED, 405)
WRONG_TYPE: Final = Fault("wrong_content_type", grpc.StatusCode.INVALID_ARGUMENT, 415)


class Refusal(NamedTuple):
    """What one sender is answered instead of OK; `retry_after_s` is None where sending again does not help."""

    fault: Fault
    message: str
    retry_after_s: float | None = None

    def status(self) -> Status:
        """`google.rpc.Status`, with RetryInfo when there is a delay: the body over HTTP, a trailer over gRPC."""
        status = Status(code=self.fault.code.value[0], message=self.message)
        if self.retry_after_s is not None:
            detail = AnyMessage()
            detail.Pack(self._retry_info())
            status.details.append(detail)
        return status

    def trailers(self) -> tuple[tuple[str, bytes], ...]:
        """gRPC trailers of the delay: the standard one, and the one that the stock Python exporter reads."""
        if self.retry_after_s is None:
            return ()
        return (
            ("grpc-status-details-bin", self.status().SerializeToString()),
            ("google.rpc.retryinfo-bin", self._retry_info().SerializeToString()),
        )

    def headers(self) -> list[tuple[bytes, bytes]]:
        """HTTP headers of the refusal besides the content's: Retry-After in whole seconds, the challenge of a 401."""
        headers = []
        if self.retry_after_s is not None:
            headers.append((b"retry-after", str(max(1, ceil(self.retry_after_s))).encode()))
        if self.fault.http == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if self.fault is WRONG_METHOD:
            headers.append((b"allow", b"POST"))
        return headers

    def _retry_info(self) -> RetryInfo:
        assert self.retry_after_s is not None
        seconds, rest = divmod(self.retry_after_s, 1)
        return RetryInfo(retry_delay=Duration(seconds=int(seconds), nanos=int(rest * 1e9)))


class Refusals:
    """Turns whatever was raised into a refusal; what nobody expected is logged, at most every ten seconds a kind."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._logged_at: dict[str, float] = {}

    def refusal(self, error: Exception) -> Refusal:
        """The answer to `error`. Only messages that the product itself wrote for senders are passed on."""
        for fault in TABLE:
            if fault.error is not None and isinstance(error, fault.error):
                delay = getattr(error, "retry_after_s", RETRY_AFTER_S) if fault.retryable else None
                return Refusal(fault, str(error), delay)
        self._log(error)
        return Refusal(OUR_FAULT, _OUR_FAULT, RETRY_AFTER_S)

    def _log(self, error: Exception) -> None:
        kind = type(error).__name__
        now = self._monotonic()
        with self._lock:
            if now - self._logged_at.get(kind, -_LOG_EVERY_S) < _LOG_EVERY_S:
                return
            self._logged_at[kind] = now
        expected = " (not in the table of faults)" if isinstance(error, FinopsError) else ""
        logger.error("a request failed with %s%s; its sender was told to repeat it", kind, expected, exc_info=error)
