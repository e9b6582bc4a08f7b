"""Budgets' definitions as they are stored: made, changed and taken away, each change a further row, and followed by every process."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput, Conflict, Forbidden, NotFound
from otel_finops.base.limits import BUDGET_DEPTH_MAX, BUDGETS_MAX, BUDGETS_OF_TENANT_FOR_CALL_MAX, BUDGETS_OF_TENANT_MAX
from otel_finops.base.times import format_ns
from otel_finops.governance.budgets import Budget, BudgetSet, Counting, checked, named
from otel_finops.governance.followed import DELETE, Followed, Revision, revisions
from otel_finops.governance.periods import Period
from otel_finops.governance.scopes import Scope, most_at_once
from otel_finops.governance.subject_scopes import stored_scope
from otel_finops.identity.principals import Editor
from otel_finops.ledger.fx_store import dated_rates
from otel_finops.ledger.subjects import Subjects
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Row, Transaction

APPENDING_LOCK: Final = 5_270_411_906_005
"""Number of PostgreSQL's advisory lock that who appends shares and who changes budgets has alone; any number that nobody else uses."""
_ALONE: Final = "SELECT pg_advisory_xact_lock(?)"
_SHARED: Final = "SELECT pg_advisory_xact_lock_shared(?)"
_REVISION: Final = "SELECT COALESCE(MAX(revision), 0) FROM budgets"
_COLUMNS: Final = "revision, budget_no, action, name, definition, counting, who, at_ns, of_all"
_SINCE: Final = f"SELECT {_COLUMNS} FROM budgets WHERE revision > ? ORDER BY revision"
_HISTORY: Final = f"SELECT {_COLUMNS} FROM budgets WHERE budget_no = ? ORDER BY revision"
_NEXT_NO: Final = "SELECT COALESCE(MAX(budget_no), 0) + 1 FROM budgets"
_INSERT: Final = (
    "INSERT INTO budgets (budget_no, action, tenant, name, definition, counting, who, at_ns, of_all) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING revision"
)


class Edit(NamedTuple):
    """What is to be another.

    Attributes:
        change: what people say, on the budget as it stands; anything but its scope.
        scope: values by dimension, with clear ids; None: as it was.
        revision: the revision that whoever edits has seen; None: whichever it is.
    """

    change: Callable[[Budget], Budget]
    scope: Mapping[str, str] | None = None
    revision: int | None = None


def hold_budgets(transaction: Transaction) -> None:
    """Keep budgets as they are until this transaction, which appends to the ledger, ends; others may append meanwhile.

    SQLite has one writer anyway.
    """
    if transaction.engine_name == "postgresql":
        transaction.execute(_SHARED, (APPENDING_LOCK,))


def _hold_ledger(transaction: Transaction) -> None:
    """Wait until nobody appends, and let nobody until this transaction ends: what it sees is all that was booked before the change."""
    if transaction.engine_name == "postgresql":
        transaction.execute(_ALONE, (APPENDING_LOCK,))


def followed_budgets(store: Store, clock: Clock) -> Followed[BudgetSet]:
    """All standing budgets, for those who count and decide."""
    return Followed("the budgets", store, clock, BudgetSet(0, {}), _revision, _read_on)


