"""The command line: the same answers as the API, exit codes, standard output kept clean, and a fast `--help`."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_world import run
from rich.console import Console
from starlette.testclient import TestClient
from surfaces_world import ACME_TRACE, HARMLESS, HOSTILE, NO_INPUT, SHARED_TRACE, asked
from typer.testing import CliRunner

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.settings.features import Features
from otel_finops.surfaces.api.app import openapi
from otel_finops.surfaces.cli.main import build_cli
from otel_finops.surfaces.cli.render import show
from otel_finops.surfaces.cli.render_coverage import coverage
from otel_finops.surfaces.cli.table import ALIASES, command_table
from otel_finops.surfaces.cli.texts import safe
from otel_finops.testing import FakeClock

ROOT = Path(__file__).parents[2]
RUN = "from otel_finops.surfaces.cli.main import main; main()"


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands have the room's clock, which stands still."""
    monkeypatch.setattr("otel_finops.operations.local.SystemClock", FakeClock)


def command_words(one: Any) -> list[str]:
    return [*one.words, *HARMLESS.get(one.name, NO_INPUT).words]


BESIDE = {
    ("report",), ("price",), ("resolve",), ("ledger", "head"), ("audit", "head"), ("db", "upgrade"), ("db", "backup"), ("db", "restore"),
}  # fmt: skip
"""Commands that are no operation: they put others' answers together, or work on this machine's streams, keys and files."""


# --- parity --------------------------------------------------------------------------------------------------------


def test_api_and_command_line_offer_the_same_operations() -> None:
    routes = {op["operationId"].removesuffix(".post") for path in openapi()["paths"].values() for op in path.values()}
    table = command_table(Features())
    commands = {one.name for one in OPERATIONS if one.words in table}
    operations = {one.name for one in OPERATIONS}
    missing = {"routes": sorted(operations - routes), "commands": sorted(operations - commands)}
    print(f"{len(operations)} operations, {len(routes)} routes, {len(commands)} commands; missing {missing}")
    assert routes == commands == operations, missing
    assert set(ALIASES.values()) <= routes
    assert set(table) - {one.words for one in OPERATIONS} - set(ALIASES) == BESIDE


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.name)
def test_json_is_the_apis_answer(api: TestClient, database: str, one: Any) -> None:
    method, path, given = asked(one)
    answer = api.request(method, path, **given)
    result = run(*command_words(one), "--json", database=database)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.rstrip("\n") == answer.text.rstrip("\n")


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.name)
def test_every_operation_is_shown_to_people(database: str, one: Any) -> None:
    result = run(*command_words(one), database=database)
    assert result.exit_code == 0
    assert result.stdout.strip()
    assert result.stderr == ""


@pytest.mark.parametrize("feature", ["traces", "spend", "usage", "coverage", "ledger", "prices", "quarantine"])
def test_what_is_switched_off_has_no_command(feature: str) -> None:
    table = command_table(Features(**{feature: False}))
    assert not [one.name for one in OPERATIONS if one.feature == feature and one.words in table]
    assert ("ledger", "export") in table or feature == "ledger"
    assert ("trace",) in table or feature == "traces"


def test_further_commands_are_registered_by_name() -> None:
    def serve() -> None:
        """Run the service."""
        print("serving")

    assert CliRunner().invoke(build_cli({"serve": serve}), ["serve"]).stdout == "serving\n"


# --- commands ------------------------------------------------------------------------------------------------------


def test_a_trace_is_drawn_as_a_tree(database: str) -> None:
    lines = [line.rstrip() for line in run("trace", ACME_TRACE, database=database).stdout.splitlines()]
    assert lines[0] == f"trace {ACME_TRACE}  0.007 USD"
    assert [line for line in lines if "span" in line] == [
        "span 1  0.007 USD  2 calls, 2200 tokens",
        "└─ span 2 [agent]  0.007 USD  2 calls, 2200 tokens",
        "   ├─ span 3 [call]  0.0035 USD  1 call, 1100 tokens",
        "   └─ span 4 [call]  0.0035 USD  1 call, 1100 tokens",
    ]


def covered(service: str, scope: str, advice: list[dict[str, Any]], **counts: int) -> dict[str, Any]:
    names = ("calls", "unpriced_calls", "estimated_calls", "partial_calls", "failed_calls", "traces_without_calls")
    zeros = dict.fromkeys((*names, "duplicates", "wrappers", "gateway_copies"), 0)
    return {"service": service, "scope": scope, "advice": advice, **zeros, **counts}


def test_coverage_is_shown_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    advice = [{"cause": "map_model", "calls": 2, "models": ["my-deployment", HOSTILE], "advice": "Map [it]."}]
    groups = [covered("shop", "client", advice, calls=2, duplicates=3, wrappers=1), covered("bot", "client", advice, calls=2)]
    show("coverage.report", {"groups": groups, "calls": 2, "unpriced_calls": 2, "complete": False})
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    assert ["service", "scope", "calls", "unpriced", "merged"] in lines  # what is 0 everywhere is left out
    assert ["shop", "client", "2", "4"] in lines
    assert "merged: further spans of calls that are charged once" in shown
    assert "shop client, 2 calls (my-deployment, " in shown
    assert shown.count("Map [it].") == 1  # said once, for both
    assert "older rows" in shown
    assert "\x1b" not in shown
    show("coverage.report", {"groups": [], "calls": 0, "unpriced_calls": 0, "complete": True})
    assert capsys.readouterr().out == "nothing found\n"


