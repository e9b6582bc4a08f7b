"""Footprints of what the ledger holds: in all, by any key, and their course."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import DASHBOARD_CELLS_MAX
from otel_finops.insight.energy_models import EnergyModels
from otel_finops.insight.footprint import Basis, Footprint, Reckoner
from otel_finops.ledger.course import Span, cells_of
from otel_finops.ledger.reader import SUBJECT_KEYS, by_reference
from otel_finops.ledger.spend import PERIOD, TIME_KEYS, Question, tally
from otel_finops.ledger.spend_entries import Amounts
from otel_finops.ledger.subjects import Subjects
from otel_finops.ledger.tenants import Tenants, restricted
from otel_finops.settings.footprint import Footprint as FootprintSettings
from otel_finops.store.engine import Store

_KEYS_MAX: Final = 2
_OF_MODEL: Final = ("provider", "model")
_REGION: Final = "region"


class Asked(NamedTuple):
    """Which calls, and by what.

    Attributes:
        tenants: that may be seen; None for all.
        filters: allowed values by key of spend reports.
        by: at most two keys that make groups.
        from_ns, to_ns: start of the calls, from inclusive, to exclusive.
        by_region: reckon by the region that each call says; entries are read for it.
    """

    tenants: Tenants
    filters: Mapping[str, Collection[str]]
    by: tuple[str, ...]
    from_ns: int
    to_ns: int
    by_region: bool


class FootprintGroup(NamedTuple):
    """What a group took; `key` None for not known."""

    key: Mapping[str, str | None]
    footprint: Footprint


class Footprints:
    """Answers from one database; every method reads one snapshot.

    Raises of `summary` and `course`:
        BadInput: an unknown key, too many of them, or too many groups.
    """

    def __init__(self, store: Store, subjects: Subjects, settings: FootprintSettings, models: EnergyModels | None = None) -> None:
        self._store = store
        self._subjects = subjects
        self._models = models or EnergyModels()
        self._reckoner = Reckoner(settings, self._models)

    @property
    def source(self) -> str | None:
        """What it is known from; None: from the flat factor alone."""
        return self._models.source

    def basis(self, provider: str, model: str, region: str) -> Basis:
        """By what calls of a model in a region are reckoned."""
        return self._reckoner.basis(provider, model, region)

    def summary(self, asked: Asked) -> tuple[Footprint, list[FootprintGroup]]:
        """What all calls took, and the groups, those with the most CO2e first; without keys there are none."""
        question, names = _question(asked)
        with self._store.read() as transaction:
            question = question._replace(filters=by_reference(transaction, asked.filters)).checked()
            found = {key: row.amounts for key, row in tally(transaction, question, DASHBOARD_CELLS_MAX).items()}
            clear = self._subjects.clear(transaction, _references(asked.by, found))
        total, groups = Footprint(), dict[tuple[str, ...], Footprint]()
        for key, amounts in found.items():
            one = self._of(dict(zip(names, key, strict=True)), amounts)
            total = total.plus(one)
            named = _named(asked.by, names, key, clear)
            groups[named] = groups.get(named, Footprint()).plus(one)
        rows = [_group(asked.by, key, one) for key, one in groups.items()] if asked.by else []
        return total, sorted(rows, key=lambda row: (-row.footprint.co2e_g.high, [value or "" for value in row.key.values()]))

    def course(self, asked: Asked, spans: Sequence[Span]) -> list[tuple[Footprint, list[FootprintGroup]]]:
        """The same of pieces of time that follow each other; groups that took nothing in a piece are not in it."""
        question, names = _question(asked)
        with self._store.read() as transaction:
            question = question._replace(filters=by_reference(transaction, asked.filters)).checked()
            cells = cells_of(transaction, question, spans) if spans else {}
            clear = self._subjects.clear(transaction, _references(asked.by, [tuple(map(str, key[1:])) for key in cells]))
        totals = [Footprint()] * len(spans)
        groups: list[dict[tuple[str, ...], Footprint]] = [{} for _ in spans]
        for (place, *rest), sums in cells.items():
            key, at = tuple(map(str, rest)), int(place)
            one = self._of(dict(zip(names, key, strict=True)), sums.amounts)
            totals[at] = totals[at].plus(one)
            named = _named(asked.by, names, key, clear)
            groups[at][named] = groups[at].get(named, Footprint()).plus(one)
        shown = [[_group(asked.by, key, one) for key, one in sorted(found.items())] if asked.by else [] for found in groups]
        return list(zip(totals, shown, strict=True))

    def _of(self, known: Mapping[str, str], amounts: Amounts) -> Footprint:
        return self._reckoner.of(known["provider"], known["model"], known.get(_REGION, ""), amounts)


def _question(asked: Asked) -> tuple[Question, tuple[str, ...]]:
    """What is summed, and by which keys: those asked for, and those by which a footprint is reckoned."""
    if len(asked.by) > _KEYS_MAX:
        raise BadInput(f"by: at most {_KEYS_MAX} keys")
    if any(name in (PERIOD, *TIME_KEYS) for name in asked.by):
        raise BadInput("by: keys that are no times; footprint.trend has the course")
    names = tuple(dict.fromkeys((*asked.by, *_OF_MODEL, *((_REGION,) if asked.by_region else ()))))
    return Question(restricted(asked.tenants), names, asked.from_ns, asked.to_ns, with_cache=True), names


def _references(by: Sequence[str], keys: Iterable[Sequence[str]]) -> set[str]:
    places = [place for place, name in enumerate(by) if name in SUBJECT_KEYS]
    return {key[place] for key in keys for place in places if key[place]} if places else set()


def _named(by: Sequence[str], names: Sequence[str], key: Sequence[str], clear: Mapping[str, str]) -> tuple[str, ...]:
    """The values of the keys asked for, which come first; users and sessions as people call them."""
    return tuple(clear.get(value, value) if name in SUBJECT_KEYS else value for name, value in zip(names[: len(by)], key, strict=False))


def _group(by: Sequence[str], key: Sequence[str], footprint: Footprint) -> FootprintGroup:
    return FootprintGroup({name: value or None for name, value in zip(by, key, strict=True)}, footprint)
