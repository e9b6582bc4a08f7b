"""Price books of other days, as the packaged one times a number."""

from __future__ import annotations

from typing import Any

from ledger_rig import PRICES

from otel_finops.pricing.quote import PriceableCall, Quote


class TimesPrices:
    """Everything costs so many times as much as by the packaged book; models of no known price may have become known, or the reverse.

    Args:
        factor: a whole number.
        known: the packaged model by which another name is priced.
        unknown: models that this book has no row for.
    """

    knows_contracts = False

    def __init__(self, factor: int, known: dict[str, str] | None = None, unknown: tuple[str, ...] = ()) -> None:
        self._factor = factor
        self._known = known or {}
        self._unknown = unknown
        self.version = f"times-{factor}"

    def priceable(self, sighting: Any) -> PriceableCall:
        call = PRICES.priceable(sighting)
        return call._replace(models=tuple(self._known.get(name, name) for name in call.models if name not in self._unknown))

    def quote(self, call: PriceableCall) -> Quote:
        quote = PRICES.quote(call)
        if quote.cost_pico is None:
            return quote._replace(price_version=self.version)
        lines = tuple(line._replace(rate_usd=f"{self._factor}x", amount_pico=self._factor * line.amount_pico) for line in quote.lines)
        return quote._replace(cost_pico=self._factor * quote.cost_pico, lines=lines, price_version=self.version)

    def offers(self, key: str, version: str, at_ns: int) -> bool:
        return version == self.version
