"""Policies' definitions as they are stored: made, changed and taken away, each change a further row, and followed by every process."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypeVar

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput, Conflict, Forbidden, NotFound
from otel_finops.base.limits import POLICIES_MAX, POLICIES_OF_TENANT_MAX
from otel_finops.governance.followed import DELETE, Followed, Revision, revisions
from otel_finops.governance.policies import Policy, PolicySet, Rule, checked
from otel_finops.governance.rates import Rate
from otel_finops.governance.scopes import Scope
from otel_finops.governance.subject_scopes import clear_scopes, stored_scope
from otel_finops.identity.principals import Editor
from otel_finops.ledger.subjects import Subjects
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Row, Transaction

Tenants: TypeAlias = Collection[str] | None
Deed: TypeAlias = Literal["create", "update", "delete", "keep"]
T = TypeVar("T")

_LOCK: Final = "SELECT pg_advisory_xact_lock(?)"
_LOCK_NO: Final = 5_270_411_906_008
"""Number of PostgreSQL's advisory lock for who changes policies; any number that nobody else uses."""
_REVISION: Final = "SELECT COALESCE(MAX(revision), 0) FROM policies"
_COLUMNS: Final = "revision, policy_no, action, name, definition, who, at_ns, of_all"
_SINCE: Final = f"SELECT {_COLUMNS} FROM policies WHERE revision > ? ORDER BY revision"
_HISTORY: Final = f"SELECT {_COLUMNS} FROM policies WHERE policy_no = ? ORDER BY revision"
_NEXT_NO: Final = "SELECT COALESCE(MAX(policy_no), 0) + 1 FROM policies"
_INSERT: Final = (
    "INSERT INTO policies (policy_no, action, tenant, name, definition, who, at_ns, of_all) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
    "RETURNING revision"
)
_FAILURES: Final = "SELECT policy_no, failures, at_ns, reason FROM policy_failures WHERE policy_no IN ({})"
_FAILED: Final = "SELECT COALESCE(SUM(failures), 0) FROM policy_failures"
_OF_ACTIONS: Final = {"downgrade_to": "downgrade", "rate": "throttle", "retry_after_s": "queue"}


class Edit(NamedTuple):
    """What is to be another.

    Attributes:
        fields: of `Policy`, by name; all that people may say but the scope.
        scope: values by dimension, with clear ids; None: as it was.
        model: the scope's pattern of models; "": none; None: as the scope says, or as it was.
        revision: the revision that whoever edits has seen; None: whichever it is.
    """

    fields: Mapping[str, Any]
    scope: Mapping[str, str] | None = None
    model: str | None = None
    revision: int | None = None


class Done(NamedTuple):
    """What became of one policy; None before it was made, and after it was taken away."""

    deed: Deed
    before: Policy | None
    after: Policy | None


class Failures(NamedTuple):
    """How often a policy could not be evaluated.

    Attributes:
        times: ever.
        at_ns, reason: of the last time.
    """

    times: int
    at_ns: int
    reason: str


def followed_policies(store: Store, clock: Clock) -> Followed[PolicySet]:
    """All standing policies, for those who decide."""
    return Followed("the policies", store, clock, PolicySet(0, {}), _revision, _read_on)


