"""Answers as an operation's output model describes them: realistic ones, and ones whose texts come from somebody who means harm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from surfaces_world import HOSTILE

_DEPTH_MAX: Final = 8
LONG: Final = "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
_TEXTS: Final = (
    (r"(^|_)at$|seen|since|until|^from$|^to$", "2026-11-21T09:30:00.123456789Z"),
    (r"trace_id", "0af7651916cd43dd8448eb211c80319c"),
    (r"span_id", "b7ad6b7169203331"),
    (r"(^|_)(day|date)$|_day$", "2026-11-21"),
    (r"month|period", "2026-10"),
    (r"usd|amount|cost$|price$|rate$", "1234.0072275"),
    (r"currency", "EUR"),
    (r"model|key|name", LONG),
)


def example_of(schema: Mapping[str, Any], *, hostile: bool = False, rows: int = 3) -> Any:
    """A value of a JSON schema. Every list has `rows` items, every optional value is given."""
    return _value(schema, schema.get("$defs", {}), "", hostile, rows, 0)


def _value(schema: Mapping[str, Any], defs: Mapping[str, Any], name: str, hostile: bool, rows: int, depth: int) -> Any:
    if "$ref" in schema:
        return _value(defs[schema["$ref"].rpartition("/")[2]], defs, name, hostile, rows, depth + 1)
    if "anyOf" in schema or "allOf" in schema:
        choices = [one for one in schema.get("anyOf", schema.get("allOf", ())) if one.get("type") != "null"]
        return _value(choices[0], defs, name, hostile, rows, depth) if choices else None
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return _object(schema, defs, hostile, rows, depth)
    if kind == "array":
        items = schema.get("items", {"type": "string"})
        return [] if depth > _DEPTH_MAX else [_value(items, defs, name, hostile, rows, depth + 1) for _ in range(rows)]
    if kind == "integer":
        return 1_234_567
    if kind == "number":
        return 0.123456789
    if kind == "boolean":
        return True
    return _text(schema, name, hostile)


def _object(schema: Mapping[str, Any], defs: Mapping[str, Any], hostile: bool, rows: int, depth: int) -> dict[str, Any]:
    if depth > _DEPTH_MAX:
        return {}
    inner = {name: _value(field, defs, name, hostile, rows, depth + 1) for name, field in schema.get("properties", {}).items()}
    more = schema.get("additionalProperties")
    if isinstance(more, Mapping):
        inner["input" if not hostile else HOSTILE] = _value(more, defs, "input", hostile, rows, depth + 1)
    return inner


def _text(schema: Mapping[str, Any], name: str, hostile: bool) -> str:
    said = str(next((text for pattern, text in _TEXTS if re.search(pattern, name)), "checkout assistant"))
    if "example" in schema:
        said = str(schema["example"])
    free = not schema.get("pattern") and not re.search(r"(^|_)at$|_usd$", name)
    return f"{HOSTILE}\n\r\x07\x9b{said}" if hostile and free else said
