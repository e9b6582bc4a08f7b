"""What a channel may be: checks of what people say of one, before it is stored."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from otel_finops.alerting.channel_secrets import Secrets, SigningKey
from otel_finops.alerting.routes import Channel, ChannelType
from otel_finops.alerting.signature import checked_key
from otel_finops.base.errors import AddressRefused, BadInput
from otel_finops.base.limits import CHANNEL_HEADERS_MAX, CHANNEL_SECRET_CHARS_MAX, CHANNEL_TO_MAX
from otel_finops.base.outbound import Place, Rules, place_of
from otel_finops.settings.channels import Channels, checked_mail

_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_OURS: Final = ("host", "connection", "content-length", "content-type", "transfer-encoding", "te", "trailer", "upgrade", "expect")
_NUMBER: Final = re.compile(r"\+?[0-9]{3,15}")
_ANYWHERE: Final = Rules.of(("0.0.0.0/0", "::/0"), (), range(1, 65_536))
"""For an address that was taken once: it is only compared."""
_SMS_FIELDS: Final = {"to": "{to}", "text": "{text}"}

SECRET_FIELDS: Final = ("url", "headers", "username", "password", "fields")
"""What people say of a channel and never see again; beside it a webhook's key."""
_TAKES: Final[Mapping[ChannelType, tuple[str, ...]]] = {
    "webhook": ("url", "headers", "username", "password"),
    "slack": ("url",),
    "teams": ("url",),
    "mail": ("to",),
    "sms": ("url", "headers", "username", "password", "fields", "format", "to"),
    "alertmanager": ("url", "headers", "username", "password"),
}
"""What can be said of a channel of each type, name and switches aside."""


class Given(NamedTuple):
    """What somebody says of a channel; what is not among it stays as it is.

    Attributes:
        fields: `name`, `enabled`, `to`, `format` and those of `SECRET_FIELDS`, by name.
        key: of a webhook's signatures; None: as it was, or one is made.
        revision: that he has seen; None: whichever it is.
    """

    fields: Mapping[str, Any]
    key: str | None = None
    revision: int | None = None


def checked(
    channel: Channel, secrets: Secrets, given: Given, settings: Channels, rules: Rules, tenants: Collection[str] | None
) -> tuple[Channel, Secrets]:
    """A channel and what is secret of it, with what somebody says.

    Args:
        channel, secrets: as they were; of a new one with its type and tenant alone.
        tenants: whom he sees who says so; None: all.

    Raises:
        BadInput: it cannot be like this; the message begins with the field and repeats nothing secret.
    """
    _check_type(channel, given)
    said = {name: value for name, value in given.fields.items() if name in ("name", "enabled")}
    options = {**channel.options, **({"format": given.fields["format"]} if "format" in given.fields else {})}
    to = tuple(given.fields.get("to", channel.to))
    secrets = _secrets(channel, secrets, given, rules)
    channel = channel._replace(**said, to=to, host=_host(channel, secrets, rules))
    options |= {
        name: ", ".join(sorted(held)) for name, held in (("headers", secrets.headers), ("fields", secrets.fields)) if held
    }  # fmt: skip
    channel = channel._replace(options={name: text for name, text in options.items() if name == "format" or getattr(secrets, name)})
    _check_recipients(channel, settings, tenants)
    return channel, secrets


def _check_type(channel: Channel, given: Given) -> None:
    takes = _TAKES[channel.type]
    alien = [name for name in given.fields if name not in ("name", "enabled", *takes)]
    if alien:
        raise BadInput(f"{alien[0]}: a channel of the type {channel.type} has none; it takes {', '.join(takes)}")
    if given.key is not None:
        if channel.type != "webhook":
            raise BadInput(f"key: a channel of the type {channel.type} signs nothing")
        try:
            checked_key(given.key)
        except ValueError as fault:
            raise BadInput(f"key: {fault}") from None


