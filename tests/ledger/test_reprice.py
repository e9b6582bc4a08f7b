"""Repricing: corrections that carry the difference, once; and settling that neither undoes nor doubles them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_rig import CENT, PRICES, SECOND, Rig, all_of, call, plain
from other_prices import TimesPrices
from test_same_ledger import END, NUMBERS, SPANS, a_store, check_sums, folder  # noqa: F401 - the fixture

from otel_finops.base.errors import Busy, Unavailable
from otel_finops.genai.sighting import RANK_FRAMEWORK
from otel_finops.ledger.correction_runs import correction_runs, run_of_block
from otel_finops.ledger.corrections import Corrected, Corrector, Group, Selection
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.periods import Periods
from otel_finops.ledger.reprice import reprice
from otel_finops.ledger.shards import lease_name
from otel_finops.ledger.verify import verify
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.house_rules import Alias, HouseRules
from otel_finops.store.engine import Store
from otel_finops.testing import NOON

COST = 35 * CENT // 100
"""1,000 tokens in at 2.50 and 100 out at 10 USD a million: 0.0035 USD."""
EVER = Selection(0, 2**62)
OCTOBER = -40 * 86_400
DOUBLE = TimesPrices(2)


def corrector(rig: Rig, engine: Any = DOUBLE, projections: Any = None) -> Corrector:
    return Corrector(rig.store, rig.leases, engine, projections or [rig.rollups], rig.clock, sleep=rig.clock.advance)


def run(rig: Rig, selection: Selection = EVER, engine: Any = DOUBLE, *, dry_run: bool = False) -> Corrected:
    return reprice(corrector(rig, engine), selection, who="ann", why="new contract", dry_run=dry_run)


def exported(rig: Rig) -> str:
    return json.dumps(all_of(rig.export.entries(None)))


def test_the_difference_is_booked_as_a_correction(store: Store) -> None:
    rig = Rig(store)
    [charge] = rig.settle(call(1))
    done = run(rig)
    assert done.groups == (Group("openai", "gpt-4o", rows=1, changed=1, before_pico=COST, after_pico=2 * COST),)
    [_, correction] = rig.entries()
    assert (correction.kind, correction.cost_pico, correction.usage, correction.revision) == ("correction", COST, {}, 1)
    assert (correction.price_version, correction.price_key, correction.late) == ("times-2", charge.price_key, False)
    net = rig.net()[charge.span_id]
    assert (net.cost_pico, net.usage, [(line.rate_usd, line.amount_pico) for line in net.cost_lines]) == (
        2 * COST, charge.usage, [("2x", 2 * COST * 5 // 7), ("2x", 2 * COST * 2 // 7)],
    )  # fmt: skip
    check_sums(rig)
    with store.read() as transaction:
        assert verify(transaction).faults == ()


def test_a_second_run_finds_nothing_to_do(store: Store) -> None:
    rig = Rig(store)
    rig.settle(call(1), call(2, trace=2))
    run(rig)
    before = exported(rig)
    again = run(rig)
    assert (again.run_no, again.entries, again.total) == (None, 0, Group(None, None, rows=2))
    assert exported(rig) == before


def test_a_dry_run_comes_to_the_same_numbers_and_writes_nothing(store: Store) -> None:
    rig = Rig(store)
    rig.settle(*SPANS)
    before = exported(rig)
    dry = run(rig, dry_run=True)
    assert (dry.total.rows, dry.total.changed) == (6, 4)
    assert exported(rig) == before
    assert run(rig)._replace(run_no=None) == dry
    check_sums(rig)


def test_a_hole_is_filled_and_torn_again(store: Store) -> None:
    """Unpriced to priced is a correction, priced to unpriced a reversal and a charge (design 4.3)."""
    rig = Rig(store)
    rig.settle(call(1, request_model="house-model", price_models=("house-model",)))
    known = TimesPrices(1, known={"house-model": "gpt-4o"})
    filled = run(rig, EVER._replace(unpriced_only=True), known)
    assert (filled.total.priced, filled.total.before_pico, filled.total.after_pico) == (1, 0, COST)
    [correction] = rig.entries()[1:]
    assert (correction.kind, correction.cost_pico, correction.cost_method, correction.unpriced_reason) == (
        "correction",
        COST,
        "computed",
        None,
    )
    assert run(rig, EVER._replace(unpriced_only=True), TimesPrices(3, known={"house-model": "gpt-4o"})).total.rows == 0
    torn = run(rig, EVER, TimesPrices(1, unknown=("house-model",)))
    assert (torn.total.unpriced, torn.total.before_pico, torn.total.after_pico) == (1, COST, 0)
    assert [entry.kind for entry in rig.entries()[2:]] == ["reversal", "charge"]
    assert rig.total() == 0
    assert [row.unpriced_calls for row in rig.reader.spend(None).groups] == [1]
    check_sums(rig)


@pytest.mark.parametrize(
    ("chosen", "changed"),
    [
        ({}, 4),
        ({"model": "GPT-4o"}, 3),
        ({"model": "gpt-4o-mini"}, 1),
        ({"provider": "azure"}, 1),
        ({"provider": "Azure.OpenAI"}, 1),
        ({"tenants": ["acme"]}, 1),
        ({"tenants": ["nobody"]}, 0),
        ({"from_ns": NOON + 50 * SECOND}, 3),
        ({"from_ns": NOON + 50 * SECOND, "to_ns": NOON + 100 * SECOND}, 1),
    ],
)
def test_only_what_is_selected_is_touched(store: Store, chosen: dict[str, Any], changed: int) -> None:
    rig = Rig(store)
    rig.settle(
        call(1),
        call(2, trace=2, at_s=50, request_model="gpt-4o-mini", price_models=("gpt-4o-mini",)),
        call(3, trace=3, at_s=100, provider="azure"),
        call(4, trace=4, at_s=150, attribution={"tenant": "acme"}),
    )
    done = run(rig, EVER._replace(**chosen))
    assert done.total.changed == changed
    assert len(rig.entries()) == 4 + changed


def test_a_closed_month_is_protected_unless_forced(store: Store) -> None:
    rig = Rig(store)
    rig.settle(call(1, at_s=OCTOBER), call(2, trace=2))
    Periods(rig.store, rig.leases, rig.clock).close("2026-10", "ann", "over")
    done = run(rig)
    assert (done.total.changed, done.protected) == (1, 1)
    assert run(rig)._replace(groups=()) == Corrected(None, (), Group(None, None, rows=1), 0, 1, 0)
    forced = run(rig, EVER._replace(force=True))
    assert (forced.total.changed, forced.protected) == (1, 0)
    assert [entry.late for entry in rig.entries()] == [False, False, False, True]
    months = rig.reader.spend(None, ["period"]).groups
    assert {row.key["period"]: row.cost_pico for row in months} == {"2026-10": COST, "2026-11": 3 * COST}
    check_sums(rig)


def test_who_and_why_stand_on_record(store: Store) -> None:
    rig = Rig(store)
    rig.settle(call(1), call(2, trace=2, realm="acme"))
    done = run(rig, EVER._replace(model="gpt-4o"))
    with store.read() as transaction:
        [kept] = correction_runs(transaction, None, 10)
        written = [entry for entry in rig.entries() if entry.kind == "correction"]
        found = [run_of_block(transaction, *_place(entry)) for entry in written]
        assert run_of_block(transaction, *_place(rig.entries()[0])) is None
    assert found == [kept, kept]
    assert (kept.run_no, kept.rows, kept.before_pico, kept.after_pico, kept.blocks) == (done.run_no, 2, 2 * COST, 4 * COST, 2)
    assert kept.asked[:3] == ("reprice", "ann", "new contract")
    assert kept.asked.selection == {
        "from": "1970-01-01T00:00:00.000000000Z", "to": "2116-02-20T23:53:38.427387904Z", "model": "gpt-4o", "tenants": ["*"],
    }  # fmt: skip


def _place(entry: Entry) -> tuple[int, int]:
    return entry.shard, entry.block_seq


# --- beside settling ---


def test_a_late_twin_neither_undoes_nor_doubles_a_repriced_call(store: Store) -> None:
    """A framework's span of the same call comes later; the settler still runs on the old prices, as a process does that lags."""
    rig = Rig(store)
    rig.settle(call(1, parent=9, response_id="chatcmpl-1"))
    run(rig)
    rig.settle(call(2, parent=9, response_id="chatcmpl-1", scope="framework", rank=RANK_FRAMEWORK), plain(9))
    assert (rig.total(), rig.spent()) == (2 * COST, 2 * COST)
    assert run(rig).entries == 0
    check_sums(rig)


