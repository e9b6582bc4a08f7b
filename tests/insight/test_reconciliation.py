"""Bills with known holes against a ledger: each hole is found and named, with its dollars."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from ledger_rig import SECOND, Rig, call

from otel_finops.base.errors import BadInput, NotFound
from otel_finops.base.times import parse_ns
from otel_finops.insight import bill_store
from otel_finops.insight.bill_store import OF_ALL, Bills, Label, StoredBill
from otel_finops.insight.bills.reading import Given, read_bill
from otel_finops.insight.reconciliation import Cell, Reconciled, capture_rate, reconcile
from otel_finops.insight.twins import find_twins
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.fx import MissingRate
from otel_finops.store.engine import Store
from otel_finops.testing import NOON

PRICES = PriceEngine.load()
DAY_S = 86_400
DAY = DAY_S * SECOND
TODAY = NOON - NOON % DAY
OPENAI = Label(OF_ALL, "openai", "openai")
USD = 10**12
MILLI = USD // 1_000
CENT_A_MILLION = 10**4


class Made(NamedTuple):
    """A call as it was made: so many days ago, of a model, and what the provider charges a million tokens in and out, in cents."""

    back: int
    model: str
    tokens_in: int
    tokens_out: int
    cents_in: int
    cents_out: int

    @property
    def amounts(self) -> tuple[int, int]:
        """What tokens in and out cost, pico-USD."""
        return self.tokens_in * self.cents_in * CENT_A_MILLION, self.tokens_out * self.cents_out * CENT_A_MILLION


def gpt_4o(back: int, tokens_in: int = 1_000, tokens_out: int = 100) -> Made:
    """2.50 USD a million in and 10 USD out: 0.0035 USD unless said otherwise."""
    return Made(back, "gpt-4o-2024-08-06", tokens_in, tokens_out, 250, 1_000)


def pages(calls: Sequence[Made], result: Any) -> bytes:
    """Pages of the organization API, two buckets a page, of the last six days."""
    buckets = []
    for back in range(6, 0, -1):
        start = (TODAY - back * DAY) // SECOND
        of_day = [one for one in calls if one.back == back]
        results = [
            made for model in sorted({one.model for one in of_day}) for made in result(model, [o for o in of_day if o.model == model])
        ]
        buckets.append({"object": "bucket", "start_time": start, "end_time": start + DAY_S, "results": results})
    said = [{"object": "page", "data": buckets[at : at + 2], "has_more": at < 4, "next_page": None} for at in (0, 2, 4)]
    return json.dumps(said).encode()


def costs(model: str, calls: Sequence[Made]) -> Iterator[dict[str, Any]]:
    """Costs by line item, as exact decimals."""
    for place, way in enumerate(("input", "output")):
        pico = sum(one.amounts[place] for one in calls)
        amount = {"value": f"{pico // USD}.{pico % USD:012d}", "currency": "usd"}
        yield {"object": "organization.costs.result", "amount": amount, "line_item": f"{model}, {way}", "project_id": None}


def usage(model: str, calls: Sequence[Made]) -> Iterator[dict[str, Any]]:
    """Usage by model."""
    yield {
        "object": "organization.usage.completions.result", "model": model, "num_model_requests": len(calls), "input_cached_tokens": 0,
        "input_tokens": sum(one.tokens_in for one in calls), "output_tokens": sum(one.tokens_out for one in calls),
    }  # fmt: skip


class Books:
    """A ledger, and a provider that bills what was really made."""

    def __init__(self, store: Store) -> None:
        self.rig = Rig(store)
        self.bills = Bills(store, self.rig.clock)
        self.made: list[Made] = []
        self._number = 0

    def make(self, one: Made, *, seen: int = 1, **known: Any) -> None:
        """The provider bills a call; the ledger sees it so many times, each from another service with another trace."""
        self.made.append(one)
        for copy in range(seen):
            self.book(one, service=f"shop {copy}", **known)

    def book(self, one: Made, *, service: str = "shop", **known: Any) -> None:
        """The ledger sees a call that is on no bill."""
        self._number += 1
        facts = {
            "usage": {"input_uncached": one.tokens_in, "output": one.tokens_out}, "response_model": one.model, "price_models": (one.model,),
            "at_s": -one.back * DAY_S + self._number * 20, "instance": service, "attribution": {"service": service},
        }  # fmt: skip
        self.rig.send(call(self._number, trace=self._number, **{**facts, **known}))

    def bill(self, data: bytes, label: Label = OPENAI, **given: Any) -> tuple[StoredBill, bool]:
        return self.bills.add(read_bill(Given(data, "bill.json", **given)), label, "bill.json", who="ann")

    def settled(self) -> None:
        self.rig.clock.advance(60)
        self.rig.settler.settle_all()

    def reconciled(self, name: str = "openai", tenant: str = OF_ALL, **window: int) -> Reconciled:
        with self.rig.store.read() as transaction:
            return reconcile(transaction, PRICES, tenant, name, **window)


@pytest.fixture
def books(store: Store) -> Books:
    return Books(store)


def causes(cell: Cell | Reconciled) -> dict[str, int]:
    verdict = cell.total if isinstance(cell, Reconciled) else cell.verdict
    assert sum(verdict.causes.values()) == verdict.billed_pico - verdict.booked_pico
    return {str(cause): pico for cause, pico in verdict.causes.items()}


def by_place(found: Reconciled) -> dict[tuple[int, str], dict[str, int]]:
    """Causes by days back and model, of cells that have any."""
    return {((TODAY - cell.from_ns) // DAY, cell.model): causes(cell) for cell in found.cells if cell.verdict.causes}


def test_every_hole_of_a_bill_is_found_and_named(books: Books) -> None:
    """Four calls of gpt-4o a day at 0.0035 USD each, and one hole a day; the last but one day has two of them, the last one none.

    Six days ago a call came without counts, five days ago a stream was cut off, four days ago one of five calls was sampled away, three
    days ago the provider bills half as much again, two days ago a call was booked twice and another model was never shown; there is a model
    without a price on the first day: 2,000 tokens in at 1 USD a million are 0.002 USD.
    """
    for back in range(6, 0, -1):
        for _ in range(4):
            one = gpt_4o(back)
            books.make(one._replace(cents_in=375, cents_out=1_500) if back == 3 else one)
    books.make(gpt_4o(6), usage={}, missing_reason="no_usage")
    books.make(gpt_4o(5), usage={}, missing_reason="no_usage_stream", streaming=True)
    books.make(gpt_4o(4), seen=0)
    books.book(gpt_4o(2), service="twin")
    books.make(Made(2, "o3-2025-04-16", 500, 100, 200, 800), seen=0)
    books.make(Made(6, "acme-own-1", 2_000, 100, 100, 0))
    books.settled()
    books.bill(pages(books.made, costs))
    books.bill(pages(books.made, usage))
    found = books.reconciled()
    call_pico = 35 * MILLI // 10
    assert by_place(found) == {
        (6, "acme-own-1"): {"unpriced": 2 * MILLI},
        (6, "gpt-4o-2024-08-06"): {"missing_usage": call_pico},
        (5, "gpt-4o-2024-08-06"): {"cut_streams": call_pico},
        (4, "gpt-4o-2024-08-06"): {"sampling": call_pico},
        (3, "gpt-4o-2024-08-06"): {"price_difference": 4 * call_pico // 2},
        (2, "gpt-4o-2024-08-06"): {"double_count": -call_pico},
        (2, "o3-2025-04-16"): {"not_seen": 18 * MILLI // 10},
    }
    assert found.total.booked_pico == 25 * call_pico == books.rig.total()
    assert found.total.billed_pico == sum(sum(one.amounts) for one in books.made)
    assert sum(causes(found).values()) == found.total.gap_pico
    assert found.times == [(TODAY - 6 * DAY, TODAY)]
    [last] = [cell for cell in found.cells if cell.from_ns == TODAY - DAY]
    assert capture_rate(last.verdict) == 1.0


def test_a_model_that_is_on_no_bill_and_calls_that_cost_nothing(books: Books) -> None:
    """The ledger has a call of a model that the bill does not name; an answered error is no call that anybody bills."""
    books.make(gpt_4o(1))
    books.book(Made(1, "gpt-4.1-2025-04-14", 1_000, 100, 0, 0))
    books.make(gpt_4o(1))
    books.made.pop()
    books.rig.send(
        call(99, trace=99, usage={}, missing_reason=None, error_type="rate_limit", response_model="gpt-4o-2024-08-06", at_s=-DAY_S)
    )  # fmt: skip
    books.settled()
    books.bill(pages(books.made, costs))
    books.bill(pages(books.made, usage))
    found = books.reconciled()
    assert by_place(found) == {
        (1, "gpt-4.1-2025-04-14"): {"not_on_bill": -28 * MILLI // 10},
        (1, "gpt-4o-2024-08-06"): {"double_count": -35 * MILLI // 10},
    }
    [cell] = [cell for cell in found.cells if cell.model.startswith("gpt-4o")]
    assert (cell.ledger.billable, cell.ledger.failed, cell.bill and cell.bill.requests) == (2, 1, 1)
    assert found.total.gap_pico < 0


def test_a_bill_without_models_is_held_against_all_of_them(books: Books) -> None:
    """0.0035 and 0.0028 USD were made, 0.01 USD is billed; nothing says of what."""
    books.make(gpt_4o(1))
    books.make(Made(1, "gpt-4.1-2025-04-14", 1_000, 100, 0, 0))
    books.settled()
    day = (TODAY - DAY) // SECOND
    result = {"object": "organization.costs.result", "amount": {"value": 0.01, "currency": "usd"}, "line_item": None}
    bucket = {"start_time": day, "end_time": day + DAY_S, "results": [result]}
    books.bill(json.dumps({"object": "page", "data": [bucket], "has_more": False}).encode())
    found = books.reconciled()
    assert by_place(found) == {(1, ""): {"unexplained": 37 * MILLI // 10}}
    assert capture_rate(found.total) == 0.63


def test_searches_are_compared_where_the_bill_has_them(books: Books) -> None:
    """A call with two searches at 0.01 USD; the bill has them in a line of their own, which names no model, and three of them."""
    searches = {"input_uncached": 1_000, "output": 100, "web_searches": 2}
    books.make(Made(1, "gpt-5-2025-08-07", 1_000, 100, 125, 1_000), usage=searches)
    books.settled()
    said = json.loads(pages(books.made, costs))
    amount = {"value": 0.03, "currency": "usd"}
    said[2]["data"][1]["results"].append(
        {"object": "organization.costs.result", "amount": amount, "line_item": "web search tool calls", "quantity": 3}
    )
    books.bill(json.dumps(said).encode())
    books.bill(pages(books.made, usage))
    found = books.reconciled()
    assert by_place(found) == {(1, ""): {"sampling": 10 * MILLI}}
    assert found.total.booked_pico == books.rig.total()


def test_the_same_bill_twice_is_one_and_a_newer_version_replaces_its_days(books: Books) -> None:
    """First the last two days at one call each, then yesterday alone with two: the day before keeps what it had."""
    older, newer = gpt_4o(2), gpt_4o(1)
    books.make(older)
    books.make(newer)
    books.settled()
    first, is_new = books.bill(pages(books.made, costs))
    assert (is_new, first.amount) == (True, 7 * MILLI)
    assert books.bill(pages(books.made, costs)) == (first, False)
    pico = 7 * MILLI
    table = f"date,model,amount\n{day(1)},gpt-4o-2024-08-06,0.007\n".encode()
    second, is_new = books.bill(table)
    assert (is_new, second.no, second.amount) == (True, first.no + 1, pico)
    assert books.reconciled().total.billed_pico == 35 * MILLI // 10 + pico
    assert books.bill(table) == (second, False)
    assert [one.no for one in books.bills.all(None)] == [1, 2]
    assert books.bills.remove(second.no, None, who="ann") == second
    assert books.reconciled().total.billed_pico == 7 * MILLI
    with pytest.raises(NotFound):
        books.bills.remove(second.no, None, who="ann")
    books.bills.remove(first.no, None, who="ann")
    with pytest.raises(NotFound):
        books.reconciled()


def test_of_replaced_imports_the_last_ones_are_kept(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five versions of one day: the last stands, and the two before it can be brought back."""
    monkeypatch.setattr(bill_store, "BILLS_REPLACED_KEPT", 2)
    for cents in range(5):
        books.bill(f"date,model,amount\n{day(1)},gpt-4o,0.0{cents}\n".encode())
    assert [one.no for one in books.bills.all(None)] == [3, 4, 5]
    books.bills.remove(5, None, who="ann")
    assert books.reconciled().total.billed_pico == 3 * USD // 100


