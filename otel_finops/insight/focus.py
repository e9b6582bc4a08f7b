"""FOCUS rows (the FinOps Open Cost and Usage Specification): what calls cost by meter, summed up by hour or day. Values in, values out.

A meter is a unit of a cost line: uncached input, cache reads, output, web searches. Calls whose cost has no lines by unit (a cost that the
provider stated, a call that a flat fee covers, a call without a price) have one meter, `requests`, with their tokens as the quantity
that was consumed. What is billed, listed, contracted and effective is known of a call as a whole; where it is not the cost itself it is
cut among the call's lines in proportion to them, by largest remainder, so that every column adds up to the ledger's sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from otel_finops.base.limits import FOCUS_GROUPS_MAX
from otel_finops.base.money import PICO_PER_USD, format_usd
from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_SECOND, format_ns, month_end_ns
from otel_finops.genai.usage import PROMPT_UNITS, TOKEN_UNITS, total_tokens
from otel_finops.insight.allocation import divided
from otel_finops.insight.vendors import vendor_of
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.movements import Movement
from otel_finops.ledger.standing import real_amounts
from otel_finops.pricing.quote import COVERED, REPORTED

Version: TypeAlias = Literal["1.2", "1.3"]
Step: TypeAlias = Literal["hour", "day"]
STEPS: Final[Mapping[Step, int]] = {"hour": NS_PER_HOUR, "day": NS_PER_DAY}
MONEY: Final = ("cost", "billed", "list", "contracted", "effective")
REQUESTS: Final = "requests"
CORRECTION: Final = "Correction"

_MILLION: Final = 10**6
_PLACES: Final = Decimal(1).scaleb(-12)
_DIGITS: Final = 60
_METERS: Final = {
    "input_uncached": "Input Tokens", "cache_read": "Cache Read Tokens", "cache_write_5m": "Cache Write Tokens, 5 Minutes",
    "cache_write_1h": "Cache Write Tokens, 1 Hour", "cache_write_12h": "Cache Write Tokens, 12 Hours", "output": "Output Tokens",
    "reasoning": "Reasoning Tokens", "audio_in": "Audio Input Tokens", "audio_out": "Audio Output Tokens", "image_in": "Image Input Tokens",
    "image_out": "Image Output Tokens", "video_in": "Video Input Tokens", "video_out": "Video Output Tokens",
}  # fmt: skip
_CACHE: Final = {"cache_read": "Read", "cache_write_5m": "Write", "cache_write_1h": "Write", "cache_write_12h": "Write"}
_TTL: Final = {"cache_write_5m": "5m", "cache_write_1h": "1h", "cache_write_12h": "12h"}
_INPUT: Final = frozenset((*PROMPT_UNITS, "audio_in", "image_in", "video_in"))


class Key(NamedTuple):
    """What the calls of one FOCUS row have in common, '' for not known."""

    start_ns: int
    month_ns: int
    late: bool
    tenant: str
    account: str
    provider: str
    model: str
    unit: str
    rate_usd: str
    service_tier: str
    region: str
    cost_method: str
    unpriced_reason: str
    price_key: str
    price_version: str
    coverage_id: str
    operation: str
    agent: str
    cost_center: str
    service: str
    environment: str
    tags: tuple[tuple[str, str], ...]


_UNIT: Final = Key._fields.index("unit")


class Sums:
    """What one row grows by; money in pico-USD, in the order of `MONEY`."""

    __slots__ = ("calls", "consumed", "money", "quantity")

    def __init__(self) -> None:
        self.calls = 0
        self.consumed: int | Decimal = 0
        self.quantity: int | Decimal = 0
        self.money = [0] * len(MONEY)

    @property
    def empty(self) -> bool:
        """Nothing is left of it."""
        return not (self.calls or self.consumed or self.quantity or any(self.money))


def rows(batches: Iterable[Sequence[Movement]], step: Step, version: Version) -> Iterator[list[dict[str, Any]]]:
    """FOCUS rows of movements that come tenant by tenant, earliest start first; an hour's or a day's at a time.

    More than `limits.FOCUS_GROUPS_MAX` rows are not held at a time: an hour or day with more groups than that comes in several pieces, and
    rows of one group can stand in more than one of them. The sums are the same.
    """
    held: dict[Key, Sums] = {}
    place: tuple[str, int] | None = None
    width = STEPS[step]
    for batch in batches:
        for movement in batch:
            row = movement.row
            now = row.tenant, row.started_ns - row.started_ns % width
            if held and (now != place or len(held) >= FOCUS_GROUPS_MAX):
                yield _written(held, width, version)
                held = {}
            place = now
            add(held, movement, now[1])
    if held:
        yield _written(held, width, version)


def add(held: dict[Key, Sums], movement: Movement, start_ns: int) -> None:
    """Add a movement's meters to the rows of its hour or day."""
    row, sign = movement.row, movement.sign
    common = _common(movement, start_ns)
    for unit, rate_usd, quantity, consumed, money in meters(row):
        key = Key._make((*common[:_UNIT], unit, rate_usd, *common[_UNIT:]))
        sums = held.get(key)
        if sums is None:
            sums = held[key] = Sums()
        sums.calls += sign
        sums.consumed += sign * consumed
        sums.quantity += sign * quantity
        for at, amount in enumerate(money):
            sums.money[at] += sign * amount


