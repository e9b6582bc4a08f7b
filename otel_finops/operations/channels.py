"""Channels: making, changing, trying and listing the ways by which notices reach people and machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from otel_finops.base.errors import NotFound
from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.channel_fields import (
    ChannelNumber,
    SaidOfChannel,
    SeverityName,
    ShownChannel,
    TypeName,
    must_own,
    shown_channel,
)
from otel_finops.operations.context import Context
from otel_finops.operations.deliveries import ShownDelivery, shown_delivery
from otel_finops.operations.fields import Name, Paged, page_of
from otel_finops.operations.registry import Changed, Json, Output, Unchanged, operation
from otel_finops.operations.shapes import At

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.alerting.channels import Given
    from otel_finops.alerting.routes import Channel, Routing

_ORDER: Final = "channels.list"
_HISTORY_SHOWN: Final = 50


class NewChannel(SaidOfChannel):
    """What the channel is."""

    type: TypeName = Field(description="How it speaks.")
    name: Name = Field(min_length=1, description="What people call it; one channel of a tenant, or of all, is called so.")
    tenant: Name | None = Field(default=None, min_length=1, description="Only notices about this tenant; nothing: everybody's.")
    dry_run: bool = Field(default=False, description="Check everything; nothing is stored or sent.")


class ChannelAnswer(Output):
    """The channel as it is now."""

    channel: ShownChannel
    signing_key: str | None = Field(description="Of a webhook whose key was made now: what its receiver verifies by. Shown this once.")
    changed: bool = Field(description="False: it was so already, or this was a dry run.")


@operation(
    "channels.create",
    "channels",
    takes=NewChannel,
    output=ChannelAnswer,
    permission="manage",
    feature="channels",
    changes=True,
    agents=False,
    summary="Make a channel: a way by which notices reach people or machines.",
)
def create(context: Context, principal: Principal, given: NewChannel) -> Changed | Unchanged:
    """A channel that no route names carries every notice that it may. Nothing is sent before somebody has something to tell."""
    must_own(principal, given.tenant, "A channel")
    said = _given(given, {**given.said(), "name": given.name})
    channel, key = context.channels.create_channel(given.type, given.tenant, said, principal.editor, dry_run=given.dry_run)
    shown = shown_channel(channel, routed=None if given.dry_run else False, stored=not given.dry_run)
    answer = {"channel": shown, "signing_key": None if given.dry_run else key, "changed": not given.dry_run}
    return Unchanged(answer) if given.dry_run else Changed(answer, None, shown, channel.tenant)


class ChannelEdit(ChannelNumber, SaidOfChannel):
    """What is to be another; what is not given stays as it is."""

    name: Name | None = Field(default=None, min_length=1, description="What people call it.")
    revision: int | None = Field(default=None, ge=1, description="Only if it is of this revision still.")
    dry_run: bool = Field(default=False, description="Check everything; nothing is stored.")


@operation(
    "channels.update",
    "channels/{no}",
    takes=ChannelEdit,
    output=ChannelAnswer,
    permission="manage",
    feature="channels",
    changes=True,
    agents=False,
    summary="Change a channel; what is not given stays as it is.",
)
def update(context: Context, principal: Principal, given: ChannelEdit) -> Changed | Unchanged:
    """Type and tenant stay. Who gives another host's address says headers, password and fields anew: the former are not sent there."""
    named = {} if given.name is None else {"name": given.name}
    said = _given(given, {**given.said(), **named}, given.revision)
    before, channel, moved = context.channels.update_channel(given.no, said, principal.editor, dry_run=given.dry_run)
    changed = (moved or channel != before) and not given.dry_run
    shown = shown_channel(channel, routed=_routed(context.channels.all(), given.no))
    answer = {"channel": shown, "signing_key": None, "changed": changed}
    if not changed:
        return Unchanged(answer)
    secrets = sorted(given.said().keys() & {"url", "headers", "username", "password", "fields"}) + (["key"] if given.key else [])
    return Changed(answer, shown_channel(before), {**shown, "given_anew": secrets}, channel.tenant)


class ChannelRemoval(ChannelNumber):
    """Which channel."""

    revision: int | None = Field(default=None, ge=1, description="Only if it is of this revision still.")
    dry_run: bool = Field(default=False, description="Only say what would be taken away.")


@operation(
    "channels.delete",
    "channels/{no}/delete",
    takes=ChannelRemoval,
    output=ChannelAnswer,
    permission="manage",
    feature="channels",
    changes=True,
    agents=False,
    summary="Take a channel away, with all that is secret of it; what waits in it is not delivered.",
)
def delete(context: Context, principal: Principal, given: ChannelRemoval) -> Changed | Unchanged:
    """The channel as it was. Its history and its deliveries stay; routes that name it reach it no longer."""
    before = context.channels.delete_channel(given.no, principal.editor, revision=given.revision, dry_run=given.dry_run)
    shown = shown_channel(before)
    answer = {"channel": shown, "signing_key": None, "changed": not given.dry_run}
    return Unchanged(answer) if given.dry_run else Changed(answer, shown, None, before.tenant)


class KeyRotation(ChannelNumber):
    """Which webhook."""

    dry_run: bool = Field(default=False, description="Only say whether that can be done; no key is made.")