def test_coverage_fits_a_screen_of_100_columns() -> None:
    """With every column there is and names as long as they come, each number stands in the line of its service."""
    counts = {"unpriced_calls": 12_345, "estimated_calls": 9, "partial_calls": 8, "failed_calls": 7, "traces_without_calls": 6}
    advice = [{"cause": "no_counts", "calls": 12_345, "models": ["gpt-4o"], "advice": "Turn on the client's instrumentation. " * 5}]
    scope = "@traceloop/instrumentation-vertexai-and-aiplatform"
    group = covered("checkout-assistant", scope, advice, calls=1_234_567, duplicates=5, **counts)
    console = Console(width=100, file=io.StringIO(), force_terminal=True, color_system=None)
    coverage(console, {"groups": [group], "calls": 1, "unpriced_calls": 1, "complete": True})
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined] - a StringIO
    assert max(map(len, lines)) <= 100
    assert any(line.split() == ["checkout-assistant", "1234567", "12345", "9", "8", "7", "5", "6"] for line in lines)
    indented = [line for line in lines if line.startswith("  Turn") or (line.startswith("  ") and "instrumentation. " in line)]
    assert len(indented) > 1


def test_senders_texts_cannot_steer_the_terminal(database: str) -> None:
    shown = run("trace", SHARED_TRACE, database=database).stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert safe(HOSTILE) == "<script>alert(1)</script>\\u001b[31m\\u202e=cmd()"
    assert safe("Ünïcode 漢字 [bold]") == "Ünïcode 漢字 [bold]"


def test_export_writes_the_ledger(database: str) -> None:
    rows = [json.loads(line) for line in run("ledger", "export", "--net", "--subjects", database=database).stdout.splitlines()]
    assert len(rows) == 4
    assert {row["user"] for row in rows} == {"user-7", None}
    assert run("ledger", "export", "--format", "csv", database=database).stdout.startswith("entry_id,")
    canonical = run("ledger", "export", "--net", "--canonical", database=database).stdout.splitlines()
    assert "entry_id" not in json.loads(canonical[0])
    assert run("ledger", "export", "--canonical", database=database).exit_code == 2


def test_health_says_that_it_did_not_ask_a_service(database: str) -> None:
    said = json.loads(run("health", "--json", database=database).stdout)
    store, service = said["parts"]
    assert (store["name"], store["ok"]) == ("store", True)
    assert (service["name"], service["ok"]) == ("service", None)
    assert service["detail"].startswith("not asked: this looks at the database alone")


def test_an_empty_answer_says_so(database: str) -> None:
    assert run("usage", "list", "--tenant", "nobody", database=database).stdout.startswith("nothing found")


def test_verify_ends_with_one_when_a_row_was_changed(database: str, tmp_path: Path) -> None:
    import sqlite3  # noqa: PLC0415 - the forger's tool

    source = database.removeprefix("sqlite:///")
    forged = tmp_path / "forged.db"
    with sqlite3.connect(source) as original, sqlite3.connect(forged) as copy:
        original.backup(copy)
        for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            copy.execute(f"DROP TRIGGER {name}")
        copy.execute("UPDATE entries SET cost_pico = 1 WHERE tenant = 'globex'")
    original.close()
    copy.close()
    good = run("ledger", "verify", database=database)
    assert (good.exit_code, good.stdout.splitlines()[0]) == (0, "ok: yes")
    bad = run("ledger", "verify", "--json", database=f"sqlite:///{forged}")
    assert bad.exit_code == 1
    assert json.loads(bad.stdout)["faults"][0]["message"] == "the row was changed"


def test_a_kept_head_proves_the_end_of_the_chain(database: str, tmp_path: Path) -> None:
    head = tmp_path / "head.json"
    head.write_text(run("ledger", "head", "--key", str(tmp_path / "key.pem"), database=database).stdout)
    proved = run("ledger", "verify", "--head", str(head), "--json", database=database)
    assert (proved.exit_code, json.loads(proved.stdout)["head_compared"]) == (0, True)
    key = json.loads(head.read_text())["public_key"]
    assert run("ledger", "verify", "--head", str(head), "--public-key", key, database=database).exit_code == 0
    assert run("ledger", "verify", "--head", str(head), "--public-key", "00" * 32, database=database).exit_code == 2
    head.write_text("{}")
    assert run("ledger", "verify", "--head", str(head), database=database).exit_code == 2
    assert run("ledger", "verify", "--head", str(tmp_path / "absent"), database=database).exit_code == 2


