"""What the operations on bills ask of the rooms below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from otel_finops.trees.queries import Tenants

if TYPE_CHECKING:  # these rooms load a database toolkit, which `--help` must not wait for
    from otel_finops.insight.bill_store import Label, StoredBill
    from otel_finops.insight.bills.line import Bill
    from otel_finops.insight.bills.reading import Given
    from otel_finops.insight.capture import CaptureRate
    from otel_finops.insight.reconciliation import Reconciled
    from otel_finops.insight.twins import Twins
    from otel_finops.operations.bills_desk import PulledBill


class Billing(Protocol):
    """Providers' bills, and whether the ledger agrees with them.

    Raises:
        Busy, Unavailable: the store cannot answer now.
    """

    def fetched(self, origin: str) -> tuple[bytes, str]:
        """The bytes of a file or behind a URL, and the name under which they go on record.

        Raises:
            BadInput: it cannot be read, or files are not read for whoever asks.
        """
        ...

    def read(self, given: Given) -> Bill:
        """What a file says; raises BadInput and TooLarge with the place of what is wrong."""
        ...

    def add(self, bill: Bill, label: Label, origin: str, *, who: str, dry_run: bool) -> tuple[StoredBill, bool]:
        """Store a bill; False with the one that says the same already. Raises BadInput for one that cannot stand beside the others."""
        ...

    def all(self, tenants: Tenants) -> Sequence[StoredBill]:
        """The imports that these tenants may see, oldest first."""
        ...

    def remove(self, no: int, tenants: Tenants, *, who: str, dry_run: bool) -> StoredBill:
        """Take one away, or in a dry run say which; raises NotFound where there is none for these tenants."""
        ...

    def names(self, tenants: Tenants) -> Sequence[tuple[str, str]]:
        """Tenant and name of every bill that these tenants may see."""
        ...

    def reconcile(self, tenant: str, name: str, from_ns: int | None, to_ns: int | None) -> Reconciled:
        """Hold a bill against the ledger; raises NotFound, and BadInput where exchange rates are missing."""
        ...

    def twins(self, tenants: Tenants, from_ns: int, to_ns: int, filters: Mapping[str, str]) -> Twins:
        """Calls that may have been booked twice; raises TooLarge for too much time."""
        ...

    def rates(self, tenants: Tenants) -> Sequence[CaptureRate]:
        """How each bill compared when that was last looked at."""
        ...

    def run(self, *, dry_run: bool = False) -> tuple[Sequence[CaptureRate], Sequence[str]]:
        """Hold every bill against the ledger and, unless it is a dry run, keep what comes of it; also the faults of those that cannot be
        compared.
        """
        ...

    def pull(self, name: str | None, *, who: str, dry_run: bool) -> Sequence[PulledBill]:
        """Ask the billing APIs of the settings, or in a dry run say which; raises BadInput where there is none of that name."""
        ...
