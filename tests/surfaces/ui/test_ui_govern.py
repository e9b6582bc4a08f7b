"""Budgets, policies, approvals, kill switches, credits and decisions: what their pages say, and what their forms do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient
from surfaces_world import DECIDED, PASSING, WAITING
from ui_console import console_over, copied_ledger

from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.identity.roles import ROLES
from otel_finops.operations.local import open_room
from otel_finops.settings import load
from otel_finops.settings.tree import RoleName
from otel_finops.surfaces.ui.forms import Field, Filled
from otel_finops.surfaces.ui.governing import changes_of, scope_text
from otel_finops.surfaces.ui.page import PAGES
from otel_finops.surfaces.ui.pages.budgets import _burndown_chart
from otel_finops.surfaces.ui.pages.policies import _pointed
from otel_finops.testing import FakeClock

GOVERN = ("/budgets", "/policies", "/approvals", "/kill-switches", "/credits", "/decisions")
NONE = "0" * 24
As = Callable[..., TestClient]


@pytest.fixture(scope="module")
def desk(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[As]:
    """The console over a copy of the ledger that these tests may change, for whom a test says; one console, since it takes long to make."""
    url = copied_ledger(database, tmp_path_factory.mktemp("govern"))
    whose = [LOCAL]
    with (
        open_room(load(None, {"OTEL_FINOPS_DATABASE__URL": url}), clock=FakeClock()) as room,
        console_over(room.context, lambda _: whose[0]) as client,
    ):

        def of(role: RoleName = "admin", tenants: tuple[str, ...] | None = None) -> TestClient:
            whose[0] = Principal("ann", tenants, ROLES[role])
            return client

        yield of


def posts(html: str) -> list[str]:
    """Where the forms of a page lead that change something, but for what every page has."""
    return [path.split("?")[0] for path in re.findall(r'<form[^>]*method="post" action="([^"]*)"', html) if path != "/sign-out"]


# --- what everybody sees ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *GOVERN,
        "/budgets?state=ok&kind=money&hard=false",
        "/budgets/1",
        "/budgets/2/edit",
        "/budgets/new?parent=1",
        "/policies/1",
        "/policies/1/edit",
        "/policies/new?ready=runaway-trace-calls",
        "/policies/simulate",
        "/policies/replay",
        "/policies/replay?run=1",
        "/policies/file",
        f"/approvals/{WAITING}",
        f"/approvals/{PASSING}",
        "/credits/1",
        "/credits/new",
        "/decisions?halted=true&gate=policy&range=12m",
        f"/decisions/{DECIDED}",
    ],
)
def test_every_page_opens(console: TestClient, path: str) -> None:
    assert console.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/budgets/99", "/budgets/x", "/policies/99", "/credits/99", f"/approvals/{NONE}", f"/decisions/{NONE}"])
def test_what_is_not_there_is_not_found(console: TestClient, path: str) -> None:
    assert console.get(path).status_code == 404


def test_a_budget_within_another_stands_below_it(console: TestClient) -> None:
    page = console.get("/budgets").text
    above, below = page.index('<td class="name depth0"><a href="/budgets/1">all of it'), page.index('depth1"><a href="/budgets/2">acme')
    assert above < below
    assert page.count('class="drawing meter"') == 2


def test_a_filter_makes_a_list_of_the_tree(console: TestClient) -> None:
    page = console.get("/budgets?search=ACME").text
    assert "depth1" not in page
    assert "all of it" not in page.split("<tbody>")[1]
    assert "No budget is like that" in console.get("/budgets?state=exceeded").text


def test_one_budget_has_its_course_and_its_history(console: TestClient) -> None:
    page = console.get("/budgets/2").text
    assert 'data-chart="' in page
    assert 'href="/budgets/1">all of it</a>' in page
    assert "<b>Made</b> by ann" in page


def test_what_waits_for_approval_stands_first_and_in_the_navigation(console: TestClient) -> None:
    page = console.get("/approvals").text
    assert page.index("<b>waiting</b>") < page.index('id="decided"') < page.index("passing")
    assert 'title="requests wait for approval">1</span>' in page


def test_a_kill_switch_that_is_set_is_said_with_its_reason(console: TestClient) -> None:
    page = console.get("/kill-switches").text
    assert '<p class="stop">agent <b>nobody</b></p>' in page
    assert "never seen" in page


def test_a_decision_says_who_said_what(console: TestClient) -> None:
    page = console.get(f"/decisions/{DECIDED}").text
    assert "planner" in page
    assert "as the caller said" in page


# --- roles and tenants -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*GOVERN, "/budgets/1", "/policies/1", "/credits/1", f"/approvals/{WAITING}", "/policies/file"])
def test_a_viewer_sees_no_form_that_changes_anything(desk: As, path: str) -> None:
    page = desk("viewer").get(path)
    assert page.status_code == 200
    assert posts(page.text) == []
    assert "requests wait for approval" not in page.text


CHANGES = [one.path for one in PAGES if one.path.startswith(GOVERN) and one.changes and one.path != "/policies/validate"]
DEEDS = {"/approvals/{approval_id}/{deed}": f"/approvals/{WAITING}/approve", "/credits/{no}/{deed}": "/credits/1/topup"}


@pytest.mark.parametrize("path", CHANGES)
def test_a_viewer_who_sends_one_all_the_same_is_refused(desk: As, path: str) -> None:
    assert desk("viewer").post(DEEDS.get(path, path.replace("{no}", "1")), data={"why": "x"}).status_code == 403


def test_an_approver_can_approve_and_nothing_else(desk: As) -> None:
    page = desk("approver").get("/approvals").text
    assert posts(page) == [f"/approvals/{WAITING}/approve"]
    assert all(posts(desk("approver").get(path).text) == [] for path in ("/budgets/1", "/policies/1", "/kill-switches", "/credits/1"))
    assert desk("approver").post("/kill-switches", data={"scope": "global", "why": "x"}).status_code == 403


def test_of_another_tenant_there_is_nothing(desk: As) -> None:
    for path in ("/budgets/2", "/policies/1", "/credits/1", f"/approvals/{WAITING}", f"/decisions/{DECIDED}"):
        assert desk("manager", ("globex",)).get(path).status_code == 404


# --- what forms do ---------------------------------------------------------------------------------------------------


def test_a_budget_is_made_changed_and_taken_away(desk: As) -> None:
    manager = desk("manager")
    made = manager.post(
        "/budgets/new", data={"name": "search", "amount": "12.50", "scope": "tenant=acme", "period": "weekly", "parent": "1"}
    )
    assert made.status_code == 303
    path = made.headers["location"]
    form = manager.get(f"{path}/edit").text
    assert 'value="12.5"' in form
    assert 'value="tenant=acme"' in form
    assert '<option value="1" selected>all of it</option>' in form
    revision = re.search(r'name="revision" value="(\d+)"', form)
    assert revision is not None
    changed = {"name": "search", "amount": "20", "scope": "", "period": "weekly", "parent": "0", "hard": "true", "revision": revision[1]}
    assert manager.post(f"{path}/edit", data=changed).status_code == 303
    page = manager.get(path).text
    assert "hard: calls that do not fit are halted" in page
    assert "<del>12.5</del> <ins>20</ins>" in page
    assert "<del>tenant=acme</del> <span" in page
    refused = manager.post(f"{path}/edit", data=changed)
    assert refused.status_code == 400
    assert "revision" in refused.text
    assert manager.post(f"{path}/delete", data={}).headers["location"] == "/budgets"
    assert manager.get(path).status_code == 404


def test_faults_stand_beside_their_fields_with_what_was_typed(desk: As) -> None:
    refused = desk("manager").post("/budgets/new", data={"name": "", "amount": "much", "scope": "planet=mars", "kind": "calls"})
    assert refused.status_code == 400
    for name in ("name", "amount"):
        assert re.search(rf'<div class="field wrong">\s*<label for="f-{name}">', refused.text)
    assert 'value="planet=mars"' in refused.text
    refused = desk("manager").post("/budgets/new", data={"name": "n", "amount": "1.5", "kind": "calls"})
    assert re.search(r'id="f-amount"[^>]*>\s*<p class="fault" role="alert">a limit in calls is a whole number</p>', refused.text)


def test_a_policy_is_checked_while_it_is_written(desk: As) -> None:
    said = {"name": "long runs", "action": "block", "condition": "trace.calls >= 5 && trace.colour"}
    part = desk("manager").post("/policies/validate", data=said, headers={"HX-Request": "true"}).text
    assert "<html" not in part
    assert "<mark>" in part.split("trace.calls &gt;= 5 &amp;&amp; ")[1][:40]
    whole = desk("manager").post("/policies/validate", data=said).text
    assert "<mark>" in whole
    assert 'value="long runs"' in whole
    right = desk("manager").post("/policies/validate", data={**said, "condition": "trace.calls >= 5"}, headers={"HX-Request": "true"}).text
    assert "It can be a policy." in right


def test_a_policy_is_made_and_its_condition_emptied(desk: As) -> None:
    manager = desk("manager")
    wrong = manager.post("/policies/new", data={"name": "long runs", "action": "block", "condition": "trace.calls >="})
    assert wrong.status_code == 400
    assert re.search(r'<p class="fault" role="alert">position \d+: ', wrong.text)
    made = manager.post(
        "/policies/new", data={"name": "long runs", "action": "block", "condition": "trace.calls >= 5", "scope": "tenant=acme"}
    )
    assert made.status_code == 303
    path = made.headers["location"]
    check = {"no": path.rsplit("/")[-1], "name": "long runs", "action": "block", "condition": ""}
    assert "It can be a policy." in manager.post("/policies/validate", data=check, headers={"HX-Request": "true"}).text
    assert "trace.calls &gt;= 5" in manager.get(path).text
    changed = {"name": "long runs", "action": "throttle", "rate": "120/60:agent", "condition": "", "scope": "tenant=acme", "priority": "7"}
    slow = manager.post(f"{path}/edit", data={**changed, "rate": "many/60"})
    assert re.search(r'id="f-rate"[^>]*>\s*<p class="fault" role="alert">calls: ', slow.text)
    assert manager.post(f"{path}/edit", data=changed).status_code == 303
    page = manager.get(path).text
    assert "to 120 in 1 m 00 s each agent" in page
    assert "<del>trace.calls &gt;= 5</del>" in page
    assert 'value="120/60:agent"' in manager.get(f"{path}/edit").text
    assert manager.post(f"{path}/delete", data={}).headers["location"] == "/policies"


def test_policies_are_told_before_they_are_taken_in(desk: As) -> None:
    document = "version: 1\npolicies:\n  - name: from a file\n    action: block\n    scope: {tenant: umbrella}\n"
    tried = desk("manager").post("/policies/file", data={"document": document, "do": "try"})
    assert tried.status_code == 200
    assert "It would make 1" in tried.text
    assert "from a file" not in desk("manager").get("/policies").text
    assert desk("manager").post("/policies/file", data={"document": document, "do": "import"}).status_code == 303
    assert "from a file" in desk("manager").get("/policies").text
    assert desk("manager").post("/policies/file", data={"document": "policies: 7"}).status_code == 400


def test_a_call_is_tried_on_the_policies_that_stand(desk: As) -> None:
    """The stored policy asks for approval of acme's calls from 1 USD on."""
    ask = {"provider": "openai", "model": "gpt-4o", "tenant": "acme", "estimate_usd": "2"}
    assert 'class="warn-text">require approval</b>' in desk().get("/policies/simulate", params=ask).text
    assert 'class="calm">allow</b>' in desk().get("/policies/simulate", params={**ask, "estimate_usd": "0.5"}).text


