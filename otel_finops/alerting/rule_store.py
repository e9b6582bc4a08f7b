"""Alert rules as they are stored: made, changed and taken away, each change a further row, and followed by every process."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any, Final, TypeAlias, TypeVar

from otel_finops.alerting.quiet import QuietHours
from otel_finops.alerting.rules import Rule, RuleSet, checked, named
from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput, Conflict, Forbidden, NotFound
from otel_finops.base.limits import ALERT_RULES_MAX, ALERT_RULES_OF_TENANT_MAX
from otel_finops.governance.followed import DELETE, Followed, Revision, revisions
from otel_finops.identity.principals import Editor
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Row, Transaction

Tenants: TypeAlias = Collection[str] | None
Change: TypeAlias = Callable[[Rule], Rule]
T = TypeVar("T")

_LOCK: Final = "SELECT pg_advisory_xact_lock(?)"
_LOCK_NO: Final = 5_270_411_906_021
"""Number of PostgreSQL's advisory lock for who changes alert rules; any number that nobody else uses."""
_REVISION: Final = "SELECT COALESCE(MAX(revision), 0) FROM alert_rules"
_COLUMNS: Final = "revision, rule_no, action, tenant, name, definition, who, at_ns, of_all"
_SINCE: Final = f"SELECT {_COLUMNS} FROM alert_rules WHERE revision > ? ORDER BY revision"
_HISTORY: Final = f"SELECT {_COLUMNS} FROM alert_rules WHERE rule_no = ? ORDER BY revision"
_NEXT_NO: Final = "SELECT COALESCE(MAX(rule_no), 0) + 1 FROM alert_rules"
_INSERT: Final = (
    "INSERT INTO alert_rules (rule_no, action, tenant, name, definition, who, at_ns, of_all) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
    "RETURNING revision"
)
_FIELDS: Final = (
    "kind", "severity", "params", "enabled", "for_s", "clear_s", "repeat_s", "resolved", "quiet", "group_by", "labels",
)  # fmt: skip


def followed_rules(store: Store, clock: Clock) -> Followed[RuleSet]:
    """All standing rules, for those who check them."""
    return Followed("the alert rules", store, clock, RuleSet(0, {}), _revision, _read_on)


class RuleStore:
    """Makes and changes alert rules. Safe to use from many threads and processes: changes are made one after the other."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._followed = followed_rules(store, clock)

    def all(self) -> RuleSet:
        """All that stand, as they are stored at this moment."""
        with self._store.read() as transaction:
            return self._followed.seen_by(transaction)

    def history(self, no: int, tenants: Tenants) -> list[Revision[Rule]]:
        """Every revision of a rule that was these tenants', newest first.

        Raises:
            NotFound: there is none.
        """
        with self._store.read() as transaction:
            rows = transaction.execute(_HISTORY, (no,))
        found = [one for one in revisions(rows, _rule) if is_seen(one.left, tenants)]
        if not found:
            raise missing(no)
        return found

    def create(self, rule: Rule, editor: Editor, *, dry_run: bool = False) -> Rule:
        """Make a rule.

        Raises:
            BadInput: a field that can be none, a name that is taken, or too many rules.
        """

        def made(transaction: Transaction, held: RuleSet) -> Rule:
            _check_room(held, rule, editor)
            [(no,)] = transaction.execute(_NEXT_NO)
            now_ns = self._clock.now_ns()
            blank = rule._replace(no=int(no), made_ns=now_ns, made_by=editor.who, of_all=editor.tenants is None)
            return self._stored(transaction, held, "create", checked(blank), editor)

        return self._changing(made, dry_run)

    def update(self, no: int, change: Change, editor: Editor, revision: int | None = None, *, dry_run: bool = False) -> tuple[Rule, Rule]:
        """Change a rule; returns it as it was and as it is, the same where nothing differs.

        Raises:
            NotFound: no such rule stands for whoever changes it.
            Forbidden: somebody made it who sees all tenants, and who changes it does not.
            Conflict: it is of another revision than was seen.
            BadInput: as `create`.
        """

        def changed(transaction: Transaction, held: RuleSet) -> tuple[Rule, Rule]:
            before = _of(held, no, editor, revision)
            after = checked(change(before))
            return before, before if after.said == before.said else self._stored(transaction, held, "update", after, editor)

        return self._changing(changed, dry_run)

    def delete(self, no: int, editor: Editor, revision: int | None = None, *, dry_run: bool = False) -> Rule:
        """Take a rule away; returns it as it was. Its history stays, and what it told of is over with the next check.

        Raises:
            NotFound, Forbidden, Conflict: as `update`.
        """

        def taken(transaction: Transaction, held: RuleSet) -> Rule:
            before = _of(held, no, editor, revision)
            _insert(transaction, DELETE, before, editor.who, self._clock.now_ns())
            return before

        return self._changing(taken, dry_run)

    def _changing(self, change: Callable[[Transaction, RuleSet], T], dry_run: bool) -> T:
        """Change while nobody else does; of a dry run nothing stays."""
        with self._store.write_or_try(dry_run=dry_run) as transaction:
            lock(transaction)
            done = change(transaction, self._followed.seen_by(transaction))
            transaction.after_commit(self._followed.look_again)
        return done

    def _stored(self, transaction: Transaction, held: RuleSet, action: str, rule: Rule, editor: Editor) -> Rule:
        other = named(held, rule.name, rule.tenant)
        if other is not None and other.no != rule.no:
            raise BadInput(f"name: rule {other.no} is called so already")
        now_ns = self._clock.now_ns()
        revision = _insert(transaction, action, rule, editor.who, now_ns)
        return rule._replace(revision=revision, changed_ns=now_ns, changed_by=editor.who)


def lock(transaction: Transaction) -> None:
    """Let nobody else change rules until this transaction ends; SQLite has one writer anyway."""
    if transaction.engine_name == "postgresql":
        transaction.execute(_LOCK, (_LOCK_NO,))


def ship(transaction: Transaction, rules: Collection[Rule], who: str, now_ns: int) -> list[Rule]:
    """Store these rules where there never was one; returns those that were stored."""
    lock(transaction)
    if _revision(transaction):
        return []
    shipped = [checked(rule)._replace(no=no, made_ns=now_ns, made_by=who) for no, rule in enumerate(rules, 1)]
    for rule in shipped:
        _insert(transaction, "create", rule, who, now_ns)
    return shipped


def last_of(transaction: Transaction, no: int) -> Rule:
    """A rule as it was last, also one that stands no more."""
    made: Rule | None = None
    for row in transaction.execute(_HISTORY, (no,)):
        made = _rule(row, made)
    assert made is not None, no
    return made


def is_seen(rule: Rule, tenants: Tenants) -> bool:
    """Whether a rule is these tenants' alone, None for everybody."""
    return tenants is None or rule.tenant in tenants


