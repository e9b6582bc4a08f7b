"""How a sighting and its quote are stored in the journal, and the hash that tells two deliveries of one span apart.

A payload is a JSON array `[format, head, facts, tail, quote]`: `head` and `tail` hold the fields that every span has,
`facts` those of GenAI spans (null on skeletons), each in the order of the fields of `Sighting`. Fields are only ever added
at the end, with defaults, so that older payloads stay readable.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from operator import itemgetter
from typing import Any, Final, Literal, TypeAlias

import orjson

from otel_finops.genai.sighting import Sighting
from otel_finops.pricing.quote import CostLine, Quote

FORMAT: Final = 1
HASH_BYTES: Final = 16
SUBJECT_KEYS: Final[tuple[Literal["user"], Literal["session"]]] = ("user", "session")
"""Attribution keys whose values identify a person; stored as references only."""

Refs: TypeAlias = Mapping[tuple[str, str, str], str]
"""Reference by (realm, `user` or `session`, clear id)."""
NO_REFS: Final[Refs] = {}

_FIELDS: Final = Sighting._fields
_FACTS_AT: Final = _FIELDS.index("operation")
_TAIL_AT: Final = _FIELDS.index("attribution")
_NO_FACTS: Final = tuple(Sighting._field_defaults[name] for name in _FIELDS[_FACTS_AT:_TAIL_AT])
_LINKS: Final = _FIELDS.index("links")
_PRICE_MODELS: Final = _FIELDS.index("price_models")
_READINGS: Final = _FIELDS.index("input_readings")

_common: Final = itemgetter(
    *map(_FIELDS.index, ("parent_span_id", "start_ns", "end_ns", "kind", "genai", "instance", "scope", "links", "error_type"))
)
_facts: Final = itemgetter(
    *map(
        _FIELDS.index,
        (
            "operation", "provider", "request_model", "response_model", "response_id", "usage", "input_readings", "usage_source",
            "missing_reason", "service_tier", "region", "region_kind", "speed", "streaming", "partial", "reported_pico",
        ),
    )
)  # fmt: skip


class UnknownFormat(Exception):
    """A payload that a newer program wrote."""


def encode(sighting: Sighting, quote: Quote | None, refs: Refs = NO_REFS) -> bytes:
    """Write a sighting and its quote (None on what is no call) as stored bytes, users and sessions replaced by their references.

    Args:
        sighting: as normalised; it is not changed.
        quote: its price.
        refs: the reference of each user and session that the sighting names, by (realm, key, clear id); without any,
            nothing is replaced.
    """
    plain = tuple(sighting)
    facts = plain[_FACTS_AT:_TAIL_AT]
    tail: tuple[Any, ...] = plain[_TAIL_AT:]
    if refs and (names_subject(sighting.attribution) or names_subject(sighting.defaults)):
        tail = (_with_refs(sighting.realm, sighting.attribution, refs), _with_refs(sighting.realm, sighting.defaults, refs), *tail[2:])
    return orjson.dumps((FORMAT, plain[:_FACTS_AT], None if facts == _NO_FACTS else facts, tail, quote and _plain_quote(quote)))


def names_subject(values: Mapping[str, str]) -> bool:
    """Whether a user or a session stands among the values."""
    return "user" in values or "session" in values


def _with_refs(realm: str, values: Mapping[str, str], refs: Refs) -> dict[str, str]:
    return {key: refs[realm, key, value] if key in SUBJECT_KEYS else value for key, value in values.items()}


def decode(payload: bytes) -> tuple[Sighting, Quote | None]:
    """Read what `encode` wrote, now or in an earlier version.

    Raises:
        UnknownFormat: a newer program wrote it.
    """
    format_, head, facts, tail, quote = orjson.loads(payload)
    if format_ != FORMAT:
        raise UnknownFormat(f"journal payload of format {format_}, this program knows {FORMAT}")
    head[_LINKS] = tuple([(trace_id, span_id) for trace_id, span_id in head[_LINKS]])
    if facts is None:
        return Sighting(*head, *_NO_FACTS, *tail), None if quote is None else _quote(quote)
    facts[_PRICE_MODELS - _FACTS_AT] = tuple(facts[_PRICE_MODELS - _FACTS_AT])
    facts[_READINGS - _FACTS_AT] = tuple(facts[_READINGS - _FACTS_AT])
    return Sighting(*head, *facts, *tail), None if quote is None else _quote(quote)


def content_hash(sighting: Sighting) -> bytes:
    """16 bytes that are equal for two deliveries of a span exactly when they say the same.

    The order of keys does not count, nor do names, tags and subjects (they can be erased), nor what only our own rules say
    (rank, dialect, names to look up, rule names, the quote).
    """
    said = _common(sighting)
    attribution, defaults = _without_subjects(sighting.attribution), _without_subjects(sighting.defaults)
    facts = _facts(sighting) if sighting.genai else None
    return sha256(orjson.dumps((said, attribution, defaults, facts), option=orjson.OPT_SORT_KEYS)).digest()[:HASH_BYTES]


def _without_subjects(values: dict[str, str]) -> dict[str, str]:
    if names_subject(values):
        return {key: value for key, value in values.items() if key not in SUBJECT_KEYS}
    return values


def _plain_quote(quote: Quote) -> tuple[Any, ...]:
    plain = tuple(quote)
    return (*plain[:2], [tuple(line) for line in quote.lines], *plain[3:])


def _quote(plain: list[Any]) -> Quote:
    plain[2] = tuple([CostLine(*line) for line in plain[2]])
    return Quote(*plain)
