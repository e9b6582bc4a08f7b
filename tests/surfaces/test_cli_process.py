"""The command line as a process: exit codes of docs/cli.md, completion in a shell, bars on a terminal, and a fast `--help`."""

from __future__ import annotations

import os
import pty
import re
import resource
import select
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cli_world import Said, scripted
from surfaces_world import ACME_TRACE

from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.settings.features import Features
from otel_finops.surfaces.cli.lazy import first_sentence
from otel_finops.surfaces.cli.main import GROUPS, SINGLE
from otel_finops.surfaces.cli.table import ALIASES, command_table

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "cli.md"
FINOPS = [sys.executable, "-m", "otel_finops"]


def environment(**more: str) -> dict[str, str]:
    """The process's own without what would change the command line."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_FINOPS_", "_OTEL", "NO_COLOR", "COLUMNS"))}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **more}


def finops(*arguments: str, cwd: Path, given: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*FINOPS, *arguments], cwd=cwd, input=given, capture_output=True, text=True, timeout=60, env=environment(**more))


# --- exit codes ------------------------------------------------------------------------------------------------------


def test_the_codes_that_are_tested_here_are_those_of_the_page() -> None:
    told = re.findall(r"^\| (\d+) \| ", DOCS.read_text(), re.MULTILINE)
    assert told == ["0", "1", "2", "3", "130", "141"]


def test_0_the_work_was_done(database: str, tmp_path: Path) -> None:
    done = finops("--database", database, "trace", ACME_TRACE, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    unreadable = finops("price", cwd=tmp_path, given="no json\n")
    assert (unreadable.returncode, unreadable.stderr) == (0, "")


def test_1_a_check_failed(database: str, tmp_path: Path) -> None:
    import sqlite3  # noqa: PLC0415 - the forger's tool

    forged = tmp_path / "forged.db"
    with sqlite3.connect(database.removeprefix("sqlite:///")) as original, sqlite3.connect(forged) as copy:
        original.backup(copy)
        for (name,) in copy.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            copy.execute(f"DROP TRIGGER {name}")
        copy.execute("UPDATE entries SET cost_pico = 1")
    original.close()
    copy.close()
    for more in ((), ("--json",)):
        failed = finops("--database", f"sqlite:///{forged}", "ledger", "verify", *more, cwd=tmp_path)
        assert (failed.returncode, failed.stderr) == (1, "")
        assert "the row was changed" in failed.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("spend", "nonsense"),
        ("spend", "report", "--nonsense"),
        ("trace",),
        ("trace", "f" * 32),
        ("spend", "report", "--group-by", "password"),
        ("--config", "/nowhere.yaml", "spend", "report"),
        ("--database", "mysql://x", "spend", "report"),
        ("--database", "sqlite:///nowhere.db", "spend", "report"),
        ("ingest", "/nowhere.jsonl"),
        ("--url", "nonsense", "spend", "report"),
    ],
)
def test_2_wrong_usage_or_input(tmp_path: Path, database: str, arguments: tuple[str, ...]) -> None:
    given = arguments if "--" in arguments[0] or arguments[0] == "ingest" else ("--database", database, *arguments)
    refused = finops(*given, cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr
    assert "Traceback" not in refused.stderr


def test_3_busy_or_away(tmp_path: Path) -> None:
    away = finops("--url", "http://127.0.0.1:9", "spend", "report", cwd=tmp_path)
    assert (away.returncode, away.stdout) == (3, "")
    assert "cannot be reached" in away.stderr


def test_130_interrupted(tmp_path: Path) -> None:
    piped = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": environment()}
    heard = partial(signal.signal, signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit deafness
    with subprocess.Popen([*FINOPS, "price"], cwd=tmp_path, preexec_fn=heard, **piped) as running:
        assert running.stdin
        assert running.stdout
        running.stdin.write(b'{"id":"a"}\n')
        running.stdin.flush()
        assert running.stdout.readline()
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130


def test_141_the_reader_has_gone(tmp_path: Path) -> None:
    with subprocess.Popen([*FINOPS, "price"], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as running:
        assert running.stdin
        assert running.stdout
        running.stdin.write(b'{"id":"a"}\n')
        running.stdin.flush()
        assert running.stdout.readline()
        running.stdout.close()
        try:
            running.stdin.write(b'{"id":"a"}\n' * 10)
            running.stdin.close()
        except BrokenPipeError:
            running.stdin = None
        assert running.wait(20) == 141


# --- help ------------------------------------------------------------------------------------------------------------


def test_help_lists_every_command_and_group_with_its_own_words() -> None:
    table = command_table(Features())
    assert {words[0] for words in table} == {*GROUPS, *SINGLE}
    assert {name: first_sentence(table[(name,)]) for name in SINGLE} == SINGLE
    assert {one.words[0] for one in OPERATIONS} <= {*GROUPS, *SINGLE}


def test_without_arguments_the_help_is_shown(tmp_path: Path) -> None:
    shown = finops(cwd=tmp_path)
    assert "Commands:" in shown.stdout + shown.stderr
    for name in (*GROUPS, *SINGLE, "serve", "demo", "ingest"):
        assert re.search(rf"^  {name} ", shown.stdout + shown.stderr, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tracs",), "Did you mean traces or trace?"),
        (("spend", "raport"), "Did you mean report or export?"),
        (("ledger", "verfy"), "Did you mean verify?"),
        (("spend", "report", "--tenat", "x"), "--tenant"),
    ],
)
def test_misspelt_words_are_answered_with_the_nearest(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    refused = finops(*words, cwd=tmp_path)
    assert refused.returncode == 2
    assert said in refused.stderr


def test_what_is_switched_off_is_not_listed(tmp_path: Path) -> None:
    shown = finops("--help", cwd=tmp_path, OTEL_FINOPS_FEATURES__QUARANTINE="false").stdout
    assert "\n  quarantine " not in shown
    assert "\n  traces " in shown
    off = finops("quarantine", "list", cwd=tmp_path, OTEL_FINOPS_FEATURES__QUARANTINE="false")
    assert (off.returncode, "No such command 'quarantine'" in off.stderr) == (2, True)


def test_aliases_are_the_commands_that_they_name() -> None:
    table = command_table(Features())
    for words, name in ALIASES.items():
        assert table[words] is table[OPERATIONS.named(name).words]


def test_help_takes_little_work() -> None:
    """Half a second is promised; what a busy machine adds to the time on the clock does not count among the processor's."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*FINOPS, "--help"], cwd=ROOT, capture_output=True, check=True, env=environment())
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 0.3, f"{min(spent):.2f} s of processor time; some 0.08 s are usual"


