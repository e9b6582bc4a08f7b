"""A ledger with pools of credits in one hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ledger_rig import SECOND, Rig

from otel_finops.governance.calls import GovernedCall
from otel_finops.governance.credit_debits import CreditDebits
from otel_finops.governance.credit_desk import CreditDesk, PoolState
from otel_finops.governance.credit_gate import CreditGate
from otel_finops.governance.credit_rates import CreditRates
from otel_finops.governance.credit_store import Draft, Editor, followed_pools
from otel_finops.governance.credits import Pool
from otel_finops.ledger.booking import NO_RULES
from otel_finops.ledger.bound_rules import Rules
from otel_finops.ledger.settle import Settler
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

ANN = Editor("ann", "prepaid")


def usd(text: str) -> int:
    """An amount in millionths of a millionth."""
    return int(Decimal(text) * 10**12)


class CreditRig(Rig):
    """A ledger whose settler debits pools, with the desk and the gate beside it."""

    def __init__(self, store: Store, **more: Any) -> None:
        self.rates = CreditRates()
        super().__init__(store, **more)
        self.desk = CreditDesk(store, self.clock, self.subjects, self.rates)
        self.followed = followed_pools(store, self.clock)
        self.gate = CreditGate(self.followed, self.rates, self.clock)

    def use(self, engine: Any, cascade: Rules = NO_RULES) -> None:
        """Go on with other prices and rules."""
        debits = CreditDebits(followed_pools(self.store, self.clock), self.rates)
        self.settler = Settler(
            self.store, self.leases, engine, [self.rollups, debits], self.clock, sleep=self.clock.advance, cascade=cascade,
            recent=self.recent, trace_projections=[self.figures],
        )  # fmt: skip

    def pool(self, name: str = "acme", amount: str = "0", **more: Any) -> Pool:
        """A new pool, with money in it."""
        scope = more.pop("scope", {"tenant": "default"})
        pool = self.desk.create(Draft(name, scope, **more), usd(amount), ANN)
        self.clock.advance(1)  # every process knows by then
        return pool

    def grant(self, pool: Pool, amount: str, seconds: int) -> None:
        """Money that expires after so many seconds."""
        self.desk.fund(pool.no, usd(amount), self.clock.now_ns() + seconds * SECOND, ANN)

    def state(self, pool: Pool) -> PoolState:
        """How it stands; its accounts must agree with its postings whenever anybody looks."""
        assert self.desk.faults([pool]) == []
        return self.desk.states([pool])[pool.no]

    def asked(self, estimate: str | None = "1", **more: Any) -> GovernedCall:
        """A call that somebody wants to make."""
        return GovernedCall(at_ns=self.clock.now_ns(), pico=None if estimate is None else usd(estimate), **more)

    def hold(self, reservation: str, estimate: str | None = "1", **more: Any) -> str | None:
        """Hold money for a call; what is said when there is not enough."""
        with self.store.write() as transaction:
            ruling = self.gate.hold(transaction, self.asked(estimate, **more), reservation)
        return None if ruling is None else f"{ruling.action}: {ruling.reasons[0].text}"

    def release(self, *reservations: str) -> None:
        """Give back what is held."""
        with self.store.write() as transaction:
            self.gate.release(transaction, reservations)


def reserve(transaction: Transaction, reservation: str, *, ended: bool) -> None:
    """A row of `reservations` as whoever keeps them leaves it."""
    transaction.execute(
        "INSERT INTO reservations (reservation_id, tenant, state, tokens, made_ns, expires_ns, ended_ns) VALUES (?, ?, ?, 0, 1, 2, ?)",
        (reservation, "default", "booked" if ended else "held", 3 if ended else None),
    )
