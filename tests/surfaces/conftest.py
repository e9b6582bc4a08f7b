"""A small settled ledger with two tenants, opened as the service opens it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from fractions import Fraction

import pytest
from starlette.testclient import TestClient
from surfaces_world import BILL, DECIDED, PASSING, RATES, SCORES, SIGHTINGS, WAITING

from otel_finops.alerting.channel_store import RouteEdit
from otel_finops.alerting.channels import Given as GivenChannel
from otel_finops.alerting.notices import Notice
from otel_finops.alerting.outbox import put_for
from otel_finops.alerting.rule_store import RuleStore
from otel_finops.alerting.rules import Rule as AlertRule
from otel_finops.base.money import PICO_PER_USD
from otel_finops.base.times import parse_ns
from otel_finops.genai.sighting import CALL
from otel_finops.governance.approvals import Grant, StoredApprovals
from otel_finops.governance.budget_store import Edit
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.credit_store import Draft as PoolDraft
from otel_finops.governance.credit_store import Editor as PoolEditor
from otel_finops.governance.decide import Asked, Estimate, Question
from otel_finops.governance.kill_switches import KillSwitches, Target
from otel_finops.governance.policy_store import Edit as PolicyEdit
from otel_finops.governance.policy_store import PolicyStore
from otel_finops.governance.rulings import Reason, Ruling
from otel_finops.identity.principals import LOCAL, Editor
from otel_finops.identity.stored import TokenDraft
from otel_finops.insight.anomaly_scan import Scope
from otel_finops.insight.anomaly_store import Finding, Mute, Note, add_mute, add_note, put_anomaly
from otel_finops.insight.anomaly_words import drivers_json
from otel_finops.insight.bill_store import OF_ALL, Bills, Label
from otel_finops.insight.bills.reading import Given, read_bill
from otel_finops.insight.cost_centers import CostCenter, Rule
from otel_finops.insight.drivers import Cell, Detail, Driver
from otel_finops.ledger.fx_store import store_rates
from otel_finops.ledger.journal import JournalRow, record
from otel_finops.ledger.price_refresh import PriceRefresher
from otel_finops.ledger.price_rules import Draft, PriceRules
from otel_finops.ledger.price_watches import PriceWatches
from otel_finops.ledger.rollups import Rollups
from otel_finops.ledger.settle import Settler
from otel_finops.ledger.subscription_windows import SubscriptionWindows
from otel_finops.operations.local import Room, open_room, upgrade_database
from otel_finops.pricing.ecb import read_rates
from otel_finops.pricing.sources.loading import load_sources
from otel_finops.settings import load
from otel_finops.settings.approvals import Approvals
from otel_finops.settings.kill_switch import KillSwitch
from otel_finops.settings.money import SubscriptionRule
from otel_finops.store.lease import Leases
from otel_finops.surfaces.api.app import build_api
from otel_finops.testing import FakeClock
from otel_finops.trees.projected import TraceFigures

POLICY = PolicyEdit({"name": "dear calls", "action": "require_approval", "min_pico": PICO_PER_USD}, {"tenant": "acme"})


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """URL of the settled ledger; tests only read it."""
    url = f"sqlite:///{tmp_path_factory.mktemp('surfaces')}/ledger.db"
    settings = load(None, {"OTEL_FINOPS_DATABASE__URL": url})
    clock = FakeClock()
    upgrade_database(settings, clock)
    with open_room(settings, clock=clock) as room:
        PriceRefresher(room.store, clock, room.prices.base, load_sources()).adopt("test")
        PriceRules(room.store, clock).add(Draft("alias", None, "our-deployment", target="azure/gpt-4o"), who="ann", why="it is one")
        KillSwitches(room.store, clock, KillSwitch()).set(Target("agent", "nobody"), who="ann", why="never seen")
        _approvals(room)
        _decisions(room)
        _anomalies(room)
        _budgets(room)
        _routing(room)
        _cost_centers(room)
        _alerts(room)
        _channels(room)
        PolicyStore(room.store, clock, room.subjects).create(POLICY, Editor("ann", ("acme",)))
        pool = PoolDraft("acme's credits", {"tenant": "acme"}, low=PICO_PER_USD)
        room.context.credits.create(pool, 20 * PICO_PER_USD, PoolEditor("ann", "bought", ("acme",)))
        for desk, role in ((room.context.tokens, "viewer"), (room.context.senders, None)):
            desk.create(TokenDraft("board", ("acme",), role), who="ann", dry_run=False)
            desk.create(TokenDraft("former", ("*",), role), who="ann", dry_run=False)
            desk.revoke(2, None, who="ann")
        seats = SubscriptionRule.model_validate_json('{"id": "old-seats", "fee": 0, "from": "2026-01-01", "providers": ["mistral"]}')
        SubscriptionWindows(room.store, clock, settings.pricing).add(seats, who="ann", why="bought")
        bill = read_bill(Given(BILL.read_bytes(), BILL.name))
        Bills(room.store, clock).add(bill, Label(OF_ALL, "openai", "openai"), BILL.name, who="ann")
        watches = PriceWatches(room.store, clock)
        watches.add("*", None, "claude-opus-4-5", who="ann")
        watches.end(1, None, who="ann")
        watches.add("*", "openai", "gpt-4o", who="ann")
        engine = room.prices()
        rows = [JournalRow(s, engine.quote(engine.priceable(s)) if s.kind == CALL else None) for s in SIGHTINGS]
        with room.store.write() as transaction:
            store_rates(transaction, read_rates(RATES.read_bytes(), date(2026, 11, 22)), RATES.name, b"", "test", clock.now_ns())
            record(transaction, rows, now_ns=clock.now_ns(), settle_after_ns=0, subjects=room.subjects)
        clock.advance(10)
        leases = Leases(room.store, clock, "test")
        figures = (TraceFigures(),)
        Settler(room.store, leases, engine, [Rollups()], clock, sleep=clock.advance, trace_projections=figures).settle_all()
    return url


def _alerts(room: Room) -> None:
    """A rule of one tenant, one of all, and what that one finds: the kill switch that is set."""
    rules = RuleStore(room.store, room.clock)
    rules.create(AlertRule(0, "acme's switches", "kill_switch", tenant="acme"), Editor("ann", ("acme",)))
    rules.create(AlertRule(0, "Calls are stopped", "kill_switch"), Editor("ann"))
    assert room.context.jobs.run("check_alerts", who="ann").said == "2 rules, 1 alerts, 1 told"


def _channels(room: Room) -> None:
    """A webhook of acme's, a route to it, and a notice that could not be delivered."""
    editor = Editor("ann", ("acme",))
    given = GivenChannel({"name": "acme's hook", "url": "https://hooks.example.com/s3cr3t"})
    channel, _ = room.context.channels.create_channel("webhook", "acme", given, editor)
    room.context.channels.create_route("acme", RouteEdit({"name": "acme's", "channels": (channel.no,)}), editor)
    now_ns = room.clock.now_ns()
    notice = Notice("n1", "k1", "budgets", "budget", "warning", "firing", "acme", "At 80 %", "8 of 10 USD", {}, {}, "", now_ns, now_ns)
    with room.store.write() as transaction:
        assert put_for(transaction, notice, channel) == [1]
        transaction.execute("UPDATE deliveries SET status = 'failed', attempts = 1, done_ns = made_ns, said = 'answered 410'")