def test_price_and_resolve_know_the_house_rules_of_the_ledger(database: str) -> None:
    """An alias of this ledger names azure/gpt-4o, 2.50 USD a million."""
    asked = '{"id": "a", "provider": "azure", "model": "our-deployment", "input_tokens_uncached": 1000, "at": "2026-11-21T00:00:00Z"}\n'
    [priced] = map(json.loads, run("price", database=database, given=asked).stdout.splitlines())
    assert (priced["usd"], priced["key"], priced["match"]) == ("0.0025", "azure/gpt-4o", "override")
    [resolved] = map(json.loads, run("resolve", database=database, given=asked).stdout.splitlines())
    assert resolved == {"id": "a", "key": "azure/gpt-4o", "match": "override"}
    nowhere = json.loads(run("price", database="sqlite:////nowhere/ledger.db", given=asked).stdout)
    assert (nowhere["usd"], nowhere["reason"]) == (None, "unknown_model")


def test_price_and_resolve_answer_line_by_line() -> None:
    lines = '{"id":"a","provider":"openai","model":"gpt-4o","input_tokens_uncached":1000,"output_tokens":100}\nno json\n'
    answers = [json.loads(line) for line in run("price", given=lines).stdout.splitlines()]
    assert [(a["id"], a["usd"]) for a in answers] == [("a", "0.0035"), ("", None)]
    assert json.loads(run("resolve", given='{"id":"b","provider":"openai","model":"gpt-4o"}\n').stdout)["key"] == "gpt-4o"
    assert run("price", given=b"\xff\xfe\n").exit_code == 0


def test_a_new_database_gets_its_tables_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    assert run("spend", "report", database=url).exit_code == 2
    assert run("db", "upgrade", database=url).stdout.startswith("The database is at revision")
    assert "already" in run("db", "upgrade", database=url).stdout
    assert run("spend", "report", database=url).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("trace", "xyz"), "trace_id: a trace id has 32 hex digits"),
        (("trace", "f" * 32), "There is no trace"),
        (("spend", "report", "--group-by", "password"), "cannot be grouped"),
        (("usage", "list", "--limit", "many"), "limit: must be a valid integer"),
        (("usage", "list", "--from", "yesterday"), "from: not an instant"),
        (("usage", "list", "--frm", "x"), "No such option"),
        (("spend", "raport"), "No such command"),
    ],
)
def test_wrong_usage_ends_with_two_and_says_why(database: str, arguments: tuple[str, ...], part: str) -> None:
    result = run(*arguments, database=database)
    assert result.exit_code == 2
    assert part in result.stderr
    assert result.stdout == ""


def test_faulty_settings_are_refused_with_all_faults(database: str, tmp_path: Path) -> None:
    config = tmp_path / "finops.yaml"
    config.write_text("ledger: {settle_after: soon}\nlog: {levle: info}\n")
    result = CliRunner().invoke(build_cli(), ["--config", str(config), "--database", database, "spend", "report"])
    assert result.exit_code == 2
    assert "2 faults" in result.stderr
    assert "did you mean level?" in result.stderr


def test_a_busy_ledger_ends_with_three_and_names_the_holder(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from otel_finops.base.errors import Busy  # noqa: PLC0415 - used once
    from otel_finops.operations import local  # noqa: PLC0415 - used once

    def busy(*_: Any) -> Any:
        raise Busy("The ledger is busy.", holder="worker-1")

    monkeypatch.setattr(local, "verdict", busy)
    result = run("ledger", "verify", database=database)
    assert (result.exit_code, result.stderr) == (3, "otel-finops: The ledger is busy. (held by worker-1)\n")


# --- as a process --------------------------------------------------------------------------------------------------


def test_help_loads_no_database_and_no_web_framework() -> None:
    code = (
        "import sys, otel_finops.surfaces.cli.main; print(*(m for m in ('sqlalchemy','fastapi','grpc','cryptography') if m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout == "\n"


@pytest.mark.parametrize(
    "words", [["spend", "report"], ["trace", ACME_TRACE], ["ledger", "export"], ["ledger", "verify"], ["ledger", "head"]]
)
def test_reading_a_ledger_that_is_not_there_says_how_to_get_one_and_makes_no_file(tmp_path: Path, words: list[str]) -> None:
    result = run(*words, database=f"sqlite:///{tmp_path / 'no.db'}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no.db does not exist: name the ledger (--database sqlite:///FILE, or database.url), or make one with" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_whole_commands_help_loads_no_room_that_it_does_not_need() -> None:
    """What `serve`, `ingest` and the operations work with is loaded when a command runs, not to be listed."""
    heavy = ("sqlalchemy", "alembic", "fastapi", "starlette", "uvicorn", "grpc", "google.protobuf", "psycopg", "orjson", "opentelemetry")
    code = f"import sys, otel_finops.__main__; print(*(m for m in {heavy} if m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout == "\n"


def test_help_builds_no_validators() -> None:
    """Those of all verbs together cost more time than everything else that `--help` does."""
    code = (
        "import otel_finops.surfaces.cli.main; from otel_finops.operations.catalogue import OPERATIONS; "
        "print(*(one.name for one in OPERATIONS if one.input.__pydantic_complete__ or one.output.__pydantic_complete__))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
