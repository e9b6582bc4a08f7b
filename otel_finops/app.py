"""The composition root: builds the service out of its rooms, starts it and stops it. The only place that knows all of them."""

from __future__ import annotations

import gc
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from otel_finops.alerting.deliver import Postman
from otel_finops.audit.clockwork import on_record
from otel_finops.base.clock import Clock, SystemClock
from otel_finops.base.errors import Busy, StartRefused, Unavailable
from otel_finops.base.limits import MIB
from otel_finops.base.span import NOTHING
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.forwarding import WANTED, Onward
from otel_finops.genai.attribution_keys import AttributionSettings
from otel_finops.genai.dialect_loading import load_dialects
from otel_finops.genai.logs import LogNormaliser
from otel_finops.genai.normalise import Normaliser
from otel_finops.governance.budget_store import followed_budgets
from otel_finops.governance.pending import PendingCalls
from otel_finops.governance.projections import projections, trace_projections
from otel_finops.governance.spending import StoredSpending
from otel_finops.identity.entrance import entrance
from otel_finops.identity.principals import LOCAL, Principals
from otel_finops.identity.senders import Senders
from otel_finops.insight.projections import told_outcomes
from otel_finops.ledger.current_prices import POLL_S, CurrentPrices, base_of
from otel_finops.ledger.group_commit import GroupCommitter
from otel_finops.ledger.identity import ledger_id
from otel_finops.ledger.journal import due_backlog
from otel_finops.ledger.poison import PoisonGuard
from otel_finops.ledger.price_refresh import PriceRefresher
from otel_finops.ledger.quarantine import Quarantine
from otel_finops.ledger.reader import LedgerReader
from otel_finops.ledger.recent import RecentTraces
from otel_finops.ledger.report_tally import ReportTally
from otel_finops.ledger.rollups import Rollups
from otel_finops.ledger.settle import Settler
from otel_finops.ledger.settle_loop import SettleLoop
from otel_finops.ledger.subjects import Subjects
from otel_finops.ledger.subscription_windows import CurrentRules
from otel_finops.log_pipeline import LogPipeline
from otel_finops.metrics import catalog, telemetry
from otel_finops.metrics.anomaly_gauge import AnomalyCollector, score_source
from otel_finops.metrics.budget_gauges import BudgetCollector, budget_source
from otel_finops.metrics.capture_gauge import CaptureCollector, capture_source
from otel_finops.metrics.exposition import LedgerCollector, MetricsPage
from otel_finops.metrics.ledger_source import ledger_source
from otel_finops.metrics.self_metrics import SelfMetrics
from otel_finops.operations.context import Context, Health
from otel_finops.operations.first_admin import first_admin
from otel_finops.operations.governance_desks import Decisions, Policies
from otel_finops.operations.local import make_context, product_version, upgraded
from otel_finops.operations.notifying import deliverer
from otel_finops.operations.price_lists import PriceLists
from otel_finops.operations.watch_desk import WatchDesk
from otel_finops.otlp.admission import Admission
from otel_finops.otlp.counters import ReceiverCounters
from otel_finops.otlp.forward import InlineForwarder
from otel_finops.otlp.http_server import AsgiServer, HttpReceiver, Listener
from otel_finops.otlp.intake import Reception
from otel_finops.otlp.next_hop import HopSettings, open_hop
from otel_finops.otlp.receive_grpc import GrpcReceiver
from otel_finops.otlp.signals import IgnoredSignals
from otel_finops.otlp.spool import Spool, SpoolForwarder
from otel_finops.otlp.status import Refusals
from otel_finops.pipeline import Pipeline
from otel_finops.pricing.cascade import Cascade
from otel_finops.pricing.sources.loading import load_sources
from otel_finops.scheduler import Scheduler
from otel_finops.settings.tree import Settings
from otel_finops.store.engine import Store
from otel_finops.store.follower import Follower
from otel_finops.store.lease import Leases
from otel_finops.surfaces.api.app import build_api
from otel_finops.surfaces.api.metrics_page import metrics_endpoint
from otel_finops.surfaces.ui.app import build_console
from otel_finops.trees.projected import TraceFigures, leave

