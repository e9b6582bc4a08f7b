"""Free allowances: the first searches of a project in a day or month of the provider cost nothing, exactly, whatever came first."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_rig import SECOND, Rig, call, plain, span_id
from test_reprice import EVER, exported, run
from test_same_ledger import NUMBERS, a_store, check_sums, folder  # noqa: F401 - the fixture

from otel_finops.genai.sighting import Sighting
from otel_finops.ledger.allowances import Project, grant_allowances
from otel_finops.ledger.corrections import Corrected, Corrector, Group, Selection
from otel_finops.ledger.periods import Periods
from otel_finops.ledger.rows import to_contract
from otel_finops.ledger.verify import verify
from otel_finops.pricing.book import PriceBook
from otel_finops.pricing.cascade import Cascade
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.snapshot import Snapshot
from otel_finops.settings.money import Pricing
from otel_finops.store.engine import Store

MILLI = 10**9
"""A thousandth of a dollar in pico-USD."""
HOUR = 3600
DAY = 24 * HOUR
TOKENS = 1 * MILLI
"""1,000 tokens in at 1 USD a million."""
SEARCH = 14 * MILLI


def book(search_usd: float = 0.014, daily: int = 3) -> PriceEngine:
    """Two models that share three free searches a day, and one with four a month; a search costs 0.014 USD."""

    def row(searches: int, period: str, group: str) -> dict[str, Any]:
        return {
            "litellm_provider": "gemini",
            "mode": "chat",
            "input_cost_per_token": 1e-6,
            "output_cost_per_token": 1e-5,
            "web_search_billing_unit": "per_query",
            "search_context_cost_per_query": {"search_context_size_medium": search_usd},
            "search_free_requests": {"count": searches, "period": period, "shared_group": group},
        }

    day = row(daily, "day", "flash")
    by_prompt = {**day, "web_search_billing_unit": "per_prompt"}
    rows = {"gemini/flash": day, "gemini/lite": day, "gemini/three": row(4, "month", "three"), "gemini/two": by_prompt}
    return PriceEngine(PriceBook.of([Snapshot("litellm", "1", f"{search_usd}-{daily}", "2026-11-01", None, rows)]))


BOOK = book()
ALL = (Project(frozenset(), frozenset({"default"})),)


def searching(number: int, searches: int = 1, model: str = "flash", at_s: int = 0, **known: Any) -> Sighting:
    """A call with 1,000 tokens in, so it costs 0.001 USD and 0.014 a search. The rig's noon is 4 o'clock in the morning in California."""
    usage = {"input_uncached": 1000, "web_searches": searches}
    names = {"provider": "gemini", "request_model": model, "price_models": (model,)}
    return call(number, trace=known.pop("trace", number), at_s=at_s, usage=known.pop("usage", usage), **{**names, **known})


class World:
    """A rig, three days after the calls."""

    def __init__(self, store: Store, *projects: Project, engine: PriceEngine = BOOK, days: float = 3, **money: Any) -> None:
        self.cascade = Cascade.of(Pricing.model_validate_json(json.dumps(money)))
        self.rig = Rig(store, engine=engine, cascade=self.cascade)
        self.rig.clock.advance(days * DAY)
        self.projects = projects or ALL
        self.engine = engine

    def settle(self, *sightings: Sighting) -> None:
        self.rig.settle(*sightings)

    def grant(self, selection: Selection = EVER, *, dry_run: bool = False) -> Corrected:
        rig = self.rig
        desk = Corrector(rig.store, rig.leases, self.engine, [rig.rollups], rig.clock, self.cascade, sleep=rig.clock.advance)
        return grant_allowances(desk, self.projects, selection, who="ann", why="month's end", dry_run=dry_run)

    def searches(self) -> dict[int, int]:
        """What is paid for searches, by span and in thousandths of a dollar."""
        return {int(span, 16): ((net.cost_pico or 0) - TOKENS) // MILLI for span, net in sorted(self.rig.net().items())}

    def row(self, number: int) -> dict[str, Any]:
        return to_contract(self.rig.net()[span_id(number)])


def test_the_first_searches_of_a_day_are_free(store: Store) -> None:
    """Two, two and one searches of two models with one allowance of three: 2 free; 1 free and 1 paid; 1 paid. 0.070 becomes 0.028 USD."""
    world = World(store)
    world.settle(searching(1, 2), searching(2, 2, "lite", at_s=60), searching(3, 1, at_s=120))
    assert world.searches() == {1: 28, 2: 28, 3: 14}
    done = world.grant()
    assert world.searches() == {1: 0, 2: 14, 3: 14}
    assert (done.entries, done.total.changed, done.total.before_pico - done.total.after_pico) == (2, 2, 3 * SEARCH)
    row = world.row(2)
    assert row["cost_lines"] == [
        {"unit": "input_uncached", "quantity": 1000, "rate_usd": "0.000001", "amount_usd": "0.001"},
        {"unit": "web_searches", "quantity": 1, "rate_usd": "0", "amount_usd": "0"},
        {"unit": "web_searches", "quantity": 1, "rate_usd": "0.014", "amount_usd": "0.014"},
    ]
    money = [row[f"{name}_usd"] for name in ("cost", "billed", "effective", "list", "contracted")]
    assert money == ["0.015", "0.015", "0.015", "0.029", "0.029"]
    assert [entry.kind for entry in world.rig.entries()] == ["charge"] * 3 + ["correction"] * 2
    assert world.rig.total() == world.rig.spent() == 3 * TOKENS + 2 * SEARCH
    check_sums(world.rig)
    with store.read() as transaction:
        assert verify(transaction).faults == ()


def test_a_second_run_appends_nothing_and_a_dry_run_comes_to_the_same(store: Store) -> None:
    world = World(store)
    world.settle(*(searching(number, 2, at_s=number) for number in range(1, 5)))
    before = exported(world.rig)
    dry = world.grant(dry_run=True)
    assert exported(world.rig) == before
    assert world.grant()._replace(run_no=None) == dry
    after = exported(world.rig)
    assert world.grant() == Corrected(None, (), Group(None, None), 0, 0, 0)
    assert exported(world.rig) == after


def test_nothing_is_granted_before_the_day_is_over_in_the_providers_time_zone(store: Store) -> None:
    """The call's day ends on the next one at 8 o'clock UTC, 20 hours after noon."""
    world = World(store, days=0)
    world.settle(searching(1))
    world.rig.clock.advance(20 * HOUR - 2)
    assert world.grant().entries == 0
    world.rig.clock.advance(2)
    assert world.grant().entries == 1


def test_every_day_and_every_month_of_the_provider_has_its_own(store: Store) -> None:
    """At 7:59 UTC it is still yesterday in California: three searches then, three an hour later, and all six are free. The month's four are
    used up by five searches on two days."""
    world = World(store)
    eight = -4 * HOUR
    world.settle(searching(1, 3, at_s=eight - 60), searching(2, 3, at_s=eight), searching(3, 1, at_s=eight + 60))
    world.settle(searching(4, 3, "three", at_s=-DAY), searching(5, 2, "three"))
    world.rig.clock.advance(10 * DAY)
    world.grant()
    assert world.searches() == {1: 0, 2: 0, 3: 14, 4: 0, 5: 14}


def test_who_pays_by_the_prompt_takes_one_of_the_allowance(store: Store) -> None:
    """Five searches of a prompt are one that is charged: three prompts are free, the fourth is not."""
    world = World(store)
    world.settle(*(searching(number, 5, "two", at_s=number) for number in (1, 2, 3, 4)))
    assert set(world.searches().values()) == {14}
    world.grant()
    assert world.searches() == {1: 0, 2: 0, 3: 0, 4: 14}


def test_a_late_call_takes_its_place_and_the_last_one_loses_it(store: Store) -> None:
    world = World(store)
    world.settle(*(searching(number, at_s=number) for number in (2, 3, 4)))
    world.grant()
    assert world.searches() == {2: 0, 3: 0, 4: 0}
    world.settle(searching(1))
    assert world.searches() == {1: 14, 2: 0, 3: 0, 4: 0}
    done = world.grant()
    assert (done.entries, done.total.before_pico, done.total.after_pico) == (2, TOKENS + SEARCH + TOKENS, TOKENS + TOKENS + SEARCH)
    assert world.searches() == {1: 0, 2: 0, 3: 0, 4: 14}
    assert world.row(4)["cost_lines"][1:] == [{"unit": "web_searches", "quantity": 1, "rate_usd": "0.014", "amount_usd": "0.014"}]
    assert (world.row(4)["list_usd"], world.row(4)["contracted_usd"]) == ("0.015", "0.015")
    check_sums(world.rig)


def test_at_one_moment_the_ids_decide(store: Store) -> None:
    world = World(store)
    world.settle(*(searching(number, trace=10 - number) for number in (1, 2, 3, 4)))
    world.grant()
    assert world.searches() == {1: 14, 2: 0, 3: 0, 4: 0}


def test_settling_again_keeps_what_is_free_and_other_usage_waits_for_the_next_run(store: Store) -> None:
    world = World(store)
    first = searching(1, 2)
    world.settle(first)
    world.grant()
    assert world.rig.settle(plain(9, trace=1)) == []
    assert [entry.kind for entry in world.rig.settle(plain(8, trace=1), plain(7, trace=1, attribution={"agent": "planner"}))] == []
    world.settle(first._replace(usage={"input_uncached": 1000, "web_searches": 4}, end_ns=first.end_ns + SECOND))
    assert world.searches()[1] == 56
    world.grant()
    assert world.searches()[1] == 14
    check_sums(world.rig)


def test_repricing_keeps_the_free_ones_and_prices_the_others(store: Store) -> None:
    """A search at 0.020: the one that is charged costs 0.006 more, the free ones nothing; and the price without the allowance follows."""
    world = World(store)
    world.settle(searching(1, 2), searching(2, 2, at_s=1))
    world.grant()
    before = exported(world.rig)
    assert run(world.rig, engine=BOOK).entries == 0
    assert exported(world.rig) == before
    dearer = book(0.020)
    done = run(world.rig, engine=dearer)
    assert (done.total.changed, done.total.after_pico - done.total.before_pico) == (2, 6 * MILLI)
    assert world.searches() == {1: 0, 2: 20}
    assert [world.row(number)["contracted_usd"] for number in (1, 2)] == ["0.041", "0.041"]
    assert run(world.rig, engine=dearer).entries == 0
    world.engine = dearer
    assert world.grant().entries == 0
    check_sums(world.rig)


def test_other_allowances_and_no_rule_any_more_give_back_what_was_granted(store: Store) -> None:
    """What comes back is charged as it was booked, also when today's price is another one."""
    world = World(store)
    world.settle(searching(1, 2), searching(2, 2, at_s=1))
    world.grant()
    world.engine = book(0.050, daily=1)
    world.grant()
    assert world.searches() == {1: 14, 2: 28}
    world.projects = (Project(frozenset(), frozenset({"elsewhere"})),)
    world.grant()
    assert world.searches() == {1: 28, 2: 28}
    check_sums(world.rig)