def test_a_price_by_an_alias_outlives_the_alias(store: Store) -> None:
    """The settler does not know the alias, or does not know it any more, and settles the call again for a late twin."""
    rig = Rig(store)
    alias = Alias("1", None, "house-model", "gpt-4o")
    said: dict[str, Any] = {"request_model": "house-model", "price_models": ("house-model",), "response_id": "chatcmpl-1", "parent": 9}
    rig.settle(call(1, **said))
    run(rig, engine=PriceEngine(PRICES.book.under(HouseRules(aliases=(alias,)))))
    assert rig.total() == COST
    rig.settle(call(2, scope="framework", rank=RANK_FRAMEWORK, **said), plain(9))
    assert (rig.total(), rig.spent()) == (COST, COST)
    assert run(rig, engine=PRICES).total.unpriced == 1
    check_sums(rig)


def test_other_usage_is_priced_by_the_prices_of_the_day(store: Store) -> None:
    """The first version is repriced; the second one has twice the tokens, and is charged by what the settler holds for right then."""
    rig = Rig(store)
    rig.settle(call(1))
    run(rig)
    rig.use(TimesPrices(3))
    rig.settle(call(1, usage={"input_uncached": 2000, "output": 200}, end_ns=END + SECOND))
    assert rig.total() == 3 * 2 * COST
    assert run(rig).total == Group("openai", "gpt-4o", 1, 1, 0, 0, 6 * COST, 4 * COST)._replace(provider=None, model=None)
    check_sums(rig)


