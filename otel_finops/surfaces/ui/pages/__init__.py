"""The console's pages, a module a room; importing this registers them all, those of one group in the navigation's order."""

from __future__ import annotations

from importlib import import_module
from typing import Final

_ROOMS: Final = (
    "overview", "explore", "live", "traces", "runs", "sessions", "usage", "budgets", "policies", "approvals", "kill_switches",
    "credits", "decisions", "prices", "price_rules", "subscriptions", "alerts", "channels", "jobs", "audit", "tokens", "system",
    "chargeback", "reconciliation", "exports", "forecast", "anomalies", "efficiency", "whatif", "footprint",
)  # fmt: skip

for _room in _ROOMS:
    import_module(f"{__name__}.{_room}")
