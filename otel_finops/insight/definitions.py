"""Saved scenarios and routing rules as they are stored: each change is a further row, and the last one of a number holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypeVar

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput, Conflict, Forbidden, NotFound
from otel_finops.base.limits import DEFINITIONS_MAX, DEFINITIONS_OF_TENANT_MAX
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.identity.principals import Editor
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Row, Transaction

Kind: TypeAlias = Literal["scenario", "routing"]
T = TypeVar("T")

_LOCK: Final = "SELECT pg_advisory_xact_lock(?)"
_LOCK_NO: Final = 5_270_411_906_021
"""Number of PostgreSQL's advisory lock for who changes definitions; any number that nobody else uses."""
_STANDING: Final = """
SELECT d.definition_no, d.name, d.tenant, d.said, d.revision, f.at_ns, f.who, d.at_ns, d.who, d.of_all
FROM (
  SELECT MIN(revision) AS first_no, MAX(revision) AS last_no FROM insight_definitions WHERE kind = ? GROUP BY definition_no
) AS one
JOIN insight_definitions AS d ON d.revision = one.last_no
JOIN insight_definitions AS f ON f.revision = one.first_no
WHERE d.action <> 'delete' ORDER BY d.definition_no
"""
_NEXT_NO: Final = "SELECT COALESCE(MAX(definition_no), 0) + 1 FROM insight_definitions WHERE kind = ?"
_INSERT: Final = (
    "INSERT INTO insight_definitions (kind, definition_no, action, tenant, name, said, who, at_ns, of_all) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING revision"
)
_WORDS: Final[Mapping[Kind, str]] = {"scenario": "scenario", "routing": "routing rule"}


class Definition(NamedTuple):
    """Something that people defined.

    Attributes:
        no: its number, never given twice within its kind.
        tenant: whose it is; `*`: of all.
        said: what it says, JSON values by name.
        revision: larger with each change.
        of_all: who made it sees all tenants: nobody who is bound to some changes it.
    """

    no: int
    name: str
    tenant: str
    said: Mapping[str, Any]
    revision: int = 0
    made_ns: int = 0
    made_by: str = ""
    changed_ns: int = 0
    changed_by: str = ""
    of_all: bool = False


