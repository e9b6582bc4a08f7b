"""Budgets as they are stored: what may be made and changed, by whom, what is refused and why, and how others hear of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from otel_finops.base.errors import BadInput, Conflict, Forbidden, NotFound, Unavailable
from otel_finops.governance import budget_store
from otel_finops.governance.budget_store import BudgetStore, Edit, followed_budgets
from otel_finops.governance.budgets import Budget, BudgetSet, oddities
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.periods import Period
from otel_finops.governance.scopes import Scope
from otel_finops.identity.principals import Editor
from otel_finops.ledger.subjects import Subjects
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction
from otel_finops.testing import FakeClock

USD = 10**12
OWNER = Editor("olga")
MAX = Editor("max", ("acme",))
GIL = Editor("gil", ("globex",))


def saying(scope: Mapping[str, str] | None = None, **fields: Any) -> Edit:
    """What makes a budget of these fields."""
    return Edit(lambda budget: budget._replace(**fields), scope)


class Told:
    """Counts nothing, and remembers what it was told."""

    def __init__(self) -> None:
        self.changes: list[tuple[Budget | None, Budget | None]] = []

    def changed(self, transaction: Transaction, before: Budget | None, after: Budget | None) -> None:
        self.changes.append((before, after))


class Desk:
    """A store of budgets over a database."""

    def __init__(self, store: Store) -> None:
        self.store, self.clock, self.told = store, FakeClock(), Told()
        self.budgets = BudgetStore(store, self.clock, Subjects(), self.told)

    def make(self, name: str, scope: Mapping[str, str] | None = None, by: Editor = OWNER, **fields: Any) -> Budget:
        edit = saying(scope or {}, **{"name": name, "kind": "money", "amount": 100 * USD, **fields})
        return self.budgets.create(edit, by)[0]

    def edit(self, budget: Budget, by: Editor = OWNER, scope: Mapping[str, str] | None = None, **fields: Any) -> Budget:
        return self.budgets.update(budget.no, saying(scope, **fields), by)[1]


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)


def test_a_budget_stands_as_it_was_made_and_its_changes_are_kept(desk: Desk) -> None:
    made = desk.make("acme in all", {"tenant": "acme"}, period=Period.of("weekly", "Europe/Rome", start_day=7), thresholds=(90, 50, 90))
    assert (made.no, made.tenant, made.thresholds, made.made_by) == (1, "acme", (50, 90), "olga")
    desk.clock.advance(60)
    raised = desk.edit(made, Editor("ann"), amount=200 * USD, hard=True)
    assert (raised.amount, raised.hard, raised.changed_by, raised.made_by) == (200 * USD, True, "ann", "olga")
    assert raised.changed_ns == raised.made_ns + 60 * 10**9
    assert list(desk.budgets.all()) == [raised]
    assert [one.left for one in desk.budgets.history(made.no)] == [raised, made]
    desk.budgets.delete(made.no, OWNER)
    assert list(desk.budgets.all()) == []
    assert [(one.left.revision, one.deleted) for one in desk.budgets.history(made.no)][1:] == [
        (raised.revision, False),
        (made.revision, False),
    ]
    assert desk.make("another").no == 2  # a number is never given twice


def test_who_counts_is_told_and_hears_when_it_must_count_anew(desk: Desk) -> None:
    made = desk.make("all")
    renamed = desk.edit(made, name="everything", amount=5 * USD)
    narrowed = desk.edit(renamed, scope={"provider": "OpenAI"})
    desk.edit(narrowed, scope={"provider": "openai"})  # the same in another spelling: no change
    desk.budgets.delete(made.no, OWNER)
    assert desk.told.changes == [(None, made), (made, renamed), (renamed, narrowed), (narrowed, None)]
    assert made.counting == renamed.counting == made.revision
    assert narrowed.counting == narrowed.revision > made.revision


def test_people_of_a_tenant_make_so_many_budgets_for_one_call_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_store, "BUDGETS_OF_TENANT_FOR_CALL_MAX", 2)
    desk.make("of the service", {"tenant": "acme"})
    one, _ = desk.make("1", {"tenant": "acme"}, MAX), desk.make("2", {"tenant": "acme"}, MAX)
    for scope in ({"tenant": "acme"}, {"tenant": "acme", "agent": "a"}):
        with pytest.raises(BadInput, match="scope: 2 budgets of this tenant can be for one and the same call"):
            desk.make("3", scope, MAX)
    desk.edit(one, MAX, {"tenant": "acme", "agent": "b"})
    desk.make("3", {"tenant": "acme", "agent": "a"}, MAX)  # of two agents a call has one
    with pytest.raises(BadInput, match="one and the same call"):
        desk.edit(one, MAX, {"tenant": "acme", "agent": "a"})
    desk.make("4", {"tenant": "globex"}, GIL)
    desk.make("4", {"tenant": "acme"})


def test_a_dry_run_stores_nothing(desk: Desk) -> None:
    tried, held = desk.budgets.create(saying({"user": "ann"}, name="all", kind="calls", amount=5), OWNER, dry_run=True)
    assert tried.name == "all"
    assert len(held) == 1
    assert len(desk.budgets.all()) == 0
    made = desk.make("all")
    desk.budgets.update(made.no, saying(amount=7), OWNER, dry_run=True)
    desk.budgets.delete(made.no, OWNER, dry_run=True)
    assert desk.told.changes == [(None, made)]  # nothing is counted for what is only tried
    assert list(desk.budgets.all()) == [made]


REFUSED: list[tuple[dict[str, Any], dict[str, str], str]] = [
    ({"amount": -1}, {}, "^amount: a limit is not negative"),
    ({"amount": 10**28}, {}, "^amount: more than any bill"),
    ({"name": "  "}, {}, "^name: 1 to"),
    ({"kind": "tokens", "currency": "EUR"}, {}, "^currency: a limit in tokens has none"),
    ({"currency": "EUR"}, {}, "no exchange rate"),
    ({"warn_percent": 0}, {}, "^warn_percent: 1 to 100"),
    ({"thresholds": (0, 50)}, {}, "^thresholds: 1 to 1000"),
    ({"thresholds": tuple(range(1, 30))}, {}, "^thresholds: at most 16"),
    ({"carry_over": True, "period": Period.of("rolling_days", length=30)}, {}, "^carry_over: rolling"),
    ({"parent": 9}, {}, "^parent: there is no budget 9"),
    ({}, {"planet": "mars"}, "^scope.planet: there is no such dimension"),
    ({}, {"trace": "abc"}, "^scope.trace: 32 hex"),
    ({}, {"tenant": " "}, "^scope.tenant: 1 to"),
    ({"name": "taken"}, {}, "^name: budget 1 is called so already"),
]


def test_what_can_be_no_budget_is_refused_with_its_place(desk: Desk) -> None:
    desk.make("taken")
    for fields, scope, said in REFUSED:
        with pytest.raises(BadInput, match=said):
            desk.make(**{"name": "new", **fields}, scope=scope)
    assert len(desk.budgets.all()) == 1


def test_a_name_is_one_tenants_own(desk: Desk) -> None:
    assert {desk.make("all", scope).no for scope in ({}, {"tenant": "acme"}, {"tenant": "globex"})} == {1, 2, 3}


def test_a_parent_contains_what_is_within_it(desk: Desk) -> None:
    acme = desk.make("acme", {"tenant": "acme"})
    models = desk.make("its gpt", {"tenant": "acme", "model": "gpt-*"}, parent=acme.no)
    small = desk.make("its small gpt", {"tenant": "acme", "model": "gpt-4o-mini", "agent": "planner"}, parent=models.no)
    with pytest.raises(BadInput, match=r"does not contain every call of others.*tenant"):
        desk.make("others", {"model": "gpt-4o"}, parent=acme.no)
    with pytest.raises(BadInput, match="does not contain every call of claude"):
        desk.make("claude", {"tenant": "acme", "model": "claude-*"}, parent=models.no)
    with pytest.raises(BadInput, match=r"^scope: budget 2 .its gpt. does not contain every call of its small gpt"):
        desk.edit(models, scope={"tenant": "acme", "model": "gpt-5*"})
    with pytest.raises(BadInput, match=r"^parent: budget 3 is within this one"):
        desk.edit(acme, parent=small.no)
    with pytest.raises(BadInput, match=r"^parent: budget 1 is within this one"):
        desk.edit(acme, parent=acme.no)
    with pytest.raises(BadInput, match=r"^no: others are within this budget .3."):
        desk.budgets.delete(models.no, OWNER)
    held = desk.budgets.all()
    assert [one.no for one in held.above(small)] == [models.no, acme.no]
    assert [one.no for one in held.children(acme.no)] == [models.no]
    assert [one.no for one in held.children(None)] == [acme.no]


def test_budgets_are_nested_sixteen_deep_at_most(desk: Desk) -> None:
    inner: Budget | None = None
    for level in range(16):
        inner = desk.make(f"level {level}", parent=None if inner is None else inner.no)
    assert inner is not None
    with pytest.raises(BadInput, match=r"^parent: at most 16"):
        desk.make("one too many", parent=inner.no)
    top = desk.make("above")
    with pytest.raises(BadInput, match=r"^parent: at most 16"):
        desk.budgets.update(1, saying(parent=top.no), OWNER)


def test_a_limit_above_its_parents_is_odd_and_may_stand(desk: Desk) -> None:
    parent = desk.make("month")
    children: dict[str, tuple[dict[str, Any], bool]] = {
        "more": ({"amount": 101 * USD}, True),
        "as much": ({"amount": 100 * USD}, False),
        "more in a day than in the whole month": ({"amount": 101 * USD, "period": Period.of("daily")}, True),
        "more in a year than in a month": ({"amount": 101 * USD, "period": Period.of("yearly")}, False),
        "tokens, which are no dollars": ({"amount": 10**18, "kind": "tokens"}, False),
    }
    for name, (fields, odd) in children.items():
        within = desk.make(name, parent=parent.no, **fields)
        assert bool(oddities(within, desk.budgets.all())) is odd, name


def test_who_is_bound_to_tenants_changes_their_own_budgets_alone(desk: Desk) -> None:
    own = desk.make("ours", {"tenant": "acme"}, MAX)
    given = desk.make("the service's limit", {"tenant": "acme"})
    everybodys = desk.make("all")
    assert desk.edit(own, MAX, amount=5 * USD).amount == 5 * USD
    assert not desk.edit(own, OWNER, amount=6 * USD).of_all  # it is theirs still
    with pytest.raises(Forbidden, match="made by olga, who sees all tenants"):
        desk.edit(given, MAX, amount=10**6 * USD)
    for budget, by in ((own, GIL), (everybodys, MAX)):
        with pytest.raises(NotFound, match=f"There is no budget {budget.no}"):
            desk.edit(budget, by, amount=1)
        with pytest.raises(NotFound, match=f"There is no budget {budget.no}"):
            desk.budgets.delete(budget.no, by)
    with pytest.raises(NotFound, match=r"^parent: there is no budget 3"):
        desk.make("within everybody's", {"tenant": "acme"}, MAX, parent=everybodys.no)


def test_nobody_is_told_of_a_budget_around_his_that_he_does_not_see(desk: Desk) -> None:
    around = desk.make("secret plan", {"provider": "openai"})
    own = desk.make("own", {"tenant": "acme", "provider": "openai"}, MAX)
    desk.edit(own, parent=around.no)
    with pytest.raises(BadInput, match="would not contain every call") as refused:
        desk.edit(own, MAX, {"tenant": "acme"})
    assert "secret" not in str(refused.value)
    assert "provider" not in str(refused.value)


def test_what_somebody_else_changed_meanwhile_is_not_overwritten(desk: Desk) -> None:
    seen = desk.make("all")
    desk.edit(seen, Editor("ann"), amount=7 * USD)
    with pytest.raises(Conflict, match="changed by ann"):
        desk.budgets.update(seen.no, saying(amount=8 * USD)._replace(revision=seen.revision), OWNER)
    with pytest.raises(Conflict, match="changed by ann"):
        desk.budgets.delete(seen.no, OWNER, revision=seen.revision)


def test_a_user_is_held_by_his_references(desk: Desk) -> None:
    subjects = Subjects()
    with desk.store.write() as transaction:
        ours = subjects.refs(transaction, "acme", "user", ["ann"])["ann"]
        theirs = subjects.refs(transaction, "globex", "user", ["ann"])["ann"]
    budget = desk.make("ann's", {"tenant": "acme", "user": "ann"})
    with desk.store.read() as transaction:
        shared = subjects.refs(transaction, "default", "user", ["ann"])["ann"]
    assert dict(budget.scope.parts) == {"tenant": "acme", "user": " ".join(sorted((ours, shared)))}
    held = desk.budgets.all()
    calls = {ref: [one.no for one in held.of(GovernedCall(tenant="acme", user=ref))] for ref in (ours, shared, theirs)}
    assert calls == {ours: [1], shared: [1], theirs: []}
    desk.make("ann's planner", {"tenant": "acme", "user": "ann", "agent": "planner"}, parent=budget.no)
    anybodys = desk.make("any ann's", {"user": "ann"})
    assert anybodys.scope.contains(budget.scope)
    assert not budget.scope.contains(anybodys.scope)


def test_other_processes_follow_within_half_a_second(desk: Desk) -> None:
    followed = followed_budgets(desk.store, desk.clock)
    assert len(followed.current()) == 0
    made = desk.make("all")
    assert len(followed.current()) == 0
    desk.clock.advance(0.5)
    assert list(followed.current()) == [made]
    changed = desk.edit(made, hard=True)
    with desk.store.read() as transaction:
        assert list(followed.seen_by(transaction)) == [changed]  # whoever asks in a transaction sees what it sees, at once
    desk.budgets.delete(made.no, OWNER)
    desk.clock.advance(0.5)
    assert len(followed.current()) == 0


def test_what_is_rolled_back_was_never_there(desk: Desk) -> None:
    followed = followed_budgets(desk.store, desk.clock)
    followed.current()

    def fail() -> None:
        with desk.store.together():
            desk.make("never")
            desk.clock.advance(1)
            assert [one.name for one in followed.current()] == ["never"]
            raise ValueError("the rest failed")

    with pytest.raises(ValueError, match="the rest failed"):
        fail()
    assert len(followed.current()) == 0
    kept = desk.make("kept")  # perhaps of the revision that was taken back
    desk.clock.advance(1)
    assert list(followed.current()) == [kept] == list(desk.budgets.all())


def test_the_last_known_budgets_hold_on_while_the_store_is_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = followed_budgets(desk.store, desk.clock)
    made = desk.make("all")
    assert list(followed.current()) == [made]

    def away() -> Any:
        raise Unavailable("the database is away")

    monkeypatch.setattr(desk.store, "read", away)
    desk.clock.advance(1)
    assert list(followed.current()) == [made]
    with pytest.raises(Unavailable):
        followed_budgets(desk.store, desk.clock).current()


def test_two_who_make_a_budget_at_once_get_two_numbers(desk: Desk) -> None:
    threads = [threading.Thread(target=desk.make, args=(f"budget {n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.no for one in desk.budgets.all()) == list(range(1, 9))


def test_a_set_finds_the_budgets_of_a_call() -> None:
    def budget(no: int, enabled: bool = True, **scope: str) -> Budget:
        return Budget(no, f"b{no}", Scope.of(scope), "calls", 1, enabled=enabled)

    all_of_them = [budget(1), budget(2, tenant="acme"), budget(3, tenant="globex"), budget(4, enabled=False, model="gpt-*")]
    held = BudgetSet(7, {one.no: one for one in reversed(all_of_them)})
    assert [one.no for one in held] == [1, 2, 3, 4]
    assert [one.no for one in held.of(GovernedCall(tenant="acme", model="GPT-4o"))] == [1, 2, 4]
    assert held.get(5) is None
    many = BudgetSet(8, {no: budget(no, agent=f"a{no}") for no in range(1, 41)})
    later = many.changed(9, {7: None, 8: budget(8, agent="a9"), 41: budget(41)})
    assert (later.revision, len(later), later.get(7)) == (9, 40, None)
    assert [one.no for one in later] == [*range(1, 7), *range(8, 42)]
    assert [[one.no for one in later.of(GovernedCall(agent=agent))] for agent in ("a7", "a8", "a9")] == [[41], [41], [8, 9, 41]]
    assert [one.no for one in many.of(GovernedCall(agent="a9"))] == [9]
    assert len(later.children(None)) == 40
