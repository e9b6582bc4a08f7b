"""FOCUS: rows by meter, their sums beside the ledger's, corrections, files, and what the specification's own validator says of them.

A call of the rig is 1,000 tokens in and 100 out of gpt-4o, which are 0.0025 and 0.001 USD, unless it says otherwise.
"""

from __future__ import annotations

import csv
import io
import random
import re
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from empty_ledgers import empty_store
from ledger_rig import Rig, call
from other_prices import TimesPrices

from otel_finops.base.errors import BadInput
from otel_finops.genai.sighting import Sighting
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.insight import focus as focus_module
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.periods import Periods
from otel_finops.ledger.retention import LedgerPruner
from otel_finops.ledger.subjects import Subjects
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.local import make_context
from otel_finops.operations.streams import open_stream
from otel_finops.pricing.cascade import Cascade
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.surfaces.exports.formats import encoded
from otel_finops.testing import RememberedTrail

VERA = Principal("vera", ("acme",), ROLES["viewer"])
OCTOBER = -40 * 24 * 3600
"""Seconds from noon on 21 November to 12 October."""
SEPTEMBER = -60 * 24 * 3600
"""Seconds from then to 22 September."""
SETTINGS = load(
    None,
    {
        "OTEL_FINOPS_PRICING__SUBSCRIPTIONS": '[{"id": "seats", "services": ["ide"], "fee": 20, "currency": "USD", "from": "2026-10-22"}]',
        "OTEL_FINOPS_PRICING__DISCOUNTS": '[{"percent": "13.7", "services": ["shop"]}]',
    },
)
VALIDATOR = Path(__file__).parents[2] / ".cache" / "focus-validator-2.2.1"
CLAIMED = (
    "ACCOUNT_NAMING_SUPPORTED", "NEGOTIATED_PRICING_SUPPORTED", "PUBLIC_PRICE_LIST_SUPPORTED", "USAGE_MEASUREMENT_SUPPORTED",
    "UNIT_PRICING_SUPPORTED", "SUB_ACCOUNT_SUPPORTED", "REGION_SUPPORTED", "TAGGING_SUPPORTED", "MULTIPLE_PRICING_CATEGORIES_SUPPORTED",
    "MULTIPLE_SUB_ACCOUNT_TYPES_SUPPORTED", "MULTIPLE_BILLING_ACCOUNT_TYPES_SUPPORTED", "PRICING_BILLING_CURRENCY_DIFFERENCES_SUPPORTED",
)  # fmt: skip
"""What of the specification's options the files have; the others are about capacity, commitments and resources."""
CONTRADICTORY = {"InvoiceId-C-005-C"}
"""The model checks both that InvoiceId is null (C-004) and that it is not (C-005), whatever the row: no file passes both."""


class World(Rig):
    """A service's operations over a ledger with a flat fee and a discount."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, cascade=Cascade.of(SETTINGS.pricing))
        prices = CurrentPrices(store, self.clock, packaged_snapshot)
        self.context = make_context(SETTINGS, store, Subjects(), prices, self.clock, trail=RememberedTrail())

    def rows(self, principal: Principal = LOCAL, /, **fields: Any) -> list[dict[str, Any]]:
        """The rows of an export."""
        one = OPERATIONS.named("focus.export")
        stream = open_stream(one, self.context, principal, one.input.model_validate(fields))  # type: ignore[arg-type]
        return [dict(row) for batch in stream.batches for row in batch]

    def file(self, path: Path, **fields: Any) -> Path:
        """An export as a file."""
        one = OPERATIONS.named("focus.export")
        given: Any = one.input.model_validate(fields)
        path.write_bytes(b"".join(encoded(open_stream(one, self.context, LOCAL, given), given)))
        return path

    def mixed(self) -> None:
        """Calls of every kind: cached, covered, discounted, unpriced, reported, failed, of two tenants, late, corrected, reattributed."""
        self.settle(
            said(1),
            said(2, usage={"input_uncached": 1234, "cache_read": 777, "output": 55}),
            said(3, attribution={"service": "ide", "cost_center": "search"}),
            said(4, price_models=("no-such-model",), request_model="no-such-model"),
            said(5, at_s=OCTOBER),
            said(6, "globex", at_s=3600, tags={"team": "@search, x"}, attribution={"agent": "planner"}),
            said(7, attribution={"service": "shop"}),
            said(8, usage={}, usage_source="missing", error_type="429"),
            said(9, at_s=-3 * 24 * 3600, service_tier="priority", region="eu-west-1"),
        )
        self.settle(said(2, usage={"input_uncached": 1234, "cache_read": 777, "output": 60}, end_ns=2 * 10**18))
        self.settle(said(9, "globex", at_s=-3 * 24 * 3600, service_tier="priority", region="eu-west-1", end_ns=2 * 10**18))
        Periods(self.store, self.leases, self.clock, self.clock.advance).close("2026-10", "ann", "done")
        self.settle(said(10, at_s=OCTOBER), said(5, at_s=OCTOBER, usage={"input_uncached": 3000, "output": 100}, end_ns=2 * 10**18))


def said(span: int, tenant: str = "acme", **known: Any) -> Sighting:
    """A call of its own trace."""
    return call(span, span, attribution={"tenant": tenant, **known.pop("attribution", {})}, **known)


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


def total(rows: list[dict[str, Any]], column: str) -> int:
    """The sum of a money column, pico-USD."""
    return int(sum((Decimal(row[column]) for row in rows), Decimal(0)).scaleb(12))


def brief(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Meter, class, quantity consumed, billed cost and unit price of each row."""
    return [(row["SkuMeter"], row["ChargeClass"], row["ConsumedQuantity"], row["BilledCost"], row["ListUnitPrice"]) for row in rows]