def _common(movement: Movement, start_ns: int) -> tuple[Any, ...]:
    row = movement.row
    return (
        start_ns, movement.month_ns, movement.late, row.tenant, row.account or "", row.provider or "",
        row.response_model or row.request_model or "",
        row.service_tier or "", row.region or "", row.cost_method or "", row.unpriced_reason or "", row.price_key or "",
        row.price_version or "", row.coverage_id or "", row.operation or "", row.agent or "", row.cost_center or "", row.service or "",
        row.environment or "", tuple(sorted(row.tags.items())) if row.tags else (),
    )  # fmt: skip


def meters(row: Entry) -> Iterator[tuple[str, str, int | Decimal, int | Decimal, list[int]]]:
    """A call's meters: unit, rate, priced quantity, consumed tokens (or other units), and the money in the order of `MONEY`."""
    totals = [row.cost_pico or 0, *(amount or 0 for amount in real_amounts(row).values())]
    lines = row.cost_lines if row.cost_method not in (COVERED, REPORTED) else ()
    if not lines:
        yield REQUESTS, "", 1, total_tokens(row.usage), totals
        return
    amounts = [line.amount_pico for line in lines]
    whole = sum(amounts)
    columns = [amounts if total == whole else divided(total, [max(amount, 0) for amount in amounts]) for total in totals]
    for at, line in enumerate(lines):
        quantity = line.quantity if isinstance(line.quantity, int) else Decimal(line.quantity)
        yield line.unit, line.rate_usd, quantity, quantity, [column[at] for column in columns]


def _written(held: Mapping[Key, Sums], width: int, version: Version) -> list[dict[str, Any]]:
    return [_row(key, sums, width, version) for key, sums in sorted(held.items()) if not sums.empty]


def _row(key: Key, sums: Sums, width: int, version: Version) -> dict[str, Any]:
    """One row as JSON, by FOCUS's column names."""
    vendor = vendor_of(key.provider, key.model)
    money = dict(zip(MONEY, sums.money, strict=True))
    quantity, unit = _priced(key.unit, sums.quantity)
    correction = CORRECTION if key.late else None
    list_price, contracted_price = _unit_price(money["list"], quantity), _unit_price(money["contracted"], quantity)
    meter = meter_name(key.unit)
    model = key.model or "unknown model"
    sku = f"{key.provider or 'unknown'}/{model}/{key.unit}"
    region = key.region or None
    consumed_unit = "Tokens" if key.unit in TOKEN_UNITS or key.unit == REQUESTS else unit
    newer = {"ServiceProviderName": vendor.provider, "HostProviderName": vendor.provider} if version != "1.2" else {}
    return {
        "BilledCost": _decimal(money["billed"]),
        "BillingAccountId": key.account or key.provider or "unknown",
        "BillingAccountName": key.account or vendor.provider,
        "BillingAccountType": "Account",
        "BillingCurrency": "USD",
        "BillingPeriodEnd": _second(month_end_ns(key.month_ns)),
        "BillingPeriodStart": _second(key.month_ns),
        "ChargeCategory": "Usage",
        "ChargeClass": correction,
        "ChargeDescription": f"{model}: {meter}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": _second(key.start_ns + width),
        "ChargePeriodStart": _second(key.start_ns),
        "CommitmentDiscountStatus": None,
        "ConsumedQuantity": _plain(Decimal(sums.consumed)),
        "ConsumedUnit": consumed_unit,
        "ContractedCost": _decimal(money["contracted"]),
        "ContractedUnitPrice": contracted_price,
        "EffectiveCost": _decimal(money["effective"]),
        "InvoiceId": None,
        "InvoiceIssuerName": vendor.provider,
        "ListCost": _decimal(money["list"]),
        "ListUnitPrice": list_price,
        "PricingCategory": "Other" if key.cost_method == COVERED else "Standard",
        "PricingCurrency": "USD",
        "PricingCurrencyContractedUnitPrice": contracted_price,
        "PricingCurrencyEffectiveCost": _decimal(money["effective"]),
        "PricingCurrencyListUnitPrice": list_price,
        "PricingQuantity": _plain(quantity),
        "PricingUnit": unit,
        "ProviderName": vendor.provider,
        "PublisherName": vendor.publisher,
        "RegionId": region,
        "RegionName": region,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": vendor.service,
        "ServiceSubcategory": "Generative AI",
        "SkuId": sku,
        "SkuMeter": meter,
        "SkuPriceDetails": _details(key),
        "SkuPriceId": "/".join((sku, key.service_tier or "standard", key.region or "any", key.rate_usd or "by call")),
        "SubAccountId": key.tenant,
        "SubAccountName": key.tenant,
        "SubAccountType": "Tenant",
        "Tags": _tags(key),
        **newer,
        **_own(key, sums.calls, money["cost"]),
    }


