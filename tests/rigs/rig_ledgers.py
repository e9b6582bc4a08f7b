"""Many small ledgers, quickly: each is a copy of one empty database, and takes spans in whatever parts and order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from empty_ledgers import empty_store
from genai_corpus import ANYONE, normaliser
from ledger_rig import Rig

from otel_finops.base.span import LogRecord, Span
from otel_finops.genai.logs import LogNormaliser
from otel_finops.genai.sighting import Sighting
from otel_finops.ledger.verify import verify


class Ledgers:
    """Makes ledgers in a folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "ledger.db"

    @contextmanager
    def new(self) -> Iterator[Rig]:
        """An empty ledger; it takes the place of the one before."""
        self._remove()
        store = empty_store(f"sqlite:///{self._file}")
        try:
            yield Rig(store)
        finally:
            store.close()

    def close(self) -> None:
        """Remove what is left."""
        self._remove()

    def _remove(self) -> None:
        for file in self._file.parent.glob(f"{self._file.name}*"):
            file.unlink()


LOGS = LogNormaliser()


def normalised(items: Sequence[Span | LogRecord]) -> list[Sighting]:
    """What a delivery of these spans and log records is journalled as; records that show no call are not."""
    normalise = normaliser()
    sightings = [LOGS(item, ANYONE) if isinstance(item, LogRecord) else normalise(item, ANYONE) for item in items]
    return [sighting for sighting in sightings if sighting is not None]


def canonical(rig: Rig) -> list[str]:
    """The canonical dump as lines, after a check of the chain and that roll-ups equal what stands."""
    with rig.store.read() as transaction:
        report = verify(transaction)
    assert report.sound, report
    assert rig.total() == rig.spent() == sum(entry.cost_pico or 0 for entry in rig.net().values())
    return [json.dumps(row, sort_keys=True) for row in rig.canonical()]


def differences(found: Sequence[str], wanted: Sequence[str]) -> list[dict[str, Any]]:
    """Rows that differ, by their keys, with the fields that differ: small enough to read in a failure."""
    rows = [{(row["trace_id"], row["span_id"]): row for row in map(json.loads, lines)} for lines in (found, wanted)]
    told = []
    for key in sorted(rows[0].keys() | rows[1].keys()):
        mine, other = rows[0].get(key, {}), rows[1].get(key, {})
        fields = {name: (mine.get(name), other.get(name)) for name in mine.keys() | other.keys() if mine.get(name) != other.get(name)}
        if fields:
            told.append({"span": key, **fields})
    return told
