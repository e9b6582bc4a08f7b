"""Quality scores as they are stored: by source, of which the newest import stands; nothing is changed or taken away."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput
from otel_finops.base.limits import QUALITY_SOURCES_MAX
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.insight.quality import OUTCOMES, Score, read_scores
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

_LOCK: Final = "SELECT pg_advisory_xact_lock(?)"
_LOCK_NO: Final = 5_270_411_906_022
"""Number of PostgreSQL's advisory lock for who imports scores; any number that nobody else uses."""
_STANDING: Final = """
SELECT i.import_no, i.tenant, i.source, i.origin, i.sha256, i.scores, i.at_ns, i.who FROM quality_imports AS i
WHERE i.import_no IN (SELECT MAX(import_no) FROM quality_imports GROUP BY tenant, source) ORDER BY i.import_no
"""
_SCORES: Final = "SELECT import_no, provider, model, task, score, samples FROM quality_scores WHERE import_no IN ({})"
_IMPORT: Final = (
    "INSERT INTO quality_imports (tenant, source, origin, sha256, scores, at_ns, who) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING import_no"
)
_SCORE: Final = "INSERT INTO quality_scores (import_no, position, provider, model, task, score, samples) VALUES (?, ?, ?, ?, ?, ?, ?)"
_DIGITS: Final = Context(prec=30)


class Import(NamedTuple):
    """A file of scores that stands.

    Attributes:
        no: its number.
        tenant: whose calls it is about; `*`: all.
        source: its name.
        origin: where it is from.
        sha256: of the file.
        scores: how many; none: the source says nothing any longer.
    """

    no: int
    tenant: str
    source: str
    origin: str
    sha256: str
    scores: int
    at_ns: int
    who: str


class QualityStore:
    """The scores of one ledger. Safe to use from many threads and processes."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def imports(self, tenants: Collection[str] | None) -> list[Import]:
        """What stands and these tenants (None: everybody) may see, oldest first: their own, and what is about all."""
        with self._store.read() as transaction:
            return _seen(transaction, tenants)

    def scores(self, tenants: Collection[str] | None) -> list[Score]:
        """The scores that stand and these tenants may see."""
        with self._store.read() as transaction:
            return standing_scores(transaction, tenants)

    def add(self, tenant: str, source: str, content: bytes, origin: str, *, who: str, dry_run: bool = False) -> tuple[Import, bool]:
        """Have a file stand for its source, in place of the one before; one of the same bytes is given back as it stands, with False.

        Raises:
            BadInput, TooLarge: it is no file of scores, or there are too many sources.
        """
        if source == OUTCOMES:
            raise BadInput(f"source: {OUTCOMES} is what the ledger's own outcomes are called; give it another name")
        scores, sha256 = read_scores(content, origin), hashlib.sha256(content).hexdigest()
        with self._store.write_or_try(dry_run=dry_run) as transaction:
            if transaction.engine_name == "postgresql":
                transaction.execute(_LOCK, (_LOCK_NO,))  # SQLite has one writer anyway
            theirs = [one for one in _seen(transaction, None) if one.tenant == tenant]
            former = next((one for one in theirs if one.source == source), None)
            if former is not None and former.sha256 == sha256:
                return former, False
            if scores and (former is None or not former.scores) and sum(1 for one in theirs if one.scores) >= QUALITY_SOURCES_MAX:
                raise BadInput(f"source: there are {QUALITY_SOURCES_MAX} sources already; import an empty list for one that is not needed")
            return self._stored(
                transaction, Import(0, tenant, source, origin, sha256, len(scores), self._clock.now_ns(), who), scores
            ), True

    def _stored(self, transaction: Transaction, one: Import, scores: Sequence[Score]) -> Import:
        [(no,)] = transaction.execute(_IMPORT, one[1:])
        rows = [
            (int(no), place, score.provider, score.model, score.task, plain_share(score.value), score.samples)
            for place, score in enumerate(scores)
        ]
        transaction.executemany(_SCORE, rows)
        return one._replace(no=int(no))


def standing_scores(transaction: Transaction, tenants: Collection[str] | None) -> list[Score]:
    """See `QualityStore.scores`."""
    imports = {one.no: one for one in _seen(transaction, tenants)}
    return [
        Score(provider, model, task, Fraction(score), None if samples is None else int(samples), of.source, of.tenant, of.at_ns)
        for no, provider, model, task, score, samples in transaction.select_in(_SCORES, sorted(imports))
        for of in (imports[int(no)],)
    ]


def plain_share(share: Fraction) -> str:
    """A share as a plain decimal string, exact for what was given as one."""
    return format(_DIGITS.divide(Decimal(share.numerator), Decimal(share.denominator)), "f")


def _seen(transaction: Transaction, tenants: Collection[str] | None) -> list[Import]:
    rows = transaction.execute(_STANDING)
    found = [Import._make((int(no), *said, int(count), int(at_ns), who)) for no, *said, count, at_ns, who in rows]
    if tenants is None or ANY_TENANT in tenants:
        return found
    return [one for one in found if one.tenant == ANY_TENANT or one.tenant in tenants]
