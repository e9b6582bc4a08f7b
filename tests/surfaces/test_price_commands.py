"""Price lists on the command line: files in, exit codes out, and the calculator goes on with the new book."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from surfaces_world import PRICE_LIST
from typer.testing import CliRunner

from otel_finops.operations.local import upgrade_database
from otel_finops.settings import load
from otel_finops.surfaces.cli.main import build_cli


@pytest.fixture
def database(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    upgrade_database(load(None, {"OTEL_FINOPS_DATABASE__URL": url}))
    return url


def run(database: str, *arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(build_cli(), ["--database", database, *arguments], input=given)


def answer(database: str, *arguments: str) -> dict[str, Any]:
    result = run(database, *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_file_is_looked_at_taken_and_told_of(database: str) -> None:
    dry = answer(database, "prices", "refresh", "--from", str(PRICE_LIST), "--dry-run")
    assert (dry["outcome"], dry["source"], dry["date"], dry["new"], dry["valid_from"]) == (
        "checked", "llm_prices", "2026-11-20", ["acme/one", "acme/two"], None,
    )  # fmt: skip
    assert answer(database, "prices", "status")["last_refresh"] is None
    taken = answer(database, "prices", "refresh", "--from", str(PRICE_LIST))
    assert (taken["outcome"], taken["version"]) == ("activated", dry["version"])
    status = answer(database, "prices", "status")
    assert [(one["source"], one["rows"]) for one in status["lists"]] == [("litellm", status["rows"]), ("llm_prices", 2)]
    assert (status["last_refresh"]["outcome"], status["last_refresh"]["origin"]) == ("activated", "llm_prices.json")
    shown = answer(database, "prices", "show", "one", "--provider", "acme")
    assert (shown["rates"]["input_cost_per_token"], shown["version"]) == ("0.0000025", taken["version"])
    line = '{"id": "1", "provider": "acme", "model": "one", "input_tokens_uncached": 1000, "output_tokens": 100}\n'
    priced = json.loads(run(database, "price", given=line).stdout)
    assert (priced["usd"], priced["key"]) == ("0.0035", "acme/one"), "1,000 at 2.50 and 100 at 10 USD a million"
    assert answer(database, "prices", "diff", "--file", str(PRICE_LIST))["changed_rows"] == 0


def test_a_bad_file_ends_with_2_and_says_where_and_why(database: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(PRICE_LIST.read_text().replace('"input": 0.15', '"input": -0.15'))
    result = run(database, "prices", "refresh", "--from", str(bad))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "otel-finops: bad.json, line 5: row 'two': input is negative (-0.15)\n"
    assert answer(database, "prices", "status")["last_refresh"]["outcome"] == "refused"
    missing = run(database, "prices", "refresh", "--from", str(tmp_path / "none.json"))
    assert (missing.exit_code, missing.stderr) == (2, f"otel-finops: {tmp_path / 'none.json'}: cannot be read: No such file or directory\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["refresh"], "from: say where the list is, or set prices.refresh_from"),
        (["refresh", "--from", "http://example.org/list"], "http lets anybody on the way change prices"),
        (["refresh", "--from", "ftp://example.org/list"], "from: write an https:// URL"),
        (["refresh", "--from", "x", "--sha256", "abc"], "x: cannot be read"),
        (["refresh", "--from", str(PRICE_LIST), "--sha256", "abc"], "sha256: a SHA-256 has 64 hex digits"),
        (
            ["refresh", "--from", str(PRICE_LIST), "--source", "none"],
            "source: there is no price source 'none'; there are litellm, openrouter",
        ),
        (["refresh", "--from", str(PRICE_LIST), "--valid-from", "soon"], "valid_from: not an instant"),
        (["activate", "zz"], "version: a version is the first 16 hex digits"),
        (["activate", "0000"], "There is no stored price list of the version '0000'"),
        (["diff"], "No price list is stored yet"),
        (["unwatch", "7"], "There is no watch 7."),
        (["changes", "--days", "0"], "days: must be greater than or equal to 1"),
    ],
)
def test_bad_input_says_how_to_mend_it(database: str, arguments: list[str], told: str) -> None:
    result = run(database, "prices", *arguments)
    assert result.exit_code == 2
    assert told in result.stderr
