"""Where a book begins: the snapshot that the package holds, or a price file that the operator names."""

from __future__ import annotations

import gzip
import hashlib
import importlib.resources
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson

from otel_finops.base import limits
from otel_finops.base.errors import BadInput, StartRefused
from otel_finops.pricing.snapshot import Snapshot
from otel_finops.pricing.sources.loading import chosen, load_sources
from otel_finops.pricing.sources.reading import read_document
from otel_finops.pricing.sources.source import BadRow, Reading

LISTED: Final = "litellm.json.gz"
"""The packaged list, made by `tools/vendor_prices.py`."""
DATED: Final = "genai_prices.json.gz"
"""The packaged dated series of the second source, made by `tools/vendor_dated_prices.py`."""
_VERSION_DIGITS: Final = 16


def packaged_snapshot() -> Snapshot:
    """The snapshot that the package holds; its version is the digest of both files, one after the other."""
    listed, dated = (gzip.decompress(_data(name)) for name in (LISTED, DATED))
    document, second = orjson.loads(listed), orjson.loads(dated)
    meta = document["meta"]
    version = hashlib.sha256(listed + dated).hexdigest()[:_VERSION_DIGITS]
    return Snapshot(meta["source"], meta["source_version"], version, meta["date"], None, document["rows"], document["retired"], second)


def _data(name: str) -> bytes:
    return importlib.resources.files("otel_finops.pricing").joinpath("data", name).read_bytes()


def snapshot_from_file(path: Path) -> Snapshot:
    """The snapshot in a price file, of any source that is known; gzipped or not.

    Raises:
        StartRefused: the file cannot be read or is no price list; the message names the file, the line and the first fault.
    """
    try:
        with path.open("rb") as file:
            document = read_document(file.read(limits.PRICE_FILE_BYTES_MAX + 1), str(path))
        source = chosen(load_sources(), document.value, None)
        listed = source.read(document.value, Reading(datetime.now(tz=UTC).date().isoformat()))
    except OSError as fault:
        raise StartRefused(f"price file {path}: cannot be read: {fault.strerror or type(fault).__name__}") from fault
    except BadRow as fault:
        raise StartRefused(f"price file {document.place(fault.row)}: {fault}") from fault
    except BadInput as fault:
        raise StartRefused(f"price file {fault}") from fault
    version = document.sha256[:_VERSION_DIGITS]
    return Snapshot(source.name, listed.source_version, version, listed.date, None, listed.rows, listed.retired, listed.dated)