def test_what_waits_to_be_settled_is_left_to_settling(store: Store) -> None:
    rig = Rig(store)
    rig.settle(call(1), call(2, trace=2))
    rig.send(call(1, usage={"input_uncached": 2000, "output": 200}, end_ns=END + SECOND))
    done = run(rig)
    assert (done.total.changed, done.skipped) == (1, 1)
    rig.settle()
    assert rig.total() == 4 * COST
    check_sums(rig)


@pytest.mark.parametrize("before_round", [1, 3, 7])
def test_two_processes_at_once_correct_once(store: Store, before_round: int) -> None:
    """The second one does its whole run while the first one gets ready for a round."""
    rig, other = Rig(store), Rig(store, holder="other")
    rig.settle(*(call(number, trace=number, realm=f"realm-{number}") for number in range(1, 9)))
    rounds = 0
    done: list[Corrected] = []
    acquire = rig.leases.acquire

    def late_acquire(name: str, ttl_s: float = 10.0) -> Any:
        nonlocal rounds
        rounds += 1
        if rounds == before_round:
            done.append(run(other))
        return acquire(name, ttl_s)

    rig.leases.acquire = late_acquire  # type: ignore[method-assign]
    first, [second] = run(rig), done
    assert first.total.changed + second.total.changed == 8
    assert rig.total() == 16 * COST == rig.spent()
    assert len(rig.entries()) == 16
    check_sums(rig)


