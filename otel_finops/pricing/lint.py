"""Whether a price list states prices in the unit that its importer takes them for, by models whose prices are well known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from otel_finops.pricing.providers import key_prefixes, row_family
from otel_finops.pricing.snapshot import Fields
from otel_finops.pricing.sources.source import PER_MILLION


class Anchor(NamedTuple):
    """A model whose vendor has not changed its price for a year or more; USD for a million tokens."""

    family: str
    model: str
    input_usd: float
    output_usd: float


ANCHORS: Final = (
    Anchor("openai", "gpt-4o", 2.5, 10),
    Anchor("openai", "gpt-4o-mini", 0.15, 0.6),
    Anchor("openai", "gpt-4.1", 2, 8),
    Anchor("openai", "gpt-4-turbo", 10, 30),
    Anchor("azure", "gpt-4o", 2.5, 10),
    Anchor("openrouter", "openai/gpt-4o", 2.5, 10),
    Anchor("openrouter", "openai/gpt-4o-mini", 0.15, 0.6),
    Anchor("anthropic", "claude-haiku-4-5", 1, 5),
    Anchor("anthropic", "claude-sonnet-4-5", 3, 15),
    Anchor("openrouter", "anthropic/claude-sonnet-4.5", 3, 15),
    Anchor("gemini", "gemini-2.5-flash", 0.3, 2.5),
)
_FAR: Final = 4.0
"""A vendor may halve a price, or double it; a wrong unit is off by a hundred, a thousand or a million."""
_DEAR_USD: Final = 0.01
"""No vendor asks more for one token; lists have such rows all the same."""
_SHOWN_DEAR: Final = 10
_UNITS: Final = {
    10**6: "USD for a million tokens taken for USD for one",
    10**3: "USD for a thousand tokens taken for USD for one",
    10**2: "cents taken for USD",
    10**4: "cents for ten thousand tokens, or the like",
    10**8: "cents for a million tokens taken for USD for one",
}


class Report(NamedTuple):
    """What the anchors say.

    Attributes:
        checked: anchors that the list has.
        wrong: lines about anchors that are far off: the unit is not what the importer takes it for.
        notes: lines about what may be looked at and stops nothing.
    """

    checked: int
    wrong: tuple[str, ...]
    notes: tuple[str, ...]


def lint(rows: Mapping[str, Fields], anchors: Iterable[Anchor] = ANCHORS) -> Report:
    """Compare a list's rows with the anchors, and look for prices that nobody asks."""
    names = {key.lower(): key for key in rows}
    checked, wrong, notes = 0, list[str](), list[str]()
    for anchor in anchors:
        row = _row_of(anchor, rows, names)
        if row is None:
            continue
        checked += 1
        for field, known in (("input_cost_per_token", anchor.input_usd), ("output_cost_per_token", anchor.output_usd)):
            says, far = _off(anchor, field, known, row.get(field))
            (wrong if far else notes).extend(says)
    if not checked:
        notes.append("the list has none of the models whose prices are well known: its unit was not checked")
    return Report(checked, tuple(wrong), (*notes, *_dear(rows)))


def _row_of(anchor: Anchor, rows: Mapping[str, Fields], names: Mapping[str, str]) -> Fields | None:
    for name in (*(prefix + anchor.model for prefix in key_prefixes(anchor.family)), anchor.model):
        row = rows.get(names.get(name, ""))
        if row is not None and row_family(row["litellm_provider"]) == anchor.family:
            return row
    return None


def _off(anchor: Anchor, field: str, known: float, price: object) -> tuple[list[str], bool]:
    """What to say of an anchor's price, and whether it is far off."""
    if not isinstance(price, int | float) or not price:
        return [], False
    per_million = price * PER_MILLION
    factor = per_million / known
    text = f"{anchor.family} {anchor.model}: {field} is {per_million:.6g} USD for a million tokens, known is {known:.6g}"
    if 1 / _FAR <= factor <= _FAR:
        return ([text] if abs(factor - 1) > 1e-9 else []), False
    return [f"{text}: {_guess(factor)}"], True


def _guess(factor: float) -> str:
    power = factor if factor > 1 else 1 / factor
    likely = min(_UNITS, key=lambda unit: abs(unit / power - 1))
    if not 1 / _FAR <= likely / power <= _FAR:
        return f"off by {power:.3g}"
    return _UNITS[likely] if factor > 1 else f"{_UNITS[likely]}, the other way round"


def _dear(rows: Mapping[str, Fields]) -> Iterator[str]:
    dear = [key for key, row in rows.items() if any(_is_dear(field, price) for field, price in row.items())]
    if dear:
        more = f" and {len(dear) - _SHOWN_DEAR} more" if len(dear) > _SHOWN_DEAR else ""
        yield f"more than {_DEAR_USD} USD for one token: {', '.join(sorted(dear)[:_SHOWN_DEAR])}{more}"


def _is_dear(field: str, price: object) -> bool:
    return "_per_token" in field and isinstance(price, int | float) and price > _DEAR_USD
