"""docs/console.md names every page of the console."""

from __future__ import annotations

from pathlib import Path

from otel_finops.surfaces.ui import app  # noqa: F401 - registers the pages
from otel_finops.surfaces.ui.page import PAGES
from otel_finops.surfaces.ui.window import RANGES

TEXT = (Path(__file__).parents[3] / "docs" / "console.md").read_text()


def test_every_page_is_told_of() -> None:
    untold = [one.path for one in PAGES if not one.changes and f"`{one.path}`" not in TEXT]
    assert untold == []


def test_every_range_is_told_of() -> None:
    assert [name for name in RANGES if f"`{name}`" not in TEXT] == []
