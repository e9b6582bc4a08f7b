"""The operations' context over a database of our own: what `serve` and the commands run on."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from otel_finops.alerting.channel_desk import ChannelDesk
from otel_finops.audit.clockwork import note
from otel_finops.audit.reading import StoredAudit
from otel_finops.audit.stored import StoredTrail
from otel_finops.audit.trail import Trail
from otel_finops.base.clock import Clock, SystemClock
from otel_finops.base.errors import FinopsError
from otel_finops.governance.approvals import StoredApprovals
from otel_finops.governance.credit_desk import CreditDesk
from otel_finops.governance.credit_rates import CreditRates
from otel_finops.governance.decision_desk import DecisionDesk
from otel_finops.governance.kill_switches import KillSwitches
from otel_finops.governance.projections import projections
from otel_finops.governance.replay import Replays
from otel_finops.governance.verdicts import GuardrailDesk
from otel_finops.identity.desk import TokenDesk
from otel_finops.identity.live import LiveTokens
from otel_finops.identity.principals import LOCAL
from otel_finops.insight.anomaly_desk import anomaly_desk
from otel_finops.insight.focus_export import FocusExport
from otel_finops.insight.footprints import Footprints
from otel_finops.insight.forecasts import Forecasts
from otel_finops.insight.outcomes_given import OutcomeDesk
from otel_finops.insight.projections import told_outcomes
from otel_finops.insight.quality_outcomes import outcomes_by_model
from otel_finops.insight.unit_costs import UnitCostDesk
from otel_finops.insight.waste_reads import WasteDesk
from otel_finops.ledger.allowances import Project
from otel_finops.ledger.corrections import Corrector
from otel_finops.ledger.coverage import CoverageReport, coverage
from otel_finops.ledger.current_prices import CurrentPrices, base_of
from otel_finops.ledger.dashboard import Dashboard
from otel_finops.ledger.export import LedgerExport
from otel_finops.ledger.head import verify_head
from otel_finops.ledger.quarantine import Quarantine
from otel_finops.ledger.reader import LedgerReader
from otel_finops.ledger.rollups import Rollups
from otel_finops.ledger.rows import to_contract
from otel_finops.ledger.spend import SpendReport
from otel_finops.ledger.spend_entries import Basis
from otel_finops.ledger.subjects import Subjects
from otel_finops.ledger.subscription_windows import CurrentRules
from otel_finops.ledger.verify import verify
from otel_finops.operations.alerting import alerts_desk
from otel_finops.operations.alerts_desk import AlertsDesk
from otel_finops.operations.bills_desk import BillsDesk
from otel_finops.operations.budgets_desk import budgets_desk
from otel_finops.operations.chargeback_desk import ChargebackDesk
from otel_finops.operations.context import (
    Context,
    GovernanceDesks,
    Health,
    House,
    InsightDesks,
    NoticeDesks,
    PriceDesks,
    RecordDesks,
)
from otel_finops.operations.corrections_desk import CorrectionsDesk
from otel_finops.operations.governing import decision_desk, policies_desk
from otel_finops.operations.idempotency import StoredAnswers
from otel_finops.operations.jobs_desk import JobsDesk
from otel_finops.operations.money_desk import MoneyDesk
from otel_finops.operations.notifying import channel_desk
from otel_finops.operations.price_lists import PriceLists
from otel_finops.operations.pricing_desk import PricingDesk
from otel_finops.operations.readers import Page, Verdict, Window
from otel_finops.operations.retention_desk import RetentionDesk
from otel_finops.operations.routing_desk import RoutingDesk, WhatIfDesk
from otel_finops.operations.scheduled import Parts, scheduled
from otel_finops.operations.trees_desk import TreesDesk
from otel_finops.operations.watch_desk import WatchDesk
from otel_finops.pricing.engine import PriceEngine
from otel_finops.pricing.fx import OtherCurrency
from otel_finops.settings.tree import Settings
from otel_finops.store.engine import Store
from otel_finops.store.jobs import Job, JobRunner, JobRuns
from otel_finops.store.lease import Leases
from otel_finops.store.signing import load_key, parsed, public_hex
from otel_finops.store.upgrade import Upgrade, check, upgrade
from otel_finops.trees.chosen import EVERYTHING, Choice
from otel_finops.trees.cost_tree import CostTree
from otel_finops.trees.labels import labels_of
from otel_finops.trees.projected import TraceFigures
from otel_finops.trees.queries import Tenants, TraceLabel, TracePage, TraceQuery
from otel_finops.trees.ranking import search_traces
from otel_finops.trees.search import read_tree


class Room(NamedTuple):
    """An open database with what reads it; `context` is for the operations, the rest for commands that stream."""

    settings: Settings
    store: Store
    subjects: Subjects
    clock: Clock
    prices: CurrentPrices
    context: Context


class StoreReads:
    """`Reads` over a store."""

    def __init__(self, store: Store, subjects: Subjects) -> None:
        self._store = store
        self._subjects = subjects
        self._reader = LedgerReader(store, subjects)

    def trace(self, trace_id: str, tenants: Tenants, choice: Choice = EVERYTHING) -> CostTree | None:
        """See `Reads.trace`."""
        with self._store.read() as transaction:
            return read_tree(transaction, trace_id, tenants, choice)

    def traces(self, query: TraceQuery) -> TracePage:
        """See `Reads.traces`."""
        with self._store.read() as transaction:
            return search_traces(transaction, query)

    def labels(self, trace_ids: Sequence[str], tenants: Tenants) -> Mapping[tuple[str, str], TraceLabel]:
        """See `Reads.labels`."""
        with self._store.read() as transaction:
            return labels_of(transaction, trace_ids, tenants)

    def spend(
        self,
        tenants: Tenants,
        group_by: Sequence[str],
        window: Window,
        filters: Mapping[str, str],
        other: OtherCurrency | None = None,
        basis: Basis = "cost",
    ) -> SpendReport:
        """See `Reads.spend`."""
        allowed = {name: (value,) for name, value in filters.items()}
        return self._reader.spend(tenants, group_by, window.from_ns, window.to_ns, allowed, other, basis)

    def usage(self, tenants: Tenants, window: Window, filters: Mapping[str, str], cursor: str | None, limit: int) -> Page:
        """See `Reads.usage`."""
        page = self._reader.usage(tenants, window.from_ns, window.to_ns, filters, cursor, limit)
        refs = {ref for entry in page.entries for ref in (entry.user, entry.session) if ref is not None}
        names: Mapping[str, str] = {}
        if refs:
            with self._store.read() as transaction:
                names = self._subjects.clear(transaction, refs)
        rows = [entry._replace(user=_clear(names, entry.user), session=_clear(names, entry.session)) for entry in page.entries]
        return Page([to_contract(entry) for entry in rows], page.next_cursor)

    def coverage(self, tenants: Tenants, window: Window, service: str | None) -> CoverageReport:
        """See `Reads.coverage`."""
        with self._store.read() as transaction:
            return coverage(transaction, tenants, window.from_ns, window.to_ns, service)


def _clear(names: Mapping[str, str], ref: str | None) -> str | None:
    """The clear id; an erased one keeps its reference."""
    return None if ref is None else names.get(ref, ref)


def verdict(store: Store, head: str | None, public_key: str | None) -> Verdict:
    """Walk the chains and compare them with an exported head, on one snapshot.

    Raises:
        BadInput: the head is no signed head, or was not signed by that key.
    """
    with store.read() as transaction:
        against = None if head is None else verify_head(transaction, parsed(head, "ledger head"), public_key)
        return Verdict(verify(transaction), against)


_SERVICE_NOT_ASKED: Final = Health(
    "service", None, "not asked: this looks at the database alone; a running service says how it is at /readyz and /api/v1/health"
)


def store_health(store: Store) -> Sequence[Health]:
    """Whether the database answers."""
    try:
        with store.read() as transaction:
            transaction.execute("SELECT 1")
    except FinopsError as fault:
        return (Health("store", False, str(fault)),)
    return (Health("store", True),)


class _Ground(NamedTuple):
    """What desks stand on; `anywhere` as `make_context` has it."""

    settings: Settings
    store: Store
    subjects: Subjects
    prices: CurrentPrices
    clock: Clock
    anywhere: bool


class _Shared(NamedTuple):
    """Desks that others need as they are, not only through what operations may ask of them; `leases` are for what runs as a job."""

    leases: Leases
    corrections: CorrectionsDesk
    retention: RetentionDesk
    switches: KillSwitches
    approvals: StoredApprovals
    decisions: DecisionDesk
    pools: CreditDesk
    channels: ChannelDesk
    alerts: AlertsDesk

    @classmethod
    def over(cls, ground: _Ground) -> _Shared:
        """Each once."""
        settings, store, subjects, prices, clock, _ = ground
        leases = _leases(store, clock, "jobs")
        switches = KillSwitches(store, clock, settings.kill_switch)
        approvals = StoredApprovals(store, clock, subjects, settings.approvals)
        pools = CreditDesk(store, clock, subjects, CreditRates())
        return cls(
            leases=leases,
            corrections=corrections_desk(settings, store, prices, clock),
            retention=retention_desk(settings, store, clock),
            switches=switches,
            approvals=approvals,
            decisions=decision_desk(settings, store, clock, subjects, switches, approvals),
            pools=pools,
            channels=channel_desk(settings, store, clock, leases),
            alerts=alerts_desk(settings, store, clock, subjects, prices, switches, pools),
        )


def make_context(
    settings: Settings,
    store: Store,
    subjects: Subjects,
    prices: CurrentPrices,
    clock: Clock,
    *,
    trail: Trail | None = None,
    health: Callable[[], Sequence[Health]] | None = None,
    anywhere: bool = False,
    live: LiveTokens | None = None,
) -> Context:
    """The operations' context over these parts.

    Args:
        health: adds the state of listeners and settlers to the store's; None where no service runs in this process.
        anywhere: a price list may be fetched from any URL, not only from that of the settings.
        live: the stored tokens that hold in this process; None where no service runs in it.
    """
    ground = _Ground(settings, store, subjects, prices, clock, anywhere)
    shared = _Shared.over(ground)
    return Context.of(
        _record(ground, shared),
        _prices(ground),
        _governance(ground, shared),
        _insight(ground, shared),
        NoticeDesks(alerts=shared.alerts, channels=shared.channels),
        _house(ground, _jobs(ground, shared), trail or StoredTrail(store), health, live),
    )


def _record(ground: _Ground, shared: _Shared) -> RecordDesks:
    settings, store, subjects, _, clock, _ = ground
    return RecordDesks(
        reads=StoreReads(store, subjects),
        trees=TreesDesk(store, subjects),
        dashboard=Dashboard(store, subjects),
        verify=lambda head, public_key: verdict(store, head, public_key),
        exports=LedgerExport(store, subjects),
        corrections=shared.corrections,
        quarantine=Quarantine(store, clock, subjects, settle_after_s=settings.ledger.settle_after),
        retention=shared.retention,
    )


def _prices(ground: _Ground) -> PriceDesks:
    settings, store, _, prices, clock, anywhere = ground
    rules = CurrentRules(store, settings.pricing)
    return PriceDesks(
        prices=PriceLists(store, prices, settings.prices, anywhere=anywhere),
        watches=WatchDesk(store, clock, prices, settings.prices.watch_days),
        pricing=PricingDesk(store, clock, prices, lambda engine: _corrector(settings, store, clock, engine), rules),
        money=MoneyDesk(store, clock, settings.pricing, files=anywhere),
    )


def _governance(ground: _Ground, shared: _Shared) -> GovernanceDesks:
    settings, store, subjects, prices, clock, _ = ground
    return GovernanceDesks(
        switches=shared.switches,
        budgets=budgets_desk(store, clock, subjects),
        approvals=shared.approvals,
        decisions=shared.decisions,
        policies=policies_desk(settings, store, clock, subjects),
        credits=shared.pools,
        guardrails=GuardrailDesk(store),
        replays=Replays(store, clock, prices.fresh, settings.enforcement, figures=settings.features.figures),
    )


def _insight(ground: _Ground, shared: _Shared) -> InsightDesks:
    settings, store, subjects, prices, clock, anywhere = ground
    succeeded = outcomes_by_model if settings.features.outcomes else None
    return InsightDesks(
        outcomes=OutcomeDesk(store, clock),
        unit_costs=UnitCostDesk(store),
        waste=WasteDesk(store, prices.fresh, settings.waste),
        whatif=WhatIfDesk(store, clock, prices.fresh, local=anywhere),
        routing=RoutingDesk(store, clock, prices.fresh, settings.quality, succeeded, files=anywhere),
        chargebacks=ChargebackDesk(store, clock, lambda: CurrentRules(store, settings.pricing)().subscriptions, shared.pools.all),
        focus=FocusExport(store),
        bills=BillsDesk(store, clock, prices.fresh, settings.reconciliation, files=anywhere),
        forecasts=Forecasts(store, clock, subjects),
        anomalies=anomaly_desk(store, shared.leases, clock, settings.anomalies, settings.display.zone),
        footprints=Footprints(store, subjects, settings.footprint),
    )


def _jobs(ground: _Ground, shared: _Shared) -> JobsDesk:
    settings, store, _, prices, clock, _ = ground
    leases, records = shared.leases, JobRuns(store)

    def jobs(is_stopping: Callable[[], bool]) -> Sequence[Job]:
        return scheduled(
            Parts(
                settings,
                store,
                clock,
                leases,
                prices,
                shared.corrections,
                shared.retention,
                shared.pools,
                shared.decisions.expire,
                shared.channels.deliver,
                shared.alerts.checker,
                is_stopping,
            )
        )

    return JobsDesk(leases, records, JobRunner(leases, records, clock, leases.holder), jobs)


def _house(ground: _Ground, jobs: JobsDesk, trail: Trail, health: Callable[[], Sequence[Health]] | None, live: LiveTokens | None) -> House:
    settings, store, _, _, clock, _ = ground
    return House(
        zone=settings.display.zone,
        currency=settings.display.currency,
        health=lambda: (*store_health(store), *(health() if health is not None else (_SERVICE_NOT_ASKED,))),
        jobs=jobs,
        clock=clock,
        tokens=TokenDesk(store, clock, "api", settings.auth.tokens, live),
        senders=TokenDesk(store, clock, "sender", settings.auth.senders, live),
        trail=trail,
        answers=StoredAnswers(store, clock),
        audit=StoredAudit(store),
        features=settings.features,
        settings=settings,
        version=product_version(),
    )


def corrections_desk(settings: Settings, store: Store, prices: CurrentPrices, clock: Clock) -> CorrectionsDesk:
    """What corrects the ledger by the prices of now, and closes its months."""
    leases = _leases(store, clock)
    projects = [Project.of(rule) for rule in settings.pricing.allowances]
    return CorrectionsDesk(store, leases, clock, lambda: _corrector(settings, store, clock, prices.fresh()), settings.ledger, projects)


def retention_desk(settings: Settings, store: Store, clock: Clock) -> RetentionDesk:
    """What takes away data that is older than the settings say."""
    return RetentionDesk(store, _leases(store, clock), clock, settings.retention)


def _corrector(settings: Settings, store: Store, clock: Clock, engine: PriceEngine) -> Corrector:
    """What corrects the ledger by these prices, under the settings' rules of money."""
    rules = CurrentRules(store, settings.pricing)
    figures = (TraceFigures(),) if settings.features.figures else ()
    kept = Rollups(), *figures, *told_outcomes(settings), *projections(settings, store, clock)
    return Corrector(store, _leases(store, clock), engine, kept, clock, rules.seen_by)


