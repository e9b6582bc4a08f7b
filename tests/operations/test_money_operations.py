"""Exchange rates, spend in other currencies and flat fees by the API's and the commands' verbs."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest

from otel_finops.base.errors import BadInput, Forbidden
from otel_finops.base.times import NS_PER_DAY, NS_PER_SECOND
from otel_finops.genai.sighting import CALL, Sighting
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.journal import JournalRow, record
from otel_finops.ledger.rollups import Rollups
from otel_finops.ledger.settle import Settler
from otel_finops.ledger.subjects import Subjects
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import Json, invoke
from otel_finops.pricing.cascade import Cascade
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.fx import MissingRate
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases
from otel_finops.testing import NOON, FakeClock, RememberedTrail

PRICES = PriceEngine.load()
SEATS = '[{"id": "seat", "services": ["coder"], "fee": 20, "currency": "EUR", "from": "2026-10-22"}]'
SETTINGS = load(None, {"OTEL_FINOPS_DISPLAY__CURRENCY": "EUR", "OTEL_FINOPS_PRICING__SUBSCRIPTIONS": SEATS})
ANN = Principal("ann", ("acme",), ROLES["admin"])
CSV = b"Date,USD,GBP\n2026-11-20,1.25,1\n2026-10-22,1.25,0.9\n"


def call(number: int, service: str) -> Sighting:
    """1,000 tokens in and 100 out of gpt-4o, which are 0.0035 USD."""
    return Sighting(
        realm="default", trace_id=f"{number:032x}", span_id=f"{number:016x}", parent_span_id=None, name="chat", start_ns=NOON,
        end_ns=NOON + NS_PER_SECOND, kind=CALL, genai=True, instance="shop", scope="client", operation="chat", provider="openai",
        request_model="gpt-4o", price_models=("gpt-4o",), usage={"input_uncached": 1000, "output": 100}, usage_source="reported",
        attribution={"service": service},
    )  # fmt: skip


@pytest.fixture
def trail() -> RememberedTrail:
    return RememberedTrail()


@pytest.fixture
def context(store: Store, trail: RememberedTrail) -> Context:
    """Two days on: one call that costs its price, and one that a fee covers whose period is over."""
    clock, subjects = FakeClock(NOON + 2 * NS_PER_DAY), Subjects()
    with store.write() as transaction:
        rows = [JournalRow(call(1, "shop"), None), JournalRow(call(2, "coder"), None)]
        record(transaction, rows, now_ns=NOON, settle_after_ns=0, subjects=subjects)
    cascade = Cascade.of(SETTINGS.pricing)
    Settler(store, Leases(store, clock, "test"), PRICES, (Rollups(),), clock, cascade=cascade).settle_all()
    prices = CurrentPrices(store, clock, packaged_snapshot)
    return make_context(SETTINGS, store, subjects, prices, clock, trail=trail, anywhere=True)


def ask(context: Context, name: str, principal: Principal = LOCAL, **given: Any) -> Json:
    one = OPERATIONS.named(name)
    answer = invoke(one, context, principal, one.input.model_validate(given), origin="test")
    one.output.model_validate(answer)
    return answer


def imported(context: Context, content: bytes = CSV) -> Json:
    return ask(context, "fx.import", content=base64.b64encode(content).decode())


def test_rates_come_from_a_file_and_go_on_record(context: Context, trail: RememberedTrail, tmp_path: Path) -> None:
    path = tmp_path / "hist.csv"
    path.write_bytes(CSV)
    answer = ask(context, "fx.import", **{"from": str(path), "sha256": hashlib.sha256(CSV).hexdigest()})
    assert answer == {
        "origin": "hist.csv", "first_day": "2026-10-22", "last_day": "2026-11-20", "currencies": 2, "new": 4, "changed": 0, "unchanged": 0,
    }  # fmt: skip
    assert [(change.who, change.what, change.after) for change in trail.made] == [("local", "fx.import", answer)]
    assert imported(context)["unchanged"] == 4


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "give `from`, a file or URL, or `content`"),
        ({"content": "*"}, "content: no base64"),
        ({"content": "eA=="}, "line 1: must begin with the column `Date`"),
        ({"content": base64.b64encode(CSV).decode(), "sha256": "0" * 64}, "another digest"),
        ({"from": "/no/such/file"}, "file: cannot be read: No such file"),
        ({"from": "http://rates.example/hist.zip"}, "https://"),
    ],
)
def test_what_is_no_file_of_rates_is_refused(context: Context, given: dict[str, str], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        ask(context, "fx.import", **given)
    assert ask(context, "fx.rates") == {"rate": None, "currencies": []}


def test_a_rate_says_of_which_day_it_is(context: Context) -> None:
    """1 GBP and 1.25 USD for a euro on Friday: 0.8 GBP for a dollar, on the Sunday after it too."""
    imported(context)
    rate = {"currency": "GBP", "day": "2026-11-22", "rate_day": "2026-11-20", "per_usd": "0.8", "exact": "4/5"}
    assert ask(context, "fx.rates", currency="GBP", at="2026-11-22")["rate"] == rate
    assert ask(context, "fx.rates", currency="GBP", at="2026-10-22")["rate"]["per_usd"] == "0.72"
    assert [(one["currency"], one["days"]) for one in ask(context, "fx.rates")["currencies"]] == [("GBP", 2), ("USD", 2)]
    with pytest.raises(MissingRate):
        ask(context, "fx.rates", currency="GBP", at="2026-11-10")


def test_spend_is_shown_in_the_currency_of_display_once_there_are_rates(context: Context) -> None:
    """0.0035 USD at 1.25 are 0.0028 EUR, at 0.8 they are 0.0028 GBP too."""
    before = ask(context, "spend.report")
    assert (before["total_usd"], "total" in before) == ("0.0035", False)
    assert "EUR for 2026-11-21" in before["currency_missing"]
    with pytest.raises(MissingRate, match="EUR for 2026-11-21"):
        ask(context, "spend.report", currency="EUR")
    imported(context)
    after = ask(context, "spend.report")
    assert (after["currency"], after["total"], after["groups"][0]["cost"], after["total_usd"]) == ("EUR", "0.0028", "0.0028", "0.0035")
    assert ask(context, "spend.report", currency="GBP")["total"] == "0.0028"
    assert "currency" not in ask(context, "spend.report", currency="USD")
    assert "not with period" in ask(context, "spend.report", group_by="period")["currency_missing"]


def test_a_flat_fee_is_listed_and_spread(context: Context, trail: RememberedTrail) -> None:
    """20 EUR at 1.25 on the period's first day are 25 USD, all of which the one covered call bears."""
    [first, second] = ask(context, "subscriptions.list")["periods"]
    assert (first["fee"], first["currency"], first["fee_usd"], first["calls"], first["over"]) == ("20", "EUR", None, 1, True)
    assert (second["calls"], second["over"]) == (0, False)
    with pytest.raises(MissingRate, match="EUR for 2026-10-22"):
        ask(context, "subscriptions.spread")
    imported(context)
    assert ask(context, "subscriptions.spread") == {"periods": 1, "rows": 1, "run_no": 1}
    assert ask(context, "subscriptions.spread")["rows"] == 0
    [first, _] = ask(context, "subscriptions.list")["periods"]
    assert (first["fee_usd"], first["shadow_usd"], first["spread_usd"]) == ("25", "0.0035", "25")
    assert trail.made[-2].what == "subscriptions.spread"
    rows = ask(context, "usage.list")["entries"]
    assert [row["effective_usd"] for row in rows if row["kind"] == "correction"] == ["25"]


def test_fees_concern_all_tenants(context: Context) -> None:
    for name in ("subscriptions.list", "subscriptions.spread"):
        with pytest.raises(Forbidden, match="token for all tenants"):
            ask(context, name, ANN)
