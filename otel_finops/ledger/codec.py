"""How a sighting and its quote are stored in the journal, and the hash that tells two deliveries of one span apart.

A payload is a JSON array `[format, content, notes, quote]`. `content` is what the sender said, in one canonical form, and what
the hash covers: `[common, attribution, defaults, facts]`, facts null on skeletons. `notes` are the rest of a sighting: names,
tags, references of subjects, and what our own rules made of it. The span's ids and realm stand in the row's keys. Fields of
`notes` and `quote` are only ever added at the end, with defaults, so that older payloads stay readable.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from operator import itemgetter
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import orjson

from otel_finops.base.errors import FinopsError
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.genai.sighting import GuardrailVerdict, SaidOutcome, Sighting
from otel_finops.pricing.quote import CostLine, Quote

FORMAT: Final = 2
HASH_BYTES: Final = 16
SUBJECT_KEYS: Final[tuple[Literal["user"], Literal["session"]]] = ("user", "session")
"""Attribution keys whose values identify a person; stored as references only."""

Refs: TypeAlias = Mapping[tuple[str, str, str], str]
"""Reference by (realm, `user` or `session`, clear id)."""

_FIELDS: Final = Sighting._fields
_FACTS_AT: Final = _FIELDS.index("operation")
_TAIL_AT: Final = _FIELDS.index("attribution")
_ERROR_AT: Final = _FIELDS.index("error_type")
_NO_FACTS: Final = tuple(Sighting._field_defaults[name] for name in _FIELDS[_FACTS_AT:_TAIL_AT])
_NO_FACTS_BEFORE_ERROR: Final = _NO_FACTS[: _ERROR_AT - _FACTS_AT]
_NO_FACTS_AFTER_ERROR: Final = _NO_FACTS[_ERROR_AT - _FACTS_AT + 1 :]

_COMMON: Final = ("parent_span_id", "start_ns", "end_ns", "kind", "genai", "instance", "scope", "links", "error_type")
_SCOPE_AT: Final = _COMMON.index("scope")
_NOTHING_FURTHER: Final[list[Any]] = [False, ()]
"""What facts that end early do not say: whether the answer came from a cache, and why it ended."""
_common: Final = itemgetter(*map(_FIELDS.index, _COMMON))
_facts: Final = itemgetter(
    *map(
        _FIELDS.index,
        (
            "operation", "provider", "request_model", "response_model", "response_id", "usage", "input_readings", "usage_source",
            "missing_reason", "service_tier", "region", "region_kind", "speed", "streaming", "partial", "reported_pico",
        ),
    )
)  # fmt: skip


class UnknownFormat(FinopsError):
    """A payload in a format that this program does not know, most likely a newer one's."""


def content_hash(sighting: Sighting) -> bytes:
    """The 16 bytes that stand for a sighting's content."""
    return sha256(_content(sighting)).digest()[:HASH_BYTES]


def _content(sighting: Sighting) -> bytes:
    """What the sender said, as bytes that are equal for two deliveries of a span exactly when they say the same.

    The order of keys does not count, nor do names, tags and subjects (they can be erased), nor what only our own rules say
    (rank, dialect, names to look up, rule names, the quote).
    """
    attribution, defaults = _without_subjects(sighting.attribution), _without_subjects(sighting.defaults)
    facts = _facts(sighting) if sighting.genai else None
    if facts is not None:  # further facts are written only where they are said, so that what was stored before keeps its hash
        if sighting.finish_reasons:
            facts = (*facts, sighting.from_cache, sighting.finish_reasons)
        elif sighting.from_cache:
            facts = (*facts, True)
    return orjson.dumps((_common(sighting), attribution, defaults, facts), option=orjson.OPT_SORT_KEYS)


def encode(sighting: Sighting, quote: Quote | None) -> bytes:
    """Write a sighting, in which users and sessions are references already, and its quote (None on what is no call) as stored bytes."""
    attribution, defaults = sighting.attribution, sighting.defaults
    notes: tuple[Any, ...] = (
        sighting.name,
        sighting.rank,
        sighting.dialect,
        sighting.price_models,
        sighting.usage_rule,
        sighting.reported_source,
        sighting.tags,
        sighting.dropped_attributes,
        _subjects(attribution) if names_subject(attribution) else None,
        _subjects(defaults) if names_subject(defaults) else None,
        None if sighting.speaks_for == ANY_TENANT else sighting.speaks_for,
    )
    if sighting.outcome is not None:
        notes = (*notes, sighting.guardrail and tuple(sighting.guardrail), tuple(sighting.outcome))
    elif sighting.guardrail is not None:
        notes = (*notes, tuple(sighting.guardrail))
    said = _content(sighting)  # again: keeping what was hashed for a whole group commit costs more than writing it twice
    return b"[%d,%b,%b,%b]" % (FORMAT, said, orjson.dumps(notes), b"null" if quote is None else orjson.dumps(_plain_quote(quote)))


