"""Settling: which entries follow from what was journalled, with money worked out by hand.

gpt-4o: 2.50 USD a million tokens in, 1.25 USD for cached ones, 10 USD a million out (see `ledger_rig.call`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ledger_rig import PRICES, SECOND, Rig, call, plain, span_id, trace_id

from otel_finops.base.errors import Busy
from otel_finops.genai.sighting import AGENT, OTHER, RANK_FRAMEWORK
from otel_finops.ledger import settle
from otel_finops.ledger.append import append
from otel_finops.ledger.rows import to_contract
from otel_finops.ledger.shards import lease_name, shard_of
from otel_finops.pricing.book import PriceBook
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.pricing.quote import PriceableCall, Quote
from otel_finops.pricing.snapshot import Snapshot
from otel_finops.store.engine import Store

USD = 10**12


@pytest.fixture
def rig(store: Store) -> Rig:
    return Rig(store)


def kinds(entries: list[Any]) -> list[str]:
    return [entry.kind for entry in entries]


def test_a_call_is_charged_once(rig: Rig) -> None:
    [entry] = rig.settle(call(1))
    assert (entry.kind, entry.role, entry.revision) == ("charge", "call", 0)
    assert entry.cost_pico == 3_500_000_000  # 0.0025 + 0.0010 USD
    assert [(line.unit, line.quantity, line.amount_pico) for line in entry.cost_lines] == [
        ("input_uncached", 1000, 2_500_000_000),
        ("output", 100, 1_000_000_000),
    ]


def test_settling_again_books_nothing(rig: Rig) -> None:
    rig.settle(call(1))
    assert rig.settle(call(1)) == []
    assert rig.settle(plain(2)) == []


def test_more_tokens_are_a_correction_with_the_difference(rig: Rig) -> None:
    rig.settle(call(1))
    [entry] = rig.settle(call(1, usage={"input_uncached": 1000, "output": 150}, end_ns=call(1).end_ns + 1))
    assert (entry.kind, entry.revision, entry.usage) == ("correction", 1, {"output": 50})
    assert entry.cost_pico == 500_000_000  # 50 x 10 USD a million
    assert [(line.unit, line.quantity) for line in entry.cost_lines] == [("output", 50)]
    assert rig.total() == rig.spent() == 4_000_000_000


def test_fewer_tokens_take_the_row_back_and_charge_anew(rig: Rig) -> None:
    first = rig.settle(call(1))[0]
    reversal, charge = rig.settle(call(1, usage={"input_uncached": 400, "cache_read": 600, "output": 100}, end_ns=call(1).end_ns + 1))
    assert (reversal.kind, reversal.reverses, reversal.cost_pico, reversal.usage) == (
        "reversal",
        first.entry_id,
        -first.cost_pico,
        first.usage,
    )
    assert charge.kind == "charge"
    assert charge.cost_pico == 2_750_000_000  # 400 x 2.5 + 600 x 1.25 + 100 x 10 = 1000 + 750 + 1000 millionths
    assert [reversal.revision, charge.revision] == [1, 2]
    assert rig.total() == rig.spent() == 2_750_000_000


def test_a_reversal_takes_corrections_back_too(rig: Rig) -> None:
    end_ns = call(1).end_ns
    rig.settle(call(1))
    rig.settle(call(1, usage={"input_uncached": 1000, "output": 150}, end_ns=end_ns + 1))
    reversal, charge = rig.settle(call(1, usage={"input_uncached": 10, "output": 1}, end_ns=end_ns + 2))
    assert (reversal.cost_pico, reversal.usage) == (-4_000_000_000, {"input_uncached": 1000, "output": 150})
    assert charge.cost_pico == rig.total() == rig.spent() == 35_000_000


def test_missing_usage_is_filled_by_a_correction(rig: Rig) -> None:
    [unpriced] = rig.settle(call(1, usage={}))
    assert (unpriced.cost_pico, unpriced.cost_method, unpriced.unpriced_reason) == (None, "unpriced", "no_usage_stream")
    assert rig.reader.spend(None).groups[0].unpriced_calls == 1
    [filled] = rig.settle(call(1, end_ns=call(1).end_ns + 1))
    assert (filled.kind, filled.cost_pico, filled.cost_method, filled.unpriced_reason) == ("correction", 3_500_000_000, "computed", None)
    group = rig.reader.spend(None).groups[0]
    assert (group.cost_pico, group.calls, group.tokens, group.unpriced_calls) == (3_500_000_000, 1, 1100, 0)


def test_a_second_sighting_moves_the_charge(rig: Rig) -> None:
    """A framework's span came first and was charged; then the client's own span below it shows the same call."""
    outer = call(1, scope="framework", rank=RANK_FRAMEWORK)
    rig.settle(outer)
    rig.settle(call(2, parent=1, response_id="chatcmpl-1"))
    assert rig.total() == rig.spent() == 3_500_000_000
    roles = sorted(entry.role for entry in rig.net().values())
    assert roles == ["call", "duplicate"]
    duplicate = next(entry for entry in rig.net().values() if entry.role == "duplicate")
    standing = next(entry for entry in rig.net().values() if entry.role == "call")
    assert (duplicate.cost_pico, duplicate.cost_method, duplicate.counted_in) == (None, None, (standing.trace_id, standing.span_id))


def test_an_agent_that_becomes_known_later_moves_no_money(rig: Rig) -> None:
    rig.settle(call(2, parent=1))
    agent = plain(1, kind=AGENT, genai=True, attribution={"agent": "planner", "tenant": "acme"})
    [entry] = rig.settle(agent)
    assert (entry.kind, entry.agent, entry.tenant) == ("reattribution", "planner", "acme")
    assert (entry.cost_pico, entry.cost_method, entry.cost_lines, entry.usage) == (None, None, (), {})
    assert rig.total() == rig.spent() == 3_500_000_000
    assert (rig.spent(tenant="acme"), rig.spent(tenant="default")) == (3_500_000_000, 0)


def test_an_agent_with_more_tokens_is_reattribution_and_correction(rig: Rig) -> None:
    rig.settle(call(1))
    booked = rig.settle(call(1, usage={"input_uncached": 1000, "output": 150}, end_ns=call(1).end_ns + 1, attribution={"agent": "planner"}))
    assert kinds(booked) == ["reattribution", "correction"]
    assert rig.net()[span_id(1)].agent == "planner"
    assert rig.spent(agent="planner") == rig.total() == 4_000_000_000


def test_a_span_that_is_no_call_any_more_is_taken_back(rig: Rig) -> None:
    rig.settle(call(1))
    skeleton = call(1)._replace(kind=OTHER, usage={}, input_readings=(), usage_source="missing", end_ns=call(1).end_ns + 1)
    assert kinds(rig.settle(skeleton)) == ["reversal"]
    assert (rig.net(), rig.total(), rig.spent()) == ({}, 0, 0)
    [again] = rig.settle(call(1, end_ns=call(1).end_ns + 2))
    assert (again.kind, again.revision) == ("charge", 2)


class DoublePrices:
    """A later price book: everything costs twice as much."""

    knows_contracts = False

    def __init__(self) -> None:
        self.asked = 0

    def priceable(self, sighting: Any) -> PriceableCall:
        return PRICES.priceable(sighting)

    def quote(self, priceable: PriceableCall) -> Quote:
        self.asked += 1
        quote = PRICES.quote(priceable)
        lines = tuple(line._replace(amount_pico=2 * line.amount_pico) for line in quote.lines)
        return quote._replace(cost_pico=2 * (quote.cost_pico or 0), lines=lines, price_version="later")

    def offers(self, key: str, version: str, at_ns: int) -> bool:
        return version == "later"


def test_a_later_price_book_does_not_touch_history(rig: Rig) -> None:
    """T26: new attribution and a new sighting settle the call again, at the price that was booked."""
    first = rig.settle(call(2, parent=1))[0]
    rig.use(DoublePrices())
    booked = rig.settle(call(1, scope="framework", rank=RANK_FRAMEWORK), call(3, trace=2, at_s=60))
    assert rig.net()[span_id(3)].cost_pico == 7_000_000_000
    assert [e.cost_pico for e in rig.net().values() if e.trace_id == trace_id(1) and e.role == "call"] == [first.cost_pico]
    assert {e.price_version for e in booked if e.trace_id == trace_id(1) and e.role == "call"} <= {first.price_version, None}


def test_another_name_is_priced_by_it_whatever_list_its_row_came_with(store: Store) -> None:
    """A second list changed gpt-4o-mini alone. A later version of the span knows that this was the model: 1,000 tokens at 0.30 USD a
    million and 100 at 1.20 are 0.00042 USD, whether the span said so at once or not."""
    cheap = {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 3e-7, "output_cost_per_token": 1.2e-6}
    first = packaged_snapshot()
    second = Snapshot(first.source, "2", "b" * 16, first.date, 0, {**first.rows, "gpt-4o-mini": cheap})
    rig = Rig(store, PriceEngine(PriceBook.of([first, second])))
    [unsure] = rig.settle(call(1, request_model="router"))
    assert (unsure.price_key, unsure.price_version, unsure.cost_pico) == ("gpt-4o", first.version, 3_500_000_000)
    rig.settle(call(1, request_model="router", price_models=("gpt-4o-mini",), end_ns=call(1).end_ns + 1))
    row = rig.net()[span_id(1)]
    assert (row.price_key, row.price_version, row.cost_pico) == ("gpt-4o-mini", "b" * 16, 420_000_000)


def test_an_unpriced_call_names_the_price_row_that_its_late_twin_knows(rig: Rig) -> None:
    alias = call(2, parent=1, usage={}, request_model="alias", price_models=("alias",))
    rig.settle(alias)
    assert rig.net()[span_id(2)].price_key is None
    rig.settle(call(1, usage={}, scope="framework"))
    assert rig.net()[span_id(2)].price_key == "gpt-4o"


def test_a_provider_error_costs_nothing_and_is_not_unpriced(rig: Rig) -> None:
    [entry] = rig.settle(call(1, usage={}, error_type="429", missing_reason=None))
    assert (entry.cost_pico, entry.cost_method, entry.usage_source, entry.unpriced_reason) == (0, "computed", "missing", None)


def test_users_and_sessions_are_references(rig: Rig) -> None:
    [entry] = rig.settle(call(1, attribution={"user": "ada@example.org", "session": "s-1"}))
    assert "ada" not in json.dumps(to_contract(entry))
    assert None not in (entry.user, entry.session)
    [dump] = rig.canonical()
    assert (dump["user"], dump["session"]) == ("ada@example.org", "s-1")
    [group] = rig.reader.spend(None, ["user"], filters={"user": ("ada@example.org",)}).groups
    assert (group.key, group.cost_pico) == ({"user": "ada@example.org"}, 3_500_000_000)


def test_settle_due_leaves_what_is_not_due(rig: Rig) -> None:
    shard = shard_of("default")
    rig.send(call(2, parent=1))
    assert rig.settler.settle_due(shard) == 0
    rig.clock.advance(5)
    assert rig.settler.settle_due(shard) == 1
    assert rig.settler.settle_due(shard) == 0


def test_one_lease_serves_rounds_until_nothing_is_due(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "TRACES_PER_ROUND_MAX", 1)
    rig.send(call(1), call(2, trace=2), call(3, trace=3))
    assert rig.settler.settle_due(shard_of("default")) == 3
    assert [entry.block_seq for entry in rig.entries()] == [0, 1, 2]
    lease = rig.leases.acquire(lease_name(shard_of("default")))
    assert lease is not None
    assert lease.token == 2


def test_a_lease_is_given_back_between_rounds_after_a_second(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def after_a_while() -> PriceEngine:
        rig.clock.advance(0.6)
        return PRICES

    monkeypatch.setattr(settle, "TRACES_PER_ROUND_MAX", 1)
    rig.use(after_a_while)
    rig.send(call(1), call(2, trace=2), call(3, trace=3))
    assert rig.settler.settle_due(shard_of("default")) == 2
    assert rig.leases.holder_of(lease_name(shard_of("default"))) is None
    assert rig.settler.settle_due(shard_of("default")) == 1


def test_settle_all_waits_for_a_lease_and_says_who_holds_it(rig: Rig) -> None:
    rig.send(call(1))
    other = Rig(rig.store, holder="serve on host-7").leases.acquire(lease_name(shard_of("default")), ttl_s=3600)
    assert other is not None
    with pytest.raises(Busy, match="host-7") as busy:
        rig.settler.settle_all(wait_s=30)
    assert busy.value.holder == "serve on host-7"
    assert rig.clock.monotonic() == pytest.approx(30, abs=0.2)
    other.release()
    assert rig.settler.settle_all(wait_s=30) == 1


def test_a_lost_lease_appends_nothing(rig: Rig) -> None:
    lease = rig.leases.acquire(lease_name(shard_of("default")))
    assert lease is not None
    lease.release()
    [entry] = rig.settle(call(1))
    with pytest.raises(Busy), rig.store.write() as transaction:
        append(transaction, lease, [entry], [], 0)
    assert len(rig.entries()) == 1


def test_a_clock_that_goes_back_keeps_blocks_in_order(rig: Rig) -> None:
    rig.settle(call(1))
    rig.clock.advance(-3600)
    rig.settle(call(2, trace=2))
    first, second = sorted(rig.entries(), key=lambda entry: entry.block_seq)
    assert second.recorded_ns == first.recorded_ns + 1


def test_every_entry_fits_the_contract(rig: Rig, contracts: Path) -> None:
    schema = json.loads((contracts / "entry.schema.json").read_text())
    end_ns = call(1).end_ns
    rig.settle(call(1), call(2, parent=1, usage={}), call(3, parent=1, scope="framework"))
    rig.settle(
        call(2, parent=1, end_ns=end_ns + 1),
        plain(9, kind=AGENT, genai=True),
        call(1, parent=9, usage={"input_uncached": 7}, end_ns=end_ns + 1),
    )
    rig.settle(
        call(1, parent=9, usage={"input_uncached": 7}, end_ns=end_ns + 1, attribution={"agent": "a"}),
        call(3, trace=3, error_type="timeout", usage={}),
    )
    rig.settle(
        call(5, trace=3, attribution={"step": "x"}, at_s=20), call(1, parent=9, end_ns=end_ns + 2 * SECOND, attribution={"agent": "b"})
    )
    seen = rig.entries()
    assert {entry.kind for entry in seen} >= {"charge", "reversal", "correction"}
    for entry in seen:
        jsonschema.validate(to_contract(entry), schema)
