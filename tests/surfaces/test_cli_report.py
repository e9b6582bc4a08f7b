"""`report`: the dashboard's numbers as sums, a curve and lists; curves and bars of characters."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import Any

import pytest
from cli_world import run
from rich.console import Console

from otel_finops.surfaces.cli.charts import ASCII, UNICODE, amount, bar, change, share, sparkline
from otel_finops.surfaces.cli.report import Answers
from otel_finops.surfaces.cli.report_drawing import draw
from otel_finops.testing import FakeClock


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is noon of 2026-11-21; all calls of the ledger were a moment later, in the same second."""
    monkeypatch.setattr("otel_finops.operations.local.SystemClock", FakeClock)


def test_what_was_spent_is_told(database: str) -> None:
    """Four calls of 0.0035 USD and 1,100 tokens each, three of acme and one of globex."""
    lines = [
        line.rstrip()
        for line in run("report", "--days", "7", "--to", "2026-11-22", "--by", "tenant", database=database).stdout.splitlines()
    ]
    assert lines == [
        "Spend of 7 days from 2026-11-15 to 2026-11-21 (UTC), all tenants that you may see",
        "",
        "  cost     0.014  USD  new  0.00 as long before",
        "  a day   0.0020  USD",
        "  calls        4       new  0.0035 USD a call",
        "  tokens   4,400       new",
        "  models       1       new",
        "",
        "  ······█",
        "  a day, at most 0.014 USD on 2026-11-21",
        "",
        "  by tenant                 share     USD  change  calls  tokens",
        "  acme       █████████░░░  75.0 %   0.010     new      3   3,300",
        "  globex     ███░░░░░░░░░  25.0 %  0.0035     new      1   1,100",
    ]


def test_json_is_what_the_dashboard_answered(database: str) -> None:
    words = ("--days", "3", "--to", "2026-11-22", "--tenant", "acme", "--by", "model,step", "--top", "1")
    said = json.loads(run("report", *words, "--json", database=database).stdout)
    window = ("--from", "2026-11-19", "--to", "2026-11-22", "--tenant", "acme", "--json")
    assert said["trend"] == json.loads(run("dashboard", "trend", *window, database=database).stdout)
    assert said["kpis"] == json.loads(run("dashboard", "kpis", *window, database=database).stdout)
    for key in ("model", "step"):
        top = json.loads(run("dashboard", "top", *window, "--by", key, "--limit", "1", database=database).stdout)
        assert said["top"][key] == top
    assert (said["days"], said["tenant"], list(said["top"])) == (3, "acme", ["model", "step"])


def test_days_begin_where_the_zone_says(database: str) -> None:
    """Noon of the 21st is one o'clock of the 22nd in Kiritimati, fourteen hours ahead."""
    shown = run("report", "--days", "2", "--zone", "Pacific/Kiritimati", database=database).stdout
    assert shown.startswith("Spend of 2 days from 2026-11-21 to 2026-11-22 (Pacific/Kiritimati)")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--by", "nonsense"), "by: must be 'model'"),
        (("--to", "soon"), "to: not an instant"),
        (("--to", "1970-01-01"), "--to: there is no day before it"),
        (("--zone", "../etc/passwd"), "there is no time zone"),
        (("--days", "0"), "--days"),
        (("--days", "many"), "--days"),
    ],
)
def test_wrong_input_is_told(database: str, words: tuple[str, ...], said: str) -> None:
    result = run("report", *words, database=database)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_a_tenant_without_calls_gets_a_report_too(database: str) -> None:
    shown = run("report", "--tenant", "nobody\x1b[31m", database=database).stdout
    assert "nothing was spent" in shown
    assert "tenant nobody\\u001b[31m" in shown


def figures(cost: str, calls: int, **more: Any) -> dict[str, Any]:
    """Key figures of a time."""
    return {
        "from": "2026-11-20T00:00:00.000000000Z", "to": "2026-11-22T00:00:00.000000000Z",
        "cost_usd": cost, "calls": calls, "tokens": 10 * calls,
        "average_usd": None, "models": 1, "unpriced_calls": 0, "unpriced_tokens_share": 0.0, "failed_calls": 0, "cache_share": None, **more,
    }  # fmt: skip


def row(name: str | None, cost: str, change_usd: str, calls: int, unpriced: int = 0) -> dict[str, Any]:
    return {
        "name": name, "cost_usd": cost, "calls": calls, "tokens": 10 * calls, "unpriced_calls": unpriced, "share": None,
        "change_usd": change_usd, "change_percent": None,
    }  # fmt: skip


def piece(day: int, cost: str) -> dict[str, Any]:
    return {"from": f"2026-11-{day}T00:00:00.000000000Z", "to": f"2026-11-{day + 1}T00:00:00.000000000Z", "cost_usd": cost}


