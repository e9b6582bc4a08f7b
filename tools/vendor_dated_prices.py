"""Make the packaged dated prices out of a genai-prices wheel: each model's prices with the moments from which they hold.

    pip download --no-deps genai-prices==0.2.3 -d wheels/
    python tools/vendor_dated_prices.py --wheel wheels/genai_prices-0.2.3-*.whl --sha256 5f4d8e17... --date 2026-11-21

The wheel is opened as an archive and its data file read as a syntax tree: nothing of it is installed, imported or run. Prices
become the field names of the first list (USD for one unit), so that both can be compared field by field. Its clauses that
find a model by a part of its name are left out; ids and whole names are kept. The same wheel gives the same bytes.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import hashlib
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping
from decimal import Context, Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

_DATA_FILE: Final = "genai_prices/data.py"
_MILLION: Final = Decimal(1_000_000)
_THOUSAND: Final = Decimal(1_000)
_HOUR: Final = Decimal(3_600)
_SIGNIFICANT_DIGITS: Final = Context(prec=15)

_FIELDS: Final[dict[str, tuple[str, Decimal]]] = {
    "input_mtok": ("input_cost_per_token", _MILLION),
    "output_mtok": ("output_cost_per_token", _MILLION),
    "cache_read_mtok": ("cache_read_input_token_cost", _MILLION),
    "cache_write_mtok": ("cache_creation_input_token_cost", _MILLION),
    "cache_write_1h_mtok": ("cache_creation_input_token_cost_above_1hr", _MILLION),
    "input_audio_mtok": ("input_cost_per_audio_token", _MILLION),
    "output_audio_mtok": ("output_cost_per_audio_token", _MILLION),
    "input_image_mtok": ("input_cost_per_image_token", _MILLION),
    "output_image_mtok": ("output_cost_per_image_token", _MILLION),
    "input_video_mtok": ("input_cost_per_video_token", _MILLION),
    "output_video_mtok": ("output_cost_per_video_token", _MILLION),
    "output_reasoning_mtok": ("output_cost_per_reasoning_token", _MILLION),
    "input_mchars": ("input_cost_per_character", _MILLION),
    "input_document_kpages": ("ocr_cost_per_page", _THOUSAND),
    "input_annotated_document_kpages": ("annotation_cost_per_page", _THOUSAND),
    "requests_kcount": ("input_cost_per_request", _THOUSAND),
    "audio_hours": ("input_cost_per_second", _HOUR),
    "input_audio_hours": ("input_cost_per_second", _HOUR),
}
"""Price keys to the first list's field and how many units the price is for. Searches are written apart; cached audio and images,
citations, stored searches and text messages are no units of a call."""
_SEARCHES: Final = "web_searches_kcount"
_TIERS: Final = {
    ("processing", "batch"): "_batches",
    ("service_tier", "flex"): "_flex",
    ("service_tier", "priority"): "_priority",
    ("service_tier", "fast"): "_priority",
}
"""Requests of a kind to the ending of the first list's fields; other kinds (routes, kinds of search) are no tiers."""

Fields: TypeAlias = dict[str, Any]


class Call(NamedTuple):
    """A constructor in the data file: its name and its arguments."""

    name: str
    args: list[Any]
    given: dict[str, Any]


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.List() | ast.Tuple():
            return [_value(item) for item in node.elts]
        case ast.Dict():
            return {_value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True) if key is not None}
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            return Call(name, [_value(item) for item in node.args], {item.arg or "": _value(item.value) for item in node.keywords})
        case _:
            return ast.unparse(node)


def _providers(source: str) -> list[Call]:
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "providers" and statement.value is not None:
            return list(_value(statement.value))
    raise SystemExit("the data file has no list of providers")


def _number(price: Decimal) -> int | float:
    cut = float(_SIGNIFICANT_DIGITS.create_decimal(price))
    return int(cut) if cut.is_integer() else cut


def _price(value: Call, unit: Decimal) -> int | float:
    return _number(Decimal(value.args[0]) / unit)


def _edge(start: int, provider: str) -> str:
    """How the first list writes an edge; xAI's edge is reached at the number itself, which this source writes as one less."""
    edge = start + 1 if provider == "x-ai" and start % 1000 == 999 else start
    return f"_above_{edge // 1000}k_tokens" if edge % 1000 == 0 else f"_above_{edge}_tokens"


def _fields(prices: Call, provider: str, ending: str = "") -> Fields:
    found: Fields = {}
    for key, value in prices.given.items():
        if key == _SEARCHES:
            if not ending:
                found["search_context_cost_per_query"] = {"search_context_size_medium": _price(value, _THOUSAND)}
                found["web_search_billing_unit"] = "per_query"
            continue
        if key not in _FIELDS:
            continue
        name, unit = _FIELDS[key]
        if value.name == "TieredPrices":
            found[name + ending] = _price(value.given["base"], unit)
            for tier in value.given["tiers"]:
                found[name + _edge(tier.given["start"], provider) + ending] = _price(tier.given["price"], unit)
        else:
            found[name + ending] = _price(value, unit)
    return found


