"""Definitions of cost centres and of rules for shared costs as they are stored: each change a further row, none is ever taken away.

Reports are asked for now and then, so definitions are read when one is made and not held in memory; at any earlier revision they are
what they were then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Literal, TypeAlias, TypeVar

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput, Conflict, Forbidden, NotFound
from otel_finops.base.limits import (
    ALLOCATION_RULES_MAX,
    ALLOCATION_RULES_OF_TENANT_MAX,
    COST_CENTERS_MAX,
    COST_CENTERS_OF_TENANT_MAX,
)
from otel_finops.identity.principals import Editor
from otel_finops.insight.cost_centers import Book, CostCenter, Rule, check_place, check_rule
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Row, Transaction

_ALONE: Final = "LOCK TABLE cost_center_definitions IN SHARE ROW EXCLUSIVE MODE"
_COLUMNS: Final = "revision, kind, no, action, tenant, name, definition, who, at_ns, of_all"
_ALL: Final = f"SELECT {_COLUMNS} FROM cost_center_definitions WHERE revision <= ? ORDER BY revision"
_INSERT: Final = (
    "INSERT INTO cost_center_definitions (kind, no, action, tenant, name, definition, who, at_ns, of_all) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING revision"
)
_NEXT: Final = "SELECT COALESCE(MAX(no), 0) + 1 FROM cost_center_definitions WHERE kind = ?"
_LAST: Final = 2**62
_CENTER_FIELDS: Final = ("name", "owner", "department", "parent")
_RULE_FIELDS: Final = (
    "source", "amount", "monthly", "method", "weight", "targets", "shares", "tag", "values", "from_day", "to_day", "place", "enabled",
)  # fmt: skip

Kind: TypeAlias = Literal["center", "rule"]
Defined = TypeVar("Defined", CostCenter, Rule)
Made = TypeVar("Made")


def read_book(transaction: Transaction, revision: int | None = None) -> Book:
    """All definitions that stand, or that stood at a revision.

    Raises:
        BadInput: there never was such a revision.
    """
    centers: dict[int, CostCenter] = {}
    rules: dict[int, Rule] = {}
    last = 0
    for row in transaction.iterate(_ALL, (_LAST if revision is None else revision,)):
        last, kind, no, action = int(row[0]), row[1], int(row[2]), row[3]
        if kind == "center":
            _followed(centers, no, None if action == "delete" else _center(row, centers.get(no)))
        else:
            _followed(rules, no, None if action == "delete" else _rule(row, rules.get(no)))
    if revision is not None and revision != last:
        raise BadInput(f"revision: there is none of this number; the one before it is {last}")
    return Book(last, centers.values(), rules.values())


def _followed(standing: dict[int, Defined], no: int, now: Defined | None) -> None:
    if now is None:
        standing.pop(no, None)
    else:
        standing[no] = now


class CostCenterStore:
    """Makes and changes cost centres and rules. Safe to use from many threads and processes: changes are made one after the other."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def book(self, revision: int | None = None) -> Book:
        """See `read_book`."""
        with self._store.read() as transaction:
            return read_book(transaction, revision)

    def create_center(self, center: CostCenter, editor: Editor, *, dry_run: bool = False) -> CostCenter:
        """Make a cost centre; its number and who made it are filled in.

        Raises:
            BadInput: a field that can be none, a code that is taken, a parent that is none, or too many.
        """

        def made(transaction: Transaction, book: Book) -> CostCenter:
            one = center._replace(no=_next(transaction, "center"), of_all=editor.tenants is None).checked()
            _check_room(list(book.centers.values()), one, editor, COST_CENTERS_MAX, COST_CENTERS_OF_TENANT_MAX, "cost centres")
            check_place(book, one)
            return self._stored(transaction, "create", one, None, editor)

        return self._changing(made, dry_run)

    def update_center(
        self, no: int, changes: Mapping[str, Any], editor: Editor, revision: int | None, *, dry_run: bool = False
    ) -> tuple[CostCenter, CostCenter]:
        """Change a cost centre's `name`, `owner`, `department` or `parent`; as it was and as it is, the same where nothing differs.

        Raises:
            NotFound: there is none that is his to see.
            Forbidden: somebody made it who sees all tenants, and who changes it does not.
            Conflict: it is of another revision than was seen.
            BadInput: as `create_center`.
        """

        def changed(transaction: Transaction, book: Book) -> tuple[CostCenter, CostCenter]:
            before = _changeable(book.centers.get(no), no, editor, revision, "cost centre")
            after = before._replace(**changes).checked()
            check_place(book, after)
            return before, before if after == before else self._stored(transaction, "update", after, before, editor)

        return self._changing(changed, dry_run)

    def delete_center(self, no: int, editor: Editor, revision: int | None, *, dry_run: bool = False) -> CostCenter:
        """Take a cost centre away; what its calls cost is then shown under its code alone.

        Raises:
            NotFound, Forbidden, Conflict: as `update_center`.
            BadInput: others are a part of it, or rules give to it.
        """

        def taken(transaction: Transaction, book: Book) -> CostCenter:
            one = _changeable(book.centers.get(no), no, editor, revision, "cost centre")
            if within := book.within(one):
                raise BadInput(f"no: {within[0].code} is a part of it; give it another parent first")
            if naming := book.naming(one):
                raise BadInput(f"no: rule {naming[0].no} ({naming[0].name}) gives to it; change that first")
            return self._stored(transaction, "delete", one, one, editor)

        return self._changing(taken, dry_run)

    def create_rule(self, rule: Rule, editor: Editor, *, dry_run: bool = False) -> Rule:
        """Make a rule; its number and who made it are filled in.

        Raises:
            BadInput: what contradicts itself, a name that is taken, a target that is no cost centre, or too many.
        """

        def made(transaction: Transaction, book: Book) -> Rule:
            one = rule._replace(no=_next(transaction, "rule"), of_all=editor.tenants is None).checked()
            _check_room(list(book.rules.values()), one, editor, ALLOCATION_RULES_MAX, ALLOCATION_RULES_OF_TENANT_MAX, "rules")
            check_rule(book, one)
            return self._stored(transaction, "create", one, None, editor)

        return self._changing(made, dry_run)

    def update_rule(
        self, no: int, change: Callable[[Rule], Rule], editor: Editor, revision: int | None, *, dry_run: bool = False
    ) -> tuple[Rule, Rule]:
        """Change a rule; as it was and as it is. Raises as `update_center` and `create_rule`."""

        def changed(transaction: Transaction, book: Book) -> tuple[Rule, Rule]:
            before = _changeable(book.rules.get(no), no, editor, revision, "rule")
            after = change(before).checked()
            check_rule(book, after)
            return before, before if after == before else self._stored(transaction, "update", after, before, editor)

        return self._changing(changed, dry_run)

    def delete_rule(self, no: int, editor: Editor, revision: int | None, *, dry_run: bool = False) -> Rule:
        """Take a rule away. Raises NotFound, Forbidden and Conflict as `update_center`."""

        def taken(transaction: Transaction, book: Book) -> Rule:
            one = _changeable(book.rules.get(no), no, editor, revision, "rule")
            return self._stored(transaction, "delete", one, one, editor)

        return self._changing(taken, dry_run)

    def _changing(self, change: Callable[[Transaction, Book], Made], dry_run: bool) -> Made:
        """Change while nobody else does; of a dry run nothing stays."""
        with self._store.write_or_try(dry_run=dry_run) as transaction:
            if transaction.engine_name == "postgresql":
                transaction.execute(_ALONE)
            return change(transaction, read_book(transaction))

    def _stored(self, transaction: Transaction, action: str, one: Defined, before: Defined | None, editor: Editor) -> Defined:
        now_ns = self._clock.now_ns()
        is_center = isinstance(one, CostCenter)
        kind, name = ("center", one.code) if isinstance(one, CostCenter) else ("rule", one.name)
        fields = _CENTER_FIELDS if is_center else _RULE_FIELDS
        definition = json.dumps({field: getattr(one, field) for field in fields}, ensure_ascii=False, separators=(",", ":"))
        row = (kind, one.no, action, one.tenant or "", name, definition, editor.who, now_ns, one.of_all)
        [(revision,)] = transaction.execute(_INSERT, row)
        made_ns, made_by = (now_ns, editor.who) if before is None else (before.made_ns, before.made_by)
        return one._replace(revision=int(revision), made_ns=made_ns, made_by=made_by, changed_ns=now_ns, changed_by=editor.who)