def test_projects_count_apart_and_tenants_of_one_together(store: Store) -> None:
    """Both projects have three a day: four searches of two tenants in the one, two in the other; nobody's are charged."""
    rules = [{"account": "north", "services": ["shop"]}, {"account": "south", "services": ["desk"]}]
    projects = [Project(frozenset({name}), frozenset()) for name in ("north", "south")]
    world = World(store, *projects, accounts=rules)

    def of(number: int, searches: int, service: str, tenant: str) -> Sighting:
        return searching(number, searches, at_s=number, attribution={"service": service, "tenant": tenant})

    world.settle(of(1, 2, "shop", "acme"), of(2, 2, "shop", "globex"), of(3, 2, "desk", "acme"), of(4, 1, "lab", "acme"))
    world.grant()
    assert world.searches() == {1: 0, 2: 14, 3: 0, 4: 14}
    assert [entry.account for entry in world.rig.net().values()] == ["north", "north", "south", None]


def test_what_is_left_is_charged_at_the_discounted_price(store: Store) -> None:
    """A third off to the twelfth digit: 0.014 * 0.66666666666667 = 0.00933333333333338 a search. Two are 0.018666666666667 (rounded), four
    0.037333333333334; one that is left of three, 0.028: a third, 0.009333333333333."""
    world = World(store, discounts=[{"percent": "33.333333333333"}])
    world.settle(searching(1, 2), searching(2, 2, at_s=1))
    two = 18_666_666_667
    assert world.rig.net()[span_id(2)].cost_pico == 666_666_667 + two
    world.grant()
    assert world.rig.net()[span_id(1)].cost_pico == 666_666_667
    assert world.rig.net()[span_id(2)].cost_pico == 666_666_667 + two // 2 + 1  # 9,333,333,333.5 to the even one, ...334
    assert world.row(1)["list_usd"] == "0.029"
    world.projects = (Project(frozenset(), frozenset({"elsewhere"})),)
    world.grant()
    assert {net.cost_pico for net in world.rig.net().values()} == {666_666_667 + two}
    check_sums(world.rig)


