"""Forty texts that want to run, in every place that spans and people fill: no page runs any, and every page has its content policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from urllib.parse import quote, urlencode

import pytest
from console_sites import Site
from hostile_texts import CALLS_TRACE, TEXTS, hostile_site
from page_addresses import OPENED, addresses, links_of, page_of
from playwright.sync_api import Browser
from watched_pages import Watched, signed_in

PATHS = [one.path for one in OPENED]
ASKED = (
    "tenant", "model", "provider", "agent", "user", "session", "step", "service", "cost_center", "name", "q", "from", "to", "range", "zone",
    "group_by", "by", "split", "sort", "status", "cursor", "next", "period", "currency", "kind",
)  # fmt: skip
"""Names of parameters that some page knows; others are there in vain."""
TAKE_NONE: set[str] = set()
"""Operations of whose inputs none of the texts can be a part."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Counter[str]]]:
    with hostile_site(tmp_path_factory.mktemp("hostile")) as made:
        yield made


@pytest.fixture(scope="module")
def hostile(world: tuple[Site, Counter[str]]) -> Site:
    return world[0]


@pytest.fixture(scope="module")
def tab(browser: Browser, hostile: Site) -> Iterator[Watched]:
    with signed_in(browser, hostile) as context:
        yield Watched(context, hostile)


@pytest.fixture(scope="module")
def found(hostile: Site) -> Mapping[str, str]:
    return addresses(hostile)


@pytest.fixture(scope="module")
def everything(hostile: Site, found: Mapping[str, str]) -> Sequence[str]:
    """All pages, and those about one thing for each thing that a page leads to."""
    every = dict.fromkeys(found.values())
    with hostile.client() as client:
        for path in [one for one in PATHS if "{" not in one]:
            links = links_of(client.get(path).text)
            every |= dict.fromkeys(link for link in links if (page := page_of(link)) is not None and "{" in page.path)
    return list(every)


class _Foreign(HTMLParser):
    """Finds what our pages never have: scripts and styles of their own, handlers, and links that run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        odd = [name for name in said if name.startswith(("on", "style", "srcdoc", "hx-on", "data-hx-on"))]
        runs = [name for name in ("href", "src", "action") if said.get(name, "").strip().lower().startswith(("javascript:", "data:text"))]
        if odd or runs or tag in ("style", "iframe", "object", "embed", "math", "base") or (tag == "script" and "src" not in said):
            self.found.append(self.get_starttag_text() or tag)


def foreign_markup(html: str) -> list[str]:
    """What texts brought into a page that is no text."""
    reader = _Foreign()
    reader.feed(html)
    return reader.found


def looked(tab: Watched, address: str) -> list[str]:
    """What ran, or wanted to, on a page: when it opened, and when somebody moves over it and into its fields."""
    tab.open(address, status=None)
    tab.page.evaluate("""() => document.querySelectorAll("main *").forEach((one) => {
        for (const kind of ["mouseover", "pointerenter", "focus", "toggle"]) one.dispatchEvent(new Event(kind));
    })""")
    odd = tab.page.evaluate("""() => [...document.querySelectorAll("a[href], form[action], [hx-get], [hx-post]")]
        .flatMap((one) => ["href", "action", "hx-get", "hx-post"].map((name) => one.getAttribute(name) || ""))
        .filter((text) => text && !/^(\\/(?!\\/)|[?#]|https:\\/\\/)/.test(text))""")
    return [*(f"{address}: {fault}" for fault in tab.looked_over(refused=True)), *(f"{address}: leads to {text[:80]}" for text in odd)]


def test_the_texts_are_where_people_and_spans_put_them(world: tuple[Site, Counter[str]]) -> None:
    site, taken = world
    assert not [verb for verb, times in taken.items() if times == 0 and verb not in TAKE_NONE]
    with site.client() as client:
        for key in ("model", "service", "agent", "tenant", "step", "cost_center"):
            groups = client.get("/api/v1/spend", params={"group_by": key}).json()["groups"]
            named = {group["key"][key] for group in groups}
            assert len(named.intersection(TEXTS)) >= 35, (
                key
            )  # names are kept without characters that nobody sees, and without quotes around them


@pytest.mark.parametrize("path", PATHS)
def test_nothing_runs_on_a_page(tab: Watched, found: Mapping[str, str], path: str) -> None:
    faults = looked(tab, found[path]) if path in found else ()
    assert not faults, "\n".join(faults)


def test_nothing_runs_in_a_trace_in_which_each_text_is_a_call(tab: Watched) -> None:
    faults = looked(tab, f"/traces/{CALLS_TRACE}")
    assert "window.__executed" in tab.said()
    assert not faults, "\n".join(faults)


def said_by(address: str, first: int) -> str:
    """An address with a text in each parameter that pages know, another one in each."""
    return f"{address}?{urlencode({name: TEXTS[(first + at) % len(TEXTS)] for at, name in enumerate(ASKED)})}"


@pytest.mark.parametrize("path", [path for path in PATHS if "{" not in path])
def test_nothing_that_an_address_says_becomes_markup(hostile: Site, path: str) -> None:
    """Each text in some parameter of each page, read as browsers read it; some of these pages are opened in one below."""
    with hostile.client() as client:
        answer = client.get(said_by(path, PATHS.index(path)))
    assert answer.status_code < 500
    assert "content-security-policy" in answer.headers
    assert not foreign_markup(answer.text)


@pytest.mark.parametrize("path", [path for path in PATHS if "{" not in path][::8])
def test_nothing_that_an_address_says_runs(tab: Watched, path: str) -> None:
    faults = [fault for first in (0, 20) for fault in looked(tab, said_by(path, first))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("text", TEXTS[::20])
def test_nothing_runs_of_an_address_that_no_page_has(tab: Watched, text: str) -> None:
    faults = [fault for at in ("/", "/traces/", "/budgets/", "/sign-in?next=") for fault in looked(tab, at + quote(text, safe=""))]
    assert not faults, "\n".join(faults)


@pytest.mark.long
def test_nothing_runs_on_any_page_about_any_of_the_texts(tab: Watched, everything: Sequence[str]) -> None:
    faults = [fault for address in everything for fault in looked(tab, address)]
    faults += [fault for path in PATHS if "{" not in path for first in (0, 20) for fault in looked(tab, said_by(path, first))]
    assert not faults, "\n".join(faults)
