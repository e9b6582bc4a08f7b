"""The calculator on standard input: one JSON record a line in, one answer a line out, in order and in bounded memory."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

import orjson

from otel_finops.base import limits
from otel_finops.base.clock import Clock
from otel_finops.base.money import format_usd
from otel_finops.base.times import NS_PER_SECOND, parse_ns
from otel_finops.genai.usage import OTHER_UNITS, TOKEN_UNITS
from otel_finops.pricing import checks
from otel_finops.pricing.engine import BAD_USAGE, PriceEngine
from otel_finops.pricing.quote import CostLine, PriceableCall, Quote

BAD_LINE: Final = "bad_line"

_COUNTS: Final = {"input_tokens_uncached": "input_uncached", "output_tokens": "output", "reasoning_tokens": "reasoning"} | {
    unit: unit for unit in (*TOKEN_UNITS, *OTHER_UNITS) if unit not in ("input_uncached", "output", "reasoning", "seconds")
}
"""Names of counts in a record, to the ledger's usage keys."""
_EARLIEST_NS: Final = 0
_LATEST_NS: Final = 7_258_118_400 * NS_PER_SECOND
"""2200-01-01: moments outside of 1970 to 2200 are typing errors."""


class RefusedRecord(Exception):
    """A record that cannot be priced; the text names the field and what is wrong with it."""


class PricedRecord(NamedTuple):
    """The contract's `price_out` for a record, and the quote behind it; None where the record was refused."""

    answer: dict[str, Any]
    quote: Quote | None


def price_lines(lines: Iterable[str], engine: PriceEngine, clock: Clock) -> Iterator[str]:
    """Answer each record of the contract's `price_in` with its `price_out`; a record without `at` has the price of now.

    A line that is no JSON object is answered with reason `bad_line` and an empty id; a record with impossible counts or fields
    with `bad_usage`, the field and the fault in `detail`. Nothing is raised for what a line holds.
    """
    for line in lines:
        record = _record(line)
        yield _dump(_refusal("", BAD_LINE, "not a JSON object") if record is None else price_record(record, engine.quote, clock).answer)


def price_record(record: Mapping[str, Any], price: Callable[[PriceableCall], Quote], clock: Clock) -> PricedRecord:
    """Answer one record of the contract's `price_in` by what prices calls."""
    try:
        call = call_of(record, clock)
    except RefusedRecord as refusal:
        return PricedRecord(_refusal(_id(record), BAD_USAGE, str(refusal)), None)
    quote = price(call)
    return PricedRecord(_answer(_id(record), quote), quote)


def resolve_lines(lines: Iterable[str], engine: PriceEngine, clock: Clock) -> Iterator[str]:
    """Answer each record of the contract's `resolve_in` with its `resolve_out`; the key is null when no row is found."""
    for line in lines:
        record = _record(line)
        if record is None:
            yield _dump({"id": "", "key": None, "match": None, "reason": BAD_LINE, "detail": "not a JSON object"})
            continue
        try:
            provider, model, at_ns = _text(record, "provider"), _text(record, "model"), _instant(record, clock)
        except RefusedRecord as refusal:
            yield _dump({"id": _id(record), "key": None, "match": None, "reason": BAD_LINE, "detail": str(refusal)})
            continue
        match = engine.resolve(provider, model or "", at_ns)
        yield _dump({"id": _id(record), "key": match.key if match else None, "match": match.kind if match else None})


def cost_line_json(line: CostLine) -> dict[str, Any]:
    """A cost line in the contract's form, money as plain decimal strings."""
    return {"unit": line.unit, "quantity": line.quantity, "rate_usd": line.rate_usd, "amount_usd": format_usd(line.amount_pico)}


def _record(line: str) -> Mapping[str, Any] | None:
    """The line's JSON object. NaN and Infinity, which are no JSON, are read so that the field can be named."""
    if len(line) > limits.CALCULATOR_LINE_CHARS_MAX:
        return None
    try:
        record = orjson.loads(line)
    except ValueError:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            return None
    return record if isinstance(record, dict) else None


def _id(record: Mapping[str, Any]) -> str:
    value = record.get("id")
    return value if isinstance(value, str) else ""


def call_of(record: Mapping[str, Any], clock: Clock) -> PriceableCall:
    """The call that a record of the contract's `price_in` states; without `at` it is one of now.

    Raises:
        RefusedRecord: a count is impossible, or a field is of another type.
    """
    usage = {}
    for name, unit in _COUNTS.items():
        count = record.get(name)
        if count is None:
            continue
        fault = checks.count_fault(name, count)
        if fault is not None:
            raise RefusedRecord(fault)
        if count:
            usage[unit] = count
    fault = checks.usage_fault(usage) or checks.excess_input_parts(usage)
    if fault is not None:
        raise RefusedRecord(fault)
    model = _text(record, "model")
    return PriceableCall(
        _text(record, "provider") or None,
        (model,) if model else (),
        usage,
        _instant(record, clock),
        service_tier=_text(record, "service_tier"),
        region_kind=_text(record, "region_kind"),
        region=_text(record, "region"),
        speed=_text(record, "speed"),
        mode=_text(record, "mode"),
        image_size=_text(record, "image_size"),
        quality=_text(record, "quality"),
        resolution=_text(record, "resolution"),
        seconds=_seconds(record),
        account=_text(record, "account"),
    )


def _text(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    if value is None or isinstance(value, str):
        return value
    raise RefusedRecord(f"{name}: not a text")


def _instant(record: Mapping[str, Any], clock: Clock) -> int:
    text = _text(record, "at")
    if text is None:
        return clock.now_ns()
    try:
        at_ns = parse_ns(text)
    except (ValueError, OverflowError):
        raise RefusedRecord("at: no RFC 3339 instant") from None
    if not _EARLIEST_NS <= at_ns < _LATEST_NS:
        raise RefusedRecord("at: not between 1970 and 2200")
    return at_ns


def _seconds(record: Mapping[str, Any]) -> str:
    value = record.get("seconds")
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RefusedRecord("seconds: not a number")
    if not math.isfinite(value):
        raise RefusedRecord("seconds: not finite")
    text = format(Decimal(repr(value)), "f") if abs(value) <= limits.UNITS_PER_CALL_MAX else repr(value)
    fault = checks.seconds_fault(text)
    if fault is not None:
        raise RefusedRecord(fault)
    return text if value else ""


def _answer(record_id: str, quote: Quote) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "id": record_id,
        "usd": None if quote.cost_pico is None else format_usd(quote.cost_pico),
        "key": quote.price_key,
        "match": quote.price_match,
        "method": quote.method,
        "lines": [cost_line_json(line) for line in quote.lines],
    }
    if quote.partial:
        answer["partial"] = True
    if quote.unpriced_reason is not None:
        answer["reason"] = quote.unpriced_reason
    return answer


def _refusal(record_id: str, reason: str, detail: str) -> dict[str, Any]:
    nothing: dict[str, Any] = {"usd": None, "key": None, "match": None, "method": None, "lines": []}
    return {"id": record_id, **nothing, "reason": reason, "detail": detail}


def _dump(answer: Mapping[str, Any]) -> str:
    """The answer as one line; an id with half a surrogate pair, which is no UTF-8, goes back escaped as it came."""
    try:
        return orjson.dumps(answer).decode()
    except TypeError:
        return json.dumps(answer)
