"""From the bytes of a bill to the bill: which format it is, and the importer that reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from otel_finops.base.errors import BadInput, TooLarge
from otel_finops.base.limits import BILL_COMMAS_MAX, BILL_FILE_BYTES_MAX, JSON_CONTAINERS_MAX, JSON_QUOTES_MAX
from otel_finops.insight.bills import anthropic, focus, invoice, openai, openrouter
from otel_finops.insight.bills.line import Bill
from otel_finops.insight.bills.rows import PARQUET_MAGIC, csv_table, parquet_table
from otel_finops.pricing.sources.reading import inflated

FORMATS: Final = (
    openai.COSTS, openai.USAGE, anthropic.COST, anthropic.USAGE, openrouter.ACTIVITY, focus.FOCUS, invoice.CSV,
)  # fmt: skip
_OPENAI: Final = (openai.COSTS, openai.USAGE)
_ANTHROPIC: Final = (anthropic.COST, anthropic.USAGE)


class Given(NamedTuple):
    """A file that somebody hands over, with what it does not say itself.

    Attributes:
        data: its bytes, gzipped or not.
        origin: its name, for messages.
        format: one of `FORMATS`; None: as it looks.
        provider: the family that bills; None: as the file says.
        mapping, currency, decimal_comma: see `bills.invoice.read`.
        amount_column, model_column: see `bills.focus.read`.
        kind: see `bills.openai.read`.
    """

    data: bytes
    origin: str
    format: str | None = None
    provider: str | None = None
    mapping: Mapping[str, str] = {}
    currency: str | None = None
    decimal_comma: bool = False
    amount_column: str = "BilledCost"
    model_column: str | None = None
    kind: str | None = None


def read_bill(given: Given) -> Bill:
    """Read a bill of any format.

    Raises:
        BadInput: none of them, or something in it is wrong, with the place.
        TooLarge: see `base.limits`.
    """
    raw = inflated(given.data, given.origin, BILL_FILE_BYTES_MAX)
    if raw.startswith(PARQUET_MAGIC):
        return _of_table(given, raw, parquet=True)
    if given.format in (None, *_OPENAI, *_ANTHROPIC, openrouter.ACTIVITY) and raw.lstrip()[:1] in (b"{", b"["):
        return _of_json(given, raw)
    return _of_table(given, raw, parquet=False)


def _of_json(given: Given, raw: bytes) -> Bill:
    pages = _pages(raw, given.origin)
    data = [item for page in pages for item in page]
    if not all(isinstance(item, Mapping) for item in data):
        raise BadInput(f"{given.origin}: `data` holds something that is no object")
    if (data and openrouter.recognises(data[0])) or given.format == openrouter.ACTIVITY:
        return openrouter.read(given.origin, data)
    results = [result for bucket in data for result in _results(bucket, given.origin)]
    format_ = given.format or openai.recognises(results) or anthropic.recognises(results)
    if format_ in _OPENAI:
        return openai.read(given.origin, data, str(format_), given.kind)
    if format_ in _ANTHROPIC:
        return anthropic.read(given.origin, data, str(format_))
    raise BadInput(f"{given.origin}: pages of no format that is known, or without a single result; say `format`: {', '.join(FORMATS)}")


def _results(bucket: Mapping[str, Any], origin: str) -> Sequence[Mapping[str, Any]]:
    results = bucket.get("results", ())
    if not isinstance(results, list | tuple) or not all(isinstance(result, Mapping) for result in results):
        raise BadInput(f"{origin}: `results` of a bucket is no list of objects")
    return results


def _pages(raw: bytes, origin: str) -> list[list[Any]]:
    """The `data` of every page: a page, a list of pages, or pages one a line.

    Raises:
        BadInput: no such thing, or the last page is missing.
    """
    values = _values(raw, origin)
    pages = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    if pages and all(isinstance(page, Mapping) and "data" not in page for page in pages):
        return [list(pages)]
    found = []
    for page in pages:
        if not isinstance(page, Mapping) or not isinstance(page.get("data"), list):
            raise BadInput(f"{origin}: a page is an object with the list `data`")
        found.append(page["data"])
    if pages and all(page.get("has_more") for page in pages):
        raise BadInput(f"{origin}: the last page is missing (every one says has_more): fetch on with next_page, and import all of them")
    return found


def _values(raw: bytes, origin: str) -> list[Any]:
    if raw.count(b"{") + raw.count(b"[") > JSON_CONTAINERS_MAX or raw.count(b'"') > JSON_QUOTES_MAX or raw.count(b",") > BILL_COMMAS_MAX:
        raise TooLarge(f"{origin}: too many objects, texts or values for one import; import it in parts")
    try:
        text = raw.decode("utf-8-sig")
        try:
            return [_parsed(text)]
        except json.JSONDecodeError as fault:
            lines = [line for line in text.splitlines() if line.strip()]
            if len(lines) < 2 or fault.msg != "Extra data":
                raise
            return [_parsed(line) for line in lines]
    except json.JSONDecodeError as fault:
        raise BadInput(f"{origin}, line {fault.lineno}: no JSON: {fault.msg}") from None
    except UnicodeDecodeError as fault:
        raise BadInput(f"{origin}: byte {fault.start} is no UTF-8") from None
    except RecursionError:
        raise BadInput(f"{origin}: nested too deeply") from None
    except ValueError:
        raise BadInput(f"{origin}: a number in it is none, or has too many digits") from None


def _parsed(text: str) -> Any:
    return json.loads(text, parse_float=Decimal, parse_constant=_no_constant)


def _no_constant(text: str) -> Any:
    raise ValueError(text)


def _of_table(given: Given, raw: bytes, *, parquet: bool) -> Bill:
    table = parquet_table(raw, given.origin) if parquet else csv_table(raw, given.origin)
    format_ = given.format or (focus.FOCUS if focus.recognises(tuple(table.columns)) else _row_format(tuple(table.columns)))
    if format_ == focus.FOCUS:
        return focus.read(given.origin, table, given.provider, given.amount_column, given.model_column)
    if format_ == openrouter.ACTIVITY:
        return openrouter.read(given.origin, (row for _, row in table.rows))
    if format_ == invoice.CSV:
        return invoice.read(given.origin, table, given.mapping, given.currency, given.decimal_comma)
    raise BadInput(f"{given.origin}: is a table, and no file of {format_}")


def _row_format(columns: tuple[str, ...]) -> str:
    return openrouter.ACTIVITY if openrouter.recognises(dict.fromkeys(columns)) else invoice.CSV
