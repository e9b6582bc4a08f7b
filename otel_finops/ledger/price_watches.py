"""Which models' prices somebody watches; rows are added and never changed, a further one ends a watch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput, NotFound
from otel_finops.base.limits import PRICE_WATCHES_MAX
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.base.times import NS_PER_DAY
from otel_finops.ledger.entry import ROLE_CALL, Entry
from otel_finops.ledger.price_store import stored_lists
from otel_finops.ledger.rows import entries_of_traces
from otel_finops.ledger.standing import fold
from otel_finops.ledger.tenants import Tenants, restricted
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

_TRACES_AT_ONCE: Final = 500
_TENANTS: Final = "SELECT DISTINCT tenant FROM rollup_dims ORDER BY tenant"
_SELECT: Final = "SELECT watch_no, ends_no, tenant, provider, model, at_ns, who FROM price_watches ORDER BY watch_no"
_INSERT: Final = "INSERT INTO price_watches (ends_no, tenant, provider, model, at_ns, who) VALUES (?, ?, ?, ?, ?, ?) RETURNING watch_no"


class Watch(NamedTuple):
    """A watched model.

    Attributes:
        no: its number, never given twice.
        tenant: whose calls it is about; `*`: all.
        provider, model: as spans name them; None: any provider.
        since_ns, who: when and by whom it was set.
    """

    no: int
    tenant: str
    provider: str | None
    model: str
    since_ns: int
    who: str


class PriceWatches:
    """The watches of one ledger. Safe to use from many threads and processes."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def all(self, tenants: Tenants) -> list[Watch]:
        """The watches that these tenants (None: everybody) may see, oldest first; those of all tenants are everybody's."""
        with self._store.read() as transaction:
            return [watch for watch in _standing(transaction) if _sees(tenants, watch.tenant)]

    def add(self, tenant: str, provider: str | None, model: str, *, who: str) -> tuple[Watch, bool]:
        """Watch a model; one that is watched so already is given back as it is, with False.

        Raises:
            BadInput: there are too many watches.
        """
        now_ns = self._clock.now_ns()
        with self._store.write() as transaction:
            standing = _standing(transaction)
            for watch in standing:
                if (watch.tenant, watch.provider, watch.model) == (tenant, provider, model):
                    return watch, False
            if len(standing) >= PRICE_WATCHES_MAX:
                raise BadInput(f"there are {PRICE_WATCHES_MAX} watches already; end one (prices.unwatch)")
            [(no,)] = transaction.execute(_INSERT, (None, tenant, provider, model, now_ns, who))
        return Watch(int(no), tenant, provider, model, now_ns, who), True

    def end(self, no: int, tenants: Tenants, *, who: str) -> tuple[Watch, bool]:
        """End a watch; one that was ended already is given back with False.

        Raises:
            NotFound: there never was one of this number for these tenants.
        """
        allowed = restricted(tenants)
        with self._store.write() as transaction:
            watch = next((one for one in _ever(transaction) if one.no == no), None)
            if watch is None or not (allowed is None or watch.tenant in allowed):
                raise NotFound(f"There is no watch {no}.")
            if watch not in _standing(transaction):
                return watch, False
            transaction.execute(_INSERT, (no, watch.tenant, watch.provider, watch.model, self._clock.now_ns(), who))
        return watch, True


def calls_priced_by(transaction: Transaction, tenants: Tenants, keys: Collection[str], from_ns: int, to_ns: int) -> Iterator[Entry]:
    """Standing calls of these tenants that started in [from_ns, to_ns) and were priced by one of these rows of a price list, a day
    at a time; prices that the operator's rules made are not among them.
    """
    allowed = restricted(tenants)
    owners = sorted(allowed) if allowed is not None else [name for (name,) in transaction.execute(_TENANTS)]
    versions = {stored.version for stored in stored_lists(transaction)}
    for day_ns in range(from_ns, to_ns, NS_PER_DAY):
        end_ns = min(to_ns, day_ns + NS_PER_DAY)
        found = {no for owner in owners for no in _traces(transaction, owner, sorted(keys), day_ns, end_ns)}
        for numbers in _chunks(sorted(found)):
            for net in fold(entries_of_traces(transaction, numbers)).values():
                meant = net.role == ROLE_CALL and net.price_key in keys and net.price_version in versions
                if meant and day_ns <= net.started_ns < end_ns and (allowed is None or net.tenant in allowed):
                    yield net


def _traces(transaction: Transaction, owner: str, keys: Sequence[str], from_ns: int, to_ns: int) -> Iterator[int]:
    marks = ", ".join("?" * len(keys))
    sql = f"SELECT DISTINCT trace_no FROM entries WHERE tenant = ? AND started_ns >= ? AND started_ns < ? AND price_key IN ({marks})"
    yield from (no for (no,) in transaction.execute(sql, (owner, from_ns, to_ns, *keys)))


def _chunks(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    yield from (numbers[start : start + _TRACES_AT_ONCE] for start in range(0, len(numbers), _TRACES_AT_ONCE))


def _standing(transaction: Transaction) -> list[Watch]:
    ended = {ends_no for _, ends_no, *_ in transaction.execute(_SELECT)}
    return [watch for watch in _ever(transaction) if watch.no not in ended]


def _ever(transaction: Transaction) -> list[Watch]:
    """Every watch that ever was, oldest first."""
    return [Watch(no, *said) for no, ends_no, *said in transaction.execute(_SELECT) if ends_no is None]


def _sees(tenants: Tenants, tenant: str) -> bool:
    return tenants is None or tenant == ANY_TENANT or tenant in tenants
