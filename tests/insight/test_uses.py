"""What calls were charged for, added up by agent, model and unit."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from ledger_rig import SECOND, Rig, call

from otel_finops.base.money import parse_usd
from otel_finops.base.times import parse_ns
from otel_finops.insight.drivers import Cell, Units, Use
from otel_finops.insight.uses import STATED, read_uses, uses_of
from otel_finops.ledger.lined_calls import LinedCall
from otel_finops.ledger.periods import Periods
from otel_finops.ledger.retention import LedgerPruner
from otel_finops.ledger.spend import Question
from otel_finops.pricing.quote import CostLine
from otel_finops.store.engine import Store

DAY = [(parse_ns("2026-11-20"), parse_ns("2026-11-21"))]
PLANNER = Cell("acme", "planner", "openai", "gpt-4o")


def lined(*lines: CostLine, method: str = "computed", tokens: int = 30, agent: str | None = "planner") -> LinedCall:
    return LinedCall("acme", agent, "openai", "gpt-4o", method, tokens, lines)


def test_lines_of_one_unit_are_added_up_whatever_their_rate() -> None:
    uses = uses_of([lined(CostLine("output", 10, "2", 20), CostLine("output", 5, "4", 20)), lined(CostLine("output", 3, "2", 6))])
    assert uses == {PLANNER: Use(2, {"output": Units(Fraction(18), 46)})}


def test_quantities_that_are_no_whole_numbers_stay_exact() -> None:
    uses = uses_of([lined(CostLine("seconds", "0.1", "1", 1)), lined(CostLine("seconds", "0.2", "1", 2))])
    assert uses[PLANNER].units["seconds"].quantity == Fraction(3, 10)


def test_a_stated_cost_is_one_of_tokens() -> None:
    """It has one line for the whole call, from which no price of a unit follows."""
    uses = uses_of(
        [lined(CostLine("requests", 1, "0.5", 500), method="reported"), lined(CostLine("requests", 1, "1", 9), method="reported", tokens=0)]
    )
    assert uses == {PLANNER: Use(2, {STATED: Units(Fraction(31), 509)})}


def test_who_is_not_known_is_a_cell_too() -> None:
    assert set(uses_of([lined(CostLine("output", 1, "1", 1), agent=None)])) == {PLANNER._replace(agent="")}


@pytest.fixture
def rig(store: Store) -> Rig:
    """A hundred calls, one of another tenant, one whose usage is missing, and one of the next day."""
    rig = Rig(store)
    rig.settle(
        *(at(number, "2026-11-20T09:00:00Z") for number in range(1, 101)),
        at(101, "2026-11-20T09:00:00Z", tenant="globex"),
        at(102, "2026-11-20T09:00:00Z", usage={}),
        at(103, "2026-11-21T00:00:00Z"),
    )
    return rig


def at(number: int, moment: str, tenant: str = "acme", **known: Any) -> Any:
    start = parse_ns(moment) + number * SECOND
    said = {"end_ns": start + 1, **known}
    return call(number, trace=number, start_ns=start, attribution={"tenant": tenant, "agent": "planner"}, **said)


def uses(rig: Rig, calls: int, **filters: tuple[str, ...]) -> dict[Cell, Use]:
    with rig.store.read() as transaction:
        return read_uses(transaction, Question(None, filters=filters), DAY, calls)


def test_calls_of_a_time_are_read_with_their_lines(rig: Rig) -> None:
    """1,000 tokens in at 2.50 and 100 out at 10 USD a million, a hundred times."""
    assert uses(rig, 100, tenant=("acme",)) == {
        PLANNER: Use(
            100, {"input_uncached": Units(Fraction(100_000), parse_usd("0.25")), "output": Units(Fraction(10_000), parse_usd("0.1"))}
        )
    }


def test_of_too_many_calls_a_part_tells_the_same(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_finops.insight.uses.DRIVER_CALLS_MAX", 25)
    part = uses(rig, 100, tenant=("acme",))[PLANNER]
    assert 15 <= part.calls <= 35
    assert part.units["output"].amount == part.calls * parse_usd("0.001")


def test_a_time_of_which_some_calls_were_pruned_tells_nothing(store: Store) -> None:
    """Two calls of September. One grew when the month was closed, so it has a row of November and stays when September is pruned: it alone
    would tell another story than both did.
    """
    rig = Rig(store)
    rig.settle(at(1, "2026-09-20T09:00:00Z"), at(2, "2026-09-20T10:00:00Z"), at(3, "2026-10-20T10:00:00Z"))
    Periods(store, rig.leases, rig.clock, rig.clock.advance).close("2026-10", "ann", "done")
    rig.settle(at(1, "2026-09-20T09:00:00Z", usage={"input_uncached": 3000, "output": 100}, end_ns=2 * 10**18))
    september, october = [(parse_ns("2026-09-01"), parse_ns("2026-10-01"))], [(parse_ns("2026-10-01"), parse_ns("2026-11-01"))]

    def calls(spans: list[tuple[int, int]]) -> int:
        with store.read() as transaction:
            return sum(use.calls for use in read_uses(transaction, Question(None), spans, 3).values())

    assert (calls(september), calls(october)) == (2, 1)
    pruner = LedgerPruner(store, rig.leases, rig.clock, sleep=rig.clock.advance)
    assert pruner.prune(pruner.months_before(30), "test").traces == 1
    assert (calls(september), calls(october)) == (0, 1)
