"""Answers for people: every verb's fits its screen, numbers line up, and nothing that a sender named steers the terminal."""

from __future__ import annotations

import io
import unicodedata
from typing import Any

import pytest
from answers import example_of
from rich.cells import cell_len
from rich.console import Console
from surfaces_world import HOSTILE

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.surfaces.cli.render import draw
from otel_finops.surfaces.cli.tables import columns_of, draw_rows, plain, speaks_unicode

SHOWN = [one for one in OPERATIONS if not one.streams]


def drawn(name: str, answer: Any, width: int, encoding: str = "utf-8") -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace", newline="\n")
    console = Console(width=width, file=file, force_terminal=True, color_system=None, highlight=False, legacy_windows=False)
    draw(console, name, answer)
    file.seek(0)
    return file.read().split("\n")


@pytest.mark.parametrize("hostile", [False, True], ids=["realistic", "hostile"])
@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("one", SHOWN, ids=lambda one: one.name)
def test_every_verbs_answer_fits_the_screen_and_is_harmless(one: Any, width: int, hostile: bool) -> None:
    lines = drawn(one.name, example_of(one.output.model_json_schema(), hostile=hostile), width)
    assert any(line.strip() for line in lines)
    assert not [line for line in lines for c in line if unicodedata.category(c)[0] == "C"]
    assert not [line for line in lines if cell_len(line.rstrip()) > width and not copied(one.name, line)]


def copied(name: str, line: str) -> bool:
    """A line to be copied in one piece, which the terminal folds: a cursor, or a command that mends something."""
    return "--cursor" in line or (name in ("pricing.unpriced", "waste.report") and line.startswith("  "))


@pytest.mark.parametrize("one", SHOWN, ids=lambda one: one.name)
def test_every_verbs_answer_without_any_rows_is_told(one: Any) -> None:
    assert any(line.strip() for line in drawn(one.name, example_of(one.output.model_json_schema(), rows=0), 80))


@pytest.mark.parametrize("one", SHOWN, ids=lambda one: one.name)
def test_a_terminal_without_unicode_gets_ascii(one: Any) -> None:
    assert all(line.isascii() for line in drawn(one.name, example_of(one.output.model_json_schema()), 100, "ascii"))


ROWS = [
    {"model": "gpt-4o", "cost_usd": "12.5", "calls": 3, "share": 0.25, "on": True},
    {"model": "o3", "cost_usd": "-0.0072275", "calls": 1200, "share": None, "on": False},
    {"model": "llama", "cost_usd": "100", "calls": 40, "share": 0.1, "on": None},
]


def test_numbers_stand_right_and_points_below_each_other() -> None:
    """12.5, -0.0072275 and 100 have their points in the same column."""
    lines = table(ROWS, 80)
    assert lines == [
        "model      cost usd  calls  share  on",
        "──────────────────────────────────────",
        "gpt-4o   12.5            3   0.25  yes",
        "o3       -0.0072275   1200         no",
        "llama   100             40   0.1",
    ]


def table(rows: list[dict[str, Any]], width: int) -> list[str]:
    file = io.StringIO()
    draw_rows(Console(width=width, file=file, force_terminal=True, color_system=None, highlight=False), rows)
    return [line.rstrip() for line in file.getvalue().rstrip("\n").split("\n")]


def test_instants_are_told_to_the_second_and_empty_columns_stay_away() -> None:
    rows = [{"at": "2026-11-21T09:30:00.123456789Z", "why": None, "who": "ann"}]
    assert table(rows, 80)[-1] == "2026-11-21 09:30:00Z  ann"
    assert [column.name for column in columns_of(rows)] == ["at", "who"]


TRACES = [
    {
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "realm": "default",
        "started_at": "2026-11-21T09:30:00.000000000Z",
        "cost_usd": "0.131088",
        "calls": 1,
        "tokens": 32520,
        "unpriced_calls": 0,
    }
]


def test_a_narrow_screen_leaves_the_least_telling_out_and_says_so() -> None:
    """The seven columns take 32 + 7 + 20 + 8 + 5 + 6 + 14 and six gaps of 2, 104 in all, 98 with `unpriced calls` in two lines."""
    assert [len(table(TRACES, width)) for width in (104, 103, 98, 97)] == [3, 4, 4, 5]
    folded = table(TRACES, 96)
    assert "default" in folded[3]
    assert any("0af7651916cd43dd8448eb211c8031" in line for line in folded)
    narrow = table(TRACES, 80)
    assert narrow[-1] == "(no room on this screen for: realm)"
    assert "default" not in "".join(narrow)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("fx.rates", {"rate": None, "currencies": []}),
        ("prices.changes", {"days": 30, "changes": [], "next_cursor": None}),
        ("usage.list", {"entries": [], "next_cursor": None}),
    ],
)
def test_a_list_without_rows_is_said_to_be_empty(name: str, answer: dict[str, Any]) -> None:
    assert drawn(name, answer, 80)[0] == "nothing found"


