from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from decimal import Decimal

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Sample

from otel_finops.base.errors import Unavailable
from otel_finops.metrics.exposition import CounterRow, Counters, Exemplar, LedgerCollector, MetricsPage

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
USD = 10**12


def source_of(rows: Sequence[CounterRow], *, conflicts: int = 0, pending_pico: int = 0, age: float | None = None) -> Callable[[], Counters]:
    return lambda: Counters(rows, conflicts, pending_pico, age)


def page(rows: Sequence[CounterRow], **options: object) -> MetricsPage:
    return MetricsPage(LedgerCollector(source_of(rows), **options), process=False)  # type: ignore[arg-type]


def scrape(shown: MetricsPage) -> list[Sample]:
    return [sample for family in parse_text(shown.render(None).body.decode()) for sample in family.samples]


def value(samples: list[Sample], name: str, **labels: str) -> float:
    found = [sample.value for sample in samples if sample.name == name and all(sample.labels.get(k) == v for k, v in labels.items())]
    assert len(found) == 1, f"{name}{labels}: {found}"
    return found[0]


GPT = {"provider": "openai", "model": "gpt-4o-mini-2024-07-18", "operation": "chat", "cost_method": "computed", "tenant": "acme"}

# Two calls at 0.0072275 and 0.5 USD of one model, one of them reversed later; one call of another tenant; one unpriced call.
ROWS = (
    CounterRow(
        GPT,
        cost_pico=507_227_500_000,
        reversed_pico=500_000_000_000,
        calls=2,
        reversed_calls=1,
        tokens={"input_uncached": 900, "cache_read": 100, "output": 50, "reasoning": 20},
        reversed_tokens={"input_uncached": 400, "output": 30},
        exemplar=Exemplar("0af7651916cd43dd8448eb211c80319c", 7_227_500_000, 1_790_000_000_500_000_000),
    ),
    CounterRow({**GPT, "tenant": "globex"}, cost_pico=2 * USD, calls=1, tokens={"input_uncached": 1}),
    CounterRow(
        {"provider": "openai", "model": "house-model", "operation": "chat", "cost_method": "unpriced", "unpriced_reason": "unknown_model"},
        calls=1,
        unpriced_calls=1,
        tokens={"output": 7},
    ),
)


def test_the_names_of_the_contract_with_gross_and_reversed_apart() -> None:
    samples = scrape(page(ROWS))
    labels = {"provider": "openai", "model": "gpt-4o-mini-2024-07-18", "operation": "chat", "cost_method": "computed"}
    assert value(samples, "finops_cost_usd_total", **labels) == 2.5072275
    assert value(samples, "finops_reversed_usd_total", **labels) == 0.5
    assert value(samples, "finops_calls_total", **labels) == 3
    assert value(samples, "finops_reversed_calls_total", **labels) == 1
    assert value(samples, "finops_tokens_total", type="input_uncached", **labels) == 901
    assert value(samples, "finops_tokens_total", type="cache_read", **labels) == 100
    assert value(samples, "finops_reversed_tokens_total", type="output", **labels) == 30
    assert value(samples, "finops_unpriced_calls_total", provider="openai", model="house-model", reason="unknown_model") == 1
    assert {tuple(sorted(s.labels)) for s in samples if s.name == "finops_cost_usd_total"} == {
        ("cost_method", "model", "operation", "provider")
    }


def test_token_types_do_not_overlap() -> None:
    # 900 + 100 + 50 of the first row, 1 of the second, 7 of the third; the 20 reasoning tokens are among the 50.
    assert sum(s.value for s in scrape(page(ROWS)) if s.name == "finops_tokens_total") == 1058


def test_every_charge_counter_has_a_reversal_counter_with_the_same_labels() -> None:
    samples = scrape(page(ROWS))
    for gross, negative in (("cost_usd", "reversed_usd"), ("calls", "reversed_calls"), ("tokens", "reversed_tokens")):
        assert [s.labels for s in samples if s.name == f"finops_{gross}_total"] == [
            s.labels for s in samples if s.name == f"finops_{negative}_total"
        ]


def test_a_correction_downwards_shows_where_nothing_was_ever_charged() -> None:
    samples = scrape(page([CounterRow({**GPT, "cost_method": "reported"}, reversed_pico=USD)]))
    assert value(samples, "finops_reversed_usd_total", cost_method="reported") == 1
    assert value(samples, "finops_cost_usd_total", cost_method="reported") == 0


def test_gauges_and_conflicts() -> None:
    shown = MetricsPage(LedgerCollector(source_of((), conflicts=3, pending_pico=1_500_000_000_000, age=86_400.0)), process=False)
    samples = scrape(shown)
    assert value(samples, "finops_conflicts_total") == 3
    assert value(samples, "finops_pending_usd") == 1.5
    assert value(samples, "finops_price_book_age_seconds") == 86_400
    assert value(samples, "finops_ledger_readable") == 1


