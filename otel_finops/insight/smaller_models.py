"""Which model of the same provider is the next smaller one, by the names that providers give their sizes; never one without a price."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from otel_finops.pricing.engine import PriceEngine

_DATED: Final = re.compile(r"-(latest|\d{4}-\d{2}-\d{2}|\d{8})$")
_LAST_NUMBER: Final = re.compile(r"-\d+$")
_SIZES: Final = (
    ("opus", ("sonnet", "haiku")),
    ("sonnet", ("haiku",)),
    ("pro", ("flash", "flash-lite")),
    ("flash", ("flash-lite",)),
    ("large", ("medium", "small")),
    ("medium", ("small",)),
    ("mini", ("nano",)),
)
"""Words for sizes and what is smaller, the next one first."""
_SUFFIXES: Final = ("-mini", "-nano")
_SMALLEST: Final = frozenset({"haiku", "lite", "small", "nano", "tiny", "micro"})


def smaller_model(engine: PriceEngine, provider: str | None, model: str, at_ns: int, known: Mapping[str, str]) -> str | None:
    """The next smaller model that the price book prices under this very name; None: nobody knows of one.

    Args:
        known: what the operator says, by model.
        at_ns: of whose prices.
    """
    said = known.get(model)
    if said is not None:
        return said
    for name in _names(model):
        match = engine.resolve(provider, name, at_ns)
        if match is not None and match.kind == "exact" and not match.row.retired:
            return name
    return None


def _names(model: str) -> Iterator[str]:
    """Names that a smaller model may have, the likeliest first: with the version, then with less and less of it."""
    base = _DATED.sub("", model)
    words = re.split(r"[-.:/]", base.lower())
    if _SMALLEST & set(words):
        return
    size, smaller = next(((word, others) for word, others in _SIZES if word in words), (None, ()))
    for other in smaller:
        named = re.sub(rf"(?<![a-z]){size}(?![a-z])", other, base, count=1)
        yield from (f"{named}-latest", named)
        while (shorter := _LAST_NUMBER.sub("", named)) != named:
            named = shorter
            yield named
    if size is None:
        yield from (base + suffix for suffix in _SUFFIXES)
