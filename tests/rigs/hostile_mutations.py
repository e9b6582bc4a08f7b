"""Mutations that know how a body is built: most of what they make still parses, so that it gets past the first check of a decoder."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from typing import Any

_NUMBERS = (0, -1, 1, 127, 128, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, 0.5, 1e308, 1e309, -0.0, float("nan"))
_TEXTS = (
    "", "\0", "\ud800", "\udfff x", "\u202e", "NaN", "Infinity", "-1", "1e9", "12.0", " 12 ", "9" * 5_000, "0x10", "=1+1", "x" * 70_000,
    "null", "{}", "[]", '{"usage": {"input_tokens": 1}}', '{"a":' * 200, "[" * 3_000, '{"usage":' + "1" * 5_000 + "}", "\u0661\u0662",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    {"stringValue": 1},
    {"intValue": "x"},
    {"arrayValue": {"values": [{}, None, 3]}},
)
_KEYS = (
    "stringValue", "intValue", "doubleValue", "boolValue", "arrayValue", "kvlistValue", "bytesValue", "values", "key", "value",
    "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.cost", "finops.hop", "gen_ai.request.model",
    "gen_ai.response.model", "gen_ai.provider.name", "gen_ai.operation.name", "llm.token_count.prompt", "langfuse.usage_details",
    "traceId", "spanId", "startTimeUnixNano", "status", "events", "links", "attributes", "name", "kind", "flags", "traceState",
)  # fmt: skip
_VARINTS = (0, 1, 2**7, 2**28, 2**31, 2**32 - 1, 2**35, 2**63, 2**64 - 1)


def mutated_json(data: bytes, rng: random.Random) -> bytes:
    """One to four changes in a JSON document; what is no JSON comes back as it is."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return data
    for _ in range(rng.randint(1, 4)):
        document = _changed(document, rng)
    try:
        written = json.dumps(document, ensure_ascii=rng.random() < 0.8)
    except (RecursionError, ValueError):  # a part was put within itself
        return data
    return written.encode("utf-8", rng.choice(("replace", "surrogatepass")))


