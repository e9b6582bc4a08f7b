"""What the texts of a URL, a path or a form stand for: values of the types that an operation declares."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

from otel_finops.operations.registry import Input

_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_FLAGS: Final = {"true": True, "false": False}


@cache
def kinds_of(model: type[Input]) -> Mapping[str, frozenset[str]]:
    """The JSON types that each parameter may have, by its name outside."""
    return {name: frozenset(_types(field)) for name, field in model.model_json_schema().get("properties", {}).items()}


def value_of(text: str, kinds: frozenset[str]) -> Any:
    """The value that a text stands for; what fits no declared type stays a text, which the declaration refuses or takes."""
    if "integer" in kinds and _WHOLE.fullmatch(text):
        return int(text)
    if "number" in kinds and _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    if "boolean" in kinds and text in _FLAGS:
        return _FLAGS[text]
    return text


def _types(field: Mapping[str, Any]) -> Iterable[str]:
    """Of a property's schema; what is only named by a reference has none that a text could stand for."""
    for kind in (field, *field.get("anyOf", ())):
        if "type" in kind:
            yield kind["type"]
        else:
            yield from ("string" for value in (*kind.get("enum", ()), kind.get("const")) if isinstance(value, str))
