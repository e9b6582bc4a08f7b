"""Pruning whole months: what goes, what stays, what can still be proved, and that nothing is ever charged again.

Every call is gpt-4o with 1,000 tokens in and 100 out: 0.0035 USD. It is 2026-11-21, so with 30 days the months before October go.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_rig import PRICES, Rig, call, plain, span_id, trace_id

from otel_finops.base.errors import BadInput, BrokenLedger
from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR, month_end_ns, parse_ns
from otel_finops.ledger.corrections import Corrector, Selection
from otel_finops.ledger.head import export_head, verify_head
from otel_finops.ledger.journal import JournalRow, record
from otel_finops.ledger.periods import Periods
from otel_finops.ledger.pruned import pruned_months
from otel_finops.ledger.reprice import reprice
from otel_finops.ledger.retention import Held, LedgerPruner, Pruned
from otel_finops.ledger.rollups import Rollups
from otel_finops.ledger.verify import Report, verify
from otel_finops.store.engine import Store
from otel_finops.store.signing import load_key
from otel_finops.store.upgrade import upgrade
from otel_finops.testing import FakeClock

COST = 3_500_000_000
"""0.0035 USD in pico-USD."""
AUGUST, SEPTEMBER, OCTOBER, NOVEMBER = (parse_ns(f"2026-{month}-10T12:00:00Z") for month in ("08", "09", "10", "11"))
SECOND = 1_000_000_000


def at(start_ns: int, span: int, trace: int | None = None, **known: Any) -> Any:
    """A call that began at an instant; every span has a trace of its own unless said otherwise."""
    return call(span, trace or span, **{"start_ns": start_ns, "end_ns": start_ns + SECOND, **known})


class Keeper(Rig):
    """A rig whose months close, and that prunes."""

    def __init__(self, store: Store, **known: Any) -> None:
        super().__init__(store, **known)
        self.pruner = LedgerPruner(store, self.leases, self.clock, sleep=self.clock.advance)

    def close(self, month: str = "2026-10") -> None:
        Periods(self.store, self.leases, self.clock, self.clock.advance).close(month, "test", "over")

    def prune(self, days: int = 30) -> Pruned:
        return self.pruner.prune(self.pruner.months_before(days), "test")

    def would_prune(self, days: int = 30) -> Pruned:
        return self.pruner.would_prune(self.pruner.months_before(days))

    def verified(self) -> Report:
        with self.store.read() as transaction:
            return verify(transaction)

    def count(self, table: str) -> int:
        with self.store.read() as transaction:
            return int(transaction.execute(f"SELECT COUNT(*) FROM {table}")[0][0])

    def by(self, *keys: str, **filters: str) -> dict[tuple[str | None, ...], int]:
        """Spend of each group, pico-USD."""
        report = self.reader.spend(None, keys, filters={name: (value,) for name, value in filters.items()})
        return {tuple(group.key[name] for name in keys): group.cost_pico for group in report.groups}

    def totals(self) -> Any:
        """All that must be the same before and after."""
        counters = [(row.dimensions, row.cost_pico, row.reversed_pico, row.calls) for row in self.reader.counters((), None)]
        return self.spent(), self.by("model"), self.by("day"), self.by("period"), self.by("tenant"), counters


@pytest.fixture
def keeper(store: Store) -> Keeper:
    return Keeper(store)


def four_months(keeper: Keeper) -> None:
    """One call in each of four months; the first three are closed."""
    keeper.settle(at(AUGUST, 1), at(SEPTEMBER, 2), at(OCTOBER, 3), at(NOVEMBER, 4))
    keeper.close()


def test_closed_months_that_are_old_enough_go_and_all_sums_stay(keeper: Keeper) -> None:
    four_months(keeper)
    before = keeper.totals()
    assert keeper.would_prune() == keeper.prune()
    assert [entry.span_id for entry in keeper.entries()] == [span_id(3), span_id(4)]
    assert keeper.totals() == before
    assert before[0] == 4 * COST


def test_what_went_is_told_by_month(keeper: Keeper) -> None:
    four_months(keeper)
    done = keeper.prune()
    assert done == Pruned(2, 2, 2, {"2026-08": (1, COST), "2026-09": (1, COST)}, AUGUST, SEPTEMBER, Held())
    with keeper.store.read() as transaction:
        months = pruned_months(transaction)
    assert [(one.month, one.entries, one.sum_pico, one.begun_by) for one in months] == [
        ("2026-08", 1, COST, "test"),
        ("2026-09", 1, COST, "test"),
    ]


def test_the_ledger_verifies_and_says_what_can_no_longer_be_proved(keeper: Keeper) -> None:
    four_months(keeper)
    keeper.prune()
    report = keeper.verified()
    assert (report.faults, report.entries, report.total_pico) == ((), 2, 2 * COST)
    assert report.pruned == {"2026-08": (1, COST), "2026-09": (1, COST)}


def test_a_signed_head_of_before_still_fits(keeper: Keeper, tmp_path: Any) -> None:
    four_months(keeper)
    key = load_key(tmp_path / "key.pem")
    with keeper.store.read() as transaction:
        head = export_head(transaction, key, keeper.clock)
    keeper.prune()
    with keeper.store.read() as transaction:
        assert verify_head(transaction, head) == []


def test_nothing_is_left_of_what_went(keeper: Keeper) -> None:
    keeper.settle(
        at(AUGUST, 1, response_id="a"), at(AUGUST, 2, links=((trace_id(1), span_id(1)),)), plain(9, 2, start_ns=AUGUST, end_ns=AUGUST + 1)
    )
    keeper.close()
    keeper.prune()
    tables = ("entries", "journal", "call_keys", "lone_keys", "trace_links", "traces", "retention_passes")
    assert {table: keeper.count(table) for table in tables} == dict.fromkeys(tables, 0)


def test_a_second_pruning_finds_nothing(keeper: Keeper) -> None:
    four_months(keeper)
    keeper.prune()
    blocks = keeper.count("blocks")
    assert keeper.prune() == Pruned()
    assert keeper.count("blocks") == blocks


def test_open_months_stay_however_old(keeper: Keeper) -> None:
    keeper.settle(at(AUGUST, 1), at(SEPTEMBER, 2))
    assert keeper.prune(1) == Pruned()
    keeper.close("2026-08")
    assert keeper.prune(1).months == {"2026-08": (1, COST)}


def test_a_month_goes_only_when_all_of_it_is_old_enough(keeper: Keeper) -> None:
    """October ended 21 days before the 21st of November: with 20 days it goes, with 21 half a day is missing."""
    four_months(keeper)
    assert "2026-10" not in keeper.would_prune(21).months
    assert "2026-10" in keeper.would_prune(20).months


# --- nothing is charged again ---------------------------------------------------------------------------------------


def test_sending_an_old_file_again_charges_nothing(keeper: Keeper) -> None:
    four_months(keeper)
    before = keeper.totals()
    keeper.prune()
    assert keeper.settle(at(AUGUST, 1), at(SEPTEMBER, 2), at(OCTOBER, 3), at(NOVEMBER, 4)) == []
    assert keeper.totals() == before


def test_late_spans_of_a_pruned_month_are_counted_and_not_taken(keeper: Keeper) -> None:
    four_months(keeper)
    keeper.prune()
    rows = [JournalRow(at(AUGUST, 1), None), JournalRow(at(AUGUST, 77), None), JournalRow(at(OCTOBER, 78), None)]
    with keeper.store.write() as transaction:
        done = record(transaction, rows, now_ns=keeper.clock.now_ns(), settle_after_ns=0, subjects=keeper.subjects)
    assert (done.journalled, done.duplicates, done.pruned) == (1, 0, 2)


def test_a_trace_over_the_end_of_a_month_stays_whole_until_the_next_one_goes(keeper: Keeper) -> None:
    """Its charge of September and the later one of October are one trace; late spans find all of it."""
    edge = month_end_ns(SEPTEMBER)
    keeper.settle(at(edge - 2 * SECOND, 1, 1), at(edge + 2 * SECOND, 2, 1, parent=1), at(SEPTEMBER, 3))
    keeper.close()
    assert keeper.would_prune() == keeper.prune()
    assert keeper.prune().held == Held(reaching=1)
    assert {entry.span_id for entry in keeper.entries()} == {span_id(1), span_id(2)}
    assert keeper.settle(at(edge - 2 * SECOND, 1, 1), at(edge + 2 * SECOND, 2, 1, parent=1), at(SEPTEMBER, 3)) == []


def test_a_later_correction_keeps_its_charge(keeper: Keeper) -> None:
    """A span of August that came with other attribution in November: what is late belongs to November, so both rows stay till then."""
    four_months(keeper)
    keeper.settle(
        at(AUGUST, 1, attribution={"agent": "planner"}, end_ns=AUGUST + 2 * SECOND, usage={"input_uncached": 2000, "output": 100})
    )
    assert {entry.late for entry in keeper.entries() if entry.span_id == span_id(1)} == {False, True}
    done = keeper.prune()
    assert (done.months, done.held) == ({"2026-09": (1, COST)}, Held(reaching=1))
    assert keeper.net()[span_id(1)].usage == {"input_uncached": 2000, "output": 100}
    assert keeper.verified().sound


def test_what_waits_to_be_settled_stays(keeper: Keeper) -> None:
    four_months(keeper)
    keeper.send(at(AUGUST, 1, end_ns=AUGUST + 9 * SECOND))
    assert keeper.would_prune().held == keeper.prune().held == Held(unsettled=1)
    assert span_id(1) in keeper.net()


def test_the_original_of_a_younger_copy_stays_and_no_late_span_doubles_it(keeper: Keeper) -> None:
    """The call of September is billed, October's answer with the same id is a gateway's copy. Without the original in sight a late
    version of the copy would be charged."""
    original = at(SEPTEMBER, 1, response_id="one")
    copy = at(OCTOBER, 2, response_id="one")
    keeper.settle(original, copy)
    keeper.close()
    spent = keeper.spent()
    assert keeper.net()[span_id(2)].role == "gateway_copy"
    assert keeper.would_prune().held == keeper.prune().held == Held(shared=1)
    keeper.settle(copy._replace(end_ns=OCTOBER + 5 * SECOND, usage={"input_uncached": 1000, "output": 100}))
    assert keeper.net()[span_id(2)].role == "gateway_copy"
    assert keeper.spent() == spent == COST


def test_neighbours_that_are_all_old_go_together(keeper: Keeper) -> None:
    keeper.settle(at(AUGUST, 1, response_id="one"), at(SEPTEMBER, 2, response_id="one"), at(NOVEMBER, 3))
    keeper.close()
    assert keeper.would_prune() == (done := keeper.prune())
    assert (done.traces, done.held) == (2, Held())


def test_what_a_sealed_trace_was_charged_stays_when_its_neighbours_settle_again(keeper: Keeper) -> None:
    """August's call is the original of September's copy, which is linked from November. August goes, September must stay; a late
    span of November settles both again, without August: September stays a copy."""
    keeper.settle(
        at(AUGUST, 1, response_id="one"),
        at(SEPTEMBER, 2, response_id="one"),
        at(NOVEMBER, 3, links=((trace_id(2), span_id(2)),)),
    )
    keeper.close()
    before = keeper.spent()
    keeper.prune()
    assert set(keeper.net()) == {span_id(2), span_id(3)}
    keeper.settle(at(NOVEMBER, 4, 3, links=((trace_id(2), span_id(2)),)))
    assert keeper.net()[span_id(2)].role == "gateway_copy"
    assert keeper.spent() == before + COST


# --- broken off, and broken ------------------------------------------------------------------------------------------


def test_what_a_pruning_left_half_done_verifies_and_is_finished_by_the_next(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_finops.ledger.retention.PRUNE_STEP_TRACES", 2)
    keeper.settle(*(at(AUGUST + number * NS_PER_HOUR, number) for number in range(1, 8)), at(NOVEMBER, 9))
    keeper.close()
    before, whole = keeper.totals(), keeper.would_prune()
    steps = iter([False, False, True, True, True])
    first = keeper.pruner.prune(keeper.pruner.months_before(30), "test", stop=lambda: next(steps))
    assert (first.traces, first.finished) == (4, False)
    assert keeper.verified().sound
    assert keeper.totals() == before
    rest = keeper.prune()
    assert first.entries + rest.entries == whole.entries == 7
    assert keeper.verified().pruned == {"2026-08": (7, 7 * COST)}
    assert keeper.totals() == before


def test_a_broken_block_is_not_pruned(store: Store) -> None:
    """Pruning must not sweep away the traces of a forger."""
    if store.engine_name != "sqlite":
        pytest.skip("the triggers are taken away as an attacker would on SQLite")
    keeper = Keeper(store)
    four_months(keeper)
    with store.write() as transaction:
        transaction.execute("DROP TRIGGER entries_no_update")
        transaction.execute("UPDATE entries SET cost_pico = 1 WHERE started_ns = ?", (AUGUST,))
    with pytest.raises(BrokenLedger, match="does not verify, so nothing of it is pruned"):
        keeper.prune()
    assert len(keeper.entries()) == 4
    assert not keeper.verified().sound


# --- spans alone -----------------------------------------------------------------------------------------------------


MONTH_S = 35 * 24 * 3600.0


def test_spans_go_before_their_entries_where_the_settings_say_so(keeper: Keeper) -> None:
    """They came 35 days ago and ended before that; with 30 days they go, and no entry does. What came today stays."""
    keeper.settle(at(AUGUST, 1), at(SEPTEMBER, 2), at(OCTOBER, 3))
    keeper.clock.advance(MONTH_S)
    keeper.settle(at(NOVEMBER, 4))
    before = keeper.totals(), keeper.canonical()
    rule = keeper.pruner.spans_before(30)
    assert keeper.pruner.would_prune(rule) == (done := keeper.pruner.prune(rule, "test"))
    assert (done.traces, done.spans, done.entries) == (3, 3, 0)
    assert (keeper.totals(), keeper.canonical()) == before
    assert (keeper.count("journal"), keeper.count("traces")) == (1, 4)
    assert keeper.verified().entries == 4


def test_what_lost_its_spans_takes_no_more_of_them(keeper: Keeper) -> None:
    """A framework's span of the same call that came now could not be told from a call of its own."""
    four_months(keeper)
    keeper.clock.advance(MONTH_S)
    keeper.pruner.prune(keeper.pruner.spans_before(30), "test")
    before = keeper.spent()
    assert keeper.settle(at(AUGUST, 1), at(AUGUST, 50, 1, scope="framework", rank=30)) == []
    assert keeper.spent() == before


