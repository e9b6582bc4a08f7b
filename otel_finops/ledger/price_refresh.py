"""Refreshing the prices: a list is read, checked and compared, and becomes part of the book in one transaction, or not at all.

Whatever is wrong leaves the book as it is and goes on record with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput, StartRefused
from otel_finops.base.limits import NAME_CHARS_MAX
from otel_finops.base.times import format_ns
from otel_finops.ledger import price_store
from otel_finops.ledger.price_store import Activation, Attempt, NamedList, StoredList
from otel_finops.pricing.book import PriceBook
from otel_finops.pricing.diff import Diff, Doubt, compare, guards, same_prices
from otel_finops.pricing.engine import try_every_row
from otel_finops.pricing.lint import Report, lint
from otel_finops.pricing.overlap import differing
from otel_finops.pricing.sources.loading import chosen
from otel_finops.pricing.sources.reading import Document, read_document
from otel_finops.pricing.sources.source import BadRow, PriceList, PriceSource, Reading
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

ACTIVATED: Final = "activated"
UNCHANGED: Final = "unchanged"
CHECKED: Final = "checked"
REFUSED: Final = "refused"
FAILED: Final = "failed"
_DOUBTS_SHOWN: Final = 10
_DETAIL_CHARS_MAX: Final = 1_000
_KEY_CHARS_MAX: Final = 2 * NAME_CHARS_MAX
"""A provider's name and a model's; names in spans that are longer find no row."""


class Given(NamedTuple):
    """A price list that somebody hands over.

    Attributes:
        data: the file's bytes, gzipped or not.
        origin: where it is from, for messages and the record: a file's name, or a URL without its query.
        source: which importer reads it; None: the one that recognises it.
        sha256: what the bytes must have; None for any.
        accept: take changes that the guards doubt, and leave out rows with units that are not known.
        valid_from_ns: from which moment of a call the changes hold; None = from now on.
    """

    data: bytes
    origin: str
    source: str | None = None
    sha256: str | None = None
    accept: bool = False
    valid_from_ns: int | None = None


class Examined(NamedTuple):
    """A list that was read and found to be one.

    Attributes:
        document: its text.
        one: the list.
        report: what the anchors say.
    """

    document: Document
    one: NamedList
    report: Report


class Refreshed(NamedTuple):
    """What came of a refresh.

    Attributes:
        outcome: `activated`, `unchanged` (the source's active list is the same, byte for byte) or `checked` (a dry run).
        one: the list.
        diff: against the active list of the source; all rows are new in its first.
        doubts: what the guards found; they were accepted, or this was a dry run.
        notes: what may be looked at.
        differing: keys of the list whose model a list of higher precedence prices otherwise; that list's price holds.
        activation: None unless activated.
    """

    outcome: str
    one: NamedList
    diff: Diff
    doubts: tuple[str, ...]
    notes: tuple[str, ...]
    differing: tuple[str, ...]
    activation: Activation | None


class PriceRefresher:
    """Brings lists into the book of one ledger. Safe to use from several threads and processes.

    Args:
        store: the ledger's database.
        clock: our time.
        base: the packaged list, or that of `prices.path`: the book's beginning.
        sources: the importers in the order of precedence.
    """

    def __init__(self, store: Store, clock: Clock, base: Callable[[], NamedList], sources: Sequence[PriceSource]) -> None:
        self._store = store
        self._clock = clock
        self._base = base
        self._sources = tuple(sources)
        self._order = [source.name for source in sources]

    def refresh(self, given: Given, *, who: str, dry_run: bool = False) -> Refreshed:
        """Take a list into the book.

        Raises:
            BadInput, TooLarge: it is refused, with place and reason; the book is unchanged and the attempt on record.
            Busy, Unavailable: the store's; nothing was changed.
        """
        try:
            examined = self.examine(given)
            with self._store.read() as transaction:
                lists = self._lists(transaction)
            _try(examined, lists.get(examined.one.source))
            return self._weighed(examined, lists, CHECKED) if dry_run else self._activate(examined, given, who)
        except BadInput as fault:
            if not dry_run:
                self.note(REFUSED, given.origin, str(fault), who)
            raise

    def examine(self, given: Given) -> Examined:
        """Read a list and hold it against the anchors.

        Raises:
            BadInput, TooLarge: it cannot be read, or a row is wrong; with the line and the reason.
        """
        document = read_document(given.data, given.origin, given.sha256)
        try:
            source = chosen(self._sources, document.value, given.source)
            said = source.read(document.value, Reading(self._today(), given.accept))
        except BadRow as fault:
            mend = "; --accept leaves such rows out" if fault.unknown else ""
            raise BadInput(f"{document.place(fault.row)}: {fault}{mend}") from fault
        except BadInput as fault:
            raise BadInput(f"{given.origin}: {fault}") from fault
        if not said.rows:
            raise BadInput(f"{given.origin}: no row with a price")
        if long := next((key for key in said.rows if len(key) > _KEY_CHARS_MAX), None):
            raise BadInput(f"{document.place(long)}: a row's name has more than {_KEY_CHARS_MAX} characters: {long[:60]!r}")
        dated = said if said.date else said._replace(date=self._today())
        return Examined(document, NamedList(source.name, document.sha256, dated), lint(said.rows))

    def activate_again(self, version: str, *, valid_from_ns: int | None, who: str) -> tuple[Activation | None, StoredList, Diff]:
        """Make a stored list the active one of its source once more; the activation is None when it is so already.

        Raises:
            NotFound: no such list.
        """
        with self._store.write() as transaction:
            lists = self._locked(transaction, who)
            now_ns = self._clock.now_ns()
            stored = price_store.stored_list(transaction, version)
            one = NamedList(stored.source, stored.sha256, price_store.list_of(transaction, stored))
            if self._is_active(transaction, one):
                return None, stored, Diff((), (), ())
            former = lists[stored.source]
            since = now_ns if valid_from_ns is None else valid_from_ns
            made = price_store.activate(transaction, one, former, cause=price_store.AGAIN, now_ns=now_ns, valid_from_ns=since, who=who)
        return made, stored, compare(former.rows, one.said.rows)

    def adopt(self, who: str) -> Activation | None:
        """Make the packaged or configured list part of the book where it is not yet; what a new version of the program brings
        holds from now on, like any refresh. None when there was nothing to do.
        """
        base = self._base()
        with self._store.read() as transaction:
            if not price_store.is_wanting(price_store.activations(transaction), base):
                return None
        with self._store.write() as transaction:
            price_store.lock(transaction)
            return self._adopted(transaction, base, who)

    def note(self, outcome: str, origin: str, detail: str, who: str) -> None:
        """Put an attempt on record."""
        with self._store.write() as transaction:
            price_store.note(transaction, Attempt(self._clock.now_ns(), origin, outcome, detail[:_DETAIL_CHARS_MAX], who))

    def _activate(self, examined: Examined, given: Given, who: str) -> Refreshed:
        one = examined.one
        with self._store.write() as transaction:
            lists = self._locked(transaction, who)
            now_ns = self._clock.now_ns()
            if self._is_active(transaction, one):
                self._note_in(transaction, now_ns, given.origin, UNCHANGED, one.version, who)
                return self._weighed(examined, lists, UNCHANGED)
            weighed = self._weighed(examined, lists, ACTIVATED)
            if weighed.doubts and not given.accept:
                raise BadInput(_refusal(weighed.doubts))
            since = now_ns if given.valid_from_ns is None else given.valid_from_ns
            former = lists.get(one.source)
            made = price_store.activate(transaction, one, former, cause=price_store.REFRESH, now_ns=now_ns, valid_from_ns=since, who=who)
            detail = f"{one.version} from {format_ns(since)}: {len(weighed.diff.new)} new, {len(weighed.diff.changed)} changed, "
            self._note_in(transaction, now_ns, given.origin, ACTIVATED, f"{detail}{len(weighed.diff.gone)} gone", who)
        return weighed._replace(activation=made)

    def _locked(self, transaction: Transaction, who: str) -> dict[str, PriceList]:
        """The latest list of each source, while nobody else can activate one; the base is among them. Only now is it told what time it is:
        who waited for others comes after them.
        """
        price_store.lock(transaction)
        self._adopted(transaction, self._base(), who)
        return price_store.latest_lists(transaction, price_store.activations(transaction))

    def _adopted(self, transaction: Transaction, base: NamedList, who: str) -> Activation | None:
        made = price_store.activations(transaction)
        if not price_store.is_wanting(made, base):
            return None
        former = price_store.latest_lists(transaction, made).get(base.source)
        now_ns = self._clock.now_ns()
        since = now_ns if made else None
        return price_store.activate(transaction, base, former, cause=price_store.BASE, now_ns=now_ns, valid_from_ns=since, who=who)

    def _lists(self, transaction: Transaction) -> dict[str, PriceList]:
        """As `_locked`, for reading: the base counts as if it had been adopted."""
        made = price_store.activations(transaction)
        lists = price_store.latest_lists(transaction, made)
        base = self._base()
        return {**lists, base.source: base.said} if price_store.is_wanting(made, base) else lists

    def _is_active(self, transaction: Transaction, one: NamedList) -> bool:
        latest = {made.stored.source: made.stored.sha256 for made in price_store.activations(transaction)}
        return latest.get(one.source) == one.sha256

    def _weighed(self, examined: Examined, lists: Mapping[str, PriceList], outcome: str) -> Refreshed:
        one, report = examined.one, examined.report
        former = lists.get(one.source) or PriceList({})
        diff = compare(former.rows, one.said.rows)
        doubts = guards(diff, len(former.rows), len(one.said.rows))
        placed = (*report.wrong, *(_placed(examined.document, doubt) for doubt in doubts))
        return Refreshed(outcome, one, diff, placed, report.notes, self._differing(lists, one), None)

    def _differing(self, lists: Mapping[str, PriceList], one: NamedList) -> tuple[str, ...]:
        """Keys of the list whose model lists of higher precedence price otherwise."""
        places = {name: place for place, name in enumerate(self._order)}
        own = places.get(one.source, len(places))
        higher = [said.rows for name, said in lists.items() if places.get(name, len(places)) < own]
        return tuple(sorted({key for rows in higher for key in differing(one.said.rows, rows)}))

    def _note_in(self, transaction: Transaction, now_ns: int, origin: str, outcome: str, detail: str, who: str) -> None:
        price_store.note(transaction, Attempt(now_ns, origin, outcome, detail, who))

    def _today(self) -> str:
        return format_ns(self._clock.now_ns())[:10]


def _try(examined: Examined, former: PriceList | None) -> None:
    """See that the rates of every row that the former list has not can be worked out."""
    one, known = examined.one, {} if former is None else former.rows
    rows = {key: row for key, row in one.said.rows.items() if key not in known or not same_prices(known[key], row)}
    try:
        try_every_row(PriceBook.of([price_store.snapshot_of(one, None)._replace(rows=rows)]), examined.document.name)
    except StartRefused as fault:
        raise BadInput(str(fault)) from fault


def _placed(document: Document, doubt: Doubt) -> str:
    if doubt.row is None:
        return f"{document.name}: {doubt.reason}"
    return f"{document.place(doubt.row)}: row {doubt.row!r}: {doubt.reason}"


def _refusal(doubts: Iterable[str]) -> str:
    all_ = list(doubts)
    more = f"; and {len(all_) - _DOUBTS_SHOWN} more" if len(all_) > _DOUBTS_SHOWN else ""
    return f"{'; '.join(all_[:_DOUBTS_SHOWN])}{more}. Nothing was changed; look with --dry-run and, if it is right, say --accept"
