"""Price lists over a store: what `operations.context.Prices` promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from otel_finops.base import limits
from otel_finops.base.errors import BadInput, FinopsError, NotFound
from otel_finops.base.times import NS_PER_HOUR
from otel_finops.insight.price_watch import Change, changes_of
from otel_finops.ledger import price_store
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.price_refresh import FAILED, REFUSED, Given, PriceRefresher, Refreshed
from otel_finops.ledger.price_store import Activation, Attempt, StoredList
from otel_finops.pricing.book import BookStatus, PriceRow
from otel_finops.pricing.dated import Difference, season_at
from otel_finops.pricing.diff import Diff, compare
from otel_finops.pricing.listed import listed_prices
from otel_finops.pricing.match import Match
from otel_finops.pricing.providers import canonical, row_family
from otel_finops.pricing.rule_prices import plain_decimal
from otel_finops.pricing.sources.fetch import fetch, shown_url
from otel_finops.pricing.sources.loading import load_sources
from otel_finops.settings.tree import Prices as PriceSettings
from otel_finops.store.engine import Store

SCHEDULER: Final = "scheduler"
_AGAIN_HOURS: Final = 1.0
"""After a list could not be had it is tried again sooner than after one that was refused."""


class Book(NamedTuple):
    """The book of now.

    Attributes:
        status: of the list that is asked first.
        lists: the active list of each source, as it was activated.
        last: the latest refresh, None when there was none.
    """

    status: BookStatus
    lists: Sequence[Activation]
    last: Attempt | None


class Compared(NamedTuple):
    """Two lists and what changes from the first to the second; a list that is not stored has the number 0."""

    before: StoredList
    after: StoredList
    diff: Diff


class Contested(NamedTuple):
    """The second source with its version, and the prices on which the list differs from it."""

    source: str
    source_version: str
    differences: Sequence[Difference]


class PriceLists:
    """See `operations.context.Prices`. Safe to use from many threads.

    Args:
        store: the ledger's database.
        prices: the price book of now.
        settings: the section `prices`.
        anywhere: whoever asks may have a list fetched from any URL; otherwise only from that of the settings, so that the service
            is nobody's way into the network around it.
    """

    def __init__(self, store: Store, prices: CurrentPrices, settings: PriceSettings, *, anywhere: bool) -> None:
        self._store = store
        self._prices = prices
        self._settings = settings
        self._anywhere = anywhere

    def status(self) -> Book:
        """See `Prices.status`."""
        engine = self._prices.fresh()
        with self._store.read() as transaction:
            made = price_store.activations(transaction)
            return Book(engine.status(), list(_active(made).values()), price_store.last_attempt(transaction))

    def show(self, provider: str | None, model: str, at_ns: int) -> Mapping[str, Any] | None:
        """See `Prices.show`."""
        match = self._prices.fresh().resolve(provider, model, at_ns)
        if match is None:
            return None
        return {**_row(match.row, at_ns), "key": match.key, "match": match.kind}

    def models(
        self, search: str | None, provider: str | None, source: str | None, start: int, limit: int, at_ns: int
    ) -> tuple[Sequence[Mapping[str, Any]], int]:
        """See `Prices.models`."""
        engine, part = self._prices.fresh(), (search or "").lower()
        family = None if provider is None else row_family(canonical(provider))
        with self._store.read() as transaction:
            sources = {stored.version: stored.source for stored in price_store.stored_lists(transaction)}
        base = self._prices.base()
        sources.setdefault(base.version, base.source)
        rows = [
            row
            for row in engine.book.rows()
            if part in row.key.lower() and family in (None, row.family) and source in (None, sources.get(row.version))
        ]
        rows.sort(key=lambda row: (row.retired, row.key))
        page = rows[start : start + limit]
        return [{**_row(row, at_ns, standard=True), "source": sources.get(row.version)} for row in page], len(rows)

    def history(self, provider: str | None, model: str, now_ns: int) -> Sequence[Mapping[str, Any]]:
        """See `Prices.history`."""
        engine = self._prices.fresh()
        changes = changes_of(engine, provider, model, 0)
        begins = [None, *(change.at_ns for change in changes)]
        ends = [*begins[1:], None]
        periods = []
        for begin, end, change in zip(begins, ends, (None, *changes), strict=True):
            at_ns = begin if begin is not None else now_ns if end is None else end - 1
            periods.append({"from_ns": begin, "to_ns": end, **_period(engine.resolve(provider, model, at_ns), at_ns, change)})
        return periods

    def differences(self) -> Contested:
        """See `Prices.differences`."""
        book = self._prices.fresh().book
        return Contested(book.second.source, book.second.source_version, list(book.differences()))

    def refresh(self, given: Given, *, who: str, dry_run: bool) -> Refreshed:
        """See `Prices.refresh`."""
        done = self._refresher().refresh(given, who=who, dry_run=dry_run)
        if done.activation is not None:
            self._prices.follow()
        return done

    def fetched(self, origin: str | None, sha256: str | None, *, who: str) -> tuple[bytes, str]:
        """See `Prices.fetched`."""
        wanted = origin or self._settings.refresh_from
        if not wanted:
            raise BadInput("from: say where the list is, or set prices.refresh_from")
        if not self._anywhere and wanted != self._settings.refresh_from:
            raise BadInput("from: over the API a list is fetched from prices.refresh_from only; send the list itself as `content`")
        shown = shown_url(wanted) if "://" in wanted else Path(wanted).name
        try:
            return self._bytes_of(wanted, pinned=sha256 is not None), shown
        except FinopsError as fault:
            self._refresher().note(FAILED, shown, str(fault), who)
            raise

    def _bytes_of(self, origin: str, *, pinned: bool) -> bytes:
        if "://" in origin:
            return fetch(origin, pinned=pinned, timeout_s=self._settings.refresh_timeout)
        try:
            with Path(origin).open("rb") as file:
                return file.read(limits.PRICE_FILE_BYTES_MAX + 1)
        except OSError as fault:
            raise BadInput(f"{Path(origin).name}: cannot be read: {fault.strerror or type(fault).__name__}") from fault

    def refresh_by_the_clock(self) -> str:
        """Refresh from what the settings name, if it is time to; returns one line for a person to read.

        Several processes may ask: the time of the last attempt is in the database.

        Raises:
            BadInput, Busy, Unavailable: it was refused, or could not be had; the book is unchanged and the attempt on record.
        """
        settings = self._settings
        if not self._is_time():
            return "not yet"
        data, origin = self.fetched(None, settings.refresh_sha256, who=SCHEDULER)
        given = Given(data, origin, settings.refresh_source, settings.refresh_sha256)
        done = self.refresh(given, who=SCHEDULER, dry_run=False)
        return f"{origin}: {done.outcome}: {len(done.diff.new)} new, {len(done.diff.changed)} changed, {len(done.diff.gone)} gone"

    def trouble(self) -> str | None:
        """Why the prices are not those of the last attempt by the clock; None when all is well.

        Raises:
            Busy, Unavailable: the store's.
        """
        with self._store.read() as transaction:
            last = price_store.last_attempt(transaction, SCHEDULER)
        bad = last is not None and last.outcome in (FAILED, REFUSED)
        return f"the last refresh {last.outcome}: {last.detail}" if last is not None and bad else None

    def _is_time(self) -> bool:
        with self._store.read() as transaction:
            last = price_store.last_attempt(transaction, SCHEDULER)
        if last is None:
            return True
        hours = self._settings.refresh_hours if last.outcome != FAILED else min(self._settings.refresh_hours, _AGAIN_HOURS)
        return self._store.clock.now_ns() >= last.at_ns + round(hours * NS_PER_HOUR)

    def diff(self, before: str | None, after: str | None, given: Given | None) -> Compared:
        """See `Prices.diff`."""
        if given is not None:
            return self._against_active(given)
        with self._store.read() as transaction:
            made = price_store.activations(transaction)
            newer = price_store.stored_list(transaction, after) if after else _newest(made)
            older = price_store.stored_list(transaction, before) if before else _former(made, newer)
            rows = [price_store.list_of(transaction, one).rows for one in (older, newer)]
        return Compared(older, newer, compare(*rows))

    def _against_active(self, given: Given) -> Compared:
        examined = self._refresher().examine(given)
        one = examined.one
        with self._store.read() as transaction:
            active = _active(price_store.activations(transaction)).get(one.source)
            rows = price_store.list_of(transaction, active.stored).rows if active else {}
        said = one.said
        read = StoredList(0, one.source, said.source_version, one.sha256, said.date, len(said.rows), len(said.retired), 0)
        nothing = StoredList(0, one.source, "", "", "", 0, 0, 0)
        return Compared(active.stored if active else nothing, read, compare(rows, said.rows))

    def lists(self) -> Sequence[tuple[StoredList, Sequence[Activation]]]:
        """See `Prices.lists`."""
        with self._store.read() as transaction:
            made = price_store.activations(transaction)
            return [(one, [it for it in made if it.stored.no == one.no]) for one in price_store.stored_lists(transaction)]

    def activate(self, version: str, valid_from_ns: int | None, *, who: str) -> tuple[Activation | None, StoredList, Diff]:
        """See `Prices.activate`."""
        done = self._refresher().activate_again(version, valid_from_ns=valid_from_ns, who=who)
        self._prices.follow()
        return done

    def _refresher(self) -> PriceRefresher:
        """Made when it is needed: importers of others are loaded then, and most commands need none."""
        return PriceRefresher(self._store, self._store.clock, self._prices.base, load_sources())


def _active(made: Sequence[Activation]) -> dict[str, Activation]:
    """By source the activation that counts."""
    return {activation.stored.source: activation for activation in made}


def _newest(made: Sequence[Activation]) -> StoredList:
    if not made:
        raise NotFound("No price list is stored yet: `otel-finops serve`, `ingest` or `prices refresh` stores the first one.")
    return made[-1].stored


def _former(made: Sequence[Activation], newer: StoredList) -> StoredList:
    """The list of the same source that was active before the newer one was."""
    of_source = [activation.stored for activation in made if activation.stored.source == newer.source]
    places = [place for place, stored in enumerate(of_source) if stored.no == newer.no]
    if not places or not places[-1]:
        raise NotFound(f"There is no list of {newer.source} before {newer.version}; name one (before).")
    return of_source[places[-1] - 1]


def _period(match: Match | None, at_ns: int, change: Change | None) -> dict[str, Any]:
    """What a model is priced by since a change; None: since the beginning."""
    return {
        "kind": "first" if change is None else change.kind,
        "key": match and match.key,
        "version": match and match.row.version,
        "retired": match is not None and match.row.retired,
        "prices": [] if match is None else _prices(_fields(match.row, at_ns)),
    }


def _row(row: PriceRow, at_ns: int, *, standard: bool = False) -> dict[str, Any]:
    fields = _fields(row, at_ns)
    return {
        "key": row.key,
        "provider": row.family,
        "mode": row.mode or None,
        "rates": _plain(fields),
        "prices": _prices(fields, standard=standard),
        "version": row.version,
        "retired": row.retired,
    }


def _fields(row: PriceRow, at_ns: int) -> Mapping[str, Any]:
    return row.fields if row.seasons is None else season_at(row.seasons, at_ns).at(at_ns)


def _prices(fields: Mapping[str, Any], *, standard: bool = False) -> list[dict[str, Any]]:
    """The prices one by one; the standard ones alone are those of no tier, edge or part of the row."""
    found = listed_prices(fields)
    kept = (one for one in found if not standard or (one.per != "factor" and (one.tier, one.above, one.within) == (None, None, None)))
    return [{**one._asdict(), "usd": plain_decimal(one.usd)} for one in kept]


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A row's fields with its rates as plain decimal strings, exactly as the list publishes them."""
    return {name: f"{Decimal(repr(value)):f}" if isinstance(value, float) else value for name, value in fields.items()}
