"""What both decoders share: which keys are read, how values are made safe, and which spans are refused.

Texts that leave here hold no NUL and no lone surrogate (neither SQLite nor PostgreSQL stores both), so whoever stores
them need not look again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import ClassVar, Final, NamedTuple

from otel_finops.base import limits
from otel_finops.base.errors import TooLarge
from otel_finops.base.ids import is_span_id, is_trace_id
from otel_finops.base.span import AttributeValue, Rejection, Span, SpanLink, WantedKeys
from otel_finops.base.times import NS_PER_DAY

REASONS: Final[Mapping[str, str]] = {
    "bad_trace_id": "trace_id must be 16 bytes that are not all zero",
    "bad_span_id": "span_id must be 8 bytes that are not all zero",
    "bad_time": "start and end must lie between 2020-01-01 and one year from now, in Unix nanoseconds",
    "bad_enum": "kind and status.code must be integers; OTLP/JSON does not use the enums' names",
    "bad_span": "the span is no readable OTLP span",
    "too_many_attributes": f"a span may have {limits.ATTRIBUTES_PER_SPAN_MAX} attributes and {limits.FIELDS_PER_SPAN_MAX} fields in all",
    "too_deep": f"attribute values may nest {limits.VALUE_DEPTH_MAX} levels",
}
"""Every reason for which a decoder refuses a span, with the sentence for its sender."""

_KINDS: Final = range(6)
_NO_PARENT: Final = (b"", bytes(8))
_MEMO_MAX: Final = 8_192
_REPLACED: Final = "\ufffd"
_NUMBERS: Final = frozenset({int, float, bool})


class SpanFault(Exception):
    """This span is refused for `reason`, the others of its request are kept; never leaves the decoders."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class DecodedBatch(NamedTuple):
    """One decoded request.

    Attributes:
        spans: the readable spans, in the order of the request.
        rejections: the refused ones, one value per reason.
        received: spans in the request; `len(spans)` plus all rejections' counts.
        repairs: what was mended, in spans that are rejected for something else too: `value_cut`, `value_dropped`,
            `text_replaced`, `bad_parent_id`, `end_before_start`, `links_dropped`, each with its count.
        rejected_at: places of the refused spans among all spans of the request, from 0 on, ascending.
    """

    spans: list[Span]
    rejections: tuple[Rejection, ...]
    received: int
    repairs: Mapping[str, int] = {}
    rejected_at: Sequence[int] = ()


class KeyMemo(dict[bytes, str | None]):
    """UTF-8 key -> the key as text if it is wanted, else None; indexing computes and remembers, up to a bound."""

    def __init__(self, wanted: WantedKeys) -> None:
        super().__init__()
        self._wanted = wanted

    def __missing__(self, raw: bytes) -> str | None:
        if len(raw) > limits.KEY_CHARS_MAX:
            return None
        key = raw.decode("utf-8", "replace")
        found = key if key in self._wanted.exact or key.startswith(self._wanted.prefixes) else None
        if len(self) >= _MEMO_MAX:
            self.clear()
        self[raw] = found
        return found


@lru_cache(maxsize=8)
def key_memo(wanted: WantedKeys) -> KeyMemo:
    """The memo of these keys, shared by all requests of the process."""
    return KeyMemo(wanted)


class ValueMemo(dict[bytes, AttributeValue]):
    """Wire bytes of an attribute's value -> the value, for those that can be shared and needed no mending; bounded."""

    def learn(self, raw: bytes, value: AttributeValue) -> None:
        """Remember a value that was read; None, maps and texts that may have been mended (that is counted each time) are not."""
        kind = type(value)
        if (
            (kind is str and _REPLACED not in value)  # type: ignore[operator]  # its type was looked at
            or kind in _NUMBERS
            or (kind is tuple and all(type(item) is str and _REPLACED not in item for item in value))  # type: ignore[union-attr]
        ):
            if len(self) >= _MEMO_MAX:
                self.clear()
            self[raw] = value


KNOWN_VALUES: Final = ValueMemo()
"""Shared by all requests of the process."""