def test_the_genai_names_that_existing_boards_read() -> None:
    samples = scrape(page(ROWS, genai_labels={"telemetry_sdk_name": "openlit"}))
    labels = {
        "gen_ai_request_model": "gpt-4o-mini-2024-07-18",
        "gen_ai_system": "openai",
        "gen_ai_provider_name": "openai",
        "telemetry_sdk_name": "openlit",
    }
    assert value(samples, "gen_ai_usage_cost_USD_sum", **labels) == 2.5072275
    assert value(samples, "gen_ai_usage_cost_USD_count", **labels) == 3
    assert value(samples, "gen_ai_usage_cost_USD_bucket", le="+Inf", **labels) == 3
    assert value(samples, "gen_ai_client_token_usage_sum", gen_ai_token_type="input", **labels) == 1001
    assert value(samples, "gen_ai_client_token_usage_sum", gen_ai_token_type="output", **labels) == 50
    assert not [s for s in samples if s.name.startswith("gen_ai_usage_cost") and s.labels["gen_ai_request_model"] == "house-model"]


def test_labels_that_are_opted_in() -> None:
    samples = scrape(page(ROWS, labels=("tenant",)))
    assert value(samples, "finops_cost_usd_total", tenant="acme") == 0.5072275
    assert value(samples, "finops_cost_usd_total", tenant="globex") == 2
    assert value(samples, "finops_tokens_total", tenant="globex", type="input_uncached") == 1
    assert value(samples, "finops_unpriced_calls_total", tenant="", reason="unknown_model") == 1
    assert value(samples, "gen_ai_usage_cost_USD_sum", tenant="globex") == 2
    with pytest.raises(ValueError, match="no such metric labels: user"):
        page(ROWS, labels=("user",))


def test_openmetrics_only_when_asked_for_and_with_exemplars() -> None:
    shown = page(ROWS)
    plain, rich = shown.render("text/plain"), shown.render(OPENMETRICS)
    assert plain.content_type.startswith("text/plain; version=0.0.4")
    assert b"trace_id" not in plain.body
    assert rich.content_type.startswith("application/openmetrics-text; version=1.0.0")
    exemplars = {s.name: s.exemplar for family in parse_openmetrics(rich.body.decode()) for s in family.samples if s.exemplar}
    assert set(exemplars) == {"finops_cost_usd_total", "finops_calls_total", "gen_ai_usage_cost_USD_bucket"}
    cost = exemplars["finops_cost_usd_total"]
    assert cost.labels == {"trace_id": "0af7651916cd43dd8448eb211c80319c"}
    assert (cost.value, float(cost.timestamp)) == (0.0072275, 1_790_000_000.5)


def test_hostile_label_values_stay_inside_their_quotes() -> None:
    hostile = 'x"} 1\nfinops_cost_usd_total{model="free'
    samples = scrape(page([CounterRow({"model": hostile}, cost_pico=USD, calls=1)]))
    assert [s.value for s in samples if s.name == "finops_cost_usd_total"] == [1]
    assert value(samples, "finops_cost_usd_total", model=hostile.replace("\n", "\ufffd"), provider="") == 1


def test_a_hundred_thousand_models_stay_within_the_cap_and_add_up_to_the_ledger() -> None:
    """Acceptance T44: series within the limit, the overflow holds the rest, the sum is the ledger's to the last digit."""
    rows = [
        CounterRow(
            {**GPT, "model": f"m{i}"}, cost_pico=7_227_500_001 + i, calls=1, tokens={"input_uncached": 3, "cache_read": 2, "output": 5}
        )
        for i in range(100_000)
    ]
    started = time.process_time()
    body = page(rows).render(None).body.decode()
    seconds = time.process_time() - started
    lines = [line for line in body.splitlines() if not line.startswith("#")]
    cost = [line for line in lines if line.startswith("finops_cost_usd_total{")]
    tokens = [line for line in lines if line.startswith("finops_tokens_total{")]
    assert len(cost) == 10_000
    assert len(tokens) <= 10_000
    ledger = sum(row.cost_pico for row in rows)
    assert sum(Decimal(line.rsplit(" ", 1)[1]) for line in cost) == Decimal(ledger) / USD
    assert sum(float(line.rsplit(" ", 1)[1]) for line in tokens) == 1_000_000
    assert 'model="other"' in cost[-1]
    print(f"100,000 label sets rendered in {seconds:.2f} s of CPU")


def test_counters_never_go_down_over_restarts_and_corrections() -> None:
    """Acceptance T45: thirty scrapes, each by a new process, while calls are charged and reversed; the cap is hit on the way."""
    gross, negative, charged = {}, {}, 0
    last: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    increase = 0.0
    for step in range(30):
        for model in range(step * 2 + 2):
            gross[model] = gross.get(model, 0) + USD
            charged += 1
        negative[step] = USD  # what the first scrapes charged is corrected later
        rows = [CounterRow({**GPT, "model": f"m{m}"}, cost_pico=gross[m], reversed_pico=negative.get(m, 0), calls=1) for m in sorted(gross)]
        for sample in scrape(page(rows, series_max=20)):
            key = sample.name, frozenset(sample.labels.items())
            assert sample.value >= last.get(key, 0), sample
            if sample.name == "finops_cost_usd_total":
                increase += sample.value - last.get(key, 0)
            last[key] = sample.value
    assert increase == charged


def test_without_the_store_the_page_says_so_and_keeps_the_rest() -> None:
    def away() -> Counters:
        raise Unavailable("the store is away")

    shown = MetricsPage(LedgerCollector(away), process=True)
    samples = scrape(shown)
    assert value(samples, "finops_ledger_readable") == 0
    assert not [s for s in samples if s.name == "finops_calls_total"]
    assert value(samples, "process_resident_memory_bytes") > 0
