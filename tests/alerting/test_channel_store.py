"""Channels and routes as they are stored: who may make and change which, and where secrets go."""

from __future__ import annotations

from typing import Any

import pytest
from delivery_rig import ANN, HOOK, INSIDE, MAX, channel_store, slack

from otel_finops.alerting import channel_store as module
from otel_finops.alerting.channel_rows import followed_routing
from otel_finops.alerting.channel_secrets import Secrets
from otel_finops.alerting.channel_store import ChannelStore, RouteEdit
from otel_finops.alerting.channels import Given
from otel_finops.alerting.routes import ChannelType
from otel_finops.base.errors import BadInput, Conflict, Forbidden, NotFound
from otel_finops.base.outbound import Rules
from otel_finops.identity.principals import Editor
from otel_finops.settings.channels import Channels
from otel_finops.store.engine import Store
from otel_finops.testing import FakeClock

OTHER = Editor("gil", ("globex",))
MAIL = Channels(smtp_host="mail.example.com", smtp_from="finops@example.com", smtp_domains=("acme.example",))


@pytest.fixture
def channels(store: Store) -> ChannelStore:
    return channel_store(store, FakeClock(), MAIL)


def made(channels: ChannelStore, type_: ChannelType, editor: Editor = ANN, tenant: str | None = None, **fields: Any) -> Secrets:
    channel, _ = channels.create_channel(type_, tenant, Given({"name": "c", **fields}), editor)
    return channels.secrets(channel)


def test_nothing_secret_stands_in_the_database_in_clear(store: Store, channels: ChannelStore) -> None:
    headers = {"Authorization": "Bearer h34der"}
    channel, key = channels.create_channel("webhook", None, Given({"name": "w", "url": HOOK, "headers": headers}), ANN)
    assert key is not None
    assert channels.secrets(channel)[:2] == (HOOK, headers)
    with store.read() as transaction:
        for table in ("channel_definitions", "channel_secrets"):
            stored = repr(transaction.execute(f"SELECT * FROM {table}"))
            for secret in ("s3cr3t", "T00", "h34der", key, key.removeprefix("whsec_")):
                assert secret not in stored
    assert (channel.host, channel.options) == ("hooks.example.com", {"headers": "Authorization"})


def test_a_webhook_has_a_key_of_its_own_or_ours(channels: ChannelStore) -> None:
    _, key = channels.create_channel("webhook", None, Given({"name": "a", "url": HOOK}), ANN)
    assert key is not None
    own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    channel, none = channels.create_channel("webhook", None, Given({"name": "b", "url": HOOK}, own), ANN)
    assert none is None
    assert channels.secrets(channel).signing(0) == [own]


def test_a_rotated_key_signs_beside_the_new_one_for_its_hours(store: Store) -> None:
    clock = FakeClock()
    channels = channel_store(store, clock)
    channel, former = channels.create_channel("webhook", None, Given({"name": "w", "url": HOOK}), ANN)
    _, new = channels.rotate_key(channel.no, ANN)
    assert channels.secrets(channel).signing(clock.now_ns()) == [new, former]
    clock.advance(24 * 3_600)
    assert channels.secrets(channel).signing(clock.now_ns()) == [new]
    _, newest = channels.rotate_key(channel.no, ANN)
    assert channels.secrets(channel).signing(clock.now_ns()) == [newest, new]
    with pytest.raises(BadInput, match="of the type slack, which signs nothing"):
        channels.rotate_key(slack(channels).no, ANN)


def test_a_deleted_channel_leaves_no_secrets(store: Store, channels: ChannelStore) -> None:
    channel = slack(channels)
    channels.delete_channel(channel.no, ANN)
    with store.read() as transaction:
        assert transaction.execute("SELECT * FROM channel_secrets") == []
    assert [gone for _, gone in channels.history("channel", channel.no)] == [True, False]
    assert slack(channels).no == channel.no + 1  # numbers are not used again
    assert channels.secrets(channel) == Secrets()


