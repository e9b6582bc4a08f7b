"""Every page that the console declares, in a real browser: with data and without any, light, dark, and as wide as a phone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from console_sites import Site
from page_addresses import OPENED
from playwright.sync_api import Browser, BrowserContext
from watched_pages import WEIGHTS, Watched, signed_in

PATHS = [one.path for one in OPENED]
KB_MAX = 400
"""Of a page with all its files, on its first visit: htmx and uPlot are about 90 KB of it before they are compressed."""


@pytest.fixture(scope="module")
def demo_profile(browser: Browser, demo: Site) -> Iterator[BrowserContext]:
    with signed_in(browser, demo) as context:
        yield context


@pytest.fixture(scope="module")
def empty_profile(browser: Browser, empty: Site) -> Iterator[BrowserContext]:
    with signed_in(browser, empty) as context:
        yield context


def faults_of(tab: Watched, address: str) -> list[str]:
    """What is wrong with a page in any of its looks."""
    tab.open(address)
    faults = [*tab.inaccessible(), *tab.looked_over()]
    tab.phone()
    faults += tab.sideways()
    tab.dark()
    return [*faults, *(f"dark: {one}" for one in tab.inaccessible("color-contrast")), *tab.looked_over()]


@pytest.mark.parametrize("path", PATHS)
def test_a_page_with_data(demo_profile: BrowserContext, demo: Site, demo_addresses: Mapping[str, str], path: str) -> None:
    assert path in demo_addresses, f"no link leads to a page {path}"
    tab = Watched(demo_profile, demo)
    tab.weigh()
    faults = faults_of(tab, demo_addresses[path])
    WEIGHTS[path] = tab.sent_bytes
    tab.close()
    assert not faults, "\n".join(faults)
    assert tab.sent_bytes < KB_MAX * 1024


@pytest.mark.parametrize("path", PATHS)
def test_a_page_of_an_empty_ledger(empty_profile: BrowserContext, empty: Site, empty_addresses: Mapping[str, str], path: str) -> None:
    if path not in empty_addresses:
        return  # what it would show does not exist, so that nothing leads there
    tab = Watched(empty_profile, empty)
    faults = faults_of(tab, empty_addresses[path])
    tab.close()
    assert not faults, "\n".join(faults)