_log: Final = logging.getLogger(__name__)

GC_THRESHOLDS: Final = (500_000, 20, 100)
"""Every span makes some twenty short-lived containers without cycles: at Python's thresholds the collector walks whole batches for
nothing, which costs a seventh of all CPU time (benchmarks.stages). Cycles are still found, after more allocations."""
STOP_S: Final = 10.0
"""Promised time of an orderly stop."""
_RECEIVERS_STOP_S: Final = 4.0


class Core(NamedTuple):
    """What both `serve` and `ingest` run on: from decoded spans to booked entries."""

    settings: Settings
    clock: Clock
    store: Store
    leases: Leases
    subjects: Subjects
    prices: CurrentPrices
    received: ReceiverCounters
    metrics: SelfMetrics
    telemetry: telemetry.Telemetry
    admission: Admission
    committer: GroupCommitter
    quarantine: Quarantine
    pipeline: Pipeline
    log_pipeline: LogPipeline
    settler: Settler


@contextmanager
def open_core(settings: Settings, purpose: str, clock: Clock | None = None) -> Iterator[Core]:
    """Open the ledger that the settings name and build what prices and books; a SQLite file is created or upgraded.

    Args:
        purpose: what this process is for, shown to those who wait for a lease, e.g. `serve`.

    Raises:
        StartRefused: the database or the price list cannot be used, or PostgreSQL waits for `db upgrade`.
    """
    clock = clock or SystemClock()
    store = Store.open(settings.database.url, clock, reserve=settings.database.reserve and purpose == "serve")
    try:
        done = upgraded(store, who=purpose, automatic=True)
        if done.copy is not None:
            _log.info("upgraded %s from %s to %s; the copy of before is %s", store.place, done.before, done.after, done.copy)
        core = _build_core(settings, store, purpose, clock)
        try:
            yield core
        finally:
            core.committer.close()
            core.telemetry.shutdown()
    finally:
        store.close()


def _build_core(settings: Settings, store: Store, purpose: str, clock: Clock) -> Core:
    leases = Leases(store, clock, f"{purpose} on {socket.gethostname()} ({os.getpid()})")
    subjects, admission, received = Subjects(), Admission(), ReceiverCounters()
    prices = CurrentPrices(store, clock, lambda: base_of(settings.prices.path))
    refresher = PriceRefresher(store, clock, prices.base, load_sources())
    on_record(store, clock, "prices.adopt", lambda: _adopted(refresher, purpose), who=purpose)
    metrics = SelfMetrics(received.snapshot)
    settle_after_s = settings.ledger.settle_after
    quarantine = Quarantine(store, clock, subjects, settle_after_s=settle_after_s)
    guard = PoisonGuard(quarantine) if settings.features.quarantine else None
    recent = RecentTraces()
    pending = PendingCalls(followed_budgets(store, clock))
    committer = GroupCommitter(
        store,
        clock,
        settle_after_s=settle_after_s,
        subjects=subjects,
        committed=metrics.commit,
        guard=guard,
        recent=recent,
        pending=pending,
    )
    own = telemetry.start(
        telemetry.Target(**settings.telemetry.model_dump()),
        metrics,
        list(settings.listeners().values()),
        version=product_version(),
        instance=socket.gethostname(),
    )
    said = settings.attribution
    attribution = AttributionSettings(
        {str(name): keys for name, keys in said.keys.items()},
        {str(name): value for name, value in said.defaults.items()},
        said.tags,
    )
    normaliser = Normaliser(load_dialects(), attribution, settings.outcomes)
    metering = settings.metering.enabled
    wanted = normaliser.wanted if metering else NOTHING
    pipeline = Pipeline(normaliser, prices, committer, admission, metrics, own, clock, wanted, metering=metering)
    log_pipeline = LogPipeline(pipeline, LogNormaliser(attribution))
    reports = ReportTally(Cascade.of(settings.pricing).reports)
    rules = CurrentRules(store, settings.pricing)
    metrics.watch_reports(reports.read)
    figures = _figures(settings, store)
    settler = Settler(
        store,
        leases,
        prices.fresh,
        (Rollups(), reports, *projections(settings, store, clock)),
        clock,
        cascade=rules.seen_by,
        recent=recent,
        trace_projections=(*figures, *trace_projections(settings), *told_outcomes(settings)),
        pending=pending,
    )
    return Core(
        settings, clock, store, leases, subjects, prices, received, metrics, own, admission, committer, quarantine, pipeline,
        log_pipeline, settler,
    )  # fmt: skip