def test_help_loads_no_operation_and_no_settings() -> None:
    heavy = ("pydantic", "yaml", "sqlalchemy", "rich.console", "urllib3", "otel_finops.operations", "otel_finops.settings")
    code = f"""
import atexit, sys
sys.argv = ["otel-finops", "--help"]
atexit.register(lambda: print("LOADED", *(name for name in {heavy} if name in sys.modules)))
from otel_finops.__main__ import main
main()
"""
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=environment()).stdout
    assert shown.rstrip().endswith("LOADED")


# --- completion ------------------------------------------------------------------------------------------------------


def completed(*words: str, tmp_path: Path) -> list[str]:
    """What bash is offered for the last of these words."""
    line = " ".join(("otel-finops", *words))
    asked = {"_OTEL_FINOPS_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    code = "import sys; sys.argv = ['otel-finops']; from otel_finops.__main__ import main; main()"
    shown = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, env=environment(**asked))
    assert shown.stderr == ""
    return shown.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("tra",), ["trace", "traces"]),
        (("ledger", "ver"), ["verify"]),
        (("--da",), ["--database"]),
        (("spend", "report", "--gro"), ["--group-by"]),
        (("spend", "report", "--group-by", "pro"), ["provider", "prompt", "price_key"][:1]),
        (("spend", "report", "--group-by", "model,cost_"), ["model,cost_method", "model,cost_center"]),
        (("traces", "search", "--sort", "c"), ["cost", "calls"]),
        (("usage", "list", "--role", "w"), ["wrapper"]),
        (("report", "--by", "model,ag"), ["model,agent"]),
    ],
)
def test_words_and_values_are_completed(tmp_path: Path, words: tuple[str, ...], offered: list[str]) -> None:
    assert sorted(completed(*words, tmp_path=tmp_path)) == sorted(offered)


def test_the_script_for_a_shell_is_shown(tmp_path: Path) -> None:
    shown = finops("--show-completion", "bash", cwd=tmp_path, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert shown.returncode == 0
    assert "complete -o default -F _otel_finops_completion" in shown.stdout


# --- terminals -------------------------------------------------------------------------------------------------------


def on_terminal(*arguments: str, cwd: Path, **more: str) -> tuple[str, str]:
    """Standard output to a pipe, standard error to a terminal; what came on each."""
    main, side = pty.openpty()
    shown = bytearray()
    with subprocess.Popen(
        [*FINOPS, *arguments], cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=side, env=environment(TERM="xterm", **more)
    ) as running:
        os.close(side)
        assert running.stdout
        out = b""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            ready, _, _ = select.select([main], [], [], 0.1)
            try:
                piece = os.read(main, 65536) if ready else b""
            except OSError:  # the other side was closed
                break
            shown += piece
            if not piece and running.poll() is not None:
                break
        out = running.stdout.read()
    os.close(main)
    return out.decode(), shown.decode(errors="replace")


def test_long_work_shows_a_bar_on_a_terminal_and_none_in_a_pipe(database: str, tmp_path: Path) -> None:
    out, shown = on_terminal("--database", database, "ledger", "verify", cwd=tmp_path)
    assert out.startswith("ok: yes")
    assert "ledger.verify" in shown
    assert "blocks of shard" in shown
    out, shown = on_terminal("--database", database, "db", "backup", "copy.db", cwd=tmp_path)
    assert out.startswith("The database was copied to copy.db")
    assert "pages" in shown
    quiet = finops("--database", database, "ledger", "verify", cwd=tmp_path)
    assert (quiet.stdout.startswith("ok: yes"), quiet.stderr) == (True, "")


def test_a_person_who_waits_for_a_service_sees_that_something_goes_on(tmp_path: Path) -> None:
    """It answers after two pauses of a second, which it asked for; a bar is shown after the first."""
    busy, done = Said(503, b"{}", {"retry-after": "1"}), Said(200, b'{"ok": true, "faults": []}')
    with scripted(busy, busy, done) as at:
        out, shown = on_terminal("--url", at.url, "ledger", "verify", cwd=tmp_path)
    assert out.startswith("ok: yes")
    assert "ledger.verify" in shown


def test_a_bar_tells_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from otel_finops.base.progress import listening, tell  # noqa: PLC0415 - used once

    heard: list[Any] = []
    with listening(lambda *said: heard.append(said)):
        tell("rows", 1, 2)
    tell("rows", 2, 2)  # nobody listens any more
    assert heard == [("rows", 1, 2)]
