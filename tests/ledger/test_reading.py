"""Exports and reports: what is shown to whom, and in which form."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from ledger_rig import NOON, SECOND, Rig, all_of, call, plain, span_id, trace_id

from otel_finops.base.errors import BadInput
from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR
from otel_finops.genai.sighting import AGENT
from otel_finops.store.engine import Store

CALL_PICO = 3_500_000_000
"""`ledger_rig.call`: 0.0035 USD."""


@pytest.fixture
def rig(store: Store) -> Rig:
    return Rig(store)


def moved(rig: Rig) -> None:
    """A call of tenant `default` that turns out to be acme's, and one of globex."""
    rig.settle(call(2, parent=1), call(3, trace=2, attribution={"tenant": "globex"}))
    rig.settle(plain(1, kind=AGENT, genai=True, attribution={"tenant": "acme", "agent": "planner"}))


def test_net_is_one_charge_a_span(rig: Rig, contracts: Path) -> None:
    moved(rig)
    rig.settle(call(3, trace=2, attribution={"tenant": "globex"}, usage={"input_uncached": 1000, "output": 150}, end_ns=NOON + 5 * SECOND))
    schema = json.loads((contracts / "entry.schema.json").read_text())
    net = all_of(rig.export.net(None))
    for row in net:
        jsonschema.validate(row, schema)
    assert [(row["kind"], row["tenant"], row["cost_usd"]) for row in net] == [("charge", "acme", "0.0035"), ("charge", "globex", "0.004")]
    assert net[1]["cost_lines"] == [
        {"unit": "input_uncached", "quantity": 1000, "rate_usd": "0.0000025", "amount_usd": "0.0025"},
        {"unit": "output", "quantity": 150, "rate_usd": "0.00001", "amount_usd": "0.0015"},
    ]
    assert len(all_of(rig.export.entries(None))) == len(rig.entries())


def test_exports_keep_to_the_tenants(rig: Rig) -> None:
    moved(rig)
    assert [row["tenant"] for row in all_of(rig.export.net(["acme"]))] == ["acme"]
    assert [row["kind"] for row in all_of(rig.export.entries(["acme"]))] == ["reattribution"]
    assert all_of(rig.export.net([])) == all_of(rig.export.entries(())) == all_of(rig.export.usage((), (None, None), {})) == []


def test_exports_show_references_unless_asked(rig: Rig) -> None:
    rig.settle(call(1, attribution={"user": "ada", "session": "s-1"}))
    [shown] = all_of(rig.export.net(None, clear=True))
    [hidden] = all_of(rig.export.net(None))
    assert (shown["user"], shown["session"]) == ("ada", "s-1")
    assert hidden["user"] not in ("ada", None)


def test_spend_fits_the_contract(rig: Rig, contracts: Path) -> None:
    rig.settle(call(1), call(2, trace=2, request_model="mystery", price_models=("mystery",), usage={"input_uncached": 900, "output": 200}))
    rig.send(call(3, trace=3, parent=9))
    answer = rig.reader.spend(None, ["provider", "model"]).to_contract()
    schema = json.loads((contracts / "api.schema.json").read_text())
    jsonschema.validate(answer, {"$ref": "#/$defs/spend", "$defs": schema["$defs"]})
    assert answer == {
        "groups": [
            {"key": {"provider": "openai", "model": "gpt-4o"}, "cost_usd": "0.0035", "calls": 1, "tokens": 1100, "unpriced_calls": 0},
            {"key": {"provider": "openai", "model": "mystery"}, "cost_usd": "0", "calls": 1, "tokens": 1100, "unpriced_calls": 1},
        ],
        "total_usd": "0.0035",
        "pending_usd": "0.0035",
        "unpriced_tokens_share": 0.5,
    }


def test_spend_of_nothing_is_one_empty_group(rig: Rig) -> None:
    assert rig.reader.spend(None).to_contract()["groups"] == [{"key": {}, "cost_usd": "0", "calls": 0, "tokens": 0, "unpriced_calls": 0}]
    assert rig.reader.spend(None, ["model"]).to_contract()["groups"] == []


@pytest.mark.parametrize("key", ["agent", "tool"], ids=["roll-ups", "entries"])
def test_times_select_by_start_from_inclusive_to_exclusive(rig: Rig, key: str) -> None:
    """Three days of calls, at starts that whole hours and days do not hit; every cut is counted by hand."""
    starts = [0, 1, NS_PER_HOUR, NS_PER_HOUR + 7, NS_PER_DAY - 1, NS_PER_DAY, 2 * NS_PER_DAY + 5]
    midnight = NOON + NS_PER_DAY // 2
    rig.settle(*(call(10 + n, trace=10 + n, start_ns=midnight + start, end_ns=midnight + start + 1) for n, start in enumerate(starts)))
    edges = [-1, 0, 1, 2, NS_PER_HOUR, NS_PER_HOUR + 1, NS_PER_DAY - 1, NS_PER_DAY, NS_PER_DAY + 1, 2 * NS_PER_DAY, 3 * NS_PER_DAY]
    for first in edges:
        for last in (edge for edge in edges if edge >= first):
            report = rig.reader.spend(None, [key], midnight + first, midnight + last)
            assert report.total_pico == CALL_PICO * sum(first <= start < last for start in starts)
    assert rig.reader.spend(None, [key], midnight + 1).total_pico == 6 * CALL_PICO
    assert rig.reader.spend(None, [key], None, midnight + 1).total_pico == CALL_PICO


