"""What the operations on insight and alerting ask of the rooms below: one protocol for each desk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from threading import Event
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from otel_finops.trees.queries import Tenants

if TYPE_CHECKING:  # these rooms load a database toolkit, which `--help` must not wait for
    from otel_finops.governance.budgets import Budget
    from otel_finops.identity.principals import Editor
    from otel_finops.insight.backtest import Backtest
    from otel_finops.insight.chargeback import Asked, Chargeback
    from otel_finops.insight.cost_centers import Book, CostCenter, Rule
    from otel_finops.insight.definitions import Definitions
    from otel_finops.insight.focus import Step, Version
    from otel_finops.insight.footprint import Basis, Footprint
    from otel_finops.insight.footprints import Asked as FootprintAsked
    from otel_finops.insight.footprints import FootprintGroup
    from otel_finops.insight.forecast_store import Forecasted, StoredForecast
    from otel_finops.insight.forecasts import SpendAsked, SpendOutlook
    from otel_finops.insight.outcome_reads import OutcomeQuery
    from otel_finops.insight.outcome_report import OutcomeReport
    from otel_finops.insight.outcomes_given import Given, Saying
    from otel_finops.insight.quality import Score, Wanted
    from otel_finops.insight.quality_store import QualityStore
    from otel_finops.insight.repricing import Repriced
    from otel_finops.insight.routing import Candidate
    from otel_finops.insight.traffic import Selection
    from otel_finops.insight.trials import Method
    from otel_finops.insight.unit_costs import UnitAsked, UnitReport
    from otel_finops.insight.waste_reads import WasteAsked, WasteReport
    from otel_finops.insight.whatif import Change
    from otel_finops.ledger.course import Span
    from otel_finops.ledger.export import Times
    from otel_finops.ledger.tenants import Tenants
    from otel_finops.operations.routing_desk import Simulated
    from otel_finops.pricing.engine import PriceEngine
    from otel_finops.store.jobs import Failing, Job, JobRun, JobRunner


class Footprints(Protocol):
    """What calls took of electricity, and the greenhouse gases of it.

    Attributes:
        source: what models are known from; None: nothing is known of any.

    Raises:
        Busy, Unavailable: the store cannot answer now.
    """

    @property
    def source(self) -> str | None:
        """See above."""
        ...

    def basis(self, provider: str, model: str, region: str) -> Basis:
        """By what calls of a model in a region are reckoned."""
        ...

    def summary(self, asked: FootprintAsked) -> tuple[Footprint, Sequence[FootprintGroup]]:
        """What all calls took, and the groups; raises BadInput for unknown keys, or too many groups."""
        ...

    def course(self, asked: FootprintAsked, spans: Sequence[Span]) -> Sequence[tuple[Footprint, Sequence[FootprintGroup]]]:
        """The same of pieces of time that follow each other."""
        ...


class Forecasts(Protocol):
    """What budgets and calls will come to.

    Raises:
        Busy, Unavailable: the store cannot answer now.
    """

    def of_budgets(self, budgets: Sequence[Budget], method: Method = "auto") -> Sequence[Forecasted]:
        """These budgets, how they stand and what they will come to."""
        ...

    def kept(self, budgets: Sequence[Budget]) -> Mapping[int, StoredForecast]:
        """What the job last kept of these budgets' forecasts, by number."""
        ...

    def of_spend(self, asked: SpendAsked, method: Method, limit: int) -> SpendOutlook:
        """What calls will come to; raises BadInput for an unknown key, or too many groups."""
        ...

    def backtest_spend(self, asked: SpendAsked, steps: int) -> Backtest:
        """How well the spend of so many days would have been forecast; moments 0 where the past is too short."""
        ...

    def backtest_budget(self, budget: Budget, steps: int) -> Backtest:
        """The same of what was counted for a budget; raises MissingRate where a day with spend has no rate."""
        ...


class Outcomes(Protocol):
    """How work came out, and what it cost.

    Raises:
        Busy, Unavailable: the store cannot answer now.
    """

    def record(self, said: Sequence[Saying], tenants: Tenants, *, who: str, dry_run: bool = False) -> int:
        """Put on record what somebody who sees these tenants says; how much of it was new.

        Raises:
            BadInput, NotFound: see `insight.outcomes_given`; nothing of it is on record then.
        """
        ...

    def report(self, query: OutcomeQuery, group_by: Sequence[str]) -> OutcomeReport:
        """Success, failure and cost; raises BadInput for an unknown key, too many outcomes or too many groups."""
        ...

    def spent(self, query: OutcomeQuery) -> int:
        """What was spent in the query's time on calls of its tenants, pico-USD."""
        ...

    def given(self, tenants: Tenants, trace_id: str | None, name: str | None, before_no: int | None, limit: int) -> Sequence[Given]:
        """What somebody said of traces, newest first; `before_no` is the last number of the page before."""
        ...


class UnitCosts(Protocol):
    """What one of each costs.

    Raises:
        BadInput: an unknown key, or too much of anything.
        Busy, Unavailable: the store cannot answer now.
    """

    def report(self, asked: UnitAsked) -> UnitReport:
        """Unit costs, savings of caches, and what successes cost, on one snapshot."""
        ...


