"""One browser, one console with the demo's story and one without a call, for all browser tests of a process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from console_sites import Site, demo_site, demo_story, empty_site
from page_addresses import addresses
from playwright.sync_api import Browser, sync_playwright
from watched_pages import CHROMIUM, WEIGHTS, launched


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for each module: while it is there an event loop runs in this thread, and tests of others could run none."""
    if not CHROMIUM.exists():
        pytest.skip(f"SKIPPED LOUDLY: no {CHROMIUM}, so no page of the console was opened in a browser; install Debian's package chromium")
    with sync_playwright() as playwright:
        opened = launched(playwright)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's story in a folder, the same for all processes of the run."""
    base = tmp_path_factory.getbasetemp()
    return demo_story(base.parent if "xdist" in sys.modules and base.name.startswith("popen-") else base)


@pytest.fixture(scope="session")
def demo(story: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with demo_site(tmp_path_factory.mktemp("demo"), story) as site:
        yield site


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with empty_site(tmp_path_factory.mktemp("empty")) as site:
        yield site


@pytest.fixture(scope="session")
def demo_addresses(demo: Site) -> dict[str, str]:
    return dict(addresses(demo))


@pytest.fixture(scope="session")
def empty_addresses(empty: Site) -> dict[str, str]:
    return dict(addresses(empty))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How heavy pages are; in the process that opened them alone."""
    if WEIGHTS:
        heaviest = max(WEIGHTS, key=lambda path: WEIGHTS[path])
        told = sorted(WEIGHTS.values())
        terminalreporter.write_line(
            f"console: {len(told)} pages weighed, files included: median {told[len(told) // 2] / 1024:.0f} KB, heaviest {heaviest}"
            f" {told[-1] / 1024:.0f} KB"
        )