def test_credentials_do_not_follow_an_address_to_another_host(channels: ChannelStore) -> None:
    """Whoever may change where a channel leads could read them there."""
    fields = {"name": "w", "url": HOOK, "headers": {"Authorization": "Bearer h34der"}}
    channel, _ = channels.create_channel("webhook", None, Given(fields), ANN)
    with pytest.raises(BadInput, match="headers: the address leads to another host"):
        channels.update_channel(channel.no, Given({"url": "https://eve.example.com/"}), ANN)
    _, _, moved = channels.update_channel(channel.no, Given({"url": "https://hooks.example.com/other"}), ANN)
    assert moved
    assert channels.secrets(channel).headers == {"Authorization": "Bearer h34der"}
    channels.update_channel(channel.no, Given({"url": "https://eve.example.com/", "headers": {}}), ANN)
    assert channels.secrets(channel).headers == {}


def test_who_lost_the_key_says_the_address_anew(store: Store) -> None:
    channels = channel_store(store, FakeClock())
    channel = slack(channels)
    with store.write() as transaction:
        transaction.execute("UPDATE channel_secrets SET sealed = 'gAAAA'")
    with pytest.raises(BadInput, match="encrypted by a key that is not there"):
        channels.secrets(channel)
    with pytest.raises(BadInput, match="encrypted by a key that is not there"):
        channels.update_channel(channel.no, Given({"name": "other"}), ANN)
    channels.update_channel(channel.no, Given({"url": HOOK}), ANN)
    assert channels.secrets(channel).url == HOOK


@pytest.mark.parametrize(
    ("type_", "fields", "refusal"),
    [
        ("slack", {}, "url: a channel of the type slack needs the address"),
        ("slack", {"url": "https://169.254.169.254/latest"}, "url: it leads to an address that is not public"),
        ("slack", {"url": "https://user:s3cr3t@example.com/"}, "url: a URL with a user or password"),
        ("slack", {"url": HOOK, "headers": {"A": "b"}}, "headers: a channel of the type slack has none; it takes url"),
        ("webhook", {"url": HOOK, "headers": {"Host": "b"}}, "headers: a name of letters"),
        ("webhook", {"url": HOOK, "headers": {"webhook-id": "b"}}, "headers: a name of letters"),
        ("webhook", {"url": HOOK, "headers": {"A": "b\r\nC: d"}}, "headers: a value has printable"),
        ("webhook", {"url": HOOK, "password": "s3cr3t"}, "username: say whose password"),
        ("webhook", {"url": HOOK, "username": "a", "headers": {"Authorization": "b"}}, "headers: user and password are sent"),
        ("webhook", {"url": HOOK, "headers": {f"A{no}": "b" for no in range(21)}}, "headers: at most 20"),
        ("sms", {"url": HOOK, "to": ("+39 06",)}, "to: one number"),
        ("sms", {"url": HOOK, "to": ("+3906", "+3907")}, "to: one number"),
        ("mail", {"to": ()}, "to: 1 to 20 addresses"),
        ("mail", {"to": ("ann@example.com\r\nBcc: eve@example.com",)}, "to: not an address of mail"),
        ("mail", {"url": HOOK, "to": ("ann@example.com",)}, "url: a channel of the type mail has none; it takes to"),
    ],
)
def test_what_can_be_no_channel_is_refused(channels: ChannelStore, type_: ChannelType, fields: dict[str, Any], refusal: str) -> None:
    outside = ChannelStore(
        channels._store, FakeClock(), channels._sealer, MAIL, Rules(ports=INSIDE.ports)
    )  # fmt: skip
    with pytest.raises(BadInput) as refused:
        made(outside, type_, **fields)
    assert str(refused.value).startswith(refusal)
    assert "s3cr3t" not in str(refused.value)
    assert outside.all().channels == {}


def test_an_sms_has_fields_that_will_do_when_none_are_said(channels: ChannelStore) -> None:
    assert made(channels, "sms", url=HOOK, to=("+390612345678",)).fields == {"to": "{to}", "text": "{text}"}


def test_without_a_mail_server_there_is_no_mail(store: Store) -> None:
    with pytest.raises(BadInput, match=r"no mail can be sent; .*channels\.smtp_host"):
        made(channel_store(store, FakeClock()), "mail", to=("ann@example.com",))


def test_who_is_bound_to_tenants_reaches_no_inner_network_and_mails_to_domains_of_the_settings(channels: ChannelStore) -> None:
    inner = {"name": "c", "url": "http://127.0.0.1:9093/"}
    channels.create_channel("alertmanager", None, Given(inner), ANN)
    with pytest.raises(BadInput, match="url: it leads to an address that is not public"):
        channels.create_channel("alertmanager", "acme", Given(inner), MAX)
    channels.create_channel("mail", "acme", Given({"name": "m", "to": ("max@Acme.example",)}), MAX)
    with pytest.raises(BadInput, match=r"to: who is bound to tenants .*channels\.smtp_domains"):
        channels.create_channel("mail", "acme", Given({"name": "n", "to": ("max@elsewhere.example",)}), MAX)