def test_a_replay_says_that_it_takes_its_time_and_can_be_left(desk: As) -> None:
    page = desk().get("/policies/replay?run=1", headers={"Sec-Fetch-Mode": "navigate"}).text
    assert "You can leave this page" in page
    assert "Would have been" in desk().get("/policies/replay?run=1&wait=1", headers={"Sec-Fetch-Mode": "navigate"}).text


def test_a_request_is_approved_with_a_reason_and_revoked(desk: As) -> None:
    approver = desk("approver")
    without = approver.post(f"/approvals/{WAITING}/approve", data={"times": "timed", "hours": "2"})
    assert without.status_code == 400
    assert re.search(r'<div class="field wrong">\s*<label for="f-why">', without.text)
    assert approver.post(f"/approvals/{WAITING}/approve", data={"times": "timed", "hours": "2", "why": "needed"}).status_code == 303
    page = approver.get(f"/approvals/{WAITING}").text
    assert "for all such calls until it ends" in page
    assert posts(page) == [f"/approvals/{WAITING}/revoke"]
    assert approver.post(f"/approvals/{WAITING}/revoke", data={"why": "too dear"}).status_code == 303
    assert approver.post(f"/approvals/{WAITING}/frame", data={"why": "x"}).status_code == 404
    assert "Nobody waits." in approver.get("/approvals").text