def test_there_is_one_row_for_each_meter_of_a_day(world: World) -> None:
    """Two calls: 3,000 tokens in at 2.50 a million, 1,000 from the cache at 1.25 and 200 out at 10."""
    world.settle(said(1), said(2, at_s=3600, usage={"input_uncached": 2000, "cache_read": 1000, "output": 100}))
    rows = world.rows()
    assert brief(rows) == [
        ("Cache Read Tokens", None, "1000.0", "0.00125", "1.25"),
        ("Input Tokens", None, "3000.0", "0.0075", "2.5"),
        ("Output Tokens", None, "200.0", "0.002", "10.0"),
    ]
    assert [len(world.rows(by="hour")), len(world.rows(by="hour", tenant="globex"))] == [5, 0]
    [_, tokens_in, _] = rows
    assert (tokens_in["ChargePeriodStart"], tokens_in["ChargePeriodEnd"]) == ("2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z")
    assert (tokens_in["BillingPeriodStart"], tokens_in["BillingPeriodEnd"]) == ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
    assert (tokens_in["PricingQuantity"], tokens_in["PricingUnit"], tokens_in["x_Calls"]) == ("0.003", "1000000 Tokens", 2)
    assert (tokens_in["SubAccountId"], tokens_in["ProviderName"], tokens_in["SkuId"]) == ("acme", "OpenAI", "openai/gpt-4o/input_uncached")


def test_what_has_no_lines_by_unit_is_one_request(world: World) -> None:
    """A call that a fee covers is billed with nothing and listed with 0.0035; one without a price has no cost and says why."""
    world.settle(said(1, attribution={"service": "ide"}), said(2, price_models=("x",), request_model="x"))
    covered, unpriced = sorted(world.rows(), key=lambda row: str(row["x_CostMethod"]))
    assert (covered["BilledCost"], covered["ListCost"], covered["PricingCategory"], covered["x_CoverageId"]) == (
        "0.0",
        "0.0035",
        "Other",
        "seats",
    )
    assert (covered["PricingQuantity"], covered["PricingUnit"], covered["ConsumedQuantity"], covered["ConsumedUnit"]) == (
        "1.0", "Requests", "1100.0", "Tokens",
    )  # fmt: skip
    assert (unpriced["BilledCost"], unpriced["x_UnpricedReason"]) == ("0.0", "unknown_model")