def _own(key: Key, calls: int, cost_pico: int) -> dict[str, Any]:
    """What FOCUS has no column for, under names that it leaves to whoever writes the rows."""
    return {
        "x_Agent": key.agent or None,
        "x_Calls": calls,
        "x_Cost": format_usd(cost_pico),
        "x_CostCenter": key.cost_center or None,
        "x_CostMethod": key.cost_method or None,
        "x_CoverageId": key.coverage_id or None,
        "x_Environment": key.environment or None,
        "x_Model": key.model or None,
        "x_Operation": key.operation or None,
        "x_PriceKey": key.price_key or None,
        "x_PriceVersion": key.price_version or None,
        "x_Provider": key.provider or None,
        "x_Service": key.service or None,
        "x_ServiceTier": key.service_tier or None,
        "x_TokenType": key.unit if key.unit in TOKEN_UNITS else None,
        "x_UnpricedReason": key.unpriced_reason or None,
    }


def meter_name(unit: str) -> str:
    """What people call a unit."""
    return _METERS.get(unit) or unit.replace("_", " ").title()


def _priced(unit: str, quantity: int | Decimal) -> tuple[Decimal, str]:
    """Tokens are priced by the million, as the public lists have them; other units one by one."""
    if unit in TOKEN_UNITS:
        return Decimal(quantity) / _MILLION, f"{_MILLION} Tokens"
    return Decimal(quantity), meter_name(unit)


def _unit_price(amount_pico: int, quantity: Decimal) -> str | None:
    """What one unit cost; None where there was none, or money and quantity have other signs, as corrections may."""
    if not quantity:
        return None
    with localcontext() as context:
        context.prec = _DIGITS
        price = (Decimal(amount_pico) / PICO_PER_USD / quantity).quantize(_PLACES, ROUND_HALF_EVEN)
    return None if price < 0 else _plain(abs(price))


def _decimal(amount_pico: int) -> str:
    return _plain(Decimal(amount_pico).scaleb(-12))


def _plain(number: Decimal) -> str:
    """A plain decimal with at least one place, so that readers who guess a column's type take it for what it is."""
    whole, _, places = f"{number:f}".partition(".")
    return f"{whole}.{places.rstrip('0') or '0'}"


def _details(key: Key) -> dict[str, str]:
    """What tells this price from others; the names are our own as long as the specification has none for them."""
    said = {
        "x_ModelId": key.model,
        "x_TokenDirection": ("Input" if key.unit in _INPUT else "Output") if key.unit in TOKEN_UNITS else "",
        "x_TokenCacheAction": _CACHE.get(key.unit, "Uncached") if key.unit in PROMPT_UNITS else "",
        "x_CacheTtl": _TTL.get(key.unit, ""),
        "x_ServiceTier": key.service_tier,
    }
    return {name: value for name, value in said.items() if value}


def _tags(key: Key) -> dict[str, str] | None:
    """The call's tags, and its attribution under names that no tag of an application begins with."""
    said = {"cost_center": key.cost_center, "agent": key.agent, "service": key.service, "environment": key.environment}
    own = {f"otel_finops/{name}": value for name, value in said.items() if value}
    return {**dict(key.tags), **own} or None


def _second(instant_ns: int) -> str:
    """RFC 3339 in whole seconds, as the specification wants it."""
    return f"{format_ns(instant_ns // NS_PER_SECOND * NS_PER_SECOND)[:19]}Z"
