"""Cost centres, rules for shared costs and chargeback by the API's and the commands' verbs.

A call of the rig is of 21 November, 1,000 tokens in and 100 out of gpt-4o, and costs 0.0035 USD, unless it says otherwise.
"""

from __future__ import annotations

from typing import Any

import pytest
from ledger_rig import PRICES, Rig, call
from pydantic import ValidationError

from otel_finops.base.errors import BadInput, Conflict, Forbidden, NotFound
from otel_finops.genai.sighting import Sighting
from otel_finops.governance.projections import projections
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.periods import Periods
from otel_finops.ledger.retention import LedgerPruner
from otel_finops.ledger.settle import Settler
from otel_finops.ledger.subjects import Subjects
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import invoke
from otel_finops.operations.streams import open_stream
from otel_finops.pricing.cascade import Cascade
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.testing import RememberedTrail

MAX = Principal("max", ("acme",), ROLES["manager"])
VERA = Principal("vera", ("acme",), ROLES["viewer"])
GIL = Principal("gil", ("globex",), ROLES["manager"])
SEATS = '[{"id": "seats", "services": ["ide"], "fee": 20, "currency": "USD", "from": "2026-11-02"}]'


class World(Rig):
    """A service's operations over a ledger."""

    def __init__(self, store: Store, **environment: str) -> None:
        super().__init__(store)
        settings = load(None, environment)
        self.trail = RememberedTrail()
        prices = CurrentPrices(store, self.clock, packaged_snapshot)
        self.context = make_context(settings, store, Subjects(), prices, self.clock, trail=self.trail)
        kept = (self.rollups, *projections(settings, store, self.clock))
        self.settler = Settler(
            store, self.leases, PRICES, kept, self.clock, sleep=self.clock.advance, recent=self.recent, cascade=Cascade.of(settings.pricing)
        )

    def ask(self, verb: str, principal: Principal = LOCAL, /, **fields: Any) -> dict[str, Any]:
        """Run an operation."""
        one = OPERATIONS.named(verb)
        answer = invoke(one, self.context, principal, one.input.model_validate(fields), origin="test")
        one.output.model_validate(answer)
        return dict(answer)

    def centers(self, *codes: str, **fields: Any) -> None:
        """Make cost centres."""
        for code in codes:
            self.ask("cost_centers.create", code=code, **fields)

    def totals(self, principal: Principal = LOCAL, /, **fields: Any) -> dict[str | None, str]:
        """What each bears, by code; the sums of the report are checked."""
        answer = self.ask("chargeback.report", principal, **fields)
        pico = {name: sum(_pico(row[f"{name}_usd"]) for row in answer["rows"]) for name in ("direct", "given", "received", "total")}
        assert pico["direct"] == _pico(answer["ledger_usd"])
        assert pico["given"] == pico["received"]
        assert pico["total"] == _pico(answer["total_usd"]) == sum(_pico(answer[f"{name}_usd"]) for name in ("ledger", "fees", "credits"))
        return {row["cost_center"]: row["total_usd"] for row in answer["rows"] if row["total_usd"] != "0"}


def _pico(usd: str) -> int:
    whole, _, rest = usd.lstrip("-").partition(".")
    return (-1 if usd.startswith("-") else 1) * (int(whole) * 10**12 + int(rest.ljust(12, "0") or 0))


def said(span: int, center: str | None, tenant: str = "acme", **known: Any) -> Sighting:
    """A call of its own trace that names a cost centre."""
    attribution = {"tenant": tenant, **({"cost_center": center} if center else {}), **known.pop("attribution", {})}
    return call(span, span, attribution=attribution, **known)


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


def test_a_report_says_who_bears_what_and_what_nobody_does(world: World) -> None:
    """Two calls of search, one of ads, one of nobody: 0.007, 0.0035 and 0.0035 USD."""
    world.settle(said(1, "search"), said(2, "search"), said(3, "ads"), said(4, None))
    world.ask("cost_centers.create", code="search", name="Search", owner="ann", department="Product")
    answer = world.ask("chargeback.report", period="2026-11")
    assert world.totals(period="2026-11") == {"search": "0.007", "ads": "0.0035", None: "0.0035"}
    [search, ads, nobody] = answer["rows"]
    assert (search["name"], search["owner"], search["department"], search["calls"]) == ("Search", "ann", "Product", 2)
    assert (search["defined"], ads["defined"], ads["name"]) == (True, False, None)
    assert (nobody["cost_center"], nobody["direct_usd"]) == (None, "0.0035")
    assert answer["ledger_usd"] == world.ask("spend.report")["total_usd"] == "0.014"


