"""What governance keeps of booked entries, in the transaction that books them."""

from __future__ import annotations

from otel_finops.base.clock import Clock
from otel_finops.governance.budget_store import followed_budgets
from otel_finops.governance.call_state import NotedCalls
from otel_finops.governance.counters import Counters
from otel_finops.governance.credit_debits import CreditDebits
from otel_finops.governance.credit_rates import CreditRates
from otel_finops.governance.credit_store import followed_pools
from otel_finops.governance.reservations import booked
from otel_finops.governance.spending import StoredSpending
from otel_finops.governance.thresholds import Thresholds
from otel_finops.governance.verdicts import Verdicts
from otel_finops.ledger.projection import Projection, TraceProjection
from otel_finops.settings.tree import Settings
from otel_finops.store.engine import Store


def projections(settings: Settings, store: Store, clock: Clock) -> tuple[Projection, ...]:
    """Everything of this room that must be told of entries, whoever appends them: settlers, corrections and runs alike.

    In the order in which rows are locked (`rulings.Holder`): reservations, counters of budgets, pools. Calls are counted and pools are
    debited also where the verbs of budgets and credits are switched off: what calls cost is not forgotten.
    """
    counters = Counters(followed_budgets(store, clock), Thresholds(StoredSpending()), booked)
    return counters, CreditDebits(followed_pools(store, clock), CreditRates()), NotedCalls()


def trace_projections(settings: Settings) -> tuple[TraceProjection, ...]:
    """What of this room is worked out of whole traces when they settle."""
    return (Verdicts(),) if settings.features.guardrails else ()
