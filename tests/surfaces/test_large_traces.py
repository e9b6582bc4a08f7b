"""T46, long form: traces of a hundred thousand spans over the API, from a real store."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from otel_finops.genai.sighting import AGENT, CALL, OTHER, RANK_CLIENT, Sighting
from otel_finops.identity.principals import LOCAL
from otel_finops.ledger.journal import JournalRow, record
from otel_finops.ledger.rollups import Rollups
from otel_finops.ledger.settle import Settler
from otel_finops.operations.local import open_room, upgrade_database
from otel_finops.settings import load
from otel_finops.store.lease import Leases
from otel_finops.surfaces.api.app import build_api
from otel_finops.testing import NOON

SPANS = 100_000
TRACE = "0af7651916cd43dd8448eb211c80319c"


def span(number: int, parent: int | None, every: int) -> Sighting:
    """A call of gpt-4o with 1,000 tokens in and 100 out (0.0035 USD) for every so many spans, the others agents and plain ones."""
    kind = CALL if number % every == 0 else AGENT if number % 10 == 1 else OTHER
    known = Sighting(
        "default", TRACE, f"{number:016x}", None if parent is None else f"{parent:016x}", f"span {number}", NOON + number,
        NOON + number + 1000, kind, kind != OTHER, "app", "client", RANK_CLIENT,
    )  # fmt: skip
    if kind != CALL:
        return known
    return known._replace(
        operation="chat",
        provider="openai",
        request_model="gpt-4o",
        price_models=("gpt-4o",),
        response_id=f"answer-{number}",
        usage={"input_uncached": 1000, "output": 100},
        usage_source="reported",
    )


@pytest.mark.long
@pytest.mark.parametrize("shape", ["chain", "children"])
@pytest.mark.parametrize("calls", [100, 50_000])
def test_a_large_trace_is_answered_in_two_seconds(tmp_path: Path, shape: str, calls: int) -> None:
    settings = load(None, {"OTEL_FINOPS_DATABASE__URL": f"sqlite:///{tmp_path / 'ledger.db'}"})
    upgrade_database(settings)
    with open_room(settings) as room:
        prices = room.prices()
        for start in range(1, SPANS + 1, 8192):
            numbers = range(start, min(start + 8192, SPANS + 1))
            batch = [span(n, None if n == 1 else 1 if shape == "children" else n - 1, SPANS // calls) for n in numbers]
            rows = [JournalRow(one, prices.quote(prices.priceable(one)) if one.kind == CALL else None) for one in batch]
            with room.store.write() as transaction:
                record(transaction, rows, now_ns=NOON, settle_after_ns=0, subjects=room.subjects)
        Settler(room.store, Leases(room.store, room.clock, "test"), prices, [Rollups()], room.clock).settle_all()
        client = TestClient(build_api(room.context, lambda token: LOCAL))
        began = time.perf_counter()
        answer = client.get(f"/api/v1/traces/{TRACE}")
        spent_s = time.perf_counter() - began
    tree = answer.json()
    assert (len(tree["nodes"]), tree["total_usd"]) == (SPANS, str(calls * 35 // 10_000) if calls > 100 else "0.35")
    print(f"\n{shape}, {calls:,} calls: {spent_s:.2f} s, {len(answer.content):,} bytes")
    assert spent_s < 4, "twice the target, so that a busy machine does not fail it"
