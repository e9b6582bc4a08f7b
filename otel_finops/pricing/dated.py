"""Prices with dates: the second source's series, held against the list's rows on the day of the list.

LiteLLM's list has no dates. genai-prices writes for some models from which day, and at which hours of the day, a price holds. A price
of a row on which both agree throughout the day of the list is followed to other moments by the series; one on which they differ
is LiteLLM's at all moments, and is listed (`differences`). What only one of them states is no difference: the list's holds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from otel_finops.base.times import NS_PER_DAY, NS_PER_SECOND, parse_ns
from otel_finops.pricing.hours import OffPeakHours, minute_of, window_holds
from otel_finops.pricing.providers import families_of, own_names
from otel_finops.pricing.snapshot import Fields

Entries: TypeAlias = Sequence[tuple[str, Fields]]
"""Prices with their conditions: "" for always, a day from which (`2027-01-01`), or hours of the day in UTC (`01:00-04:00`)."""

SEARCHES: Final = "search_context_cost_per_query"
_MEDIUM: Final = "search_context_size_medium"
_OFF_PEAK: Final = "off_peak_pricing"
_TIER_ENDINGS: Final = ("_batches", "_flex", "_priority")
_NS_PER_MINUTE: Final = 60 * NS_PER_SECOND
_SAMPLES_NS: Final = range(0, NS_PER_DAY, 15 * _NS_PER_MINUTE)
"""Moments of a day at which two patterns of hours are compared: vendors' hours begin and end at quarters."""


class Season(NamedTuple):
    """The prices from one day on.

    Attributes:
        start_ns: the beginning of the day (Unix nanoseconds, UTC); the first season begins with time.
        parts: (minute of the day, prices from that minute on), ascending from minute 0; one part where the hour plays no role.
    """

    start_ns: int
    parts: tuple[tuple[int, Fields], ...]

    def at(self, at_ns: int) -> Fields:
        """The prices at an instant of the season."""
        fields: Fields = part_at(self.parts, at_ns)
        return fields


Seasons: TypeAlias = tuple[Season, ...]


def part_at(parts: Sequence[tuple[int, Any]], at_ns: int) -> Any:
    """What holds at an instant, of parts by the minute of the day."""
    if len(parts) == 1:
        return parts[0][1]
    minute = minute_of(at_ns)
    return next(part for start, part in reversed(parts) if minute >= start)


class Difference(NamedTuple):
    """A price on which the two sources differ on the day of the list.

    Attributes:
        key: the list's row.
        field: the price, by the list's field name.
        list_usd: what the list says; it holds.
        second_usd: what the second source says, at the first moment of the day at which it says otherwise.
    """

    key: str
    field: str
    list_usd: float
    second_usd: float


class SecondSource:
    """The second source's series of one snapshot, by provider and model.

    Attributes:
        source, source_version, date: whose series, its version, and its day; "" when there is none.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        meta = document.get("meta", {})
        self.source, self.source_version, self.date = (str(meta.get(name) or "") for name in ("source", "source_version", "date"))
        self._models: Mapping[str, Mapping[str, Entries]] = document.get("models", {})
        self._names: Mapping[str, str] = document.get("names", {})
        self._providers: dict[str, list[str]] = {}
        for provider in dict.fromkeys(key.partition("/")[0] for key in self._models):
            for family in families_of(provider):
                self._providers.setdefault(family, []).append(provider)

    @property
    def families(self) -> frozenset[str]:
        """Families that bill one of its models."""
        return frozenset(self._providers)

    def model(self, family: str, name: str) -> Seasons | None:
        """The prices of the model with this id (lower case), None when there is none."""
        keys = (f"{provider}/{name}" for provider in self._providers.get(family, ()))
        found = next((self._models[key] for key in keys if key in self._models), None)
        return None if found is None else _seasons(found)

    def of_row(self, family: str, key: str) -> Seasons | None:
        """The series of the model that a list's row is about: its id, or another whole name of it, equals the row's own name."""
        names = own_names(family, key.lower())
        keys = (f"{provider}/{name}" for name in names for provider in self._providers.get(family, ()))
        for asked in keys:
            found = self._models.get(asked) or self._models.get(self._names.get(asked, ""))
            if found is not None:
                return _seasons(found)
        return None


# --- from entries with conditions to seasons -------------------------------------------------------------------------


def _seasons(series: Mapping[str, Entries]) -> Seasons:
    prices, variants = series["prices"], series.get("variants", ())
    conditions = {when for when, _ in (*prices, *variants)}
    days = sorted({parse_ns(when) for when in conditions if _is_day(when)})
    minutes = sorted({0, *(minute for when in conditions if _is_hours(when) for minute in _hours(when))})
    return tuple(
        Season(start, tuple((minute, _prices(prices, variants, start, minute)) for minute in minutes)) for start in (_ALWAYS_NS, *days)
    )


_ALWAYS_NS: Final = -(2**63)


def _prices(prices: Entries, variants: Entries, day_ns: int, minute: int) -> Fields:
    """The last standard prices that hold, the first when none does; of each tier's price the first that holds."""
    standard = next((fields for when, fields in reversed(prices) if _holds(when, day_ns, minute)), prices[0][1])
    found = dict(standard)
    for when, fields in variants:
        if _holds(when, day_ns, minute):
            for field, price in fields.items():
                found.setdefault(field, price)
    return found


