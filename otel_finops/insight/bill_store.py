"""Bills as they are stored: imported, replaced day by day by newer imports, taken away; rows are added and never changed.

Of imports that newer ones have replaced wholly the last ones are kept, so that taking away a wrong one brings back the one before.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput, NotFound
from otel_finops.base.limits import BILL_NAMES_MAX, BILL_NAMES_OF_TENANT_MAX, BILLS_MAX, BILLS_OF_TENANT_MAX, BILLS_REPLACED_KEPT
from otel_finops.base.times import format_ns
from otel_finops.insight.bills.line import Bill, BillLine
from otel_finops.ledger.tenants import Tenants, restricted
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

OF_ALL: Final = ""
"""The tenant of bills that are for all tenants' calls."""
SCOPE_KEYS: Final = ("service", "environment", "cost_center")
"""Dimensions by which a bill can be for some calls alone."""
COST: Final = "cost"

_COLUMNS: Final = (
    "bill_no, tenant, name, aspect, provider, format, currency, scope, from_ns, to_ns, line_count, amount, digest, origin, who, at_ns"
)
_LIVE: Final = (
    f"SELECT {_COLUMNS} FROM bills b WHERE ends_no IS NULL "
    "AND NOT EXISTS (SELECT 1 FROM bills e WHERE e.ends_no = b.bill_no) ORDER BY bill_no"
)
_INSERT: Final = (
    "INSERT INTO bills (ends_no, tenant, name, aspect, provider, format, currency, scope, from_ns, to_ns, line_count, amount, digest, "
    "origin, who, at_ns, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING bill_no"
)
_DROP: Final = "DELETE FROM bills WHERE bill_no = ?"
_PAYLOAD: Final = "SELECT payload FROM bills WHERE bill_no = ?"
_LOCK: Final = "LOCK TABLE bills IN SHARE ROW EXCLUSIVE MODE"


class Label(NamedTuple):
    """What an import says of a bill besides what stands in the file.

    Attributes:
        tenant: whose calls it is for; `OF_ALL` for all tenants'.
        name: by which newer imports find what they replace.
        provider: the family that bills.
        scope: the calls that it is for, by one of `SCOPE_KEYS`.
        models: the ledger's name of a model by the bill's.
    """

    tenant: str
    name: str
    provider: str
    scope: Mapping[str, str] = {}
    models: Mapping[str, str] = {}


class StoredBill(NamedTuple):
    """An import.

    Attributes:
        no: its number, never given twice.
        label: see `Label`; `models` stand with the lines.
        aspect, format, currency, from_ns, to_ns: as in `insight.bills.line.Bill`.
        lines: how many it has.
        amount: their sum.
        digest: of all that it says.
    """

    no: int
    label: Label
    aspect: str
    format: str
    currency: str
    from_ns: int
    to_ns: int
    lines: int
    amount: int
    digest: str
    origin: str
    who: str
    at_ns: int


class Statement(NamedTuple):
    """What stands of one import.

    Attributes:
        times: the stretches of time of which no newer import tells.
        lines: those within them.
        models: see `Label`.
        places: decimal places to which its amounts may be rounded.
    """

    bill: StoredBill
    times: Sequence[tuple[int, int]]
    lines: Sequence[BillLine]
    models: Mapping[str, str]
    places: int


class Bills:
    """The bills of one ledger. Safe to use from many threads and processes."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def all(self, tenants: Tenants) -> list[StoredBill]:
        """The imports that these tenants may see and nobody took away, oldest first."""
        with self._store.read() as transaction:
            return live(transaction, tenants)

    def add(self, bill: Bill, label: Label, origin: str, *, who: str, dry_run: bool = False) -> tuple[StoredBill, bool]:
        """Store a bill; one that says what stands already is given back as it is, with False.

        Raises:
            BadInput: another bill has the name, it tells of a part of a time that an older one tells of as a whole, or there are too many.
        """
        payload = _payload(bill, label)
        digest = hashlib.sha256(payload).hexdigest()
        scope = orjson.dumps(dict(label.scope), option=orjson.OPT_SORT_KEYS).decode()
        with self._store.write() as transaction:
            if transaction.engine_name == "postgresql":
                transaction.execute(_LOCK)  # SQLite has one writer anyway
            held = live(transaction, None)
            same = [one for one in held if (one.label.tenant, one.label.name) == (label.tenant, label.name)]
            for one in standing_imports([one for one in same if one.aspect == bill.aspect]):
                if one.digest == digest:
                    return one, False
            self._check(transaction, held, same, bill, label)
            now_ns = self._clock.now_ns()
            stored = (
                label.tenant, label.name, bill.aspect, label.provider, bill.format, bill.currency, scope, bill.from_ns, bill.to_ns,
                len(bill.lines), str(bill.amount), digest, origin, who, now_ns,
            )  # fmt: skip
            no = 0
            if not dry_run:
                [(no,)] = transaction.execute(_INSERT, (None, *stored, gzip.compress(payload, mtime=0)))
                _forget(transaction, label, bill.aspect)
        return _stored((no, *stored)), True

    def remove(self, no: int, tenants: Tenants, *, who: str, dry_run: bool = False) -> StoredBill:
        """Take a bill away, or in a dry run say which; what it replaced stands again.

        Raises:
            NotFound: there is none of this number for these tenants.
        """
        with self._store.write() as transaction:
            if transaction.engine_name == "postgresql":
                transaction.execute(_LOCK)
            found = next((one for one in live(transaction, tenants) if one.no == no), None)
            if found is None:
                raise NotFound(f"There is no bill {no}.")
            label = found.label
            values = (label.tenant, label.name, found.aspect, label.provider, found.format, found.currency, "{}", 0, 0, 0, "0", "", "")
            if not dry_run:
                transaction.execute(_INSERT, (no, *values, who, self._clock.now_ns(), b""))
        return found

    def _check(self, transaction: Transaction, held: Sequence[StoredBill], same: Sequence[StoredBill], bill: Bill, label: Label) -> None:
        if len(held) >= BILLS_MAX:
            raise BadInput(f"there are {BILLS_MAX} bills already; take away old ones (bills.remove)")
        if not same and len({(one.label.tenant, one.label.name) for one in held}) >= BILL_NAMES_MAX:
            raise BadInput(f"there are bills of {BILL_NAMES_MAX} names already; take away one (bills.remove)")
        if label.tenant:
            _check_places(held, label)
        for one in same:
            if (one.label.provider, one.label.scope) != (label.provider, dict(label.scope)):
                raise BadInput(f"name: the bill {label.name!r} is of {one.label.provider} and other calls; give this one another name")
        for statement in statements(transaction, [one for one in same if one.aspect == bill.aspect]):
            if cut := next((line for line in statement.lines if _cuts(line, bill)), None):
                raise BadInput(
                    f"it tells of a part of {_day(cut.from_ns)} to {_day(cut.to_ns)}, of which bill {statement.bill.no} tells as a whole: "
                    "import all of that time, or give another name"
                )


def _check_places(held: Sequence[StoredBill], label: Label) -> None:
    """Refuse one tenant's bills more than their share of the places."""
    theirs = [one.label.name for one in held if one.label.tenant == label.tenant]
    if len(theirs) >= BILLS_OF_TENANT_MAX:
        raise BadInput(f"there are {BILLS_OF_TENANT_MAX} bills of this tenant already; take away old ones (bills.remove)")
    if label.name not in theirs and len(set(theirs)) >= BILL_NAMES_OF_TENANT_MAX:
        raise BadInput(f"there are bills of {BILL_NAMES_OF_TENANT_MAX} names of this tenant already; take away one (bills.remove)")


