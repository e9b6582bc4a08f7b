"""What people come for, by the keyboard alone: signing in, from a spike to the step that made it, and what they change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from console_sites import Site
from keyboard import Keyboard
from playwright.sync_api import Browser
from watched_pages import Watched, signed_in

from otel_finops.demo.company import RUNAWAY_AGENT
from otel_finops.demo.management import ask
from otel_finops.identity.principals import LOCAL
from otel_finops.operations.local import make_context


def asked(site: Site, verb: str, **fields: Any) -> Any:
    """What an operation says of the site's ledger."""
    core = site.core
    context = make_context(core.settings, core.store, core.subjects, core.prices, core.clock)
    return ask(context, verb, LOCAL, **fields)


@pytest.fixture
def tab(browser: Browser, demo: Site) -> Iterator[Watched]:
    """A tab of somebody who may do everything; whatever he does, nothing goes wrong in it."""
    with signed_in(browser, demo) as context:
        made = Watched(context, demo)
        yield made
        assert not made.looked_over(refused=True)


def test_signing_in_by_a_token_goes_on_to_the_page_that_was_asked_for(browser: Browser, empty: Site) -> None:
    assert empty.token is not None
    with signed_in(browser, empty._replace(token=None)) as context:
        made = Watched(context, empty)
        made.open("/budgets?range=7d", status=None)
        keys = Keyboard(made.page)
        assert "/sign-in" in made.page.url
        made.page.keyboard.type("fin_wrong")  # the field has the focus
        keys.enter()
        assert made.page.get_by_role("alert").inner_text()
        made.page.keyboard.type(empty.token)
        keys.enter()
        assert made.page.url == f"{empty.url}/budgets?range=7d"
        [cookie] = [one for one in context.cookies() if one["name"] == "otel_finops_token"]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
        keys.send("Sign out")
        made.open("/budgets", status=None)
        assert "/sign-in" in made.page.url


def test_from_the_spike_to_the_guilty_step_in_three_clicks(tab: Watched) -> None:
    tab.open("/")
    keys = Keyboard(tab.page)
    keys.past_the_frame()
    keys.follow(href="/anomalies/")
    keys.past_the_frame()
    keys.follow(href="/traces/")
    assert keys.pressed <= 3
    said = tab.said()
    assert RUNAWAY_AGENT in said
    assert "fix_tests" in said or "fix tests" in said


def test_a_click_on_the_chart_opens_the_dearest_traces_of_that_day(tab: Watched) -> None:
    """What a mouse does on the day that stands out: the chart, the dearest trace, the dearest step."""
    tab.open("/")
    over = tab.page.locator(".chart .u-over").first
    box = over.bounding_box()
    assert box is not None
    chart = tab.page.locator(".chart[data-chart]").first
    at = chart.evaluate("""(one) => { const data = JSON.parse(one.dataset.chart); const sums = data.x.map((_, at) =>
        data.series.reduce((sum, line) => sum + (line.values[at] || 0), 0)); return [sums.indexOf(Math.max(...sums)), data.x.length]; }""")
    with tab.page.expect_navigation():
        over.click(position={"x": box["width"] * (at[0] + 0.5) / at[1], "y": box["height"] / 2})
    assert "/traces?" in tab.page.url
    with tab.page.expect_navigation():
        tab.page.locator("main a[href^='/traces/']").first.click()
    assert "fix_tests" in tab.said() or "fix tests" in tab.said()


def test_a_budget_is_made_after_a_mistake_was_mended(tab: Watched, demo: Site) -> None:
    tab.open("/budgets")
    keys = Keyboard(tab.page)
    keys.past_the_frame()
    keys.follow(href="/budgets/new")
    keys.past_the_frame()
    keys.fill("Name", "By the keyboard")
    keys.fill("Amount", "many")
    keys.enter()
    assert tab.page.locator(".field.wrong").count() == 1
    assert tab.page.get_by_label("Name").input_value() == "By the keyboard"
    keys.past_the_frame()
    keys.fill("Amount", "12.50")
    keys.enter()
    assert "By the keyboard" in tab.said()
    budget = next(one for one in asked(demo, "budgets.list")["budgets"] if one["name"] == "By the keyboard")
    assert budget["amount"] == "12.5"


def test_a_request_is_approved(tab: Watched, demo: Site) -> None:
    [waiting] = asked(demo, "approvals.list", status="pending")["approvals"]
    tab.open("/approvals")
    keys = Keyboard(tab.page)
    keys.past_the_frame()
    keys.fill("Why", "the release waits for it")
    keys.send("Approve")
    decided = asked(demo, "approvals.show", approval_id=waiting["approval_id"])
    assert (decided["status"], decided["why"]) == ("approved", "the release waits for it")


def test_an_agent_is_stopped_and_let_go_on(tab: Watched, demo: Site) -> None:
    tab.open("/kill-switches")
    keys = Keyboard(tab.page)
    keys.past_the_frame()
    keys.choose("Scope", "agent")
    keys.fill("Name", RUNAWAY_AGENT)
    keys.fill("Why", "it loops again")
    keys.send("Stop them")
    stopped = {one["name"] for one in asked(demo, "kill_switch.list")["switches"]}
    assert RUNAWAY_AGENT in stopped
    keys.past_the_frame()
    for one in asked(demo, "kill_switch.list")["switches"]:
        keys.to("Why it may go on")
        if one["name"] == RUNAWAY_AGENT:
            break
    tab.page.keyboard.type("mended")
    keys.enter()
    left = {one["name"] for one in asked(demo, "kill_switch.list")["switches"]}
    assert left == stopped - {RUNAWAY_AGENT}


def test_a_model_gets_its_price_and_what_was_booked_without_one_is_repriced(tab: Watched, demo: Site) -> None:
    assert any(one["model"] == "house-ranker-13b" for one in asked(demo, "pricing.unpriced")["models"])
    tab.open("/prices/unpriced")
    keys = Keyboard(tab.page)
    keys.past_the_frame()
    keys.follow(href="/prices/unpriced/repair?model=house-ranker-13b")
    keys.past_the_frame()
    keys.fill("Prices", "input=0.2,output=0.6")
    keys.fill("Why", "what its machines cost")
    keys.send("Book it")
    assert not any(one["model"] == "house-ranker-13b" for one in asked(demo, "pricing.unpriced")["models"])
