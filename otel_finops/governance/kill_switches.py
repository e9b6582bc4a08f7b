"""Kill switches: what stops calls at once, whatever budgets and policies say. Set and cleared on record, or given by the settings.

A switch is global, or names a provider, a tenant, a model or an agent; it may be for one tenant's calls alone. Stored switches are rows
that are added and never changed: the last one of a scope, name and tenant holds, the others are the history.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from otel_finops.base.clock import Clock
from otel_finops.base.errors import BadInput, Forbidden, NotFound
from otel_finops.base.limits import KILL_SWITCHES_KEPT_FREE, KILL_SWITCHES_MAX, KILL_SWITCHES_OF_TENANT_MAX
from otel_finops.governance.calls import fits
from otel_finops.governance.followed import Followed
from otel_finops.pricing.providers import canonical
from otel_finops.settings.kill_switch import KillSwitch
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Row, Transaction

Scope: TypeAlias = Literal["global", "provider", "tenant", "model", "agent"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
"""In the order in which they are asked and shown."""

_COLUMNS: Final = "switch_no, action, scope, name, tenant, who, why, at_ns, of_all"
_STANDING: Final = (
    f"SELECT {_COLUMNS} FROM kill_switches WHERE action = 'set' "
    "AND switch_no IN (SELECT MAX(switch_no) FROM kill_switches GROUP BY scope, name, tenant) ORDER BY switch_no"
)
_LAST: Final = f"SELECT {_COLUMNS} FROM kill_switches WHERE scope = ? AND name = ? AND tenant = ? ORDER BY switch_no DESC LIMIT 1"
_REVISION: Final = "SELECT COALESCE(MAX(switch_no), 0) FROM kill_switches"
_HISTORY: Final = f"SELECT {_COLUMNS} FROM kill_switches WHERE switch_no < ? ORDER BY switch_no DESC"
_LAST_NO: Final = 2**63 - 1
_INSERT: Final = (
    "INSERT INTO kill_switches (action, scope, name, tenant, who, why, at_ns, of_all) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING switch_no"
)
_LOCK: Final = "LOCK TABLE kill_switches IN SHARE ROW EXCLUSIVE MODE"


class Attempt(NamedTuple):
    """A call that somebody wants to make; None where it is not known, which no switch for one of its kind stops."""

    tenant: str
    provider: str | None = None
    model: str | None = None
    agent: str | None = None


class Target(NamedTuple):
    """What a switch stops.

    Attributes:
        scope: of which kind of thing.
        name: the provider family, tenant, model (with `*` for anything; lower case) or agent; "" for global.
        tenant: only calls of this tenant; None: of all.
    """

    scope: Scope
    name: str = ""
    tenant: str | None = None

    def checked(self) -> Target:
        """The target in the one form in which it is stored.

        Raises:
            BadInput: a name that is missing or is too much, or a tenant beside a tenant.
        """
        name = self.name.strip()
        if (self.scope == "global") == bool(name):
            raise BadInput("name: a global switch has none" if name else f"name: say which {self.scope} shall be stopped")
        if self.scope == "tenant" and self.tenant not in (None, name):
            raise BadInput("tenant: a switch for a tenant is for its calls alone already; leave it out")
        if self.scope == "global" and self.tenant is not None:
            raise BadInput("tenant: a global switch stops all tenants; for one of them the scope is `tenant` and the name is his")
        name = canonical(name) if self.scope == "provider" else name.lower() if self.scope == "model" else name
        return Target(self.scope, name, None if self.scope == "tenant" else self.tenant)

    @property
    def whose(self) -> str | None:
        """The one tenant whose calls it stops; None: those of several."""
        return self.name if self.scope == "tenant" else self.tenant

    def concerns(self, tenants: Collection[str] | None) -> bool:
        """Whether it stops calls of these tenants, None for everybody."""
        return tenants is None or self.whose is None or self.whose in tenants

    def stops(self, call: Attempt) -> bool:
        """Whether such a switch stops this call."""
        if self.whose is not None and call.tenant != self.whose:
            return False
        if self.scope == "provider":
            return call.provider is not None and canonical(call.provider) == self.name
        if self.scope == "model":
            return call.model is not None and fits(self.name, call.model)
        return self.scope != "agent" or call.agent == self.name


class Switch(NamedTuple):
    """A switch that is set, or a switching of the past.

    Attributes:
        no: number of the row; None for those of the settings.
        target: what it stops.
        who, why, at_ns: who switched, for what reason, when; `who` and `at_ns` are None for those of the settings.
        is_set: False: it was cleared.
        of_all: who switched sees all tenants; whoever is bound to some does not undo it, be it for their calls alone.
    """

    no: int | None
    target: Target
    who: str | None
    why: str
    at_ns: int | None
    is_set: bool = True
    of_all: bool = True


class KillSwitches:
    """The switches of one installation, as stored. Safe to use from many threads and processes."""

    def __init__(self, store: Store, clock: Clock, given: KillSwitch) -> None:
        """
        Args:
            given: those of the settings, which nobody can clear.
        """
        self._store = store
        self._clock = clock
        self.given = tuple(_of_settings(given))
        self._followed = _followed(store, clock, self.given)

    def all(self) -> list[Switch]:
        """Those that are set: the settings' first, then by scope and name."""
        with self._store.read() as transaction:
            return [*self.given, *sorted(standing(transaction), key=_place)]

    def history(self, tenants: Collection[str] | None, before_no: int | None, limit: int) -> list[Switch]:
        """A page of switchings, newest first; of these tenants and of all (None: everybody's)."""
        with self._store.read() as transaction:
            switchings = map(_switch, transaction.iterate(_HISTORY, (_LAST_NO if before_no is None else before_no,)))
            return list(islice((one for one in switchings if one.target.concerns(tenants)), limit))

    def set(
        self, target: Target, *, who: str, why: str, tenants: Collection[str] | None = None, dry_run: bool = False
    ) -> tuple[Switch, Switch | None]:
        """Stop calls; returns the switch, and the one that stood in its place (None: none). Equal ones are not set twice.

        Args:
            tenants: whom who switches sees; None: all.
            dry_run: only check that it could be set.

        Raises:
            BadInput: a target that is none, or too many switches.
            Forbidden: it would take the place of one that somebody set who sees all tenants.
        """
        target = target.checked()
        with self._store.write() as transaction:
            before = _locked_last(transaction, target)
            if before is None:
                _check_room(standing(transaction), target, of_all=tenants is None)
            else:
                _check_may_undo(before, tenants)
                if (before.who, before.why) == (who, why):
                    return before, before
            if dry_run:
                return Switch(0, target, who, why, self._clock.now_ns(), of_all=tenants is None), before
            return self._added(transaction, "set", target, who, why, of_all=tenants is None), before

    def clear(self, target: Target, *, who: str, why: str, tenants: Collection[str] | None = None, dry_run: bool = False) -> Switch:
        """Let calls pass again; returns the switch that was set. A dry run only checks that it is.

        Raises:
            BadInput: a target that is none, or a switch of the settings.
            NotFound: it is not set.
            Forbidden: somebody set it who sees all tenants, and who switches does not.
        """
        target = target.checked()
        with self._store.write() as transaction:
            before = _locked_last(transaction, target)
            if before is None:
                if any(one.target == target for one in self.given):
                    raise BadInput(f"the settings set this switch (kill_switch.{_FIELDS[target.scope]}); take it out there")
                raise NotFound(f"There is no kill switch for {described(target)}.")
            _check_may_undo(before, tenants)
            if not dry_run:
                self._added(transaction, "clear", target, who, why, of_all=tenants is None)
            return before

    def stopping(self, call: Attempt) -> list[Switch]:
        """The switches that stop a call, see `governance.followed`."""
        return [one for one in self._followed.current().switches if one.target.stops(call)]

    def _added(self, transaction: Transaction, action: str, target: Target, who: str, why: str, *, of_all: bool) -> Switch:
        at_ns = self._clock.now_ns()
        row = (action, target.scope, target.name, target.tenant or "", who, why, at_ns, of_all)
        [(no,)] = transaction.execute(_INSERT, row)
        transaction.after_commit(self._followed.look_again)
        return Switch(int(no), target, who, why, at_ns, action == "set", of_all)


