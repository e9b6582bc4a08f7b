"""Definitions of pools of credits as they are stored: each change a further row, followed by every process."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput, Conflict, Forbidden, NotFound
from otel_finops.base.limits import CREDIT_POOLS_MAX, CREDIT_POOLS_OF_TENANT_MAX
from otel_finops.governance.credit_rates import CreditRates
from otel_finops.governance.credits import Heads, Pool, PoolSet, belongs, day_of, named
from otel_finops.governance.followed import Followed
from otel_finops.governance.postings import Cause, locked_books, new_book
from otel_finops.governance.scopes import Scope
from otel_finops.governance.subject_scopes import clear_scopes, stored_scope
from otel_finops.ledger.shards import SHARDS
from otel_finops.ledger.subjects import Subjects
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Row, Transaction

_REVISION: Final = "SELECT COALESCE(MAX(definition_no), 0) FROM credit_definitions"
_COLUMNS: Final = "definition_no, pool_no, body, heads, who, why, at_ns"
_SINCE: Final = f"SELECT {_COLUMNS} FROM credit_definitions WHERE definition_no > ? ORDER BY definition_no"
_FIRST: Final = f"SELECT {_COLUMNS} FROM credit_definitions WHERE pool_no = ? ORDER BY definition_no LIMIT 1"
_HISTORY: Final = f"SELECT {_COLUMNS} FROM credit_definitions WHERE pool_no = ? AND definition_no < ? ORDER BY definition_no DESC LIMIT ?"
_INSERT: Final = "INSERT INTO credit_definitions (pool_no, body, heads, who, why, at_ns) VALUES (?, ?, ?, ?, ?, ?) RETURNING definition_no"
_HEAD: Final = "SELECT COALESCE(MAX(seq), -1) FROM blocks WHERE shard = ?"
_ALONE: Final = "LOCK TABLE credit_definitions IN SHARE ROW EXCLUSIVE MODE"
_BESIDE: Final = "LOCK TABLE credit_definitions IN ROW EXCLUSIVE MODE"


class Draft(NamedTuple):
    """A pool that somebody wants to make; the fields are those of `Pool`, with clear ids in the scope."""

    name: str
    scope: Mapping[str, str]
    currency: str = "USD"
    hard: bool = True
    low: int | None = None
    from_ns: int | None = None
    to_ns: int | None = None


class Editor(NamedTuple):
    """Who changes a pool or moves its money.

    Attributes:
        who: for the record.
        why: the reason that he gives.
        tenants: whom he sees; None: all.
    """

    who: str
    why: str
    tenants: Collection[str] | None = None


def hold_pools(transaction: Transaction) -> None:
    """Keep the definitions of pools as they are until this transaction, which appends to the ledger, ends; others may append meanwhile.

    SQLite has one writer anyway.
    """
    if transaction.engine_name == "postgresql":
        transaction.execute(_BESIDE)


def followed_pools(store: Store, clock: Clock) -> Followed[PoolSet]:
    """All pools, for those who debit and decide."""
    return Followed("the pools of credits", store, clock, PoolSet(0, {}), _revision, _read_on)


class PoolStore:
    """Makes, changes and closes pools. Safe to use from many threads and processes: changes are made one after the other."""

    def __init__(self, store: Store, clock: Clock, subjects: Subjects, rates: CreditRates) -> None:
        self._store = store
        self._clock = clock
        self._subjects = subjects
        self._rates = rates
        self._followed = followed_pools(store, clock)

    def all(self) -> PoolSet:
        """All pools, closed ones too, as they are stored at this moment."""
        with self._store.read() as transaction:
            return self._followed.seen_by(transaction)

    def find(self, no: int, tenants: Collection[str] | None) -> Pool:
        """The pool of this number; raises NotFound when there is none that these tenants may see."""
        return found(self.all(), no, tenants)

    def history(self, no: int, tenants: Collection[str] | None, before_revision: int, limit: int) -> list[Pool]:
        """A page of a pool's definitions, newest first, those before a revision; raises NotFound as `find`."""
        with self._store.read() as transaction:
            first = [_pool(row, None) for row in transaction.execute(_FIRST, (no,))]
            if not first or not belongs(first[0], tenants):
                raise _missing(no)
            return [_pool(row, first[0]) for row in transaction.execute(_HISTORY, (no, before_revision, limit))]

    def clear(self, scopes: Iterable[Scope]) -> list[dict[str, str]]:
        """Scopes as people wrote them, in the same order."""
        with self._store.read() as transaction:
            return clear_scopes(transaction, self._subjects, scopes)

    def create(self, draft: Draft, amount: int, editor: Editor, *, dry_run: bool = False) -> Pool:
        """Make a pool.

        Args:
            amount: what is put in at once; 0 for nothing.

        Raises:
            BadInput: a name that is taken, a currency without any rate, or too many pools.
        """

        def made(transaction: Transaction, held: PoolSet, now_ns: int) -> Pool:
            scope = stored_scope(transaction, self._subjects, draft.scope)
            _check_room(held, scope.tenant, editor)
            self._rates.looked_up(transaction, draft.currency, day_of(now_ns))
            no = new_book(transaction, hard=draft.hard, low=draft.low).no
            pool = Pool(no, **{**draft._asdict(), "scope": scope, "of_all": editor.tenants is None})
            return self._stored(transaction, held, pool, editor, now_ns, amount)

        return self._changing(made, dry_run)

    def update(self, no: int, changes: Mapping[str, Any], editor: Editor, revision: int | None, *, dry_run: bool = False) -> Pool:
        """Change a pool's `name`, `hard` or `low`.

        Args:
            revision: the revision that whoever changes it has seen; None: whichever it is.

        Raises:
            NotFound: there is none that is his to see.
            Forbidden: somebody made it who sees all tenants, and who changes it does not.
            Conflict: it is of another revision than was seen.
            BadInput: it is closed, or the name is taken.
        """

        def changed(transaction: Transaction, held: PoolSet, now_ns: int) -> Pool:
            before = changeable(held, no, editor)
            _check_open(before)
            _check_seen(before, revision)
            after = before._replace(**changes)
            return before if after == before else self._stored(transaction, held, after, editor, now_ns)

        return self._changing(changed, dry_run)

    def close(self, no: int, editor: Editor, *, dry_run: bool = False) -> Pool:
        """Let a pool pay for no further call; what it paid can be corrected, and its balance stays until it is adjusted away.

        Raises:
            NotFound, Forbidden: as `update`.
            BadInput: it is closed already.
        """

        def closed(transaction: Transaction, held: PoolSet, now_ns: int) -> Pool:
            pool = changeable(held, no, editor)
            _check_open(pool)
            return self._stored(transaction, held, pool._replace(closed_heads=_heads(transaction)), editor, now_ns)

        return self._changing(closed, dry_run)

    def _changing(self, change: Callable[[Transaction, PoolSet, int], Pool], dry_run: bool) -> Pool:
        """Change while nobody else does and nobody appends; of a dry run nothing stays."""
        with self._store.write_or_try(dry_run=dry_run) as transaction:
            if transaction.engine_name == "postgresql":
                transaction.execute(_ALONE)
            done = change(transaction, _read_on(transaction, self._followed.seen_by(transaction)), self._clock.now_ns())
            transaction.after_commit(self._followed.look_again)
        return done

    def _stored(self, transaction: Transaction, held: PoolSet, pool: Pool, editor: Editor, now_ns: int, amount: int = 0) -> Pool:
        other = named(held, pool.name, pool.tenant)
        if other is not None and other.no != pool.no:
            raise BadInput(f"name: pool {other.no} is called so already")
        book = locked_books(transaction, [pool.no])[pool.no]
        cause = Cause(now_ns, editor.who, editor.why)
        book.define(hard=pool.hard, low=pool.low, is_open=pool.is_open, cause=cause)
        book.fund(amount, None, cause)
        book.save(now_ns)
        heads = json.dumps(_heads(transaction))
        [(revision,)] = transaction.execute(_INSERT, (pool.no, _body(pool), heads, editor.who, editor.why, now_ns))
        [row] = transaction.execute(f"SELECT {_COLUMNS} FROM credit_definitions WHERE definition_no = ?", (revision,))
        return _pool(row, held.get(pool.no))


