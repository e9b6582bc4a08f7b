"""Request bodies to spans and log records: the one door, whatever the encoding and however the decoder behind it is made."""

from __future__ import annotations

from otel_finops.base.protocols import Encoding
from otel_finops.base.span import WantedKeys
from otel_finops.otlp.batch import DecodedBatch
from otel_finops.otlp.decode_json import decode_json
from otel_finops.otlp.decode_logs_json import decode_logs_json
from otel_finops.otlp.decode_logs_protobuf import decode_logs_protobuf
from otel_finops.otlp.decode_protobuf import decode_protobuf
from otel_finops.otlp.log_batch import DecodedLogs

__all__ = ["DecodedBatch", "DecodedLogs", "decode", "decode_logs"]


def decode(body: bytes, encoding: Encoding, wanted: WantedKeys, now_ns: int) -> DecodedBatch:
    """Decode an inflated OTLP trace request; protobuf and JSON of the same request decode equal.

    Only the `wanted` attributes are read. Strings longer than `limits.VALUE_CHARS_MAX` are cut, bytes are dropped, a
    number that cannot be read becomes NaN, of a repeated key the last value counts. `now_ns` bounds how far ahead a span may be.

    Raises:
        Undecodable: the body as a whole is no OTLP trace request. A span that alone is unreadable is a rejection.
        TooLarge: more spans, fields or objects than one request may hold.
    """
    if encoding == "json":
        return decode_json(body, wanted, now_ns)
    return decode_protobuf(body, wanted, now_ns)


def decode_logs(body: bytes, encoding: Encoding, wanted: WantedKeys, events: frozenset[str], now_ns: int) -> DecodedLogs:
    """Decode an inflated OTLP log request by the same rules as `decode`; records of events not in `events` are only counted.

    Raises:
        Undecodable, TooLarge: as `decode`.
    """
    if encoding == "json":
        return decode_logs_json(body, wanted, events, now_ns)
    return decode_logs_protobuf(body, wanted, events, now_ns)