def test_those_within_others_are_summed_up(world: World) -> None:
    """Products has no calls of its own; search within it has two and ads one: 0.0105 USD together, and company has all of it."""
    world.centers("company")
    world.centers("products", parent="company")
    world.centers("search", "ads", parent="products")
    world.settle(said(1, "search"), said(2, "search"), said(3, "ads"))
    rows = {row["cost_center"]: row for row in world.ask("chargeback.report", period="2026-11")["rows"]}
    assert {code: row["subtree_usd"] for code, row in rows.items()} == {
        "company": "0.0105", "products": "0.0105", "search": "0.007", "ads": "0.0035", None: "0",
    }  # fmt: skip
    assert rows["products"]["total_usd"] == "0"
    paths = {one["code"]: one["path"] for one in world.ask("cost_centers.list")["cost_centers"]}
    assert paths["ads"] == ["company", "products", "ads"]


def test_a_shared_cost_is_borne_in_proportion_evenly_or_by_fixed_shares(world: World) -> None:
    """Search has own calls of 0.007 USD and ads of 0.0035; the platform's one call (0.0035) is borne 2:1, 1:1, or 60:30 and 10 stays."""
    world.centers("search", "ads", "platform")
    world.settle(said(1, "search"), said(2, "search"), said(3, "ads"), said(4, "platform"))
    no = world.ask("allocations.create", name="platform", source={"cost_center": "platform"})["rule"]["no"]
    # 0.0035 * 2/3 = 0.002333333333|33.., 0.0035 / 3 = 0.001166666666|66..: the second remainder is greater and gets the picodollar
    assert world.totals(period="2026-11") == {"search": "0.009333333333", "ads": "0.004666666667"}
    world.ask("allocations.update", no=no, method="even", targets="ads,search")
    assert world.totals(period="2026-11") == {"search": "0.00875", "ads": "0.00525"}
    world.ask("allocations.update", no=no, method="fixed", shares="search=60,ads=30")
    assert world.totals(period="2026-11") == {"search": "0.0091", "ads": "0.00455", "platform": "0.00035"}
    assert world.totals(period="2026-11", mode="showback") == {"search": "0.007", "ads": "0.0035", "platform": "0.0035"}
    [rule] = world.ask("chargeback.report", period="2026-11")["rules"]
    assert (rule["pool_usd"], rule["rest_usd"]) == ("0.0035", "0.00035")


def test_a_shared_cost_follows_a_tag(world: World) -> None:
    """Of the platform's four calls two are tagged for search, one for a team that stands for ads, one not at all: that one stays."""
    world.centers("search", "ads", "platform")
    world.settle(
        said(1, "platform", tags={"team": "search"}),
        said(2, "platform", tags={"team": "search"}),
        said(3, "platform", tags={"team": "banners"}),
        said(4, "platform"),
        said(5, "platform", tags={"team": "nobody knows"}),
    )
    world.ask("allocations.create", name="teams", source="cost_center=platform", method="tag", tag="team", values="banners=ads")
    assert world.totals(period="2026-11") == {"search": "0.007", "ads": "0.0035", "platform": "0.007"}
    assert world.totals(**{"from": "2026-11-21", "to": "2026-11-22"}) == {"search": "0.007", "ads": "0.0035", "platform": "0.007"}


def test_calls_without_a_tag_can_be_led_somewhere_too(world: World) -> None:
    """One call without the tag goes to ads; those of ten teams that nobody knows stay: 10 times 0.0035."""
    world.centers("ads", "platform")
    world.settle(said(1, "platform"), *(said(span, "platform", tags={"team": f"team {span}"}) for span in range(2, 12)))
    world.ask("allocations.create", name="teams", source="cost_center=platform", method="tag", tag="team", values={"": "ads"})
    assert world.totals(period="2026-11") == {"platform": "0.035", "ads": "0.0035"}


