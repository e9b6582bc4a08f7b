"""Calls priced a second on one core: in columns, one by one, and by other calculators where these are installed.

    python -m benchmarks.bulk_pricing --rows 2000000
    python -m benchmarks.bulk_pricing --rows 2000000 --singles 20000 --json

The rows are the same for all: models, prompts and moments drawn from a seed, a tenth of the prompts beyond a long-context edge. All
calculators are asked for the cost alone; what they answer is compared with the columns' answer, for the models that they know.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import numpy as np

from otel_finops.base.money import PICO_PER_USD
from otel_finops.base.times import NS_PER_SECOND, parse_ns
from otel_finops.pricing.bulk import Batch, BulkPricer, Priced
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.quote import PriceableCall

FROM_NS: Final = parse_ns("2026-10-01")
TO_NS: Final = parse_ns("2026-11-01")
MODELS: Final = (
    ("openai", "gpt-4o"), ("openai", "gpt-4o-mini"), ("openai", "gpt-4.1"), ("openai", "gpt-5"), ("openai", "o3"),
    ("anthropic", "claude-sonnet-4-5"), ("anthropic", "claude-haiku-4-5"), ("anthropic", "claude-opus-4-1"),
    ("gemini", "gemini-2.5-pro"), ("gemini", "gemini-2.5-flash"), ("mistral", "mistral-large-latest"), ("deepseek", "deepseek-chat"),
)  # fmt: skip
_OTHERS_NAMES: Final = {"gemini": "google"}
_RUNS: Final = 5

Usd = Callable[[PriceableCall], Decimal | float | None]


def drawn(rows: int, kinds: int, seed: int = 4) -> Batch:
    """Rows in columns, as arrays."""
    random = np.random.default_rng(seed)
    prompt = np.where(random.random(rows) < 0.1, random.integers(150_000, 400_000, rows), random.integers(20, 20_000, rows))
    cached = (prompt * random.random(rows) * 0.8).astype(np.int64)
    output = random.integers(1, 4_000, rows)
    usage = {"input_uncached": prompt - cached, "cache_read": cached, "output": output, "reasoning": output // 3}
    at_ns = random.integers(FROM_NS, TO_NS, rows)
    return Batch(random.integers(0, kinds, rows), at_ns, usage)  # type: ignore[arg-type]  # arrays are sequences


def single_calls(kinds: Sequence[PriceableCall], batch: Batch, count: int) -> list[PriceableCall]:
    """The first rows of a batch as calls."""
    return [
        kinds[int(batch.kind[row])]._replace(
            at_ns=int(batch.at_ns[row]), usage={unit: int(column[row]) for unit, column in batch.usage.items() if column[row]}
        )
        for row in range(count)
    ]


def columns_rate(pricer: BulkPricer, batch: Batch) -> tuple[float, Priced]:
    """Rows a second, the best of some runs, and their prices."""
    best = 0.0
    for _ in range(_RUNS):
        start = time.process_time()
        priced = pricer.price(batch)
        best = max(best, len(batch.kind) / (time.process_time() - start))
    return best, priced


def singles_rate(ask: Callable[[PriceableCall], Any], calls: Sequence[PriceableCall]) -> tuple[float, list[Any]]:
    """Calls a second once every name is known, the best of some runs, and the answers."""
    answers = [ask(call) for call in calls]
    best = 0.0
    for _ in range(_RUNS if len(calls) > 1 else 1):
        start = time.process_time()
        for call in calls:
            ask(call)
        best = max(best, len(calls) / (time.process_time() - start))
    return best, answers


def litellm_usd() -> Usd | None:
    """`litellm.cost_per_token`; None where it is not installed."""
    litellm = _installed("litellm")
    if litellm is None:
        return None

    def ask(call: PriceableCall) -> float | None:
        usage = call.usage
        cached = usage.get("cache_read", 0)
        prompt, completion = litellm.cost_per_token(
            model=call.models[0],
            custom_llm_provider=call.provider,
            prompt_tokens=usage.get("input_uncached", 0) + cached,
            completion_tokens=usage.get("output", 0),
            cache_read_input_tokens=cached,
        )
        return float(prompt + completion)

    return _silent(ask)


def genai_prices_usd() -> Usd | None:
    """`genai_prices.calc_price`; None where it is not installed."""
    genai_prices = _installed("genai_prices")
    if genai_prices is None:
        return None

    def ask(call: PriceableCall) -> Decimal:
        usage = call.usage
        cached = usage.get("cache_read", 0)
        used = genai_prices.Usage(
            input_tokens=usage.get("input_uncached", 0) + cached, cache_read_tokens=cached, output_tokens=usage.get("output", 0)
        )
        moment = datetime.fromtimestamp(call.at_ns / NS_PER_SECOND, UTC)
        provider = call.provider or ""
        found = genai_prices.calc_price(
            used, model_ref=call.models[0], provider_id=_OTHERS_NAMES.get(provider, provider), genai_request_timestamp=moment
        )
        return Decimal(found.total_price)

    return _silent(ask)


def _installed(name: str) -> Any:
    """The module; None where it is not installed."""
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def _silent(ask: Callable[[PriceableCall], Any]) -> Usd:
    """Unknown models are None; other calculators raise their own errors for them."""

    def asked(call: PriceableCall) -> Any:
        try:
            return ask(call)
        except Exception:  # noqa: BLE001 - whatever another calculator raises, it has no price
            return None

    return asked


def agreeing(priced: Priced, answers: Sequence[Any]) -> str:
    """How many answers equal the columns' to the pico-dollar, of those that there are."""
    known = [row for row, answer in enumerate(answers) if answer is not None]
    equal = [row for row in known if round(Decimal(str(answers[row])) * PICO_PER_USD) == int(priced.cost_pico[row])]
    return f"{len(equal)} of {len(known)}"


def figures(rows: int, singles: int) -> dict[str, Any]:
    """All figures of one run."""
    engine = PriceEngine.load()
    kinds = [PriceableCall(provider, (model,), {}, 0) for provider, model in MODELS]
    batch = drawn(rows, len(kinds))
    start = time.process_time()
    pricer = BulkPricer(engine, kinds, FROM_NS, TO_NS)
    tables_ms = 1000 * (time.process_time() - start)
    in_columns, priced = columns_rate(pricer, batch)
    calls = single_calls(kinds, batch, min(singles, rows))
    one_by_one, quotes = singles_rate(engine.quote, calls)
    wanted = [None if quote.cost_pico is None else quote.cost_pico for quote in quotes]
    found = [int(cost) if known else None for cost, known in zip(priced.cost_pico[: len(calls)], priced.priced, strict=False)]
    result: dict[str, Any] = {
        "rows": rows, "models": len(kinds), "tables_ms": round(tables_ms, 1), "columns_per_s": round(in_columns),
        "single_calls_per_s": round(one_by_one), "columns_equal_single_calls": wanted == found,
    }  # fmt: skip
    for name, ask in (("litellm.cost_per_token", litellm_usd()), ("genai_prices.calc_price", genai_prices_usd())):
        if ask is not None:
            rate, answers = singles_rate(ask, calls[: max(1, len(calls) // 10)])
            result[name] = {"calls_per_s": round(rate), "equal": agreeing(priced, answers)}
    return result


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows priced in columns")
    parser.add_argument("--singles", type=int, default=20_000, help="of these, priced one by one as well")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    given = parser.parse_args()
    found = figures(given.rows, given.singles)
    if given.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:28} {value if isinstance(value, str | bool | dict) else f'{value:,}'}")


if __name__ == "__main__":
    main()
