"""Price rules are only ever added: set, dated, ended, withdrawn; two of them never say different things of one name at one time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.exc import DBAPIError

from otel_finops.base.errors import BadInput, NotFound
from otel_finops.base.times import parse_ns
from otel_finops.ledger.price_rules import Draft, PriceRules, load, revision
from otel_finops.pricing.house_rules import NO_RULES, Alias, Override
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock

JUNE, JULY, AUGUST = (parse_ns(day) for day in ("2026-06-01", "2026-07-01", "2026-08-01"))
PRICES = {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}
OVERRIDE = Draft("override", "openai", "house-model", fields=PRICES)
ALIAS = Draft("alias", "azure", "my-deployment", target="azure/gpt-4o")
BY = {"who": "ann", "why": "the new contract"}


@pytest.fixture
def rules(store: Store) -> PriceRules:
    return PriceRules(store, FakeClock())


def loaded(store: Store) -> object:
    with store.read() as transaction:
        return load(transaction)


def test_a_rule_is_kept_as_it_was_set(store: Store, rules: PriceRules) -> None:
    rules.add(OVERRIDE, **BY)
    rules.add(ALIAS._replace(from_ns=JUNE, to_ns=JULY), **BY)
    contract = rules.add(OVERRIDE._replace(kind="contract", account="team-7"), **BY)
    assert [(rule.no, rule.said.kind, rule.who, rule.why, rule.recorded_ns) for rule in rules.all()] == [
        (1, "override", "ann", "the new contract", FakeClock().now_ns()),
        (2, "alias", "ann", "the new contract", FakeClock().now_ns()),
        (3, "contract", "ann", "the new contract", FakeClock().now_ns()),
    ]
    assert contract == rules.all()[2]
    assert loaded(store) == (
        (
            Override("1", "override", "openai", "house-model", None, PRICES),
            Override("3", "contract", "openai", "house-model", "team-7", PRICES),
        ),
        (Alias("2", "azure", "my-deployment", "azure/gpt-4o", JUNE, JULY),),
    )


def test_prices_come_back_digit_for_digit(store: Store, rules: PriceRules) -> None:
    prices = {
        "input_cost_per_token": 1.3e-10,
        "output_cost_per_token": 0.3,
        "input_cost_per_image": 0,
        "input_cost_per_second": 123456.789,
    }
    rules.add(OVERRIDE._replace(fields=prices), **BY)
    assert rules.all()[0].said.fields == prices
    with store.read() as transaction:
        assert '"input_cost_per_token": "0.00000000013"' in transaction.execute("SELECT fields FROM price_rules")[0][0]


def test_two_rules_for_one_name_and_time_are_refused_with_the_way_out(rules: PriceRules) -> None:
    rules.add(OVERRIDE._replace(from_ns=JUNE, to_ns=JULY), **BY)
    for begin, end in ((None, None), (JUNE, JULY), (None, JUNE + 1), (JULY - 1, None), (JUNE + 1, JULY - 1)):
        with pytest.raises(BadInput, match=r"rule 1 \(ann: the new contract\) speaks of 'house-model' from 2026-06-01.*pricing.end 1"):
            rules.add(OVERRIDE._replace(from_ns=begin, to_ns=end), **BY)
    rules.add(OVERRIDE._replace(from_ns=JULY), **BY)
    rules.add(OVERRIDE._replace(to_ns=JUNE), **BY)
    rules.add(OVERRIDE._replace(provider=None), **BY)
    rules.add(OVERRIDE._replace(kind="contract", account="team-7"), **BY)
    assert len(rules.all()) == 5


def test_a_rule_ends_and_the_next_one_begins(store: Store, rules: PriceRules) -> None:
    rules.add(OVERRIDE, **BY)
    ended = rules.end(1, JUNE, who="bob", why="prices went down")
    assert ended.ended is not None
    assert (ended.ended.no, ended.ended.at_ns, ended.ended.who, ended.ended.why) == (2, JUNE, "bob", "prices went down")
    rules.add(OVERRIDE._replace(from_ns=JUNE, fields={"input_cost_per_token": 1e-06}), **BY)
    assert loaded(store) == (
        (
            Override("1", "override", "openai", "house-model", None, PRICES, None, JUNE),
            Override("3", "override", "openai", "house-model", None, {"input_cost_per_token": 1e-06}, JUNE, None),
        ),
        (),
    )


def test_an_end_can_be_moved_forward_and_not_back(rules: PriceRules) -> None:
    rules.add(OVERRIDE, **BY)
    rules.end(1, AUGUST, **BY)
    assert rules.end(1, JULY, **BY).holds == (0, JULY)
    with pytest.raises(BadInput, match=r"rule 1 ends at 2026-07-01T00:00:00\.000000000Z already"):
        rules.end(1, AUGUST, **BY)
    assert rules.all()[0].holds == (0, JULY)


def test_a_mistake_is_withdrawn_and_stays_on_record(store: Store, rules: PriceRules) -> None:
    rules.add(OVERRIDE, **BY)
    rules.end(1, None, **BY)
    assert loaded(store) == NO_RULES
    assert [rule.said for rule in rules.all()] == [OVERRIDE]
    rules.add(OVERRIDE, **BY)
    with pytest.raises(BadInput, match="rule 1 was withdrawn already"):
        rules.end(1, JUNE, **BY)
    with pytest.raises(NotFound, match=r"There is no rule 2; `pricing\.rules` lists them\."):
        rules.end(2, JUNE, **BY)


def test_a_dry_run_checks_and_stores_nothing(store: Store, rules: PriceRules) -> None:
    assert rules.add(OVERRIDE, **BY, dry_run=True).said == OVERRIDE
    assert rules.all() == []
    rules.add(OVERRIDE, **BY)
    with pytest.raises(BadInput, match="rule 1"):
        rules.add(OVERRIDE, **BY, dry_run=True)
    assert rules.end(1, None, **BY, dry_run=True).holds == (0, 0)
    assert rules.all()[0].ended is None


def test_the_revision_grows_with_every_rule_and_end(store: Store, rules: PriceRules) -> None:
    seen = []
    for act in (lambda: None, lambda: rules.add(OVERRIDE, **BY), lambda: rules.end(1, JUNE, **BY), lambda: rules.add(ALIAS, **BY)):
        act()
        with store.read() as transaction:
            seen.append(revision(transaction))
    assert seen == [0, 1, 2, 3]


def test_of_many_who_set_the_same_rule_at_once_one_succeeds(rules: PriceRules) -> None:
    def add(number: int) -> bool:
        try:
            return rules.add(OVERRIDE, who=f"user {number}", why="at once").no == 1
        except BadInput:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(add, range(8))) == 1
    assert len(rules.all()) == 1


def test_nobody_changes_a_rule(store: Store, rules: PriceRules) -> None:
    rules.add(OVERRIDE, **BY)
    for sql in ("UPDATE price_rules SET why = 'x'", "DELETE FROM price_rules"):
        with pytest.raises(DBAPIError, match="append-only"), store.engine.connect().execution_options(write=True) as connection:
            connection.exec_driver_sql(sql)
