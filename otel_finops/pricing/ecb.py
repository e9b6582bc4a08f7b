"""Reads the European Central Bank's files of reference rates: the history as CSV or XML, bare or in a zip archive."""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from datetime import date
from typing import Final, NamedTuple
from xml.etree import ElementTree

from otel_finops.base.errors import BadInput, TooLarge
from otel_finops.base.limits import FX_FILE_BYTES_MAX

_ZIP: Final = b"PK\x03\x04"
_RATE: Final = re.compile(r"\d{1,12}(\.\d{1,12})?")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_UNKNOWN: Final = frozenset({"", "N/A", "-"})
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_EARLIEST: Final = date(1999, 1, 4)
"""The euro's first working day."""


class EuroRate(NamedTuple):
    """Units of a currency for one euro on a day (YYYY-MM-DD), as the file writes them."""

    day: str
    currency: str
    rate: str


def read_rates(content: bytes, today: date) -> list[EuroRate]:
    """All rates of a file, each day and currency once.

    Args:
        content: the file's bytes.
        today: rates of later days are refused.

    Raises:
        BadInput: it is no such file, or a rate in it cannot be; with the line or day.
        TooLarge: it unpacks to more than `limits.FX_FILE_BYTES_MAX`.
    """
    text = _text(_unpacked(content) if content.startswith(_ZIP) else content)
    rows = _from_xml(text) if text.lstrip().startswith("<") else _from_csv(text)
    found: dict[tuple[str, str], EuroRate] = {}
    for where, day, currency, rate in rows:
        one = _checked(where, day, currency, rate, today)
        if found.setdefault((one.day, currency), one) != one:
            raise BadInput(f"from: {where}: {currency} has two rates for {day}; nothing was imported")
    if not found:
        raise BadInput("from: no rates in it; give the European Central Bank's eurofxref-hist.zip, or the CSV or XML inside of it")
    return list(found.values())


def _unpacked(content: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [info for info in archive.infolist() if info.filename.lower().endswith((".csv", ".xml"))]
            if len(members) != 1:
                raise BadInput(f"from: the archive holds {len(members)} CSV or XML files; one is expected")
            with archive.open(members[0]) as member:
                data = member.read(FX_FILE_BYTES_MAX + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as fault:
        raise BadInput(f"from: the archive cannot be read: {type(fault).__name__}") from fault
    if len(data) > FX_FILE_BYTES_MAX:
        raise TooLarge(f"from: unpacks to more than {FX_FILE_BYTES_MAX} bytes")
    return data


def _text(data: bytes) -> str:
    if len(data) > FX_FILE_BYTES_MAX:
        raise TooLarge(f"from: larger than {FX_FILE_BYTES_MAX} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput("from: neither CSV, XML nor a zip archive of one") from None


def _from_csv(text: str) -> Iterator[tuple[str, str, str, str]]:
    reader = csv.reader(io.StringIO(text))
    head = [name.strip() for name in next(reader, [])]
    if not head or head[0] != "Date":
        raise BadInput("from: line 1: must begin with the column `Date`, and go on with one for each currency")
    for cells in reader:
        where = f"line {reader.line_num}"
        if cells and len(cells) != len(head):
            raise BadInput(f"from: {where}: {len(cells)} columns where the first line has {len(head)}; nothing was imported")
        for currency, cell in zip(head[1:], cells[1:], strict=False):
            if currency and cell.strip() not in _UNKNOWN:
                yield where, cells[0].strip(), currency, cell.strip()


def _from_xml(text: str) -> Iterator[tuple[str, str, str, str]]:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise BadInput("from: XML with a document type; the European Central Bank's files have none")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - without a document type there are no entities to expand
    except ElementTree.ParseError as fault:
        raise BadInput(f"from: no XML: {fault}") from None
    for cube in root.iter():
        day = cube.get("time")
        if day is not None:
            for rate in cube:
                yield f"day {day[:20]}", day, rate.get("currency", ""), rate.get("rate", "")


def _day(text: str) -> date:
    """The history writes 2026-10-30, the file of the latest day alone 30 October 2026."""
    number, _, rest = text.partition(" ")
    month, _, year = rest.partition(" ")
    if month in _MONTHS:
        return date(int(year), _MONTHS.index(month) + 1, int(number))
    return date.fromisoformat(text)


def _checked(where: str, day: str, currency: str, rate: str, today: date) -> EuroRate:
    try:
        moment = _day(day)
    except ValueError:
        raise BadInput(f"from: {where}: {day[:20]!r} is no day; write YYYY-MM-DD") from None
    if not _EARLIEST <= moment <= today:
        raise BadInput(f"from: {where}: {day} lies before the euro or in the future; nothing was imported")
    if not _CURRENCY.fullmatch(currency):
        raise BadInput(f"from: {where}: {currency[:20]!r} is no ISO 4217 code; nothing was imported")
    if not _RATE.fullmatch(rate) or not rate.strip("0."):
        raise BadInput(f"from: {where}: {currency} at {rate[:30]!r} is no rate above 0; nothing was imported")
    return EuroRate(moment.isoformat(), currency, rate)