def _is_hours(when: str) -> bool:
    return ":" in when


def _is_day(when: str) -> bool:
    return bool(when) and not _is_hours(when)


def _hours(when: str) -> tuple[int, int]:
    start, _, end = when.partition("-")
    return _minute(start), _minute(end)


def _minute(text: str) -> int:
    hour, _, minute = text.partition(":")
    return int(hour) * 60 + int(minute)


def _holds(when: str, day_ns: int, minute: int) -> bool:
    if _is_hours(when):
        return window_holds(*_hours(when), minute)
    return not when or parse_ns(when) <= day_ns


# --- the list's row and the series together --------------------------------------------------------------------------


def followed(fields: Fields, series: Seasons, list_date: str) -> Seasons | None:
    """The row's prices by season: those on which both sources agree follow the series. None when the row never changes."""
    if len(series) == 1 and len(series[0].parts) == 1:
        return None
    agreed = _agreed(fields, series, list_date)
    if not agreed:
        return None
    seasons = tuple(Season(one.start_ns, tuple((minute, _with(fields, prices, agreed)) for minute, prices in one.parts)) for one in series)
    kinds = [prices for one in seasons for _, prices in one.parts]
    return seasons if any(prices != kinds[0] for prices in kinds) else None


def differing(key: str, fields: Fields, series: Seasons, list_date: str) -> Iterator[Difference]:
    """The prices that both state and on which they differ at some moment of the list's day."""
    day = _day(fields, series, list_date)
    for field in sorted({field for _, second in day for field in second}):
        for first, second in day:
            ours, theirs = _price(first, field), _price(second, field)
            if ours is not None and theirs is not None and ours != theirs:
                yield Difference(key, field, ours, theirs)
                break


def _agreed(fields: Fields, series: Seasons, list_date: str) -> frozenset[str]:
    """Fields of the series on which the row agrees throughout the day of the list; all of them or none where the row has hours."""
    stated = {field for one in series for _, prices in one.parts for field in prices}
    day = _day(fields, series, list_date)
    agreed = frozenset(field for field in stated if field != SEARCHES and _same(field, day))
    hourly = {field for field in fields.get(_OFF_PEAK, ()) if "cost" in field}
    return agreed if hourly <= agreed else frozenset()


def _same(field: str, day: Iterable[tuple[Fields, Fields]]) -> bool:
    return "cost" in field and all(_price(first, field) == _price(second, field) for first, second in day)


def _day(fields: Fields, series: Seasons, list_date: str) -> list[tuple[Fields, Fields]]:
    """What either says on the day of the list, moment by moment where one of them knows hours."""
    start_ns = parse_ns(list_date)
    season = season_at(series, start_ns)
    block = fields.get(_OFF_PEAK)
    if not isinstance(block, Mapping):
        return [(fields, prices) for _, prices in season.parts]
    hours = OffPeakHours(block)
    cheap = {**fields, **{field: price for field, price in block.items() if "cost" in field}}
    moments = [start_ns + offset for offset in _SAMPLES_NS]
    return [(cheap if hours.hold_at(moment) else fields, season.at(moment)) for moment in moments]


def season_at(seasons: Seasons, at_ns: int) -> Season:
    """The season in which an instant lies."""
    return seasons[bisect_right(seasons, at_ns, lo=1, key=_start) - 1]


_start: Final[Callable[[Season], int]] = lambda season: season.start_ns  # noqa: E731


def _price(fields: Fields, field: str) -> float | None:
    value = fields.get(field)
    if field == SEARCHES and isinstance(value, Mapping):
        value = value.get(_MEDIUM)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _with(fields: Fields, prices: Fields, agreed: frozenset[str]) -> Fields:
    """The row's fields with the agreed prices of the series. A tier's price that the series does not state at that time stays the row's:
    the series tells when it took note of a tier, not when the tier began."""
    gone = {field for field in agreed if field not in prices and not field.endswith(_TIER_ENDINGS)}
    kept = {field: value for field, value in fields.items() if field not in gone and field != _OFF_PEAK}
    return kept | {field: prices[field] for field in agreed if field in prices}


# --- models that only the second source knows ------------------------------------------------------------------------


def standing_alone(prices: Fields, family: str) -> Fields:
    """The prices of a model that the list does not have, as a row: a tier leaves what it does not name at the standard price."""
    row: dict[str, Any] = {"litellm_provider": family, **prices}
    for ending in _TIER_ENDINGS:
        if any(field.endswith(ending) for field in prices):
            for field, price in prices.items():
                if "cost" in field and field != SEARCHES and not field.endswith(_TIER_ENDINGS):
                    row.setdefault(field + ending, row.get(field.partition("_above_")[0] + ending, price) if _is_long(field) else price)
    return row


def _is_long(field: str) -> bool:
    return field.endswith("_tokens")
