"""The price book: every row that the activated lists have, with the moments at which it holds, found by its exact key.

A book is composed of snapshots in the order of their activation, and of the operator's rules. It only grows: a row holds until a
newer snapshot of the same source changes it, a new row holds from the beginning, and a row that a newer snapshot no longer has is
retired from then on. Several lists stand on shelves in their order of precedence; behind them the models that only the
second source knows, last the retired rows. What a row's fields mean is told in `rates` and `units`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from otel_finops.base.times import NS_PER_SECOND, parse_ns
from otel_finops.pricing.dated import Difference, Season, Seasons, SecondSource, differing, followed, standing_alone
from otel_finops.pricing.house_rules import NO_RULES, HouseRules
from otel_finops.pricing.packaged import packaged_snapshot, snapshot_from_file
from otel_finops.pricing.providers import key_prefixes, row_family
from otel_finops.pricing.snapshot import Fields, Snapshot

LATEST_NS: Final = 2**63 - 1
"""The end of time: for questions about what holds now and on."""
PRECEDENCE: Final = ("litellm", "openrouter", "models_dev", "llm_prices", "genai_prices")
"""Lists in the order in which they are asked; lists of other names come after them, in the order of their activation."""


class PriceRow:
    """One row of a price list, as it holds for some time.

    Attributes:
        key: the row's name in the price list, in its own capitals.
        family: the provider family that bills it (`providers.row_family`).
        mode: what the list says the model is for (`chat`, `embedding`, ...), "" when it does not say.
        fields: prices and factors by the list's own field names.
        seasons: the row's fields by date and hour where they have dates, None when `fields` hold at all moments.
        version: what made the price: the version of the snapshot that brought it, or the operator's rule.
        retired: the list no longer has it; it answers only when no live row is found.
    """

    __slots__ = ("family", "fields", "key", "mode", "retired", "seasons", "sheets", "version")

    def __init__(self, key: str, fields: Fields, *, version: str = "", retired: bool = False, seasons: Seasons | None = None) -> None:
        self.key = key
        self.fields = fields
        self.family = row_family(fields["litellm_provider"])
        self.mode: str = fields.get("mode") or ""
        self.seasons = seasons
        self.version = version
        self.retired = retired
        self.sheets: dict[Any, Any] = {}
        """Rate sheets made from the row so far (`rates.sheet_of`); as many as there are tiers and factors in the row."""

    def with_fields(self, fields: Fields, version: str | None = None) -> PriceRow:
        """The row with other prices and no dates."""
        return PriceRow(self.key, fields, version=version or self.version, retired=self.retired)


class BookStatus(NamedTuple):
    """What a book is.

    Attributes:
        source: whose list, e.g. `litellm`.
        source_version: the list's own version, "" when unknown.
        version: the first 16 hex digits of the snapshot's sha256; every quote that the snapshot makes carries it.
        date: the day of the snapshot, YYYY-MM-DD; "" when unknown.
        rows, retired_rows: how many of each.
    """

    source: str
    source_version: str
    version: str
    date: str
    rows: int
    retired_rows: int

    def age_s(self, now_ns: int) -> float | None:
        """Seconds since the snapshot's day began; None when it bears no date."""
        return max(0, now_ns - parse_ns(self.date)) / NS_PER_SECOND if self.date else None


class _Edition(NamedTuple):
    """A row as a snapshot brought it: from when it holds (None = always), its key, its fields (None = gone), and which snapshot.

    The snapshots of changes are kept without their other rows: a book of many snapshots holds one list and what changed since.
    """

    from_ns: int | None
    key: str
    fields: Fields | None
    snapshot: Snapshot

    def begun(self, at_ns: int) -> bool:
        return self.from_ns is None or self.from_ns <= at_ns


