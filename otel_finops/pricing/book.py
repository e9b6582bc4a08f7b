"""The price book: rows of a price list as they were published, immutable, found by their exact key.

A row's fields keep the names of LiteLLM's price file (USD for one unit); what they mean is told in `rates` and `units`.
The packaged snapshot is made by `tools/vendor_prices.py`; a plain price file of LiteLLM is read as well.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.resources
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from otel_finops.base import limits
from otel_finops.base.errors import StartRefused
from otel_finops.base.times import NS_PER_SECOND, parse_ns
from otel_finops.pricing.providers import row_family

Fields: TypeAlias = Mapping[str, Any]

PACKAGED: Final = "litellm.json.gz"
_NOT_MODELS: Final = frozenset({"sample_spec", "fallback_generalizations"})
_VERSION_DIGITS: Final = 16
_GZIP_MAGIC: Final = b"\x1f\x8b"


class PriceRow:
    """One row of the price list.

    Attributes:
        key: the row's name in the price list, in its own capitals.
        family: the provider family that bills it (`providers.row_family`).
        mode: what the list says the model is for (`chat`, `embedding`, ...), "" when it does not say.
        fields: prices and factors by the list's own field names.
        retired: the list no longer has it; it answers only when no live row is found.
    """

    __slots__ = ("family", "fields", "key", "mode", "retired", "sheets")

    def __init__(self, key: str, fields: Fields, *, retired: bool) -> None:
        self.key = key
        self.fields = fields
        self.family = row_family(fields["litellm_provider"])
        self.mode: str = fields.get("mode") or ""
        self.retired = retired
        self.sheets: dict[Any, Any] = {}
        """Rate sheets made from the row so far (`rates.sheet_of`); as many as there are tiers and factors in the row."""


class BookStatus(NamedTuple):
    """What a book is.

    Attributes:
        source: whose list, e.g. `litellm`.
        source_version: the list's own version, "" when unknown.
        version: the first 16 hex digits of the snapshot's sha256; every quote carries it.
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


class PriceBook:
    """All rows of one snapshot. Rows are made when they are first asked for, so that loading stays cheap."""

    def __init__(self, live: Mapping[str, Fields], retired: Mapping[str, Fields], status: BookStatus) -> None:
        self.status = status
        self._live = live
        self._retired = retired
        self._live_keys = {key.lower(): key for key in live}
        self._retired_keys = {key.lower(): key for key in retired}
        self._rows: dict[tuple[str, bool], PriceRow] = {}
        self._families: frozenset[str] | None = None

    def find(self, name: str, *, retired: bool = False) -> PriceRow | None:
        """The row whose key equals the lower-case `name`; among the retired rows when asked so."""
        row = self._rows.get((name, retired))
        if row is not None:
            return row
        key = (self._retired_keys if retired else self._live_keys).get(name)
        if key is None:
            return None
        fields = (self._retired if retired else self._live)[key]
        row = self._rows[name, retired] = PriceRow(key, fields, retired=retired)
        return row

    def rows(self) -> Iterator[PriceRow]:
        """Every row, retired ones last; rows met here for the first time are not kept."""
        for retired, fields_of in ((False, self._live), (True, self._retired)):
            for key, fields in fields_of.items():
                yield PriceRow(key, fields, retired=retired)

    @property
    def families(self) -> frozenset[str]:
        """Provider families that have a row, live or retired."""
        if self._families is None:
            rows = (*self._live.values(), *self._retired.values())
            self._families = frozenset(row_family(provider) for provider in {fields["litellm_provider"] for fields in rows})
        return self._families

    @classmethod
    def load(cls, path: str | Path | None = None) -> PriceBook:
        """Read the packaged snapshot, or the file at `path` (a snapshot or a plain price list, gzipped or not).

        Raises:
            StartRefused: the file cannot be read or is no price list; the message names the file and the first fault.
        """
        try:
            raw = _packaged() if path is None else _read(Path(path))
            document = orjson.loads(raw)
        except (OSError, ValueError, EOFError) as fault:
            raise StartRefused(f"price file {path or PACKAGED}: cannot be read: {fault}") from fault
        return _build(document, hashlib.sha256(raw).hexdigest(), str(path or PACKAGED), trusted=path is None)


def _packaged() -> bytes:
    return gzip.decompress(importlib.resources.files("otel_finops.pricing").joinpath("data", PACKAGED).read_bytes())


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        raw = file.read(limits.PRICE_FILE_BYTES_MAX + 1)
    if raw.startswith(_GZIP_MAGIC):
        with gzip.open(path) as unpacked:
            raw = unpacked.read(limits.PRICE_FILE_BYTES_MAX + 1)
    if len(raw) > limits.PRICE_FILE_BYTES_MAX:
        raise ValueError(f"larger than {limits.PRICE_FILE_BYTES_MAX} bytes")
    return raw


def _build(document: Any, digest: str, name: str, *, trusted: bool) -> PriceBook:
    """The book of a parsed document; what is not our own packaged file is checked first."""
    if not isinstance(document, dict):
        raise StartRefused(f"price file {name}: not a JSON object")
    packed = isinstance(document.get("meta"), dict) and isinstance(document.get("rows"), dict)
    meta = document["meta"] if packed else {}
    live = document["rows"] if packed else {key: row for key, row in document.items() if key not in _NOT_MODELS}
    retired = document.get("retired", {}) if packed else {}
    if not trusted:
        check_rows(live, name)
        check_rows(retired, name)
    status = BookStatus(
        meta.get("source", Path(name).name),
        meta.get("source_version", ""),
        digest[:_VERSION_DIGITS],
        meta.get("date", ""),
        len(live),
        len(retired),
    )
    return PriceBook(live, retired, status)


def check_rows(rows: Any, name: str) -> None:
    """See that every row names its provider, that every price is finite and not negative, and that no two keys are one name.

    Raises:
        StartRefused: with the row and the reason.
    """
    if not isinstance(rows, dict) or (not rows and name == PACKAGED):
        raise StartRefused(f"price file {name}: no rows")
    seen: set[str] = set()
    for key, row in rows.items():
        if not isinstance(row, dict) or not isinstance(row.get("litellm_provider"), str):
            raise StartRefused(f"price file {name}: row {key!r}: no litellm_provider")
        if key.lower() in seen:
            raise StartRefused(f"price file {name}: row {key!r}: stands twice but for capitals")
        seen.add(key.lower())
        for field, value in row.items():
            if "cost" in field and not _is_price(value):
                raise StartRefused(f"price file {name}: row {key!r}: {field} is no finite price of 0 or more")


def _is_price(value: Any) -> bool:
    """True for a finite number of 0 or more, and for a mapping or list of structured prices."""
    if isinstance(value, dict):
        return all(_is_price(item) for item in value.values())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return isinstance(value, list) or value is None
    return math.isfinite(value) and value >= 0
