"""The section `channels`: how notices reach people: the mail server, the key of stored secrets, how long is tried."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from otel_finops.settings.section import SECRET, Section

_KEY_BYTES: Final = 32
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|[.](?![.]))*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_MAIL: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
_MAIL_CHARS_MAX: Final = 254


def _host(text: str) -> str:
    if text and not _HOST.fullmatch(text):
        raise ValueError("not a host; write its name or address, and its port in smtp_port")
    return text


def _key(text: str) -> str:
    try:
        right = len(base64.urlsafe_b64decode(text)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        right = False
    if not right:
        raise ValueError("not a key: 32 random bytes in URL-safe base64, as `openssl rand -base64 32 | tr +/ -_` prints them")
    return text


def checked_mail(text: str) -> str:
    """An address of mail as it is; raises ValueError for what is none."""
    if not _MAIL.fullmatch(text) or len(text) > _MAIL_CHARS_MAX:
        raise ValueError("not an address of mail; write name@host in ASCII")
    return text


def _public_url(text: str) -> str:
    if text and not re.fullmatch(r"https?://[!-~]+", text):
        raise ValueError("not a URL; write https://HOST, with a path where the service has one")
    return text.rstrip("/")


Key: TypeAlias = Annotated[str, AfterValidator(_key)]
Mail: TypeAlias = Annotated[str, AfterValidator(checked_mail)]


class Channels(Section):
    """Channels: webhooks, chats, mail, SMS, Alertmanager (docs/alerting.md)."""

    secret_keys: Annotated[tuple[Key, ...], Field(max_length=10)] = Field(
        default=(),
        repr=False,
        json_schema_extra=SECRET,
        description="Keys by which secrets of channels are encrypted: the first encrypts, all decrypt; each 32 bytes in URL-safe "
        'base64: `["KEY"]`. '
        "Without any a SQLite database has a key file beside it, made when it is first needed (`FILE.key`); PostgreSQL needs one.",
    )
    public_url: Annotated[str, AfterValidator(_public_url)] = Field(
        default="", description="Where people reach this service, for links in notices: `https://finops.example.com`; empty: no links."
    )
    smtp_host: Annotated[str, AfterValidator(_host)] = Field(
        default="", max_length=253, description="The mail server; empty: no channel sends mail."
    )
    smtp_port: int = Field(default=587, ge=1, le=65_535, description="Its port.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="`starttls`, `tls` from the first byte on, or `none`: for a server on this machine."
    )
    smtp_user: str = Field(default="", max_length=256, description="Whom the mail server knows us as; empty: it asks for nobody.")
    smtp_password: str = Field(default="", max_length=1_024, repr=False, json_schema_extra=SECRET, description="The password there.")
    smtp_from: Mail | Literal[""] = Field(default="", description="The sender of mails, an address that the mail server takes.")
    smtp_domains: tuple[Annotated[str, Field(min_length=1, max_length=253)], ...] = Field(
        default=(),
        max_length=1_000,
        description="Domains that mail may be sent to, for channels of people who are bound to tenants; none: they have no mail.",
    )
    patience_hours: float = Field(
        default=24.0, gt=0, le=720, description="Hours for which it is tried again and again to deliver a notice; then it is given up."
    )
    key_overlap_hours: float = Field(
        default=24.0, ge=0, le=720, description="Hours for which a webhook's former key signs beside the new one, after it was rotated."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.smtp_host and not self.smtp_from:
            raise ValueError("smtp_from: say whose address mails come from")
        if self.smtp_password and self.smtp_security == "none":
            raise ValueError("smtp_security: a password is sent in clear without TLS; choose starttls or tls")
        return self