class _Held(NamedTuple):
    """The switches that hold at a revision, in the order in which they are shown."""

    revision: int
    switches: tuple[Switch, ...]


def _followed(store: Store, clock: Clock, given: tuple[Switch, ...]) -> Followed[_Held]:
    """The switches that hold, for those who decide on calls; those of the settings hold on even where nothing is stored."""

    def read(transaction: Transaction, _: _Held) -> _Held:
        revision = _revision(transaction)
        return _Held(revision, (*given, *sorted(standing(transaction), key=_place)))

    return Followed("the kill switches", store, clock, _Held(0, given), _revision, read)


def _revision(transaction: Transaction) -> int:
    return int(transaction.execute(_REVISION)[0][0])


def standing(transaction: Transaction) -> list[Switch]:
    """The stored switches that are set, in the order in which they were."""
    return [_switch(row) for row in transaction.execute(_STANDING)]


def described(target: Target) -> str:
    """What a switch stops, in words: `provider openai of tenant acme`."""
    what = "all calls" if target.scope == "global" else f"{target.scope} {target.name}"
    return what if target.tenant is None else f"{what} of tenant {target.tenant}"


_FIELDS: Final[dict[Scope, str]] = {
    "global": "everything", "provider": "providers", "tenant": "tenants", "model": "models", "agent": "agents",
}  # fmt: skip
"""The setting for each scope."""


