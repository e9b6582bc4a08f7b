"""One of several processes that ask for the same budget at once: `budget_race.py URL SEED QUESTIONS THREADS`.

It says `ready`, waits for a line, asks, and prints what was admitted: the sum of estimates in pico-USD, how many, how many were blocked,
and the largest estimate that was admitted and the smallest that was blocked.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time

from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.decide import Asked, Estimate, Question
from otel_finops.operations.local import open_room
from otel_finops.settings import load

CENT = 10**10


def main() -> None:
    """Ask with several threads."""
    url, seed, questions, threads = sys.argv[1], *map(int, sys.argv[2:])
    said = {"DATABASE__URL": url, "ENFORCEMENT__MODE": "enforce", "ENFORCEMENT__STORE_TIMEOUT": "30"}
    with open_room(load(None, {f"OTEL_FINOPS_{name}": value for name, value in said.items()})) as room:
        desk, drawn = room.context.decisions, random.Random(seed)
        desk.try_out(desk.posed(_question("warm", 1)))
        print("ready", flush=True)
        sys.stdin.readline()
        asked = [[drawn.randint(1, 5) * CENT for _ in range(questions)] for _ in range(threads)]
        answers: list[tuple[int, str, bool]] = []

        def ask(amounts: list[int]) -> None:
            for pico in amounts:
                answer = desk.decide(_question(desk.new_id(), pico))
                answers.append((pico, answer["action"], answer["recorded"]))

        workers = [threading.Thread(target=ask, args=(amounts,)) for amounts in asked]
        began = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        took = time.perf_counter() - began
    admitted = [pico for pico, action, _ in answers if action == "allow"]
    blocked = [pico for pico, action, _ in answers if action == "block"]
    json.dump(
        {
            "admitted_pico": sum(admitted), "admitted": len(admitted), "blocked": len(blocked),
            "least_blocked": min(blocked, default=None), "unrecorded": sum(not recorded for _, _, recorded in answers), "seconds": took,
        },
        sys.stdout,
    )  # fmt: skip


def _question(decision_id: str, pico: int) -> Question:
    call = GovernedCall(tenant="acme", provider="openai", model="gpt-4o", pico=pico, tokens=100)
    return Question(Asked(decision_id, call), Estimate(pico, "given"), lambda model: Estimate(pico, "given"))


if __name__ == "__main__":
    main()
