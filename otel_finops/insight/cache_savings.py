"""What caches of prompts saved, in the very money that was charged: from the lines of each call, at its own rates.

What was read from a cache would have been sent uncached, and what was written to one as well: saved is the difference between that and
what was charged. Writes cost more than they spare, so a cache that nobody reads loses money, and the answer says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from otel_finops.base.limits import CACHE_MODELS_MAX
from otel_finops.base.money import PICO_PER_USD, divide_half_even
from otel_finops.genai.usage import WRITE_UNITS

UNCACHED: Final = "input_uncached"
READ: Final = "cache_read"
Pair: TypeAlias = tuple[str | None, str | None]
"""Provider and model."""
OTHERS: Final[Pair] = (None, None)
Line: TypeAlias = Sequence[Any]
"""A cost line: unit, quantity, rate in USD as text, pico-USD; `pricing.quote.CostLine`, or as it is stored."""
_CACHED: Final = frozenset((READ, *WRITE_UNITS))


class Savings(NamedTuple):
    """Sums over calls that read from a cache or wrote to one, pico-USD.

    Attributes:
        calls: of which it is known what they would have cost without.
        unknown_calls: others, whose rate for uncached tokens nobody can tell from what was charged.
        read_tokens, written_tokens: of the known ones.
        saved: by what was read; premium: what was charged for writes beyond what the same tokens cost uncached.
    """

    calls: int = 0
    unknown_calls: int = 0
    read_tokens: int = 0
    written_tokens: int = 0
    saved: int = 0
    premium: int = 0

    @property
    def net(self) -> int:
        """What caches saved in all; negative where writes were not worth it."""
        return self.saved - self.premium

    def plus(self, other: Savings) -> Savings:
        """Both."""
        return Savings(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


_UNKNOWN: Final = Savings._fields.index("unknown_calls")


class CacheTally:
    """Adds up calls. A call without uncached tokens takes the rate of others of its model that paid the same for what they read."""

    def __init__(self) -> None:
        self._sums: dict[Pair, list[int]] = {}
        self._rates: dict[tuple[Pair, str, str], str] = {}
        self._waiting: dict[tuple[Pair, tuple[Line, ...]], int] = {}

    def add(self, pair: Pair, lines: Iterable[Line]) -> None:
        """Take the lines of one call; those that have nothing to do with caches count for nothing."""
        uncached: str | None = None
        cached = []
        for line in lines:
            if line[0] in _CACHED:
                if line[1]:
                    cached.append(line)
            elif uncached is None and line[0] == UNCACHED:
                uncached = line[2]
        if not cached:
            return
        pair = self._named(pair)
        if uncached is None:
            self._wait(pair, tuple(map(tuple, cached)))
            return
        for line in cached:
            self._rates.setdefault((pair, line[0], line[2]), uncached)
        self._count(pair, cached, uncached)

    def by_model(self) -> dict[Pair, Savings]:
        """The sums by provider and model, those with most saved first; further models than are told apart are one without a name."""
        for (pair, lines), calls in self._waiting.items():
            rate = next((found for line in lines if (found := self._rates.get((pair, line[0], line[2]))) is not None), None)
            if rate is None:
                self._sums[pair][_UNKNOWN] += calls
            else:
                self._count(pair, lines, rate, calls)
        self._waiting.clear()
        by_model = {pair: Savings(*sums) for pair, sums in self._sums.items()}
        return dict(sorted(by_model.items(), key=lambda item: (-item[1].net, item[0][0] or "", item[0][1] or "")))

    def _wait(self, pair: Pair, lines: tuple[Line, ...]) -> None:
        key = pair, lines
        if key in self._waiting or len(self._waiting) < CACHE_MODELS_MAX:
            self._waiting[key] = self._waiting.get(key, 0) + 1
        else:
            self._sums[pair][_UNKNOWN] += 1

    def _count(self, pair: Pair, lines: Iterable[Line], uncached_usd: str, calls: int = 1) -> None:
        self._sums[pair] = [held + calls * more for held, more in zip(self._sums[pair], savings_of(lines, uncached_usd), strict=True)]

    def _named(self, pair: Pair) -> Pair:
        named = pair if pair in self._sums or len(self._sums) < CACHE_MODELS_MAX else OTHERS
        if named not in self._sums:
            self._sums[named] = [0] * len(Savings._fields)
        return named


def savings_of(lines: Iterable[Line], uncached_usd: str) -> Savings:
    """What the cached lines of one call saved, where a token that was not cached costs so many USD."""
    read = written = saved = premium = 0
    for unit, quantity, _, amount in lines:
        count = int(quantity)
        more = uncached_cost(count, uncached_usd) - amount
        if unit == READ:
            read, saved = read + count, saved + more
        else:
            written, premium = written + count, premium - more
    return Savings(1, 0, read, written, saved, premium)


def uncached_cost(count: int, rate_usd: str) -> int:
    """So many tokens at a rate, pico-USD, rounded half-even once as a line is."""
    numerator, denominator = _pico(rate_usd)
    return count * numerator if denominator == 1 else divide_half_even(count * numerator, denominator)


@lru_cache(maxsize=4_096)
def _pico(rate_usd: str) -> tuple[int, int]:
    """Pico-USD of one, as a fraction; nearly all rates are whole."""
    return (Fraction(Decimal(rate_usd)) * PICO_PER_USD).as_integer_ratio()
