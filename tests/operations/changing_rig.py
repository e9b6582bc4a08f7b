"""A change of its own for tests of the one way in: it adds a name to a table, and does what its input says beside it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, Literal

from otel_finops.audit.stored import StoredTrail
from otel_finops.audit.trail import Change
from otel_finops.base.clock import SystemClock
from otel_finops.base.errors import BadInput, Unavailable
from otel_finops.identity.principals import LOCAL, Principal
from otel_finops.ledger.current_prices import CurrentPrices
from otel_finops.ledger.subjects import Subjects
from otel_finops.operations.context import Context
from otel_finops.operations.local import make_context
from otel_finops.operations.registry import Changed, Input, Output, Unchanged, invoke, operation
from otel_finops.pricing.packaged import packaged_snapshot
from otel_finops.settings import load
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock

Fault = Literal["none", "refused", "after a write", "nothing to do"]


class Naming(Input):
    """What to add."""

    name: str
    fault: Fault = "none"
    tenant: str | None = None
    token: str | None = None
    dry_run: bool = False


class Named(Output):
    """What was added."""

    name: str
    token: str | None


class World:
    """A context over a store, and operations that add names: `change` in one transaction, `run` in several."""

    def __init__(self, store: Store, trail: Any = None) -> None:
        self.store = store
        self.clock = FakeClock()
        prices = CurrentPrices(store, self.clock, packaged_snapshot)
        self.context = make_context(load(None, {}), store, Subjects(), prices, self.clock, trail=trail)
        self.handled = 0
        self.inside: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        said: dict[str, Any] = {"takes": Naming, "output": Named, "permission": "manage", "summary": "Add.", "changes": True}
        self.change = operation("test.change", "change", **said)(self._handle)
        self.run = operation("test.run", "run", runs=True, **said)(self._handle)

    def ask(self, one: Any, name: str, principal: Principal = LOCAL, key: str | None = None, **said: Any) -> Any:
        """Invoke one of them."""
        return invoke(one, self.context, principal, Naming(name=name, **said), origin="test", key=key)

    def names(self) -> list[str]:
        """What was added."""
        with self.store.read() as transaction:
            return [name for (name,) in transaction.execute("SELECT name FROM counters ORDER BY name")]

    def recorded(self) -> list[tuple[str, str, str]]:
        """Chain, operation and outcome of every entry of the trail, oldest first."""
        with self.store.read() as transaction:
            return [(*row,) for row in transaction.execute("SELECT tenant, what, outcome FROM audit_entries ORDER BY entry_no")]

    def _handle(self, context: Context, principal: Principal, given: Naming) -> Changed | Unchanged:
        with self._lock:
            self.handled += 1
        if given.fault == "refused":
            raise BadInput("no such thing")
        if given.fault == "nothing to do" or given.dry_run:
            return Unchanged({"name": given.name, "token": None})
        with self.store.write() as transaction:
            transaction.execute("INSERT INTO counters (name, value) VALUES (?, 1)", (given.name,))
        self.inside()
        if given.fault == "after a write":
            raise BadInput("too late")
        return Changed({"name": given.name, "token": given.token}, None, {"name": given.name, "token": given.token}, given.tenant)


class BrokenTrail(StoredTrail):
    """A trail that cannot record some outcomes."""

    def __init__(self, store: Store, *broken: str) -> None:
        super().__init__(store)
        self.broken = set(broken)

    def record(self, change: Change, /) -> int:
        """Fail, with what stood before already written, as a full disk would."""
        number = super().record(change)
        if change.outcome in self.broken:
            raise Unavailable("the trail cannot be written")
        return number


class DyingTrail(StoredTrail):
    """A trail at which the process dies, its record written and not committed."""

    def record(self, change: Change, /) -> int:
        """Die."""
        super().record(change)
        os._exit(DIED)


DIED: Final = 77

if __name__ == "__main__":
    store = Store.open(sys.argv[1], SystemClock())
    world = World(store, DyingTrail(store))
    world.ask(world.change, "half", key="of-the-dead")