def _of_settings(given: KillSwitch) -> Iterable[Switch]:
    for scope in SCOPES:
        said = getattr(given, _FIELDS[scope])
        names = (("",) if said else ()) if isinstance(said, bool) else said
        yield from (Switch(None, Target(scope, name).checked(), None, given.why, None) for name in dict.fromkeys(names))


def _check_may_undo(switch: Switch, tenants: Collection[str] | None) -> None:
    """Refuse who is bound to tenants to undo what stops them for the service's sake."""
    if switch.of_all and tenants is not None:
        raise Forbidden(
            f"The kill switch for {described(switch.target)} was set by {switch.who}, who sees all tenants; only such may change it."
        )


def _check_room(held: Collection[Switch], target: Target, *, of_all: bool) -> None:
    """Refuse what would be one switch too many; who is bound to tenants leaves room for those who are not."""
    most = KILL_SWITCHES_MAX if of_all else KILL_SWITCHES_MAX - KILL_SWITCHES_KEPT_FREE
    if len(held) >= most:
        raise BadInput(f"there are {len(held)} kill switches already; clear some, or stop more with one")
    if of_all:
        return
    if sum(1 for one in held if not one.of_all and one.target.whose == target.whose) >= KILL_SWITCHES_OF_TENANT_MAX:
        raise BadInput(f"there are {KILL_SWITCHES_OF_TENANT_MAX} kill switches for this tenant already; clear some, or stop more with one")


def _locked_last(transaction: Transaction, target: Target) -> Switch | None:
    """The switch as it is set, while nobody else can switch; None when it is not."""
    if transaction.engine_name == "postgresql":
        transaction.execute(_LOCK)  # SQLite has one writer anyway
    rows = transaction.execute(_LAST, (target.scope, target.name, target.tenant or ""))
    last = _switch(rows[0]) if rows else None
    return last if last is not None and last.is_set else None


def _switch(row: Row) -> Switch:
    no, action, scope, name, tenant, who, why, at_ns, of_all = row
    return Switch(int(no), Target(scope, name, tenant or None), who, why, int(at_ns), action == "set", bool(of_all))


def _place(one: Switch) -> tuple[int, str, str]:
    return SCOPES.index(one.target.scope), one.target.name, one.target.tenant or ""
