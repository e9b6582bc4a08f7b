"""Capture rates: what share of each bill the ledger had when that was last looked at, for metrics and alerts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from otel_finops.insight.reconcile import CAUSES, Cause
from otel_finops.insight.reconciliation import Reconciled, capture_rate
from otel_finops.ledger.tenants import Tenants, restricted
from otel_finops.store.unit_of_work import Transaction

_COLUMNS: Final = "tenant, name, provider, from_ns, to_ns, billed_pico, booked_pico, rate, causes, at_ns"
_SELECT: Final = f"SELECT {_COLUMNS} FROM capture_rates ORDER BY tenant, name"
_UPSERT: Final = (
    f"INSERT INTO capture_rates ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, name) DO UPDATE SET "
    "provider = excluded.provider, from_ns = excluded.from_ns, to_ns = excluded.to_ns, billed_pico = excluded.billed_pico, "
    "booked_pico = excluded.booked_pico, rate = excluded.rate, causes = excluded.causes, at_ns = excluded.at_ns"
)
_DROP: Final = "DELETE FROM capture_rates WHERE tenant = ? AND name = ?"


class CaptureRate(NamedTuple):
    """How a bill compared.

    Attributes:
        tenant, name, provider: of the bill; tenant "" for all tenants'.
        from_ns, to_ns: what was compared.
        billed_pico, booked_pico: the two sums.
        rate: booked of billed; None where nothing was billed.
        causes: pico-USD by cause; they add up to billed minus booked.
        at_ns: when it was looked at.
    """

    tenant: str
    name: str
    provider: str
    from_ns: int
    to_ns: int
    billed_pico: int
    booked_pico: int
    rate: float | None
    causes: Mapping[Cause, int]
    at_ns: int


def rate_of(found: Reconciled, at_ns: int) -> CaptureRate | None:
    """What to keep of a reconciliation; None where no time was compared."""
    if not found.times:
        return None
    label, total = found.label, found.total
    times = found.times[0][0], found.times[-1][1]
    return CaptureRate(
        label.tenant, label.name, label.provider, *times, total.billed_pico, total.booked_pico, capture_rate(total), total.causes, at_ns
    )


def capture_rates(transaction: Transaction, tenants: Tenants) -> list[CaptureRate]:
    """The last of each bill that these tenants may see; those for all tenants are seen by those who see all."""
    allowed = restricted(tenants)
    found = [_rate(row) for row in transaction.execute(_SELECT)]
    return [one for one in found if allowed is None or one.tenant in allowed]


def keep(transaction: Transaction, rates: Sequence[CaptureRate]) -> None:
    """Store what was found in place of what was there; of bills that are no more nothing is kept."""
    kept = {(one.tenant, one.name) for one in rates}
    for old in capture_rates(transaction, None):
        if (old.tenant, old.name) not in kept:
            transaction.execute(_DROP, (old.tenant, old.name))
    for one in rates:
        causes = json.dumps({cause: str(pico) for cause, pico in one.causes.items()})
        values = (*one[:5], str(one.billed_pico), str(one.booked_pico), one.rate, causes, one.at_ns)
        transaction.execute(_UPSERT, values)


def _rate(row: Sequence[object]) -> CaptureRate:
    tenant, name, provider, from_ns, to_ns, billed, booked, rate, causes, at_ns = row
    said = json.loads(str(causes))
    return CaptureRate(
        str(tenant), str(name), str(provider), int(str(from_ns)), int(str(to_ns)), int(str(billed)), int(str(booked)),
        None if rate is None else float(str(rate)), {cause: int(said[cause]) for cause in CAUSES if cause in said}, int(str(at_ns)),
    )  # fmt: skip