def test_every_money_column_adds_up_to_the_ledger(world: World) -> None:
    """By the day, by the hour, for one tenant and for a time, in each kind of money."""
    world.mixed()
    columns = {"cost": "x_Cost", "billed": "BilledCost", "list": "ListCost", "contracted": "ContractedCost", "effective": "EffectiveCost"}
    windows: list[dict[str, Any]] = [{}, {"from": "2026-11-18"}, {"from": "2026-10-12T12:00:00Z", "to": "2026-11-21T12:30:00Z"}]
    for window in windows:
        for by in ("day", "hour"):
            for tenants, rows in ((None, world.rows(by=by, **window)), (("acme",), world.rows(VERA, by=by, **window))):
                given = OPERATIONS.named("spend.report").input.model_validate(window)
                lower, upper = given.window()  # type: ignore[attr-defined]
                for basis, column in columns.items():
                    assert total(rows, column) == world.reader.spend(tenants, (), lower, upper, basis=basis).total_pico, (window, by, basis)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_to_calls_rows_add_up_to_the_ledger(tmp_path: Path, seed: int) -> None:
    """Calls of two months come, grow, go to other tenants, lose their price and come late, while October is closed on the way: each month's
    rows are the ledger's month, and each tenant's day is the ledger's day.
    """
    world, chance = World(empty_store(f"sqlite:///{tmp_path}/ledger.db")), random.Random(seed)
    for turn in range(30):
        if turn == 15:
            Periods(world.store, world.leases, world.clock, world.clock.advance).close("2026-10", "ann", "done")
        usage = {"input_uncached": chance.randint(1, 9000), "cache_read": chance.choice([0, 500]), "output": chance.randint(1, 900)}
        known = {"price_models": ("x",), "request_model": "x"} if chance.random() < 0.1 else {}
        service = chance.choice(["shop", "ide", "other"])
        number, tenant = chance.randint(1, 12), chance.choice(["acme", "globex"])
        usage = {unit: count for unit, count in usage.items() if count}
        at_s, end_ns = OCTOBER if number % 2 else number * 3600, 2 * 10**18 + turn
        world.settle(said(number, tenant, at_s=at_s, end_ns=end_ns, usage=usage, attribution={"service": service}, **known))
    rows = world.rows()
    months = {group.key["period"]: group.cost_pico for group in world.reader.spend(None, ("period",)).groups}
    assert {month: total(world.rows(period=month), "x_Cost") for month in months if month} == months
    days = {(group.key["tenant"], group.key["day"]): group.cost_pico for group in world.reader.spend(None, ("tenant", "day")).groups}
    for (tenant_of, day), cost in days.items():
        of_day = [row for row in rows if (row["SubAccountId"], row["ChargePeriodStart"][:10]) == (tenant_of, day)]
        assert total(of_day, "x_Cost") == cost, (tenant_of, day)
    for basis, column in (("billed", "BilledCost"), ("list", "ListCost"), ("contracted", "ContractedCost")):
        assert total(rows, column) == world.reader.spend(None, basis=basis).total_pico  # type: ignore[arg-type]
    late = [row for row in rows if row["ChargeClass"] == "Correction"]
    assert late
    assert {(row["ChargePeriodStart"][:7], row["BillingPeriodStart"][:7]) for row in late} == {("2026-10", "2026-11")}


def test_corrections_of_closed_months_are_corrections_of_the_month_in_which_they_came(world: World) -> None:
    """October's call of 1,000 tokens in was corrected to 3,000 when October was closed: November bears 0.005 USD, and says so."""
    world.settle(said(1, at_s=OCTOBER))
    before = world.rows(period="2026-10")
    Periods(world.store, world.leases, world.clock, world.clock.advance).close("2026-10", "ann", "done")
    world.settle(said(1, at_s=OCTOBER, usage={"input_uncached": 3000, "output": 100}, end_ns=2 * 10**18))
    assert world.rows(period="2026-10") == before
    [late] = world.rows(period="2026-11")
    assert brief([late]) == [("Input Tokens", "Correction", "2000.0", "0.005", "2.5")]
    assert (late["ChargePeriodStart"], late["BillingPeriodStart"]) == ("2026-10-12T00:00:00Z", "2026-11-01T00:00:00Z")
    assert (
        total(before, "BilledCost") + total([late], "BilledCost")
        == total(world.rows(), "BilledCost")
        == world.reader.spend(None).total_pico
    )
    by_month = {group.key["period"]: group.cost_pico for group in world.reader.spend(None, ("period",)).groups}
    assert by_month == {"2026-10": total(before, "x_Cost"), "2026-11": total([late], "x_Cost")}


def test_months_that_stay_are_written_whole_when_earlier_ones_were_pruned(world: World) -> None:
    """September has two calls. One grew from 1,000 tokens in to 3,000 when that month was closed, which November bears: 0.005 USD, beside
    a call of its own of 0.0035. Then September is pruned; the trace with the late row stays, and November's rows are what they were.
    """
    world.settle(said(1, at_s=SEPTEMBER), said(2, at_s=SEPTEMBER), said(3))
    Periods(world.store, world.leases, world.clock, world.clock.advance).close("2026-10", "ann", "done")
    world.settle(said(1, at_s=SEPTEMBER, usage={"input_uncached": 3000, "output": 100}, end_ns=2 * 10**18))
    before = world.rows(period="2026-11")
    assert total(before, "x_Cost") == 8_500_000_000
    pruner = LedgerPruner(world.store, world.leases, world.clock, sleep=world.clock.advance)
    assert pruner.prune(pruner.months_before(30), "test").traces == 1
    assert world.rows(period="2026-11") == before
    with pytest.raises(BadInput, match="rows before 2026-10-01 were pruned"):
        world.rows(period="2026-09")


