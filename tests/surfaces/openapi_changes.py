"""What changed between two OpenAPI documents, in lines that a person can read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

DEPTH = 8
"""Schemas that contain themselves are followed so far."""


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Added, removed and changed operations and fields; empty when nothing that a client sees is different."""
    old, new = operations(before), operations(after)
    lines = [f"removed  {name}" for name in sorted(old.keys() - new.keys())]
    lines += [f"added    {name}" for name in sorted(new.keys() - old.keys())]
    for name in sorted(old.keys() & new.keys()):
        lines += _fields_changed(name, old[name], new[name])
    return lines


def _fields_changed(name: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for field in sorted(old.keys() | new.keys()):
        if field not in new:
            yield f"removed  {name}: {field} ({old[field]})"
        elif field not in old:
            yield f"added    {name}: {field} ({new[field]})"
        elif old[field] != new[field]:
            yield f"changed  {name}: {field}: was {old[field]}; is {new[field]}"


def operations(document: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Each operation as `METHOD path`, with its parameters, body and answers as one flat table."""
    return {
        f"{method.upper()} {path}": dict(_facts(operation, document))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def _facts(operation: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "operation", operation.get("operationId", "")
    for parameter in operation.get("parameters", ()):
        yield f"{parameter['in']} {parameter['name']}", _said(parameter["schema"], parameter["required"])
        yield from list(_schema(f"{parameter['in']} {parameter['name']}", parameter["schema"], document, 0))[1:]
    places = {"body": operation.get("requestBody", {}).get("content", {})}
    faults = document.get("components", {}).get("responses", {})
    answered = {status: faults[one["$ref"].rpartition("/")[2]] if "$ref" in one else one for status, one in operation["responses"].items()}
    places |= {f"answer {status}": answer.get("content", {}) for status, answer in answered.items()}
    for place, contents in places.items():
        for kind, content in contents.items():
            yield from _schema(f"{place} {kind}", content.get("schema", {}), document, 0)
    yield from ((f"answer {status}", "there") for status in operation["responses"])


def _schema(place: str, schema: Mapping[str, Any], document: Mapping[str, Any], depth: int) -> Iterator[tuple[str, str]]:
    if depth > DEPTH:
        return
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    yield place, _said(schema)
    for name, field in schema.get("properties", {}).items():
        for inner, said in _schema(f"{place} .{name}", field, document, depth + 1):
            yield inner, said + (", required" if inner == f"{place} .{name}" and name in schema.get("required", ()) else "")
    for part in ("items", "additionalProperties"):
        if isinstance(schema.get(part), dict):
            yield from _schema(f"{place}[]", schema[part], document, depth + 1)
    for part in ("anyOf", "oneOf", "allOf"):
        for kind in schema.get(part, ()):
            if "$ref" in kind or "properties" in kind or "items" in kind:
                yield from _schema(f"{place} |", kind, document, depth + 1)


def _said(schema: Mapping[str, Any], required: bool | None = None) -> str:
    """Type and bounds, without titles and descriptions."""
    kinds = [_said(kind) for part in ("anyOf", "oneOf", "allOf") for kind in schema.get(part, ())]
    left_out = ("title", "description", "properties", "items", "required", "$defs", "anyOf", "oneOf", "allOf", "example", "examples")
    facts = [f"{key} {value}" if key != "type" else str(value) for key, value in sorted(schema.items()) if key not in left_out]
    said = ", ".join([" or ".join(kinds), *facts] if kinds else facts) or "anything"
    return f"{said}, {'required' if required else 'optional'}" if required is not None else said
