"""Prepaid pools of credits as values: what they are, which of them pays a call, and what an entry takes from which.

A call is paid by one pool: of all that are for it the one that names most dimensions, of several such the oldest. A pool pays what is
booked from its making on until it is closed, corrections and reversals of that included for ever; so its scope, its currency and its
time never change, and an entry always meets the pool that met the charge which it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from otel_finops.base.times import format_ns
from otel_finops.governance.calls import GovernedCall, call_of_entry
from otel_finops.governance.scopes import Scope, ScopeIndex
from otel_finops.ledger.entry import CHARGE, REVERSAL, ROLE_CALL, Entry
from otel_finops.ledger.standing import Standing, follow

Heads: TypeAlias = tuple[int, ...]
"""The last block of each shard at a moment, by shard; -1 for none."""
Converted: TypeAlias = Callable[[str, str, int], int]
"""(currency, day, pico-USD) -> millionths of a millionth of the currency."""
_NO_TIME: Final = 2**63 - 1


class Pool(NamedTuple):
    """A pool as its last definition says.

    Attributes:
        no: its number, never given twice.
        name: what people call it; no two open ones of one tenant (or of several) have the same.
        scope: whose calls it pays.
        currency: ISO code of all its amounts.
        hard: a call that it cannot pay is halted, and its balance never falls below 0; a soft pool only tells.
        low: below which level people are told, in millionths of a millionth of the currency; None: they are not.
        from_ns, to_ns: it pays calls that start in this time; None: without a bound.
        heads: it pays what was booked after these blocks.
        closed_heads: and before the blocks after these; None: it is open.
        revision: of the last definition; larger than that of every earlier change of any pool.
        made_ns, made_by, changed_ns, changed_by, why: who made it and changed it last, when and for what reason.
        of_all: who made it sees all tenants: nobody who is bound to some changes it or puts money in.
    """

    no: int
    name: str
    scope: Scope = Scope()
    currency: str = "USD"
    hard: bool = True
    low: int | None = None
    from_ns: int | None = None
    to_ns: int | None = None
    heads: Heads = ()
    closed_heads: Heads | None = None
    revision: int = 0
    made_ns: int = 0
    made_by: str = ""
    changed_ns: int = 0
    changed_by: str = ""
    why: str = ""
    of_all: bool = True

    @property
    def tenant(self) -> str | None:
        """Whose it is: the tenant of its scope; None: it pays calls of several."""
        return self.scope.tenant

    @property
    def is_open(self) -> bool:
        """Whether it pays for further calls."""
        return self.closed_heads is None

    def runs_at(self, instant_ns: int) -> bool:
        """Whether it pays calls that start then."""
        return (self.from_ns or 0) <= instant_ns < (_NO_TIME if self.to_ns is None else self.to_ns)

    def pays_booked(self, shard: int, block_seq: int) -> bool:
        """Whether it pays calls whose charge was booked in this block."""
        return block_seq > _head(self.heads, shard) and (self.closed_heads is None or block_seq <= _head(self.closed_heads, shard))


class Moved(NamedTuple):
    """What a block's entries take from a pool; less than nothing where they give back."""

    amount: int
    calls: int


class PoolSet:
    """All pools at one revision, closed ones too; never changed.

    Attributes:
        revision: the last change of any pool that is in it; 0: there never was one.
    """

    def __init__(self, revision: int, pools: Mapping[int, Pool]) -> None:
        self.revision = revision
        self._by_no = dict(sorted(pools.items()))
        self._all = ScopeIndex((one.scope, one.no) for one in self._by_no.values())
        self._open = ScopeIndex((one.scope, one.no) for one in self._by_no.values() if one.is_open)

    def __len__(self) -> int:
        return len(self._by_no)

    def __iter__(self) -> Iterator[Pool]:
        """By number."""
        return iter(self._by_no.values())

    def get(self, no: int) -> Pool | None:
        """The pool of a number; None when there never was one."""
        return self._by_no.get(no)

    def for_asked(self, call: GovernedCall) -> Pool | None:
        """The pool that would pay a call that somebody wants to make."""
        found = (self._by_no[no] for no in self._open.of(call))
        return _payer(one for one in found if one.runs_at(call.at_ns))

    def for_booked(self, call: GovernedCall, shard: int, block_seq: int) -> Pool | None:
        """The pool that pays a call whose charge stands in a block."""
        found = (self._by_no[no] for no in self._all.of(call))
        return _payer(one for one in found if one.runs_at(call.at_ns) and one.pays_booked(shard, block_seq))

    def moved(self, entries: Iterable[Entry], converted: Converted) -> dict[int, Moved]:
        """What entries take from each pool, by its number: of what they change the new state less the old one, each converted as a
        whole by the rate of the day on which the call started, so that the sum over all entries of a call is always what stands."""
        amounts: dict[int, int] = {}
        calls: dict[int, set[int]] = {}
        for at, entry in enumerate(entries):
            for state, side in _states(entry):
                pool = self.for_booked(call_of_entry(state, 0), *_opened(entry)) if state.cost_pico else None
                if pool is not None:
                    amount = converted(pool.currency, day_of(state.started_ns), state.cost_pico or 0)
                    amounts[pool.no] = amounts.get(pool.no, 0) + side * amount
                    calls.setdefault(pool.no, set()).add(at)
        return {no: Moved(amounts[no], len(calls[no])) for no in sorted(amounts)}

    def currency_days(self, entries: Sequence[Entry]) -> set[tuple[str, str]]:
        """The currencies other than USD and days whose rates `moved` may ask for."""
        currencies = {one.currency for one in self._by_no.values()} - {"USD"}
        return {(currency, day_of(entry.started_ns)) for entry in entries for currency in currencies} if currencies else set()


def day_of(instant_ns: int) -> str:
    """The day (UTC) of an instant, by which money is converted."""
    return format_ns(instant_ns)[:10]


def named(pools: Iterable[Pool], name: str, tenant: str | None) -> Pool | None:
    """The open pool of this name and tenant; None when none is called so."""
    return next((one for one in pools if one.is_open and one.name == name and one.tenant == tenant), None)


def belongs(pool: Pool, tenants: Collection[str] | None) -> bool:
    """Whether a pool is one of these tenants' (None: all are)."""
    return tenants is None or pool.tenant in tenants


def _head(heads: Heads, shard: int) -> int:
    return heads[shard] if shard < len(heads) else -1


def _payer(pools: Iterable[Pool]) -> Pool | None:
    return min(pools, key=lambda one: (-len(one.scope.parts), one.no), default=None)


def _states(entry: Entry) -> Iterator[tuple[Entry, int]]:
    """The states that an entry makes (1) and unmakes (-1)."""
    if entry.role != ROLE_CALL:
        return
    if entry.kind == CHARGE:
        yield entry, 1
    elif entry.kind == REVERSAL:
        yield entry._replace(cost_pico=-(entry.cost_pico or 0)), -1
    else:
        before = entry.before
        if before is None:
            raise ValueError(f"a {entry.kind} reached the pools of credits without the state before it")
        after = follow(Standing(before, entry.revision - 1), entry).net
        assert after is not None
        yield before, -1
        yield after, 1


def _opened(entry: Entry) -> tuple[int, int]:
    """Shard and block of the charge that an entry makes or changes."""
    if entry.kind == CHARGE:
        return entry.shard, entry.block_seq
    if entry.kind == REVERSAL:
        shard, block_seq, _ = (entry.reverses or "").split("-")
        return int(shard), int(block_seq)
    assert entry.before is not None
    return entry.before.shard, entry.before.block_seq
