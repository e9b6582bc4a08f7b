"""How long the answers of the dashboard and of insight take over a large ledger.

    python -m benchmarks.dashboard --rows 1000000 --keep /var/tmp/dashboard.db
    python -m benchmarks.dashboard --database postgresql+psycopg://user@host/empty --rows 1000000

A month of made-up calls is written first through the ledger's own writer, roll-ups included: eight models, five tenants, 41 agents with
two models each, nine steps; some failed, some without a price, some corrected, every fourth under a discount. Then each answer is asked
for again and again, on one connection, as the API's handlers ask for it; the sums are held against the entries. Printed are p50, p99 and
the slowest in milliseconds, and the p50 of CPU time, which a busy machine moves less.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from otel_finops.base.money import format_usd
from otel_finops.base.times import NS_PER_DAY, parse_ns
from otel_finops.identity.principals import LOCAL
from otel_finops.ledger.append import append
from otel_finops.ledger.changes import changes
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.reader import exact_total
from otel_finops.ledger.rollups import Rollups
from otel_finops.ledger.shards import lease_name, shard_of
from otel_finops.ledger.standing import Standing
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.context import Context
from otel_finops.operations.local import open_room
from otel_finops.operations.registry import invoke
from otel_finops.pricing.quote import CostLine
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases
from otel_finops.store.upgrade import upgrade
from otel_finops.testing import FakeClock

REALM: Final = "default"
BLOCK_ROWS: Final = 5_000
CALLS_PER_TRACE: Final = 5
DAYS: Final = 30
NOW_NS: Final = parse_ns("2026-11-21T15:37:11Z")
MODELS: Final = (
    ("openai", "gpt-4o"), ("openai", "gpt-4o-mini"), ("openai", "o3"), ("anthropic", "claude-opus-4-5"), ("anthropic", "claude-sonnet-4-5"),
    ("gemini", "gemini-2.5-pro"), ("gemini", "gemini-2.5-flash"), ("mistral", "mistral-large-latest"),
)  # fmt: skip
TENANTS: Final = ("acme", "globex", "initech", "umbrella", "hooli")
SERVICES: Final = ("shop", "search", "support", "batch")
ASKED: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("dashboard.kpis", {}),
    ("dashboard.kpis", {"zone": "Europe/Rome"}),
    ("dashboard.kpis", {"zone": "Asia/Kolkata"}),
    ("dashboard.kpis", {"tenant": "acme"}),
    ("dashboard.trend", {}),
    ("dashboard.trend", {"zone": "Europe/Rome"}),
    ("dashboard.trend", {"zone": "Asia/Kolkata"}),
    ("dashboard.trend", {"split": "model"}),
    ("dashboard.trend", {"by": "hour", "from": "2026-11-14", "split": "agent"}),
    ("dashboard.top", {"by": "model"}),
    ("dashboard.top", {"by": "tenant"}),
    ("dashboard.top", {"by": "agent"}),
    ("dashboard.top", {"by": "step"}),
    ("dashboard.top", {"by": "user"}),
    ("dashboard.kpis", {"basis": "effective"}),
    ("spend.report", {"group_by": "provider,model"}),
    ("spend.report", {"group_by": "model", "from": "2026-11-01T00:20:00Z", "to": "2026-11-21T15:37:11Z"}),
    ("spend.report", {"group_by": "step"}),
    ("forecast.spend", {}),
    ("forecast.spend", {"by": "model"}),
    ("footprint.summary", {"by": "model"}),
    ("chargeback.report", {"period": "2026-11"}),
    ("anomalies.explain", {"from": "2026-11-20", "to": "2026-11-21"}),
    ("outcomes.report", {}),
    ("unit_costs.report", {}),
    ("waste.report", {}),
)
_SLOW_S: Final = 0.3
_TRACE_SUMS: Final = (
    "INSERT INTO trace_sums SELECT trace_no, tenant, '', user_ref, SUM(CASE WHEN kind = 'charge' THEN 1 ELSE 0 END), "
    "SUM(CASE WHEN kind = 'charge' AND error_type IS NOT NULL THEN 1 ELSE 0 END), "
    "SUM(CASE WHEN kind = 'charge' AND cost_pico IS NULL THEN 1 ELSE 0 END), SUM(tokens), "
    "CAST(COALESCE(SUM(cost_pico), 0) AS BIGINT) / 1000000000000, CAST(COALESCE(SUM(cost_pico), 0) AS BIGINT) % 1000000000000, "
    "MIN(started_ns), MAX(started_ns + duration_ns) FROM entries GROUP BY trace_no, tenant, user_ref"
)
"""What settlers keep of each trace; corrections here carry a picodollar and no tokens."""


def call(number: int, rows: int) -> Entry:
    """A call with what real ones say; the numbers make ids, times and amounts."""
    trace = number // CALLS_PER_TRACE
    uncached, cached, output = 500 + number % 4_000, 300 * (number % 3), 50 + number % 700
    lines = (
        CostLine("input_uncached", uncached, "0.0000025", uncached * 2_500_000),
        CostLine("cache_read", cached, "0.00000125", cached * 1_250_000),
        CostLine("output", output, "0.00001", output * 10_000_000),
    )
    cost = sum(line.amount_pico for line in lines)
    agent, unpriced, failed = trace % 41, number % 97 == 0, number % 53 == 0
    provider, model = MODELS[(agent + number % 2) % len(MODELS)]
    started_ns = NOW_NS - DAYS * NS_PER_DAY + number * (DAYS * NS_PER_DAY // rows)
    return Entry(
        "charge", REALM, TENANTS[trace % 7 % len(TENANTS)], f"{trace + 1:032x}", f"{number + 1:016x}", f"{trace + 1:016x}", "call",
        started_ns, trace + 1, role_rule="call.single", operation="chat", provider=provider,
        request_model=model, response_model=model, usage={"cache_read": cached, "input_uncached": uncached, "output": output},
        usage_source="reported", usage_rule="semconv.inclusive", error_type="rate_limit" if failed else None,
        cost_pico=None if unpriced else cost, cost_lines=() if unpriced else lines, cost_method="unpriced" if unpriced else "computed",
        price_key=model, price_match="exact", price_version="0123456789abcdef", unpriced_reason="unknown_model" if unpriced else None,
        list_pico=cost * 2 if number % 4 == 0 and not unpriced else None, agent=f"agent-{agent}", step=f"step {number % 9}",
        user=f"{trace % 5000:024x}", cost_center=f"team-{agent % 3}", service=SERVICES[agent % 4], environment="production",
        duration_ns=750_000_000,
    )  # fmt: skip


def booked(first: int, last: int, rows: int) -> Iterator[Entry]:
    """Charges, and for each hundredth trace the corrections by which a picodollar comes to each of its calls."""
    charges = [call(number, rows) for number in range(first, last)]
    yield from charges
    for charge in charges:
        if charge.trace_no % 100 == 0 and charge.cost_pico is not None:
            more = (*charge.cost_lines, CostLine("requests", 1, "0.000000000001", 1))
            target = charge._replace(cost_pico=charge.cost_pico + 1, cost_lines=more)
            yield from changes(Standing(charge, 0), target)


def build(url: str, rows: int) -> None:
    """Write the ledger, unless it is there already."""
    clock = FakeClock(NOW_NS)
    store = Store.open(url, clock)
    upgrade(store)
    with store.read() as transaction:
        if transaction.execute("SELECT 1 FROM blocks LIMIT 1"):
            store.close()
            return
    lease = Leases(store, clock, "benchmark").acquire(lease_name(shard_of(REALM)), ttl_s=36_000)
    assert lease is not None
    rollups, began = Rollups(), time.monotonic()
    for first in range(0, rows, BLOCK_ROWS):
        with store.write() as transaction:
            append(transaction, lease, list(booked(first, min(first + BLOCK_ROWS, rows), rows)), [rollups], NOW_NS)
    print(f"{rows} calls written in {time.monotonic() - began:.0f} s")
    with store.write() as transaction:
        transaction.execute(_TRACE_SUMS)
        transaction.execute("ANALYZE")
    store.close()


def measure(context: Context, verb: str, given: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Milliseconds of one answer, asked for again and again; slow ones fewer times."""
    one = OPERATIONS.named(verb)
    model = one.input.model_validate(given)
    taken: list[float] = []
    cpu: list[float] = []
    while len(taken) < (rounds if not taken or taken[0] < _SLOW_S else max(3, rounds // 20)):
        began, worked = time.perf_counter(), time.process_time()
        invoke(one, context, LOCAL, model, origin="benchmark")
        taken.append(time.perf_counter() - began)
        cpu.append(time.process_time() - worked)
    ordered = sorted(round(1_000 * seconds, 1) for seconds in taken)
    place = {name: ordered[min(len(ordered) - 1, int(len(ordered) * part))] for name, part in (("p50", 0.5), ("p99", 0.99))}
    worked_ms = round(1_000 * sorted(cpu)[len(cpu) // 2], 1)
    return {"asked": verb, **given, "times": len(ordered), **place, "max": ordered[-1], "cpu_p50": worked_ms}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--keep", help="where the SQLite ledger is kept, or is already")
    parser.add_argument("--database", help="URL of an empty database, or of one that this wrote")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = options.database or f"sqlite:///{options.keep or Path(folder, 'ledger.db')}"
        build(url, options.rows)
        with open_room(load(None, {"OTEL_FINOPS_DATABASE__URL": url}), clock=FakeClock(NOW_NS)) as room:
            with room.store.read() as transaction:
                total = format_usd(exact_total(transaction))
            trend = OPERATIONS.named("dashboard.trend")
            given = trend.input.model_validate({"from": "2026-10-01", "by": "week", "split": "model"})
            answer = invoke(trend, room.context, LOCAL, given, origin="benchmark")
            print(json.dumps({"entries": total, "trend": answer["total_usd"], "equal": total == answer["total_usd"]}))
            for verb, said in ASKED:
                print(json.dumps({**measure(room.context, verb, said, options.rounds), "load": round(os.getloadavg()[0], 1)}), flush=True)


if __name__ == "__main__":
    main()