ANSWERS = Answers(
    {
        "zone": "UTC",
        "pending_usd": "0.5",
        "window": {
            **figures("3000", 1500, average_usd="2", unpriced_calls=3, unpriced_tokens_share=0.002, failed_calls=1, cache_share=0.25),
            "before": figures("2000", 1500, failed_calls=2),
        },
    },
    {"pieces": [piece(20, "2000"), piece(21, "1000")]},
    {
        "model": {
            "total_usd": "3000",
            "top": [row("gpt-4o", "2000", "1000", 1000), row(None, "700", "-300", 400), row("x\x1b[2J", "0", "0", 3, 3)],
            "others": {**row(None, "300", "300", 97), "count": 2},
        },
        "agent": {"total_usd": "3000", "top": [row(None, "3000", "1000", 1500)], "others": {**row(None, "0", "0", 0), "count": 0}},
    },
)


def drawn(encoding: str = "utf-8", *, colours: bool = False, **environ: str) -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    console = Console(
        file=file, width=80, force_terminal=True, color_system="standard" if colours else None, highlight=False, _environ=environ
    )
    draw(console, 2, "acme", ANSWERS)
    file.seek(0)
    return file.read()


def test_everything_that_there_is_to_tell_is_told() -> None:
    """3,000 after 2,000 USD is half as much again; 1 failed call after 2 half as much; agents are nobody's names and no list."""
    assert [line.rstrip() for line in drawn().splitlines()] == [
        "Spend of 2 days from 2026-11-20 to 2026-11-21 (UTC), tenant acme",
        "",
        "  cost      3,000.00  USD  +50.0 %  2,000.00 as long before",
        "  a day     1,500.00  USD",
        "  calls        1,500        +0.0 %  2.00 USD a call",
        "  tokens      15,000        +0.0 %  25.0 % of the prompt from a cache",
        "  models           1        +0.0 %",
        "  failed           1       -50.0 %",
        "  unpriced         3           new  0.2 % of the tokens; see pricing unpriced",
        "  pending       0.50  USD           not settled yet, not in the sums",
        "",
        "  █▅",
        "  a day, at most 2,000.00 USD on 2026-11-20",
        "",
        "  by model                   share       USD    change  calls  tokens",
        "  gpt-4o      ████████░░░░  66.7 %  2,000.00  +100.0 %  1,000  10,000",
        "  (none)      ███░░░░░░░░░  23.3 %    700.00   -30.0 %    400   4,000",
        "  x\\u001b[2J  ░░░░░░░░░░░░   0.0 %  unpriced                3      30",
        "  2 more      █░░░░░░░░░░░  10.0 %    300.00       new     97     970",
    ]


def test_a_terminal_without_unicode_gets_other_characters() -> None:
    shown = drawn("ascii")
    assert shown.isascii()
    assert "########...." in shown
    assert "  @*\n" in shown


def test_colours_are_left_out_on_demand() -> None:
    assert "\x1b[31m+50.0 %" in drawn(colours=True)
    assert "\x1b[31m" not in drawn(colours=True, NO_COLOR="1")
    assert "\x1b[36m" not in drawn(colours=True, NO_COLOR="1")


# --- curves, bars, amounts -------------------------------------------------------------------------------------------


def decimals(*texts: str) -> list[Decimal]:
    return [Decimal(text) for text in texts]


def test_a_curve_has_a_character_a_value_from_nothing_to_the_highest() -> None:
    values = decimals("0", "0.000000000001", "1", "4", "8", "-3")
    assert sparkline(values, UNICODE, 80) == "·▁▂▅█·"
    assert sparkline(values, ASCII, 80) == "._-*@."
    assert sparkline([], UNICODE, 80) == ""
    assert sparkline(decimals("0", "0"), UNICODE, 80) == "··"


def test_a_curve_that_is_too_long_sums_neighbours() -> None:
    """Seven values on three characters: three at a time, 3, 6 and 1."""
    assert sparkline(decimals("1", "1", "1", "2", "2", "2", "1"), UNICODE, 3) == "▅█▂"


def test_a_bar_is_never_empty_for_something() -> None:
    assert bar(Decimal("0.001"), Decimal(1000), UNICODE, 4) == "█░░░"
    assert bar(Decimal(1000), Decimal(1000), ASCII, 4) == "####"
    assert bar(Decimal(0), Decimal(1000), ASCII, 4) == "...."
    assert bar(Decimal(5), Decimal(0), ASCII, 4) == "...."


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0", "0.00"), ("1234567.891", "1,234,567.89"), ("1", "1.00"), ("0.5", "0.50"), ("0.0072275", "0.0072"),
        ("0.0000000012", "0.0000000012"), ("0.000000000001", "0.000000000001"), ("-3.456", "-3.46"), ("0.999", "1.00"), ("2.345", "2.34"),
    ],
)  # fmt: skip
def test_amounts_are_rounded_for_people(value: str, shown: str) -> None:
    assert amount(Decimal(value)) == shown


def test_changes_and_shares() -> None:
    pairs = (("3", "2"), ("1", "2"), ("1", "0"), ("0", "0"), ("0", "2"), ("1", "-2"))
    assert [change(*decimals(*pair)) for pair in pairs] == ["+50.0 %", "-50.0 %", "new", "", "-100.0 %", "+150.0 %"]
    assert [share(*decimals(part, whole)) for part, whole in (("1", "3"), ("0", "3"), ("1", "0"))] == ["33.3 %", "0.0 %", ""]