def _secrets(channel: Channel, secrets: Secrets, given: Given, rules: Rules) -> Secrets:
    said = {name: value for name, value in given.fields.items() if name in SECRET_FIELDS}
    _check_moved(channel, secrets, said, rules)
    secrets = secrets._replace(**said)
    if channel.type == "sms" and not secrets.fields:
        secrets = secrets._replace(fields=_SMS_FIELDS)
    if given.key is not None:
        secrets = secrets._replace(keys=(SigningKey(given.key),))
    _check_headers(secrets.headers)
    for name in ("headers", "fields"):
        held = getattr(secrets, name)
        if len(held) > CHANNEL_HEADERS_MAX or any(len(text) > CHANNEL_SECRET_CHARS_MAX for one in held.items() for text in one):
            raise BadInput(f"{name}: at most {CHANNEL_HEADERS_MAX}, each of at most {CHANNEL_SECRET_CHARS_MAX} characters")
    if secrets.password and not secrets.username:
        raise BadInput("username: say whose password it is; for a token send it by a header")
    if secrets.username and any(name.lower() == "authorization" for name in secrets.headers):
        raise BadInput("headers: user and password are sent as Authorization already; leave that header out, or them")
    return secrets


def _check_moved(channel: Channel, secrets: Secrets, said: Mapping[str, Any], rules: Rules) -> None:
    """Refuse to send former credentials to another host: whoever may change an address may not therefore read them."""
    if not secrets.url or "url" not in said:
        return
    if _whither(_place(channel, said["url"], rules)) == _whither(place_of(secrets.url, _ANYWHERE)):
        return
    kept = [name for name in ("headers", "password", "fields") if getattr(secrets, name) and name not in said]
    if kept:
        raise BadInput(f"{kept[0]}: the address leads to another host, which is not sent what the former one was: say it anew, or empty")


def _whither(place: Place) -> tuple[str, str, int]:
    return place.scheme, place.host, place.port


def _host(channel: Channel, secrets: Secrets, rules: Rules) -> str:
    if channel.type == "mail":
        return ""
    place = _place(channel, secrets.url, rules)
    host = f"[{place.host}]" if ":" in place.host else place.host
    return host if place.port == (443 if place.scheme == "https" else 80) else f"{host}:{place.port}"


def _place(channel: Channel, url: str, rules: Rules) -> Place:
    """Where an address leads."""
    if not url:
        raise BadInput(f"url: a channel of the type {channel.type} needs the address that it leads to")
    try:
        return place_of(url, rules)
    except AddressRefused as fault:
        raise BadInput(f"url: {fault}") from None


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or name.lower() in _OURS or name.lower().startswith("webhook-"):
            raise BadInput("headers: a name of letters, digits and hyphens that is not one of those that are sent anyway")
        if not value.isascii() or not value.isprintable():
            raise BadInput("headers: a value has printable ASCII characters alone, no line breaks")


def _check_recipients(channel: Channel, settings: Channels, tenants: Collection[str] | None) -> None:
    if channel.type == "sms" and (len(channel.to) != 1 or not _NUMBER.fullmatch(channel.to[0])):
        raise BadInput("to: one number, e.g. +390612345678; for several people make several channels, so that each is told once")
    if channel.type != "mail":
        return
    if not settings.smtp_host:
        raise BadInput("type: no mail can be sent; the settings name no mail server (channels.smtp_host)")
    if not 1 <= len(channel.to) <= CHANNEL_TO_MAX:
        raise BadInput(f"to: 1 to {CHANNEL_TO_MAX} addresses of mail")
    for address in channel.to:
        try:
            checked_mail(address)
        except ValueError as fault:
            raise BadInput(f"to: {fault}") from None
        domain = address.rpartition("@")[2].lower()
        if tenants is not None and domain not in {one.lower() for one in settings.smtp_domains}:
            raise BadInput("to: who is bound to tenants has mail sent to the domains of the settings alone (channels.smtp_domains)")
