"""Consoles to be opened by a browser: the whole service over a ledger, in this process."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
from empty_ledgers import fill

from otel_finops.app import Core, Service, open_core
from otel_finops.demo_ledger import demo_settings, fill_ledger
from otel_finops.settings import load
from otel_finops.settings.tree import Settings

LEDGER = "ledger.db"
DEMO_DAYS = 21
"""The loop, a week before and after it, and enough days for a forecast; the command writes twice as many."""


class Site(NamedTuple):
    """A running console.

    Attributes:
        url: without a slash at the end.
        token: by which an admin signs in; None where nobody needs one.
        core: of the service, for tests that look at what a page changed.
    """

    url: str
    token: str | None
    core: Core

    def client(self) -> httpx.Client:
        """Asks as the admin's browser does; follows no redirects."""
        cookies = {"otel_finops_token": self.token} if self.token else {}
        return httpx.Client(base_url=self.url, cookies=cookies, headers={"Sec-Fetch-Site": "same-origin"}, timeout=60)


def settings_for(file: Path, **more: str) -> Settings:
    """Settings of a service over this SQLite file."""
    return settings_over(f"sqlite:///{file}", **more)


def settings_over(url: str, **more: str) -> Settings:
    """Settings of a service over this database: free ports, no limit on how often anybody asks."""
    said = {
        "DATABASE__URL": url, "DATABASE__RESERVE": "false", "OTLP__GRPC_ADDRESS": "", "OTLP__HTTP_ADDRESS": "127.0.0.1:0",
        "HTTP__ADDRESS": "127.0.0.1:0", "HTTP__RATE_PER_S": "0", "LOG__LEVEL": "warning", **more,
    }  # fmt: skip
    return load(None, {f"OTEL_FINOPS_{name}": value for name, value in said.items()})


@contextmanager
def running(settings: Settings) -> Iterator[Site]:
    """The service under these settings until the end of the block."""
    with open_core(settings, "serve") as core:
        service = Service(core)
        ports = service.start()
        try:
            yield Site(f"http://127.0.0.1:{ports.web}", service.first_admin(), core)
        finally:
            service.stop()


@contextmanager
def empty_site(folder: Path, **more: str) -> Iterator[Site]:
    """A console without a single call; it asks for a token."""
    file = folder / LEDGER
    fill(f"sqlite:///{file}")
    with running(settings_for(file, AUTH__MODE="token", **more)) as site:
        yield site


@contextmanager
def demo_site(folder: Path, story: Path) -> Iterator[Site]:
    """A console over a copy of the demo's story; whoever asks is admin."""
    shutil.copytree(story, folder, dirs_exist_ok=True)
    with running(demo_settings(settings_for(folder / LEDGER))) as site:
        yield site


def demo_story(shared: Path) -> Path:
    """The folder of the demo's ledger, written once for all processes of a test run.

    Args:
        shared: a folder that all of them know.
    """
    story = shared / "story"
    with (shared / "story.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not story.exists():
            making = shared / "story-in-the-making"
            making.mkdir()
            fill(f"sqlite:///{making / LEDGER}")
            fill_ledger(settings_for(making / LEDGER), days=DEMO_DAYS)
            making.rename(story)
    return story
