"""Every page that the console declares, in a real browser: with data and without any, light, dark, and as wide as a phone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import pytest
from console_sites import Site
from page_addresses import OPENED
from playwright.sync_api import Browser
from watched_pages import WEIGHTS, Watched, signed_in

PATHS = [one.path for one in OPENED]
KB_MAX = 150
"""Of a page with all its files, on its first visit, as it is sent."""
Mapped: TypeAlias = Mapping[str, str]


@pytest.fixture(scope="module")
def demo_tab(browser: Browser, demo: Site) -> Iterator[Watched]:
    """One tab for all pages: a new one for each would take more time than the pages."""
    with signed_in(browser, demo) as context:
        tab = Watched(context, demo)
        tab.weigh()
        yield tab


@pytest.fixture(scope="module")
def empty_tab(browser: Browser, empty: Site) -> Iterator[Watched]:
    with signed_in(browser, empty) as context:
        yield Watched(context, empty)


def faults_of(tab: Watched, address: str, *, dark: bool) -> list[str]:
    """What is wrong with a page in the light or in the dark, and on a phone."""
    tab.look(dark=dark)
    tab.sent_bytes = 0
    tab.open(address)
    faults = list(tab.looked_over())
    tab.look(dark=dark, phone=True)
    faults += tab.sideways()
    tab.look(dark=dark)
    tab.thin_out()
    findings = tab.inaccessible(None if address == "/" else "main")  # the frame is the same on all
    return [*faults, *(f"{'dark' if dark else 'light'}: {one}" for one in findings), *tab.looked_over()]


def is_dark(path: str) -> bool:
    """Pages take turns: with data in the light and without in the dark, or the other way round."""
    return PATHS.index(path) % 2 == 1


@pytest.mark.parametrize("path", PATHS)
def test_a_page_with_data(demo_tab: Watched, demo_addresses: Mapped, path: str) -> None:
    assert path in demo_addresses, f"no link leads to a page {path}"
    faults = faults_of(demo_tab, demo_addresses[path], dark=is_dark(path))
    WEIGHTS[path] = demo_tab.sent_bytes
    assert not faults, "\n".join(faults)
    assert demo_tab.sent_bytes < KB_MAX * 1024


@pytest.mark.parametrize("path", PATHS)
def test_a_page_of_an_empty_ledger(empty_tab: Watched, empty_addresses: Mapped, path: str) -> None:
    if path not in empty_addresses:
        return  # what it would show does not exist, so that nothing leads there
    faults = faults_of(empty_tab, empty_addresses[path], dark=not is_dark(path))
    assert not faults, "\n".join(faults)


@pytest.mark.long
@pytest.mark.parametrize("path", PATHS)
def test_a_page_in_the_other_light(
    demo_tab: Watched, empty_tab: Watched, demo_addresses: Mapped, empty_addresses: Mapped, path: str
) -> None:
    faults = faults_of(demo_tab, demo_addresses[path], dark=not is_dark(path))
    if path in empty_addresses:
        faults += faults_of(empty_tab, empty_addresses[path], dark=is_dark(path))
    assert not faults, "\n".join(faults)
