"""What tokens of one model cost, for counting a stream while it runs. The service makes every price; here they are only multiplied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from otel_finops.base.money import PICO_PER_USD, divide_half_even
from otel_finops.client.usage import Usage

_UNITS = ("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "output")


class Rates(NamedTuple):
    """USD for one token of each unit.

    Attributes:
        by_unit: exact; a unit of the prompt that is missing costs what `input_uncached` does.
    """

    by_unit: Mapping[str, Decimal]

    @classmethod
    def per_million(
        cls, *, input_usd: str, output_usd: str, cache_read_usd: str | None = None, cache_write_usd: str | None = None
    ) -> Rates:
        """Rates that an application knows itself, plain decimal strings in USD for a million tokens.

        Raises:
            ValueError: one is no number, or negative.
        """
        given = {
            "input_uncached": input_usd, "output": output_usd, "cache_read": cache_read_usd,
            "cache_write_5m": cache_write_usd, "cache_write_1h": cache_write_usd,
        }  # fmt: skip
        return cls({unit: _rate(text) / 1_000_000 for unit, text in given.items() if text is not None})

    @classmethod
    def of_lines(cls, lines: Iterable[Mapping[str, Any]]) -> Rates:
        """The rates of a quote's lines."""
        return cls({str(line["unit"]): _rate(str(line["rate_usd"])) for line in lines if line.get("unit") in _UNITS})

    def pico(self, usage: Usage) -> int:
        """What the counts cost, pico-USD; every unit is rounded for itself, as the ledger does."""
        total = 0
        for unit in _UNITS:
            tokens = getattr(usage, unit)
            rate = self.by_unit.get(unit, self.by_unit.get("input_uncached", Decimal(0))) if unit != "output" else self.by_unit.get(unit)
            if tokens and rate:
                numerator, denominator = rate.as_integer_ratio()
                total += divide_half_even(numerator * tokens * PICO_PER_USD, denominator)
        return total


def _rate(text: str) -> Decimal:
    try:
        rate = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"not a rate in USD: {text[:40]!r}") from None
    if not rate.is_finite() or rate < 0:
        raise ValueError(f"a rate must be a number of USD from 0 on, not {text[:40]!r}")
    return rate