def _changed(document: Any, rng: random.Random) -> Any:
    """The document with one place in it changed."""
    places = [(parent, key) for parent, key in _places(document)]
    if not places:
        return deepcopy(rng.choice(_VALUES))
    parent, key = rng.choice(places)
    kind = rng.random()
    if kind < 0.5:
        parent[key] = _hostile(parent[key], rng)
    elif kind < 0.6:
        parent[key] = _nested(parent[key], rng.choice((3, 15, 17, 60)), rng)
    elif kind < 0.8 and isinstance(parent, list):
        parent[key:key] = [parent[key]] * rng.choice((1, 2, 40))
    elif kind < 0.8:
        parent[rng.choice(_KEYS)] = parent[key]
    else:
        other_parent, other_key = rng.choice(places)
        if not _holds(other_parent[other_key], parent):
            parent[key] = other_parent[other_key]
    return document


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Every place below the top, at most some thousands, each container once."""
    found: list[tuple[Any, Any]] = []
    waiting, seen = [document], set()
    while waiting and len(found) < 5_000:
        parent = waiting.pop()
        if id(parent) in seen:
            continue
        seen.add(id(parent))
        keys = list(parent) if isinstance(parent, dict) else range(len(parent)) if isinstance(parent, list) else ()
        found += ((parent, key) for key in keys)
        waiting += (parent[key] for key in keys)
    return found


def _holds(outer: Any, inner: Any) -> bool:
    """`inner` is `outer` or lies within it, so that putting `outer` into it would make a circle."""
    return outer is inner or any(parent[key] is inner for parent, key in _places(outer))


def _hostile(value: Any, rng: random.Random) -> Any:
    return rng.choice((
        lambda: rng.choice(_NUMBERS), lambda: rng.choice(_TEXTS), lambda: str(rng.choice(_NUMBERS)), lambda: deepcopy(rng.choice(_VALUES)),
        lambda: value[: len(value) // 2] if isinstance(value, str) else [value], lambda: rng.choice(_KEYS),
    ))()  # fmt: skip


def _nested(value: Any, levels: int, rng: random.Random) -> Any:
    for _ in range(levels):
        value = rng.choice((
            lambda inner: {"arrayValue": {"values": [inner]}}, lambda inner: [inner],
            lambda inner: {"kvlistValue": {"values": [{"key": rng.choice(_KEYS), "value": inner}]}},
        ))(value)  # fmt: skip
    return value


def mutated_protobuf(data: bytes, rng: random.Random) -> bytes:
    """One to four changes in a protobuf message at any depth, with all sizes around it put right (most times)."""
    for _ in range(rng.randint(1, 4)):
        data = _changed_message(data, rng, rng.randint(1, 8))
    return data


def _changed_message(data: bytes, rng: random.Random, depth: int) -> bytes:
    """The message with one of its fields changed, or the message in one of its fields."""
    fields = _fields(data)
    if not fields:
        return _new_field(rng)
    at = rng.randrange(len(fields))
    tag, content = fields[at]
    if depth > 0 and tag & 7 == 2 and _fields(content):
        fields[at] = tag, _changed_message(content, rng, depth - 1)
        return _written(fields, rng)
    kind = rng.random()
    if kind < 0.4:
        fields[at] = tag, _hostile_content(tag, content, rng)
    elif kind < 0.5:
        fields[at] = rng.choice((tag ^ 1, tag & ~7 | rng.randrange(8), rng.randrange(1, 200))), content
    elif kind < 0.65:
        fields[at:at] = [fields[at]] * rng.choice((1, 2, 40))
    elif kind < 0.75:
        del fields[at]
    elif kind < 0.85:
        fields[at] = tag, _wrapped(content, rng)
    else:
        rng.shuffle(fields)
    return _written(fields, rng)


def _hostile_content(tag: int, content: bytes, rng: random.Random) -> bytes:
    if tag & 7 == 0:
        return _varint(rng.choice(_VARINTS))
    if tag & 7 in (1, 5):
        return rng.choice((bytes(len(content)), b"\xff" * len(content), rng.randbytes(len(content))))
    key, number = rng.choice(_KEYS).encode(), _varint(rng.choice(_VARINTS))
    return rng.choice((
        b"", b"\xff\xfe", b"\0", rng.choice(_TEXTS).encode("utf-8", "replace"), content[:-1], content * 2, key, b"\x18" + number,
        b"\x0a" + _varint(len(key)) + key + b"\x12" + _varint(len(number) + 1) + b"\x18" + number, rng.randbytes(rng.randrange(40)),
    ))  # fmt: skip


def _wrapped(content: bytes, rng: random.Random) -> bytes:
    """The content in so many arrays or maps of values."""
    for _ in range(rng.choice((3, 15, 17, 60))):
        outer, inner = rng.choice(((0x2A, 0x0A), (0x32, 0x0A)))
        content = _field(outer, _field(inner, content))
    return content


def _new_field(rng: random.Random) -> bytes:
    return _field(rng.choice((0x0A, 0x12, 0x1A, 0x2A, 0x32, 0x4A, 0x5A, 0x6A)), rng.randbytes(rng.randrange(20)))


def _written(fields: list[tuple[int, bytes]], rng: random.Random) -> bytes:
    lies = rng.random() < 0.03
    return b"".join(_field(tag, content, rng.choice(_VARINTS) if lies else None) for tag, content in fields)


def _field(tag: int, content: bytes, size: int | None = None) -> bytes:
    return _varint(tag) + (_varint(len(content) if size is None else size) if tag & 7 == 2 else b"") + content


def _fields(data: bytes) -> list[tuple[int, bytes]]:
    """Tags and contents; empty for what is no message."""
    found: list[tuple[int, bytes]] = []
    at = 0
    try:
        while at < len(data):
            tag, at = _read(data, at)
            start = at
            if tag & 7 == 2:
                size, start = _read(data, at)
                at = start + size
            elif tag & 7 == 0:
                at = _read(data, at)[1]
            elif tag & 7 in (1, 5):
                at += 8 if tag & 7 == 1 else 4
            else:
                return []
            if at > len(data) or tag < 8:
                return []
            found.append((tag, data[start:at]))
    except IndexError:
        return []
    return found


def _read(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128 or shift > 63:
            return value, at
        shift += 7


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes((*written, value))
