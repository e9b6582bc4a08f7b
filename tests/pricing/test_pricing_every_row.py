"""Every row of the packaged list against a second, naive calculator that is written here from the rules in docs/pricing.md.

It knows no sheets, no memos and no fractions: it looks at the row's own fields for each call, in decimals. So a row or a form of a
price that the engine does not see shows here, though no example names it.
"""

from __future__ import annotations

import gzip
import importlib.resources
import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, localcontext
from typing import Any

import pytest

from otel_finops.pricing.book import PriceBook
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.providers import row_family
from otel_finops.pricing.quote import PriceableCall
from otel_finops.pricing.snapshot import Snapshot

Row = Mapping[str, Any]
Usage = dict[str, int]

ROWS: dict[str, Row] = json.loads(
    gzip.decompress(importlib.resources.files("otel_finops.pricing").joinpath("data", "litellm.json.gz").read_bytes()), parse_float=Decimal
)["rows"]
TOKEN_MODES = {"chat", "responses", "completion", None}
ENDINGS = {"batch": "_batches", "flex": "_flex", "priority": "_priority", "balanced": "_balanced", "ultrafast": "_ultrafast", None: ""}
PRICED = {
    key: row
    for key, row in ROWS.items()
    if "off_peak_pricing" not in row and (row.get("input_cost_per_token") or row.get("tiered_pricing"))
}


@pytest.fixture(scope="module")
def listed() -> PriceEngine:
    """The list alone, without the second source: what its rows say at all moments."""
    rows = {key: {name: as_read(value) for name, value in row.items()} for key, row in ROWS.items()}
    return PriceEngine(PriceBook.of([Snapshot("litellm", "", "list", "", None, rows)]))


def as_read(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: as_read(item) for name, item in value.items()}
    return [as_read(item) for item in value] if isinstance(value, list) else value


# --- the naive calculator ---------------------------------------------------------------------------------------------


def in_range(row: Row, prompt: int) -> Row:
    """The row with the prices of the range that the prompt lies in."""
    ranges = sorted(
        (one for one in row.get("tiered_pricing", ()) if "range" in one and "input_cost_per_token" in one), key=lambda one: one["range"][0]
    )
    if not ranges:
        return row
    own = next((one for one in reversed(ranges) if prompt > one["range"][0]), ranges[0])
    stays = {name: price for name, price in row.items() if name.startswith("output_cost_per_") and "reasoning" not in name}
    stays |= {
        name: price
        for name, price in row.items()
        if name.startswith(("input_cost_per_audio", "input_cost_per_image_", "input_cost_per_video_"))
    }
    stays |= {name: price for name, price in row.items() if name.endswith("_batches")}
    return {"litellm_provider": row["litellm_provider"], **stays, **own}


def forms(row: Row, name: str, prompt: int) -> list[str]:
    """The names of a price for prompts of this length, the longest prompts' first."""
    found = re.compile(re.escape(name) + r"_above_(\d+)(k?)_tokens(_[a-z]+)?")
    edges = {int(match[1]) * (1000 if match[2] else 1): match[1] + match[2] for match in map(found.fullmatch, row) if match}
    reached = [
        edge for edge in sorted(edges, reverse=True) if prompt > edge or (prompt == edge and row_family(row["litellm_provider"]) == "xai")
    ]
    return [f"{name}_above_{edges[edge]}_tokens" for edge in reached]


def price(row: Row, name: str, prompt: int, tier: str | None) -> Decimal | None:
    """The row's price; of a batch without one the half of the standard price."""
    ending = ENDINGS[tier]
    long = forms(row, name, prompt)
    if tier == "batch":
        own = next((row[form + ending] for form in (*long, name) if form + ending in row), None)
        standard = price(row, name, prompt, None)
        return Decimal(own) if own is not None else None if standard is None else standard / 2
    names = [candidate for form in (*long, name) for candidate in dict.fromkeys((form + ending, form))]
    found = next((row[candidate] for candidate in names if candidate in row), None)
    return None if found is None else Decimal(found)


def expected(row: Row, usage: Usage, tier: str | None) -> Decimal | None:
    prompt = sum(count for unit, count in usage.items() if unit.startswith(("input", "cache")))
    row = in_range(row, prompt)

    def of(name: str) -> Decimal | None:
        return price(row, name, prompt, tier)

    text = of("input_cost_per_token")
    if text is None:
        return None
    read = of("cache_read_input_token_cost")
    if tier == "batch" and not any(name.startswith("cache_read_input_token_cost") and name.endswith("_batches") for name in row):
        read = None if read is None else text
    if read is None:
        read = text / 2 if row["litellm_provider"] == "fireworks_ai" else text
    write = of("cache_creation_input_token_cost")
    write = text if write is None else write
    write_1h, write_12h = (of(f"cache_creation_input_token_cost_above_{hours}hr") for hours in (1, 12))
    output = of("output_cost_per_token")
    if not output:
        image = of("output_cost_per_image_token")
        output = output if image is None else image
    if output is None and usage.get("output"):
        return None
    rates = {
        "input_uncached": text, "cache_read": read, "cache_write_5m": write, "cache_write_1h": write if write_1h is None else write_1h,
        "cache_write_12h": write if write_12h is None else write_12h, "output": output or Decimal(0),
    }  # fmt: skip
    counts = dict(usage)
    parts = {"audio_in": "input_cost_per_audio_token", "image_in": "input_cost_per_image_token", "video_in": "input_cost_per_video_token"}
    outputs = {f"{kind}_out": f"output_cost_per_{kind}_token" for kind in ("audio", "image", "video")} | {
        "reasoning": "output_cost_per_reasoning_token"
    }
    for whole, names in (("input_uncached", parts), ("output", outputs)):
        for part, name in names.items():
            own = of(name)
            if part in counts and own is not None:
                rates[part] = own
                counts[whole] -= counts[part]
    return sum((count * rates[unit] for unit, count in counts.items() if unit in rates), Decimal(0))


