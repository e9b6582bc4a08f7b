"""What calls would have cost otherwise, worked out by hand; and that bulk answers are those of single calls."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_rig import CENT, Rig, call
from price_lists import row

from otel_finops.base.progress import listening
from otel_finops.genai.usage import prompt_tokens
from otel_finops.insight import whatif
from otel_finops.insight.repricing import Repricings
from otel_finops.insight.traffic import Selection, piece_of
from otel_finops.insight.whatif import Change, Comparison, Mix, Sums, changed
from otel_finops.ledger.spend_entries import PricedBy, SingleCall
from otel_finops.pricing.book import PriceBook
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.quote import PriceableCall
from otel_finops.pricing.snapshot import Snapshot
from otel_finops.store.engine import Store
from otel_finops.testing import NOON

DAY = 86_400 * 10**9
USD = 10**12


def million(dollars: float) -> float:
    return round(dollars / 1e6, 15)


ROWS: dict[str, Any] = {
    # USD a million: 2.50 in, 10 out, 1.25 from the cache, half of all of it in batches
    "gpt-4o": row(2.5) | {
        "cache_read_input_token_cost": million(1.25), "input_cost_per_token_batches": million(1.25),
        "output_cost_per_token_batches": million(5), "cache_read_input_token_cost_batches": million(0.625),
    },
    "gpt-mini": row(0.5, 2) | {"cache_read_input_token_cost": million(0.1)},
    "claude/big": row(3, 15, "anthropic") | {
        "cache_read_input_token_cost": million(0.3), "cache_creation_input_token_cost": million(3.75),
        "input_cost_per_token_above_200k_tokens": million(6), "output_cost_per_token_above_200k_tokens": million(22.5),
    },
    "azure/gpt-4o": row(2.75, 11, "azure"),
    "text-embedding": {"litellm_provider": "openai", "mode": "embedding", "input_cost_per_token": million(0.02)},
}  # fmt: skip
ENGINE = PriceEngine(PriceBook.of([Snapshot("litellm", "1", "b" * 16, "2026-11-01", None, ROWS)]))
ALL = Selection(None, NOON - DAY, NOON + DAY)


def asked(rig: Rig, *changes: Change, selection: Selection = ALL) -> Any:
    return Repricings(rig.store, lambda: ENGINE).run(selection, changes).compared


def rig_of(store: Store) -> Rig:
    return Rig(store, ENGINE)


def test_another_model_by_the_counts_of_each_call(store: Store) -> None:
    """Two calls of 1,000 tokens in and 100 out: 0.0025 + 0.001 = 0.0035 USD each by gpt-4o; by gpt-mini 0.0005 + 0.0002 = 0.0007."""
    rig = rig_of(store)
    rig.settle(call(1), call(2, trace=2, at_s=60, attribution={"tenant": "acme"}))
    found = asked(rig, Change("openai", "gpt-mini"))
    assert found.groups == {("openai", "gpt-4o"): Sums(2, 70 * CENT // 100, 70 * CENT // 100, (14 * CENT // 100,))}
    assert found.mix == Mix(prompt=2000, output=200)
    [(target, calls)] = found.targets[0].items()
    assert (target.key, target.has_tier, target.has_cache, calls) == ("gpt-mini", True, True, 2)
    acmes = asked(rig, Change("openai", "gpt-mini"), selection=ALL._replace(tenants=("acme",)))
    assert acmes.total == Sums(1, 35 * CENT // 100, 35 * CENT // 100, (7 * CENT // 100,))


def test_a_model_without_a_provider_is_each_call_s_own_provider_s(store: Store) -> None:
    """Azure has its own gpt-4o, 2.75 and 11 USD: 0.00275 + 0.0011 = 0.00385; nobody's gpt-mini is OpenAI's."""
    rig = rig_of(store)
    rig.settle(call(1, provider="azure"))
    found = asked(rig, Change(model="gpt-4o"), Change(provider="openai"), Change(model="gpt-mini"))
    assert found.total == Sums(1, 3_850_000_000, 3_850_000_000, (3_850_000_000, 3_500_000_000, 700_000_000))
    assert [[target.key for target in targets] for targets in found.targets] == [["azure/gpt-4o"], ["gpt-4o"], ["gpt-mini"]]


def test_tiers_are_those_of_the_price_list(store: Store) -> None:
    """In batches 1,000 tokens in cost 0.00125 and 100 out 0.0005; the list knows no flex prices of gpt-4o, and says nothing is saved."""
    rig = rig_of(store)
    rig.settle(call(1))
    found = asked(rig, Change(service_tier="batch"), Change(service_tier="flex"), Change(service_tier="standard"))
    assert found.total.projected == (1_750_000_000, 3_500_000_000, 3_500_000_000)
    assert [next(iter(targets)).has_tier for targets in found.targets] == [True, False, True]


def test_a_prompt_beyond_an_edge_pays_the_longer_prices(store: Store) -> None:
    """Of 250,000 tokens each costs 6 USD a million by the large Claude: 1.5 USD, and 1,000 out 0.0225; of 1,000 it is 3 and 15."""
    rig = rig_of(store)
    rig.settle(
        call(1, usage={"input_uncached": 250_000, "output": 1_000}), call(2, trace=2, usage={"input_uncached": 1000, "output": 1000})
    )
    found = asked(rig, Change("anthropic", "claude/big"))
    assert found.total.projected == (1_522_500_000_000 + 18_000_000_000,)


def test_calls_without_any_counts_have_no_tokens_to_move_to_a_cache(store: Store) -> None:
    """A piece of nothing but failed calls: there is no column to share, the calls are told of as ones without a price."""
    rig = rig_of(store)
    rig.settle(call(1, usage={}), call(2, trace=2, usage={}, error_type="timeout"))
    found = asked(rig, Change(cache_hit_rate=Fraction(1, 2)))
    assert (found.total, found.left_out) == (Sums(0, 0, 0, (0,)), {"unpriced": 2})
    assert changed({}, Change(cache_hit_rate=Fraction(1, 2))) == {}


def test_another_cache_hit_rate_moves_tokens_and_keeps_prompts(store: Store) -> None:
    """1,000 tokens of which 100 were cached: 900 x 2.50 + 100 x 1.25 + 100 x 10 = 0.003375 USD; at a rate of 0.8: 200 x 2.50 + 800 x 1.25
    + 0.001 = 0.0025; at none 0.0035.
    """
    rig = rig_of(store)
    rig.settle(call(1, usage={"input_uncached": 900, "cache_read": 100, "output": 100}))
    found = asked(rig, Change(cache_hit_rate=Fraction(8, 10)), Change(cache_hit_rate=Fraction(0)))
    assert found.total == Sums(1, 3_375_000_000, 3_375_000_000, (2_500_000_000, 3_500_000_000))


def test_what_is_left_of_a_prompt_is_written_in_the_same_proportion() -> None:
    """Of 1,000 tokens 500 are read; the other 500 were 600 sent and 200 written to 200 written for longer: 300, 100 and 100."""
    usage = {"input_uncached": [600], "cache_write_5m": [200], "cache_write_1h": [200], "output": [7]}
    assert changed(usage, Change(cache_hit_rate=Fraction(1, 2))) == {
        "input_uncached": [300], "cache_read": [500], "cache_write_5m": [100], "cache_write_1h": [100], "cache_write_12h": [0],
        "output": [7],
    }  # fmt: skip
    assert changed({"output": [7]}, Change(cache_hit_rate=Fraction(1))) == {
        **{unit: [0] for unit in ("input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "cache_write_12h")}, "output": [7],
    }  # fmt: skip


def test_tokens_by_a_factor_stay_possible() -> None:
    """2.5 is rounded to even, parts down: reasoning stays within the output."""
    usage = {"input_uncached": [5, 7], "output": [3, 1], "reasoning": [3, 1], "web_searches": [2, 0]}
    assert changed(usage, Change(token_factor=Fraction(1, 2))) == {
        "input_uncached": [2, 4], "output": [2, 0], "reasoning": [1, 0], "web_searches": [2, 0],
    }  # fmt: skip


def test_calls_that_cannot_be_compared_are_counted_and_not_guessed(store: Store) -> None:
    """An embedding is no chat, an unknown model has no price that could be saved, and an image none by gpt-mini."""
    rig = rig_of(store)
    embedding = {"operation": "embeddings", "request_model": "text-embedding", "price_models": ("text-embedding",)}
    rig.settle(
        call(1),
        call(2, trace=2, usage={"input_uncached": 9}, **embedding),
        call(3, trace=3, request_model="nobody-s", price_models=("nobody-s",)),
    )  # fmt: skip
    found = asked(rig, Change("openai", "gpt-mini"), Change("openai", "gone"))
    assert (dict(found.left_out), found.unable, found.total.calls) == ({"other_mode": 1, "unpriced": 1, "no_price": 1}, [1, 2], 0)
    assert asked(rig, Change("openai", "gpt-mini")).total == Sums(1, 3_500_000_000, 3_500_000_000, (700_000_000,))


def test_a_failed_call_stays_free_and_corrections_count(store: Store) -> None:
    """What was corrected is priced by what stands: 2,000 tokens in after a later version of the span, 0.006 USD; by gpt-mini 0.0012."""
    rig = rig_of(store)
    rig.settle(call(1), call(2, trace=2, usage={}, missing_reason=None, error_type="rate_limit"))
    rig.clock.advance(60)
    later = call(1, usage={"input_uncached": 2000, "output": 100}, end_ns=NOON + 9 * 10**9)
    rig.settle(later)
    assert {entry.kind for entry in rig.entries()} > {"charge"}
    found = asked(rig, Change("openai", "gpt-mini"))
    assert found.total == Sums(2, 6_000_000_000, 6_000_000_000, (1_200_000_000,))


def test_filters_and_times_select_and_progress_is_told(store: Store) -> None:
    rig = rig_of(store)
    rig.settle(
        call(1, attribution={"agent": "planner", "step": "plan"}), call(2, trace=2, at_s=-7200), call(3, trace=3, at_s=90_000),
    )  # fmt: skip
    told: list[tuple[str, int, int | None]] = []
    with listening(lambda *said: told.append(said)):
        assert asked(rig, Change("openai", "gpt-mini")).total.calls == 2
    assert told == [("calls", 2, 2)]
    for filters in ({"agent": ("planner",)}, {"step": ("plan",)}):
        assert asked(rig, Change("openai", "gpt-mini"), selection=ALL._replace(filters=filters)).total.calls == 1
    assert asked(rig, Change("openai", "gpt-mini"), selection=Selection(None, NOON, NOON + 1)).total.calls == 1


def test_what_takes_too_long_says_up_to_where_it_came(store: Store) -> None:
    rig = rig_of(store)
    rig.settle(call(1), call(2, trace=2, at_s=86_400 * 2))
    selection = Selection(None, NOON, NOON + 3 * DAY)
    hasty = Repricings(rig.store, lambda: ENGINE, seconds_max=-1).run(selection, [Change("openai", "gpt-mini")])
    midnight = NOON - NOON % DAY + DAY
    assert (hasty.until_ns, hasty.compared.total.calls) == (midnight, 1)
    assert Repricings(rig.store, lambda: ENGINE).run(selection, [Change("openai", "gpt-mini")]).until_ns == selection.to_ns


COUNTS = st.integers(0, 300_000)
USAGES = st.fixed_dictionaries({"input_uncached": COUNTS, "cache_read": COUNTS, "cache_write_5m": COUNTS, "output": COUNTS})
MODELS = ("gpt-4o", "gpt-mini", "claude/big")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(USAGES, st.sampled_from(MODELS)), min_size=1, max_size=12),
    st.sampled_from(MODELS),
    st.one_of(st.none(), st.fractions(0, 1, max_denominator=1000)),
    st.fractions(Fraction(1, 2), 3, max_denominator=100),
)
def test_sums_are_those_of_single_calls_whatever_is_changed(
    calls: list[tuple[dict[str, int], str]], model: str, rate: Fraction | None, factor: Fraction
) -> None:
    """Each call's quote for its changed counts, added up; prompts keep their length but for the factor."""
    change = Change(None, model, None, rate, factor)
    piece = piece_of(
        SingleCall(NOON, 7, usage, PricedBy("openai", name, name, "chat", "reported", *[None] * 7, "computed")) for usage, name in calls
    )
    comparison = Comparison(ENGINE, [change])
    comparison.take(piece)
    total = comparison.result().total
    columns = changed(piece.usage, change)
    single = [{unit: column[row] for unit, column in columns.items() if column[row]} for row in range(len(calls))]
    provider = "openai" if model.startswith("gpt") else None
    quotes = [ENGINE.quote(PriceableCall(provider, (model,), usage, NOON)).cost_pico for usage in single]
    assert total == Sums(len(calls), 7 * len(calls), total.listed, (sum(cost or 0 for cost in quotes),))
    for (usage, _), now in zip(calls, single, strict=True):
        before, after = prompt_tokens(usage), prompt_tokens(now)
        assert abs(after - before * factor) <= 5 / 2, "each of five counts is rounded once"


