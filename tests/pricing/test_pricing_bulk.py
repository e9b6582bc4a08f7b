"""Pricing in columns comes to the same pico-USD as pricing one by one, whatever the calls are."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_finops.base.limits import UNITS_PER_CALL_MAX
from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR, parse_ns
from otel_finops.genai.usage import TOKEN_UNITS
from otel_finops.pricing import bulk
from otel_finops.pricing.book import PriceBook
from otel_finops.pricing.bulk import Batch, BulkPricer, Priced
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.quote import PriceableCall
from otel_finops.pricing.snapshot import Snapshot

pytest.importorskip("numpy", reason="the extra `analytics` is not installed")

ENGINE = PriceEngine.load()
FROM, TO = parse_ns("2024-01-01"), parse_ns("2027-01-01")
NOON = parse_ns("2026-11-21T12:00:00Z")

Row = tuple[int, int, dict[str, int]]


def all_kinds() -> list[PriceableCall]:
    """Every row of the packaged list by its own key, then all of them again in some other tier or place."""
    random_ = random.Random(11)
    rows = [row for row in ENGINE.book.rows() if not row.retired]
    plain = [PriceableCall(row.family, (row.key,), {}, 0) for row in rows]
    tiers = ("batch", "flex", "priority", "fast")
    others = [call._replace(service_tier=random_.choice(tiers), region_kind="data_residency", region="eu", speed="fast") for call in plain]
    return [*plain, *others, PriceableCall("openai", ("no-such-model",), {}, 0), PriceableCall(None, (), {}, 0)]


KINDS = all_kinds()
PRICER = BulkPricer(ENGINE, KINDS, FROM, TO)


def one_by_one(engine: PriceEngine, kinds: list[PriceableCall], rows: list[Row]) -> list[int | None]:
    return [engine.quote(kinds[kind]._replace(at_ns=at_ns, usage=usage)).cost_pico for kind, at_ns, usage in rows]


def in_columns(rows: list[Row]) -> Batch:
    units = sorted({unit for _, _, usage in rows for unit in usage})
    columns = {unit: [usage.get(unit, 0) for _, _, usage in rows] for unit in units}
    return Batch([row[0] for row in rows], [row[1] for row in rows], columns)


def costs(priced: Priced) -> list[int | None]:
    return [int(cost) if known else None for cost, known in zip(priced.cost_pico, priced.priced, strict=True)]


EDGES = (0, 1, 2, 127_999, 128_000, 128_001, 199_999, 200_000, 200_001, 255_999, 256_000, 256_001, 271_999, 272_000, 272_001)
COUNTS = st.one_of(
    st.sampled_from(EDGES), st.integers(0, 5_000), st.sampled_from((UNITS_PER_CALL_MAX, UNITS_PER_CALL_MAX + 1, -1, 2**63 - 1))
)
USAGE = st.dictionaries(st.sampled_from((*TOKEN_UNITS, "images", "seconds", "web_searches", "no_such_unit")), COUNTS, max_size=6)
HONEST = st.builds(
    lambda prompt, output, reasoning: {"input_uncached": prompt, "output": output, "reasoning": min(reasoning, output)},
    st.sampled_from(EDGES), st.integers(0, 9_000), st.integers(0, 9_000),
)  # fmt: skip
MOMENTS = st.one_of(
    st.integers(FROM // NS_PER_HOUR, TO // NS_PER_HOUR).map(lambda hour: hour * NS_PER_HOUR), st.sampled_from((0, FROM - 1, TO))
)
ROWS = st.lists(st.tuples(st.integers(0, len(KINDS) - 1), MOMENTS, st.one_of(USAGE, HONEST)), min_size=1, max_size=40)


@settings(max_examples=300, deadline=None)
@given(rows=ROWS)
def test_columns_come_to_what_single_calls_come_to(rows: list[Row]) -> None:
    known = [(kind, at_ns, {unit: count for unit, count in usage.items() if count}) for kind, at_ns, usage in rows]
    assert costs(PRICER.price(in_columns(rows))) == one_by_one(ENGINE, KINDS, known)


def test_every_model_of_the_list_comes_to_the_same() -> None:
    random_ = random.Random(5)
    rows: list[Row] = []
    for kind in range(len(KINDS)):
        for prompt in (999, 128_001, 272_001):
            usage = {"input_uncached": prompt, "cache_read": 7, "cache_write_5m": 3, "output": 1234, "reasoning": 77, "audio_in": 5}
            rows.append((kind, random_.randrange(FROM, TO), usage))
    assert costs(PRICER.price(in_columns(rows))) == one_by_one(ENGINE, KINDS, rows)


def book_of(fields: dict[str, Any], *later: tuple[int, dict[str, Any]]) -> PriceEngine:
    """A book of one model, `m`, and what it cost from some moments on."""
    row = {"litellm_provider": "openai", "mode": "chat"}
    lists = [(None, fields), *later]
    return PriceEngine(
        PriceBook.of([Snapshot("litellm", "", f"v{n}", "2026-11-21", since, {"m": row | said}) for n, (since, said) in enumerate(lists)])
    )


def priced(engine: PriceEngine, rows: list[tuple[int, dict[str, int]]]) -> list[int | None]:
    kinds = [PriceableCall("openai", ("m",), {}, 0)]
    known = [(0, at_ns, usage) for at_ns, usage in rows]
    found = costs(BulkPricer(engine, kinds, FROM, TO).price(in_columns(known)))
    assert found == one_by_one(engine, kinds, known)
    return found


def test_halves_of_a_pico_dollar_go_to_the_even_one() -> None:
    """2.5e-12 USD a token is 2.5 pico-USD: 1, 3 and 5 tokens are 2.5, 7.5 and 12.5, so 2, 8 and 12; 7 are 17.5, so 18."""
    engine = book_of({"input_cost_per_token": 2.5e-12, "output_cost_per_token": 0})
    assert priced(engine, [(NOON, {"input_uncached": count}) for count in (1, 3, 5, 7)]) == [2, 8, 12, 18]


def test_each_row_has_the_price_of_its_moment() -> None:
    """1 USD a million until noon, then 2, and a day later 3: a thousand tokens are 0.001, 0.002 and 0.003 USD."""
    later = [(NOON + days * NS_PER_DAY, {"input_cost_per_token": usd, "output_cost_per_token": 0}) for days, usd in ((0, 2e-6), (1, 3e-6))]
    engine = book_of({"input_cost_per_token": 1e-6, "output_cost_per_token": 0}, *later)
    moments = (NOON - 1, NOON, NOON + NS_PER_DAY - 1, NOON + NS_PER_DAY)
    assert priced(engine, [(at, {"input_uncached": 1000}) for at in moments]) == [10**9, 2 * 10**9, 2 * 10**9, 3 * 10**9]


def test_absurd_amounts_are_refused_and_do_not_overflow() -> None:
    """10,000 USD a token: 900 of them are 9 million USD, which fits 63 bits of pico-USD; a billion does not, and is unpriced."""
    engine = book_of({"input_cost_per_token": 10_000, "output_cost_per_token": 0})
    counts = (1, 900, 923, UNITS_PER_CALL_MAX)
    assert priced(engine, [(NOON, {"input_uncached": count}) for count in counts]) == [10**16, 900 * 10**16, None, None]


def test_a_row_without_a_rate_is_unpriced_among_others_that_have_one() -> None:
    engine = book_of({"input_cost_per_token": 1e-6})
    assert priced(engine, [(NOON, {"input_uncached": 5}), (NOON, {"output": 5}), (NOON, {})]) == [5 * 10**6, None, 0]


def test_sums_are_exact_beyond_sixty_three_bits() -> None:
    engine = book_of({"input_cost_per_token": 10_000, "output_cost_per_token": 0})
    kinds = [PriceableCall("openai", ("m",), {}, 0)]
    found = BulkPricer(engine, kinds, FROM, TO).price(Batch([0] * 5, [NOON] * 5, {"input_uncached": [900] * 5}))
    assert found.total_pico() == 5 * 900 * 10**16 > 2**63


@pytest.fixture(params=[True, False], ids=["with numpy", "without"])
def pricer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> BulkPricer:
    monkeypatch.setattr(bulk, "VECTORISED", request.param)
    return BulkPricer(ENGINE, [PriceableCall("openai", ("gpt-4o",), {}, 0)], FROM, TO)


def test_the_answer_is_the_same_without_numpy(pricer: BulkPricer) -> None:
    """gpt-4o at 2.50 and 10 USD a million: 0.0025 + 0.001, and with a billion and one tokens no price."""
    found = pricer.price(Batch([0, 0], [NOON, NOON], {"input_uncached": [1000, UNITS_PER_CALL_MAX + 1], "output": [100, 0]}))
    assert (costs(found), found.total_pico()) == ([3_500_000_000, None], 3_500_000_000)


@pytest.mark.parametrize(
    ("batch", "fault"),
    [
        (Batch([0], [NOON], {"output": [1.5]}), TypeError),  # type: ignore[list-item]
        (Batch([0], [NOON], {"output": [True]}), TypeError),
        (Batch([0], [NOON], {"output": [float("nan")]}), TypeError),  # type: ignore[list-item]
        (Batch([0], [NOON], {"output": ["1"]}), TypeError),  # type: ignore[list-item]
        (Batch([1], [NOON], {"output": [1]}), IndexError),
        (Batch([-1], [NOON], {"output": [1]}), IndexError),
        (Batch([0], [NOON], {"output": [1, 2]}), ValueError),
        (Batch([0, 0], [NOON], {"output": [1, 2]}), ValueError),
    ],
)
def test_columns_that_are_none_are_refused(pricer: BulkPricer, batch: Batch, fault: type[Exception]) -> None:
    with pytest.raises(fault):
        pricer.price(batch)


def test_no_rows_cost_nothing(pricer: BulkPricer) -> None:
    assert costs(pricer.price(Batch([], [], {"output": []}))) == []
