"""Channels, routes and deliveries over a store: what `operations.delivery_desks.Channels` promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from otel_finops.alerting import delivery_log
from otel_finops.alerting.channel_rows import Kind
from otel_finops.alerting.channel_store import ChannelStore, RouteEdit, Tenants, is_seen, missing
from otel_finops.alerting.channels import Given
from otel_finops.alerting.deliver import Deliverer, Round
from otel_finops.alerting.delivery_log import Delivery, Query, Tried
from otel_finops.alerting.notices import Notice, Severity
from otel_finops.alerting.outbox import put_for
from otel_finops.alerting.routes import Channel, ChannelType, Route, Routing
from otel_finops.base.clock import Clock
from otel_finops.base.errors import Conflict, NotFound
from otel_finops.base.ids import IdSource
from otel_finops.identity.principals import Editor
from otel_finops.store.engine import Store

_ID_BYTES: Final = 12


class ChannelDesk:
    """See `operations.delivery_desks.Channels`. Safe to use from many threads."""

    def __init__(self, store: Store, clock: Clock, channels: ChannelStore, deliverer: Deliverer, ids: IdSource) -> None:
        self._store = store
        self._clock = clock
        self._channels = channels
        self._deliverer = deliverer
        self._ids = ids

    def all(self) -> Routing:
        """See `Channels.all`."""
        return self._channels.all()

    def history(self, kind: Kind, no: int, tenants: Tenants) -> Sequence[tuple[Channel | Route, bool]]:
        """See `Channels.history`."""
        found = [pair for pair in self._channels.history(kind, no) if is_seen(pair[0], tenants)]
        if not found:
            raise missing(kind, no)
        return found

    def create_channel(
        self, type_: ChannelType, tenant: str | None, given: Given, editor: Editor, *, dry_run: bool = False
    ) -> tuple[Channel, str | None]:
        """See `Channels.create_channel`."""
        return self._channels.create_channel(type_, tenant, given, editor, dry_run=dry_run)

    def update_channel(self, no: int, given: Given, editor: Editor, *, dry_run: bool = False) -> tuple[Channel, Channel, bool]:
        """See `Channels.update_channel`."""
        return self._channels.update_channel(no, given, editor, dry_run=dry_run)

    def rotate_key(self, no: int, editor: Editor, *, dry_run: bool = False) -> tuple[Channel, str]:
        """See `Channels.rotate_key`."""
        return self._channels.rotate_key(no, editor, dry_run=dry_run)

    def delete_channel(self, no: int, editor: Editor, *, revision: int | None = None, dry_run: bool = False) -> Channel:
        """See `Channels.delete_channel`."""
        return self._channels.delete_channel(no, editor, revision=revision, dry_run=dry_run)

    def create_route(self, tenant: str | None, edit: RouteEdit, editor: Editor, *, dry_run: bool = False) -> Route:
        """See `Channels.create_route`."""
        return self._channels.create_route(tenant, edit, editor, dry_run=dry_run)

    def update_route(self, no: int, edit: RouteEdit, editor: Editor, *, dry_run: bool = False) -> tuple[Route, Route]:
        """See `Channels.update_route`."""
        return self._channels.update_route(no, edit, editor, dry_run=dry_run)

    def delete_route(self, no: int, editor: Editor, *, revision: int | None = None, dry_run: bool = False) -> Route:
        """See `Channels.delete_route`."""
        return self._channels.delete_route(no, editor, revision=revision, dry_run=dry_run)

    def test(self, no: int, severity: Severity, editor: Editor) -> Delivery:
        """See `Channels.test`."""
        channel = self._channels.all().channels.get(no)
        if channel is None or not is_seen(channel, editor.tenants):
            raise missing("channel", no)
        now_ns = self._clock.now_ns()
        notice = Notice(
            self._ids.token(_ID_BYTES), f"test:{no}", "test", "test", severity, "firing", channel.tenant or "",
            f"Test of the channel {channel.name}", f"{editor.who} tries whether notices arrive. Nothing is wrong.",
            {"channel": channel.name}, {}, "", now_ns, now_ns,
        )  # fmt: skip
        with self._store.write() as transaction:
            [delivery_no] = put_for(transaction, notice, channel, held_ns=self._deliverer.claim_until_ns())
        self._deliverer.attempt_once(delivery_no, channel, notice)
        return self.delivery(delivery_no, None)[0]

    def deliveries(self, tenants: Tenants, query: Query, before_no: int | None, limit: int) -> Sequence[Delivery]:
        """See `Channels.deliveries`."""
        with self._store.read() as transaction:
            return delivery_log.page(transaction, tenants, query, before_no, limit)

    def delivery(self, no: int, tenants: Tenants) -> tuple[Delivery, Sequence[Tried]]:
        """See `Channels.delivery`."""
        with self._store.read() as transaction:
            found = delivery_log.find(transaction, tenants, no)
            if found is None:
                raise NotFound(f"There is no delivery {no}.")
            return found, delivery_log.attempts_of(transaction, no)

    def try_again(self, no: int, tenants: Tenants, *, dry_run: bool = False) -> tuple[Delivery, Delivery]:
        """See `Channels.try_again`."""
        with self._store.write_or_try(dry_run=dry_run) as transaction:
            before = delivery_log.find(transaction, tenants, no)
            if before is None:
                raise NotFound(f"There is no delivery {no}.")
            if not delivery_log.try_again(transaction, no, self._clock.now_ns()):
                raise Conflict(f"Delivery {no} did not fail: it is {before.status}.")
            after = delivery_log.find(transaction, tenants, no)
        assert after is not None
        return before, after

    def deliver(self) -> Round:
        """See `Channels.deliver`."""
        return self._deliverer.run()
