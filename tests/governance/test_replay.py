"""Replay: what rules would have done with calls of the past; and that a month replayed comes out as it did when it was live."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from counting_rig import OWNER, USD
from deciding_rig import ESTIMATE, DecidingRig
from ledger_rig import PRICES, SECOND, call

from otel_finops.governance import replay as replay_module
from otel_finops.governance.budgets import Budget, BudgetSet
from otel_finops.governance.decisions import Query, halted_between
from otel_finops.governance.kill_switches import Target
from otel_finops.governance.periods import Period
from otel_finops.governance.policies import Policy, PolicySet, Rule, checked
from otel_finops.governance.policy_store import Edit, PolicyStore
from otel_finops.governance.projections import projections
from otel_finops.governance.rates import Rate
from otel_finops.governance.replay import Replayed, Replays, Selection, Sum
from otel_finops.governance.scopes import Scope
from otel_finops.identity.principals import Editor
from otel_finops.ledger.settle import Settler
from otel_finops.store.engine import Store
from otel_finops.store.upgrade import upgrade
from otel_finops.testing import NOON, FakeClock

HOUR = 3600
DAY = 24 * HOUR
MINI = 21 * 10**7
"""0.00021 USD: the same call by gpt-4o-mini, 0.15 and 0.60 USD a million: 0.00015 + 0.00006."""
MONTH = Period("monthly")


class ReplayRig(DecidingRig):
    """`DecidingRig` with policies, runs of traces and replays."""

    def __init__(self, store: Store, **settings: str) -> None:
        super().__init__(store, **settings)
        self.settler = Settler(
            store, self.leases, PRICES, [self.rollups, *projections(self.settings, store, self.clock)], self.clock,
            sleep=self.clock.advance, recent=self.recent, pending=self.pending, trace_projections=[self.figures],
        )  # fmt: skip
        self.policies = PolicyStore(store, self.clock, self.subjects)
        self.replays = Replays(store, self.clock, lambda: PRICES, self.settings.enforcement, figures=True)
        self.spans = 0

    def policy(self, name: str, scope: Mapping[str, str] | None = None, **fields: Any) -> Policy:
        """Make a policy, as people do."""
        made = self.policies.create(Edit({"name": name, **fields}, scope or {}), Editor("olga"))
        self.clock.advance(0.6)
        return made

    def make_call(self, trace: int = 1, *, reservation: str | None = None, model: str = "gpt-4o", **attribution: str) -> None:
        """A call that begins now, takes a second, and is booked at once."""
        self.spans += 1
        now_ns = self.clock.now_ns()
        said = {**attribution, **({} if reservation is None else {"reservation": reservation})}
        sighting = call(
            self.spans, trace, start_ns=now_ns, end_ns=now_ns + SECOND, attribution=said, request_model=model, price_models=(model,)
        )
        self.clock.advance(1)
        self.settle(sighting)

    def live(self, trace: int, model: str, **said: str) -> str:
        """Ask, and make the call if that is the answer; what was decided."""
        pico = ESTIMATE if model == "gpt-4o" else MINI
        trace_id = f"{trace:032x}"
        answer = self.desk.decide(self.question(pico, model=model, operation="chat", trace=trace_id, **said))
        if answer["action"] == "allow":
            self.make_call(trace, model=model, reservation=answer["reservation_id"], **said)
        return str(answer["decision_id"])

    def replay(self, *rules: Policy | Budget, **selection: Any) -> Replayed:
        """Replay over everything up to now, these rules or those that stand."""
        policies = PolicySet(1, {one.no: Rule.of(checked(one)) for one in rules if isinstance(one, Policy)})
        budgets = BudgetSet(1, {one.no: one for one in rules if isinstance(one, Budget)})
        if not rules:
            policies, budgets = self.policies.all(), self.budgets.all()
        said = {
            "tenants": None,
            "from_ns": NOON - DAY * SECOND,
            "to_ns": self.clock.now_ns() + SECOND,
            "policies": policies,
            "budgets": budgets,
        }
        return self.replays.run(Selection(**{**said, **selection}))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ReplayRig]:
    """On one engine: what is replayed is worked out in memory."""
    store = Store.open(f"sqlite:///{tmp_path / 'replayed.db'}", FakeClock())
    upgrade(store)
    yield ReplayRig(store)
    store.close()


def budget(amount: int, period: Period = MONTH, no: int = 1, **fields: Any) -> Budget:
    return Budget(no, "limit", **{"scope": Scope(), "kind": "money", "amount": amount, "period": period, "hard": True, **fields})


def blocked(result: Replayed) -> int:
    return result.by_action.get("block", Sum()).calls


# --- the live outcome ----------------------------------------------------------------------------------------------


def govern(rig: ReplayRig) -> None:
    """Limits that some calls of the month below reach, of every kind."""
    rig.make("acme's day", {"tenant": "acme"}, hard=True, amount=9 * ESTIMATE, period=Period("daily", "Europe/Rome"))
    rig.make("month", hard=True, amount=55 * ESTIMATE)
    rig.make("planner's calls", {"agent": "planner"}, hard=True, kind="calls", amount=9, period=Period("rolling_hours", length=30))
    rig.make("soft", {"agent": "writer"}, amount=ESTIMATE)
    rig.policy("long traces", action="block", condition="trace.calls >= 6 && trace.cost_usd > 0.01", priority=5)
    rig.policy("no mini for globex", {"tenant": "globex", "model": "gpt-4o-mini"}, action="queue", retry_after_s=60, priority=10)
    rig.policy("slowly", {"agent": "writer"}, action="throttle", rate=Rate(2, 600, "tenant"), priority=20)
    rig.policy("large for the lab", {"purpose": "lab"}, action="require_approval", min_pico=ESTIMATE, priority=30)


def live_month(rig: ReplayRig, calls: int, seed: int) -> list[str]:
    """Calls of two tenants over nine days; the ids of their decisions."""
    drawn = random.Random(seed)
    ids = []
    for _ in range(calls):
        rig.clock.advance(drawn.choice((1, 7, 60, 120, 2 * HOUR)))
        said = {"tenant": drawn.choice(("acme", "acme", "globex")), "agent": drawn.choice(("planner", "writer", "reader"))}
        if drawn.random() < 0.3:
            said["purpose"] = "lab"
        ids.append(rig.live(drawn.randrange(1, 9), drawn.choice(("gpt-4o", "gpt-4o", "gpt-4o-mini")), **said))
    return ids


def outcomes(result: Replayed) -> Counter[tuple[str, str | None, str]]:
    """How many calls each rule decided on."""
    return Counter({(one.gate, one.rule_id, one.action): one.calls.calls for one in result.outcomes})


def recorded(rig: ReplayRig) -> Counter[tuple[str, str | None, str]]:
    """The same, as live decisions stand on record."""
    found = rig.desk.page(Query(None), None, 10_000)[0]
    return Counter((one.gate, one.rule_id, one.action) for one in found if one.action != "allow")


@pytest.mark.parametrize(("seed", "calls"), [(3, 80), *(pytest.param(seed, 400, marks=pytest.mark.long) for seed in (1, 2, 4))])
def test_a_month_that_was_enforced_comes_out_as_it_was(store: Store, seed: int, calls: int) -> None:
    rig = ReplayRig(store)
    govern(rig)
    ids = live_month(rig, calls, seed)
    result = rig.replay()
    assert outcomes(result) == recorded(rig)
    assert len({(gate, action) for gate, _, action in recorded(rig)}) >= 4  # the month has something of nearly every kind
    with rig.store.read() as transaction:
        stopped = halted_between(transaction, None, 0, rig.clock.now_ns() + SECOND)
    assert result.stopped == Sum(len(stopped), sum(one.call.pico or 0 for one in stopped))
    assert result.made == result.again == Sum(len(ids) - len(stopped), rig.total())
    assert result.saved_pico == 0


@pytest.mark.parametrize(("seed", "calls"), [(3, 60), *(pytest.param(seed, 400, marks=pytest.mark.long) for seed in (1, 2, 4))])
def test_a_month_that_was_only_observed_comes_out_as_it_would_have_been(store: Store, seed: int, calls: int) -> None:
    rig = ReplayRig(store, mode="observe")
    govern(rig)
    ids = live_month(rig, calls, seed)
    result = rig.replay(mode="observe")
    assert outcomes(result) == recorded(rig)
    assert (result.made, result.stopped) == (Sum(len(ids), rig.total()), Sum())
    assert blocked(result) > 0
    assert result.again == result.made  # nothing was stopped
    enforced = rig.replay()
    assert enforced.saved_pico == enforced.made.pico - enforced.again.pico > 0
    assert blocked(enforced) <= blocked(result)  # what was blocked leaves room for what comes after it


def test_what_is_under_way_is_held_at_its_estimate_as_it_was(rig: ReplayRig) -> None:
    """Of a limit of 10 USD two calls hold 4 each at the same time; the third does not fit, the fourth does when the first came to less."""
    rig.make(hard=True, amount=10 * USD)
    first, second, third = (rig.desk.decide(rig.question(4 * USD)) for _ in range(3))
    assert [one["action"] for one in (first, second, third)] == ["allow", "allow", "block"]
    started_ns = rig.clock.now_ns()
    rig.clock.advance(1)
    for number, answer in enumerate((first, second)):
        known = {"start_ns": started_ns, "end_ns": started_ns + SECOND, "attribution": {"reservation": answer["reservation_id"]}}
        rig.settle(call(100 + number, **known))
    rig.clock.advance(1)
    assert rig.desk.decide(rig.question(4 * USD))["action"] == "allow"  # never made, and nothing of it is known
    result = rig.replay()
    assert outcomes(result) == recorded(rig)
    assert (result.made, result.stopped.calls) == (Sum(2, 2 * ESTIMATE), 1)


# --- new rules over old calls --------------------------------------------------------------------------------------


def ten_calls(rig: ReplayRig) -> None:
    """One an hour, of two agents in turn, five of them in one trace."""
    for number in range(10):
        rig.make_call(1 if number < 5 else number, agent=("planner", "writer")[number % 2], tenant="acme")
        rig.clock.advance(HOUR - 2)


def test_a_budget_would_have_blocked_and_saved(rig: ReplayRig) -> None:
    ten_calls(rig)
    result = rig.replay(budget(7 * ESTIMATE))
    assert (result.made, result.again) == (Sum(10, 10 * ESTIMATE), Sum(7, 7 * ESTIMATE))
    assert (blocked(result), result.saved_pico) == (3, 3 * ESTIMATE)
    [outcome] = result.outcomes
    assert (outcome.gate, outcome.rule, outcome.rule_id, outcome.calls.calls, outcome.saved_pico) == (
        "budget",
        "limit",
        "1",
        3,
        3 * ESTIMATE,
    )
    assert [one.past.call.at_ns for one in result.examples if one.past.call] == sorted(
        one.past.call.at_ns for one in result.examples if one.past.call
    )
    assert blocked(rig.replay(budget(7 * ESTIMATE), mode="observe")) == 3  # counted all the same, each of them finds no room
    assert rig.replay(budget(7 * ESTIMATE, enabled=False)).saved_pico == 0
    assert rig.replay(budget(7 * ESTIMATE, hard=False)).saved_pico == 0


@pytest.mark.parametrize(
    ("period", "amount", "made"),
    [
        (Period("daily"), 3, 3),  # all ten on the 21st, from noon to 21:00
        (Period("daily", "Asia/Tokyo"), 2, 4),  # which is until 15:00 there, three calls, and then the 22nd
        (Period("rolling_hours", length=2), 1, 4),  # at 12, 15, 18 and 21 o'clock
        (Period("rolling_days", length=2), 9, 9),
    ],
)
def test_budgets_of_every_period(rig: ReplayRig, period: Period, amount: int, made: int) -> None:
    ten_calls(rig)
    assert rig.replay(budget(amount, period, kind="calls")).again.calls == made


def test_what_was_spent_before_the_replay_begins_counts(rig: ReplayRig) -> None:
    ten_calls(rig)
    late_ns = NOON + 5 * HOUR * SECOND
    result = rig.replay(budget(7 * ESTIMATE), from_ns=late_ns)
    assert (result.made.calls, result.again.calls) == (5, 2)
    tomorrow = rig.replay(budget(7 * ESTIMATE, Period("rolling_hours", length=1)), from_ns=late_ns)
    assert tomorrow.again.calls == 5


def test_what_a_window_left_is_carried_over(rig: ReplayRig) -> None:
    """The 21st: three calls of a limit of four. The 22nd: five, one of which the day before paid."""
    for calls in (3, 5):
        for _ in range(calls):
            rig.make_call(rig.spans + 1)
        rig.clock.advance(DAY)
    assert rig.replay(budget(4, Period("daily"), kind="calls", carry_over=True)).again.calls == 8
    assert rig.replay(budget(4, Period("daily"), kind="calls")).again.calls == 7


def test_a_policy_would_have_chosen_a_cheaper_model(rig: ReplayRig) -> None:
    ten_calls(rig)
    result = rig.replay(Policy(3, "planners are small", "downgrade", Scope.of({"agent": "planner"}), downgrade_to="gpt-4o-mini"))
    assert result.again == Sum(10, 5 * ESTIMATE + 5 * MINI)
    assert result.saved_pico == 5 * (ESTIMATE - MINI)
    assert result.by_action["downgrade"].calls == 5


def test_a_budget_has_room_for_more_calls_of_a_cheaper_model(rig: ReplayRig) -> None:
    ten_calls(rig)
    mini = Policy(3, "small", "downgrade", downgrade_to="gpt-4o-mini")
    assert rig.replay(budget(10 * MINI), mini).again.calls == 0  # the large model is asked about first, and finds no room
    assert rig.replay(budget(ESTIMATE + 3 * MINI), mini).again == Sum(4, 4 * MINI)


def test_loops_would_have_been_stopped(rig: ReplayRig) -> None:
    ten_calls(rig)
    loop = Policy(3, "loop", "block", condition="trace.calls >= 3")
    result = rig.replay(loop)
    assert (blocked(result), result.again.calls) == (2, 8)
    dear = Policy(3, "dear", "block", condition="trace.cost_usd > 0.006")  # the third call finds 0.007 USD in its trace
    assert blocked(rig.replay(dear)) == 3
    assert blocked(rig.replay(dear, from_ns=NOON + 4 * HOUR * SECOND)) == 1  # what the trace came to before is known


def test_approvals_and_waits_are_told_and_their_calls_made(rig: ReplayRig) -> None:
    ten_calls(rig)
    result = rig.replay(
        Policy(3, "ask", "require_approval", Scope.of({"agent": "planner"})),
        Policy(4, "slowly", "throttle", Scope.of({"agent": "writer"}), rate=Rate(1, 3 * HOUR)),
    )
    assert {action: total.calls for action, total in result.by_action.items()} == {"require_approval": 5, "throttle": 2, "allow": 3}
    assert result.saved_pico == 0
    assert result.again == result.made


def test_what_was_stopped_is_let_through_by_looser_rules(rig: ReplayRig) -> None:
    rig.make(hard=True, amount=2 * ESTIMATE)
    for trace in range(1, 6):
        rig.live(trace, "gpt-4o")
    tight, loose = rig.replay(), rig.replay(budget(4 * ESTIMATE))
    assert (tight.made.calls, tight.stopped, tight.again.calls) == (2, Sum(3, 3 * ESTIMATE), 2)
    assert loose.again == Sum(4, 4 * ESTIMATE)
    assert loose.saved_pico == 0
    assert rig.replay(budget(4 * ESTIMATE), stopped=False).stopped == Sum()


def test_what_a_kill_switch_stopped_stays_so(rig: ReplayRig) -> None:
    rig.switches.set(Target("agent", "rogue"), who="ann", why="a loop")
    rig.clock.advance(0.6)
    rig.live(1, "gpt-4o", agent="rogue")
    result = rig.replay(budget(USD))
    assert (result.stopped, result.again, dict(result.by_action)) == (Sum(1, ESTIMATE), Sum(), {})


def test_calls_of_others_are_not_replayed(rig: ReplayRig) -> None:
    ten_calls(rig)
    rig.make_call(50, tenant="globex")
    assert rig.replay(budget(0), tenants=("globex",)).made.calls == 1
    assert rig.replay(budget(0), tenants=()).made.calls == 0
    assert rig.replay(budget(0)).made.calls == 11


def test_corrections_count_for_the_call_as_it_stands(rig: ReplayRig) -> None:
    """The span comes again with twice the tokens, so that one call is reversed and charged anew."""
    rig.make_call(1)
    known = {"start_ns": NOON, "end_ns": NOON + 2 * SECOND, "usage": {"input_uncached": 2000, "output": 200}}
    rig.settle(call(1, **known))
    assert rig.replay(budget(ESTIMATE)).made == Sum(1, 2 * ESTIMATE)


def test_money_of_other_currencies_counts_at_the_rate_of_its_day(rig: ReplayRig) -> None:
    """One euro is 1.25 dollars on the 21st and 1 dollar on the 22nd, so that 0.0035 USD are 0.0028 EUR and 0.0035 EUR."""
    insert = "INSERT INTO fx_rates (currency, day, import_no, per_euro) VALUES (?, ?, 1, ?)"
    with rig.store.write() as transaction:
        for day, rate in (("2026-11-21", "1.25"), ("2026-11-22", "1")):
            transaction.execute(insert, ("USD", day, rate))
    rig.make_call(1)
    rig.clock.advance(DAY)
    rig.make_call(2)
    rig.make_call(3)
    limit = 28 * 10**8 + 35 * 10**8
    result = rig.replay(budget(limit, currency="EUR"))
    assert result.again.calls == 2
    assert rig.replay(budget(limit, currency="CHF")).again.calls == 3  # nobody knows how it stands, and it says nothing of that
    assert rig.replay(budget(limit, currency="CHF", fail_open=False)).again.calls == 1  # that nothing is spent is known without a rate


def test_money_of_other_currencies_over_some_hours_is_that_of_these_hours(rig: ReplayRig) -> None:
    """One euro is 1.25 dollars: there is room for one call of 0.0028 EUR in two hours."""
    with rig.store.write() as transaction:
        transaction.execute("INSERT INTO fx_rates (currency, day, import_no, per_euro) VALUES ('USD', '2026-11-20', 1, '1.25')")
    for number, wait_s in enumerate((0, HOUR // 2, 3 * HOUR), 1):
        rig.clock.advance(wait_s)
        rig.make_call(number)
    result = rig.replay(budget(28 * 10**8, Period.of("rolling_hours", length=2), currency="EUR"))
    assert (result.again.calls, blocked(result)) == (2, 1)


def test_a_policy_that_fails_is_skipped_and_counted(rig: ReplayRig) -> None:
    ten_calls(rig)
    result = rig.replay(Policy(3, "odd", "block", condition="1 / (estimate.tokens - 1100) > 0"))
    assert (result.failed, blocked(result)) == ({3: 10}, 0)


def test_too_many_calls_are_replayed_up_to_where_it_came(rig: ReplayRig, monkeypatch: pytest.MonkeyPatch) -> None:
    ten_calls(rig)
    monkeypatch.setattr(replay_module, "REPLAY_CALLS_MAX", 4)
    result = rig.replay(budget(0))
    assert (result.made.calls, result.until_ns) == (4, NOON + 4 * HOUR * SECOND)


def test_one_that_takes_too_long_ends_with_the_call_at_hand(rig: ReplayRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is looked at with every call: what policies take for one may be long."""
    ten_calls(rig)
    monkeypatch.setattr(replay_module, "REPLAY_S_MAX", -1.0)
    result = rig.replay(budget(0))
    assert result.made.calls == 0


def test_a_replay_writes_nothing(rig: ReplayRig) -> None:
    govern(rig)
    live_month(rig, 20, 1)
    tables = ("decisions", "reservations", "budget_counters", "budget_holds", "policy_rates", "policy_calls", "policy_failures", "counters")

    def kept() -> list[Any]:
        with rig.store.read() as transaction:
            return [transaction.execute(f"SELECT COUNT(*) FROM {table}") for table in tables]

    before = kept()
    rig.replay()
    assert kept() == before
    assert OWNER.who == "olga"