def test_what_was_corrected_in_an_open_month_leaves_no_trace(world: World) -> None:
    """A later version of the span has more tokens: one row with them, none of class Correction, and none of the former price."""
    world.settle(said(1))
    world.use(TimesPrices(2), Cascade.of(SETTINGS.pricing))
    world.settle(said(1, usage={"input_uncached": 2000, "output": 100}, end_ns=2 * 10**18))
    rows = world.rows()
    assert [(row["SkuMeter"], row["ChargeClass"], row["ConsumedQuantity"], row["x_Calls"]) for row in rows] == [
        ("Input Tokens", None, "2000.0", 1), ("Output Tokens", None, "100.0", 1),
    ]  # fmt: skip
    assert total(rows, "x_Cost") == world.reader.spend(None).total_pico


def test_a_call_that_went_to_another_tenant_is_his_alone(world: World) -> None:
    world.settle(said(1))
    world.settle(said(1, "globex", end_ns=2 * 10**18))
    assert {row["SubAccountId"] for row in world.rows()} == {"globex"}
    assert world.rows(VERA) == []


def test_a_full_day_is_written_in_pieces_with_the_same_sums(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.mixed()
    whole = world.rows()
    monkeypatch.setattr(focus_module, "FOCUS_GROUPS_MAX", 2)
    pieces = world.rows()
    assert len(pieces) > len(whole)
    for column in ("x_Cost", "BilledCost", "ListCost", "ContractedCost", "EffectiveCost"):
        assert total(pieces, column) == total(whole, column)


def test_what_contradicts_itself_is_refused(world: World) -> None:
    for fields, reason in (({"period": "2026-10", "from": "2026-10-01"}, "period: takes the place"), ({"period": "x"}, "is no month")):
        with pytest.raises(BadInput, match=reason):
            world.rows(**fields)


def test_the_ledger_is_written_as_focus_too(world: World) -> None:
    world.mixed()
    one = OPERATIONS.named("ledger.export")
    given: Any = one.input.model_validate({"format": "focus"})
    text = b"".join(encoded(open_stream(one, world.context, LOCAL, given), given)).decode()
    rows = [dict(row) for row in csv.DictReader(io.StringIO(text))]
    assert total(rows, "BilledCost") == world.reader.spend(None, basis="billed").total_pico
    assert len(rows) == len(world.rows())


def test_the_newer_version_names_who_sells_and_who_hosts(world: World) -> None:
    world.settle(said(1))
    row, *_ = world.rows(version="1.3")
    assert (row["ServiceProviderName"], row["HostProviderName"]) == ("OpenAI", "OpenAI")
    assert "ServiceProviderName" not in world.rows()[0]


@pytest.mark.parametrize("given", ["csv", pytest.param("parquet", marks=pytest.mark.long)])
def test_the_official_validator_finds_no_fault(tmp_path: Path, given: str, request: pytest.FixtureRequest) -> None:
    """Rules of version 1.2 with every option that the files have; see `CONTRADICTORY` for the one that cannot be kept."""
    if not (VALIDATOR / ".done").exists():
        pytest.skip("THE FOCUS VALIDATOR IS NOT INSTALLED AND FOCUS FILES WERE NOT VALIDATED: make focus-validator")
    world = World(empty_store(f"sqlite:///{tmp_path}/ledger.db"))
    world.mixed()
    report = _validated(world.file(tmp_path / f"focus.{given}", format=given))
    failed = set(re.findall(r"^- (\S+): violations", report, re.MULTILINE))
    found = re.search(r"Total: (\d+) \| Pass: (\d+) \| Fail: (\d+)", report)
    assert found is not None, report[-2000:]
    assert failed == CONTRADICTORY, report[report.index("--- Failures") :]
    assert int(found[2]) >= 280


def _validated(path: Path) -> str:
    """The validator's report. It looks for a file of its own in the folder in which it is started."""
    [packages] = VALIDATOR.glob("lib/python3.*/site-packages")
    options = ["--validate-version", "1.2", "--block-download", "--show-violations", "--applicability-criteria", ",".join(CLAIMED)]
    command = [str((VALIDATOR / "bin" / "focus-validator").absolute()), "--data-file", str(path), *options]
    return subprocess.run(command, cwd=packages, capture_output=True, text=True, check=False, timeout=120).stdout
