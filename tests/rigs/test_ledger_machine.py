"""Two replicas on one database, senders that repeat, reorder and correct themselves, late parents, restarts, lost leases, other prices
and runs that reprice, some of which die on the way: after every step the ledger is what a model of a few lines says.

A failure prints the steps that lead to it, and a line with which the same run can be repeated.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
from empty_ledgers import fill
from figures_model import check_figures
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from ledger_rig import PRICES, SECOND, Rig, call, plain, span_id, trace_id
from other_prices import TimesPrices
from rig_ledgers import canonical
from sqlalchemy import make_url

from otel_finops.base.errors import Unavailable
from otel_finops.genai.sighting import AGENT, CALL, Sighting
from otel_finops.ledger.corrections import Corrector, Selection
from otel_finops.ledger.group_commit import GroupCommitter
from otel_finops.ledger.journal import JournalRow, Recorded
from otel_finops.ledger.reprice import reprice
from otel_finops.ledger.shards import SHARDS, lease_name
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases
from otel_finops.testing import FakeClock

Key = tuple[int, int]
MICRO_USD = 10**6
"""A millionth of a dollar in pico-USD."""


class Sent(NamedTuple):
    """One span as it was sent: which, and how complete. Parents are span 0."""

    trace: int
    span: int
    version: int

    @property
    def key(self) -> Key:
        return self.trace, self.span

    @property
    def pico(self) -> int:
        """gpt-4o at 2.50 and 10 USD a million: 2.5 micro-USD for each token in, 10 for each token out."""
        return 0 if self.span == 0 else (self._input * 25 + self._output * 100) * MICRO_USD // 10

    def sighting(self) -> Sighting:
        """No two calls have equal numbers, so that none looks like another's duplicate."""
        if self.span == 0:
            return plain(_number(self.key), self.trace, kind=AGENT, genai=True, attribution={"tenant": f"team-{self.trace}", "agent": "a"})
        usage = {"input_uncached": self._input, "output": self._output}
        end_ns = call(1).end_ns + (60 * self.span + self.version) * SECOND
        return call(_number(self.key), self.trace, parent=_number((self.trace, 0)), at_s=60 * self.span, usage=usage, end_ns=end_ns)

    @property
    def _input(self) -> int:
        return 1_000 + 100 * self.trace + self.span

    @property
    def _output(self) -> int:
        return 10 + self.version


def _number(key: Key) -> int:
    return 100 * key[0] + key[1] + 1


class LeasesByOurClock(Leases):
    """A PostgreSQL server whose time is that of the clock which we set, as it is for SQLite."""

    def _now_ns(self) -> int:
        return self._clock.now_ns()


class Replica:
    """One process of the service: its store, its memos, its name as the holder of leases."""

    def __init__(self, url: str, holder: str, clock: FakeClock) -> None:
        self.rig = Rig(Store.open(url, clock), holder=holder)
        self.rig.clock = clock
        self.rig.leases = LeasesByOurClock(self.rig.store, clock, holder)
        self.rig.use(PRICES)
        self.committer = GroupCommitter(self.rig.store, clock, subjects=self.rig.subjects, recent=self.rig.recent)

    def take(self, spans: list[Sent]) -> Recorded:
        """One request."""
        sightings = [span.sighting() for span in spans]
        return self.committer.submit([JournalRow(s, PRICES.quote(PRICES.priceable(s)) if s.kind == CALL else None) for s in sightings])

    def close(self) -> None:
        self.committer.close()
        self.rig.store.close()


EVER = Selection(0, 2**62)


class GoneAway:
    """A projection that finds the database gone."""

    def apply(self, transaction: Any, entries: Any) -> None:
        raise Unavailable("the database went away")


SPANS = st.builds(Sent, st.integers(1, 3), st.integers(0, 4), st.integers(0, 2))
REQUESTS = st.lists(SPANS, min_size=1, max_size=6)
REPLICAS = st.integers(0, 1)