class BudgetStore:
    """Makes and changes budgets. Safe to use from many threads and processes: changes are made one after the other."""

    def __init__(self, store: Store, clock: Clock, subjects: Subjects, counting: Counting) -> None:
        self._store = store
        self._clock = clock
        self._subjects = subjects
        self._counting = counting
        self._followed = followed_budgets(store, clock)

    def all(self) -> BudgetSet:
        """All that stand, as they are stored at this moment."""
        with self._store.read() as transaction:
            return self._followed.seen_by(transaction)

    def history(self, no: int) -> list[Revision[Budget]]:
        """Every revision of a budget, newest first; none where there never was such a budget."""
        with self._store.read() as transaction:
            return revisions(transaction.execute(_HISTORY, (no,)), _budget)

    def create(self, edit: Edit, editor: Editor, *, dry_run: bool = False) -> tuple[Budget, BudgetSet]:
        """Make a budget; returns it, and all that stand then.

        Raises:
            BadInput: a field that can be none, a parent that does not contain it, a name that is taken, or too many budgets.
            NotFound: the parent is not there for whoever makes it.
        """

        def made(transaction: Transaction, held: BudgetSet) -> Budget:
            _check_room(held, edit, editor)
            [(no,)] = transaction.execute(_NEXT_NO)
            now_ns = self._clock.now_ns()
            blank = Budget(int(no), "", Scope(), "money", 0, made_ns=now_ns, made_by=editor.who, of_all=editor.tenants is None)
            return self._stored(transaction, held, "create", None, self._edited(transaction, blank, edit), editor, dry_run)

        return self._changing(made, dry_run)

    def update(self, no: int, edit: Edit, editor: Editor, *, dry_run: bool = False) -> tuple[Budget, Budget, BudgetSet]:
        """Change a budget; returns it as it was and as it is, the same where nothing differs, and all that stand then.

        Raises:
            NotFound: no such budget stands for whoever changes it.
            Forbidden: somebody made it who sees all tenants, and who changes it does not.
            Conflict: it is of another revision than was seen.
            BadInput: as `create`, or it would not contain the budgets within it any longer.
        """
        was: list[Budget] = []

        def changed(transaction: Transaction, held: BudgetSet) -> Budget:
            before = _of(held, no, editor, edit.revision)
            was.append(before)
            after = self._edited(transaction, before, edit)
            return before if after == before else self._stored(transaction, held, "update", before, after, editor, dry_run)

        after, held = self._changing(changed, dry_run)
        return was[-1], after, held

    def delete(self, no: int, editor: Editor, *, revision: int | None = None, dry_run: bool = False) -> Budget:
        """Take a budget away; returns it as it was. Its history stays.

        Raises:
            NotFound, Forbidden, Conflict: as `update`.
            BadInput: there are budgets within it.
        """

        def taken(transaction: Transaction, held: BudgetSet) -> Budget:
            before = _of(held, no, editor, revision)
            if within := held.children(no):
                names = ", ".join(str(one.no) for one in within[:5])
                raise BadInput(f"no: others are within this budget ({names}); give them another parent or delete them first")
            _insert(transaction, DELETE, before, editor, self._clock.now_ns())
            if not dry_run:
                self._counting.changed(transaction, before, None)
            return before

        return self._changing(taken, dry_run)[0]

    def _changing(self, change: Callable[[Transaction, BudgetSet], Budget], dry_run: bool) -> tuple[Budget, BudgetSet]:
        """Change while nobody else does and nobody appends; of a dry run nothing stays."""
        with self._store.write_or_try(dry_run=dry_run) as transaction:
            _hold_ledger(transaction)
            held = self._followed.seen_by(transaction)
            budget = change(transaction, held)
            held = _read_on(transaction, held)
        return budget, held

    def _edited(self, transaction: Transaction, budget: Budget, edit: Edit) -> Budget:
        scope = budget.scope if edit.scope is None else stored_scope(transaction, self._subjects, edit.scope)
        return checked(edit.change(budget)._replace(scope=scope))

    def _stored(
        self, transaction: Transaction, held: BudgetSet, action: str, before: Budget | None, after: Budget, editor: Editor, dry_run: bool
    ) -> Budget:
        now_ns = self._clock.now_ns()
        _check_name(held, after)
        _check_place(held, after, editor, None if before is None else before.parent)
        if editor.tenants is not None and (before is None or before.scope != after.scope):
            _check_crowd(held, after)
        if before is None or before.currency != after.currency:
            dated_rates(transaction, after.currency, [format_ns(now_ns)[:10]]).per_usd(format_ns(now_ns)[:10])
        counting = before.counting if before is not None and before.counted == after.counted else None
        revision = _insert(transaction, action, after, editor, now_ns, counting)
        after = after._replace(revision=revision, counting=counting or revision, changed_ns=now_ns, changed_by=editor.who)
        if not dry_run:  # nothing would stay of what is counted, and nobody can append meanwhile
            self._counting.changed(transaction, before, after)
        return after


def _of(held: BudgetSet, no: int, editor: Editor, revision: int | None) -> Budget:
    """The budget that somebody wants to change, if it is his to change and as he has seen it."""
    budget = held.get(no)
    if budget is None or not is_seen(budget, editor.tenants):
        raise missing(no)
    if budget.of_all and editor.tenants is not None:
        raise Forbidden(f"Budget {no} was made by {budget.made_by}, who sees all tenants; only such may change it.")
    if revision not in (None, budget.revision):
        raise Conflict(f"Budget {no} is of revision {budget.revision}, changed by {budget.changed_by}; look at it again.")
    return budget


def is_seen(budget: Budget, tenants: Collection[str] | None) -> bool:
    """Whether a budget is for calls of these tenants alone, None for everybody."""
    return tenants is None or budget.tenant in tenants


def missing(no: int) -> NotFound:
    """The refusal of a number that no budget has, or none that one may see."""
    return NotFound(f"There is no budget {no}.")


def _check_room(held: BudgetSet, edit: Edit, editor: Editor) -> None:
    """Refuse what would be one budget too many."""
    if len(held) >= BUDGETS_MAX:
        raise BadInput(f"there are {len(held)} budgets already; delete some")
    if editor.tenants is None:
        return
    tenant = (edit.scope or {}).get("tenant")
    if sum(1 for one in held if not one.of_all and one.tenant == tenant) >= BUDGETS_OF_TENANT_MAX:
        raise BadInput(f"there are {BUDGETS_OF_TENANT_MAX} budgets of this tenant already; delete some")


