"""A quote: what a call costs, line by line, and which price of which book made it."""

from __future__ import annotations

from typing import Final, NamedTuple

from otel_finops.genai.usage import Usage

REPORTED: Final = "reported"
COVERED: Final = "covered"
"""Methods that the price book knows nothing of; see `pricing.cascade`."""


class PriceableCall(NamedTuple):
    """Everything on which a price may depend.

    Attributes:
        provider: family or any spelling of it; None when unknown.
        models: names to look up, best first.
        usage: disjoint counts (see `genai.usage`), units that are no tokens included.
        at_ns: the billing moment.
        usage_source: reported, estimated or missing.
        missing_reason: why usage is missing, one of the contract's unpriced reasons; None otherwise.
        error_type: the provider's error; with usage missing the call costs 0.
        service_tier, region_kind, region, speed, mode, image_size, quality, resolution: what selects a rate; None = default.
        seconds: billed duration as an exact decimal string, "" for none (usage counts are integers).
        account: the credential's or provider's account that pays, for contract prices; None when unknown.
    """

    provider: str | None
    models: tuple[str, ...]
    usage: Usage
    at_ns: int
    usage_source: str = "reported"
    missing_reason: str | None = None
    error_type: str | None = None
    service_tier: str | None = None
    region_kind: str | None = None
    region: str | None = None
    speed: str | None = None
    mode: str | None = None
    image_size: str | None = None
    quality: str | None = None
    resolution: str | None = None
    seconds: str = ""
    account: str | None = None


class CostLine(NamedTuple):
    """One unit of a call: quantity times rate, rounded half-even once.

    Attributes:
        unit: a usage key, or the contract's name for what is no token.
        quantity: an integer, or a decimal string where the unit is divisible (seconds).
        rate_usd: USD for one unit as a plain decimal string.
        amount_pico: pico-USD.
    """

    unit: str
    quantity: int | str
    rate_usd: str
    amount_pico: int


class Quote(NamedTuple):
    """The price of a call, or why it has none.

    Attributes:
        cost_pico: pico-USD, the sum of the lines; None when unpriced.
        method: `computed` or `unpriced` (`reported`, `estimated`, `covered` are made later in the ledger).
        lines: what was charged; empty when unpriced or free of usage.
        price_key: key of the price book's row, None when none was found.
        price_match: `override`, `exact` or `inferred`; None without a row.
        price_version: digest of the price snapshot.
        partial: a unit had no rate of its own and was priced by the documented fall-back.
        unpriced_reason: one of the contract's reasons, None when priced.
    """

    cost_pico: int | None
    method: str
    lines: tuple[CostLine, ...] = ()
    price_key: str | None = None
    price_match: str | None = None
    price_version: str | None = None
    partial: bool = False
    unpriced_reason: str | None = None