class ItemBuilder:
    """What the builders of all signals share: counting what is received, mended and refused, and making texts safe."""

    items: ClassVar[str] = "spans"

    def __init__(self, wanted: WantedKeys, now_ns: int) -> None:
        self.keys = key_memo(wanted)
        self.received = 0
        self.repairs: Counter[str] = Counter()
        self.latest_ns: Final = now_ns + limits.YEARS_AHEAD_MAX * 366 * NS_PER_DAY
        self._rejected: Counter[str] = Counter()

    def announce(self, count: int) -> None:
        """Count `count` items as received, before they are read.

        Raises:
            TooLarge: more than one request may hold.
        """
        self.received += count
        if self.received > limits.SPANS_PER_REQUEST_MAX:
            raise TooLarge(f"more than {limits.SPANS_PER_REQUEST_MAX} {self.items} in one request; send smaller batches")

    def reject(self, reason: str) -> None:
        """Count a refused item; `reason` is a key of its signal's reasons."""
        self._rejected[reason] += 1

    def repair(self, what: str) -> None:
        """Count something that was mended in an item that is kept."""
        self.repairs[what] += 1

    def text(self, text: str, chars_max: int = limits.VALUE_CHARS_MAX) -> str:
        """`text` without NUL and lone surrogates (each becomes U+FFFD), cut to `chars_max`."""
        if len(text) > chars_max:
            self.repair("value_cut")
            text = text[:chars_max]
        if "\0" in text or not _encodable(text):
            self.repair("text_replaced")
            text = text.replace("\0", "\ufffd").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return text

    def utf8(self, raw: bytes, chars_max: int = limits.VALUE_CHARS_MAX) -> str:
        """`text` for UTF-8 bytes; what is no UTF-8 becomes U+FFFD."""
        if len(raw) <= chars_max and b"\0" not in raw:
            try:
                return raw.decode()
            except UnicodeDecodeError:
                self.repair("text_replaced")
        # A character takes at most four bytes, so one more than the limit is enough to see that something was cut.
        return self.text(raw[: 4 * chars_max + 4].decode("utf-8", "replace"), chars_max)

    def rejections(self, reasons: Mapping[str, str]) -> tuple[Rejection, ...]:
        """The refused items, one value per reason, with the reasons' sentences."""
        return tuple(Rejection(reason, reasons[reason], count) for reason, count in self._rejected.items())

    def mended(self) -> dict[str, int]:
        """What was mended, each with its count."""
        return {what: count for what, count in self.repairs.items() if count}


class BatchBuilder(ItemBuilder):
    """Collects the spans of one request; spans that break a rule are counted by reason instead."""

    def __init__(self, wanted: WantedKeys, now_ns: int) -> None:
        super().__init__(wanted, now_ns)
        self.spans: list[Span] = []
        self._rejected_at: list[int] = []

    def reject(self, reason: str) -> None:
        """Count a refused span and where it stood; `reason` is a key of `REASONS`."""
        self._rejected_at.append(len(self.spans) + len(self._rejected_at))
        super().reject(reason)

    def add(self, span: Span) -> None:
        """Keep `span` if its ids and times are possible; mend what can be mended (see `DecodedBatch.repairs`)."""
        start_ns, end_ns, parent = span.start_ns, span.end_ns, span.parent_span_id
        if not is_trace_id(span.trace_id):
            self.reject("bad_trace_id")
        elif not is_span_id(span.span_id):
            self.reject("bad_span_id")
        elif not limits.EARLIEST_START_NS <= start_ns <= self.latest_ns or end_ns > self.latest_ns:
            self.reject("bad_time")
        elif end_ns < start_ns or span.kind not in _KINDS or (parent is not None and (len(parent) != 8 or parent in _NO_PARENT)):
            self.spans.append(self._mended(span))
        else:
            self.spans.append(span)

    def _mended(self, span: Span) -> Span:
        parent = span.parent_span_id
        if parent is not None and not is_span_id(parent):
            if parent not in _NO_PARENT:
                self.repair("bad_parent_id")
            parent = None
        if span.end_ns < span.start_ns:
            self.repair("end_before_start")
        kind = span.kind if span.kind in _KINDS else 0
        return span._replace(parent_span_id=parent, end_ns=max(span.start_ns, span.end_ns), kind=kind)

    def links(self, found: list[SpanLink]) -> tuple[SpanLink, ...]:
        """The links with possible ids, up to the limit."""
        kept = tuple(link for link in found if is_trace_id(link.trace_id) and is_span_id(link.span_id))[: limits.LINKS_PER_SPAN_MAX]
        self.repairs["links_dropped"] += len(found) - len(kept)
        return kept

    def build(self) -> DecodedBatch:
        """The finished batch."""
        return DecodedBatch(self.spans, self.rejections(REASONS), self.received, self.mended(), self._rejected_at)


class Room:
    """How many more values one array or map attribute may hold."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = limits.VALUE_ITEMS_MAX

    def take(self) -> bool:
        """True while there is room for another value."""
        self._left -= 1
        return self._left >= 0


def short_name(text: str) -> str:
    """A name cut to the length that is stored, the cut visible as an ellipsis."""
    return text if len(text) <= limits.NAME_CHARS_MAX else text[: limits.NAME_CHARS_MAX - 1] + "…"


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
