"""The pages of docs/ that are made from declarations say what the declarations say."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from otel_finops.__main__ import demo, ingest, serve
from otel_finops.ledger.spend import SPEND_KEYS
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.settings import describe
from otel_finops.settings.features import Features
from otel_finops.surfaces.cli.table import command_table
from otel_finops.surfaces.reference import pages

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", ["settings.md", "api.md", "cli.md", "errors.md"])
def test_the_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text() == pages()[name], "run: python -m otel_finops.surfaces.reference docs"


def test_every_operation_route_command_and_setting_is_told_of() -> None:
    api, cli, settings = ((DOCS / name).read_text() for name in ("api.md", "cli.md", "settings.md"))
    for one in OPERATIONS:
        assert f"`{'POST' if one.changes else 'GET'} /api/v1/{one.path}`" in api
        assert all(f"`{field.alias or name}`" in api for name, field in one.input.model_fields.items())
    for words in command_table(Features()):
        assert f"## otel-finops {' '.join(words)}" in cli
    for command in (serve, demo, ingest):
        assert f"## otel-finops {command.__name__}" in cli
        options = set(inspect.signature(command).parameters) - {"context", "files", "as_json"}
        assert all(f"`--{option}`" in cli for option in options)
    for one in describe():
        assert f"`{one.env}`" in settings


def test_the_groupings_named_are_those_of_the_ledger() -> None:
    description = OPERATIONS.named("spend.report").input.model_fields["group_by"].description or ""
    assert all(f"{key}," in description or f"{key};" in description or f"{key}." in description for key in SPEND_KEYS)
