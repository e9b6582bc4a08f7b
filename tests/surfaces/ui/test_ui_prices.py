"""Prices in the console: models, what has no price, house rules, watched prices, flat fees."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient
from surfaces_world import PRICE_LIST, RATES, sighting
from ui_console import console_over, copied_ledger

from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.ledger.journal import JournalRow, record
from otel_finops.ledger.rollups import Rollups
from otel_finops.ledger.settle import Settler
from otel_finops.operations.local import Room, open_room
from otel_finops.settings import load
from otel_finops.store.lease import Leases
from otel_finops.surfaces.ui.pages.prices import rate_table
from otel_finops.testing import FakeClock

TRACE = "2cf7651916cd43dd8448eb211c80319c"
NAME, KEY = "claude-sonet-4-5", "claude-sonnet-4-5"
"""A name that is spelt wrongly, and the price key that is meant: 3 USD in and 15 USD out for a million tokens."""
READ = [
    "/prices", "/prices/gpt-4o", "/prices/azure%2Fgpt-4o", "/prices/calculator", "/prices/lists", "/prices/unpriced", "/prices/rules",
    "/prices/watches", "/subscriptions",
]  # fmt: skip


@pytest.fixture(scope="module")
def own(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """A ledger that these tests change: two calls of a model that nobody knows are in it, each of 1,000 tokens in and 100 out."""
    url = copied_ledger(database, tmp_path_factory.mktemp("prices"))
    with open_room(load(None, {"OTEL_FINOPS_DATABASE__URL": url}), clock=FakeClock()) as room:
        engine, clock = room.prices(), room.clock
        unknown = {"provider": "anthropic", "request_model": NAME, "response_model": NAME, "price_models": (NAME,)}
        sightings = [sighting(TRACE, number, None, **unknown) for number in (81, 82)]
        rows = [JournalRow(one, engine.quote(engine.priceable(one))) for one in sightings]
        with room.store.write() as transaction:
            record(transaction, rows, now_ns=clock.now_ns(), settle_after_ns=0, subjects=room.subjects)
        assert isinstance(clock, FakeClock)
        clock.advance(10)
        Settler(room.store, Leases(room.store, clock, "test"), engine, [Rollups()], clock, sleep=clock.advance).settle_all()
        yield room


@pytest.fixture(scope="module")
def mine(own: Room) -> TestClient:
    return console_over(own.context, lambda _: LOCAL)


@pytest.fixture(scope="module")
def viewer(own: Room) -> TestClient:
    return console_over(own.context, lambda _: Principal("ann", None, ROLES["viewer"]))


def words(page: str) -> str:
    """What a page says, without its markup."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


# --- models -----------------------------------------------------------------------------------------------------------


def test_models_are_listed_with_their_prices_per_million(console: TestClient) -> None:
    page = console.get("/prices?search=gpt-4o-mini&provider=openai").text
    row = next(part for part in page.split("<tr>") if ">gpt-4o-mini</a>" in part)
    assert words(row).startswith("gpt-4o-mini openai $0.15 $0.60 $0.075")
    assert "In use" not in page
    assert "No model of this name" in console.get("/prices?search=no-such-model").text


def test_a_model_says_what_it_costs_and_why(console: TestClient) -> None:
    page = words(console.get("/prices/gpt-4o").text)
    assert "standard $2.50 $10.00 $1.25" in page
    assert "batch $1.25 $5.00" in page
    assert "The lists have gpt-4o (exact)." in page
    assert "The price has not changed" in page


def test_keys_with_slashes_have_pages(console: TestClient) -> None:
    answer = console.get("/prices/azure%2Fgpt-4o")
    assert (answer.status_code, "azure/gpt-4o" in answer.text) == (200, True)


def test_what_nobody_knows_is_no_model_and_names_like_it_are_offered(console: TestClient) -> None:
    answer = console.get("/prices/gpt-4o-minny")
    assert answer.status_code == 404
    assert 'href="/prices/gpt-4o-mini"' in answer.text
    assert "/prices/unpriced/repair?model=gpt-4o-minny" in answer.text


def test_rates_are_a_row_for_each_tier_and_part() -> None:
    def price(unit: str, usd: str, tier: str | None = None, within: str | None = None) -> dict[str, str | None]:
        return {"unit": unit, "usd": usd, "tier": tier, "above": None, "within": within, "per": "million"}

    rates = {"tiered_pricing": [{"range": [0, 32000]}, {"range": [32000, 128000]}]}
    prices = [price("input", "1"), price("output", "4"), price("input", "0.5", "batch"), price("input", "2", within="tiered_pricing[1]")]
    table = rate_table(prices, "million", rates)
    assert table.units == ["input", "output"]
    assert table.rows == [("standard", ["1", "4"]), ("batch", ["0.5", None]), ("32000 to 128000 tokens", ["2", None])]