@operation(
    "channels.rotate_key",
    "channels/{no}/rotate-key",
    takes=KeyRotation,
    output=ChannelAnswer,
    permission="manage",
    feature="channels",
    changes=True,
    agents=False,
    summary="Give a webhook a new key; the former one signs beside it for the hours of the settings.",
)
def rotate_key(context: Context, principal: Principal, given: KeyRotation) -> Changed | Unchanged:
    """The new key is shown this once; receivers take either until `channels.key_overlap_hours` are over."""
    channel, key = context.channels.rotate_key(given.no, principal.editor, dry_run=given.dry_run)
    shown = shown_channel(channel, routed=_routed(context.channels.all(), given.no))
    answer = {"channel": shown, "signing_key": None if given.dry_run else key, "changed": not given.dry_run}
    return Unchanged(answer) if given.dry_run else Changed(answer, None, {**shown, "given_anew": ["key"]}, channel.tenant)


class ChannelTest(ChannelNumber):
    """Which channel."""

    severity: SeverityName = Field(default="info", description="Of the notice that is sent.")
    dry_run: bool = Field(default=False, description="Only say whether there is such a channel; nothing is sent.")


class TestAnswer(Output):
    """What came of it."""

    channel: ShownChannel
    delivery: ShownDelivery | None = Field(description="The one attempt that was made; null: this was a dry run.")


@operation(
    "channels.test",
    "channels/{no}/test",
    takes=ChannelTest,
    output=TestAnswer,
    permission="manage",
    feature="channels",
    changes=True,
    runs=True,
    agents=False,
    summary="Send a notice that says it is a test, once, and say what came of it.",
)
def test(context: Context, principal: Principal, given: ChannelTest) -> Changed | Unchanged:
    """The notice goes the way of all others, guard and log included, and is not tried again."""
    routing = context.channels.all()
    channel = routing.channels.get(given.no)
    if channel is None or not _seen(principal, channel):
        raise NotFound(f"There is no channel {given.no}.")
    shown = shown_channel(channel, routed=routing.is_routed(given.no))
    if given.dry_run:
        return Unchanged({"channel": shown, "delivery": None})
    delivery = context.channels.test(given.no, given.severity, principal.editor)
    on_record = {"channel": given.no, "delivery": delivery.no, "status": delivery.status}
    return Changed({"channel": shown, "delivery": shown_delivery(delivery)}, None, on_record, delivery.channel_tenant)


class ChannelQuery(Paged):
    """Which channels."""

    tenant: Name | None = Field(default=None, description="Only those of this tenant.")
    type: TypeName | None = Field(default=None, description="Only those of this type.")


class ChannelPage(Output):
    """Channels, by number."""

    channels: list[ShownChannel]
    next_cursor: str | None


@operation(
    "channels.list",
    "channels",
    takes=ChannelQuery,
    output=ChannelPage,
    permission="view",
    feature="channels",
    summary="List channels, without what is secret of them.",
)
def listed(context: Context, principal: Principal, given: ChannelQuery) -> Json:
    """Those of the principal's tenants; of all for who sees all."""
    routing = context.channels.all()
    found = [
        one
        for one in routing.channels.values()
        if _seen(principal, one) and given.tenant in (None, one.tenant) and given.type in (None, one.type)
    ]
    page, cursor = page_of(found, given, _ORDER, lambda one: (one.no,))
    return {"channels": [shown_channel(one, routed=_routed(routing, one.no)) for one in page], "next_cursor": cursor}


class ChannelChange(Output):
    """A channel as a change left it."""

    at: At
    who: str
    deleted: bool = Field(description="The change took it away.")
    channel: ShownChannel


class ChannelShown(Output):
    """A channel, and how it came to be so."""

    channel: ShownChannel
    deleted: bool = Field(description="It is there no longer; this is how it was at last.")
    history: list[ChannelChange] = Field(description="Its last fifty changes, newest first; changes of what is secret among them.")


@operation(
    "channels.show",
    "channels/{no}",
    takes=ChannelNumber,
    output=ChannelShown,
    permission="view",
    feature="channels",
    summary="Show a channel, and who changed what of it.",
)
def show(context: Context, principal: Principal, given: ChannelNumber) -> Json:
    """Also one that was deleted."""
    changes: list[tuple[Any, bool]] = list(context.channels.history("channel", given.no, principal.tenants))
    latest, deleted = changes[0]
    history = [
        {"at": format_ns(one.changed_ns), "who": one.changed_by, "deleted": gone, "channel": shown_channel(one)}
        for one, gone in changes[:_HISTORY_SHOWN]
    ]
    routed = None if deleted else _routed(context.channels.all(), given.no)
    return {"channel": shown_channel(latest, routed=routed), "deleted": deleted, "history": history}


def _given(given: SaidOfChannel, said: dict[str, Any], revision: int | None = None) -> Given:
    from otel_finops.alerting.channels import Given  # noqa: PLC0415 - `--help` must not load the database rooms

    return Given(said, given.key, revision)


def _seen(principal: Principal, one: Channel) -> bool:
    return principal.tenants is None or (one.tenant is not None and principal.sees(one.tenant))


def _routed(routing: Routing, no: int) -> bool | None:
    """Whether a route names it; None where it does not stand."""
    return routing.is_routed(no) if no in routing.channels else None