class Definitions:
    """The definitions of one kind. Safe to use from many threads and processes: changes are made one after the other."""

    def __init__(self, store: Store, clock: Clock, kind: Kind) -> None:
        self._store = store
        self._clock = clock
        self._kind: Kind = kind

    def all(self, tenants: Collection[str] | None) -> list[Definition]:
        """Those of these tenants (None: everybody's), oldest first, as they are stored at this moment."""
        with self._store.read() as transaction:
            return [one for one in self._standing(transaction).values() if is_seen(one, tenants)]

    def find(self, no: int, tenants: Collection[str] | None) -> Definition:
        """The one of this number; raises NotFound when these tenants have none."""
        found = next((one for one in self.all(tenants) if one.no == no), None)
        if found is None:
            raise self._missing(no)
        return found

    def create(self, name: str, tenant: str, said: Mapping[str, Any], editor: Editor, *, dry_run: bool = False) -> Definition:
        """Make one.

        Raises:
            BadInput: a name that is taken, or too many of them.
        """

        def made(transaction: Transaction, held: Mapping[int, Definition]) -> Definition:
            self._check_room(held, tenant, editor)
            [(no,)] = transaction.execute(_NEXT_NO, (self._kind,))
            now_ns = self._clock.now_ns()
            blank = Definition(int(no), name, tenant, said, 0, now_ns, editor.who, of_all=editor.tenants is None)
            return self._stored(transaction, held, "create", blank, editor)

        return self._changing(made, dry_run)

    def update(
        self,
        no: int,
        name: str | None,
        change: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        editor: Editor,
        *,
        revision: int | None = None,
        dry_run: bool = False,
    ) -> tuple[Definition, Definition]:
        """Change one; returns it as it was and as it is, the same where nothing differs.

        Raises:
            NotFound: none such stands for whoever changes it.
            Forbidden: somebody made it who sees all tenants, and who changes it does not.
            Conflict: it is of another revision than was seen.
            BadInput: as `create`.
        """

        def edited(transaction: Transaction, held: Mapping[int, Definition]) -> tuple[Definition, Definition]:
            before = self._of(held, no, editor, revision)
            after = before._replace(name=name or before.name, said=change(before.said))
            return before, before if after == before else self._stored(transaction, held, "update", after, editor)

        return self._changing(edited, dry_run)

    def delete(self, no: int, editor: Editor, *, revision: int | None = None, dry_run: bool = False) -> Definition:
        """Take one away; returns it as it was. Its rows stay. Raises as `update`."""

        def taken(transaction: Transaction, held: Mapping[int, Definition]) -> Definition:
            before = self._of(held, no, editor, revision)
            self._insert(transaction, "delete", before, editor)
            return before

        return self._changing(taken, dry_run)

    def _changing(self, change: Callable[[Transaction, Mapping[int, Definition]], T], dry_run: bool) -> T:
        """Change while nobody else does; of a dry run nothing stays."""
        with self._store.write_or_try(dry_run=dry_run) as transaction:
            if transaction.engine_name == "postgresql":
                transaction.execute(_LOCK, (_LOCK_NO,))  # SQLite has one writer anyway
            return change(transaction, self._standing(transaction))

    def _standing(self, transaction: Transaction) -> dict[int, Definition]:
        return {int(row[0]): _definition(row) for row in transaction.execute(_STANDING, (self._kind,))}

    def _of(self, held: Mapping[int, Definition], no: int, editor: Editor, revision: int | None) -> Definition:
        one = held.get(no)
        if one is None or not is_seen(one, editor.tenants):
            raise self._missing(no)
        what = _WORDS[self._kind].capitalize()
        if one.of_all and editor.tenants is not None:
            raise Forbidden(f"{what} {no} was made by {one.made_by}, who sees all tenants; only such may change it.")
        if revision not in (None, one.revision):
            raise Conflict(f"{what} {no} is of revision {one.revision}, changed by {one.changed_by}; look at it again.")
        return one

    def _missing(self, no: int) -> NotFound:
        return NotFound(f"There is no {_WORDS[self._kind]} {no}.")

    def _check_room(self, held: Mapping[int, Definition], tenant: str, editor: Editor) -> None:
        if len(held) >= DEFINITIONS_MAX:
            raise BadInput(f"there are {len(held)} {_WORDS[self._kind]}s already; delete some")
        theirs = sum(1 for one in held.values() if not one.of_all and one.tenant == tenant)
        if editor.tenants is not None and theirs >= DEFINITIONS_OF_TENANT_MAX:
            raise BadInput(f"there are {theirs} {_WORDS[self._kind]}s of this tenant already; delete some")

    def _stored(self, transaction: Transaction, held: Mapping[int, Definition], action: str, one: Definition, editor: Editor) -> Definition:
        same = next((other for other in held.values() if (other.name, other.tenant) == (one.name, one.tenant)), one)
        if same.no != one.no:
            raise BadInput(f"name: {_WORDS[self._kind]} {same.no} is called so already")
        revision, now_ns = self._insert(transaction, action, one, editor)
        return one._replace(revision=revision, changed_ns=now_ns, changed_by=editor.who)

    def _insert(self, transaction: Transaction, action: str, one: Definition, editor: Editor) -> tuple[int, int]:
        now_ns = self._clock.now_ns()
        said = json.dumps(one.said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        row = (self._kind, one.no, action, one.tenant, one.name, said, editor.who, now_ns, one.of_all)
        [(revision,)] = transaction.execute(_INSERT, row)
        return int(revision), now_ns


def is_seen(one: Definition, tenants: Collection[str] | None) -> bool:
    """Whether who sees these tenants alone (None: all) sees this: what is of all tells of others' calls."""
    return tenants is None or ANY_TENANT in tenants or one.tenant in tenants


def _definition(row: Row) -> Definition:
    no, name, tenant, said, revision, made_ns, made_by, changed_ns, changed_by, of_all = row
    return Definition(
        int(no), name, tenant, json.loads(said), int(revision), int(made_ns), made_by, int(changed_ns), changed_by, bool(of_all)
    )