def test_the_calculator_shows_each_line_and_where_it_is_from(console: TestClient) -> None:
    """1,000 tokens at 2.50 USD a million and 100 at 10 USD."""
    page = words(console.get("/prices/calculator?model=gpt-4o&input_tokens_uncached=1000&output_tokens=100").text)
    assert "The call $0.0035" in page
    assert "input uncached input_cost_per_token 1,000 $0.0000025 $0.0025" in page
    assert "output output_cost_per_token 100 $0.00001 $0.001" in page


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("model=gpt-4o", "How many tokens, or what else, does the call have?"),
        ("model=gpt-4o&input_tokens_uncached=many", "no price"),
        ("model=nobodys&input_tokens_uncached=5", "no price"),
        ("model=gpt-4o&input_tokens_uncached=5&at=yesterday", "at"),
    ],
)
def test_the_calculator_says_what_is_missing(console: TestClient, query: str, said: str) -> None:
    answer = console.get(f"/prices/calculator?{query}")
    assert answer.status_code == 200
    assert said in words(answer.text.split("The price</h2>")[1])


def test_a_list_is_tried_before_it_is_taken(console: TestClient) -> None:
    files = {"content": ("prices.json", PRICE_LIST.read_bytes(), "application/json")}
    page = console.post("/prices/lists", data={"do": "try"}, files=files)
    assert page.status_code == 200
    assert "nothing is stored yet" in page.text
    junk = console.post("/prices/lists", data={"do": "try"}, files={"content": ("x", b"\x1f\x8bnothing", "application/gzip")})
    assert junk.status_code == 400
    assert 'class="fault"' in junk.text


# --- what has no price ------------------------------------------------------------------------------------------------


