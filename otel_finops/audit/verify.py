"""`audit verify`: walks the chains entry by entry in constant memory and says where each first breaks.

Found by the walk alone: entries that were edited, deleted, inserted or swapped, and columns that say another thing than their entry.
An end that was cut off is sound in itself: only a head that was kept elsewhere shows it (`audit.head`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from otel_finops.audit.chain import NO_HASH, Link, link_hash
from otel_finops.audit.pruning import PRUNED
from otel_finops.base.limits import AUDIT_FAULTS_MAX
from otel_finops.base.progress import tell
from otel_finops.base.times import format_ns
from otel_finops.store.unit_of_work import Row, Transaction

_TOLD_EACH: Final = 4_096
"""Entries between two reports of how far the walk is."""
_SELECT: Final = "SELECT tenant, seq, prev, hash, body, at_ns, who, what, outcome FROM audit_entries"
_KINDS: Final = (str, int, bytes, bytes, bytes, int, str, str, str)
"""Of the columns: SQLite holds in any of them whatever somebody writes there."""
_ANCHORS: Final = "SELECT tenant, seq, hash FROM audit_anchors"


class AuditFault(NamedTuple):
    """The first place at which a chain breaks: tenant, number of the entry, and a sentence for people."""

    tenant: str
    seq: int
    what: str


class Report(NamedTuple):
    """What the walk found.

    Attributes:
        chains, entries: how many were walked.
        pruned: entries that retention took away from the beginnings of chains; what is left follows on them.
        faults: one for every chain that is broken, in the order of tenants; the first hundred.
        broken: how many chains are broken.
    """

    chains: int
    entries: int
    pruned: int
    faults: tuple[AuditFault, ...]
    broken: int

    def plus(self, faults: Iterable[AuditFault]) -> Report:
        """With what another look at the same chains found; a chain that is known to be broken counts once."""
        known = {fault.tenant for fault in self.faults}
        more = [fault for fault in faults if fault.tenant not in known]
        return self._replace(faults=(*self.faults, *more)[:AUDIT_FAULTS_MAX], broken=self.broken + len(more))


def verify(transaction: Transaction, tenants: Collection[str] | None) -> Report:
    """Walk the chains of these tenants; None: all."""
    where, params = _of(tenants)
    begins = dict(map(_begin, transaction.execute(f"{_ANCHORS}{where}", params)))
    walk = _Walk(begins)
    for number, row in enumerate(transaction.iterate(f"{_SELECT}{where} ORDER BY tenant, seq", params)):
        walk.see(row)
        if not number % _TOLD_EACH:
            tell("entries", number)
    return walk.report()


def _begin(row: Row) -> tuple[str, Link]:
    """After which entry a chain begins; an anchor of other kinds says nothing, and what it hid is missing."""
    return str(row[0]), Link(row[1], row[2]) if all(map(isinstance, row, (str, int, bytes))) else Link(0, NO_HASH)


def _of(tenants: Collection[str] | None) -> tuple[str, tuple[Any, ...]]:
    if tenants is None:
        return "", ()
    return f" WHERE tenant IN ({', '.join('?' * len(tenants))})" if tenants else " WHERE 1 = 0", tuple(sorted(tenants))


class _Walk:
    """Where the walk is: the chain, its last entry, and what was found so far.

    Args:
        begins: after which entry what is left of a pruned chain begins.
    """

    def __init__(self, begins: dict[str, Link]) -> None:
        self._begins = begins
        self._unseen = set(begins)
        self._tenant: str | None = None
        self._last = self._pruned = Link(0, NO_HASH)
        self._is_broken = False
        self._faults: list[AuditFault] = []
        self._chains = self._entries = self._broken = 0

    def see(self, row: Row) -> None:
        """The next entry."""
        tenant = row[0] if isinstance(row[0], str) else repr(row[0])
        if tenant != self._tenant:
            self._end_chain()
            self._tenant, self._is_broken = tenant, False
            self._last, self._pruned = self._begins.get(tenant, Link(0, NO_HASH)), Link(0, NO_HASH)
            self._unseen.discard(tenant)
            self._chains += 1
        self._entries += 1
        if self._is_broken:
            return
        if not all(map(isinstance, row, _KINDS)):
            self._tell(AuditFault(tenant, self._last.seq + 1, "it was changed: what its columns hold is of another kind"))
            return
        _, seq, prev, hash_, body, *columns = row
        self._tell(self._fault(seq, prev, hash_, body, columns))
        if columns[2] == PRUNED and not self._is_broken:
            self._tell(self._noted(seq, json.loads(body)))
        self._last = Link(seq, hash_)

    def _noted(self, seq: int, said: Mapping[str, Any]) -> AuditFault | None:
        """Take up what an entry says was pruned; anybody can write one that hangs together and says nonsense."""
        try:
            self._pruned = Link(said["after"]["seq"], bytes.fromhex(said["after"]["hash"]))
        except (KeyError, TypeError, ValueError):
            assert self._tenant is not None
            return AuditFault(self._tenant, seq, "it does not say which entries were taken away")
        return None

    def report(self) -> Report:
        """All of it."""
        self._end_chain()
        for tenant in sorted(self._unseen):
            self._tell(AuditFault(tenant, self._begins[tenant].seq + 1, "all entries are missing"))
        pruned = sum(begin.seq for begin in self._begins.values())
        return Report(self._chains, self._entries, pruned, tuple(self._faults), self._broken)

    def _end_chain(self) -> None:
        """A beginning that went must be named by an entry that is left."""
        begin = None if self._tenant is None else self._begins.get(self._tenant)
        if self._tenant is not None and begin is not None and not self._is_broken and begin != self._pruned:
            self._tell(AuditFault(self._tenant, begin.seq, "the entries up to this one were taken away, and no entry says so"))

    def _tell(self, fault: AuditFault | None) -> None:
        if fault is None:
            return
        self._is_broken = True
        self._broken += 1
        if len(self._faults) < AUDIT_FAULTS_MAX:
            self._faults.append(fault)

    def _fault(self, seq: int, prev: bytes, hash_: bytes, body: bytes, columns: list[Any]) -> AuditFault | None:
        assert self._tenant is not None
        expected = self._last.seq + 1
        if seq != expected:
            missing = f"entries {expected} to {seq - 1} are missing" if seq > expected else "an entry stands before the chain's beginning"
            return AuditFault(self._tenant, expected, missing)
        if prev != self._last.hash:
            return AuditFault(self._tenant, seq, "it does not follow on the entry before: one of the two was replaced")
        if hash_ != link_hash(prev, body):
            return AuditFault(self._tenant, seq, "it was changed: its hash is another one")
        if not isinstance(_parsed(body), Mapping):
            return AuditFault(self._tenant, seq, "it is no entry: its body is no JSON object")
        if wrong := sorted(_differing(self._tenant, seq, body, columns)):
            return AuditFault(self._tenant, seq, f"its columns say another thing than what was recorded: {', '.join(wrong)}")
        return None


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _differing(tenant: str, seq: int, body: bytes, columns: list[Any]) -> Iterator[str]:
    """The columns that do not repeat what the entry says."""
    at_ns, who, what, outcome = columns
    shown = {"tenant": tenant, "seq": seq, "at": format_ns(at_ns), "who": who, "what": what, "outcome": outcome}
    said = json.loads(body)
    return (name for name, value in shown.items() if said.get(name) != value)
