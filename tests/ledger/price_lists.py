"""Small price lists, and all that refreshes and holds them over one store."""

from __future__ import annotations

import json
from typing import Any

from otel_finops.base.clock import Clock
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.price_refresh import Given, PriceRefresher, Refreshed
from otel_finops.pricing.quote import PriceableCall
from otel_finops.pricing.snapshot import Fields, Snapshot
from otel_finops.pricing.sources.loading import BUILTIN
from otel_finops.store.engine import Store


def row(dollars_in: float, dollars_out: float = 10, provider: str = "openai") -> dict[str, Any]:
    """A chat row; USD for a million tokens."""
    return {
        "litellm_provider": provider, "mode": "chat",
        "input_cost_per_token": round(dollars_in / 1e6, 15), "output_cost_per_token": round(dollars_out / 1e6, 15),
    }  # fmt: skip


ROWS: dict[str, Fields] = {
    "gpt-4o": row(2.5),
    "gpt-4.1": row(2, 8),
    **{f"acme/{name}": row(1, 2, "acme") for name in ("one", "two", "three")},
}
BASE = Snapshot("litellm", "1", "b" * 16, "2026-11-01", None, ROWS)


class Prices:
    """The prices of one process over a store."""

    def __init__(self, store: Store, clock: Clock, base: Snapshot = BASE) -> None:
        self.current = CurrentPrices(store, clock, lambda: base)
        self.refresher = PriceRefresher(store, clock, self.current.base, BUILTIN)
        self.clock = clock

    def refresh(self, rows: dict[str, Any] | bytes, **more: Any) -> Refreshed:
        """Refresh from a list of LiteLLM's form."""
        data = rows if isinstance(rows, bytes) else json.dumps(rows, indent=1).encode()
        accept, dry_run = more.pop("accept", False), more.pop("dry_run", False)
        return self.refresher.refresh(Given(data, "list.json", accept=accept, **more), who="ann", dry_run=dry_run)

    def cost(self, model: str, at_ns: int, provider: str = "openai") -> int | None:
        """Pico-USD of a million tokens in at a moment."""
        call = PriceableCall(provider, (model,), {"input_uncached": 1_000_000}, at_ns)
        return self.current.fresh().quote(call).cost_pico