class Shelf:
    """All that one source said. The first snapshot is kept as it is; of later ones only what they changed."""

    def __init__(self, first: Snapshot) -> None:
        self.latest = first
        self._first = first
        self._keys = {key.lower(): key for key in first.rows}
        self._retired = {key.lower(): _Edition(None, key, fields, first) for key, fields in first.retired.items()}
        self._changed: dict[str, list[_Edition]] = {}

    def add(self, snapshot: Snapshot) -> None:
        """Let a newer snapshot change what it changes."""
        former = self.latest.rows
        self.latest, origin = snapshot, snapshot._replace(rows={}, retired={}, dated={})
        names = {key.lower(): key for key in snapshot.rows}
        for name, key in names.items():
            if former.get(key) is snapshot.rows[key]:
                continue  # lists that are read one after the other share what did not change
            editions = self._editions(name)
            if not editions or editions[-1].fields != snapshot.rows[key]:
                since = snapshot.valid_from_ns if editions else None
                self._changed[name] = [*editions, _Edition(since, key, snapshot.rows[key], origin)]
        for name in [name for name in (*self._keys, *self._changed) if name not in names]:
            editions = self._editions(name)
            if editions and editions[-1].fields is not None:
                self._changed[name] = [*editions, _Edition(snapshot.valid_from_ns, editions[-1].key, None, origin)]
        for key, fields in snapshot.retired.items():
            self._retired.setdefault(key.lower(), _Edition(None, key, fields, origin))

    def _editions(self, name: str) -> list[_Edition]:
        changed = self._changed.get(name)
        if changed is not None:
            return changed
        key = self._keys.get(name)
        return [] if key is None else [_Edition(None, key, self._first.rows[key], self._first)]

    def live(self, name: str, at_ns: int) -> _Edition | None:
        """The row of this name (lower case) that the list has at the moment."""
        if name not in self._changed:
            key = self._keys.get(name)
            return None if key is None else _Edition(None, key, self._first.rows[key], self._first)
        last = next((one for one in reversed(self._changed[name]) if one.begun(at_ns)), None)
        return last if last is not None and last.fields is not None else None

    def retired(self, name: str, at_ns: int) -> _Edition | None:
        """The last row of this name that the list had before the moment and has no longer."""
        gone = (one for one in reversed(self._changed.get(name, ())) if one.begun(at_ns) and one.fields is not None)
        return next(gone, None) or self._retired.get(name)

    def snapshot(self, version: str) -> Snapshot | None:
        """The snapshot of this version, if it brought a row."""
        brought = (one.snapshot for editions in self._changed.values() for one in editions)
        return next((one for one in (self.latest, self._first, *brought) if one.version == version), None)

    def changes_ns(self) -> set[int]:
        """Moments at which some row changes."""
        return {one.from_ns for editions in self._changed.values() for one in editions if one.from_ns is not None}

    def names(self) -> Iterator[str]:
        """Every name that a live row has or had, lower case."""
        yield from self._keys
        yield from (name for name in self._changed if name not in self._keys)

    def retired_names(self) -> Iterator[str]:
        """Every name of the rows that were retired before the first snapshot."""
        yield from self._retired

    def all_fields(self) -> Iterator[Fields]:
        """The fields of every row, live, changed or retired."""
        yield from self._first.rows.values()
        yield from (one.fields for editions in self._changed.values() for one in editions if one.fields is not None)
        yield from (one.fields for one in self._retired.values() if one.fields is not None)

    def status(self) -> BookStatus:
        """What the newest snapshot is."""
        latest = self.latest
        return BookStatus(latest.source, latest.source_version, latest.version, latest.date, len(latest.rows), len(self._retired))


