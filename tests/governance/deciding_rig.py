"""A ledger with budgets, and the desk that decides on calls over it: all as the service has it, but for the clock."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

from counting_rig import CountingRig
from ledger_rig import CENT, PRICES

from otel_finops.governance.approvals import StoredApprovals
from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.counters import Counters
from otel_finops.governance.decide import Asked, Estimate, Question
from otel_finops.governance.decision_desk import DecisionDesk
from otel_finops.governance.decisions import Key
from otel_finops.governance.kill_switches import KillSwitches
from otel_finops.governance.reservations import booked
from otel_finops.ledger.settle import Settler
from otel_finops.operations.governing import decision_desk
from otel_finops.settings import load
from otel_finops.store.engine import Store

ESTIMATE = CENT * 35 // 100
"""0.0035 USD: what `ledger_rig.call` costs."""


class DecidingRig(CountingRig):
    """`CountingRig` with a desk; what is booked ends what was held for it."""

    def __init__(self, store: Store, **settings: str) -> None:
        super().__init__(store)
        self.counters = Counters(self.followed, self.thresholds, booked)
        self.settler = Settler(
            store, self.leases, PRICES, [self.rollups, self.counters], self.clock, sleep=self.clock.advance, recent=self.recent,
            pending=self.pending,
        )  # fmt: skip
        said = {"mode": "enforce", **settings}
        self.settings = load(None, {f"OTEL_FINOPS_ENFORCEMENT__{name.upper()}": value for name, value in said.items()})
        self.switches = KillSwitches(store, self.clock, self.settings.kill_switch)
        self.desk = self.another_desk()
        self._asked = count(1)

    def another_desk(self) -> DecisionDesk:
        """A desk as another process would have it."""
        approvals = StoredApprovals(self.store, self.clock, self.subjects, self.settings.approvals)
        return decision_desk(self.settings, self.store, self.clock, self.subjects, self.switches, approvals)

    def question(self, pico: int | None = ESTIMATE, *, user: str | None = None, session: str | None = None, **said: Any) -> Question:
        """A call that somebody wants to make; of gpt-4o and 1,100 tokens unless said otherwise."""
        call = GovernedCall(**{"provider": "openai", "model": "gpt-4o", "tokens": 1100, "pico": pico, **said})
        asked = Asked(f"d{next(self._asked)}", call, user, session)
        return Question(asked, Estimate(pico, "unknown" if pico is None else "priced"), lambda model: Estimate(pico, "priced"))

    def decide(self, pico: int | None = ESTIMATE, *, key: Key | None = None, **said: Any) -> Mapping[str, Any]:
        """Decide on a call."""
        return self.desk.decide(self.question(pico, **said), key)

    def try_out(self, question: Question) -> Mapping[str, Any]:
        """The answer that would be given now."""
        return self.desk.try_out(self.desk.posed(question))

    def states(self) -> dict[str, str]:
        """The state of every reservation."""
        with self.store.read() as transaction:
            return dict(transaction.execute("SELECT reservation_id, state FROM reservations ORDER BY reservation_id"))