def _when(constraint: Call | None) -> str:
    """ "" for always, a date from which, or a daily window in UTC."""
    if constraint is None:
        return ""
    if constraint.name == "StartDateConstraint":
        year, month, day = constraint.given["start_date"].args
        return f"{year:04}-{month:02}-{day:02}"
    start, end = constraint.given["start_time"], constraint.given["end_time"]
    if {start.given.get("tzinfo"), end.given.get("tzinfo")} - {"datetime.UTC", None}:
        raise SystemExit(f"a window that is not in UTC: {constraint}")
    return "-".join(":".join(f"{part:02}" for part in [*moment.args, 0][:2]) for moment in (start, end))


def _fast_mode(standard: Fields, fast: Fields) -> Fields:
    """Fast mode as the factor that the first list writes, when it is one."""
    factors = {Decimal(repr(price)) / Decimal(repr(standard[name])) for name, price in fast.items() if standard.get(name)}
    return {"provider_specific_entry": {"fast": _number(factors.pop())}} if len(factors) == 1 else {}


def _series(model: Call, provider: str) -> dict[str, list[tuple[str, Fields]]]:
    prices = model.given["prices"]
    conditional = prices if isinstance(prices, list) else [Call("ConditionalPrice", [], {"prices": prices})]
    standard: list[tuple[str, Fields]] = [
        (_when(entry.given.get("constraint")), _fields(entry.given["prices"], provider)) for entry in conditional
    ]
    variants: list[tuple[str, Fields]] = []
    for variant in model.given.get("price_variants") or ():
        (kind,) = variant.given["when"].items()
        when = _when(variant.given.get("constraint"))
        if kind in _TIERS:
            variants.append((when, _fields(variant.given["prices"], provider, _TIERS[kind])))
        elif kind == ("speed", "fast"):
            variants.append((when, _fast_mode(standard[-1][1], _fields(variant.given["prices"], provider))))
    found = {"prices": standard}
    if any(fields for _, fields in variants):
        found["variants"] = variants
    return found


def _whole_names(clause: Call) -> Iterator[str]:
    if clause.name == "ClauseEquals":
        yield clause.given["equals"].lower()
    elif clause.name == "ClauseOr":
        for part in clause.given["or_"]:
            yield from _whole_names(part)


def _licence(archive: zipfile.ZipFile) -> bytes:
    return archive.read(next(name for name in archive.namelist() if name.endswith("/LICENSE") and "dist-info" in name))


def build(source: bytes, version: str, taken_on: str) -> bytes:
    """The dated prices as canonical JSON: `models` by provider/id, `names` that are other whole names of these models."""
    models: dict[str, Mapping[str, Any]] = {}
    names: dict[str, str] = {}
    for provider in _providers(source.decode()):
        provider_id = provider.given["id"]
        for model in provider.given["models"]:
            key = f"{provider_id}/{model.given['id'].lower()}"
            series = _series(model, provider_id)
            if any(fields for _, fields in series["prices"]):
                models[key] = series
                names |= {f"{provider_id}/{name}": key for name in _whole_names(model.given["match"])}
    names = {name: key for name, key in names.items() if name not in models}
    meta = {
        "source": "genai_prices",
        "source_version": version,
        "source_sha256": hashlib.sha256(source).hexdigest(),
        "date": taken_on,
        "unit": "USD for one",
        "licence": "MIT",
        "models": len(models),
    }
    document = {"meta": meta, "models": dict(sorted(models.items())), "names": dict(sorted(names.items()))}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def main(arguments: list[str]) -> int:
    """Write the dated prices and their licence notice into the folder given by `--out`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--sha256", help="of the data file in the wheel")
    parser.add_argument("--date", required=True, help="the day on which the prices are taken, YYYY-MM-DD")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "otel_finops" / "pricing" / "data")
    options = parser.parse_args(arguments)
    with zipfile.ZipFile(options.wheel) as archive:
        source, licence = archive.read(_DATA_FILE), _licence(archive)
    digest = hashlib.sha256(source).hexdigest()
    if options.sha256 and digest != options.sha256:
        raise SystemExit(f"{options.wheel.name}: the data file's sha256 is {digest}, expected {options.sha256}")
    dated = build(source, options.wheel.name.split("-")[1], options.date)
    (options.out / "genai_prices.json.gz").write_bytes(gzip.compress(dated, compresslevel=9, mtime=0))
    (options.out / "LICENSE.genai-prices").write_bytes(licence)
    sys.stdout.write(f"{len(dated)} bytes, sha256 {hashlib.sha256(dated).hexdigest()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