def _adopted(refresher: PriceRefresher, purpose: str) -> str:
    made = refresher.adopt(purpose)
    return "nothing to adopt" if made is None else f"{made.stored.source} {made.stored.version} with {made.stored.rows} rows"


def _figures(settings: Settings, store: Store) -> tuple[TraceFigures, ...]:
    """What keeps runs and sessions, where anybody asks for them; else it is noted that theirs are missing."""
    if settings.features.figures:
        return (TraceFigures(),)
    with store.write() as transaction:
        leave(transaction)
    return ()


class Ports(NamedTuple):
    """Where the running service listens, by what; 0 for what is switched off."""

    grpc: int
    http: int
    web: int


class Service:
    """The running service: listeners, settling, scheduled jobs, and the web side.

    Args:
        core: an open core (see `open_core`); the caller closes it after `stop`.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self._settling = SettleLoop(self._settle_due, core.metrics.settled)
        self._lists = PriceLists(core.store, core.prices, core.settings.prices, anywhere=False)
        self._price_watches = WatchDesk(core.store, core.clock, core.prices, core.settings.prices.watch_days)
        self._entrance = entrance(core.settings, core.store, core.clock)
        self._context = make_context(
            core.settings, core.store, core.subjects, core.prices, core.clock, health=self._health, live=self._entrance.live
        )
        self._scheduler = Scheduler(self._context.jobs.runner, core.clock, self._context.jobs.stopping)
        for job in self._context.jobs.jobs:
            self._scheduler.add(job)
        self._followers = [Follower("the price book", core.prices.fresh, POLL_S), *self._entrance.followers()]
        if core.settings.features.policies:  # so that the first decision on a condition does not wait for its library to be loaded
            self._followers.append(Follower("the policies", self._context.policies.all, POLL_S))
        self._postman = Postman(deliverer(core.settings, core.store, core.clock, core.leases)) if core.settings.features.channels else None
        self._forwarder = _forwarder(core)
        self._receivers = _receivers(core, _pipeline(core, self._forwarder), self._entrance.senders)
        self._web = _web(core, self._context, self._entrance.principals) if core.settings.http.address else None
        self._watch()

    def start(self) -> Ports:
        """Start all parts, the listeners last.

        Raises:
            StartRefused: an address cannot be bound, or none is set; nothing runs then.
        """
        if not self.core.settings.listeners():
            raise StartRefused(
                "nothing would listen: otlp.grpc_address, otlp.http_address and http.address are all empty; give one of them an address"
            )
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        started: list[GrpcReceiver | AsgiServer] = []
        try:
            for server in [*([self._web] if self._web else []), *self._receivers.values()]:
                server.start()
                started.append(server)
        except BaseException:
            for server in started:
                server.stop(0)
            raise
        if isinstance(self._forwarder, SpoolForwarder):
            self._forwarder.start()
        for follower in self._followers:
            follower.start()
        if self._postman:
            self._postman.start()
        if self.core.settings.metering.enabled:
            self._settling.start()
        self._scheduler.start()
        ports = {name: receiver.port for name, receiver in self._receivers.items()}
        return Ports(ports.get("grpc", 0), ports.get("http", 0), self._web.port if self._web else 0)

    def first_admin(self) -> str | None:
        """A token that is made where nobody could be admin otherwise, to be shown this once; None where somebody can."""
        return first_admin(self.core.settings, self._context)

    def stop(self) -> None:
        """Take no more requests, finish those that run, write what waits; what is not settled yet settles after the next start."""
        for receiver in self._receivers.values():
            receiver.stop(_RECEIVERS_STOP_S / len(self._receivers))
        self.core.committer.close()
        if self._forwarder:
            self._forwarder.close()
        if self.core.settings.metering.enabled:
            self._settling.stop(STOP_S / 4)
        for follower in self._followers:
            follower.stop(STOP_S / 8 / len(self._followers))
        self._scheduler.stop(STOP_S / 8)
        if self._postman:
            self._postman.stop(STOP_S / 8)
        if self._web:
            self._web.stop(1)
        self._entrance.close()

    def _settle_due(self, shard: int) -> int:
        with self.core.telemetry.span("settle") as stage:
            settled = self.core.settler.settle_due(shard)
            stage.set("traces", settled)
        return settled

    def _health(self) -> Sequence[Health]:
        failed = self.core.committer.failed_lately
        full = self.core.store.short_of_room
        return (
            Health("disk", not full, "the database's disk is full: nothing is written until there is room" if full else ""),
            Health("settling", self._settling.fault is None, self._settling.fault or ""),
            Health("journal", not failed, "spans could not be stored a moment ago" if failed else ""),
            *self._metering_health(),
            *self._hop_health(),
            *self._price_health(),
        )

    def _metering_health(self) -> Sequence[Health]:
        """Told while it is off, which is as somebody wants it: applications that ask what calls cost need not wait for an answer."""
        if self.core.settings.metering.enabled:
            return ()
        return (Health("metering", True, "off: spans pass on unpriced, and nothing is booked"),)

    def _price_health(self) -> Sequence[Health]:
        """Prices that are old keep nobody from sending; what is wrong with the refresh is told all the same."""
        if not self.core.settings.prices.refresh_from:
            return ()
        try:
            trouble = self._lists.trouble()
        except (Busy, Unavailable):
            return ()  # the store's own part says so
        return (Health("prices", True, trouble or ""),)

    def _hop_health(self) -> Sequence[Health]:
        """A next hop that is away keeps nobody from sending here, unless it is required."""
        if self._forwarder is None:
            return ()
        fault = self._forwarder.fault
        return (Health("next hop", fault is None or not self.core.settings.forward.required, fault or ""),)

    def _watch(self) -> None:
        core = self.core
        readings: Mapping[catalog.Metric, Callable[[], float | None]] = {
            catalog.QUEUE: lambda: core.committer.waiting,
            catalog.IN_FLIGHT: lambda: core.admission.in_flight().held_bytes,
            catalog.TRACES_DUE: lambda: _backlog(core)[0],
            catalog.PARKED: lambda: core.settler.parked,
            catalog.RESERVE: lambda: core.store.reserve_bytes,
            catalog.SETTLE_LAG: lambda: _backlog(core)[1],
        }
        if core.settings.features.prices:
            readings = {**readings, catalog.PRICE_CHANGES: self._price_watches.count}
        if core.settings.features.quarantine:
            readings = {**readings, catalog.QUARANTINED: core.quarantine.count}
        if self._postman:
            backlog = self._postman.backlog
            readings = {**readings, catalog.DELIVERIES: lambda: backlog().waiting, catalog.DELIVERY_AGE: lambda: backlog().oldest_s}
        for metric, read in readings.items():
            core.metrics.watch(metric, read)
        if self._forwarder:
            counters = self._forwarder.counters
            core.metrics.watch_forwarding(counters.snapshot, lambda: counters.dropped_values)
        if isinstance(self._forwarder, SpoolForwarder):
            spool = self._forwarder.spool
            core.metrics.watch(catalog.SPOOLED, lambda: spool.requests)
            core.metrics.watch(catalog.SPOOLED_BYTES, lambda: spool.size)


def _backlog(core: Core) -> tuple[int, float]:
    """Traces that are due now, and for how many seconds the first of them."""
    now_ns = core.clock.now_ns()
    with core.store.read() as transaction:
        due, since_ns = due_backlog(transaction, now_ns)
    return due, max(0, now_ns - since_ns) / NS_PER_SECOND if due else 0.0


def _forwarder(core: Core) -> InlineForwarder | SpoolForwarder | None:
    """What passes spans on; None when they end here."""
    forward = core.settings.forward
    if not forward.endpoint:
        return None
    compressed = forward.compression == "gzip"
    hop = open_hop(
        HopSettings(forward.endpoint, forward.headers, compressed, forward.tls_ca_file, forward.tls_cert_file, forward.tls_key_file)
    )
    if forward.mode == "inline":
        return InlineForwarder(hop, core.clock, timeout_s=forward.timeout, patience_s=forward.patience, required=forward.required)
    spool = Spool(Path(forward.spool_path), forward.spool_mib_max * MIB, core.clock)
    return SpoolForwarder(spool, hop, core.clock, timeout_s=forward.timeout)


def _pipeline(core: Core, forwarder: InlineForwarder | SpoolForwarder | None) -> Pipeline:
    """The pipeline of the listeners: what comes by them travels on, files that are taken in do not."""
    if forwarder is None:
        return core.pipeline
    onward = Onward(forwarder, ledger_id(core.store), core.settings.forward.cost_details)
    return core.pipeline._replace(onward=onward, wanted=core.pipeline.wanted.joined(WANTED))


def _receivers(core: Core, pipeline: Pipeline, auth: Senders) -> dict[str, GrpcReceiver | AsgiServer]:
    listeners = core.settings.listeners()
    shared = _reception(core, pipeline, auth)
    receivers: dict[str, GrpcReceiver | AsgiServer] = {}
    if address := listeners.get("otlp.grpc_address"):
        receivers["grpc"] = GrpcReceiver(shared, address)
    if address := listeners.get("otlp.http_address"):
        receivers["http"] = HttpReceiver(shared, address, local_pages_only=core.settings.auth.mode == "off")
    return receivers


def _reception(core: Core, pipeline: Pipeline, auth: Senders) -> Reception:
    ignored, refusals = IgnoredSignals(core.received), Refusals(core.clock.monotonic)
    return Reception(pipeline, auth, core.admission, core.received, ignored, refusals, core.log_pipeline)


def _web(core: Core, context: Context, authenticate: Principals) -> AsgiServer:
    settings = core.settings
    mounts: dict[str, Any] = {}
    if settings.features.metrics:
        scrapers = (lambda token: LOCAL) if settings.http.open_metrics else authenticate
        mounts["/metrics"] = metrics_endpoint(_metrics_page(core, context.decisions, context.policies).render, scrapers)
    shown = {"OTLP/gRPC": settings.otlp.grpc_address, "OTLP/HTTP": settings.otlp.http_address}
    address = settings.listeners()["http.address"]
    names = (address.host, *settings.http.names) if settings.auth.mode == "off" else None
    listening = {name: text for name, text in shown.items() if text}
    console = partial(build_console, context, listeners=listening) if settings.features.console else None
    app = build_api(context, authenticate, mounts=mounts, listeners=listening, names=names, http=settings.http, console=console)
    return AsgiServer(app, address, Listener("the web side", "http.address"))


def _anomaly_scores(core: Core) -> tuple[AnomalyCollector, ...]:
    if not core.settings.features.anomalies:
        return ()
    said = core.settings.metrics
    return (AnomalyCollector(score_source(core.store), said.labels, said.series_max),)


def _metrics_page(core: Core, decisions: Decisions, policies: Policies) -> MetricsPage:
    labels, series_max = core.settings.metrics.labels, core.settings.metrics.series_max
    reader = LedgerReader(core.store, core.subjects)
    source = ledger_source(
        reader,
        lambda: core.prices().status().age_s(core.clock.now_ns()),
        labels=labels,
        series_max=series_max,
        decisions=decisions.counted,
        policy_failures=policies.failed,
    )
    ledger = LedgerCollector(source, labels=labels, series_max=series_max)
    anomalies = _anomaly_scores(core)
    bills = (CaptureCollector(capture_source(core.store)),) if core.settings.features.reconciliation else ()
    if not core.settings.features.budgets:
        return MetricsPage(ledger, *bills, *anomalies, core.metrics)
    budgets = budget_source(
        core.store,
        core.clock,
        followed_budgets(core.store, core.clock),
        StoredSpending(),
        series_max=series_max,
        forecasts=core.settings.features.forecast,
    )
    return MetricsPage(ledger, BudgetCollector(budgets), *bills, *anomalies, core.metrics)