def test_calls_whose_cost_is_no_price_take_their_part_and_stay_as_they_are(store: Store) -> None:
    """The subscribed agent's two searches are among the three of the day; one is left for the other call."""
    seat = {"id": "seat", "agents": ["coder"], "fee": 20, "from": "2026-11-01"}
    world = World(store, subscriptions=[seat])
    world.settle(searching(1, 2, attribution={"agent": "coder"}), searching(2, 2, at_s=1))
    world.grant()
    assert (world.row(1)["cost_method"], world.row(1)["cost_usd"], world.row(1)["contracted_usd"]) == ("covered", "0", "0.029")
    assert world.searches()[2] == 14


def test_the_chosen_time_says_what_changes_and_not_what_counts(store: Store) -> None:
    world = World(store)
    first, second = searching(1, 2), searching(2, 2, at_s=60)
    world.settle(first, second)
    world.grant(EVER._replace(from_ns=second.start_ns))
    assert world.searches() == {1: 28, 2: 14}
    world.grant(EVER._replace(to_ns=second.start_ns))
    assert world.searches() == {1: 0, 2: 14}


def test_a_closed_month_is_protected_unless_forced(store: Store) -> None:
    world = World(store, days=20)
    world.settle(searching(1, 2))
    Periods(store, world.rig.leases, world.rig.clock).close("2026-11", "ann", "over")
    assert (world.grant().protected, world.searches()) == (1, {1: 28})
    done = world.grant(EVER._replace(force=True))
    assert (done.entries, done.protected, world.searches()) == (1, 0, {1: 0})
    assert world.rig.entries()[-1].late


