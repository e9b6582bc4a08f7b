"""Approvals: one request for one thing, passes that let exactly as many calls through as was said, and what people can do with either."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from counting_rig import USD
from deciding_rig import DecidingRig

from otel_finops.base.errors import BadInput, Conflict, NotFound
from otel_finops.governance.approvals import Approval, Grant, Query, StoredApprovals
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.policy_store import Edit, PolicyStore
from otel_finops.governance.rulings import Reason, Ruling
from otel_finops.identity.principals import Editor
from otel_finops.ledger.subjects import Subjects
from otel_finops.settings.approvals import Approvals as Settings
from otel_finops.store.engine import Store
from otel_finops.testing import NOON, CountingIds, FakeClock

HOUR = 3600
CENT = 10**10
CALL = GovernedCall(tenant="acme", provider="openai", model="gpt-4o", agent="planner", trace="a" * 32, at_ns=NOON, pico=50 * CENT, tokens=9)
LARGE = Ruling("require_approval", (Reason("policy", "require_approval", "large calls", "7", "above 0.25 USD"),))
OTHER = Ruling("require_approval", (Reason("policy", "require_approval", "night shift", "8", "after eight"),))


class Office:
    """Approvals over a store, with short words for what decisions and people do."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = FakeClock()
        self.subjects = Subjects(CountingIds())
        self.approvals = StoredApprovals(store, self.clock, self.subjects, Settings())
        self.decisions = 0

    def decide(self, call: GovernedCall = CALL, ruling: Ruling = LARGE) -> str | None:
        """What a decision does: take the pass that there is (None: it goes through), or ask for one; then the request's id."""
        self.decisions += 1
        decision_id = f"d{self.decisions}"
        with self.store.write() as transaction:
            found = self.approvals.pass_for(transaction, call, ruling)
            if found is not None and self.approvals.consume(transaction, found, decision_id, self.clock.now_ns()):
                return None
            asked = self.approvals.request(transaction, call, ruling, decision_id)
            assert asked is not None
            return asked

    def approve(self, approval_id: str | None, *, kind: Any = "once", hours: float | None = None, up_to: int | None = None) -> Approval:
        assert approval_id is not None
        return self.approvals.approve(approval_id, None, Grant(kind, hours, up_to), who="ann", why="the quarter's report")[1]

    def all(self, **query: Any) -> list[tuple[str, str]]:
        return [(one.id, one.state) for one in self.approvals.page(None, Query(**query), None, 100)]


@pytest.fixture
def office(store: Store) -> Office:
    return Office(store)


def test_the_next_decision_takes_the_pass_and_only_that_one(office: Office) -> None:
    asked = office.decide()
    assert office.all() == [(asked, "pending")]
    office.approve(asked)
    assert office.decide() is None
    again = office.decide()
    assert again not in (None, asked)
    assert office.all() == [(again, "pending"), (asked, "used")]
    assert [use.decision_id for use in office.approvals.uses(office.approvals.find(str(asked), None))] == ["d2"]


def test_a_retry_in_another_trace_is_the_same_request_and_the_dearest_counts(office: Office) -> None:
    asked = office.decide()
    office.clock.advance(60)
    assert office.decide(CALL._replace(trace="b" * 32, session="0000", pico=60 * CENT, at_ns=NOON + 60)) == asked
    assert office.decide(CALL._replace(pico=10 * CENT)) == asked
    found = office.approvals.find(str(asked), None)
    assert (found.asks, found.call.pico, found.asked_ns, found.last_asked_ns) == (3, 60 * CENT, NOON, NOON + 60 * 10**9)
    assert (found.rule_id, found.rule, found.decision_id) == ("7", "large calls", "d1")


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": "globex"}, {"realm": "acme"}, {"provider": "anthropic"}, {"model": "gpt-4o-mini"}, {"agent": "writer"}, {"user": "77"},
        {"purpose": "sales"}, {"cost_center": "R&D"}, {"environment": "production"}, {"tags": {"team": "red"}},
    ],
)  # fmt: skip
def test_a_pass_is_for_nothing_else(office: Office, change: dict[str, Any]) -> None:
    asked = office.decide()
    office.approve(asked)
    assert office.decide(CALL._replace(**change)) not in (None, asked)
    assert office.decide(ruling=OTHER) not in (None, asked)
    assert office.decide(CALL._replace(model="GPT-4o", provider="OpenAI")) is None  # spelling is no difference


