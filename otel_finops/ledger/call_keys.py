"""The keys under which a call is found by those that may be the same call.

A *number key* is a hash of service instance and prompt count within a minute, an *answer key* a hash of realm, answer id
and prompt count; every reading of the prompt has its own. An id that is one of few has a second answer key for its service: the
first equal answer of all may be a stranger's, and the service's own must be found behind it. A *session key* is a hash of service
instance and session, on log records and on the spans of applications that write such records: spans of a session decide about its
records, wherever they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from otel_finops.base.limits import CALL_BUCKETS_MAX
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.genai.roles.agreement import drawn_from_few
from otel_finops.genai.roles.binding import home
from otel_finops.genai.roles.log_source import LOGGED_DIALECTS, outputs_of
from otel_finops.genai.sighting import RANK_GATEWAY, RANK_LOG, Sighting

APART_NS: Final = 2 * NS_PER_SECOND
"""Sightings of one call overlap or are at most this far apart (spans.md, rule 4)."""
ANSWER_BUCKET: Final = 0
SESSION_BUCKET: Final = -1

_BUCKET_NS: Final = 60 * NS_PER_SECOND
_GOLDEN: Final = 0x9E3779B97F4A7C15
_SIGN: Final = 1 << 63
_MASK: Final = (1 << 64) - 1
_NO_READING: Final = (-1,)
"""Stands for the prompt of a call without usage; a gateway's calls are found under it too."""


class CallKey(NamedTuple):
    """One row under which a call can be found.

    Attributes:
        bucket: minute since the epoch for number keys, `ANSWER_BUCKET` for answer keys, `SESSION_BUCKET` for session keys.
        key: 64 bits, signed.
        area: hash of the service instance (number keys), of the realm (answer keys), or of the instance's sessions.
        scope: hash of the instrumentation scope; of session keys, of whether it is a span or a log record.
        output: output tokens, 0 when unknown and on session keys.
    """

    bucket: int
    key: int
    area: int
    scope: int
    output: int
    start_ns: int
    end_ns: int


def keys_of(sighting: Sighting) -> list[CallKey]:
    """The keys of a sighting; none unless it is a candidate for a call."""
    if not sighting.is_candidate:
        return []
    scope = _name_hash(sighting.scope)
    outputs = outputs_of(sighting) if sighting.rank == RANK_LOG else (sighting.usage.get("output", 0),)
    keys = [
        CallKey(bucket, key, area, scope, output, sighting.start_ns, sighting.end_ns)
        for bucket, key, area in (*_answer_keys(sighting), *_number_keys(sighting))
        for output in outputs
    ]
    if sighting.dialect in LOGGED_DIALECTS or sighting.rank == RANK_LOG:
        keys += _session_keys(sighting)
    if sighting.rank == RANK_GATEWAY and sighting.usage and sighting.response_id is not None:
        keys.append(_uncounted(sighting, sighting.response_id, scope))
    return keys


def _uncounted(sighting: Sighting, response_id: str, scope: int) -> CallKey:
    """A gateway's call as one without counts: the application may have the id of a streamed answer and no usage."""
    key = _mixed(_answer(sighting.realm, response_id), *_NO_READING)
    return CallKey(ANSWER_BUCKET, key, _name_hash(sighting.realm), scope, 0, sighting.start_ns, sighting.end_ns)


def _answer_keys(sighting: Sighting) -> Iterable[tuple[int, int, int]]:
    if sighting.response_id is None:
        return
    area = _name_hash(sighting.realm)
    answer = _answer(sighting.realm, sighting.response_id)
    for reading in set(sighting.input_readings or _NO_READING):
        yield ANSWER_BUCKET, _mixed(answer, reading), area
    if drawn_from_few(sighting.response_id):
        own = _answer(sighting.realm, f"{sighting.response_id}\0{home(sighting)}")
        for reading in set(sighting.input_readings or _NO_READING):
            yield ANSWER_BUCKET, _mixed(own, reading), area


def _answer(realm: str, response_id: str) -> int:
    return _hash64(f"{realm}\0{response_id}")


def _number_keys(sighting: Sighting) -> Iterable[tuple[int, int, int]]:
    if not sighting.usage:
        return
    area = _name_hash(f"{sighting.realm}\0{sighting.instance}")
    first = sighting.start_ns // _BUCKET_NS
    last = min((sighting.end_ns + APART_NS) // _BUCKET_NS, first + CALL_BUCKETS_MAX - 1)
    for reading in set(sighting.input_readings):
        key = _mixed(area, reading)
        for bucket in range(first, last + 1):
            yield bucket, key, area


def _session_keys(sighting: Sighting) -> Iterable[CallKey]:
    """One key for a log record or a span with usage that names its session itself."""
    session = sighting.attribution.get("session") or sighting.defaults.get("session")
    is_log = sighting.rank == RANK_LOG
    if session and (is_log or sighting.usage):
        area = _name_hash(f"sessions\0{sighting.realm}\0{sighting.instance}")
        key = _hash64(f"{sighting.realm}\0{sighting.instance}\0{session}")
        yield CallKey(SESSION_BUCKET, key, area, _LOGS if is_log else _SPANS, 0, sighting.start_ns, sighting.end_ns)


def _mixed(hashed: int, number: int) -> int:
    """A hash of both: the golden ratio's odd multiple spreads small numbers over 64 bits (Fibonacci hashing)."""
    return ((hashed + number * _GOLDEN + _SIGN) & _MASK) - _SIGN


def _hash64(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


@lru_cache(maxsize=8192)
def _name_hash(name: str) -> int:
    """Hash of a text that few values have: scopes, instances, realms."""
    return _hash64(name)


_LOGS: Final = _hash64("log records")
_SPANS: Final = _hash64("spans")
