"""Where two price lists speak of one model, so that an operator sees which of them the book believes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from otel_finops.pricing.providers import key_prefixes, row_family
from otel_finops.pricing.snapshot import Fields


def differing(rows: Mapping[str, Fields], others: Mapping[str, Fields]) -> Iterator[str]:
    """Keys of `rows` whose model `others` prices as well, and otherwise: a price that both state is not the same."""
    keys = {key.lower(): key for key in others}
    for key, row in rows.items():
        other = _same_model(key, row, others, keys)
        if other is not None and any(row[field] != other[field] for field in row.keys() & other.keys() if "cost" in field):
            yield key


def _same_model(key: str, row: Fields, rows: Mapping[str, Fields], keys: Mapping[str, str]) -> Fields | None:
    """The row that prices the model of a row of another list: of the same family and name."""
    family = row_family(row["litellm_provider"])
    name = key.lower().removeprefix(f"{family}/")
    for candidate in (*(prefix + name for prefix in key_prefixes(family)), name):
        found = rows.get(keys.get(candidate, ""))
        if found is not None and row_family(found["litellm_provider"]) == family:
            return found
    return None