def test_calls_are_stopped_and_let_go(desk: As) -> None:
    manager = desk("manager")
    assert manager.post("/kill-switches", data={"scope": "model", "name": "gpt-*"}).status_code == 400
    assert manager.post("/kill-switches", data={"scope": "model", "name": "gpt-*", "why": "a bill"}).status_code == 303
    assert '<p class="stop">model <b>gpt-*</b></p>' in manager.get("/kill-switches").text
    blank = manager.post("/kill-switches/clear", data={"scope": "model", "name": "gpt-*"})
    assert blank.status_code == 400
    assert "Why: " in blank.text
    assert manager.post("/kill-switches/clear", data={"scope": "model", "name": "gpt-*", "why": "paid"}).status_code == 303
    assert '<p class="stop">model' not in manager.get("/kill-switches").text


def test_a_pool_is_made_topped_up_adjusted_changed_and_closed(desk: As) -> None:
    manager = desk("manager")
    refused = manager.post("/credits/new", data={"name": "p", "currency": "euro", "why": "x"})
    assert refused.status_code == 400
    made = manager.post(
        "/credits/new", data={"name": "prepaid", "currency": "EUR", "amount": "10", "scope": "tenant=acme", "why": "bought"}
    )
    assert made.status_code == 303
    path = made.headers["location"]
    assert manager.post(f"{path}/topup", data={"amount": "5", "why": "more"}).status_code == 303
    assert manager.post(f"{path}/adjust", data={"amount": "-2", "why": "a mistake"}).status_code == 303
    assert manager.post(f"{path}/update", data={"name": "prepaid", "low": "20", "why": "to be told"}).status_code == 303
    page = manager.get(path).text
    assert '<dd title="13">€13.00</dd>' in page
    assert ">low</span>" in page
    wrong = manager.post(f"{path}/topup", data={"amount": "lots", "why": "more"})
    assert wrong.status_code == 400
    assert 'value="lots"' in wrong.text
    assert manager.post(f"{path}/close", data={"why": "used up"}).status_code == 303
    assert posts(manager.get(path).text) == []