class LedgerMachine(RuleBasedStateMachine):
    """See the module."""

    new_database: ClassVar[Callable[[], str]]
    generations = count()

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.url = type(self).new_database()
        self.replicas = [self._replica(0), self._replica(1)]
        self.best: dict[Key, Sent] = {}
        self.booked: dict[Key, Sent] = {}
        self.factors: dict[Key, int] = {}
        self.delivered: set[Sent] = set()
        self.recorded = Recorded(0, 0, 0)
        self.spans = 0

    def _replica(self, which: int) -> Replica:
        return Replica(self.url, f"replica {which}, run {next(self.generations)}", self.clock)

    # --- what happens ---

    @initialize(first=REQUESTS)
    def begin(self, first: list[Sent]) -> None:
        self.send(first, 0)

    @rule(spans=REQUESTS, to=REPLICAS)
    def send(self, spans: list[Sent], to: int) -> None:
        """New spans, repeated ones, further versions, parents before and after their children: whatever the list holds."""
        told = self.replicas[to].take(spans)
        self.recorded = Recorded(*map(sum, zip(self.recorded, told, strict=True)))
        self.spans += len(spans)
        self.delivered.update(spans)
        for span in spans:
            self.best[span.key] = max(span, self.best.get(span.key, span)) if span.span else Sent(span.trace, 0, 0)

    @rule(seed=st.integers(0, 2**16))
    def storm(self, seed: int) -> None:
        """Everything once more, in another order and grouping, by both ways."""
        rng, spans = random.Random(seed), sorted(self.delivered)
        rng.shuffle(spans)
        while spans:
            size = rng.randint(1, 5)
            self.send(spans[:size], rng.randint(0, 1))
            del spans[:size]

    @rule(by=REPLICAS)
    def settle(self, by: int) -> None:
        self.clock.advance(11)
        self.replicas[by].rig.settler.settle_all()
        self.all_is_settled()

    @rule(first=REPLICAS)
    def settle_what_is_due_in_turns(self, first: int) -> None:
        """After a minute's quiet all of it is."""
        self.clock.advance(61)
        for shard in range(SHARDS):
            for turn in range(20):
                if not self.replicas[(first + turn) % 2].rig.settler.settle_due(shard):
                    break
        self.all_is_settled()

    def all_is_settled(self) -> None:
        """What is new, or has other usage, is charged by the settlers' prices; what was repriced stays so."""
        self.factors.update({key: 1 for key, span in self.best.items() if self.booked.get(key) != span})
        self.booked = dict(self.best)

    @rule(by=REPLICAS, factor=st.integers(1, 3))
    def reprice(self, by: int, factor: int) -> None:
        """By prices that the settlers do not hold. What waits to be settled is left to them."""
        rig = self.replicas[by].rig
        reprice(self.corrector(rig, factor, rig.rollups), EVER, who="machine", why="other prices")
        self.factors.update({key: factor for key, span in self.booked.items() if self.best[key] == span})

    @rule(by=REPLICAS)
    def a_run_dies_before_its_first_commit(self, by: int) -> None:
        """All traces of the machine are of one shard, so that a run has one round: it is done, or it is not."""
        self.clock.advance(11)
        rig = self.replicas[by].rig
        with suppress(Unavailable):
            reprice(self.corrector(rig, 5, GoneAway()), EVER, who="machine", why="other prices")
        self.clock.advance(11)

    def corrector(self, rig: Rig, factor: int, projection: Any) -> Corrector:
        self.clock.advance(11)
        engine: Any = PRICES if factor == 1 else TimesPrices(factor)
        return Corrector(rig.store, rig.leases, engine, [projection, rig.figures], self.clock, sleep=self.clock.advance)

    @rule(which=REPLICAS)
    def restart(self, which: int) -> None:
        self.replicas[which].close()
        self.replicas[which] = self._replica(which)

    @rule(which=REPLICAS, shard=st.integers(0, SHARDS - 1))
    def die_with_a_lease(self, which: int, shard: int) -> None:
        """The other settles once the lease has run out."""
        self.replicas[which].rig.leases.acquire(lease_name(shard))
        self.restart(which)

    @rule(seconds=st.sampled_from([1, 30, 4000]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    # --- what must hold ---

    @invariant()
    def the_sum_of_the_ledger_is_the_models(self) -> None:
        wanted = sum(self.factors[key] * span.pico for key, span in self.booked.items())
        for replica in self.replicas:
            assert replica.rig.total() == replica.rig.spent() == wanted

    @invariant()
    def every_span_was_counted_once(self) -> None:
        """received = recorded + duplicate, and recorded are the different ones."""
        different = len({span if span.span else Sent(span.trace, 0, 0) for span in self.delivered})
        assert self.spans == self.recorded.journalled + self.recorded.duplicates
        assert self.recorded.journalled == different
        assert self.recorded.conflicts == different - len(self.best)

    @invariant()
    @precondition(lambda self: bool(self.booked))
    def both_replicas_show_the_same_sound_ledger(self) -> None:
        """`canonical` verifies the chain and compares roll-ups with what stands, `check_figures` runs and sums with the trees.

        Trees are of all that was received, runs and sums of what is settled: they are compared when nothing waits.
        """
        if self.booked == self.best:
            check_figures(self.replicas[0].rig)
        dumps = [canonical(replica.rig) for replica in self.replicas]
        assert dumps[0] == dumps[1]
        calls = {entry.span_id: entry for entry in self.replicas[0].rig.net().values()}
        for key, span in self.booked.items():
            if span.span:
                entry = calls[span_id(_number(key))]
                tenant = f"team-{span.trace}" if (span.trace, 0) in self.booked else "default"
                assert (entry.trace_id, entry.cost_pico, entry.tenant) == (trace_id(span.trace), self.factors[key] * span.pico, tenant)

    def teardown(self) -> None:
        """In the end the ledger is the one that holds the best versions alone, sent in order."""
        self.settle(0)
        self.the_sum_of_the_ledger_is_the_models()
        self.reprice(1, 1)
        self.the_sum_of_the_ledger_is_the_models()
        found = canonical(self.replicas[1].rig)
        for replica in self.replicas:
            replica.close()
        self.url = type(self).new_database()
        fresh = self._replica(0)
        fresh.take([self.best[key] for key in sorted(self.best)])
        fresh.rig.settler.settle_all()
        assert canonical(fresh.rig) == found
        fresh.close()


def run(new_database: Callable[[], str], *, shrink: bool = True, **bounds: Any) -> None:
    class Machine(LedgerMachine):
        pass

    Machine.new_database = staticmethod(new_database)
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    phases = [phase for phase in Phase if shrink or phase is not Phase.shrink]
    bounds = {"deadline": None, "print_blob": True, "suppress_health_check": checks, "phases": phases, **bounds}
    run_state_machine_as_test(Machine, settings=settings(**bounds))


def sqlite_databases(folder: Path) -> Callable[[], str]:
    """Gives empty SQLite ledgers."""
    return lambda: fill(f"sqlite:///{Path(tempfile.mkdtemp(dir=folder)) / 'ledger.db'}")


def postgres_databases(first: str) -> Callable[[], str]:
    """Gives empty PostgreSQL ledgers beside a database."""
    url, numbers = make_url(first), count()
    return lambda: fill(url.set(database=f"{url.database}_{next(numbers)}").render_as_string(hide_password=False))


def test_any_course_of_events_ends_in_the_models_ledger(tmp_path: Path) -> None:
    run(sqlite_databases(tmp_path), max_examples=40, stateful_step_count=25)


@pytest.mark.long
def test_any_long_course_of_events_ends_in_the_models_ledger(tmp_path: Path) -> None:
    run(sqlite_databases(tmp_path), max_examples=400, stateful_step_count=50)


@pytest.mark.long
@pytest.mark.postgres
def test_any_course_of_events_ends_in_the_models_ledger_on_postgresql(postgres_database: str) -> None:
    run(postgres_databases(postgres_database), max_examples=60, stateful_step_count=30, shrink=False)
