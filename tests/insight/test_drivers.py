"""What drives a difference: worked out by hand, in picos as small as cents would be."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from otel_finops.insight.drivers import KINDS, Cell, Driver, Known, Units, Use, drivers_of

BIG = Cell("acme", "writer", "openai", "gpt-4o")
SMALL = Cell("acme", "writer", "openai", "gpt-4o-mini")
KNOWN = Known(frozenset({"acme"}), frozenset({("acme", "writer")}), frozenset({("openai", "gpt-4o"), ("openai", "gpt-4o-mini")}))


def use(calls: int, **units: tuple[int, int]) -> Use:
    """Calls with the quantity and the rate of what they were charged for."""
    return Use(calls, {unit: Units(Fraction(quantity), quantity * rate) for unit, (quantity, rate) in units.items()})


def found(now: dict[Cell, Use], usual: dict[Cell, Use], known: Known = KNOWN, expected: int | None = None) -> dict[str, int]:
    """Amounts by driver."""
    return {driver.kind: driver.amount for driver in drivers(now, usual, known, expected)}


def drivers(now: dict[Cell, Use], usual: dict[Cell, Use], known: Known = KNOWN, expected: int | None = None) -> tuple[Driver, ...]:
    """The drivers of what was used against what is usual, once or scaled to what was expected."""
    value, compared = (sum(use.amount for use in uses.values()) for uses in (now, usual))
    return drivers_of(now, usual, value, compared if expected is None else expected, known)


def test_more_calls_of_the_same_kind_are_volume() -> None:
    # 10 calls at 100 tokens x 2 = 200 each, now 30 of them
    now, usual = {BIG: use(30, output=(3000, 2))}, {BIG: use(10, output=(1000, 2))}
    [volume] = drivers(now, usual)
    assert (volume.kind, volume.amount) == ("volume", 4000)
    [detail] = volume.details
    assert (detail.cell, detail.before, detail.after) == (Cell("acme", "writer", "", ""), 10, 30)


def test_what_is_usual_is_scaled_to_what_was_expected() -> None:
    # a week of 70 calls for 14,000 stands for an expected day of 2,000: 10 calls
    now, usual = {BIG: use(30, output=(3000, 2))}, {BIG: use(70, output=(7000, 2))}
    [volume] = drivers(now, usual, expected=2000)
    assert (volume.amount, volume.details[0].before, volume.details[0].after) == (4000, 10, 30)


def test_a_model_that_replaces_another_one_is_mix() -> None:
    # 8 of 10 calls move from 20 each to 200 each: 8 x 180
    now = {BIG: use(9, output=(900, 2)), SMALL: use(1, output=(100, 0), requests=(1, 20))}
    usual = {BIG: use(1, output=(100, 2)), SMALL: use(9, output=(900, 0), requests=(9, 20))}
    assert found(now, usual) == {"model_mix": 1440}


def test_calls_beyond_those_replaced_are_volume_of_the_model_that_gained() -> None:
    # the dear model gains 12 calls, the cheap one loses 8: 8 x 180 of mix and 4 x 200 of volume
    now = {BIG: use(13, output=(1300, 2)), SMALL: use(1, requests=(1, 20))}
    usual = {BIG: use(1, output=(100, 2)), SMALL: use(9, requests=(9, 20))}
    assert found(now, usual) == {"model_mix": 1440, "volume": 800}


def test_another_agents_calls_replace_nobodys() -> None:
    # the reader loses 9 cheap calls (-180) while the writer gains 12 dear ones (+2400): volume of both
    reader = Cell("acme", "reader", "openai", "gpt-4o-mini")
    known = KNOWN._replace(agents=KNOWN.agents | {("acme", "reader")})
    now = {BIG: use(13, output=(1300, 2)), reader: use(1, requests=(1, 20))}
    usual = {BIG: use(1, output=(100, 2)), reader: use(10, requests=(10, 20))}
    [volume] = drivers(now, usual, known)
    assert [(detail.cell.agent, detail.amount) for detail in volume.details] == [("writer", 2400), ("reader", -180)]


def test_a_new_model_bears_its_own_calls_and_what_it_replaced_dearer() -> None:
    # 4 of 10 calls go to a model never seen, at 500 instead of 200 each
    new = Cell("acme", "writer", "anthropic", "claude-opus-4-1")
    now, usual = {BIG: use(6, output=(600, 2)), new: use(4, output=(400, 5))}, {BIG: use(10, output=(1000, 2))}
    [driver] = drivers(now, usual)
    assert (driver.kind, driver.amount) == ("new_model", 4 * (500 - 200))
    assert [(detail.cell.model, detail.before, detail.after) for detail in driver.details] == [("claude-opus-4-1", 0, 4)]


def test_who_was_never_seen_before_bears_all_that_he_spends() -> None:
    crawler, stranger = BIG._replace(agent="crawler"), BIG._replace(tenant="beta")
    now = {BIG: use(10, output=(1000, 2)), crawler: use(5, output=(500, 2)), stranger: use(3, output=(300, 2))}
    usual = {BIG: use(10, output=(1000, 2))}
    assert found(now, usual) == {"new_agent": 1000, "new_tenant": 600}


def test_other_rates_are_price_at_the_quantities_of_now() -> None:
    # 12 calls at 150 each instead of 10 at 100: two more calls at the old price are 200, half as much again on 1,200 tokens is 600
    now, usual = {BIG: use(12, output=(1200, 3))}, {BIG: use(10, output=(1000, 2))}
    assert found(now, usual) == {"volume": 400, "price": 1200}
    price = drivers(now, usual)[0]
    assert [(one.unit, one.before, one.after, one.cell) for one in price.details] == [("output", 2, 3, Cell("", "", "openai", "gpt-4o"))]


def test_longer_prompts_and_answers_are_tokens_per_call() -> None:
    # 10 calls: prompts of 100 -> 300 tokens at 1, answers of 10 -> 20 at 5
    now = {BIG: use(10, input_uncached=(3000, 1), output=(200, 5))}
    usual = {BIG: use(10, input_uncached=(1000, 1), output=(100, 5))}
    [tokens] = drivers(now, usual)
    assert (tokens.kind, tokens.amount) == ("tokens_per_call", 2500)
    assert [(one.unit, one.amount, one.before, one.after) for one in tokens.details] == [
        ("prompt", 2000, 100, 300), ("output", 500, 10, 20),
    ]  # fmt: skip


def test_prompts_that_come_out_of_the_cache_no_longer_are_lost_hits() -> None:
    # 1,000 prompt tokens, 800 of them at 1 and 200 at 10, now all at 10: 800 x 9
    now = {BIG: use(10, input_uncached=(1000, 10))}
    usual = {BIG: use(10, input_uncached=(200, 10), cache_read=(800, 1))}
    [hits] = drivers(now, usual)
    assert (hits.kind, hits.amount) == ("cache_hits", 7200)
    assert [(one.before, one.after) for one in hits.details] == [(Fraction(4, 5), 0)]


def test_causes_together_are_taken_one_after_the_other() -> None:
    """Usual: 10 calls of 100 prompt tokens, half of them cached, at 10 and 2: 1,000 x 6 = 6,000, 600 a call. Now: 20 calls of 200 tokens,
    a quarter cached, at 20 and 2: 3,000 x 20 + 1,000 x 2 = 62,000.

    volume: 10 more at 600                                            6,000
    length: 4,000 tokens instead of 2,000, half cached, at 10 and 2  12,000
    hits: 1,000 tokens that were cached are not, at 10 instead of 2   8,000
    price: 3,000 tokens at 20 instead of 10                          30,000
    together 56,000 = 62,000 - 6,000
    """
    now = {BIG: use(20, input_uncached=(3000, 20), cache_read=(1000, 2))}
    usual = {BIG: use(10, input_uncached=(500, 10), cache_read=(500, 2))}
    assert found(now, usual) == {"price": 30_000, "tokens_per_call": 12_000, "cache_hits": 8_000, "volume": 6_000}


def test_where_the_calls_of_a_time_are_gone_nobody_can_say() -> None:
    assert found({}, {BIG: use(10, output=(1000, 2))}) == {"volume": -2000}
    assert drivers_of({}, {BIG: use(10, output=(1000, 2))}, 5000, 2000, KNOWN) == (Driver("unknown", 3000, ()),)
    assert drivers_of({BIG: use(1, output=(10, 2))}, {}, 20, 5, KNOWN) == (Driver("unknown", 15, ()),)


def test_of_nothing_usual_all_is_volume() -> None:
    assert found({BIG: use(10, output=(1000, 2))}, {}) == {"volume": 2000}


CELLS = st.builds(Cell, st.sampled_from(["acme", "beta", ""]), st.sampled_from(["writer", "crawler", ""]), st.just("openai"),
                  st.sampled_from(["gpt-4o", "gpt-4o-mini", "new", ""]))  # fmt: skip
UNIT_NAMES = st.sampled_from(["input_uncached", "cache_read", "cache_write_5m", "output", "web_searches"])
UNITS = st.dictionaries(UNIT_NAMES, st.builds(Units, st.fractions(0, 10**6, max_denominator=7), st.integers(-5, 10**15)), max_size=4)
USES = st.dictionaries(CELLS, st.builds(Use, st.integers(0, 1000), UNITS), max_size=6)


@given(USES, USES, st.integers(0, 10**16), st.integers(0, 10**16))
def test_the_parts_add_up_to_the_pico(now: dict[Cell, Use], usual: dict[Cell, Use], value: int, expected: int) -> None:
    parts = drivers_of(now, usual, value, expected, KNOWN)
    assert sum(one.amount for one in parts) == value - expected
    assert len({one.kind for one in parts}) == len(parts)
    assert {one.kind for one in parts} <= set(KINDS)