def _leases(store: Store, clock: Clock, purpose: str = "corrections") -> Leases:
    return Leases(store, clock, f"{purpose} on {socket.gethostname()} ({os.getpid()})")


@contextmanager
def open_room(settings: Settings, *, clock: Clock | None = None) -> Iterator[Room]:
    """Open the database that the settings name, for one command; none, one without tables, or of another version, is refused.

    Raises:
        StartRefused: the database cannot be opened, is not ours, or must be upgraded first.
    """
    clock = clock or SystemClock()
    store = Store.open(settings.database.url, clock, create=False)
    try:
        check(store)
        subjects, prices = Subjects(), CurrentPrices(store, clock, lambda: base_of(settings.prices.path))
        yield Room(settings, store, subjects, clock, prices, make_context(settings, store, subjects, prices, clock, anywhere=True))
    finally:
        store.close()


def signing_key(room: Room, file: Path) -> Ed25519PrivateKey:
    """The key that signs heads; a new one is put on record, so that the trail tells which keys there are.

    Raises:
        BadInput: see `store.signing.load_key`.
    """
    is_new = not file.exists()
    key = load_key(file)
    if is_new:
        note(room.store, room.clock, "heads.key", None, {"file": file.name, "public_key": public_hex(key)}, who=LOCAL.who)
    return key


def upgrade_database(settings: Settings, clock: Clock | None = None) -> Upgrade:
    """Bring the database to this version's tables.

    Raises:
        StartRefused: it cannot be opened, is not ours, or is newer than this version.
    """
    store = Store.open(settings.database.url, clock or SystemClock())
    try:
        return upgraded(store, who=LOCAL.who)
    finally:
        store.close()


def upgraded(store: Store, *, who: str, automatic: bool = False) -> Upgrade:
    """Upgrade as `store.upgrade` does, and put on record that it was done: the tables of the trail may have come with it."""
    done = upgrade(store, automatic=automatic)
    if done.before != done.after:
        after = {"revision": done.after, "copy": done.copy and done.copy.name}
        note(store, store.clock, "db.upgrade", {"revision": done.before}, after, who=who)
    return done


def product_version() -> str:
    """The installed version, "0" from a plain checkout."""
    try:
        return installed_version("otel-finops")
    except PackageNotFoundError:
        return "0"
