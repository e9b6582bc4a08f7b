"""T24: an agent's span with its own total, and the calls that make it up coming later: charged once before and once after.

Each call costs 0.0035 USD (see `ledger_rig.call`); five of them have 5,000 tokens in and 500 out, which cost 0.0175 USD.
"""

from __future__ import annotations

from typing import Any

import pytest
from ledger_rig import PRICES, Rig, call, plain, span_id

from otel_finops.genai.sighting import AGENT, CALL, Sighting
from otel_finops.store.engine import Store

CALLS = 5
ONE_PICO = 3_500_000_000
ALL_PICO = CALLS * ONE_PICO
AGENT_SPAN, ROOT_SPAN = 1, 9


@pytest.fixture
def rig(store: Store) -> Rig:
    return Rig(store)


def agent(span: int = AGENT_SPAN, parent: int | None = None, **known: Any) -> Sighting:
    """An agent's span with the total of all calls, as hosted agents and several frameworks report it."""
    total = {
        "operation": "invoke_agent",
        "provider": "openai",
        "request_model": "gpt-4o",
        "price_models": ("gpt-4o",),
        "usage": {"input_uncached": 1000 * CALLS, "output": 100 * CALLS},
        "usage_source": "reported",
        "usage_rule": "semconv.inclusive",
        "input_readings": (1000 * CALLS,),
    }
    return plain(
        span, parent=parent, kind=AGENT, genai=True, name="invoke_agent planner", attribution={"agent": "planner"}, **(total | known)
    )


def leaves(parent: int | None = AGENT_SPAN, **known: Any) -> list[Sighting]:
    return [call(10 + number, parent=parent, at_s=number, **known) for number in range(CALLS)]


def standing(rig: Rig) -> dict[str, list[str]]:
    """Span numbers by role."""
    found: dict[str, list[str]] = {}
    for entry in rig.net().values():
        found.setdefault(entry.role, []).append(entry.span_id)
    return {role: sorted(spans) for role, spans in found.items()}


LEAVES = [span_id(10 + number) for number in range(CALLS)]


def test_t24_a_total_is_charged_until_its_calls_come(rig: Rig) -> None:
    [charge] = rig.settle(agent())
    assert (charge.role, charge.cost_pico, rig.spent(), rig.total()) == ("call", ALL_PICO, ALL_PICO, ALL_PICO)
    booked = rig.settle(*leaves())
    assert [entry.kind for entry in booked if entry.span_id == span_id(AGENT_SPAN)] == ["reversal", "charge"]
    assert standing(rig) == {"wrapper": [span_id(AGENT_SPAN)], "call": LEAVES}
    assert (rig.spent(), rig.total()) == (ALL_PICO, ALL_PICO)
    assert {entry.agent for entry in rig.net().values()} == {"planner"}


def test_t24_calls_that_come_one_by_one_are_never_charged_beside_the_total(rig: Rig) -> None:
    """With the first call the total is taken back, although the others are still to come: late is late, twice is wrong."""
    rig.settle(agent())
    for number, leaf in enumerate(leaves(), 1):
        rig.settle(leaf)
        assert rig.spent() == rig.total() == number * ONE_PICO
    assert standing(rig) == {"wrapper": [span_id(AGENT_SPAN)], "call": LEAVES}


def test_t24_children_that_come_first_stay_as_they_are(rig: Rig) -> None:
    rig.settle(*leaves())
    assert rig.spent() == ALL_PICO
    booked = rig.settle(agent())
    assert {entry.kind for entry in booked if entry.span_id != span_id(AGENT_SPAN)} <= {"reattribution"}
    assert standing(rig) == {"wrapper": [span_id(AGENT_SPAN)], "call": LEAVES}
    assert (rig.spent(), rig.total()) == (ALL_PICO, ALL_PICO)


def test_t24_of_nested_totals_the_outermost_is_charged(rig: Rig) -> None:
    inner, outer = agent(AGENT_SPAN, parent=ROOT_SPAN), agent(ROOT_SPAN)
    rig.settle(inner)
    assert rig.spent() == ALL_PICO
    rig.settle(outer)
    assert standing(rig) == {"call": [span_id(ROOT_SPAN)], "wrapper": [span_id(AGENT_SPAN)]}
    assert (rig.spent(), rig.total()) == (ALL_PICO, ALL_PICO)
    rig.settle(*leaves())
    assert standing(rig) == {"wrapper": [span_id(AGENT_SPAN), span_id(ROOT_SPAN)], "call": LEAVES}
    assert (rig.spent(), rig.total()) == (ALL_PICO, ALL_PICO)


def test_t24_a_call_without_a_price_is_known_all_the_same(rig: Rig) -> None:
    """An unpriced call is a call: its agent's total is not charged in its stead."""
    rig.settle(agent())
    rig.settle(call(10, parent=AGENT_SPAN, usage={}))
    assert standing(rig) == {"wrapper": [span_id(AGENT_SPAN)], "call": [span_id(10)]}
    assert (rig.spent(), rig.total()) == (0, 0)
    assert rig.net()[span_id(10)].unpriced_reason == "no_usage_stream"


def test_t24_calls_in_a_linked_trace_are_known_too(rig: Rig) -> None:
    rig.settle(agent())
    linked = [leaf._replace(links=((agent().trace_id, span_id(AGENT_SPAN)),)) for leaf in leaves(parent=None, trace=2)]
    rig.settle(*linked)
    assert standing(rig) == {"wrapper": [span_id(AGENT_SPAN)], "call": LEAVES}
    assert (rig.spent(), rig.total()) == (ALL_PICO, ALL_PICO)


def test_the_hand_made_total_costs_what_it_should() -> None:
    """5,000 x 2.50 + 500 x 10 USD a million = 0.0125 + 0.005 USD."""
    assert PRICES.quote(PRICES.priceable(agent()._replace(kind=CALL))).cost_pico == 17_500_000_000 == ALL_PICO