def test_each_call_is_shared_once(world: World) -> None:
    """Both rules are for the call of nobody; the one with the lower place takes it."""
    world.centers("search", "ads")
    world.settle(said(1, None))
    world.ask("allocations.create", name="all", source={"cost_center": ""}, method="even", targets="search")
    world.ask("allocations.create", name="first", source={"model": "gpt-4o"}, method="even", targets="ads", place=1)
    assert world.totals(period="2026-11") == {"ads": "0.0035"}


def test_fees_and_credits_of_rules_fall_due_on_their_days(world: World) -> None:
    """A fee of 30 USD every month from 15 October on, a credit of 9 USD on 3 November: both fall into November, none into October."""
    world.centers("search", "ads")
    world.settle(said(1, "search"), said(2, "search"), said(3, "ads"))
    world.ask("allocations.create", name="gateway", amount="30", every="month", **{"from": "2026-10-15"})
    world.ask("allocations.create", name="coupon", amount="-9", method="fixed", shares="ads=100", **{"from": "2026-11-03"})
    assert world.totals(period="2026-11") == {
        "search": "20.007",
        "ads": "1.0035",
    }
    assert world.totals(period="2026-10") == {}
    answer = world.ask("chargeback.report", period="2026-12")
    assert (answer["fees_usd"], answer["rules"][0]["rest_usd"]) == ("30", "30")  # nobody has own cost in December: it is not allocated
    assert answer["rows"][-1]["fees_usd"] == "30"


def test_the_fee_of_a_subscription_is_borne_by_what_it_covered(store: Store) -> None:
    """The seats of service ide cost 20 USD from 2 November on and covered two calls of search and one of nobody, equal by the list."""
    world = World(store, OTEL_FINOPS_PRICING__SUBSCRIPTIONS=SEATS)
    world.settle(*(said(span, center, attribution={"service": "ide"}) for span, center in ((1, "search"), (2, "search"), (3, None))))
    assert world.totals(period="2026-11") == {"search": "13.333333333333", None: "6.666666666667"}
    [extra] = world.ask("chargeback.report", period="2026-11")["extras"]
    assert (extra["name"], extra["usd"]) == ("fee of seats", "20")
    assert world.totals(VERA, period="2026-11") == {"search": "13.333333333333", None: "6.666666666667"}
    assert world.totals(GIL, period="2026-11") == {}
    assert world.ask("chargeback.report", period="2026-10")["total_usd"] == "0"


def test_what_pruned_calls_did_is_not_taken_from_those_that_are_left(store: Store) -> None:
    """The seats' period from 2 September on covered a call of search in September and one of ads on 1 October: 10 USD each. The platform's
    calls, 0.0035 each, were for the team search in September and for ads in November. When September's entries are gone nobody knows whom
    that fee is for, and September's 0.0035 of the platform stays with it.
    """
    world = World(store, OTEL_FINOPS_PRICING__SUBSCRIPTIONS=SEATS.replace("2026-11-02", "2026-09-02"))
    ide, day = {"attribution": {"service": "ide"}}, 86_400
    world.settle(
        said(1, "search", at_s=-60 * day, **ide),
        said(2, "ads", at_s=-51 * day, **ide),
        said(3, "platform", at_s=-60 * day, tags={"team": "search"}),
        said(4, "platform", tags={"team": "ads"}),
    )
    world.centers("search", "ads", "platform")
    world.ask("allocations.create", name="teams", source="cost_center=platform", method="tag", tag="team", targets="search,ads")
    window = {"from": "2026-09-01", "to": "2026-11-22"}
    first, third = "2026-10-02", "2026-12-01"
    assert world.totals(**window | {"to": first}) == {"search": "10.0035", "ads": "10"}
    assert world.totals(**{"from": first, "to": third}) == {"ads": "0.0035", None: "40"}
    Periods(world.store, world.leases, world.clock, world.clock.advance).close("2026-10", "ann", "done")
    pruner = LedgerPruner(world.store, world.leases, world.clock, sleep=world.clock.advance)
    assert list(pruner.prune(pruner.months_before(30), "test").months) == ["2026-09"]
    assert world.totals(**window | {"to": first}) == {"platform": "0.0035", None: "20"}
    assert world.totals(**window) == {"platform": "0.0035", "ads": "0.0035", None: "60"}
    [note] = world.ask("chargeback.report", **window)["notes"]
    assert note.startswith("the fee of seats from 2026-09-02 on is not allocated: calls that a fee covered in that time were pruned")
    assert world.totals(VERA, **window) == {"platform": "0.007"}  # a rule of all tenants does not hold in the report on one
    assert world.ask("chargeback.report", VERA, **window)["notes"] == [note]
    assert world.ask("chargeback.report", GIL, **window)["notes"] == []