def test_a_pass_covers_no_dearer_call(office: Office) -> None:
    asked = office.decide()
    assert office.approve(asked).max_pico == 50 * CENT
    dearer = office.decide(CALL._replace(pico=50 * CENT + 1))
    assert dearer not in (None, asked)
    assert office.decide(CALL._replace(pico=None)) == dearer  # who knows what that costs
    assert office.decide(CALL._replace(pico=49 * CENT)) is None


def test_an_approver_may_let_dearer_calls_pass_but_not_less_than_was_asked_for(office: Office) -> None:
    asked = office.decide()
    with pytest.raises(BadInput, match="up_to_usd: less than was asked for"):
        office.approve(asked, up_to=49 * CENT)
    office.approve(asked, up_to=100 * CENT)
    assert office.decide(CALL._replace(pico=100 * CENT)) is None


def test_what_could_not_be_estimated_is_approved_at_any_price(office: Office) -> None:
    asked = office.decide(CALL._replace(pico=None))
    assert office.approve(asked).max_pico is None
    assert office.decide(CALL._replace(pico=None)) is None


def test_a_timed_pass_holds_for_any_number_of_calls_until_it_ends(office: Office) -> None:
    asked = office.decide()
    office.approve(asked, kind="timed", hours=2)
    assert [office.decide() for _ in range(5)] == [None] * 5
    assert len(office.approvals.uses(office.approvals.find(str(asked), None))) == 5
    office.clock.advance(2 * HOUR)
    assert office.decide() not in (None, asked)
    assert office.all(state="expired") == [(asked, "expired")]


def test_a_timed_pass_is_taken_before_one_for_a_single_call(office: Office) -> None:
    single = office.decide()
    office.approve(single)
    timed = office.decide(CALL._replace(pico=90 * CENT))
    office.approve(timed, kind="timed")
    assert office.decide() is None
    assert office.all(state="approved") == [(timed, "approved"), (single, "approved")]


def test_nobody_decided_in_time(office: Office) -> None:
    asked = office.decide()
    office.clock.advance(24 * HOUR)
    assert office.all() == [(asked, "expired")]
    with pytest.raises(Conflict, match="is expired already"):
        office.approve(asked)
    again = office.decide()
    assert again != asked
    assert office.all() == [(again, "pending"), (asked, "expired")]


def test_a_pass_that_nobody_takes_ends_too(office: Office) -> None:
    asked = office.decide()
    office.approve(asked)
    office.clock.advance(24 * HOUR)
    assert office.decide() not in (None, asked)


def test_what_is_decided_on_stays_so(office: Office) -> None:
    asked = str(office.decide())
    before, after = office.approvals.reject(asked, None, who="bob", why="too dear")
    assert (before.state, after.state, after.decided_by, after.why) == ("pending", "rejected", "bob", "too dear")
    for again in (office.approvals.reject, office.approvals.revoke):
        with pytest.raises(Conflict, match="is rejected already, by bob at 2026-11-21T12:00:00"):
            again(asked, None, who="ann", why="really")
    with pytest.raises(Conflict):
        office.approve(asked)
    assert office.decide() not in (None, asked)  # asked for again, it is a new request


def test_a_pass_can_be_taken_back_while_it_holds(office: Office) -> None:
    asked = str(office.decide())
    with pytest.raises(Conflict, match="only one that is a pass that holds"):
        office.approvals.revoke(asked, None, who="ann", why="a mistake")
    office.approve(asked, kind="timed")
    assert office.approvals.revoke(asked, None, who="ann", why="a mistake")[1].state == "revoked"
    assert office.decide() not in (None, asked)


def test_a_dry_run_changes_nothing(office: Office) -> None:
    asked = str(office.decide())
    assert office.approvals.approve(asked, None, Grant(), who="ann", why="try", dry_run=True)[1].state == "approved"
    assert office.approvals.reject(asked, None, who="ann", why="try", dry_run=True)[1].state == "rejected"
    assert office.all() == [(asked, "pending")]