def test_a_run_that_dies_between_rounds_goes_on_where_it_was(store: Store) -> None:
    rig = Rig(store)
    rig.settle(*(call(number, trace=number, realm=f"realm-{number}") for number in range(1, 9)))
    rounds = len({entry.shard for entry in rig.entries()})
    for survived in range(rounds):
        with pytest.raises(Unavailable):
            reprice(corrector(rig, projections=[_Dying(rig.rollups, 1)]), EVER, who="ann", why="new contract")
        check_sums(rig)
        with store.read() as transaction:
            assert sum(kept.blocks for kept in correction_runs(transaction, None, 100)) == min(survived + 1, rounds - 1)
        if survived == rounds - 2:
            break
    run(rig)
    assert rig.total() == 16 * COST
    assert len(rig.entries()) == 16
    check_sums(rig)


class _Dying:
    """The store goes away in the round after so many."""

    def __init__(self, projection: Any, rounds: int) -> None:
        self._projection = projection
        self._left = rounds

    def apply(self, transaction: Any, entries: Any) -> None:
        if not self._left:
            raise Unavailable("the database went away")
        self._left -= 1
        self._projection.apply(transaction, entries)


def test_a_shard_that_somebody_holds_is_waited_for_and_then_given_up(store: Store) -> None:
    rig = Rig(store)
    [charge] = rig.settle(call(1))
    held = rig.leases.acquire(lease_name(charge.shard), ttl_s=60)
    assert held is not None
    with pytest.raises(Busy, match="the ledger is busy: test holds"):
        run(rig)
    assert run(rig, dry_run=True).total.changed == 1
    held.release()
    assert run(rig).total.changed == 1


def test_history_is_byte_equal_whatever_prices_hold_now(store: Store) -> None:
    """Other prices, late repetitions and settling anew change no byte of what was exported."""
    rig = Rig(store)
    rig.settle(*SPANS)
    before = exported(rig)
    rig.use(TimesPrices(7))
    rig.settle(*reversed(SPANS))
    assert exported(rig) == before


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("settle"), st.integers(0, len(SPANS) - 1)),
        st.tuples(st.just("prices"), st.sampled_from((1, 2, 3))),
        st.tuples(st.just("reprice"), st.sampled_from((1, 2, 3))),
        st.tuples(st.just("die"), st.integers(0, 1)),
    ),
    max_size=24,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_course_of_spans_prices_and_runs_ends_at_the_last_runs_prices(folder: Any, steps: list[tuple[str, int]]) -> None:  # noqa: F811
    """Whatever came before: after everything has come and one more run, each call costs what the packaged prices say, times three."""
    rig = Rig(a_store(folder, next(NUMBERS)))
    for what, number in steps:
        if what == "settle":
            rig.settle(SPANS[number])
        elif what == "prices":
            rig.use(TimesPrices(number))
        elif what == "reprice":
            run(rig, engine=TimesPrices(number))
        else:
            with suppress(Unavailable):
                reprice(corrector(rig, projections=[_Dying(rig.rollups, number)]), EVER, who="ann", why="new contract")
        check_sums(rig)
    rig.settle(*SPANS)
    run(rig, engine=TimesPrices(3))
    check_sums(rig)
    expected = {key: PRICES.quote(PRICES.priceable(best)).cost_pico for key, best in _best().items()}
    stood = {key: net.cost_pico for key, net in rig.net().items() if net.role == "call"}
    assert stood == {key: None if cost is None else 3 * cost for key, cost in expected.items()}
    settled = exported(rig)
    rig.use(TimesPrices(2))
    rig.settle(*SPANS)
    assert exported(rig) == settled
    rig.store.close()


def _best() -> dict[str, Any]:
    """The calls that stand of `SPANS`, in the version that ends last; span 3 is the client's sighting of span 2."""
    calls = [span for span in SPANS if span.is_candidate and span.span_id != SPANS[2].span_id]
    return {span.span_id: span for span in sorted(calls, key=lambda span: span.end_ns)}
