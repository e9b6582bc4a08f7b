"""Exchange rates and flat fees over a store: what `operations.context.Money` promises."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput
from otel_finops.base.limits import FX_FILE_BYTES_MAX
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.ledger.fee_spread import Coverage, FeeSpreader, Spread
from otel_finops.ledger.fx_store import CurrencySpan, Imported, dated_rates, spans, store_rates
from otel_finops.ledger.rollups import Rollups
from otel_finops.ledger.subscription_windows import CurrentRules, SubscriptionWindow, SubscriptionWindows
from otel_finops.pricing.ecb import read_rates
from otel_finops.pricing.sources.fetch import fetch, shown_url
from otel_finops.settings.money import Pricing, SubscriptionRule
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases

_FETCH_S: Final = 60.0


class DayRate(NamedTuple):
    """What one US dollar was on a day, and of which day the rate is."""

    currency: str
    day: str
    rate_day: str
    per_usd: Fraction


class MoneyDesk:
    """See `operations.context.Money`. Safe to use from many threads.

    Args:
        files: whoever asks may have files read and URLs fetched; otherwise rates come as bytes alone, so that the service is nobody's
            way to the files and the network around it.
    """

    def __init__(self, store: Store, clock: Clock, settings: Pricing, *, files: bool) -> None:
        self._store = store
        self._clock = clock
        self._files = files
        rules = CurrentRules(store, settings)
        self._windows = SubscriptionWindows(store, clock, settings)
        self._spreader = FeeSpreader(store, Leases(store, clock, "spreading of fees"), (Rollups(),), clock, lambda: rules().subscriptions)

    @property
    def today(self) -> str:
        """The day (UTC) by our clock."""
        return datetime.fromtimestamp(self._clock.now_ns() // NS_PER_SECOND, UTC).date().isoformat()

    def fetched(self, origin: str, *, pinned: bool) -> tuple[bytes, str]:
        """See `Money.fetched`."""
        if not self._files:
            raise BadInput("from: over the API no files are read and no URLs fetched; send the file itself as `content`, in base64")
        if "://" in origin:
            return fetch(origin, pinned=pinned, timeout_s=_FETCH_S), shown_url(origin)
        name = Path(origin).name
        try:
            with Path(origin).open("rb") as file:
                return file.read(FX_FILE_BYTES_MAX + 1), name
        except (OSError, ValueError) as fault:
            raise BadInput(f"{name}: cannot be read: {getattr(fault, 'strerror', None) or type(fault).__name__}") from fault

    def import_rates(self, content: bytes, origin: str, who: str, sha256: str | None) -> Imported:
        """See `Money.import_rates`."""
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256.lower():
            raise BadInput(f"sha256: {origin} has another digest; nothing was imported")
        rates = read_rates(content, datetime.fromisoformat(self.today).date())
        with self._store.write() as transaction:
            return store_rates(transaction, rates, origin, content, who, self._clock.now_ns())

    def currencies(self) -> Sequence[CurrencySpan]:
        """See `Money.currencies`."""
        with self._store.read() as transaction:
            return spans(transaction)

    def rate(self, currency: str, day: str) -> DayRate:
        """See `Money.rate`."""
        with self._store.read() as transaction:
            rates = dated_rates(transaction, currency, [day])
        return DayRate(currency, day, rates.day_of(day) or day, rates.per_usd(day))

    def coverages(self) -> Sequence[Coverage]:
        """See `Money.coverages`."""
        return self._spreader.coverages()

    def windows(self) -> Sequence[SubscriptionWindow]:
        """See `Money.windows`."""
        return self._windows.all()

    def add_window(self, rule: SubscriptionRule, *, who: str, why: str, dry_run: bool) -> SubscriptionWindow:
        """See `Money.add_window`."""
        return self._windows.add(rule, who=who, why=why, dry_run=dry_run)

    def end_window(
        self, name: str, at_ns: int | None, *, who: str, why: str, dry_run: bool
    ) -> tuple[SubscriptionWindow, SubscriptionWindow]:
        """See `Money.end_window`."""
        return self._windows.end(name, at_ns, who=who, why=why, dry_run=dry_run)

    def spread(self, who: str, why: str) -> Spread:
        """See `Money.spread`."""
        return self._spreader.run(who=who, why=why)