def test_a_price_of_nothing_is_no_allowance(store: Store) -> None:
    """Searches that the list gives away stay as they are, and are charged once the list has a price for them."""
    free = book(0.0)
    world = World(store, engine=free)
    world.settle(searching(1, 2))
    assert world.grant().entries == 0
    assert run(world.rig, engine=BOOK).total.after_pico == TOKENS + 2 * SEARCH
    check_sums(world.rig)


MANY = [searching(number, 1 + number % 3, ("flash", "lite", "two")[number % 3], at_s=(number % 4) * 10 * HOUR) for number in range(1, 9)]
"""Searches of three models on two days, of which some start at one moment."""


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(order=st.permutations(MANY), cuts=st.dictionaries(st.integers(0, 7), st.sampled_from(["grant", "reprice", "other day"])))
def test_the_order_of_arrival_does_not_matter(folder: Any, order: list[Sighting], cuts: dict[int, str]) -> None:  # noqa: F811
    """Whatever ran in between, and with which prices: in the end what stands is what one run over all of it comes to."""
    rest = World(a_store(folder, next(NUMBERS)))
    rest.settle(*MANY)
    rest.grant()
    world = World(a_store(folder, next(NUMBERS)))
    for number, sighting in enumerate(order):
        world.settle(sighting)
        if cuts.get(number) == "grant":
            world.grant()
        elif cuts.get(number) == "reprice":
            run(world.rig, engine=BOOK)
        elif cuts.get(number) == "other day":
            world.engine = book(daily=1)
            world.grant()
            world.engine = BOOK
    world.grant()

    def standing(one: World) -> list[Any]:
        nets = sorted(one.rig.net().items())
        return [(span, net.cost_pico, net.contracted_pico, net.list_pico, sorted(net.cost_lines)) for span, net in nets]

    assert standing(world) == standing(rest)
    free = sum(int(line.quantity) for net in world.rig.net().values() for line in net.cost_lines if line.rate_usd == "0")
    assert free == 6  # three on each of two days
    before = exported(world.rig)
    assert world.grant().entries == 0
    assert run(world.rig, engine=BOOK).entries == 0
    assert exported(world.rig) == before
    check_sums(world.rig)
    rest.rig.store.close()
    world.rig.store.close()
