"""The rules that come with the product: stored by the first check of a database that never had any, and like all others from then on."""

from __future__ import annotations

from typing import Final

from otel_finops.alerting.rules import Rule

SHIPPED_BY: Final = "defaults"
_QUARTER_HOUR_S: Final = 900
_DAY_S: Final = 86_400

DEFAULTS: Final = (
    Rule(0, "Budget thresholds", "budget"),
    Rule(0, "Budget forecast", "forecast", for_s=_QUARTER_HOUR_S, clear_s=3_600),
    Rule(0, "Budget burns fast", "spend_rate", clear_s=_QUARTER_HOUR_S, params={"windows": ["60/5/14.4", "360/30/6", "4320/360/2"]}),
    Rule(0, "Unusual spend", "anomaly", group_by=()),
    Rule(0, "Calls without a price", "unpriced", for_s=_QUARTER_HOUR_S, clear_s=3_600, repeat_s=_DAY_S),
    Rule(0, "Prices change", "price_change", severity="info", group_by=()),
    Rule(0, "Credits run low", "credit"),
    Rule(0, "Ledger and bill differ", "capture_rate", group_by=()),
    Rule(0, "Calls are stopped", "kill_switch"),
    Rule(0, "Policies cannot be evaluated", "policy_failure", clear_s=3_600, group_by=()),
)  # fmt: skip
"""What people want to hear of before they have said anything."""