class PolicyStore:
    """Makes and changes policies. Safe to use from many threads and processes: changes are made one after the other."""

    def __init__(self, store: Store, clock: Clock, subjects: Subjects) -> None:
        self._store = store
        self._clock = clock
        self._subjects = subjects
        self._followed = followed_policies(store, clock)

    def all(self) -> PolicySet:
        """All that stand, as they are stored at this moment."""
        with self._store.read() as transaction:
            return self._followed.seen_by(transaction)

    def history(self, no: int) -> list[Revision[Policy]]:
        """Every revision of a policy, newest first; none where there never was such a policy."""
        with self._store.read() as transaction:
            return revisions(transaction.execute(_HISTORY, (no,)), _policy)

    def scopes(self, policies: Iterable[Policy]) -> list[dict[str, str]]:
        """The scopes of policies as people wrote them, in the same order; who was erased keeps the references."""
        with self._store.read() as transaction:
            return clear_scopes(transaction, self._subjects, [one.scope for one in policies])

    def failures(self, policies: Iterable[Policy]) -> dict[int, Failures]:
        """How often these could not be evaluated, by number; those that always could are left out."""
        with self._store.read() as transaction:
            rows = transaction.select_in(_FAILURES, sorted({one.no for one in policies}))
            return {int(no): Failures(int(count), int(at_ns), reason) for no, count, at_ns, reason in rows}

    def failed(self) -> int:
        """How often any policy, also one that stands no longer, could not be evaluated."""
        with self._store.read() as transaction:
            return int(transaction.execute(_FAILED)[0][0])

    def create(self, edit: Edit, editor: Editor, *, dry_run: bool = False) -> Policy:
        """Make a policy.

        Raises:
            BadInput: a field that can be none, a name that is taken, or too many policies.
        """
        return self._changing(lambda transaction, held: _Change(self, transaction, held, editor).create(edit), dry_run)

    def update(self, no: int, edit: Edit, editor: Editor, *, dry_run: bool = False) -> tuple[Policy, Policy]:
        """Change a policy; returns it as it was and as it is, the same where nothing differs.

        Raises:
            NotFound: no such policy stands for whoever changes it.
            Forbidden: somebody made it who sees all tenants, and who changes it does not.
            Conflict: it is of another revision than was seen.
            BadInput: as `create`.
        """
        return self._changing(lambda transaction, held: _Change(self, transaction, held, editor).update(no, edit), dry_run)

    def delete(self, no: int, editor: Editor, *, revision: int | None = None, dry_run: bool = False) -> Policy:
        """Take a policy away; returns it as it was. Its history stays.

        Raises:
            NotFound, Forbidden, Conflict: as `update`.
        """
        return self._changing(lambda transaction, held: _Change(self, transaction, held, editor).delete(no, revision), dry_run)

    def put(self, edits: Sequence[Edit], editor: Editor, *, replace: bool, dry_run: bool = False) -> list[Done]:
        """Make a whole set of policies stand, all of it or nothing: those of a name and tenant that stand already are changed.

        Args:
            replace: take away all others that whoever edits may change.

        Raises:
            BadInput, Forbidden: as `create` and `update`; the message begins with the place in the set.
        """
        return self._changing(lambda transaction, held: _Change(self, transaction, held, editor).put(edits, replace=replace), dry_run)

    def _changing(self, change: Callable[[Transaction, PolicySet], T], dry_run: bool) -> T:
        """Change while nobody else does; of a dry run nothing stays."""
        with self._store.write_or_try(dry_run=dry_run) as transaction:
            if transaction.engine_name == "postgresql":
                transaction.execute(_LOCK, (_LOCK_NO,))  # SQLite has one writer anyway
            done = change(transaction, self._followed.seen_by(transaction))
            transaction.after_commit(self._followed.look_again)
        return done

    def edited(self, transaction: Transaction, policy: Policy, edit: Edit) -> Policy:
        """A policy with what is to be another; what belongs to a former action goes with it."""
        scope = policy.scope if edit.scope is None else stored_scope(transaction, self._subjects, edit.scope)
        if edit.model is not None:
            if edit.scope is not None and "model" in edit.scope:
                raise BadInput("model: the scope names a model already; say it once")
            parts = {name: value for name, value in scope.parts if name != "model"}
            parts |= dict(Scope.of({"model": edit.model}).parts) if edit.model else {}
            scope = Scope(tuple(sorted(parts.items())))
        action = edit.fields.get("action", policy.action)
        gone = {field: None for field, its in _OF_ACTIONS.items() if action != its}
        return checked(policy._replace(**{**gone, **edit.fields}, scope=scope))

    @property
    def clock(self) -> Clock:
        """Our time."""
        return self._clock