def test_what_has_no_price_is_mended_by_two_clicks(mine: TestClient) -> None:
    """Two calls of 1,000 tokens at 3 USD and 100 at 15 USD a million: 2 x (0.003 + 0.0015) = 0.009 USD."""
    listed = mine.get("/prices/unpriced").text
    assert "the price book has no such model" in listed.lower()
    first = html.unescape(next(link for link in re.findall(r'href="([^"]+)"', listed) if f"key={KEY}" in link))
    preview = mine.get(first)
    assert "Past calls that get a price 2 What they would cost $0.009" in words(preview.text)
    assert NAME in mine.get("/prices/unpriced").text
    form = preview.text.split('<form class="form" method="post"')[1].split("</form>")[0]
    sent = {name: html.unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', form)}
    booked = mine.post("/prices/unpriced/repair/alias", data={**sent, "do": "book"})
    assert (booked.status_code, booked.headers["location"]) == (303, "/prices/unpriced")
    after = mine.get("/prices/unpriced").text
    assert "2 past calls were booked at 0.009 USD." in after
    assert NAME not in after.split("<main")[1].split('role="status"')[1].split("</p>", 1)[1]
    rule = next(part for part in mine.get("/prices/rules").text.split("<tr>") if NAME in part)
    assert f"{NAME} stands for {KEY}" in words(rule)


def test_a_repair_that_cannot_be_is_answered_in_its_form(mine: TestClient) -> None:
    answer = mine.post("/prices/unpriced/repair/override", data={"model": "x-1", "prices": "input=cheap", "why": "", "do": "try"})
    assert answer.status_code == 400
    assert "no number; write a plain decimal" in answer.text
    assert 'value="input=cheap"' in answer.text
    wrong = mine.post("/prices/unpriced/repair/other", data={})
    assert wrong.status_code == 404


def test_names_are_looked_up_for_a_repair(mine: TestClient) -> None:
    page = mine.get("/prices/unpriced/repair?model=x-1&search=gpt-4o-mini").text
    assert "/prices/unpriced/repair?model=x-1&amp;key=gpt-4o-mini" in page


# --- house rules ------------------------------------------------------------------------------------------------------


def test_a_rule_is_previewed_made_ended_and_withdrawn(mine: TestClient) -> None:
    said = {"model": "gpt-4.1", "prices": "input=1,output=4", "why": "agreed"}
    preview = mine.post("/prices/rules/new/override", data={**said, "do": "try"})
    assert "would cost input $1.00 , output $4.00" in words(preview.text)
    assert "gpt-4.1" not in mine.get("/prices/rules").text
    assert mine.post("/prices/rules/new/override", data={**said, "do": "book"}).status_code == 303
    number = re.findall(r"/prices/rules/(\d+)/end", mine.get("/prices/rules?model=gpt-4.1").text)[0]
    assert "$1.00" in words(mine.get("/prices/gpt-4.1").text).split("Rates")[1]
    nameless = mine.post(f"/prices/rules/{number}/end", data={"why": ""})
    assert nameless.status_code == 400
    assert f"Rule {number} was not ended" in nameless.text
    assert mine.post(f"/prices/rules/{number}/end", data={"why": "a mistake", "withdraw": "true"}).status_code == 303
    assert "withdrawn , local: a mistake" in words(mine.get("/prices/rules?model=gpt-4.1").text).replace("withdrawn,", "withdrawn ,")
    assert mine.post("/prices/rules/x/end", data={"why": "a"}).status_code == 404


def test_prices_that_were_meant_for_another_unit_are_refused(mine: TestClient) -> None:
    answer = mine.post("/prices/rules/new/override", data={"model": "gpt-4o", "prices": "input=2500000", "why": "typed", "do": "book"})
    assert answer.status_code == 400
    assert "more than 1000 times the list" in html.unescape(answer.text)


def test_a_watch_is_set_and_ended(mine: TestClient) -> None:
    assert mine.post("/prices/watches", data={"model": "gpt-4.1", "provider": "openai"}).status_code == 303
    page = mine.get("/prices/watches").text
    number = re.findall(r"/prices/watches/(\d+)/end", page)[-1]
    assert "gpt-4.1" in page
    assert mine.post(f"/prices/watches/{number}/end").status_code == 303
    assert f"/prices/watches/{number}/end" not in mine.get("/prices/watches").text
    assert mine.post("/prices/watches", data={"model": ""}).status_code == 400


# --- flat fees and rates ----------------------------------------------------------------------------------------------


def test_a_flat_fee_is_set_and_withdrawn(mine: TestClient) -> None:
    fee = {"id": "seats", "fee": "200", "currency": "EUR", "from": "2026-11-01", "providers": "mistral", "why": "bought"}
    assert mine.post("/subscriptions", data={**fee, "from": "soon"}).status_code == 400
    assert mine.post("/subscriptions", data=fee).status_code == 303
    assert "seats €200.00 providers mistral" in words(mine.get("/subscriptions").text)
    assert mine.post("/subscriptions/end", data={"id": "seats", "why": ""}).status_code == 400
    assert mine.post("/subscriptions/end", data={"id": "seats", "why": "sent back", "withdraw": "true"}).status_code == 303
    assert "seats withdrawn" in words(mine.get("/subscriptions").text)


def test_exchange_rates_are_looked_up_and_imported(mine: TestClient) -> None:
    assert "by the rate of 2026-11-20" in mine.get("/subscriptions?currency=GBP&at=2026-11-20").text
    files = {"content": ("rates.csv", RATES.read_bytes(), "text/csv")}
    assert mine.post("/subscriptions/rates", files=files).status_code == 303
    bad = mine.post("/subscriptions/rates", files={"content": ("rates.zip", b"PK\x03\x04", "application/zip")})
    assert bad.status_code == 400


def test_a_list_that_was_taken_stands_among_the_stored_ones(mine: TestClient) -> None:
    files = {"content": ("prices.json", PRICE_LIST.read_bytes(), "application/json")}
    taken = mine.post("/prices/lists", data={"do": "take", "accept": "true"}, files=files)
    assert (taken.status_code, taken.headers["location"]) == (303, "/prices/lists")
    versions = re.findall(r"/prices/lists\?after=(\w+)", mine.get("/prices/lists").text)
    assert len(versions) == 2
    assert "There is no list of" in html.unescape(mine.get(f"/prices/lists?after={versions[0]}").text)
    between = mine.get(f"/prices/lists?before={versions[1]}&after={versions[0]}").text
    assert "new rows" in words(between.split('id="diff"')[1])


# --- roles ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", READ)
def test_a_viewer_reads_and_changes_nothing(viewer: TestClient, path: str) -> None:
    answer = viewer.get(path)
    assert answer.status_code == 200
    assert 'method="post"' not in answer.text
    assert "/prices/rules/new" not in answer.text


@pytest.mark.parametrize(
    "path",
    ["/prices/unpriced/repair/alias", "/prices/rules/new/override", "/prices/rules/1/end", "/prices/watches", "/prices/watches/1/end",
     "/prices/lists", "/prices/lists/activate", "/subscriptions", "/subscriptions/end", "/subscriptions/spread", "/subscriptions/rates"],
)  # fmt: skip
def test_what_is_not_shown_is_refused_all_the_same(viewer: TestClient, path: str) -> None:
    assert viewer.post(path, data={"why": "because"}).status_code == 403


def test_who_is_bound_to_tenants_is_told_what_he_may_not_see(own: Room) -> None:
    bound = console_over(own.context, lambda _: Principal("max", ("acme",), ROLES["manager"]))
    answer = bound.get("/subscriptions")
    assert answer.status_code == 200
    assert "calls of all tenants" in answer.text