def is_seen(one: CostCenter | Rule, tenants: Collection[str] | None) -> bool:
    """Whether a definition belongs to these tenants alone, None for everybody."""
    return tenants is None or one.tenant in tenants


def _changeable(one: Defined | None, no: int, editor: Editor, revision: int | None, what: str) -> Defined:
    if one is None or not is_seen(one, editor.tenants):
        raise NotFound(f"There is no {what} {no}.")
    if one.of_all and editor.tenants is not None:
        raise Forbidden(f"The {what} {no} was made by {one.made_by}, who sees all tenants; only such may change it.")
    if revision not in (None, one.revision):
        raise Conflict(f"The {what} {no} is of revision {one.revision}, changed by {one.changed_by}; look at it again.")
    return one


def _check_room(standing: list[Any], one: CostCenter | Rule, editor: Editor, most: int, most_of_tenant: int, what: str) -> None:
    if len(standing) >= most:
        raise BadInput(f"there are {most} {what} already; delete some")
    if editor.tenants is not None and sum(1 for other in standing if not other.of_all and other.tenant == one.tenant) >= most_of_tenant:
        raise BadInput(f"there are {most_of_tenant} {what} of this tenant already; delete some")


def _next(transaction: Transaction, kind: Kind) -> int:
    return int(transaction.execute(_NEXT, (kind,))[0][0])


def _known(row: Row, former: CostCenter | Rule | None) -> dict[str, Any]:
    revision, _, no, _, tenant, _, _, who, at_ns, of_all = row
    at_ns = int(at_ns)
    return {
        "no": int(no), "tenant": tenant or None, "revision": int(revision), "of_all": bool(of_all), "changed_ns": at_ns, "changed_by": who,
        "made_ns": at_ns if former is None else former.made_ns, "made_by": who if former is None else former.made_by,
    }  # fmt: skip


def _center(row: Row, former: CostCenter | None) -> CostCenter:
    return CostCenter(code=row[5], **_known(row, former), **json.loads(row[6]))


def _rule(row: Row, former: Rule | None) -> Rule:
    said = json.loads(row[6])
    return Rule(name=row[5], **_known(row, former), **{**said, "targets": tuple(said["targets"])})