class _Change:
    """Changes of one transaction, while nobody else changes policies."""

    def __init__(self, store: PolicyStore, transaction: Transaction, held: PolicySet, editor: Editor) -> None:
        self._store = store
        self._transaction = transaction
        self._standing = {one.no: one for one in held}
        self._editor = editor

    def create(self, edit: Edit) -> Policy:
        now_ns = self._store.clock.now_ns()
        of_all = self._editor.tenants is None
        blank = Policy(0, "", "block", made_ns=now_ns, made_by=self._editor.who, of_all=of_all)
        policy = self._store.edited(self._transaction, blank, edit)
        self._check_room(policy)
        [(no,)] = self._transaction.execute(_NEXT_NO)
        return self._stored("create", policy._replace(no=int(no)))

    def update(self, no: int, edit: Edit) -> tuple[Policy, Policy]:
        before = self._of(no, edit.revision)
        after = self._store.edited(self._transaction, before, edit)
        return before, before if after == before else self._stored("update", after)

    def delete(self, no: int, revision: int | None) -> Policy:
        before = self._of(no, revision)
        _insert(self._transaction, DELETE, before, self._editor, self._store.clock.now_ns())
        del self._standing[no]
        return before

    def put(self, edits: Sequence[Edit], *, replace: bool) -> list[Done]:
        done: list[Done] = []
        kept: set[int] = set()
        for at, edit in enumerate(edits):
            try:
                done.append(self._put(edit))
            except (BadInput, Forbidden) as fault:
                raise type(fault)(f"policies.{at}: {fault}") from None
            no = done[-1].after.no if done[-1].after is not None else 0
            if no in kept:
                raise BadInput(f"policies.{at}.name: it stands twice in this set")
            kept.add(no)
        if replace:
            others = [one for one in self._standing.values() if one.no not in kept and self._may_change(one)]
            done += [Done("delete", self.delete(one.no, None), None) for one in others]
        return done

    def _put(self, edit: Edit) -> Done:
        tenant = (edit.scope or {}).get("tenant")
        same = named(self._standing.values(), edit.fields["name"], tenant.strip() if tenant else None)
        if same is None:
            return Done("create", None, self.create(edit))
        blank = Policy(same.no, "", "block")
        wanted = self._store.edited(self._transaction, blank, edit)
        if wanted.said == same.said:
            return Done("keep", same, same)
        whole = {name: getattr(wanted, name) for name in _FIELDS}
        before, after = self.update(same.no, Edit(whole, edit.scope or {}, edit.model))
        return Done("update", before, after)

    def _of(self, no: int, revision: int | None) -> Policy:
        policy = self._standing.get(no)
        if policy is None or not is_seen(policy, self._editor.tenants):
            raise missing(no)
        if not self._may_change(policy):
            raise Forbidden(f"Policy {no} was made by {policy.made_by}, who sees all tenants; only such may change it.")
        if revision not in (None, policy.revision):
            raise Conflict(f"Policy {no} is of revision {policy.revision}, changed by {policy.changed_by}; look at it again.")
        return policy

    def _may_change(self, policy: Policy) -> bool:
        return self._editor.tenants is None or (not policy.of_all and is_seen(policy, self._editor.tenants))

    def _check_room(self, policy: Policy) -> None:
        if len(self._standing) >= POLICIES_MAX:
            raise BadInput(f"there are {len(self._standing)} policies already; delete some")
        theirs = [one for one in self._standing.values() if not one.of_all and one.tenant == policy.tenant]
        if self._editor.tenants is not None and len(theirs) >= POLICIES_OF_TENANT_MAX:
            raise BadInput(f"there are {POLICIES_OF_TENANT_MAX} policies of this tenant already; delete some")

    def _stored(self, action: str, policy: Policy) -> Policy:
        other = named(self._standing.values(), policy.name, policy.tenant)
        if other is not None and other.no != policy.no:
            raise BadInput(f"name: policy {other.no} is called so already")
        now_ns = self._store.clock.now_ns()
        revision = _insert(self._transaction, action, policy, self._editor, now_ns)
        policy = policy._replace(revision=revision, changed_ns=now_ns, changed_by=self._editor.who)
        self._standing[policy.no] = policy
        return policy


_FIELDS: Final = (
    "name", "action", "min_pico", "condition", "downgrade_to", "rate", "retry_after_s", "priority", "enabled", "description",
)  # fmt: skip
"""What people say of a policy, the scope aside."""


def named(policies: Iterable[Policy], name: str, tenant: str | None) -> Policy | None:
    """The policy of this name and tenant; None when none is called so."""
    return next((one for one in policies if one.name == name and one.tenant == tenant), None)


def is_seen(policy: Policy, tenants: Tenants) -> bool:
    """Whether a policy is for calls of these tenants alone, None for everybody."""
    return tenants is None or policy.tenant in tenants


def missing(no: int) -> NotFound:
    """The refusal of a number that no policy has, or none that one may see."""
    return NotFound(f"There is no policy {no}.")


def _revision(transaction: Transaction) -> int:
    return int(transaction.execute(_REVISION)[0][0])


def _read_on(transaction: Transaction, held: PolicySet) -> PolicySet:
    """What stands by now, from what stood at an earlier revision."""
    policies = {one.no: one for one in held}
    revision, changed = held.revision, set[int]()
    for row in transaction.iterate(_SINCE, (held.revision,)):
        revision, no = int(row[0]), int(row[1])
        changed.add(no)
        if row[2] == DELETE:
            policies.pop(no, None)
        else:
            policies[no] = _policy(row, policies.get(no))
    known = {no: rule for no in policies if no not in changed and (rule := held.rule(no)) is not None}
    return PolicySet(revision, {no: known.get(no) or Rule.of(policy) for no, policy in policies.items()})


def _insert(transaction: Transaction, action: str, policy: Policy, editor: Editor, now_ns: int) -> int:
    row = (policy.no, action, policy.tenant or "", policy.name, _definition(policy), editor.who, now_ns, policy.of_all)
    [(revision,)] = transaction.execute(_INSERT, row)
    return int(revision)


def _definition(policy: Policy) -> str:
    said = {name: getattr(policy, name) for name in _FIELDS if name != "name"}
    return json.dumps({"scope": policy.scope.parts, **said}, ensure_ascii=False, separators=(",", ":"))


def _policy(row: Row, former: Policy | None) -> Policy:
    revision, no, _, name, definition, who, at_ns, of_all = row
    said = json.loads(definition)
    at_ns = int(at_ns)
    rate = said.pop("rate")
    return Policy(
        int(no),
        name,
        scope=Scope(tuple((dimension, value) for dimension, value in said.pop("scope"))),
        rate=None if rate is None else Rate(*rate),
        **said,
        revision=int(revision),
        made_ns=at_ns if former is None else former.made_ns,
        made_by=who if former is None else former.made_by,
        changed_ns=at_ns,
        changed_by=who,
        of_all=bool(of_all),
    )