def _approvals(room: Room) -> None:
    """A request that waits and a pass that holds, for as long as anybody runs these tests."""
    approvals = StoredApprovals(room.store, FakeClock(parse_ns("2200-01-01")), room.subjects, Approvals())
    asks = Ruling("require_approval", (Reason("policy", "require_approval", "large calls", "1", "above 1 USD"),))
    for agent, approval_id in (("waiting", WAITING), ("passing", PASSING)):
        call = GovernedCall(tenant="acme", provider="openai", model="gpt-4o", agent=agent, pico=2 * PICO_PER_USD, tokens=1_000)
        with room.store.write() as transaction:
            assert approvals.request(transaction, call, asks, f"decision of {agent}") == approval_id
    approvals.approve(PASSING, None, Grant("timed"), who="ann", why="the quarter's report")


def _decisions(room: Room) -> None:
    call = GovernedCall(tenant="acme", provider="openai", model="gpt-4o", agent="planner", pico=PICO_PER_USD, tokens=1_000)
    question = Question(Asked(DECIDED, call), Estimate(PICO_PER_USD, "given"), lambda model: Estimate(None, "unknown"))
    assert room.context.decisions.decide(question)["reservation_id"] == DECIDED
    room.context.decisions.release(DECIDED, None)


def _anomalies(room: Room) -> None:
    """A day of acme's that stood out and is acknowledged, and a mute."""
    day, now_ns = parse_ns("2026-11-20"), parse_ns("2026-11-21T06:00:00Z")
    dearer = Detail(9 * PICO_PER_USD, Cell("", "", "openai", "gpt-4o"), "output", Fraction(1), Fraction(2))
    found = Finding(
        0, Scope("tenant", "acme"), "day", day, parse_ns("2026-11-21"), False, now_ns, now_ns, 10 * PICO_PER_USD, PICO_PER_USD,
        PICO_PER_USD, 9.0, 4, 7, drivers_json([Driver("price", dearer.amount, (dearer,))]),
    )  # fmt: skip
    with room.store.write() as transaction:
        add_note(transaction, put_anomaly(transaction, found), Note("ack", "load test", "ann", now_ns))
        add_mute(transaction, Mute(0, "acme", "agent", "planner", "", None, "load test", "ann", now_ns))