def test_a_month_that_is_not_over_or_cut_is_held_against_nothing(books: Books) -> None:
    """The invoice of the running month is no bill of its first twenty days; of a month that is over half a window is none either."""
    books.make(gpt_4o(1))
    books.make(gpt_4o(30))
    books.settled()
    books.bill(b"month,model,cost\n2026-10,gpt-4o,0.0035\n2026-11,gpt-4o,1\n")
    found = books.reconciled()
    assert (found.open_lines, found.times, found.total.gap_pico) == (1, [(parse_ns("2026-10-01"), parse_ns("2026-11-01"))], 0)
    assert len(found.cells) == 1
    for window in ({"from_ns": parse_ns("2026-10-15")}, {"to_ns": parse_ns("2026-10-31T12:00:00Z")}):
        assert (books.reconciled(**window).times, books.reconciled(**window).cells) == ([], [])


def test_calls_that_two_services_tell_may_be_one(books: Books) -> None:
    """Two services tell of the same call a second apart; one of them of an equal call three seconds on, and of two equal ones at once."""
    one = gpt_4o(1)
    for at_s, service in ((0, "app"), (1, "gateway"), (4, "gateway"), (60, "app"), (60, "app")):
        books.book(one, service=service, at_s=at_s - DAY_S, attribution={"service": service})
    books.settled()
    with books.rig.store.read() as transaction:
        found = find_twins(transaction, None, TODAY - DAY, TODAY, {"model": ("gpt-4o-2024-08-06",)})
        assert find_twins(transaction, None, TODAY - DAY, TODAY, {"model": ("o3",)}) == (0, 0, 0, ())
        assert find_twins(transaction, ("acme",), TODAY - DAY, TODAY, {}).looked_at == 0
    assert (found.calls, found.cost_pico, found.looked_at) == (1, 35 * MILLI // 10, 5)
    [twin] = found.examples
    assert (twin.first.service, twin.second.service, twin.first.trace_id) == ("app", "gateway", f"{1:032x}")


def day(back: int) -> str:
    """A day as a date."""
    return {1: "2026-11-20", 2: "2026-11-19"}[back]


def test_a_month_is_not_cut_and_a_name_keeps_its_provider(books: Books) -> None:
    books.bill(b"month,model,cost\n2026-10,gpt-4o,12.50\n")
    with pytest.raises(BadInput, match=r"a part of 2026-10-01 to 2026-11-01, of which bill 1 tells as a whole"):
        books.bill(b"date,model,cost\n2026-10-05,gpt-4o,1\n")
    with pytest.raises(BadInput, match="the bill 'openai' is of openai"):
        books.bill(b"date,model,cost\n2026-11-05,gpt-4o,1\n", Label(OF_ALL, "openai", "azure"))
    replaced, _ = books.bill(b"month,model,cost\n2026-10,gpt-4o,13\n")
    assert (replaced.no, books.reconciled().total.billed_pico) == (2, 13 * USD)


def test_a_bill_of_a_tenant_and_of_a_service_is_for_their_calls(books: Books) -> None:
    for tenant, service in (("acme", "chat"), ("acme", "search"), ("globex", "chat")):
        books.book(gpt_4o(1), attribution={"tenant": tenant, "service": service})
    books.settled()
    table = f"date,model,amount,requests,prompt_tokens,completion_tokens\n{day(1)},gpt-4o-2024-08-06,0.007,2,2000,200\n".encode()
    books.bill(table, Label("acme", "openai", "openai"))
    assert causes(books.reconciled(tenant="acme")) == {}
    books.bill(table, Label(OF_ALL, "chats", "openai", {"service": "chat"}))
    assert causes(books.reconciled("chats")) == {}
    books.bill(table, Label(OF_ALL, "everything", "openai"))
    assert causes(books.reconciled("everything")) == {"double_count": -35 * MILLI // 10}
    assert [one.label.name for one in books.bills.all(("acme",))] == ["openai"]


def test_names_of_models_and_other_currencies(books: Books) -> None:
    """0.0028 EUR at 1.25 USD for a euro are 0.0035 USD."""
    books.make(gpt_4o(1))
    books.settled()
    table = f"date;model;amount;currency\n{day(1)};GPT Four O;0,0028;EUR\n".encode()
    books.bill(table, Label(OF_ALL, "openai", "openai", {}, {"GPT Four O": "gpt-4o"}), decimal_comma=True)
    with pytest.raises(MissingRate, match="EUR"):
        books.reconciled()
    with books.rig.store.write() as transaction:
        transaction.execute("INSERT INTO fx_imports VALUES (1, 'a', 'b', 1, 'ann', ?, ?)", (day(1), day(1)))
        transaction.execute("INSERT INTO fx_rates VALUES ('USD', ?, 1, '1.25')", (day(1),))
    found = books.reconciled()
    assert (found.total.gap_pico, found.currencies, [cell.model for cell in found.cells]) == (0, ["EUR"], ["GPT Four O"])


def test_days_that_were_not_over_and_fees_are_told_apart(books: Books) -> None:
    """Of today nobody knows yet what it will come to. A fee is no call's."""
    books.make(gpt_4o(1))
    books.settled()
    table = f"date,model,amount,category\n{day(1)},gpt-4o-2024-08-06,0.0035,usage\n{day(1)},,20,fee\n2026-11-21,gpt-4o,1,usage\n".encode()
    books.bill(table)
    found = books.reconciled()
    assert (found.other_pico, found.open_lines, found.total.gap_pico) == (20 * USD, 1, 0)
    assert found.times == [(TODAY - DAY, TODAY)]
    assert books.reconciled(to_ns=TODAY - DAY).cells == []
