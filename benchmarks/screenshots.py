"""Pictures of every page of the console: with the demo's data and without any, light, dark, and as wide as a phone.

    python -m benchmarks.screenshots --into /tmp/pictures
    python -m benchmarks.screenshots --into /tmp/pictures --only /budgets /traces --looks light phone
    python -m benchmarks.screenshots --into docs/pictures --only / --looks light dark --fold
    python -m benchmarks.screenshots --story /tmp/story --only /prices     # the story is written once and kept

Needs Debian's chromium. Pages with fields in their paths are found by links. A file is called PAGE.LOOK.png, and PAGE.empty.LOOK.png of a
console that no call has reached; faults that the browser tells of are printed.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

_TESTS: Final = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(_TESTS), str(_TESTS / "surfaces" / "ui" / "browser")]

from console_sites import Site, demo_site, demo_story, empty_site  # noqa: E402
from page_addresses import addresses  # noqa: E402
from playwright.sync_api import Browser, sync_playwright  # noqa: E402
from watched_pages import DESKTOP, PHONE, Watched, launched, signed_in  # noqa: E402

LOOKS: Final[Mapping[str, dict[str, Any]]] = {
    "light": {"viewport": DESKTOP, "color_scheme": "light"},
    "dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light", "device_scale_factor": 2},
}
_SETTLES_MS: Final = 250
"""Charts are drawn, and grow to their place, after the page has come."""


def file_name(path: str) -> str:
    """`/budgets/{no}` as `budgets-no`."""
    return re.sub(r"[^a-z0-9]+", "-", path.replace(":path", "").lower()).strip("-") or "overview"


def pictures(browser: Browser, site: Site, options: argparse.Namespace, suffix: str) -> Iterator[tuple[Path, Sequence[str]]]:
    """Take them; yields each with what was wrong."""
    found = {path: address for path, address in addresses(site).items() if not options.only or path in options.only}
    for look in options.looks:
        with signed_in(browser, site, **LOOKS[look]) as context:
            for path, address in found.items():
                tab, file = Watched(context, site), options.into / f"{file_name(path)}{suffix}.{look}.png"
                tab.open(address, status=None)
                tab.page.wait_for_timeout(_SETTLES_MS)
                tab.page.screenshot(path=file, full_page=not options.fold)
                yield file, [*tab.looked_over(), *(tab.sideways() if look == "phone" else ())]
                tab.close()


@contextmanager
def sites(options: argparse.Namespace) -> Iterator[Iterator[tuple[Site, str]]]:
    """The consoles, and what their pictures are called by."""
    with tempfile.TemporaryDirectory() as made, ExitStack() as opened:
        folder = Path(made)
        for name in ("demo", "empty"):
            (folder / name).mkdir()

        def each() -> Iterator[tuple[Site, str]]:
            if options.data != "empty":
                options.story.mkdir(parents=True, exist_ok=True)
                yield opened.enter_context(demo_site(folder / "demo", demo_story(options.story))), ""
            if options.data != "demo":
                yield opened.enter_context(empty_site(folder / "empty")), ".empty"

        yield each()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--only", nargs="*", help="declared paths of pages, e.g. /budgets/{no}")
    parser.add_argument("--looks", nargs="*", default=list(LOOKS), choices=list(LOOKS))
    parser.add_argument("--data", default="both", choices=["demo", "empty", "both"])
    parser.add_argument("--fold", action="store_true", help="only what fits the window, not the whole page")
    parser.add_argument("--story", type=Path, help="folder in which the demo's ledger is kept for the next time")
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright, sites(options) as consoles:
        options.story = options.story or Path(made)
        browser = launched(playwright)
        for site, suffix in consoles:
            for file, faults in pictures(browser, site, options, suffix):
                print(file, *faults, sep="\n  ", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