def test_requests_of_others_are_not_there(office: Office) -> None:
    asked = str(office.decide())
    with pytest.raises(NotFound, match="no such approval"):
        office.approvals.find(asked, ("globex",))
    with pytest.raises(NotFound):
        office.approvals.approve(asked, ("globex",), Grant(), who="gil", why="mine")
    assert office.approvals.page(("globex",), Query(), None, 10) == office.approvals.page((), Query(), None, 10) == []
    assert [one.id for one in office.approvals.page(("acme",), Query(), None, 10)] == [asked]


def test_requests_are_found_by_what_they_are_for(office: Office) -> None:
    first, second = office.decide(), office.decide(CALL._replace(provider="anthropic", model="claude-sonnet-4-5", agent="writer"), OTHER)
    for query, found in (
        ({"provider": "OpenAI"}, first), ({"model": "claude-sonnet-4-5"}, second), ({"agent": "planner"}, first),
        ({"rule_id": "8"}, second),
    ):  # fmt: skip
        assert office.all(**query) == [(found, "pending")]
    assert office.all(state="pending") == [(second, "pending"), (first, "pending")]
    assert [one.id for one in office.approvals.page(None, Query(), office.approvals.find(str(second), None).no, 10)] == [first]


def test_people_are_stored_as_references_and_shown_by_name(office: Office) -> None:
    with office.store.write() as transaction:
        ref = office.subjects.refs(transaction, "default", "user", ["ann@example.org"])["ann@example.org"]
    asked = str(office.decide(CALL._replace(user=ref)))
    with office.store.read() as transaction:
        assert "ann@" not in str(transaction.execute("SELECT * FROM approvals"))
    assert office.approvals.find(asked, None).call.user == "ann@example.org"
    with office.store.write() as transaction:
        transaction.execute("DELETE FROM subjects")
    assert office.approvals.find(asked, None).call.user == ref