def test_what_prepaid_credits_paid_is_taken_off(world: World) -> None:
    """Acme's pool paid both calls of acme, 0.007 USD: nothing is left to pay. Globex paid its own."""
    world.ask("credits.create", name="prepaid", scope={"tenant": "acme"}, why="bought", amount="5")
    world.clock.advance(1)
    world.settle(said(1, "search"), said(2, None), said(3, "search", "globex"))
    assert world.totals(period="2026-11", tenant="acme") == {}
    assert world.totals(period="2026-11") == {"search": "0.0035"}
    [row, _] = world.ask("chargeback.report", MAX, period="2026-11")["rows"]
    assert (row["direct_usd"], row["credits_usd"], row["total_usd"]) == ("0.0035", "-0.0035", "0")


def test_a_closed_month_stays_as_it_is(world: World) -> None:
    """A call of October that comes after October was closed belongs to November, where it was booked."""
    october = -40 * 24 * 3600
    world.centers("search")
    world.settle(said(1, "search", at_s=october))
    Periods(world.store, world.leases, world.clock, world.clock.advance).close("2026-10", "ann", "done")
    world.settle(said(2, "search", at_s=october))
    assert world.totals(period="2026-10") == {"search": "0.0035"}
    assert world.totals(period="2026-11") == {"search": "0.0035"}


def test_a_report_can_be_made_by_the_definitions_of_then(world: World) -> None:
    world.centers("search", "ads")
    world.settle(said(1, None))
    no = world.ask("allocations.create", name="all", source={"cost_center": ""}, method="even", targets="search")["rule"]["no"]
    then = world.ask("chargeback.report", period="2026-11")["revision"]
    world.ask("allocations.update", no=no, targets="ads")
    assert world.totals(period="2026-11") == {"ads": "0.0035"}
    assert world.totals(period="2026-11", revision=then) == {"search": "0.0035"}
    with pytest.raises(BadInput, match="revision: there is none of this number; the one before it is 4"):
        world.ask("chargeback.report", revision=99)


def test_a_tenants_people_see_and_change_what_is_theirs(world: World) -> None:
    """Acme has a cost centre `search` of its own beside the one of all; its reports know nothing of what is of all."""
    world.centers("search", name="of all")
    world.ask("cost_centers.create", MAX, code="search", name="ours", tenant="acme")
    world.settle(said(1, "search"), said(2, "search", "globex"), said(3, None))
    rows = {(row["tenant"], row["cost_center"]): row for row in world.ask("chargeback.report")["rows"]}
    assert rows["acme", "search"]["name"] == "ours"
    assert rows[None, "search"]["name"] == "of all"
    world.ask("allocations.create", MAX, name="rest", tenant="acme", source={"cost_center": ""}, method="even", targets="search")
    assert world.totals(VERA) == {"search": "0.007"}
    assert [row["name"] for row in world.ask("chargeback.report", GIL)["rows"]] == [None, None]
    assert [one["name"] for one in world.ask("cost_centers.list", MAX)["cost_centers"]] == ["ours"]
    with pytest.raises(Forbidden, match="of all tenants needs a token for all"):
        world.ask("cost_centers.create", MAX, code="x")
    with pytest.raises(NotFound):
        world.ask("cost_centers.create", MAX, code="x", tenant="globex")
    with pytest.raises(NotFound, match="There is no cost centre 1"):
        world.ask("cost_centers.update", MAX, no=1, name="mine")
    with pytest.raises(NotFound, match="There is no rule 1"):
        world.ask("allocations.delete", GIL, no=1)
    world.ask("cost_centers.create", code="ops", tenant="acme")
    with pytest.raises(Forbidden, match="was made by local, who sees all tenants"):
        world.ask("cost_centers.delete", MAX, no=3)


