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
def file_bytes(demo_tab: Watched) -> int:
    """What the files of a page weigh that a first visit brings, and no other one."""
    demo_tab.open("/")
    cold, demo_tab.sent_bytes = demo_tab.sent_bytes, 0
    demo_tab.open("/")
    return cold - demo_tab.sent_bytes


@pytest.fixture(scope="module")
def empty_tab(browser: Browser, empty: Site) -> Iterator[Watched]:
    with signed_in(browser, empty) as context:
        yield Watched(context, empty)


def opened(tab: Watched, address: str, *, dark: bool = False) -> list[str]:
    """What goes wrong when a page opens, and when it is as wide as a phone."""
    tab.look(dark=dark)
    tab.sent_bytes = 0
    tab.open(address)
    faults = list(tab.looked_over())
    tab.look(dark=dark, phone=True)
    return [*faults, *tab.sideways()]


def inaccessible(tab: Watched, address: str, *, dark: bool) -> list[str]:
    """What axe-core finds in the page that is open, in the light or in the dark."""
    tab.look(dark=dark)
    tab.thin_out()
    findings = tab.inaccessible(None if address == "/" else "main")  # the frame is the same on all
    return [f"{'dark' if dark else 'light'}: {one}" for one in findings]


def is_dark(path: str) -> bool:
    """Pages take turns; the long form looks at them in the other light, and at the empty ones."""
    return PATHS.index(path) % 2 == 1


@pytest.mark.parametrize("path", PATHS)
def test_a_page_with_data(demo_tab: Watched, demo_addresses: Mapped, file_bytes: int, path: str) -> None:
    assert path in demo_addresses, f"no link leads to a page {path}"
    address, dark = demo_addresses[path], is_dark(path)
    faults = opened(demo_tab, address, dark=dark)
    WEIGHTS[path] = demo_tab.sent_bytes + file_bytes
    faults += [*inaccessible(demo_tab, address, dark=dark), *demo_tab.looked_over()]
    assert not faults, "\n".join(faults)
    assert WEIGHTS[path] < KB_MAX * 1024


@pytest.mark.parametrize("path", PATHS)
def test_a_page_of_an_empty_ledger(empty_tab: Watched, empty_addresses: Mapped, path: str) -> None:
    if path not in empty_addresses:
        return  # what it would show does not exist, so that nothing leads there
    faults = opened(empty_tab, empty_addresses[path])
    assert not faults, "\n".join(faults)


@pytest.mark.long
@pytest.mark.parametrize("path", PATHS)
def test_a_page_in_any_light(demo_tab: Watched, empty_tab: Watched, demo_addresses: Mapped, empty_addresses: Mapped, path: str) -> None:
    faults: list[str] = []
    for tab, found in ((demo_tab, demo_addresses), (empty_tab, empty_addresses)):
        for dark in (False, True):
            if path in found:
                faults += [*opened(tab, found[path], dark=dark), *inaccessible(tab, found[path], dark=dark)]
    assert not faults, "\n".join(faults)
