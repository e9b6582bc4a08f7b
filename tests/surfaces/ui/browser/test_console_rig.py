"""That the browser rig sees what it is there to see: each fault is made by hand in a page of the console."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from console_sites import Site
from page_addresses import page_of
from playwright.sync_api import Browser
from watched_pages import MARKER, Watched, signed_in

FAULTS = [
    ("console.error('broken')", "console error: broken"),
    ("console.warn('old')", "console warning: old"),
    ("setTimeout(() => { throw new Error('thrown') })", "page error: thrown"),
    ("alert('hello')", "dialog: hello"),
    (f"window.{MARKER}.push('payload 7')", "EXECUTED: payload 7"),
    ("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.x = 1'}))", "content policy: script-src"),
    ("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">')", "content policy: style-src"),
    ("document.body.append(Object.assign(new Image(), {src: 'http://other.invalid/x.png'}))", "content policy: img-src"),
]


@pytest.fixture(scope="module")
def tab(browser: Browser, empty: Site) -> Iterator[Watched]:
    with signed_in(browser, empty) as context:
        yield Watched(context, empty)


@pytest.mark.parametrize(("script", "told"), FAULTS)
def test_a_fault_is_told(tab: Watched, script: str, told: str) -> None:
    tab.open("/")
    assert not tab.looked_over()
    tab.page.evaluate(f"() => {{ {script} }}")
    tab.page.wait_for_timeout(100)
    assert any(fault.startswith(told) for fault in tab.looked_over())


def test_other_hosts_wide_pages_and_poor_contrast_are_told(tab: Watched) -> None:
    tab.open("/")
    tab.page.evaluate("() => { location.href = 'http://127.0.0.1:9/elsewhere' }")
    tab.page.wait_for_timeout(100)
    assert any("request to http://127.0.0.1:9/elsewhere" in fault for fault in tab.looked_over())
    tab.open("/")
    tab.page.evaluate("""() => {
        const one = document.createElement("p");
        one.textContent = "pale";
        Object.assign(one.style, {color: "#ddd", background: "#fff", width: "1400px"});
        document.querySelector("main").append(one);
    }""")
    assert any("color-contrast" in finding for finding in tab.inaccessible("main"))
    tab.look(phone=True)
    assert tab.sideways()


def test_an_address_belongs_to_the_page_with_the_fewest_fields() -> None:
    home = page_of("/?range=7d")
    assert home is not None
    assert home.path == "/"
    assert page_of("/no/such/page") is None
