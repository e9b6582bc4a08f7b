"""Units that are no tokens: images, pixels, seconds, characters, pages, queries, searches, requests, sessions.

One thing is billed once: where a row prices tokens and the call reports them, a second measure of the same thing (seconds of
audio, images generated, characters spoken) adds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from otel_finops.genai.usage import Usage, prompt_tokens
from otel_finops.pricing.book import PriceRow
from otel_finops.pricing.quote import PriceableCall
from otel_finops.pricing.rates import BATCH, exact

_SIZE: Final = re.compile(r"(\d{1,5})(?:-x-|x|\*)(\d{1,5})")
_DEFAULT_SIDE: Final = 1024
_SIDES: Final = {"512": 512, "0.5K": 512, "1024": 1024, "1K": 1024, "1536": 1536, "2K": 2048, "4K": 4096}
"""Names of image sizes in the list's fields, to the longer side in pixels."""
_GENERATING_MODES: Final = frozenset({"image_generation", "image_edit", "video_generation", "chat", "responses", "completion"})
_PAGE: Final = ("ocr_cost_per_page",)
_ANNOTATED: Final = ("annotation_cost_per_page",)
_EMBEDDING: Final = "embedding"
_PER_PROMPT_SEARCH: Final = frozenset({"gemini", "vertex_ai", "vertex_ai-language-models"})
"""Providers of rows that bill grounding once a prompt, unless the row says `per_query` (Gemini 2.x against 3.x)."""
SEARCHES: Final = "web_searches"
_SEARCH_CONTEXT: Final = ("search_context_size_medium", "search_context_size_low", "search_context_size_high")


class UnitPrice(NamedTuple):
    """What a unit of a call costs by the row.

    Attributes:
        unit: the usage key.
        quantity: the count billed; a fraction where the unit is divisible.
        usd: the price of one; None when the row has none.
        own: False when another unit's price is the fall-back.
    """

    unit: str
    quantity: int | Fraction
    usd: Fraction | None
    own: bool = True


def bills_tokens(row: PriceRow) -> bool:
    """False for a row that prices only other units (pages, seconds, characters, queries): its tokens are not what is billed."""
    return any("token" in name for name in row.fields) or any("range" in entry for entry in row.fields.get("tiered_pricing") or ())


def prices_anything(row: PriceRow) -> bool:
    """False for a row without a single price."""
    return any("cost" in name for name in row.fields) or "tiered_pricing" in row.fields


def unit_prices(row: PriceRow, call: PriceableCall, tier: str) -> Iterator[UnitPrice]:
    """Every unit of the call that is no token and not covered by its tokens, in the contract's order."""
    usage = call.usage
    tokens_in, tokens_out = prompt_tokens(usage), usage.get("output", 0)
    if queries := usage.get("queries", 0):
        yield UnitPrice("queries", queries, _query_price(row))
    if (images := usage.get("images", 0)) and not _tokens_cover_images(row, tokens_in, tokens_out):
        yield UnitPrice("images", images, _image_price(row, call, prompt_billed=tokens_in > 0))
    if pixels := usage.get("pixels", 0):
        yield UnitPrice("pixels", pixels, _first(row, "input_cost_per_pixel", "output_cost_per_pixel"))
    seconds = Fraction(Decimal(call.seconds)) if call.seconds else Fraction(usage.get("seconds", 0))
    if seconds and not (tokens_in + tokens_out and _first(row, "input_cost_per_token", "input_cost_per_audio_token") is not None):
        yield UnitPrice("seconds", seconds, _second_price(row, call.resolution))
    if (characters := usage.get("characters", 0)) and not (tokens_in and _first(row, "input_cost_per_token") is not None):
        yield UnitPrice("characters", characters, _first(row, "input_cost_per_character", "output_cost_per_character"))
    yield from _counted(row, usage, tier)


def _counted(row: PriceRow, usage: Usage, tier: str) -> Iterator[UnitPrice]:
    page, annotated = (_PAGE, _ANNOTATED) if tier != BATCH else ((_PAGE[0] + BATCH, *_PAGE), (_ANNOTATED[0] + BATCH, *_ANNOTATED))
    if pages := usage.get("pages", 0):
        yield UnitPrice("pages", pages, _first(row, *page))
    if count := usage.get("annotated_pages", 0):
        price = _first(row, *annotated)
        yield UnitPrice("annotated_pages", count, _first(row, *page) if price is None else price, own=price is not None)
    if searches := usage.get("web_searches", 0):
        yield UnitPrice(SEARCHES, billed_searches(row, searches), _search_price(row))
    if requests := usage.get("requests", 0):
        yield UnitPrice("requests", requests, _first(row, "input_cost_per_request"))
    if sessions := usage.get("sessions", 0):
        yield UnitPrice("sessions", sessions, _first(row, "code_interpreter_cost_per_session"))