def test_definitions_are_changed_under_record(world: World) -> None:
    first = world.ask("cost_centers.create", code="search", dry_run=True)
    assert (first["changed"], world.ask("cost_centers.list")["cost_centers"]) == (False, [])
    made = world.ask("cost_centers.create", code="search")["cost_center"]
    again = world.ask("cost_centers.update", no=1, owner="ann", revision=made["revision"])
    assert (again["changed"], again["cost_center"]["owner"]) == (True, "ann")
    assert world.ask("cost_centers.update", no=1, owner="ann")["changed"] is False
    with pytest.raises(Conflict, match="changed by local; look at it again"):
        world.ask("cost_centers.update", no=1, owner="bob", revision=made["revision"])
    assert world.ask("cost_centers.update", no=1, owner="")["cost_center"]["owner"] is None
    world.ask("cost_centers.delete", no=1)
    assert [(one.what, one.before is None, one.after is None) for one in world.trail.made] == [
        ("cost_centers.create", True, False), ("cost_centers.update", False, False), ("cost_centers.update", False, False),
        ("cost_centers.delete", False, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "source, amount: .* give one of them"),
        ({"source": {"colour": "red"}}, "source.colour: there is no such dimension; use tenant, cost_center"),
        ({"source": {}}, "source: name at least one dimension"),
        ({"source": "cost_center=a", "method": "even"}, "targets: an even rule names those who bear it"),
        ({"source": "cost_center=a", "method": "even", "targets": "none"}, "there is no cost centre none for this rule"),
        ({"source": "cost_center=a", "method": "fixed", "shares": "a=60,b=50"}, "shares: percents above 0 by code, at most 100"),
        ({"source": "cost_center=a", "method": "fixed", "shares": "a=x"}, "shares.a: a percent is a plain decimal"),
        ({"source": "cost_center=a", "shares": "a=50"}, "shares: does not go with the method proportional"),
        ({"source": "cost_center=a", "method": "tag"}, "tag: a rule by tag names the tag's key"),
        ({"amount": "5"}, "from: an amount says from which day it is due"),
        ({"amount": "0", "from": "2026-11-01"}, "amount: not 0"),
        ({"amount": "5", "from": "2026-11-01", "to": "2026-11-01"}, "to: lies before"),
        ({"source": "cost_center=a", "every": "month"}, "monthly: goes with an amount"),
    ],
)
def test_rules_that_contradict_themselves_are_refused(world: World, given: dict[str, Any], said: str) -> None:
    world.centers("a", "b")
    with pytest.raises(BadInput, match=said):
        world.ask("allocations.create", name="rule", **given)


def test_cost_centres_that_cannot_stand_are_refused(world: World) -> None:
    world.centers("a")
    world.centers("b", parent="a")
    for fields, reason in [
        ({"code": "a"}, "code: there is a cost centre of this code already"),
        ({"code": "c", "parent": "x"}, "parent: there is no cost centre x"),
        ({"code": " c"}, "code: 1 to 256 characters without blanks around them"),
    ]:
        with pytest.raises(BadInput, match=reason):
            world.ask("cost_centers.create", **fields)
    with pytest.raises(BadInput, match="parent: b is a part of this cost centre"):
        world.ask("cost_centers.update", no=1, parent="b")
    with pytest.raises(BadInput, match="no: b is a part of it"):
        world.ask("cost_centers.delete", no=1)
    world.ask("allocations.create", name="r", source="cost_center=", method="even", targets="b")
    with pytest.raises(BadInput, match=r"no: rule 1 \(r\) gives to it"):
        world.ask("cost_centers.delete", no=2)
    with pytest.raises(ValidationError):
        world.ask("allocations.create", name="r", amount="1", **{"from": "2026-02-31"})
    with pytest.raises(BadInput, match="from, to: give both"):
        world.ask("chargeback.report", **{"from": "2026-11-01"})


def test_a_report_is_written_to_a_file(world: World) -> None:
    world.settle(said(1, "search"))
    one = OPERATIONS.named("chargeback.export")
    stream = open_stream(one, world.context, LOCAL, one.input.model_validate({"format": "csv"}))  # type: ignore[arg-type]
    rows = [row for batch in stream.batches for row in batch]
    assert stream.name == "chargeback"
    assert [(row["cost_center"], row["total_usd"]) for row in rows] == [("search", "0.0035"), (None, "0")]
    assert {column.name for column in stream.columns} == set(rows[0])