def test_no_more_wait_than_people_can_decide_on(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_finops.governance.approvals.APPROVALS_PENDING_OF_TENANT_MAX", 2)
    asked = [office.decide(CALL._replace(agent=name)) for name in ("one", "two")]
    with office.store.write() as transaction:
        assert office.approvals.request(transaction, CALL, LARGE, "d9") is None
        assert office.approvals.request(transaction, CALL._replace(agent="one"), LARGE, "d9") == asked[0]
        assert office.approvals.request(transaction, CALL._replace(tenant="globex"), LARGE, "d9") is not None
    office.clock.advance(24 * HOUR)
    assert office.decide() is not None


def test_of_twenty_at_once_one_takes_the_pass_and_the_others_ask_once(database_url: str, office: Office) -> None:
    """Every decision in a store of its own, as many processes would have."""
    office.approve(office.decide())
    barrier, taken, asked = threading.Barrier(20), list[str](), list[str | None]()

    def decide(number: int) -> None:
        own = Store.open(database_url, office.clock)
        approvals = StoredApprovals(own, office.clock, Subjects(), Settings())
        barrier.wait()
        with own.write() as transaction:
            found = approvals.pass_for(transaction, CALL, LARGE)
            if found is not None and approvals.consume(transaction, found, f"t{number}", NOON):
                taken.append(f"t{number}")
            else:
                asked.append(approvals.request(transaction, CALL, LARGE, f"t{number}"))
        own.close()

    threads = [threading.Thread(target=decide, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 1
    assert len(asked) == 19
    assert len(set(asked)) == 1
    assert [state for _, state in office.all()] == ["pending", "used"]
    assert office.all()[0][0] == asked[0]


def test_two_who_decide_on_many_things_in_any_order_never_wait_for_each_other(store: Store, database_url: str, office: Office) -> None:
    """On PostgreSQL: each takes, and asks for, what the other one has written and not committed yet."""
    if store.engine_name == "sqlite":
        pytest.skip("one writer: nobody can hold what another one wants")
    office.approve(office.decide(CALL._replace(agent="x")))
    other = Store.open(database_url, office.clock)
    approvals, asked = office.approvals, CALL._replace(agent="x")
    with office.store.write() as one, other.write() as two:
        found = str(approvals.pass_for(one, asked, LARGE))
        assert approvals.consume(one, found, "d1", NOON)
        new = approvals.request(one, CALL, LARGE, "d2")
        assert not approvals.consume(two, found, "d3", NOON)
        assert approvals.request(two, CALL, LARGE, "d4") == new
    other.close()
    assert office.all() == [(new, "pending"), (found, "used")]


# --- with the desk of decisions ------------------------------------------------------------------------------------


@pytest.fixture
def rig(store: Store) -> DecidingRig:
    made = DecidingRig(store)
    PolicyStore(store, made.clock, made.subjects).create(
        Edit({"name": "large calls", "action": "require_approval", "min_pico": USD}), Editor("olga")
    )
    made.clock.advance(0.6)
    return made


def approvals_of(rig: DecidingRig) -> StoredApprovals:
    return StoredApprovals(rig.store, rig.clock, rig.subjects, Settings())


def test_a_decision_waits_for_an_approval_and_the_next_one_takes_it(rig: DecidingRig) -> None:
    first = rig.decide(2 * USD, tenant="acme", user="ann")
    assert (first["action"], first["http_status"], first["reservation_id"]) == ("require_approval", 402, None)
    asked = first["approval_id"]
    assert rig.decide(2 * USD, tenant="acme", user="ann")["approval_id"] == asked
    assert rig.decide(USD - 1, tenant="acme", user="ann")["action"] == "allow"  # nobody asks for an approval of that
    approvals_of(rig).approve(asked, None, Grant(), who="bob", why="once")
    passed = rig.decide(2 * USD, tenant="acme", user="ann")
    assert passed["action"] == "allow"
    assert [reason["text"] for reason in passed["reasons"] if asked in reason["text"]]
    assert rig.decide(2 * USD, tenant="acme", user="ann")["approval_id"] not in (None, asked)
    found = approvals_of(rig).find(asked, None)
    assert (found.state, found.asks, found.call.user, found.rule) == ("used", 2, "ann", "large calls")
    assert [use.decision_id for use in approvals_of(rig).uses(found)] == [passed["decision_id"]]


def test_a_dry_run_asks_for_nothing_and_takes_nothing(rig: DecidingRig) -> None:
    assert rig.try_out(rig.question(2 * USD))["action"] == "require_approval"
    assert approvals_of(rig).page(None, Query(), None, 10) == []
    asked = rig.decide(2 * USD)["approval_id"]
    approvals_of(rig).approve(asked, None, Grant(), who="bob", why="once")
    assert [rig.try_out(rig.question(2 * USD))["action"] for _ in range(2)] == ["allow", "allow"]
    assert approvals_of(rig).find(asked, None).state == "approved"


def test_in_observe_mode_nothing_is_asked_for_and_no_pass_is_taken(store: Store) -> None:
    rig = DecidingRig(store, mode="observe")
    PolicyStore(store, rig.clock, rig.subjects).create(Edit({"name": "all", "action": "require_approval"}), Editor("olga"))
    rig.clock.advance(0.6)
    answer = rig.decide(2 * USD)
    assert (answer["action"], answer["approval_id"]) == ("allow", None)
    assert approvals_of(rig).page(None, Query(), None, 10) == []


def test_a_pass_is_not_used_up_where_the_budget_has_no_room(rig: DecidingRig) -> None:
    asked = rig.decide(2 * USD)["approval_id"]
    approvals_of(rig).approve(asked, None, Grant(), who="bob", why="once")
    rig.make(hard=True, amount=USD)
    assert rig.decide(2 * USD)["action"] == "block"
    assert approvals_of(rig).find(asked, None).state == "approved"


def test_of_many_at_two_desks_one_takes_the_pass(rig: DecidingRig) -> None:
    asked = rig.decide(2 * USD)["approval_id"]
    approvals_of(rig).approve(asked, None, Grant(), who="bob", why="once")
    desks, questions, answers = [rig.desk, rig.another_desk()], [rig.question(2 * USD) for _ in range(20)], list[str]()
    threads = [
        threading.Thread(target=lambda number=number: answers.append(desks[number % 2].decide(questions[number])["action"]))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["allow", *["require_approval"] * 19]
    assert [one.state for one in approvals_of(rig).page(None, Query(), None, 10)] == ["pending", "used"]
