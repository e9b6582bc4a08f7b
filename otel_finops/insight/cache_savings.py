"""What caches of prompts saved, in the very money that was charged: from the lines of each call, at its own rates.

What was read from a cache would have been sent uncached, and what was written to one as well: saved is the difference between that and
what was charged. Writes cost more than they spare, so a cache that nobody reads loses money, and the answer says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from otel_finops.base.limits import CACHE_MODELS_MAX
from otel_finops.base.money import PICO_PER_USD, divide_half_even
from otel_finops.genai.usage import WRITE_UNITS
from otel_finops.ledger.lined_calls import LinedCall
from otel_finops.pricing.quote import CostLine

UNCACHED: Final = "input_uncached"
READ: Final = "cache_read"
Pair: TypeAlias = tuple[str | None, str | None]
"""Provider and model."""
OTHERS: Final[Pair] = (None, None)
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


class CacheTally:
    """Adds up calls. A call without uncached tokens takes the rate of others of its model that paid the same for what they read."""

    def __init__(self) -> None:
        self._by_model: dict[Pair, Savings] = {}
        self._rates: dict[tuple[Pair, str, str], str] = {}
        self._waiting: dict[tuple[Pair, tuple[CostLine, ...]], int] = {}

    def add(self, call: LinedCall) -> None:
        """Take one call; those that have nothing to do with caches count for nothing."""
        lines = tuple(line for line in call.lines if line.unit in _CACHED and line.quantity)
        if not lines:
            return
        pair = self._named((call.provider, call.model))
        uncached = next((line.rate_usd for line in call.lines if line.unit == UNCACHED), None)
        if uncached is None:
            self._wait(pair, lines)
            return
        for line in lines:
            self._rates.setdefault((pair, line.unit, line.rate_usd), uncached)
        self._count(pair, savings_of(lines, uncached))

    def by_model(self) -> dict[Pair, Savings]:
        """The sums by provider and model, those with most saved first; further models than are told apart are one without a name."""
        for (pair, lines), calls in self._waiting.items():
            rate = next((found for line in lines if (found := self._rates.get((pair, line.unit, line.rate_usd))) is not None), None)
            one = Savings(unknown_calls=1) if rate is None else savings_of(lines, rate)
            self._count(pair, Savings(*(amount * calls for amount in one)))
        self._waiting.clear()
        return dict(sorted(self._by_model.items(), key=lambda item: (-item[1].net, item[0][0] or "", item[0][1] or "")))

    def _wait(self, pair: Pair, lines: tuple[CostLine, ...]) -> None:
        key = pair, lines
        if key in self._waiting or len(self._waiting) < CACHE_MODELS_MAX:
            self._waiting[key] = self._waiting.get(key, 0) + 1
        else:
            self._count(pair, Savings(unknown_calls=1))

    def _count(self, pair: Pair, one: Savings) -> None:
        self._by_model[pair] = self._by_model.get(pair, Savings()).plus(one)

    def _named(self, pair: Pair) -> Pair:
        return pair if pair in self._by_model or len(self._by_model) < CACHE_MODELS_MAX else OTHERS


def savings_of(lines: Iterable[CostLine], uncached_usd: str) -> Savings:
    """What the cached lines of one call saved, where a token that was not cached costs so many USD."""
    read = written = saved = premium = 0
    for line in lines:
        count = int(line.quantity)
        more = uncached_cost(count, uncached_usd) - line.amount_pico
        if line.unit == READ:
            read, saved = read + count, saved + more
        else:
            written, premium = written + count, premium - more
    return Savings(1, 0, read, written, saved, premium)


def uncached_cost(count: int, rate_usd: str) -> int:
    """So many tokens at a rate, pico-USD, rounded half-even once as a line is."""
    rate = _pico(rate_usd)
    return divide_half_even(count * rate.numerator, rate.denominator)


@lru_cache(maxsize=4_096)
def _pico(rate_usd: str) -> Fraction:
    return Fraction(Decimal(rate_usd)) * PICO_PER_USD
