"""A bound on the series of one metric that changes no total and never lets a counter go down.

Label values come from senders, so their number has no bound of its own. The first `capacity` sets of label values own a
series; all later ones share one whose every label is `other`. "First" is the order in which the ledger first saw them,
which the ledger keeps, and not the order of arrival at a scrape: every scrape, also after a restart, draws the same line,
and a set that was counted in `other` never leaves it. Amounts are added before anything is rounded or left out, so the sum
over all series is the ledger's own.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final, Generic, TypeAlias, TypeVar

from otel_finops.base.limits import NAME_CHARS_MAX

LabelValues: TypeAlias = tuple[str, ...]
Accumulator = TypeVar("Accumulator")

OTHER: Final = "other"
"""Every label value of the series that holds what is beyond the capacity."""

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


@lru_cache(maxsize=16_384)
def safe_label(value: str) -> str:
    """A label value without control, format (right-to-left overrides), private or lone surrogate characters.

    Each of them becomes U+FFFD, so the result always encodes as UTF-8 and shows as what it is; the length is at most
    `limits.NAME_CHARS_MAX`, a cut is shown by an ellipsis.
    """
    if not (value.isascii() and value.isprintable()):
        value = "".join(_REPLACEMENT if unicodedata.category(char)[0] == "C" else char for char in value)
    return value if len(value) <= NAME_CHARS_MAX else value[: NAME_CHARS_MAX - 1] + "\N{HORIZONTAL ELLIPSIS}"


class SeriesGuard(Generic[Accumulator]):
    """The series of one metric during one scrape: label values -> what is added up for them.

    Args:
        labels: how many labels a series has.
        capacity: most series that there may be, `other` included; at least 1.
        new: makes an empty accumulator.
    """

    def __init__(self, labels: int, capacity: int, new: Callable[[], Accumulator]) -> None:
        if capacity < 1:
            raise ValueError("a metric needs room for one series at least")
        self._other_values: Final = (OTHER,) * labels
        self._own_max: Final = capacity - 1
        self._new: Final = new
        self._own: dict[LabelValues, Accumulator] = {}
        self._other: Accumulator | None = None

    def series(self, values: LabelValues) -> Accumulator:
        """The accumulator for the label values, to be asked in the ledger's order of first appearance."""
        known = self._own.get(values)
        if known is not None:
            return known
        if values != self._other_values and len(self._own) < self._own_max:
            return self._own.setdefault(values, self._new())
        if self._other is None:
            self._other = self._new()
        return self._other

    def __iter__(self) -> Iterator[tuple[LabelValues, Accumulator]]:
        """All series, `other` last; nothing for `other` when nothing is beyond the capacity."""
        yield from self._own.items()
        if self._other is not None:
            yield self._other_values, self._other

    def __len__(self) -> int:
        return len(self._own) + (self._other is not None)