def test_a_tenants_people_change_their_own_alone(channels: ChannelStore) -> None:
    theirs, ours = slack(channels, "a", "acme", editor=MAX), slack(channels, "b", "acme")
    channels.update_channel(theirs.no, Given({"enabled": False}), MAX)
    for change in (
        lambda no, editor: channels.update_channel(no, Given({"enabled": False}), editor),
        lambda no, editor: channels.delete_channel(no, editor),
        lambda no, editor: channels.rotate_key(no, editor),
    ):
        with pytest.raises(NotFound):
            change(theirs.no, OTHER)
        with pytest.raises(Forbidden, match="was made by ann, who sees all tenants"):
            change(ours.no, MAX)
    with pytest.raises(Conflict, match="is of revision 3"):
        channels.update_channel(theirs.no, Given({"enabled": True}, revision=1), MAX)


def test_names_are_once_in_a_tenant(channels: ChannelStore) -> None:
    slack(channels, "ops"), slack(channels, "ops", "acme"), slack(channels, "ops", "globex")
    with pytest.raises(BadInput, match="name: channel 2 is called so already"):
        slack(channels, "ops", "acme")


def test_routes_name_channels_that_are_there_and_ones_own(channels: ChannelStore) -> None:
    ours, theirs, others = slack(channels, "a"), slack(channels, "b", "acme", editor=MAX), slack(channels, "c", "globex")
    route = channels.create_route("acme", RouteEdit({"name": "r", "channels": (theirs.no,)}), MAX)
    for numbers in ((ours.no,), (others.no,), (99,)):
        with pytest.raises(BadInput, match=f"channels: there is no channel {numbers[0]}"):
            channels.update_route(route.no, RouteEdit({"channels": numbers}), MAX)
    with pytest.raises(BadInput, match="another tenant's than the route"):
        channels.create_route("acme", RouteEdit({"name": "s", "channels": (others.no,)}), ANN)
    with pytest.raises(BadInput, match="channels: say which"):
        channels.create_route("acme", RouteEdit({"name": "s", "channels": ()}), ANN)
    before, after = channels.update_route(route.no, RouteEdit({"min_severity": "critical"}), MAX)
    assert (before.min_severity, after.min_severity) == ("info", "critical")
    with pytest.raises(NotFound):
        channels.delete_route(route.no, OTHER)
    channels.delete_route(route.no, MAX)
    assert channels.all().routes == {}


def test_a_dry_run_leaves_nothing(store: Store, channels: ChannelStore) -> None:
    channels.create_channel("webhook", None, Given({"name": "w", "url": HOOK}), ANN, dry_run=True)
    assert channels.all().channels == {}
    channel = slack(channels)
    channels.update_channel(channel.no, Given({"url": "https://other.example.com/"}), ANN, dry_run=True)
    channels.delete_channel(channel.no, ANN, dry_run=True)
    assert channels.secrets(channel).url == HOOK


def test_there_are_so_many_and_no_more(channels: ChannelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", {"channel": (3, 1), "route": (9, 9)})
    slack(channels, "a", "acme", editor=MAX)
    with pytest.raises(BadInput, match="there are 1 channels of this tenant already"):
        slack(channels, "b", "acme", editor=MAX)
    slack(channels, "b", "acme"), slack(channels, "c")
    with pytest.raises(BadInput, match="there are 3 channels already"):
        slack(channels, "d")


def test_every_process_follows(store: Store) -> None:
    clock = FakeClock()
    other = followed_routing(store, clock)
    assert other.current().channels == {}
    channels = channel_store(store, clock)
    channel = slack(channels)
    channels.create_route(None, RouteEdit({"name": "r", "channels": (channel.no,), "labels": {"model": "gpt-*"}}), ANN)
    clock.advance(0.5)
    assert other.current().channels == {channel.no: channel}
    assert other.current().routes == channels.all().routes
    channels.delete_channel(channel.no, ANN)
    clock.advance(0.5)
    assert other.current().channels == {}