class Wastes(Protocol):
    """What was spent for nothing.

    Raises:
        Busy, Unavailable: the store cannot answer now.
    """

    def report(self, asked: WasteAsked) -> WasteReport:
        """Findings, dearest first, on one snapshot."""
        ...


class JobState(NamedTuple):
    """A job and how it fares.

    Attributes:
        holder: which process runs it now; None: nobody does.
        last: the last run that ended, in whichever process; None: it never ran.
        failing: since when all its runs failed; None: the last one did not.
    """

    job: Job
    holder: str | None
    last: JobRun | None
    failing: Failing | None


class Jobs(Protocol):
    """What the service does by the clock.

    Attributes:
        jobs: what the settings want.
        runner: runs them under their leases.
        stopping: set as soon as no further round of a job is to begin.

    Raises:
        NotFound: there is no such job.
        Busy, Unavailable: the store cannot answer now.
    """

    jobs: tuple[Job, ...]
    runner: JobRunner
    stopping: Event

    def all(self) -> Sequence[JobState]:
        """The jobs that the settings want, and how they fare."""
        ...

    def find(self, name: str) -> JobState:
        """One of them."""
        ...

    def runs(self, name: str, before_no: int | None, limit: int) -> Sequence[JobRun]:
        """A page of a job's runs, newest first, those before a number."""
        ...

    def run(self, name: str, *, who: str) -> JobRun:
        """Run a job now; its fault is told in the run. Raises Busy while another process runs it."""
        ...


class Chargebacks(Protocol):
    """Cost centres, rules for shared costs, and who bears what.

    Raises:
        BadInput: what cannot be stored, or asked.
        NotFound: there is no such cost centre or rule for who changes it.
        Forbidden: only who sees all tenants may change it.
        Conflict: it is of another revision than was seen.
        Busy, Unavailable: the store cannot answer now.
    """

    def book(self) -> Book:
        """All cost centres and rules, as they are stored at this moment."""
        ...

    def create_center(self, center: CostCenter, editor: Editor, *, dry_run: bool) -> CostCenter:
        """Make a cost centre, or in a dry run say what would be made."""
        ...

    def update_center(
        self, no: int, changes: Mapping[str, Any], editor: Editor, revision: int | None, *, dry_run: bool
    ) -> tuple[CostCenter, CostCenter]:
        """Change one; as it was and as it is."""
        ...

    def delete_center(self, no: int, editor: Editor, revision: int | None, *, dry_run: bool) -> CostCenter:
        """Take one away; as it was."""
        ...

    def create_rule(self, rule: Rule, editor: Editor, *, dry_run: bool) -> Rule:
        """Make a rule, or in a dry run say what would be made."""
        ...

    def update_rule(
        self, no: int, change: Callable[[Rule], Rule], editor: Editor, revision: int | None, *, dry_run: bool
    ) -> tuple[Rule, Rule]:
        """Change one; as it was and as it is."""
        ...

    def delete_rule(self, no: int, editor: Editor, revision: int | None, *, dry_run: bool) -> Rule:
        """Take one away; as it was."""
        ...

    def report(self, asked: Asked) -> Chargeback:
        """Who bears what, on one snapshot."""
        ...


class WhatIfs(Protocol):
    """What recorded calls would have cost otherwise.

    Attributes:
        scenarios: saved questions.

    Raises:
        Busy, Unavailable: the store cannot answer now.
    """

    scenarios: Definitions

    @property
    def engine(self) -> PriceEngine:
        """The prices of now."""
        ...

    def run(self, selection: Selection, changes: Sequence[Change]) -> Repriced:
        """Price the selected calls anew. Raises BadInput for an unknown filter, and for an hour cut of which rows were pruned."""
        ...


class Routing(Protocol):
    """Which model is the cheapest that is good enough, and how good models are.

    Attributes:
        rules: the stored rules.
        quality: imported scores.

    Raises:
        Busy, Unavailable: the store cannot answer now.
    """

    rules: Definitions
    quality: QualityStore

    def scores(self, tenants: Tenants) -> Sequence[Score]:
        """Imported scores that these tenants may see, and the shares of successes among their outcomes."""
        ...

    def simulate(
        self, selection: Selection, candidates: Sequence[Candidate], wanted: Wanted, bar: Fraction, *, own: str, allow_unknown: bool
    ) -> Simulated:
        """Judge candidates by the selected calls; `own` is whose own scores count beside those about all calls. Raises as `WhatIfs.run`."""
        ...

    def fetched(self, origin: str | None) -> tuple[bytes, str]:
        """A file of scores and what it is called. Raises BadInput for what may not be read, Unavailable for who does not answer."""
        ...


class Focus(Protocol):
    """FOCUS rows, in batches; all of one answer are the state of the moment at which it was asked for.

    Raises:
        BadInput: no month, or some of what is asked for was pruned.
        Busy, Unavailable: the store cannot answer now; the batches raise them too.
    """

    def charges(self, tenants: Tenants, window: Times, step: Step, version: Version) -> Iterator[Sequence[Mapping[str, Any]]]:
        """Of calls that started in a time, summed up by hour or day."""
        ...

    def billed(self, tenants: Tenants, month: str, step: Step, version: Version) -> Iterator[Sequence[Mapping[str, Any]]]:
        """What belongs to a month, with corrections of months that were closed before."""
        ...