def found(held: PoolSet, no: int, tenants: Collection[str] | None) -> Pool:
    """The pool of this number; raises NotFound when there is none that these tenants may see."""
    pool = held.get(no)
    if pool is None or not belongs(pool, tenants):
        raise _missing(no)
    return pool


def changeable(held: PoolSet, no: int, editor: Editor) -> Pool:
    """The pool that somebody wants to change, if it is his to change; raises NotFound and Forbidden where it is not."""
    pool = found(held, no, editor.tenants)
    if pool.of_all and editor.tenants is not None:
        raise Forbidden(f"Pool {no} was made by {pool.made_by}, who sees all tenants; only such may change it or move its money.")
    return pool


def _missing(no: int) -> NotFound:
    return NotFound(f"There is no pool {no}.")


def _check_open(pool: Pool) -> None:
    if not pool.is_open:
        raise BadInput(f"no: pool {pool.no} was closed by {pool.changed_by}; make another one")


def _check_seen(pool: Pool, revision: int | None) -> None:
    if revision not in (None, pool.revision):
        raise Conflict(f"Pool {pool.no} is of revision {pool.revision}, changed by {pool.changed_by}; look at it again.")


def _check_room(held: PoolSet, tenant: str | None, editor: Editor) -> None:
    """Refuse what would be one pool too many."""
    if len(held) >= CREDIT_POOLS_MAX:
        raise BadInput(f"there are {len(held)} pools already, closed ones included; use those that there are")
    if editor.tenants is not None and sum(not one.of_all and one.tenant == tenant for one in held) >= CREDIT_POOLS_OF_TENANT_MAX:
        raise BadInput(f"there are {CREDIT_POOLS_OF_TENANT_MAX} pools of this tenant already, closed ones included")


