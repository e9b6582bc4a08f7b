"""Made-up applications whose bill is known: the ledger charges each billed call once, under its agent, whatever saw it and in what order.

gpt-4o costs 2.50 USD a million tokens in and 10 USD a million out: 2,500,000 and 10,000,000 pico-USD a token.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_application import ENDS, GATEWAYS, Application, applications, described
from rig_ledgers import Ledgers, canonical, differences

from otel_finops.genai.roles import decide
from otel_finops.genai.usage import prompt_tokens
from otel_finops.ledger.entry import Entry

IN_PICO, OUT_PICO = 2_500_000, 10_000_000


def check(rows: Iterable[Entry], made: Application) -> None:
    """What stands is what was billed: numbers, money, agents, steps and tools; what was refused stands and costs nothing."""
    calls = [row for row in rows if row.role == "call"]
    charged = Counter((prompt_tokens(row.usage), row.usage["output"], row.agent, row.step, row.tool) for row in calls if row.usage)
    assert charged == Counter(made.billed)
    assert sum(row.cost_pico or 0 for row in calls) == sum(b.prompt * IN_PICO + b.output * OUT_PICO for b in made.billed)
    refused = [row for row in calls if not row.usage]
    assert {row.cost_pico for row in refused} <= {0}
    assert 0 <= len(refused) - made.failures <= made.attempts
    assert {row.tenant for row in calls} == {"acme"}


@given(made=applications(), chance=st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_the_ledger_is_the_providers_bill(ledgers: Ledgers, made: Application, chance: random.Random) -> None:
    spans = made.spans[:]
    chance.shuffle(spans)
    cut = chance.randrange(len(spans) + 1)
    with ledgers.new() as rig:
        rig.settle(*made.spans)
        check(rig.net().values(), made)
        wanted = canonical(rig)
    with ledgers.new() as rig:
        rig.settle(*spans[:cut])
        rig.settle(*spans[cut:], *chance.choices(spans, k=2))
        assert differences(canonical(rig), wanted) == []


@given(made=applications())
@settings(max_examples=400, deadline=None)
def test_each_billed_call_stands_once(made: Application) -> None:
    check_decided(made)


@pytest.mark.long
@given(made=applications())
@settings(max_examples=20_000, deadline=None)
def test_each_billed_call_stands_once_in_many_applications(made: Application) -> None:
    check_decided(made)


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("end", ENDS)
def test_each_form_of_gateway_alone(gateway: str, end: str) -> None:
    """So that a failure names the form."""

    @given(made=applications((gateway,), (end,)))
    @settings(max_examples=60, deadline=None)
    def check_form(made: Application) -> None:
        check_decided(made)

    check_form()


def check_decided(made: Application) -> None:
    standing = [decision.sighting for decision in decide(made.spans) if decision.role == "call"]
    found = Counter(
        (prompt_tokens(s.usage), s.usage["output"], *(s.attribution.get(key) for key in ("agent", "step", "tool")))
        for s in standing
        if s.usage
    )
    assert found == Counter(made.billed), described(made)
    assert 0 <= sum(not s.usage for s in standing) - made.failures <= made.attempts
