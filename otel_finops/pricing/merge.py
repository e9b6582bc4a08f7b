"""Several price lists as one set of rows, and the step from one such set to the next.

Lists have an order of precedence: where two of them price one model, the former's row is the book's, so that a list of a gateway
or of a second publisher fills gaps and never makes prices flicker when lists are refreshed in turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from otel_finops.pricing.diff import same_prices
from otel_finops.pricing.providers import key_prefixes, row_family
from otel_finops.pricing.snapshot import Fields


class Step(NamedTuple):
    """What a list changes.

    Attributes:
        rows: rows that are new or have other prices.
        gone: rows that no list has any more, as they last stood; they are kept as retired rows.
    """

    rows: dict[str, Fields]
    gone: dict[str, Fields]


def merged(lists: Iterable[Mapping[str, Fields]]) -> dict[str, Fields]:
    """The rows of all lists, the former's where several price one model; keys differ by more than capitals."""
    rows: dict[str, Fields] = {}
    keys: dict[str, str] = {}
    for one in lists:
        added = {key: row for key, row in one.items() if _same_model(key, row, rows, keys) is None}
        rows |= added
        keys |= {key.lower(): key for key in added}
    return rows


def shadowed(rows: Mapping[str, Fields], others: Mapping[str, Fields]) -> dict[str, tuple[str, Fields]]:
    """Rows of a list whose model the merged `others` price as well: the key there, and the row there, by the list's key."""
    keys = {key.lower(): key for key in others}
    found = ((key, _same_model(key, row, others, keys)) for key, row in rows.items())
    return {key: (other, others[other]) for key, other in found if other is not None}


def step(before: Mapping[str, Fields], after: Mapping[str, Fields]) -> Step:
    """The step from one set of merged rows to another."""
    old = {key.lower(): row for key, row in before.items()}
    kept = {key.lower() for key in after}
    changed = {key: row for key, row in after.items() if key.lower() not in old or not same_prices(old[key.lower()], row)}
    return Step(changed, {key: row for key, row in before.items() if key.lower() not in kept})


def _same_model(key: str, row: Fields, rows: Mapping[str, Fields], keys: Mapping[str, str]) -> str | None:
    """The key among `rows` that prices the model of a row of another list: the same key, or the same family and name."""
    if key.lower() in keys:
        return keys[key.lower()]
    family = row_family(row["litellm_provider"])
    name = key.lower().removeprefix(f"{family}/")
    for candidate in (*(prefix + name for prefix in key_prefixes(family)), name):
        found = keys.get(candidate)
        if found is not None and row_family(rows[found]["litellm_provider"]) == family:
            return found
    return None
