"""Waste within one trace, worked out by hand. Prices: a prompt's token costs 10, one from the cache 1, one written 12, an output's 40."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import pytest

from otel_finops.base.limits import WASTE_TRACES_SHOWN
from otel_finops.genai.usage import Usage
from otel_finops.insight.smaller_models import smaller_model
from otel_finops.insight.waste import KINDS, WasteCall, claims_of, growth, loops, repetitions, retries, uncached
from otel_finops.insight.waste_findings import Finding, Findings, Policy
from otel_finops.pricing.engine import PriceEngine
from otel_finops.settings.waste import Waste
from otel_finops.testing import NOON

SECOND = 10**9
RATES = {"input_uncached": 10, "cache_read": 1, "cache_write_5m": 12, "output": 40}
RULES = Waste()


def price(call: WasteCall, usage: Usage, model: str | None) -> int | None:
    """By the rates above; the model `small` costs a tenth, others have no price."""
    if model not in (None, "small"):
        return None
    whole = sum(RATES[unit] * count for unit, count in usage.items())
    return whole // 10 if model == "small" else whole


def call(number: int, prompt: int = 100, output: int = 10, **more: Any) -> WasteCall:
    """A call of half a second each second; its usage is uncached unless `usage` says otherwise."""
    usage = more.pop("usage", {"input_uncached": prompt, "output": output})
    start = NOON + number * SECOND
    known: dict[str, Any] = {
        "service": "shop", "agent": "support", "step": None, "provider": "openai", "model": "large", "operation": "chat", "error": None,
    }  # fmt: skip
    cost = sum(RATES[unit] * count for unit, count in usage.items())
    known |= {"usage": usage, "cost": cost, "price_key": "large", **more}
    ended_ns = known.pop("ended_ns", start + SECOND // 2)
    return WasteCall(f"{number:016x}", start, ended_ns, known.pop("tenant", "acme"), **known)


COST = 100 * 10 + 10 * 40
"""Of `call(..)`: 1,400 pico-USD."""


# --- loops -----------------------------------------------------------------------------------------------------------


def test_calls_beyond_the_twenty_fifth_in_turn_are_a_loop() -> None:
    found = list(loops([call(number) for number in range(30)], RULES))
    assert [int(claim.call.span_id, 16) for claim in found] == [25, 26, 27, 28, 29]
    assert {claim.pico for claim in found} == {COST}


def test_calls_at_the_same_time_are_no_loop() -> None:
    """100 documents at once: a map."""
    assert list(loops([call(number, ended_ns=NOON + 1000 * SECOND) for number in range(100)], RULES)) == []


def test_agents_loop_each_for_itself() -> None:
    assert list(loops([call(number, agent=f"agent {number % 2}") for number in range(50)], RULES)) == []
    without = [call(number, agent=None, step="act") for number in range(27)]
    assert len(list(loops(without, RULES))) == 2


def test_free_calls_are_not_claimed() -> None:
    assert list(loops([call(number, cost=0) for number in range(30)], RULES)) == []


# --- repetitions -----------------------------------------------------------------------------------------------------


def test_calls_equal_in_all_counts_are_repetitions() -> None:
    calls = [call(1, 500), call(2, 500), call(3, 501), call(4, 500, 11), call(5, 500, model="other"), call(6, 500)]
    assert [int(claim.call.span_id, 16) for claim in repetitions(calls, RULES)] == [2, 6]


def test_short_prompts_and_failed_calls_are_no_repetitions() -> None:
    assert list(repetitions([call(1, 199), call(2, 199)], RULES)) == []
    assert list(repetitions([call(1, 500, error="500"), call(2, 500), call(3, 500, error="500")], RULES)) == []


# --- retries ---------------------------------------------------------------------------------------------------------


def test_failed_calls_that_were_charged_and_made_again() -> None:
    """Two failed ones before the third is answered: both were for nothing."""
    found = list(retries([call(1, error="timeout"), call(2, error="timeout"), call(3)], RULES))
    assert [(int(claim.call.span_id, 16), claim.pico) for claim in found] == [(1, COST), (2, COST)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (call(1, error="timeout", cost=0), call(2)),  # the provider did not charge it
        (call(1, error="timeout"), call(2, 300)),  # another prompt
        (call(1, error="timeout"), call(602)),  # 600.5 seconds after it ended
        (call(1, error="timeout"), call(2, agent="planner")),  # somebody else's
        (call(1, error="timeout", ended_ns=NOON + 5 * SECOND), call(2)),  # made before it failed
    ],
)
def test_what_is_no_retry(first: WasteCall, second: WasteCall) -> None:
    assert list(retries([first, second], RULES)) == []


# --- growth ----------------------------------------------------------------------------------------------------------


def test_what_grown_prompts_cost_beyond_the_first() -> None:
    """1,000, 1,500, 2,000, 2,500, 3,000: beyond 1,000 there are 500, 1,000, 1,500 and 2,000 tokens at 10."""
    calls = [call(number, 1000 + 500 * number) for number in range(5)]
    assert [claim.pico for claim in growth(calls, RULES, price)] == [5_000, 10_000, 15_000, 20_000]


def test_cached_context_costs_what_the_cache_costs() -> None:
    """The last prompt of 3,000 is 2,000 read at 1 and 1,000 at 10, 12,000 in all; two thirds of it are beyond the first."""
    calls = [call(number, 1000 + 500 * number) for number in range(4)]
    last = call(4, usage={"cache_read": 2000, "input_uncached": 1000, "output": 10})
    assert [claim.pico for claim in growth([*calls, last], RULES, price)][-1] == 8_000


def test_steady_short_and_shrinking_prompts_do_not_grow() -> None:
    assert list(growth([call(number, 3000) for number in range(9)], RULES, price)) == []
    assert list(growth([call(number, 100 + 50 * number) for number in range(9)], RULES, price)) == []
    assert list(growth([call(number, 9000 if number % 2 else 1000) for number in range(10)], RULES, price)) == []


# --- caches ----------------------------------------------------------------------------------------------------------


def test_the_same_prompt_again_and_again_could_be_cached() -> None:
    """2,000 tokens four times: written once for 4,000 more, read three times for 18,000 less each, and the last writes nothing."""
    found = list(uncached([call(number, 2000) for number in range(4)], RULES, price))
    assert [claim.pico for claim in found] == [-4_000, 18_000, 18_000, 18_000]


def test_a_conversation_could_be_cached() -> None:
    """Prompts of 1,100, 1,200, 1,300 and 1,400, each with the answer of 10 before: the second reads 1,100 for 9,900 less and writes
    100 for 200 more, the third 1,200 for 10,800 less, the last reads 1,300 for 11,700 less; the first writes 1,100 for 2,200 more."""
    found = list(uncached([call(number, 1100 + 100 * number) for number in range(4)], RULES, price))
    assert [claim.pico for claim in found] == [-2_200, 9_900 - 200, 10_800 - 200, 11_700]


def test_what_is_cached_already_saves_nothing_more() -> None:
    cached = [call(0, 2000), *(call(number, usage={"cache_read": 2000, "output": 10}) for number in (1, 2, 3))]
    assert sum(claim.pico for claim in uncached(cached, RULES, price)) <= 0


@pytest.mark.parametrize(
    "calls",
    [
        [call(number, 1000) for number in range(9)],  # too short to be cached
        [call(400 * number, 2000) for number in range(9)],  # the cache has forgotten it
        [call(number, 9000 - 500 * number) for number in range(9)],  # other prompts
        [call(number, 2000) for number in range(3)],  # too few to tell
        [call(number, 2000, ended_ns=NOON + 60 * SECOND) for number in range(9)],  # at the same time
    ],
)
def test_what_no_cache_would_help(calls: list[WasteCall]) -> None:
    assert list(uncached(calls, RULES, price)) == []


# --- findings --------------------------------------------------------------------------------------------------------


def findings(*traces: list[WasteCall], rules: Waste = RULES) -> dict[str, Finding]:
    """By kind, for tests in which each has one."""
    found = Findings(rules, price, lambda provider, model, at_ns: "small" if model == "large" else None, frozenset(KINDS))
    for number, calls in enumerate(traces):
        found.look_at(f"{number:032x}", calls)
    return {one.where.kind: one for one in found.all()}


def test_a_finding_names_its_traces_and_the_policy() -> None:
    """Both traces loop, by one call and by three: the policy stops at the 25th call, where the dearest trace went on."""
    one = findings([call(number) for number in range(26)], [call(number) for number in range(28)])["runaway_loop"]
    assert (one.pico, one.calls, one.traces) == (4 * COST, 4, 2)
    assert [(trace.pico, trace.trace_id[-1]) for trace in one.dearest] == [(3 * COST, "1"), (COST, "0")]
    assert one.policy == Policy(
        "runaway-trace-calls", "runaway-trace-calls", "block", "25", None, {"tenant": "acme", "agent": "support", "service": "shop"}
    )
    assert (one.first_ns, one.last_ns) == (NOON + 25 * SECOND, NOON + 27 * SECOND)


def test_only_the_dearest_traces_are_named() -> None:
    one = findings(*([call(1, 500), call(2, 500)] for _ in range(WASTE_TRACES_SHOWN + 5)))["repeated_calls"]
    assert (one.traces, len(one.dearest)) == (WASTE_TRACES_SHOWN + 5, WASTE_TRACES_SHOWN)
    assert one.policy is not None
    assert one.policy.limit == "1"


def test_limits_in_dollars_are_what_the_trace_had_cost() -> None:
    """Prompts of 1,000, 2,000, 3,000, 4,000, 5,000: half of the third and more is beyond the first. Before it the trace had cost 30,800
    pico-USD, which is less than the millionth of a dollar that a limit can say."""
    calls = [call(number, 1000 + 1000 * number) for number in range(5)]
    cheap = findings(calls)["growing_context"].policy
    assert cheap is not None
    assert (cheap.ready, cheap.limit) == ("runaway-trace-cost", "0.000001")


def test_repetitions_leave_as_many_calls_as_were_needed_and_retries_one() -> None:
    """Three calls, of which one is made three times: three were needed. Of three failures in a row the second comes a call later."""
    repeated = findings([call(1, 500), call(2, 600), call(3, 500), call(4, 700), call(5, 500)])["repeated_calls"].policy
    retried = findings([call(1, error="500"), call(2, error="500"), call(3, error="500"), call(4)])["billed_retries"].policy
    assert repeated is not None
    assert retried is not None
    assert (repeated.limit, retried.limit) == ("3", "1")


def test_tenants_are_kept_apart() -> None:
    mixed = [call(number, tenant="acme" if number % 2 else "globex") for number in range(40)]
    assert "runaway_loop" not in findings(mixed)


def test_oversized_models_are_those_of_short_answers() -> None:
    """20 short answers to 100 tokens: 1,400 each, and a tenth of it by the small model."""
    one = findings([call(number, agent="router") for number in range(20)])["oversized_model"]
    assert (one.pico, one.calls, one.instead) == (20 * (COST - COST // 10), 20, "small")
    assert one.policy is not None
    assert (one.policy.action, one.policy.downgrade_to, one.policy.scope["model"]) == ("downgrade", "small", "large")
    long = [call(number, output=500) for number in range(20, 25)]
    assert "oversized_model" not in findings([*(call(number) for number in range(20)), *long])
    assert "oversized_model" not in findings([call(number) for number in range(19)])
    assert "oversized_model" not in findings([call(number, model="other") for number in range(30)])


def test_no_call_is_claimed_twice_within_a_kind_nor_for_more_than_it_cost() -> None:
    calls = [call(number, 1000 + 400 * (number // 2), error="500" if number % 7 == 3 else None) for number in range(60)]
    found = list(claims_of(calls, RULES, price))
    assert len({claim.kind for claim in found}) >= 4
    assert len({(claim.kind, claim.call.span_id) for claim in found}) == len(found)
    assert all(claim.pico <= claim.call.cost for claim in found)


def test_a_chain_of_a_hundred_thousand_calls_takes_no_long_time() -> None:
    calls = [call(number, 1000 + number % 5000, error="500" if number % 3 else None) for number in range(100_000)]
    began = perf_counter()
    assert "runaway_loop" in findings(calls)
    assert perf_counter() - began < 30


# --- smaller models --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "model", "smaller"),
    [
        ("openai", "gpt-4o", "gpt-4o-mini"),
        ("openai", "gpt-4o-2024-08-06", "gpt-4o-mini"),
        ("openai", "gpt-5-mini", "gpt-5-nano"),
        ("openai", "gpt-5-nano", None),
        ("anthropic", "claude-sonnet-4-5", "claude-haiku-4-5"),
        ("anthropic", "claude-haiku-4-5", None),
        ("gemini", "gemini-2.5-pro", "gemini-2.5-flash"),
        ("openai", "nobodys-model", None),
    ],
)
def test_the_next_smaller_model_has_a_price_of_its_own(provider: str, model: str, smaller: str | None) -> None:
    assert smaller_model(PriceEngine.load(), provider, model, NOON, {}) == smaller


def test_the_operator_knows_better() -> None:
    assert smaller_model(PriceEngine.load(), "openai", "gpt-4o", NOON, {"gpt-4o": "our-small"}) == "our-small"