def test_spend_follows_a_reattribution_to_its_tenant(rig: Rig) -> None:
    moved(rig)
    for keys in (["tenant"], ["tenant", "step"]):
        groups = rig.reader.spend(None, keys).groups
        assert {group.key["tenant"]: group.cost_pico for group in groups} == {"acme": CALL_PICO, "globex": CALL_PICO}
        for tenant, expected in (("acme", CALL_PICO), ("default", 0), ("nobody", 0)):
            assert rig.reader.spend([tenant], keys).total_pico == expected
            assert rig.reader.spend(None, keys, filters={"tenant": (tenant,)}).total_pico == expected
    assert rig.reader.spend(["*"]).total_pico == 2 * CALL_PICO
    assert rig.reader.spend([]).total_pico == 0


def test_spend_refuses_what_it_cannot_answer(rig: Rig) -> None:
    for question in ({"group_by": ["trace; DROP TABLE entries"]}, {"filters": {"day": ("x",)}}, {"from_ns": 2, "to_ns": 1}):
        with pytest.raises(BadInput):
            rig.reader.spend(None, **question)  # type: ignore[arg-type]


def test_pages_of_usage_join_without_gap_or_repetition(rig: Rig) -> None:
    rig.settle(*(call(10 + n, trace=10 + n, at_s=n % 4, attribution={"tenant": f"t{n % 3}"}) for n in range(11)))
    seen: list[str] = []
    cursor = None
    while True:
        page = rig.reader.usage(None, cursor=cursor, limit=3)
        seen += [entry.entry_id for entry in page.entries]
        rig.settle(call(100 + len(seen), trace=100 + len(seen), at_s=60))
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 11
    newest = [entry.started_ns for entry in rig.reader.usage(None, limit=1000).entries]
    assert newest == sorted(newest, reverse=True)
    assert {entry.tenant for entry in rig.reader.usage(["t1"]).entries} == {"t1"}
    [entry] = rig.reader.usage(None, filters={"trace_id": trace_id(12)}).entries
    assert entry.span_id == span_id(12)
    for bad in ("x", "e30=", "WzFd"):
        with pytest.raises(BadInput):
            rig.reader.usage(None, cursor=bad)


def test_a_trace_is_shown_to_the_tenant_that_has_it_now(rig: Rig) -> None:
    moved(rig)
    assert [entry.kind for entry in rig.reader.entries_of_trace(["acme"], trace_id(1))] == ["charge", "reattribution"]
    assert rig.reader.entries_of_trace(["default"], trace_id(1)) == []
    assert len(rig.reader.entries_of_trace(None, trace_id(1))) == 2
    assert rig.reader.entries_of_trace(None, trace_id(77)) == []


def test_a_reattribution_moves_counters_only_where_its_label_is_on(rig: Rig) -> None:
    moved(rig)
    [row] = rig.reader.counters()
    assert (row.cost_pico, row.reversed_pico, row.calls, row.reversed_calls) == (2 * CALL_PICO, 0, 2, 0)
    by_tenant = {row.dimensions["tenant"]: row for row in rig.reader.counters(("provider", "tenant"))}
    assert {name: (row.cost_pico, row.reversed_pico) for name, row in by_tenant.items()} == {
        "default": (CALL_PICO, CALL_PICO),
        "acme": (CALL_PICO, 0),
        "globex": (CALL_PICO, 0),
    }
    assert by_tenant["acme"].tokens == {"input_uncached": 1000, "output": 100}
    [cost_center] = rig.reader.counters(("cost_center",))
    assert cost_center.reversed_pico == 0


def test_unpriced_calls_are_counted_by_reason_and_taken_back(rig: Rig) -> None:
    rig.settle(call(1, usage={}))
    rig.settle(call(1, end_ns=NOON + 9 * SECOND))
    rows = {row.dimensions["unpriced_reason"]: row for row in rig.reader.counters(("provider",))}
    assert (rows["no_usage_stream"].unpriced_calls, rows["no_usage_stream"].reversed_unpriced_calls) == (1, 1)
    assert (rows[""].calls, rows[""].cost_pico) == (1, CALL_PICO)
    assert rows[""].exemplar is not None
    assert rows[""].exemplar[:2] == (trace_id(1), CALL_PICO)


def test_conflicts_are_counted(rig: Rig) -> None:
    rig.settle(call(1))
    assert rig.reader.conflicts() == 0
    rig.settle(call(1, end_ns=NOON + 9 * SECOND))
    assert rig.reader.conflicts() == 1


def test_a_name_that_stands_in_two_realms_is_one_group(rig: Rig) -> None:
    """Ann's calls in two realms are 0.007 USD, as a filter by her name says; with the realm they stand apart."""
    ann = {"user": "ann"}
    rig.settle(
        call(1, trace=1, attribution=ann), call(2, trace=2, realm="lab", attribution=ann), call(3, trace=3, attribution={"user": "bob"})
    )
    groups = rig.reader.spend(None, ["user"]).groups
    assert [(one.key, one.cost_pico, one.calls) for one in groups] == [({"user": "ann"}, 2 * CALL_PICO, 2), ({"user": "bob"}, CALL_PICO, 1)]
    assert rig.spent(user="ann") == 2 * CALL_PICO
    apart = rig.reader.spend(None, ["user", "realm"]).groups
    assert sorted((one.key["realm"] or "", one.calls) for one in apart if one.key["user"] == "ann") == [("default", 1), ("lab", 1)]
