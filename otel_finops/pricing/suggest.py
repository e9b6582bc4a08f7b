"""Price keys that look like a name: for people who mend a model without a price. No price is ever found this way."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from otel_finops.base.limits import NAME_CHARS_MAX
from otel_finops.pricing.book import PriceBook
from otel_finops.pricing.names import PLACEHOLDERS, clean
from otel_finops.pricing.providers import families_of

SUGGESTED_MAX: Final = 3
_WIDTH: Final = 3
_LIKENESS_MIN: Final = 0.4
"""Share of common letter triples (Dice) below which two names have nothing to do with each other."""
_SAME_FAMILY: Final = 0.15
"""What a key of the very provider is worth more."""
_PREFIX_WORTH: Final = 0.02
"""What each letter at the beginning is worth more: families of models begin alike, versions stand behind."""
_PREFIX_MAX: Final = 10
_CONTAINED: Final = 0.6
_CONTAINED_MIN: Final = 4
"""Triples (six letters) that a key must have in common with a longer name to count as held by it: `my-gpt-4o-deployment`."""
_PADDED_TRIPLES: Final = 3
"""Triples of a name that touch its padding, and are others within a longer name."""
_LOOKED_AT: Final = 2_000
"""Holders of triples that are counted for one name, the rarest triples first; the commonest tell nothing."""
_WEIGHED: Final = 40


class NearestKeys:
    """An index over price keys by the letter triples of their last part.

    Args:
        keys: (key, family of the row).
    """

    def __init__(self, keys: Iterable[tuple[str, str]]) -> None:
        by_name: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for key, family in keys:
            by_name[_last_part(key.lower())].append((key, family))
        self._names = list(by_name)
        self._keys = list(by_name.values())
        self._triples = [_triples(name) for name in self._names]
        self._holders: defaultdict[str, list[int]] = defaultdict(list)
        for number, triples in enumerate(self._triples):
            for triple in triples:
                self._holders[triple].append(number)

    @classmethod
    def of(cls, book: PriceBook) -> NearestKeys:
        """The index over a book's live rows."""
        return cls((row.key, row.family) for row in book.rows() if not row.retired)

    def of_name(self, name: str, provider: str | None = None, most: int = SUGGESTED_MAX) -> list[str]:
        """At most so many keys that look like the name, best first; those of the provider (any spelling) come first among equals."""
        wanted = _last_part(clean(name[:NAME_CHARS_MAX]))
        if wanted in PLACEHOLDERS:
            return []
        triples = _triples(wanted)
        families = families_of(provider) if provider else ()
        scored = []
        for number in self._candidates(triples):
            key, own = _best_key(self._keys[number], families)
            worth = _likeness(triples, self._triples[number])
            if worth >= _LIKENESS_MIN:
                worth += own * _SAME_FAMILY + _begin_alike(wanted, self._names[number]) * _PREFIX_WORTH
                scored.append((-worth, key))
        return [key for _, key in sorted(scored)[:most]]

    def _candidates(self, triples: frozenset[str]) -> list[int]:
        """Names with most of the triples in common, the rarest triples counted first."""
        counts: Counter[int] = Counter()
        looked_at = 0
        for holders in sorted((self._holders[triple] for triple in triples if triple in self._holders), key=len):
            looked_at += len(holders)
            if looked_at > _LOOKED_AT and counts:
                break
            counts.update(holders)
        return [number for number, _ in counts.most_common(_WEIGHED)]


def _likeness(mine: frozenset[str], theirs: frozenset[str]) -> float:
    """Dice's coefficient of two names' triples, 0 to 1; at least `_CONTAINED` for a longer name that holds (nearly) all of a key's."""
    common = len(mine & theirs)
    dice = 2 * common / (len(mine) + len(theirs))
    holds_key = common >= max(len(theirs) - _PADDED_TRIPLES, _CONTAINED_MIN)
    return max(dice, _CONTAINED) if holds_key else dice


def _begin_alike(one: str, other: str) -> int:
    """How many letters two names begin with in common, up to `_PREFIX_MAX`."""
    pairs = zip(one[:_PREFIX_MAX], other, strict=False)
    return next((place for place, (mine, theirs) in enumerate(pairs) if mine != theirs), min(len(one), len(other), _PREFIX_MAX))


def _last_part(name: str) -> str:
    """The name without the path in front of it."""
    return name.rpartition("/")[2] or name


def _triples(name: str) -> frozenset[str]:
    padded = f"  {name} "
    return frozenset(padded[start : start + _WIDTH] for start in range(len(padded) - _WIDTH + 1))


def _best_key(keys: Sequence[tuple[str, str]], families: Sequence[str]) -> tuple[str, bool]:
    """Of the keys that share a name that of the families asked for, else the shortest; and whether it is one of these families."""
    key, family = min(keys, key=lambda one: (families.index(one[1]) if one[1] in families else len(families), len(one[0]), one[0]))
    return key, family in families