def _first(row: PriceRow, *fields: str) -> Fraction | None:
    """The first of the fields that the row prices."""
    return next(_prices(row, fields), None)


def _charged(row: PriceRow, *fields: str) -> Fraction | None:
    """The first of the fields that costs something, else the first that the row prices: lists write 0 for the direction that is free."""
    prices = list(_prices(row, fields))
    return next((price for price in prices if price), prices[0] if prices else None)


def _prices(row: PriceRow, fields: Iterable[str]) -> Iterator[Fraction]:
    for field in fields:
        value = row.fields.get(field)
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield exact(value)


def _query_price(row: PriceRow) -> Fraction | None:
    """The price of a query; of a row that prices by how many results are wanted, its first range."""
    price = _first(row, "input_cost_per_query")
    if price is not None:
        return price
    ranges = [entry for entry in row.fields.get("tiered_pricing") or () if "input_cost_per_query" in entry]
    return exact(ranges[0]["input_cost_per_query"]) if ranges else None


def _tokens_cover_images(row: PriceRow, tokens_in: int, tokens_out: int) -> bool:
    """True when the images of the call are among its tokens and the row prices those."""
    if row.mode not in _GENERATING_MODES:
        return False
    if tokens_out:
        return _first(row, "output_cost_per_image_token", "output_cost_per_token") is not None
    return bool(tokens_in) and _first(row, "output_cost_per_image") is None and _first(row, "input_cost_per_token") is not None


def _image_price(row: PriceRow, call: PriceableCall, *, prompt_billed: bool) -> Fraction | None:
    """The price of one image. The list writes that of a generated image under either name: the input one counts first, as its
    own calculator reads it, unless a prompt is billed by its tokens beside the image; then by size; then by the pixel.
    """
    size = _SIZE.fullmatch((call.image_size or "").strip().lower())
    width, height = (int(size[1]), int(size[2])) if size else (_DEFAULT_SIDE, _DEFAULT_SIDE)
    by_input = _first(row, "input_cost_per_image")
    by_output = _sized_price(row, call.image_size, max(width, height))
    generated = by_output if by_output is not None and prompt_billed and row.mode != _EMBEDDING else by_input
    for price in (generated, by_output):
        if price:
            return price
    if generated is not None or by_output is not None:
        return Fraction(0)
    by_pixel = _first(row, "input_cost_per_pixel", "output_cost_per_pixel")
    return None if by_pixel is None else by_pixel * width * height


def _sized_price(row: PriceRow, size_name: str | None, longer_side: int) -> Fraction | None:
    named = (size_name or "").strip().upper()
    for name, side in _SIDES.items():
        if named == name or (named not in _SIDES and side == longer_side):
            price = _first(row, f"output_cost_per_image_{name}")
            if price is not None:
                return price
    return _first(row, "output_cost_per_image")


def _second_price(row: PriceRow, resolution: str | None) -> Fraction | None:
    """The price of a second: of video made (by resolution where the row knows it), else of audio heard, else of audio made."""
    if row.mode == "video_generation":
        wanted = (resolution or "").strip().lower()
        return _first(row, "output_cost_per_video_per_second", f"output_cost_per_second_{wanted}", "output_cost_per_second")
    return _charged(
        row,
        "input_cost_per_second",
        "input_cost_per_audio_per_second",
        "output_cost_per_second",
        "input_cost_per_video_per_second",
        "output_cost_per_video_per_second",
    )


def billed_searches(row: PriceRow, searches: int) -> int:
    """How many searches a call that made so many is charged for: one where the row bills the prompt, else all."""
    per_prompt = row.fields["litellm_provider"] in _PER_PROMPT_SEARCH and row.fields.get("web_search_billing_unit") != "per_query"
    return 1 if per_prompt and searches else searches


def _search_price(row: PriceRow) -> Fraction | None:
    """The price of a web search with the medium context, which vendors take by default."""
    prices = row.fields.get("search_context_cost_per_query") or {}
    return next((exact(prices[size]) for size in _SEARCH_CONTEXT if size in prices), None)