def _check_crowd(held: BudgetSet, budget: Budget) -> None:
    """Refuse what would make too many budgets of one tenant's people count one and the same call, while others wait."""
    theirs = (one.scope for one in held if not one.of_all and one.tenant == budget.tenant and one.no != budget.no)
    if most_at_once(budget.scope, theirs) >= BUDGETS_OF_TENANT_FOR_CALL_MAX:
        raise BadInput(
            f"scope: {BUDGETS_OF_TENANT_FOR_CALL_MAX} budgets of this tenant can be for one and the same call already; delete some, or "
            "name other values"
        )


def _check_name(held: BudgetSet, budget: Budget) -> None:
    other = named(held, budget.name, budget.tenant)
    if other is not None and other.no != budget.no:
        raise BadInput(f"name: budget {other.no} is called so already")


def _check_place(held: BudgetSet, budget: Budget, editor: Editor, former: int | None) -> None:
    """Refuse a budget that its parent does not contain, or that does not contain those within it; a parent that it has already
    (`former`) may be one that who edits does not see.
    """
    if budget.parent is not None:
        parent = held.get(budget.parent)
        if parent is None or (parent.no != former and not is_seen(parent, editor.tenants)):
            raise NotFound(f"parent: there is no budget {budget.parent}.")
        above = [parent, *held.above(parent)]
        if any(one.no == budget.no for one in above):
            raise BadInput(f"parent: budget {parent.no} is within this one")
        if len(above) + _depth(held, budget.no) > BUDGET_DEPTH_MAX:
            raise BadInput(f"parent: at most {BUDGET_DEPTH_MAX} budgets one within the other")
        if not is_seen(parent, editor.tenants) and not parent.scope.contains(budget.scope):
            raise BadInput("scope: the budget that this one is a part of would not contain every call of it; ask who put it there")
        _check_contains(parent, budget, "parent")
    for child in held.children(budget.no):
        _check_contains(budget, child, "scope")


def _check_contains(parent: Budget, child: Budget, field: str) -> None:
    if not parent.scope.contains(child.scope):
        said = ", ".join(name for name, _ in parent.scope.parts)
        raise BadInput(
            f"{field}: budget {parent.no} ({parent.name}) does not contain every call of {child.name}: what is within a budget must name "
            f"its dimensions ({said}) too, with the same values or narrower ones"
        )


def _depth(held: BudgetSet, no: int) -> int:
    """Of how many levels the budget and those within it are."""
    return 1 + max((_depth(held, one.no) for one in held.children(no)), default=0)


def _revision(transaction: Transaction) -> int:
    return int(transaction.execute(_REVISION)[0][0])


def _read_on(transaction: Transaction, held: BudgetSet) -> BudgetSet:
    """What stands by now, from what stood at an earlier revision."""
    changes: dict[int, Budget | None] = {}
    revision = held.revision
    for row in transaction.iterate(_SINCE, (held.revision,)):
        revision, no = int(row[0]), int(row[1])
        changes[no] = None if row[2] == DELETE else _budget(row, changes.get(no) or held.get(no))
    return held.changed(revision, changes) if changes else held


def _insert(transaction: Transaction, action: str, budget: Budget, editor: Editor, now_ns: int, counting: int | None = None) -> int:
    row = (
        budget.no, action, budget.tenant or "", budget.name, _definition(budget), counting, editor.who, now_ns, budget.of_all,
    )  # fmt: skip
    [(revision,)] = transaction.execute(_INSERT, row)
    return int(revision)


def _definition(budget: Budget) -> str:
    said = {
        "scope": budget.scope.parts, "kind": budget.kind, "amount": str(budget.amount), "currency": budget.currency,
        "period": budget.period, "hard": budget.hard, "warn_percent": budget.warn_percent, "thresholds": budget.thresholds,
        "carry_over": budget.carry_over, "parent": budget.parent, "fail_open": budget.fail_open, "enabled": budget.enabled,
    }  # fmt: skip
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def _budget(row: Row, former: Budget | None) -> Budget:
    revision, no, _, name, definition, counting, who, at_ns, of_all = row
    said = json.loads(definition)
    revision, at_ns = int(revision), int(at_ns)
    return Budget(
        int(no),
        name,
        Scope(tuple((name, value) for name, value in said.pop("scope"))),
        amount=int(said.pop("amount")),
        period=Period(*said.pop("period")),
        thresholds=tuple(said.pop("thresholds")),
        **said,
        revision=revision,
        counting=int(counting or revision),
        made_ns=at_ns if former is None else former.made_ns,
        made_by=who if former is None else former.made_by,
        changed_ns=at_ns,
        changed_by=who,
        of_all=bool(of_all),
    )