def _heads(transaction: Transaction) -> Heads:
    return tuple(int(transaction.execute(_HEAD, (shard,))[0][0]) for shard in range(SHARDS))


def _revision(transaction: Transaction) -> int:
    return int(transaction.execute(_REVISION)[0][0])


def _read_on(transaction: Transaction, held: PoolSet) -> PoolSet:
    """All pools by now, from those of an earlier revision."""
    pools = {one.no: one for one in held}
    revision = held.revision
    for row in transaction.iterate(_SINCE, (revision,)):
        revision = int(row[0])
        pools[int(row[1])] = _pool(row, pools.get(int(row[1])))
    return PoolSet(revision, pools)


def _body(pool: Pool) -> str:
    said = {
        "name": pool.name, "scope": pool.scope.parts, "currency": pool.currency, "hard": pool.hard,
        "low": None if pool.low is None else str(pool.low), "from_ns": pool.from_ns, "to_ns": pool.to_ns, "closed": not pool.is_open,
        "of_all": pool.of_all,
    }  # fmt: skip
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def _pool(row: Row, former: Pool | None) -> Pool:
    revision, no, body, heads, who, why, at_ns = row
    said = json.loads(body)
    here: Heads = tuple(json.loads(heads))
    at_ns = int(at_ns)
    return Pool(
        int(no),
        said["name"],
        Scope(tuple((name, value) for name, value in said["scope"])),
        said["currency"],
        said["hard"],
        None if said["low"] is None else int(said["low"]),
        said["from_ns"],
        said["to_ns"],
        heads=here if former is None else former.heads,
        closed_heads=here if said["closed"] else None,
        revision=int(revision),
        made_ns=at_ns if former is None else former.made_ns,
        made_by=who if former is None else former.made_by,
        changed_ns=at_ns,
        changed_by=who,
        why=why,
        of_all=said["of_all"],
    )