def missing(no: int) -> NotFound:
    """The refusal of a number that no rule has, or none that one may see."""
    return NotFound(f"There is no alert rule {no}.")


def _of(held: RuleSet, no: int, editor: Editor, revision: int | None) -> Rule:
    rule = held.get(no)
    if rule is None or not is_seen(rule, editor.tenants):
        raise missing(no)
    if rule.of_all and editor.tenants is not None:
        raise Forbidden(f"Alert rule {no} was made by {rule.made_by}, who sees all tenants; only such may change it.")
    if revision not in (None, rule.revision):
        raise Conflict(f"Alert rule {no} is of revision {rule.revision}, changed by {rule.changed_by}; look at it again.")
    return rule


def _check_room(held: RuleSet, rule: Rule, editor: Editor) -> None:
    if len(held) >= ALERT_RULES_MAX:
        raise BadInput(f"there are {len(held)} alert rules already; delete some")
    theirs = [one for one in held if not one.of_all and one.tenant == rule.tenant]
    if editor.tenants is not None and len(theirs) >= ALERT_RULES_OF_TENANT_MAX:
        raise BadInput(f"there are {ALERT_RULES_OF_TENANT_MAX} alert rules of this tenant already; delete some")


def _revision(transaction: Transaction) -> int:
    return int(transaction.execute(_REVISION)[0][0])


def _read_on(transaction: Transaction, held: RuleSet) -> RuleSet:
    """What stands by now, from what stood at an earlier revision."""
    rules = {one.no: one for one in held}
    revision = held.revision
    for row in transaction.iterate(_SINCE, (held.revision,)):
        revision, no = int(row[0]), int(row[1])
        if row[2] == DELETE:
            rules.pop(no, None)
        else:
            rules[no] = _rule(row, rules.get(no))
    return RuleSet(revision, rules)


def _insert(transaction: Transaction, action: str, rule: Rule, who: str, now_ns: int) -> int:
    said = {name: getattr(rule, name) for name in _FIELDS}
    definition = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    [(revision,)] = transaction.execute(
        _INSERT, (rule.no, action, rule.tenant or "", rule.name, definition, who, now_ns, rule.of_all)
    )  # fmt: skip
    return int(revision)


def _rule(row: Row, former: Rule | None) -> Rule:
    revision, no, _, tenant, name, definition, who, at_ns, of_all = row
    said: dict[str, Any] = json.loads(definition)
    quiet, group_by = said.pop("quiet"), said.pop("group_by")
    return Rule(
        int(no),
        name,
        tenant=tenant or None,
        quiet=None if quiet is None else QuietHours(quiet[0], quiet[1], quiet[2], tuple(quiet[3])),
        group_by=None if group_by is None else tuple(group_by),
        **said,
        revision=int(revision),
        made_ns=int(at_ns) if former is None else former.made_ns,
        made_by=who if former is None else former.made_by,
        changed_ns=int(at_ns),
        changed_by=who,
        of_all=bool(of_all),
    )
