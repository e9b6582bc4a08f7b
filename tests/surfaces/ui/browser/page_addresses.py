"""An address for every page that the console declares: pages with fields in their paths are found by links, as people find them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

from console_sites import Site

from otel_finops.surfaces.ui import app as _app  # noqa: F401 - registers the pages
from otel_finops.surfaces.ui.page import PAGES, Declared

OPENED: tuple[Declared, ...] = tuple(one for one in PAGES if not one.changes)
"""All pages that are opened, in the order of the navigation."""
_LINKS_FOLLOWED_MAX = 400


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "data-href") and value and value.startswith("/")]


def links_of(html: str) -> list[str]:
    """The links of a page that lead to the console itself, in their order."""
    reader = _Links()
    reader.feed(html)
    return reader.found


def static_files_of(html: str) -> list[str]:
    """The files of a page: styles, scripts and pictures."""
    return list(dict.fromkeys(re.findall(r'(?:href|src)="(/static/[^"]+)"', html)))


def page_of(address: str) -> Declared | None:
    """The page at an address; of several that fit, the one with the fewest fields."""
    path = unquote(urlsplit(address).path)
    fitting = [one for one in OPENED if _pattern(one).fullmatch(path)]
    return min(fitting, key=lambda one: one.path.count("{"), default=None)


def addresses(site: Site) -> Mapping[str, str]:
    """An address by the declared path of each page that can be reached from the navigation by links."""
    found = {one.path: one.path for one in OPENED if "{" not in one.path}
    with site.client() as client:
        waiting, looked = list(found.values()), set[str]()
        while waiting and len(found) < len(OPENED) and len(looked) < _LINKS_FOLLOWED_MAX:
            address = waiting.pop(0)
            looked.add(address)
            for link in _new(links_of(client.get(address).text), found):
                page = page_of(link)
                assert page is not None
                found[page.path] = link
                waiting.append(link)
    return found


def _new(links: list[str], found: Mapping[str, str]) -> Iterator[str]:
    for link in links:
        page = page_of(link)
        if page is not None and page.path not in found:
            yield link


def _pattern(one: Declared) -> re.Pattern[str]:
    parts = re.split(r"(\{[^}]*\})", one.path)
    return re.compile(
        "".join((".+" if part.endswith(":path}") else "[^/]+") if part.startswith("{") else re.escape(part) for part in parts)
    )
