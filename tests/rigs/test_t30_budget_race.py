"""T30: many processes ask for one hard budget at once; the sum of admitted estimates never passes the limit, and nothing is left over.

Run as a program it prints the figures: `python tests/rigs/test_t30_budget_race.py URL PROCESSES RUNS`, over an empty database.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from otel_finops.base.clock import SystemClock
from otel_finops.governance.budget_store import Edit
from otel_finops.governance.decisions import Query
from otel_finops.identity.principals import Editor
from otel_finops.operations.local import open_room
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.store.upgrade import upgrade

USD: Final = 10**12
LARGEST: Final = 5 * 10**10
"""The largest estimate that anybody asks for, 0.05 USD."""
_ONE: Final = Path(__file__).with_name("budget_race.py")


def race(url: str, run: int, *, processes: int, questions: int, threads: int) -> dict[str, Any]:
    """Have processes ask for a budget that is made for this race; what they were told, and what is held in the end.

    Each process asks for some three times its share.
    """
    limit = processes * threads * questions * 10**10
    with open_room(load(None, {"OTEL_FINOPS_DATABASE__URL": url}), clock=SystemClock()) as room:
        for former in room.context.budgets.all():
            room.context.budgets.delete(former.no, Editor("rig"))
        said: Any = {"name": f"race {run}", "kind": "money", "amount": limit, "hard": True}
        budget, _ = room.context.budgets.create(Edit(lambda one: one._replace(**said), {}), Editor("rig"))
        before = {(one, rest) for (one, rest) in _kinds(room)}
        told = _asked(url, run, processes, questions, threads)
        status = room.context.budgets.statuses([budget])[budget.no]
        recorded = dict(_kinds(room))
        held = sum(one.estimate_pico or 0 for one in room.context.decisions.reservations(None, "held", None, 100_000))
    admitted = sum(one["admitted_pico"] for one in told)
    return {
        "limit": limit,
        "admitted": admitted,
        "overshoot": max(0, admitted - limit),
        "left": limit - admitted,
        "reserved": status.reserved,
        "held_in_all": held,
        "calls": sum(one["admitted"] for one in told),
        "blocked": sum(one["blocked"] for one in told),
        "unrecorded": sum(one["unrecorded"] for one in told),
        "recorded": {name: count - dict(before).get(name, 0) for name, count in recorded.items()},
        "seconds": max(one["seconds"] for one in told),
    }


def _kinds(room: Any) -> list[tuple[Any, int]]:
    assert room.context.decisions.page(Query(None), None, 1) is not None
    return list(room.context.decisions.counted().items())


def _asked(url: str, run: int, processes: int, questions: int, threads: int) -> list[dict[str, Any]]:
    """What every process was told; all begin at the same moment."""
    command = [sys.executable, str(_ONE), url]
    started = [
        subprocess.Popen([*command, str(1000 * run + seed), str(questions), str(threads)], stdin=-1, stdout=-1, text=True)
        for seed in range(processes)
    ]
    for one in started:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in started:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    return [json.loads(one.communicate(timeout=600)[0]) for one in started]


def ready(url: str) -> None:
    """Make the tables."""
    store = Store.open(url, SystemClock())
    upgrade(store)
    store.close()


def hold_true(found: dict[str, Any], processes: int, questions: int, threads: int) -> None:
    """Nobody got more than there was; what is left is less than anybody asked for in vain."""
    assert (found["overshoot"], found["unrecorded"]) == (0, 0), found
    assert 0 <= found["left"] < LARGEST, found
    assert found["reserved"] == found["admitted"], found
    assert found["calls"] + found["blocked"] == processes * questions * threads, found
    assert found["recorded"] == {("allow", "false"): found["calls"], ("block", "false"): found["blocked"]}, found


def test_t30_several_processes_and_one_budget(database_url: str) -> None:
    ready(database_url)
    hold_true(race(database_url, 1, processes=2, questions=5, threads=6), 2, 5, 6)


@pytest.mark.long
def test_t30_eight_processes_on_each_of_two_replicas_five_times(database_url: str) -> None:
    ready(database_url)
    for run in range(5):
        hold_true(race(database_url, run, processes=16, questions=25, threads=4), 16, 25, 4)


if __name__ == "__main__":
    url, processes, runs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    ready(url)
    for run in range(runs):
        print(race(url, run, processes=processes, questions=25, threads=8), flush=True)