def _routing(room: Room) -> None:
    """A saved question and a rule of acme's, and scores of the models."""
    editor = Editor("ann", ("acme",))
    result = {"from": "2026-11-20T00:00:00.000000000Z", "to": "2026-11-23T00:00:00.000000000Z", "finished": True, "calls": 3}
    result |= {"booked_usd": "0.0105", "list_usd": "0.0105", "projected_usd": "0.00063", "saved_usd": "0.00987"}
    question = {"to_model": "gpt-4o-mini", "from": "2026-11-20", "to": "2026-11-23", "tenant": "acme"}
    room.context.whatif.scenarios.create("cheaper", "acme", {"question": question, "result": result}, editor)
    candidates = [{"provider": "openai", "model": model} for model in ("gpt-4o-mini", "gpt-4o")]
    said = {"candidates": candidates, "bar": "0.8", "task": None, "source": None, "min_samples": 0, "unknown": "refuse", "filters": {}}
    room.context.routing.rules.create("answers", "acme", said, editor)
    room.context.routing.quality.add("*", "evals", SCORES.read_bytes(), SCORES.name, who="ann")


def _budgets(room: Room) -> None:
    """A budget of everybody's, and one within it."""
    for name, scope, parent in (("all of it", {}, None), ("acme's", {"tenant": "acme"}, 1)):
        said = {"name": name, "amount": 100 * PICO_PER_USD, "parent": parent}
        edit = Edit(lambda budget, said=said: budget._replace(**said), scope)  # type: ignore[misc]
        room.context.budgets.create(edit, Editor("ann"))


def _cost_centers(room: Room) -> None:
    """One of everybody's, and one of acme's; nobody's calls are borne by the former."""
    for code, tenant in (("platform", None), ("search", "acme")):
        room.context.chargebacks.create_center(CostCenter(0, code, tenant=tenant), Editor("ann"), dry_run=False)
    rule = Rule(0, "rest", source={"cost_center": ""}, method="even", targets=("platform",))
    room.context.chargebacks.create_rule(rule, Editor("ann"), dry_run=False)


@pytest.fixture(scope="session")
def room(database: str) -> Iterator[Room]:
    """The ledger, open."""
    with open_room(load(None, {"OTEL_FINOPS_DATABASE__URL": database}), clock=FakeClock()) as opened:
        yield opened


@pytest.fixture(scope="session")
def api(room: Room) -> TestClient:
    """The API over the ledger, where everyone is admin of all tenants; made once, since that takes longer than a request."""
    return TestClient(build_api(room.context, lambda _: LOCAL))