def live(transaction: Transaction, tenants: Tenants) -> list[StoredBill]:
    """The imports that nobody took away, oldest first; those for all tenants are seen by those who see all."""
    allowed = restricted(tenants)
    found = (_stored(row) for row in transaction.execute(_LIVE))
    return [one for one in found if allowed is None or one.label.tenant in allowed]


def _forget(transaction: Transaction, label: Label, aspect: str) -> None:
    """Drop all but the last imports of a name and aspect that newer ones have replaced wholly."""
    held = [
        one for one in live(transaction, None) if (one.label.tenant, one.label.name, one.aspect) == (label.tenant, label.name, aspect)
    ]  # fmt: skip
    standing = {one.no for one in standing_imports(held)}
    replaced = [one.no for one in held if one.no not in standing]
    for no in replaced[:-BILLS_REPLACED_KEPT]:
        transaction.execute(_DROP, (no,))


def standing_imports(imports: Sequence[StoredBill]) -> Iterator[StoredBill]:
    """Those of one name and aspect that newer ones have not replaced wholly, newest first."""
    yield from (one for one, _ in _uncovered(imports))


def statements(transaction: Transaction, imports: Sequence[StoredBill]) -> Iterator[Statement]:
    """What stands of imports of one name and aspect: of every time what the newest one says that tells of it."""
    for one, times in _uncovered(imports):
        [(packed,)] = transaction.execute(_PAYLOAD, (one.no,))
        said = orjson.loads(gzip.decompress(bytes(packed)))
        lines = (BillLine(*line) for line in said["lines"])
        kept = [line for line in lines if any(start <= line.from_ns and line.to_ns <= end for start, end in times)]
        yield Statement(one, times, kept, said["models"], int(said["places"]))


def _uncovered(imports: Sequence[StoredBill]) -> Iterator[tuple[StoredBill, list[tuple[int, int]]]]:
    """Imports with the stretches of time of which no newer one tells, newest first."""
    told: list[tuple[int, int]] = []
    for one in sorted(imports, key=lambda one: -one.no):
        if times := without((one.from_ns, one.to_ns), told):
            yield one, times
            told = sorted([*told, (one.from_ns, one.to_ns)])


def without(whole: tuple[int, int], told: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """A stretch of time less others, which are sorted by their start."""
    start, end = whole
    left = []
    for taken, until in told:
        if taken > start:
            left.append((start, min(taken, end)))
        start = max(start, until)
        if start >= end:
            break
    return [piece for piece in (*left, (start, end)) if piece[0] < piece[1]]


def _cuts(line: BillLine, bill: Bill) -> bool:
    inside = bill.from_ns <= line.from_ns and line.to_ns <= bill.to_ns
    return not inside and line.from_ns < bill.to_ns and bill.from_ns < line.to_ns


def _payload(bill: Bill, label: Label) -> bytes:
    said: Mapping[str, Any] = {
        "aspect": bill.aspect, "provider": label.provider, "currency": bill.currency, "scope": dict(label.scope), "from_ns": bill.from_ns,
        "to_ns": bill.to_ns, "models": dict(label.models), "places": bill.places, "lines": [list(line) for line in bill.lines],
    }  # fmt: skip
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


def _stored(row: Sequence[Any]) -> StoredBill:
    no, tenant, name, aspect, provider, format_, currency, scope, from_ns, to_ns, lines, amount, digest, origin, who, at_ns = row
    label = Label(tenant, name, provider, orjson.loads(scope))
    return StoredBill(
        int(no), label, aspect, format_, currency, from_ns, to_ns, int(lines), int(amount), digest, origin, who, at_ns
    )  # fmt: skip


def _day(instant_ns: int) -> str:
    return format_ns(instant_ns)[:10]
