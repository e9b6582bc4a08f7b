"""Channels over a database of our own, by the settings: what `serve` and the commands run on."""

from __future__ import annotations

from otel_finops.alerting.channel_desk import ChannelDesk
from otel_finops.alerting.channel_store import ChannelStore
from otel_finops.alerting.deliver import Deliverer
from otel_finops.alerting.sealing import Sealer, key_file
from otel_finops.alerting.senders import Senders
from otel_finops.base.clock import Clock
from otel_finops.base.ids import RandomIds
from otel_finops.base.limits import CHANNEL_ANSWER_BYTES_MAX
from otel_finops.base.outbound import Outbound, Rules
from otel_finops.settings.tree import Settings
from otel_finops.store.engine import Store
from otel_finops.store.lease import Leases


def channel_store(settings: Settings, store: Store, clock: Clock) -> ChannelStore:
    """Channels and routes as they are stored."""
    sealer = Sealer(settings.channels.secret_keys, key_file(settings.database.url))
    return ChannelStore(store, clock, sealer, settings.channels, outbound_rules(settings))


def outbound_rules(settings: Settings) -> Rules:
    """Where addresses that people give may lead."""
    return Rules.of(settings.outbound.networks, settings.outbound.refused_networks, settings.outbound.ports)


def deliverer(settings: Settings, store: Store, clock: Clock, leases: Leases) -> Deliverer:
    """What delivers notices."""
    timeout_s = settings.outbound.timeout
    outbound = Outbound(timeout_s=timeout_s, answer_bytes_max=CHANNEL_ANSWER_BYTES_MAX)
    senders = Senders(settings.channels, outbound, outbound_rules(settings), clock, timeout_s)
    secrets = channel_store(settings, store, clock).secrets
    return Deliverer(store, clock, senders, secrets, leases.now_ns, patience_s=settings.channels.patience_hours * 3_600)


def channel_desk(settings: Settings, store: Store, clock: Clock, leases: Leases) -> ChannelDesk:
    """Channels, routes and deliveries for operations."""
    return ChannelDesk(store, clock, channel_store(settings, store, clock), deliverer(settings, store, clock, leases), RandomIds())
