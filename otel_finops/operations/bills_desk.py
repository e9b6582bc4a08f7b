"""Bills and reconciliation over a store: what `operations.billing.Billing` promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput, FinopsError
from otel_finops.base.limits import BILL_FILE_BYTES_MAX
from otel_finops.base.times import NS_PER_DAY, month_start_ns
from otel_finops.insight.bill_store import Bills, Label, StoredBill
from otel_finops.insight.bills.line import Bill
from otel_finops.insight.bills.pull import Get, Source, getter, pull
from otel_finops.insight.bills.reading import Given, read_bill
from otel_finops.insight.capture import CaptureRate, capture_rates, keep, rate_of
from otel_finops.insight.reconciliation import Reconciled, names_of, reconcile
from otel_finops.insight.twins import Twins, find_twins
from otel_finops.ledger.tenants import Tenants
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.sources.fetch import fetch, shown_url
from otel_finops.settings.reconciliation import BillSource, Reconciliation
from otel_finops.store.engine import Store

_FETCH_S: Final = 60.0


class PulledBill(NamedTuple):
    """What came of asking one source: the bills, or the fault."""

    name: str
    bills: Sequence[tuple[StoredBill, bool]]
    fault: str | None


class BillsDesk:
    """See `operations.billing.Billing`. Safe to use from many threads.

    Args:
        files: whoever asks may have files read and URLs fetched; otherwise bills come as bytes alone.
        get: asks the billing APIs; None: over HTTP.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        prices: Callable[[], PriceEngine],
        settings: Reconciliation,
        *,
        files: bool,
        get: Get | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._prices = prices
        self._settings = settings
        self._files = files
        self._get = get or getter(settings.timeout)
        self._bills = Bills(store, clock)

    def fetched(self, origin: str) -> tuple[bytes, str]:
        """See `Billing.fetched`."""
        if not self._files:
            raise BadInput("from: over the API no files are read and no URLs fetched; send the file itself as `content`, in base64")
        if "://" in origin:
            return fetch(origin, pinned=False, timeout_s=_FETCH_S), shown_url(origin)
        name = Path(origin).name
        try:
            with Path(origin).open("rb") as file:
                return file.read(BILL_FILE_BYTES_MAX + 1), name
        except (OSError, ValueError) as fault:
            raise BadInput(f"{name}: cannot be read: {getattr(fault, 'strerror', None) or type(fault).__name__}") from fault

    def read(self, given: Given) -> Bill:
        """See `Billing.read`."""
        return read_bill(given)

    def add(self, bill: Bill, label: Label, origin: str, *, who: str, dry_run: bool) -> tuple[StoredBill, bool]:
        """See `Billing.add`."""
        return self._bills.add(bill, label, origin, who=who, dry_run=dry_run)

    def all(self, tenants: Tenants) -> Sequence[StoredBill]:
        """See `Billing.all`."""
        return self._bills.all(tenants)

    def remove(self, no: int, tenants: Tenants, *, who: str, dry_run: bool) -> StoredBill:
        """See `Billing.remove`."""
        return self._bills.remove(no, tenants, who=who, dry_run=dry_run)

    def names(self, tenants: Tenants) -> Sequence[tuple[str, str]]:
        """See `Billing.names`."""
        with self._store.read() as transaction:
            return names_of(transaction, tenants)

    def reconcile(self, tenant: str, name: str, from_ns: int | None, to_ns: int | None) -> Reconciled:
        """See `Billing.reconcile`."""
        engine = self._prices()
        with self._store.read() as transaction:
            return reconcile(transaction, engine, tenant, name, from_ns, to_ns)

    def twins(self, tenants: Tenants, from_ns: int, to_ns: int, filters: Mapping[str, str]) -> Twins:
        """See `Billing.twins`."""
        with self._store.read() as transaction:
            return find_twins(transaction, tenants, from_ns, to_ns, {name: (value,) for name, value in filters.items()})

    def rates(self, tenants: Tenants) -> Sequence[CaptureRate]:
        """See `Billing.rates`."""
        with self._store.read() as transaction:
            return capture_rates(transaction, tenants)

    def run(self, *, dry_run: bool = False) -> tuple[Sequence[CaptureRate], Sequence[str]]:
        """See `Billing.run`."""
        now_ns = self._clock.now_ns()
        since_ns = month_start_ns(max(0, now_ns - self._settings.days * NS_PER_DAY))  # so that invoices of months are whole
        rates, faults = [], []
        for tenant, name in self.names(None):
            try:
                if (rate := rate_of(self.reconcile(tenant, name, since_ns, None), now_ns)) is not None:
                    rates.append(rate)
            except BadInput as fault:  # of this bill alone, such as exchange rates that are missing
                faults.append(f"{name}: {fault}")
        if not dry_run and (rates or self.rates(None)):
            with self._store.write() as transaction:
                keep(transaction, rates)
        return rates, faults

    def pull(self, name: str | None, *, who: str, dry_run: bool = False) -> Sequence[PulledBill]:
        """See `Billing.pull`."""
        sources = [one for one in self._settings.sources if name in (None, one.called)]
        if not sources and name is not None:
            raise BadInput(f"name: there is no source {name[:60]!r} in the settings (reconciliation.sources)")
        return [PulledBill(one.called, (), None) if dry_run else self._pulled(one, who) for one in sources]

    def by_the_clock(self) -> str:
        """Ask the sources there are, hold every bill against the ledger; what that came to in a line for a person."""
        pulled = self.pull(None, who="scheduler")
        rates, faults = self.run()
        faults = [*(f"{one.name}: {one.fault}" for one in pulled if one.fault is not None), *faults]
        new = sum(is_new for one in pulled for _, is_new in one.bills)
        said = f"{new} new bills, {len(rates)} held against the ledger"
        if faults:
            raise BadInput(f"{said}; {'; '.join(faults)}")
        return said

    def _pulled(self, one: BillSource, who: str) -> PulledBill:
        now_ns = self._clock.now_ns()
        to_ns = now_ns - now_ns % NS_PER_DAY
        source = Source(one.provider, one.place, one.key)
        label = Label(one.tenant, one.called, one.provider)
        done: list[tuple[StoredBill, bool]] = []
        try:
            for report in pull(source, to_ns - one.days * NS_PER_DAY, to_ns, self._get):
                bill = read_bill(Given(report.data, report.origin, report.format, kind=report.kind))
                done.append(self._bills.add(bill, label, report.origin, who=who))
        except FinopsError as fault:
            return PulledBill(one.called, done, str(fault))
        return PulledBill(one.called, done, None)