def test_a_list_with_rows_is_not_said_to_be_empty() -> None:
    assert "nothing found" not in drawn("usage.list", {"entries": [{"kind": "charge"}], "next_cursor": None}, 80)


def test_a_calls_history_is_a_table_of_its_entries() -> None:
    booked = {"recorded_at": "2026-11-22T08:26:54Z", "role": "call", "cost_usd": "0.5", "cost_method": "computed", "span_id": "0" * 16}
    history = [
        {"entry": {**booked, "kind": "charge"}, "why": "First seen."},
        {"entry": {**booked, "kind": "reversal"}, "why": "Sent again."},
    ]
    lines = drawn("usage.show", {"history": history, "standing": None, "revisions": 2}, 80)
    assert lines[2].split() == ["2026-11-22", "08:26:54Z", "charge", "call", "0.5", "computed", "First", "seen."]
    assert lines[3].split() == ["2026-11-22", "08:26:54Z", "reversal", "call", "0.5", "computed", "Sent", "again."]


def test_a_forecast_is_told_in_a_sentence_with_rounded_amounts() -> None:
    found = {"projected": "17.444838822094", "low": "16.248884214993", "high": "18.860124242707", "spent": "12.4544221"}
    window = {"from": "2026-11-01T00:00:00.000000000Z", "to": "2026-12-01T00:00:00.000000000Z", "zone": "UTC", "period": "monthly"}
    step = {"to": window["to"], "expected": found["projected"], "low": found["low"], "high": found["high"]}
    lines = drawn("forecast.spend", {**window, "total": found, "groups": [], "others": 0, "steps": [step]}, 100)
    assert lines[:2] == [
        "2026-11-01 00:00:00Z to 2026-12-01 00:00:00Z (monthly, UTC)",
        "12.45 USD spent, 17.44 USD expected at the end, four times in five between 16.25 and 18.86",
    ]
    assert lines[4] == "2026-12-01 00:00:00Z     17.44  16.25  18.86"
    few = drawn("forecast.spend", {**window, "total": {**found, "low": None, "high": None}, "groups": [], "others": 0, "steps": []}, 100)
    assert few[1] == "12.45 USD spent, 17.44 USD expected at the end; too few days for a range"


def test_what_stands_out_is_one_line_each() -> None:
    one = {
        **{"no": 9, "scope": "agent", "tenant": "acme", "name": "triage", "step": "day", "from": "2026-11-21T00:00:00.000000000Z"},
        **{"running": True, "state": "open", "muted": False, "value_usd": "0.4060818", "expected_usd": "0.001523605187", "score": 40.46},
        "drivers": [{"kind": "volume", "amount_usd": "0.398924644843", "details": []}],
    }
    row = drawn("anomalies.list", {"anomalies": [one], "next_cursor": None}, 130)[2]
    assert row.split("  ")[:3] == [" 9", "2026-11-21 00:00:00Z", "day"]
    assert "agent triage of acme" in row
    assert "0.41" in row
    assert "0.0015" in row
    assert "open, running" in row


def test_who_bears_nothing_else_needs_no_columns_for_it() -> None:
    nothing = dict.fromkeys(("direct_usd", "given_usd", "received_usd", "fees_usd", "credits_usd"), "0")
    rows = [
        {"cost_center": code, "tenant": None, "name": None, "owner": None, "calls": 4, **nothing, "total_usd": cost, "subtree_usd": cost}
        for code, cost in (("search", "2.5"), (None, "0"))
    ]
    rows[0]["direct_usd"] = "2.5"
    lines = drawn("chargeback.report", {"rows": rows}, 80)
    assert lines[0].split() == ["cost", "center", "calls", "direct", "usd", "total", "usd"]
    assert lines[3].startswith("(not allocated)")


def test_jobs_say_how_often_and_what_came_of_it() -> None:
    idle = {"running_in": None, "seconds": None, "outcome": None, "said": None, "last_at": None, "failures": 0}
    done = {**idle, "seconds": 0.023, "outcome": "done", "said": "2 budgets forecast", "last_at": "2026-11-22T15:08:05.000000000Z"}
    jobs = [{"job": "prune", "every_seconds": 86400.0, **idle}, {"job": "forecast_budgets", "every_seconds": 600.0, **done}]
    text = "\n".join(drawn("jobs.list", {"jobs": jobs}, 100))
    assert "prune             1 d" in text
    assert "forecast_budgets  10 min  2026-11-22 15:08:05Z  0.023 s  done     2 budgets forecast" in text
    assert "failures" not in text