def test_the_spans_of_an_original_stay_while_a_younger_copy_is_open(keeper: Keeper) -> None:
    keeper.settle(at(SEPTEMBER, 1, response_id="one"))
    keeper.clock.advance(MONTH_S)
    keeper.settle(copy := at(NOVEMBER, 2, response_id="one"))
    assert keeper.pruner.prune(keeper.pruner.spans_before(30), "test").held == Held(shared=1)
    keeper.settle(copy._replace(end_ns=NOVEMBER + 5 * SECOND))
    assert keeper.net()[span_id(2)].role == "gateway_copy"
    assert keeper.spent() == COST


def test_a_session_that_goes_on_keeps_all_its_spans(keeper: Keeper) -> None:
    keeper.settle(at(AUGUST, 1), plain(9, 1, start_ns=AUGUST, end_ns=NOVEMBER + 30 * NS_PER_DAY))
    keeper.clock.advance(MONTH_S)
    done = keeper.pruner.prune(keeper.pruner.spans_before(30), "test")
    assert (done.spans, done.held) == (0, Held(reaching=1))


# --- reports ---------------------------------------------------------------------------------------------------------


def test_reports_by_what_only_rows_say_have_the_pruned_money_under_not_known(keeper: Keeper) -> None:
    keeper.settle(at(AUGUST, 1, attribution={"step": "plan"}), at(NOVEMBER, 2, attribution={"step": "plan"}))
    keeper.close()
    assert keeper.by("step") == {("plan",): 2 * COST}
    keeper.prune()
    assert keeper.by("step") == {("plan",): COST, (None,): COST}
    assert keeper.by("step", step="plan") == {("plan",): COST}
    assert keeper.by("step", "model") == {("plan", "gpt-4o"): COST, (None, "gpt-4o"): COST}
    assert keeper.by("step", "day") == {("plan", "2026-11-10"): COST, (None, "2026-08-10"): COST}


