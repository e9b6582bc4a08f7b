"""Which stock instrumentations let a decision stop a call: the vendors' SDKs against a provider that counts what reaches it.

Each row of the table in docs/client.md is tested here.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from stock_libraries import HEARD, SWALLOWED, Library, Outcome

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@functools.cache
def outcomes() -> dict[str, dict[str, dict[str, list[object]]]]:
    """What became of every call under every instrumentation."""
    path = os.pathsep.join((str(HERE), str(ROOT)))
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "stock_libraries.py")],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    read: dict[str, dict[str, dict[str, list[object]]]] = json.loads(ran.stdout)
    return read


def outcome(library: Library, call: str, mode: str) -> Outcome:
    return Outcome(*outcomes()[library.name][call][mode])  # type: ignore[arg-type]


def cases(libraries: tuple[Library, ...], late: bool = False) -> list[object]:
    return [
        pytest.param(library, call, id=f"{library.name}: {call}")
        for library in libraries
        for call in library.calls
        if (call in library.late) == late
    ]


@pytest.mark.parametrize(("library", "call"), cases(HEARD))
def test_a_blocked_call_never_reaches_the_provider(library: Library, call: str) -> None:
    assert outcome(library, call, "allowed") == Outcome("made", provider=1, asked=1, spans=1)
    assert outcome(library, call, "blocked") == Outcome("CallBlocked", provider=0, asked=1, spans=0)


@pytest.mark.parametrize(("library", "call"), cases(HEARD, late=True))
def test_a_span_that_comes_after_the_answer_stops_nothing(library: Library, call: str) -> None:
    """And loses no answer that was paid for."""
    assert outcome(library, call, "blocked") == Outcome("made", provider=1, asked=0, spans=1)


@pytest.mark.parametrize(("library", "call"), cases(SWALLOWED))
def test_where_it_would_be_swallowed_calls_are_made_and_keep_their_spans(library: Library, call: str) -> None:
    blocked = outcome(library, call, "blocked")
    assert (blocked.end, blocked.provider, blocked.asked) == ("made", 1, 0)
    assert blocked.spans >= 1


@pytest.mark.parametrize(("library", "call"), cases(SWALLOWED))
def test_unless_the_application_insists(library: Library, call: str) -> None:
    assert outcome(library, call, "insisted") == Outcome("CallStopped", provider=0, asked=1, spans=0)


def test_the_documentation_lists_them_all() -> None:
    text = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
    for library in (*HEARD, *SWALLOWED):
        assert f"| {library.name} |" in text