def referenced(sighting: Sighting, refs: Refs) -> Sighting:
    """The sighting with users and sessions replaced by their references, as `decode` will read it; itself when it names none.

    Args:
        sighting: as normalised; it is not changed.
        refs: the reference of each user and session that the sighting names.
    """
    attribution = _referenced(sighting.realm, sighting.attribution, refs)
    defaults = _referenced(sighting.realm, sighting.defaults, refs)
    if attribution is sighting.attribution and defaults is sighting.defaults:
        return sighting
    return Sighting._make((*sighting[:_TAIL_AT], attribution, defaults, *sighting[_TAIL_AT + 2 :]))


def _referenced(realm: str, values: dict[str, str], refs: Refs) -> dict[str, str]:
    if not names_subject(values):
        return values
    return {key: refs[realm, key, value] if key in SUBJECT_KEYS else value for key, value in values.items()}


def names_subject(values: Mapping[str, str]) -> bool:
    """Whether a user or a session stands among the values."""
    return "user" in values or "session" in values


def _subjects(values: Mapping[str, str]) -> dict[str, str]:
    return {key: values[key] for key in SUBJECT_KEYS if key in values}


def decode(payload: bytes, realm: str, trace_id: str, span_id: str) -> Sighting:
    """Read the sighting that `encode` wrote, now or in an earlier version; its ids (lower-case hex) and realm come from the row's keys.

    Raises:
        UnknownFormat: a newer program wrote it.
    """
    (common, attribution, defaults, facts), notes, _ = _parts(payload)
    parent_span_id, start_ns, end_ns, kind, genai, instance, scope, links, error_type = common
    name, rank, dialect, price_models, usage_rule, reported_source, tags, dropped, own, carried, speaks_for, *more = notes
    if own:
        attribution.update(own)
    if carried:
        defaults.update(carried)
    ends = tuple([(linked, at) for linked, at in links]) if links else ()
    head = (realm, trace_id, span_id, parent_span_id, name, start_ns, end_ns, kind, genai, instance, scope, rank, dialect, ends)
    tail = (attribution, defaults, tags, dropped, speaks_for or ANY_TENANT)
    guardrail = GuardrailVerdict(*more[0]) if more and more[0] else None
    outcome = SaidOutcome(*more[1]) if len(more) > 1 else None
    if facts is None:
        return Sighting._make((*head, *_NO_FACTS_BEFORE_ERROR, error_type, *_NO_FACTS_AFTER_ERROR, *tail, False, (), guardrail, outcome))
    (
        operation, provider, request_model, response_model, response_id, usage, readings, usage_source, missing_reason, service_tier,
        region, region_kind, speed, streaming, partial, reported_pico, *further,
    ) = facts  # fmt: skip
    from_cache, finish_reasons = further + _NOTHING_FURTHER[len(further) :]
    return Sighting._make((
        *head, operation, provider, request_model, response_model, tuple(price_models), response_id, usage, tuple(readings),
        usage_source, usage_rule, missing_reason, service_tier, region, region_kind, speed, streaming, error_type, partial,
        reported_pico, reported_source, *tail, from_cache, tuple(finish_reasons), guardrail, outcome,
    ))  # fmt: skip


class Author(NamedTuple):
    """Which library wrote a span: its scope, rank and dialect (None where not known), and how many attributes the sender dropped."""

    scope: str | None
    rank: int | None
    dialect: str | None
    dropped_attributes: int


def decode_author(payload: bytes) -> Author:
    """Read of a payload only who wrote the span.

    Raises:
        UnknownFormat: as `decode`.
    """
    (common, *_), notes, _ = _parts(payload)
    return Author(common[_SCOPE_AT], notes[1], notes[2], notes[7])


def decode_quote(payload: bytes) -> Quote | None:
    """Read the quote of a payload; None on what is no call.

    Raises:
        UnknownFormat: as `decode`.
    """
    plain = _parts(payload)[2]
    if plain is None:
        return None
    plain[2] = tuple([CostLine(*line) for line in plain[2]])
    return Quote(*plain)


def _parts(payload: bytes) -> Any:
    """Content, notes and quote, as plain lists."""
    format_, *parts = orjson.loads(payload)
    if format_ != FORMAT:
        raise UnknownFormat(f"journal payload of format {format_}, this program knows {FORMAT}")
    return parts


def _without_subjects(values: dict[str, str]) -> dict[str, str]:
    if names_subject(values):
        return {key: value for key, value in values.items() if key not in SUBJECT_KEYS}
    return values


def _plain_quote(quote: Quote) -> tuple[Any, ...]:
    plain = tuple(quote)
    return (*plain[:2], [tuple(line) for line in quote.lines], *plain[3:])