# --- parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "text"),
    [({}, ""), ({"tenant": "acme", "model": "gpt-*"}, "tenant=acme,model=gpt-*"), ({"agent": "a, b"}, '{"agent":"a, b"}')],
)
def test_a_scope_is_written_as_its_field_takes_it(scope: dict[str, str], text: str) -> None:
    assert scope_text(scope) == text


def test_the_history_says_what_each_change_changed() -> None:
    first = {"name": "a", "amount": "1", "period": {"zone": "UTC"}, "scope": {}, "revision": 1}
    second = {**first, "amount": "2", "period": {"zone": "Europe/Rome"}, "revision": 4}
    found = changes_of([{**second, "deleted": True, "revision": 5}, second, first], complete=True)
    assert [(one.deleted, one.fields) for one in found] == [
        (True, []), (False, [("amount", "1", "2"), ("zone", "UTC", "Europe/Rome")]), (False, ()),
    ]  # fmt: skip
    assert len(changes_of([second, first], complete=False)) == 1


def test_the_course_goes_on_with_what_is_expected() -> None:
    """Three days with 2 and 3 spent in the first two; of the second, which runs, 6 is expected in all, and 9 at the end."""
    days = ["2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z", "2026-11-04T00:00:00Z"]
    steps = [
        {"from": begin, "to": end, "in_all": in_all, "even": even}
        for begin, end, in_all, even in zip(days, days[1:], ("2", "5", None), ("4", "8", "12"), strict=False)
    ]
    ahead = [{"to": days[2], "expected": "6", "low": "5", "high": "8"}, {"to": days[3], "expected": "9", "low": "7", "high": "14"}]
    course = {"budget": {"kind": "tokens"}, "from": days[0], "limit": "12", "steps": steps, "forecast": ahead}
    chart = _burndown_chart(course, "UTC")
    lines = {one["name"]: one["values"] for one in chart["series"]}
    assert lines == {
        "spent": [0.0, 2.0, 5.0, None],
        "evenly": [0.0, 4.0, 8.0, 12.0],
        "limit": [12.0] * 4,
        "expected": [None, 2.0, 6.0, 9.0],
        "at least": [None, 2.0, 5.0, 7.0],
        "at most": [None, 2.0, 8.0, 14.0],
    }
    assert [chart["series"][at]["name"] for at in chart["bands"][0]] == ["at most", "at least"]
    assert _burndown_chart({**course, "forecast": None}, "UTC")["bands"] == []


def test_a_fault_points_at_its_sign() -> None:
    assert _pointed("a && b", "condition, position 6: no such name") == ("a && ", "b", "")
    assert _pointed("a &&", "position 5: it ends here") == ("a &&", " ", "")
    assert _pointed("a", "position 9: elsewhere") is None
    assert _pointed("a", "amount: no number") is None


def test_what_an_operation_says_of_a_field_stands_beside_it() -> None:
    form = Filled({"amount": Field("amount", "Amount", "", "text"), "scope": Field("scope", "Scope", "", "text")})
    assert form.refused("amount: a whole number").fields["amount"].fault == "a whole number"
    assert form.refused("scope.tenant: unknown").fields["scope"].fault == "tenant: unknown"
    assert form.refused("It is closed.").fault == "It is closed."
    assert form.refused("store: it is away").fault == "store: it is away"