class PriceBook:
    """The lists, the second source and the operator's rules as one. Rows are made when they are first asked for."""

    def __init__(self, shelves: Sequence[Shelf], second: SecondSource, second_from: Snapshot, rules: HouseRules) -> None:
        self.shelves = tuple(shelves)
        self.rules = rules
        self.second = second
        self.status = self.shelves[0].status()
        self._second_from = second_from
        changes = {moment for shelf in self.shelves for moment in shelf.changes_ns()}
        self.moments = tuple(sorted(changes | rules.moments_ns()))
        """Instants at which what a name means may change; between two of them it does not."""
        self._rows: dict[tuple[object, ...], PriceRow] = {}
        self._families: frozenset[str] | None = None

    @classmethod
    def of(cls, snapshots: Sequence[Snapshot], rules: HouseRules = NO_RULES) -> PriceBook:
        """The book of one or more snapshots, in the order of their activation, under the operator's rules."""
        shelves: dict[str, Shelf] = {}
        second = snapshots[0]
        for snapshot in snapshots:
            if snapshot.source in shelves:
                shelves[snapshot.source].add(snapshot)
            else:
                shelves[snapshot.source] = Shelf(snapshot)
            if snapshot.dated:
                second = snapshot
        ranks = {source: rank for rank, source in enumerate((*PRECEDENCE, *(name for name in shelves if name not in PRECEDENCE)))}
        ordered = sorted(shelves.values(), key=lambda shelf: ranks[shelf.latest.source])
        return cls(ordered, SecondSource(second.dated), second, rules)

    @classmethod
    def load(cls, path: str | Path | None = None) -> PriceBook:
        """The book of the packaged snapshot, or of the price file at `path`.

        Raises:
            StartRefused: the file cannot be read or is no price list; the message names the file, the line and the first fault.
        """
        return cls.of([packaged_snapshot() if path is None else snapshot_from_file(Path(path))])

    def snapshot(self, version: str) -> Snapshot | None:
        """The snapshot of this version, if a row of the book is from it."""
        return next((one for shelf in self.shelves if (one := shelf.snapshot(version)) is not None), None) or (
            self._second_from if self._second_from.version == version else None
        )

    def under(self, rules: HouseRules) -> PriceBook:
        """The same lists under other rules; shares all rows that it has read."""
        book = PriceBook(self.shelves, self.second, self._second_from, rules)
        book._rows = self._rows
        return book

    def epoch(self, at_ns: int) -> int:
        """A number for the time between two of `moments` in which the instant lies."""
        return bisect_right(self.moments, at_ns)

    # --- rows, by shelf ----------------------------------------------------------------------------------------------

    def live(self, shelf: Shelf, name: str, at_ns: int = LATEST_NS) -> PriceRow | None:
        """The row of the list whose key equals the lower-case `name` at the moment."""
        edition = shelf.live(name, at_ns)
        return None if edition is None else self._row(edition, retired=False)

    def retired(self, name: str, at_ns: int = LATEST_NS) -> PriceRow | None:
        """The retired row of this name, of the first list that had it."""
        edition = next((found for shelf in self.shelves if (found := shelf.retired(name, at_ns)) is not None), None)
        return None if edition is None else self._row(edition, retired=True)

    def second_row(self, family: str, name: str) -> PriceRow | None:
        """The row of a model that no list has now, by the second source; it keeps the key that a list once gave it."""
        asked = ("second", family, name)
        if asked not in self._rows:
            series = self.second.model(family, name)
            if series is None:
                return None
            names = (*(prefix + name for prefix in key_prefixes(family)), name)
            once = next((row for one in names if (row := self.retired(one)) is not None and row.family == family), None)
            alone = tuple(one._replace(parts=tuple((m, standing_alone(p, family)) for m, p in one.parts)) for one in series)
            self._rows[asked] = _dated_row(once.key if once else f"{family}/{name}", alone, self._second_from.version)
        return self._rows[asked]

    def by_key(self, key: str, at_ns: int = LATEST_NS) -> PriceRow | None:
        """The row with this very key in any capitals: of the lists in their order, then of the second source, then a retired one."""
        name = key.lower()
        for shelf in self.shelves:
            row = self.live(shelf, name, at_ns)
            if row is not None:
                return row
        family, _, rest = name.partition("/")
        return self.second_row(family, rest) or self.retired(name, at_ns)

    def rows(self) -> Iterator[PriceRow]:
        """Every row of the newest lists, retired ones last; rows met here for the first time are not kept."""
        for shelf in self.shelves:
            for name in shelf.names():
                edition = shelf.live(name, LATEST_NS)
                if edition is not None:
                    yield self._made(edition, retired=False)
        for shelf in self.shelves:
            for name in shelf.retired_names():
                edition = shelf.retired(name, LATEST_NS)
                if edition is not None:
                    yield self._made(edition, retired=True)

    def differences(self) -> Iterator[Difference]:
        """Prices on which the first list and the second source differ on the day of the list; the list's hold."""
        shelf = self.shelves[0]
        if shelf.latest.date:
            for row in (row for row in map(self.live_newest, shelf.names()) if row is not None):
                series = self.second.of_row(row.family, row.key)
                if series is not None:
                    yield from differing(row.key, row.fields, series, shelf.latest.date)

    def live_newest(self, name: str) -> PriceRow | None:
        """The row of the first list as its newest snapshot has it."""
        return self.live(self.shelves[0], name)

    @property
    def families(self) -> frozenset[str]:
        """Provider families that have a row, live or retired, or a model of the second source."""
        if self._families is None:
            providers = {fields["litellm_provider"] for shelf in self.shelves for fields in shelf.all_fields()}
            self._families = frozenset(map(row_family, providers)) | self.second.families
        return self._families

    def _row(self, edition: _Edition, *, retired: bool) -> PriceRow:
        asked = (edition.key, edition.snapshot.version, edition.from_ns, retired)
        row = self._rows.get(asked)
        if row is None:
            row = self._rows[asked] = self._made(edition, retired=retired)
        return row

    def _made(self, edition: _Edition, *, retired: bool) -> PriceRow:
        fields, snapshot = edition.fields or {}, edition.snapshot
        row = PriceRow(edition.key, fields, version=snapshot.version, retired=retired)
        if not retired and snapshot.date and (series := self.second.of_row(row.family, row.key)) is not None:
            row.seasons = followed(fields, series, snapshot.date)
        return row


def _dated_row(key: str, seasons: tuple[Season, ...], version: str) -> PriceRow:
    (_, fields), *later = seasons[0].parts
    changing = len(seasons) > 1 or bool(later)
    return PriceRow(key, fields, version=version, seasons=seasons if changing else None)
