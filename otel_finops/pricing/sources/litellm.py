"""LiteLLM's `model_prices_and_context_window` JSON, and the snapshots that are made of it (`tools/vendor_prices.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otel_finops.base.errors import BadInput
from otel_finops.pricing.snapshot import Fields
from otel_finops.pricing.sources.fields import kept
from otel_finops.pricing.sources.source import BadRow, PriceList, PriceSource, Reading

NOT_MODELS: Final = frozenset({"sample_spec", "fallback_generalizations"})
"""Entries of LiteLLM's file that are no rows: an example, and rules without prices."""


def _recognises(document: Any) -> bool:
    if not isinstance(document, Mapping):
        return False
    if _is_snapshot(document):
        return True
    rows = [row for key, row in document.items() if key not in NOT_MODELS]
    return bool(rows) and any(isinstance(row, Mapping) and "litellm_provider" in row for row in rows)


def _is_snapshot(document: Mapping[str, Any]) -> bool:
    return isinstance(document.get("meta"), Mapping) and isinstance(document.get("rows"), Mapping)


def _read(document: Any, how: Reading) -> PriceList:
    if not isinstance(document, Mapping):
        raise BadInput("no object of rows by model name")
    if not _is_snapshot(document):
        rows, left_out = _rows({key: row for key, row in document.items() if key not in NOT_MODELS}, how)
        return PriceList(rows, left_out=left_out)
    meta = document["meta"]
    rows, left_out = _rows(document["rows"], how)
    retired, _ = _rows(document.get("retired") or {}, how)
    return PriceList(
        rows, str(meta.get("source_version") or ""), str(meta.get("date") or ""), retired, document.get("dated") or {}, left_out
    )


def _rows(rows: Mapping[str, Any], how: Reading) -> tuple[dict[str, Fields], dict[str, str]]:
    """The rows by key, and those left out with the reason."""
    found: dict[str, Fields] = {}
    left_out: dict[str, str] = {}
    names: set[str] = set()
    for key, row in rows.items():
        if key.lower() in names:
            raise BadRow(key, "stands twice but for capitals")
        names.add(key.lower())
        try:
            found[key] = kept(key, row)
        except BadRow as fault:
            if not (fault.unknown and how.leave_out):
                raise
            left_out[key] = fault.reason
    return found, left_out


SOURCE: Final = PriceSource("litellm", "USD for one (token, image, second, ...)", _recognises, _read)
