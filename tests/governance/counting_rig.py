"""A ledger whose settling counts for budgets, and the budgets to count for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from ledger_rig import PRICES, SECOND, Rig

from otel_finops.genai.sighting import CALL, Sighting
from otel_finops.genai.usage import total_tokens
from otel_finops.governance.budget_fill import BudgetFiller, CountBeginnings
from otel_finops.governance.budget_gate import BudgetGate
from otel_finops.governance.budget_store import BudgetStore, Edit, followed_budgets
from otel_finops.governance.budgets import Budget, BudgetStatus
from otel_finops.governance.calls import GovernedCall, call_of_entry
from otel_finops.governance.counters import Counters
from otel_finops.governance.counts import DAY, PIECE, ROLLING_START, WINDOW
from otel_finops.governance.pending import PendingCalls
from otel_finops.governance.periods import day_window
from otel_finops.governance.rulings import Ruling
from otel_finops.governance.spending import StoredSpending
from otel_finops.governance.thresholds import Crossing, Thresholds, crossings
from otel_finops.identity.principals import Editor
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.journal import JournalRow, record_batches
from otel_finops.ledger.settle import Settler
from otel_finops.ledger.shards import shard_of
from otel_finops.ledger.standing import fold
from otel_finops.store.engine import Store

USD = 10**12
OWNER = Editor("olga")


_Sums: TypeAlias = dict[tuple[int, int], tuple[int, int, int]]
"""By count and start of the window."""


class CountingRig(Rig):
    """`Rig` with everything that counts, holds and looks at thresholds."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.spending = StoredSpending()
        self.thresholds = Thresholds(self.spending)
        self.budgets = BudgetStore(store, self.clock, self.subjects, CountBeginnings(self.thresholds))
        self.followed = followed_budgets(store, self.clock)
        self.filler = BudgetFiller(store, self.clock, self.followed, self.thresholds)
        self.pending = PendingCalls(followed_budgets(store, self.clock))
        self.gate = BudgetGate(followed_budgets(store, self.clock))
        self.counters = Counters(self.followed, self.thresholds)
        self.settler = Settler(
            store, self.leases, PRICES, [self.rollups, self.counters], self.clock, sleep=self.clock.advance, recent=self.recent,
            pending=self.pending,
        )  # fmt: skip

    def send(self, *sightings: Sighting) -> None:
        """Journal one delivery, as the service does."""
        rows = [JournalRow(one, PRICES.quote(PRICES.priceable(one)) if one.kind == CALL else None) for one in sightings]
        with self.store.write() as transaction:
            record_batches(
                transaction, [rows], now_ns=self.clock.now_ns(), settle_after_ns=5 * SECOND, subjects=self.subjects, recent=self.recent,
                pending=self.pending,
            )  # fmt: skip

    def settle_realm(self, realm: str) -> None:
        """Settle the shard of a realm alone, so that somebody else can settle another one at the same moment."""
        self.clock.advance(61)  # after a minute's quiet all of it is due
        self.settler.settle_due(shard_of(realm))

    def make(self, name: str = "all", scope: Mapping[str, str] | None = None, **fields: Any) -> Budget:
        """Make a budget; of 100 USD a month in UTC unless said otherwise."""
        said = {"name": name, "kind": "money", "amount": 100 * USD, **fields}
        made = self.budgets.create(Edit(lambda budget: budget._replace(**said), scope or {}), OWNER)[0]
        self.clock.advance(0.6)  # after which everybody knows of it
        return made

    def edit(self, budget: Budget, scope: Mapping[str, str] | None = None, **fields: Any) -> Budget:
        """Change a budget."""
        changed = self.budgets.update(budget.no, Edit(lambda one: one._replace(**fields), scope), OWNER)[1]
        self.clock.advance(0.6)
        return changed

    def delete(self, budget: Budget) -> None:
        """Take a budget away."""
        self.budgets.delete(budget.no, OWNER)
        self.clock.advance(0.6)

    def status(self, budget: Budget) -> BudgetStatus:
        """How a budget stands now."""
        with self.store.read() as transaction:
            return self.spending.statuses(transaction, [budget], self.clock.now_ns())[budget.no]

    def hold(self, reservation: str, pico: int | None = USD, tokens: int = 0, **said: Any) -> Ruling | None:
        """Hold for a call that starts now."""
        with self.store.write() as transaction:
            return self.gate.hold(transaction, self.asked(pico, tokens, **said), reservation)

    def asked(self, pico: int | None = USD, tokens: int = 0, **said: Any) -> GovernedCall:
        """A call that somebody wants to make now."""
        return GovernedCall(at_ns=self.clock.now_ns(), pico=pico, tokens=tokens, **said)

    def release(self, *reservations: str) -> None:
        """Give back."""
        with self.store.write() as transaction:
            self.gate.release(transaction, reservations)

    def crossed(self) -> list[Crossing]:
        """All crossings ever recorded."""
        with self.store.read() as transaction:
            return crossings(transaction, 0, 1_000)

    def stored(self) -> dict[tuple[int, int, int], tuple[int, int, int, int]]:
        """What the rows say was booked: money in pico-USD, tokens, calls, unpriced calls; rows of nothing are left out."""
        sql = "SELECT count_no, level, start_ns, booked_usd, booked_pico, booked_tokens, booked_calls, booked_unpriced FROM budget_counters"
        with self.store.read() as transaction:
            rows = [tuple(map(int, row)) for row in transaction.execute(sql)]
        found = {row[:3]: (row[3] * USD + row[4], *row[5:]) for row in rows}
        return {key: amounts for key, amounts in found.items() if any(amounts)}  # type: ignore[misc]

    def pending_sums(self) -> _Sums:
        """What is pending, by count and window: money in pico-USD, tokens and calls; what came out even is left out."""
        with self.store.read() as transaction:
            rows = transaction.execute("SELECT count_no, start_ns, usd, pico, tokens, calls FROM budget_pending")
        return _summed((_key(row), (int(row[2]) * USD + int(row[3]), int(row[4]), int(row[5]))) for row in rows)

    def held_sums(self) -> _Sums:
        """What the windows' rows say is held."""
        columns = "count_no, start_ns, reserved_usd, reserved_pico, reserved_tokens, reserved_calls"
        with self.store.read() as transaction:
            rows = transaction.execute(f"SELECT {columns} FROM budget_counters")
        return _summed((_key(row), (int(row[2]) * USD + int(row[3]), int(row[4]), int(row[5]))) for row in rows)

    def noted_holds(self) -> _Sums:
        """What the single holds come to."""
        with self.store.read() as transaction:
            rows = transaction.execute("SELECT count_no, start_ns, pico, tokens, calls FROM budget_holds")
        return _summed((_key(row), (int(row[2]), int(row[3]), int(row[4]))) for row in rows)

    def recounted(self) -> dict[tuple[int, int, int], tuple[int, int, int, int]]:
        """What they should say: each standing call, counted where its budget's period says that it belongs."""
        found: dict[tuple[int, int, int], list[int]] = {}
        for net in self.net_calls():
            call = call_of_entry(net, total_tokens(net.usage))
            for budget in self.budgets.all():
                if budget.scope.matches(call):
                    for level, start in _places(budget, call.at_ns):
                        row = found.setdefault((budget.counting, level, start), [0, 0, 0, 0])
                        for at, amount in enumerate((call.pico or 0, call.tokens, 1, int(call.pico is None))):
                            row[at] += amount
        return {key: tuple(row) for key, row in found.items()}  # type: ignore[misc]

    def net_calls(self) -> list[Entry]:
        """The calls that stand."""
        return [net for net in fold(self.entries()).values() if net.role == "call"]


def _key(row: tuple[Any, ...]) -> tuple[int, int]:
    return int(row[0]), int(row[1])


def _summed(rows: Iterable[tuple[tuple[int, int], tuple[int, int, int]]]) -> _Sums:
    found: _Sums = {}
    for key, (pico, tokens, calls) in rows:
        held = found.get(key, (0, 0, 0))
        found[key] = held[0] + pico, held[1] + tokens, held[2] + calls
    return {key: amounts for key, amounts in found.items() if any(amounts)}


def _places(budget: Budget, at_ns: int) -> list[tuple[int, int]]:
    period = budget.period
    window = (WINDOW, ROLLING_START if period.is_rolling else period.window(at_ns).start_ns)
    days = [] if period.kind == "daily" else [(DAY, day_window(at_ns, period.zone).start_ns)]
    pieces = [(PIECE, period.piece(at_ns).start_ns)] if period.kind == "rolling_hours" else []
    return [window, *days, *pieces]