def test_a_cut_hour_of_a_pruned_month_is_refused_and_others_are_answered(keeper: Keeper) -> None:
    four_months(keeper)
    keeper.prune()
    half = NS_PER_HOUR // 2
    assert keeper.reader.spend(None, (), AUGUST, AUGUST + NS_PER_HOUR).total_pico == COST
    assert keeper.reader.spend(None, (), AUGUST - half, SEPTEMBER - half).total_pico == COST
    with pytest.raises(BadInput, match="give whole hours"):
        keeper.reader.spend(None, (), AUGUST + 1, SEPTEMBER)
    with pytest.raises(BadInput, match="only their cost is kept"):
        keeper.reader.spend(None, (), AUGUST, NOVEMBER, basis="list")


# --- whatever the ledger ---------------------------------------------------------------------------------------------

MONTHS = (AUGUST, SEPTEMBER, OCTOBER, NOVEMBER)
ANSWERS = st.sampled_from([None, None, None, "one", "two"])
CALLS = st.lists(
    st.tuples(st.integers(1, 12), st.integers(1, 6), st.sampled_from(MONTHS), st.integers(0, 400), ANSWERS, st.booleans()), max_size=12
)
"""Span, trace, month, hours into it (16 days, so that months are crossed), answer id, and whether it comes after the months closed."""


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CALLS, st.sampled_from([20, 30, 60]))
def test_sums_and_what_stays_are_as_before(tmp_path_factory: pytest.TempPathFactory, calls: Any, days: int) -> None:
    """Verify passes, no sum moves, kept rows are equal to the byte, all that is sent again adds nothing, repricing finds the same."""
    store = Store.open(f"sqlite:///{tmp_path_factory.mktemp('p') / 'l.db'}", FakeClock())
    upgrade(store)
    keeper = Keeper(store)
    spans = [
        (at(month + hours * NS_PER_HOUR, span, trace, response_id=answer), late)
        for span, trace, month, hours, answer, late in calls
        if month + hours * NS_PER_HOUR < keeper.clock.now_ns()
    ]
    keeper.settle(*(span for span, late in spans if not late))
    keeper.close()
    keeper.settle(*(span for span, late in spans if late))
    before, kept_before = keeper.totals(), {(row["trace_id"], row["span_id"]): row for row in keeper.canonical()}
    expected = keeper.would_prune(days)
    done = keeper.prune(days)
    assert (done.entries, done.months, done.traces) == (expected.entries, expected.months, expected.traces)
    report = keeper.verified()
    assert report.sound
    assert sum(rows for rows, _ in report.pruned.values()) == done.entries
    assert keeper.totals() == before
    assert all(kept_before[row["trace_id"], row["span_id"]] == row for row in keeper.canonical())
    assert [entry.span_id for entry in keeper.settle(*(span for span, _ in spans))] == []
    assert keeper.totals() == before
    corrector = Corrector(store, keeper.leases, PRICES, (Rollups(),), keeper.clock, sleep=keeper.clock.advance)
    assert reprice(corrector, Selection(0, 2**62, force=True), who="test", why="same prices").total.changed == 0
    assert keeper.prune(days).entries == 0
    store.close()
