"""Exports are read in short steps, and are one state all the same: that of the moment at which they were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ledger_rig import NOON, SECOND, Rig, all_of, call, plain

from otel_finops.base.errors import BadInput, Unavailable
from otel_finops.genai.sighting import AGENT
from otel_finops.ledger.export import LedgerExport
from otel_finops.ledger.extent import Extent
from otel_finops.store.engine import Store

EVER = (None, None)
Batches = Iterator[list[dict[str, Any]]]
EXPORTS: dict[str, Callable[[LedgerExport], Batches]] = {
    "entries": lambda export: export.entries(None),
    "net": lambda export: export.net(None),
    "canonical": lambda export: export.canonical(None),
    "usage": lambda export: export.usage(None, EVER, {}),
    "usage of one agent": lambda export: export.usage(None, EVER, {"agent": "planner"}),
}


@pytest.fixture
def rig(store: Store) -> Rig:
    """Three realms, one of which sorts behind all ASCII; spans 1 to 9, one of them corrected, one booked for an agent that came later."""
    rig = Rig(store)
    for number in range(1, 10):
        realm = ("globex", "acme", "\u00e9clair")[number % 3]
        rig.settle(
            call(number, trace=100 - number, realm=realm, at_s=number, parent=20 if number == 5 else None, attribution={"tenant": realm})
        )
    fewer = {"input_uncached": 500, "output": 100}
    rig.settle(call(4, trace=96, realm="acme", at_s=4, attribution={"tenant": "acme"}, usage=fewer, end_ns=NOON + 9 * SECOND))
    rig.settle(plain(20, trace=95, realm="\u00e9clair", kind=AGENT, genai=True, attribution={"tenant": "\u00e9clair", "agent": "planner"}))
    return rig


def in_steps_of(rig: Rig, size: int) -> LedgerExport:
    return LedgerExport(rig.store, rig.subjects, step_rows=size)


def spans(batches: Batches) -> list[int]:
    return [int(row["span_id"], 16) for row in all_of(batches)]


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_steps_of_any_size_give_the_same_rows(rig: Rig, name: str, size: int) -> None:
    assert all_of(EXPORTS[name](in_steps_of(rig, size))) == all_of(EXPORTS[name](in_steps_of(rig, 1000))) != []


def test_the_net_is_ordered_by_realm_trace_and_span(rig: Rig) -> None:
    """Trace of span n is 100 - n; acme has 1, 4, 7, eclair 2, 5, 8 and the agent 20 is no row, globex 3, 6, 9."""
    assert spans(in_steps_of(rig, 2).net(None)) == [7, 4, 1, 9, 6, 3, 8, 5, 2]


def test_rows_come_tenant_by_tenant_earliest_first(rig: Rig) -> None:
    """Span 4 was charged, reversed and charged again; span 5 was charged, then said to be the agent's."""
    found = all_of(in_steps_of(rig, 2).usage(None, EVER, {}))
    assert [(row["tenant"], int(row["span_id"], 16)) for row in found] == [
        *[("acme", 1), ("acme", 4), ("acme", 4), ("acme", 4), ("acme", 7)],
        *[("globex", 3), ("globex", 6), ("globex", 9)],
        *[("\u00e9clair", 2), ("\u00e9clair", 5), ("\u00e9clair", 5), ("\u00e9clair", 8)],
    ]
    assert [row["kind"] for row in found if row["span_id"].endswith("4")] == ["charge", "reversal", "charge"]


def test_windows_filters_and_tenants_select_rows(rig: Rig) -> None:
    steps = in_steps_of(rig, 2)
    window = NOON + 3 * SECOND, NOON + 7 * SECOND
    assert sorted(spans(steps.usage(None, window, {}))) == [3, 4, 4, 4, 5, 5, 6]
    assert spans(steps.usage(["acme"], window, {})) == [4, 4, 4]
    assert spans(steps.usage(["acme", "globex"], window, {"kind": "reversal"})) == [4]
    assert spans(steps.usage(None, EVER, {"agent": "planner"})) == [5]
    assert spans(steps.usage(["nobody"], EVER, {})) == spans(steps.usage((), EVER, {})) == []
    assert spans(steps.usage(None, EVER, {"trace_id": f"{96:032x}"})) == [4, 4, 4]
    assert spans(steps.usage(None, (window[0], NOON + 4 * SECOND), {"trace_id": f"{96:032x}"})) == []
    assert spans(steps.usage(None, EVER, {"trace_id": f"{999:032x}"})) == []
    assert spans(steps.entries(["globex"])) == [3, 6, 9]
    assert spans(steps.net(["globex", "acme"])) == [7, 4, 1, 9, 6, 3]
    with pytest.raises(BadInput, match="entries cannot be filtered by 'colour'"):
        steps.usage(None, EVER, {"colour": "blue"})


@pytest.mark.parametrize("name", EXPORTS)
def test_what_is_booked_meanwhile_is_in_no_batch(rig: Rig, name: str) -> None:
    """While it is read: a call before and a call behind the place, another version of span 7, an agent above span 8."""
    before = all_of(EXPORTS[name](in_steps_of(rig, 2)))
    batches = EXPORTS[name](in_steps_of(rig, 2))
    found = list(next(batches))
    rig.settle(call(31, trace=1, realm="acme", at_s=0, attribution={"tenant": "acme"}))
    rig.settle(call(32, trace=200, realm="zeta", at_s=50, attribution={"tenant": "zeta"}))
    rig.settle(call(7, trace=93, realm="acme", at_s=7, attribution={"tenant": "acme"}, usage={"input_uncached": 9, "output": 900}))
    assert found + all_of(batches) == before
    assert len(all_of(EXPORTS[name](in_steps_of(rig, 2)))) >= len(before)


@pytest.mark.parametrize("name", EXPORTS)
def test_nothing_is_held_between_two_batches(rig: Rig, name: str) -> None:
    batches = EXPORTS[name](in_steps_of(rig, 1))
    for _ in range(3):
        next(batches)
        assert rig.store.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        rig.settle(plain(50, trace=50))


def test_an_erased_person_is_not_shown_by_the_batches_that_follow(rig: Rig) -> None:
    rig.settle(*(call(60 + number, trace=60 + number, at_s=60 + number, attribution={"user": "ada"}) for number in range(3)))
    batches = in_steps_of(rig, 1).usage(["default"], EVER, {}, clear=True)
    [first] = next(batches)
    with rig.store.write() as transaction:
        transaction.execute("DELETE FROM subjects WHERE clear = ?", ("ada",))
    assert [first["user"], *(row["user"] for row in all_of(batches))] == ["ada", None, None]


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_that_retention_crosses_is_refused(rig: Rig, name: str) -> None:
    batches = EXPORTS[name](in_steps_of(rig, 1))
    next(batches)
    with rig.store.write() as transaction:
        seq = Extent.of(transaction).last_seqs
        [shard] = list(seq)[:1]
        row = (shard, seq[shard] + 1, rig.clock.now_ns(), "test", "{}", 0, "0")
        transaction.execute(
            "INSERT INTO prunings (shard, block_seq, pruned_ns, who, months, entries, sum_pico) VALUES (?, ?, ?, ?, ?, ?, ?)", row
        )
    with pytest.raises(Unavailable, match="retention pruned the ledger while it was read"):
        all_of(batches)


def test_an_empty_ledger_has_no_rows(store: Store) -> None:
    for export in EXPORTS.values():
        assert all_of(export(in_steps_of(Rig(store), 3))) == []
