"""What pricing costs: calls priced a second on one core, the start of the book, and `price` over many lines in bounded memory.

    python -m benchmarks.pricing --lines 1000000

Prints one JSON line for each measurement. `litellm.cost_per_token` and `genai_prices.calc_price` price the same calls in the same run where
these are installed; nothing else of the project needs them. Best of several rounds, one process, names warm; seconds are those of the
processor, so that neighbours on a shared machine do not count.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import os
import random
import resource
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from otel_finops.base.clock import SystemClock
from otel_finops.base.times import parse_ns
from otel_finops.pricing.book import PriceBook
from otel_finops.pricing.calculator import price_lines, resolve_lines
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.quote import PriceableCall

MODELS: Final = (
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"),
    ("openai", "gpt-4.1"),
    ("openai", "gpt-5.6-sol"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-opus-5"),
    ("gemini", "gemini-2.5-pro"),
    ("gemini", "gemini-2.5-flash"),
)
"""Models that all three know; one has dated prices, two have long-context tiers."""
NOON: Final = parse_ns("2026-11-21T12:00:00Z")
ROUNDS: Final = 7
CALLS: Final = 20_000
THEIR_CALLS: Final = 2_000
"""Calls a round for the others, which are slower by a hundred times."""


def calls(count: int) -> list[PriceableCall]:
    """Chat calls: two in five read a cache, one in fifty has a long prompt."""
    dice = random.Random(5)
    made = []
    for number in range(count):
        provider, model = MODELS[number % len(MODELS)]
        usage = {"input_uncached": dice.randrange(210_000, 290_000) if number % 50 == 7 else dice.randrange(100, 20_000)}
        if number % 5 < 2:
            usage["cache_read"] = dice.randrange(100, 20_000)
        usage["output"] = dice.randrange(10, 4_000)
        made.append(PriceableCall(provider, (model,), usage, NOON + number))
    return made


def per_second(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Items a second, the best of the rounds, after one round to warm up."""
    best = float("inf")
    for _ in range(ROUNDS + 1):
        start = time.process_time()
        for item in items:
            work(item)
        best = min(best, time.process_time() - start)
    return len(items) / best


def report(what: str, **figures: Any) -> None:
    """One line of JSON on standard output."""
    sys.stdout.write(json.dumps({"what": what, **figures}) + "\n")
    sys.stdout.flush()


def measure_start() -> None:
    """Reading, parsing and indexing the packaged book, and what it then holds."""
    best = float("inf")
    for _ in range(ROUNDS):
        gc.collect()
        start = time.process_time()
        PriceBook.load()
        best = min(best, time.process_time() - start)
    tracemalloc.start()
    book = PriceBook.load()
    loaded, _ = tracemalloc.get_traced_memory()
    engine = PriceEngine(book)
    for row in book.rows():
        engine.quote(PriceableCall(row.fields["litellm_provider"], (row.key,), {"input_uncached": 1, "output": 1}, NOON))
    warm, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    report("book", start_ms=round(best * 1e3, 1), mib=round(loaded / 2**20, 1), mib_with_every_row_used=round(warm / 2**20, 1))


def measure_calls(priced: Sequence[PriceableCall]) -> None:
    """Quotes a second."""
    engine = PriceEngine.load()
    speed = per_second(engine.quote, priced)
    report("otel_finops", calls_per_s=round(speed), us_per_call=round(1e6 / speed, 2))


def measure_litellm(priced: Sequence[PriceableCall]) -> None:
    """The same calls by `litellm.cost_per_token`, usage built beforehand, and whether the sums are equal."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    litellm = importlib.import_module("litellm")
    types = importlib.import_module("litellm.types.utils")

    def prepared(call: PriceableCall) -> dict[str, Any]:
        read, fresh, made = (call.usage.get(unit, 0) for unit in ("cache_read", "input_uncached", "output"))
        details = types.PromptTokensDetailsWrapper(cached_tokens=read)
        usage = types.Usage(
            prompt_tokens=fresh + read, completion_tokens=made, total_tokens=fresh + read + made, prompt_tokens_details=details
        )
        return {"model": call.models[0], "custom_llm_provider": call.provider, "usage_object": usage}

    given = [prepared(call) for call in priced]
    speed = per_second(lambda each: litellm.cost_per_token(**each), given)
    theirs = [sum(litellm.cost_per_token(**each)) for each in given]
    report("litellm.cost_per_token", calls_per_s=round(speed), us_per_call=round(1e6 / speed, 2), equal=_equal(priced, theirs))


def measure_genai_prices(priced: Sequence[PriceableCall]) -> None:
    """The same calls by `genai_prices.calc_price`, usage built beforehand, and how many answers are equal."""
    genai_prices = importlib.import_module("genai_prices")
    moment = importlib.import_module("datetime").datetime.fromisoformat("2026-11-21T12:00:00+00:00")

    def prepared(call: PriceableCall) -> tuple[Any, str, str]:
        read, fresh, made = (call.usage.get(unit, 0) for unit in ("cache_read", "input_uncached", "output"))
        provider = "google" if call.provider == "gemini" else str(call.provider)
        return genai_prices.Usage(input_tokens=fresh + read, cache_read_tokens=read, output_tokens=made), call.models[0], provider

    def cost(each: tuple[Any, str, str]) -> float:
        found = genai_prices.calc_price(each[0], each[1], provider_id=each[2], genai_request_timestamp=moment)
        return float(found.total_price)

    given = [prepared(call) for call in priced]
    speed = per_second(cost, given)
    report("genai_prices.calc_price", calls_per_s=round(speed), us_per_call=round(1e6 / speed, 2), equal=_equal(priced, map(cost, given)))


def _equal(priced: Sequence[PriceableCall], theirs: Any) -> str:
    """How many answers are ours to one part in a thousand million."""
    engine = PriceEngine.load()
    ours = [(engine.quote(call).cost_pico or 0) / 1e12 for call in priced]
    same = sum(abs(own - other) <= max(abs(other) * 1e-9, 1e-12) for own, other in zip(ours, theirs, strict=True))
    return f"{same} of {len(ours)}"


def measure_lines(count: int) -> None:
    """`price` and `resolve` over `count` lines that are made as they are read; memory is the process's peak after a start of 10,000."""
    engine, clock = PriceEngine.load(), SystemClock()
    for name, answering in (("price", price_lines), ("resolve", resolve_lines)):
        for _ in answering(_lines(10_000), engine, clock):
            pass
        before = _peak_mib()
        start = time.process_time()
        answered = sum(1 for _ in answering(_lines(count), engine, clock))
        spent = time.process_time() - start
        report(name, lines=answered, lines_per_s=round(answered / spent), peak_mib=_peak_mib(), more_mib=round(_peak_mib() - before, 1))


def _lines(count: int) -> Iterator[str]:
    """Records, one in ten with a name that nobody knows, all of them different."""
    for number in range(count):
        provider, model = MODELS[number % len(MODELS)]
        name = f"{model}-{number}" if number % 10 == 3 else model
        yield f'{{"id":"{number}","provider":"{provider}","model":"{name}","input_tokens_uncached":{number % 9999},"output_tokens":77}}'


def _peak_mib() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=100_000, help="lines for `price` and `resolve`")
    options = parser.parse_args()
    measure_lines(options.lines)
    measure_start()
    measure_calls(calls(CALLS))
    theirs = calls(THEIR_CALLS)
    for package, measure in (("litellm", measure_litellm), ("genai_prices", measure_genai_prices)):
        if importlib.util.find_spec(package) is None:
            report(package, skipped="not installed")
        else:
            measure(theirs)


if __name__ == "__main__":
    main()
