"""From a log record to a sighting: OTLP logs as a second source for applications whose spans say less, or nothing.

Only records of known events become sightings, of rank `RANK_LOG`; whether they are charged is decided in `genai.roles.log_source`. A
record is read as if it were a span that ends when it was written, by the same machinery as spans.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from otel_finops.base import limits
from otel_finops.base.protocols import Credential
from otel_finops.base.span import LogRecord, Span, WantedKeys
from otel_finops.base.times import NS_PER_DAY
from otel_finops.genai.attribution_keys import AttributionSettings
from otel_finops.genai.dialect import Facts, ScopeTraits
from otel_finops.genai.dialects import claude_code, codex, gemini_cli, semconv_legacy
from otel_finops.genai.log_events import LogEvent
from otel_finops.genai.normalise import Normaliser
from otel_finops.genai.sighting import CALL, OTHER, RANK_LOG, Sighting
from otel_finops.genai.texts import clean_name


def _only_with_usage(span: Span, facts: Facts) -> None:
    """Most of these events hold content alone; the one before a request holds its parameters."""
    if not (any(facts.counts.values()) or facts.bad):
        facts.kind = OTHER


DETAILS: Final = LogEvent(
    "gen_ai.client.inference.operation.details",
    semconv_legacy.TABLE,
    "semconv",
    _only_with_usage,
    ScopeTraits(rank=RANK_LOG),
    counts=("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.response.id"),
)
"""The conventions' own event of a call, written by several instrumentations beside its span."""

EVENTS: Final = (claude_code.REQUEST, claude_code.ERROR, codex.COMPLETED, gemini_cli.RESPONSE, gemini_cli.ERROR, DETAILS)

_REQUEST_ID: Final = "request_id"
_DURATIONS: Final = ("duration_ms", "duration")
_NS_PER_MS: Final = 1_000_000
_NO_IDS: Final = (bytes(16), bytes(8))
_CLIENT: Final = 3


class LogNormaliser:
    """Turns log records into sightings. Safe to share between threads.

    Attributes:
        wanted: every attribute, of records and resources, that the decoder must read.
        events: names under which records are wanted at all.
    """

    def __init__(self, attribution: AttributionSettings | None = None) -> None:
        self._spans = Normaliser(EVENTS, attribution)
        exact = {_REQUEST_ID, *_DURATIONS}
        self.wanted = WantedKeys(self._spans.wanted.exact | exact, self._spans.wanted.prefixes)
        self.events = frozenset(event.event for event in EVENTS) | {event.short_name[0] for event in EVENTS if event.short_name}

    def __call__(self, record: LogRecord, credential: Credential) -> Sighting | None:
        """The call that a record shows; None when it shows none."""
        event = next((event for event in EVENTS if event.means(record.event, record.scope)), None)
        if event is None:
            return None
        sighting = self._spans(_as_span(record, event), credential)
        if sighting.kind != CALL:
            return None
        span_id = _span_id(record, event, sighting.instance)
        has_trace = record.trace_id is not None
        return sighting._replace(
            trace_id=record.trace_id.hex() if record.trace_id is not None else _trace_id(sighting, span_id),
            span_id=span_id,
            parent_span_id=record.span_id.hex() if has_trace and record.span_id is not None else None,
            rank=RANK_LOG,
        )


def _as_span(record: LogRecord, event: LogEvent) -> Span:
    start_ns = max(limits.EARLIEST_START_NS, record.time_ns - _duration_ns(record))
    return Span(
        *_NO_IDS, None, event.event, _CLIENT, start_ns, record.time_ns, False, None, record.attributes, record.resource,
        event.scope(record.scope), record.scope_version, dropped_attributes=record.dropped_attributes,
    )  # fmt: skip


def _duration_ns(record: LogRecord) -> int:
    """How long the call took before the record was written; 0 when that is not said."""
    for key in _DURATIONS:
        value = record.attributes.get(key)
        try:
            milliseconds = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else -1.0
        except ValueError:
            continue
        if 0 <= milliseconds * _NS_PER_MS <= NS_PER_DAY:
            return round(milliseconds * _NS_PER_MS)
    return 0


def _span_id(record: LogRecord, event: LogEvent, instance: str) -> str:
    """Equal for every delivery of one record: 16 hex digits of a hash over instance, event and request id, else time and counts."""
    request_id = clean_name(record.attributes.get(_REQUEST_ID))
    if request_id is not None:
        parts = [request_id]
    else:
        parts = [str(record.time_ns), *(str(record.attributes.get(key, "")) for key in event.counts)]
    return _hashed(instance, event.event, *parts)[:16]


def _trace_id(sighting: Sighting, span_id: str) -> str:
    """One trace for all calls of a session; a call without a session is a trace of its own, since such traces would never end."""
    session = sighting.attribution.get("session") or sighting.defaults.get("session") or span_id
    return _hashed(sighting.instance, session)[:32]


def _hashed(*parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()
