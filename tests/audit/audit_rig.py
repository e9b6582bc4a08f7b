"""What tests of the trail share, and what other processes of theirs run."""

from __future__ import annotations

import sys
from typing import Any

from otel_finops.audit.stored import StoredTrail
from otel_finops.audit.trail import Change
from otel_finops.base.clock import SystemClock
from otel_finops.store.engine import Store
from otel_finops.testing import NOON


def change(what: str = "prices.watch", tenant: str = "acme", **said: Any) -> Change:
    facts: dict[str, Any] = {"who": "ann", "before": None, "after": {"model": "gpt-4o"}, "at_ns": NOON, "origin": "test"}
    return Change(what=what, tenant=tenant, **{**facts, **said})


def append_many(url: str, name: str, count: int) -> None:
    """Append changes as one of many writers, each in its own transaction; who is too busy tries again."""
    store = Store.open(url, SystemClock())
    trail = StoredTrail(store)
    for number in range(count):
        trail.record(change(who=name, after=number))
    store.close()


if __name__ == "__main__":
    append_many(sys.argv[1], sys.argv[2], int(sys.argv[3]))