def test_sessions_are_a_table_on_a_narrow_screen() -> None:
    """13 + 7 + 20 + 10 + 6 + 4 + 5 + 6 and seven gaps of 2 are 85: 79 without the runs."""
    session = {"session": "ticket-080205", "users": ["user-00"], "last_at": "2026-11-22T08:23:43Z", "cost_usd": "0.01063575"}
    answer = {"sessions": [{**session, "traces": 1, "runs": 2, "calls": 3, "tokens": 4621}], "next_cursor": None}
    lines = [line.rstrip() for line in drawn("sessions.list", answer, 80)]
    assert lines[2] == "ticket-080205  user-00  2026-11-22 08:23:43Z  0.01063575       1      3    4621"
    assert "(no room on this screen for: runs)" in lines


def test_how_long_data_is_kept_is_told_in_words() -> None:
    """An hour is 0.042 days to the third place, 36 hours are 1.5 days; no days at all are for ever."""
    days = {"entries": 730.0, "quarantine": 1.0, "skeletons": 0.042, "journal": 1.5, "audit": None}
    rows = [{"class": name, "keeps_days": kept, "setting": None, "lost": "It."} for name, kept in days.items()]
    lines = drawn("retention.status", {"classes": rows, "pruned_until": None, "months": []}, 100)
    assert [line.split()[1:-1] for line in lines[2:7]] == [["730", "days"], ["1", "day"], ["1", "h"], ["36", "h"], ["for", "ever"]]


def test_a_secret_that_is_set_is_told_by_a_word() -> None:
    url = {"section": "database", "name": "url", "value": None, "source": "default", "secret": True, "is_set": True}
    lines = drawn("settings.show", {"settings": [url, {**url, "name": "other", "is_set": False}]}, 100)
    assert [line.split() for line in lines[2:4]] == [["database", "url", "(secret)", "default"], ["database", "other", "default"]]


def test_where_no_table_fits_rows_are_blocks_with_everything() -> None:
    lines = table(TRACES, 40)
    assert lines[0].split() == ["trace", "id", "0af7651916cd43dd8448eb21"]
    assert [line.split()[0] for line in lines if line[:1].strip()][:3] == ["trace", "realm", "started"]
    assert max(map(len, lines)) <= 40


def test_values_within_values_are_indented_and_lists_of_objects_are_tables() -> None:
    file = io.StringIO()
    console = Console(width=80, file=file, force_terminal=True, color_system=None, highlight=False)
    plain(console, {"sums": {"cost_usd": "1.5", "days": [{"day": "2026-11-21", "cost_usd": "1.5"}]}, "note": HOSTILE, "next_cursor": "abc"})
    assert [line.rstrip() for line in file.getvalue().splitlines()] == [
        "sums:",
        "  cost usd: 1.5",
        "  days:",
        "day         cost usd",
        "────────────────────",
        "2026-11-21       1.5",
        "note: <script>alert(1)</script>\\u001b[31m\\u202e=cmd()",
        "There is more; go on with --cursor abc",
    ]


@pytest.mark.parametrize(("encoding", "is_so"), [("utf-8", True), ("UTF8", True), ("ascii", False), ("latin-1", False), (None, False)])
def test_what_a_terminal_can_show_is_told_by_its_encoding(encoding: str | None, is_so: bool) -> None:
    assert speaks_unicode(encoding) is is_so


def test_a_decision_is_told_with_what_decided_it() -> None:
    """In observe mode a call passes that would have been blocked."""
    reason = {"gate": "budget", "action": "block", "rule": "acme day", "text": "acme day allows 1 USD, 1 are spent"}
    answer = {
        "decision_id": "d1", "action": "allow", "decided": "block", "http_status": 200, "reasons": [reason], "estimate_usd": "0.0045",
        "estimate": {"source": "priced", "guessed": []}, "observed": True, "recorded": True, "at": "2026-11-22T11:17:28Z",
    }  # fmt: skip
    told = drawn("decisions.create", answer, 100)
    assert told[0] == "allow, block if it were enforced (HTTP 200), a call estimated at 0.0045 USD"
    assert told[-2] == "decision d1"
    row = {"at": answer["at"], "tenant": "acme", "estimate_usd": "0.0045", "answer": answer}
    assert drawn("decisions.list", {"decisions": [row], "next_cursor": None}, 160)[2].replace("  ", "|").split("|")[:4] == [
        "2026-11-22 11:17:28Z", "allow (would block)", "budget acme day", "acme",
    ]  # fmt: skip


def test_waste_says_what_was_looked_at() -> None:
    answer: dict[str, Any] = {
        "from": "2026-11-01T00:00:00Z", "to": "2026-11-02T00:00:00Z", "findings": [], "kinds": [], "calls": 5, "cost_usd": "2.5",
        "all_calls": 7, "all_cost_usd": "3", "chosen": "dearest", "complete": False,
    }  # fmt: skip
    [line, *_] = drawn("waste.report", answer, 200)
    assert line.strip().endswith(", 5 calls for 2.50 USD, the dearest of 7 calls for 3.00 USD")
    [line, *_] = drawn("waste.report", {**answer, "chosen": "all", "complete": True}, 200)
    assert line.strip().endswith(", 5 calls for 2.50 USD")