# --- the calls --------------------------------------------------------------------------------------------------------


def calls(row: Row) -> Iterator[tuple[Usage, str | None]]:
    """Calls of every shape that the row has a price for, and some for which it has none."""
    edges = {int(match[1]) * (1000 if match[2] else 1) for match in (re.search(r"_above_(\d+)(k?)_tokens", name) for name in row) if match}
    edges |= {int(edge) for one in row.get("tiered_pricing", ()) for edge in one.get("range", ())[1:] if edge}
    tiers = [tier for tier, ending in ENDINGS.items() if tier is None or tier == "batch" or any(name.endswith(ending) for name in row)]
    for tier in tiers:
        yield {"input_uncached": 1234, "output": 567}, tier
        yield {"input_uncached": 1234, "cache_read": 4321, "output": 567}, tier
        yield {"input_uncached": 12, "cache_write_5m": 345, "cache_write_1h": 678, "cache_write_12h": 901, "output": 2}, tier
        for edge in sorted(edge for edge in edges if 1000 < edge < 10**7):
            yield from (({"input_uncached": edge - 1000 + more, "cache_read": 1000, "output": 77}, tier) for more in (-1, 0, 1))
            yield {"input_uncached": 1, "cache_write_5m": edge, "cache_write_1h": 5, "cache_write_12h": 3, "output": 77}, tier
    yield {"input_uncached": 1000, "output": 1000, "reasoning": 345}, None
    for part in ("audio_in", "image_in", "video_in", "audio_out", "image_out", "video_out"):
        if any(part.partition("_")[0] in name and "token" in name for name in row):
            yield {"input_uncached": 1000, "output": 1000, part: 345}, None


def test_every_row_prices_every_shape_as_its_own_fields_say(listed: PriceEngine) -> None:
    wrong, compared = [], 0
    with localcontext(prec=60):
        for key, row in PRICED.items():
            match = listed.resolve(row["litellm_provider"], key)
            assert match is not None, key
            for usage, tier in calls(ROWS[match.key]):
                quote = listed.quote(PriceableCall(row["litellm_provider"], (key,), usage, 0, service_tier=tier))
                want = expected(ROWS[match.key], usage, tier)
                compared += 1
                if want is None or quote.cost_pico is None:
                    good = want is None and (quote.cost_pico is None or quote.partial)
                else:
                    good = abs(quote.cost_pico - want * 10**12) <= Decimal("0.5") * len(quote.lines)
                if not good:
                    wrong.append((key, usage, tier, want, quote.cost_pico))
    assert wrong[:5] == []
    assert compared > 30_000


def test_every_row_is_found_by_its_own_key_under_its_provider(listed: PriceEngine) -> None:
    """By its key itself, or where the provider has the same name in its own folder, by that row."""
    found = {key: listed.resolve(row["litellm_provider"], key) for key, row in ROWS.items()}
    assert [key for key, match in found.items() if match is None] == []
    others = {key: match.key for key, match in found.items() if match is not None and match.key != key}
    assert all(other.lower().endswith(f"/{key.lower()}") for key, other in others.items())
    assert len(others) < 60


def test_rows_without_token_prices_price_what_they_are_for(listed: PriceEngine) -> None:
    """One of everything: whoever bills no tokens bills something of it."""
    everything = {
        "queries": 1,
        "images": 1,
        "pixels": 1,
        "seconds": 1,
        "characters": 1,
        "pages": 1,
        "annotated_pages": 1,
        "requests": 1,
        "sessions": 1,
    }
    unpriced = []
    for key, row in ROWS.items():
        costs = [name for name, value in row.items() if "cost" in name and not isinstance(value, dict | list) and value]
        if not costs or any("token" in name for name in costs):
            continue
        quote = listed.quote(PriceableCall(row["litellm_provider"], (key,), everything, 0, resolution="1080p"))
        if not quote.cost_pico:
            unpriced.append((key, costs))
    assert {name for _, costs in unpriced for name in costs} <= {"cost_per_second", "ocr_cost_per_credit", "input_cost_per_text_message"}
