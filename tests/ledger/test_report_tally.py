"""What became of stated costs is counted once its charge is committed."""

from __future__ import annotations

from ledger_rig import PRICES, Rig, call

from otel_finops.ledger.report_tally import ReportTally
from otel_finops.ledger.settle import Settler
from otel_finops.pricing.cascade import Cascade
from otel_finops.store.engine import Store

MILLI = 10**9
ROUTED = {"provider": "openrouter", "reported_source": "usage.cost", "request_model": "openai/gpt-4o", "price_models": ("openai/gpt-4o",)}


def test_every_stated_cost_is_counted_by_its_verdict_and_its_difference_by_its_sign(store: Store) -> None:
    """Beside a price of 0.0035 each: 0.004 stands, 4 and 0.00001 lie outside the band, an estimate of 0.003 is not trusted."""
    rig, tally = Rig(store), ReportTally(Cascade().reports)
    rig.settler = Settler(store, rig.leases, PRICES, [rig.rollups, tally], rig.clock, sleep=rig.clock.advance)
    rig.settle(
        call(1, trace=1, reported_pico=4 * MILLI, **ROUTED),
        call(2, trace=2, at_s=20, reported_pico=4000 * MILLI, **ROUTED),
        call(3, trace=3, at_s=40, reported_pico=MILLI // 100, **ROUTED),
        call(4, trace=4, at_s=60, reported_pico=3 * MILLI, reported_source="operation.cost"),
        call(5, trace=5, at_s=80),
    )
    assert tally.read() == (
        {"stands": 1, "outside_band": 2, "not_trusted": 1},
        {
            ("stands", "above"): MILLI // 2,
            ("outside_band", "above"): 3_996_500_000_000,
            ("outside_band", "below"): 3_490_000_000,
            ("not_trusted", "below"): MILLI // 2,
        },
    )