def facts(method: str, model: str = "gpt-4o") -> PricedBy:
    return PricedBy("openai", model, model, "chat", "reported", *[None] * 7, method)


def test_what_a_flat_fee_pays_is_no_saving_and_what_was_reported_stands_beside_the_list() -> None:
    """1,000 tokens in cost 0.0025 USD by the list; somebody was billed 0.004 for them. By gpt-mini they cost 0.0005."""
    usage = {"input_uncached": 1000}
    comparison = Comparison(ENGINE, [Change("openai", "gpt-mini")])
    comparison.take(piece_of([SingleCall(NOON, 0, usage, facts("covered")), SingleCall(NOON, 4 * 10**9, usage, facts("reported"))]))
    found = comparison.result()
    assert (found.total, dict(found.left_out)) == (Sums(1, 4 * 10**9, 2_500_000_000, (500_000_000,)), {"covered": 1})


def test_prices_of_another_moment_and_groups_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """From midnight on gpt-4o costs 5 USD a million: 0.005 USD instead of 0.0025. The third model has no group of its own any more."""
    monkeypatch.setattr(whatif, "WHATIF_GROUPS_MAX", 2)
    dearer = Snapshot("litellm", "2", "c" * 16, "2026-11-22", NOON + DAY, {**ROWS, "gpt-4o": row(5)})
    engine = PriceEngine(PriceBook.of([Snapshot("litellm", "1", "b" * 16, "2026-11-01", None, ROWS), dearer]))
    comparison = Comparison(engine, [Change(at_ns=NOON + 2 * DAY)])
    models = ("gpt-4o", "gpt-mini", "claude/big", "gpt-4o")
    usage = {"input_uncached": 1000}
    comparison.take(piece_of(SingleCall(NOON, 1, usage, facts("computed", model)._replace(provider=None)) for model in models))
    found = comparison.result()
    assert found.groups[None, "gpt-4o"] == Sums(2, 2, 5_000_000_000, (10_000_000_000,))
    assert {model for _, model in found.groups} == {"gpt-4o", "gpt-mini", None}
    assert found.groups[None, None].calls == 1
