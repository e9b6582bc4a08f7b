"""Channels, routes and deliveries in inputs and answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema

from otel_finops.base.limits import CHANNEL_SECRET_CHARS_MAX, OUTBOUND_URL_CHARS_MAX, ROUTE_WORDS_MAX
from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.fields import SECRET, Name
from otel_finops.operations.registry import Input, Output
from otel_finops.operations.scope_fields import ScopeValues
from otel_finops.operations.shapes import At

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.alerting.routes import Channel, Route

TypeName: TypeAlias = Literal["webhook", "slack", "teams", "mail", "sms", "alertmanager"]
SeverityName: TypeAlias = Literal["info", "warning", "critical"]
_NUMBER_MAX: Final = 2**63 - 1
_LIST_CHARS_MAX: Final = 20_000
_DIGITS: Final = re.compile(r"[0-9]{1,19}")


def _words(given: Any) -> Any:
    """`a,b` as a command line says it, one value, or a list."""
    if not isinstance(given, str):
        return tuple(given) if isinstance(given, list) else (given,) if type(given) is int else given
    if len(given) > _LIST_CHARS_MAX:
        raise ValueError(f"more than {_LIST_CHARS_MAX} characters")
    return tuple(word.strip() for word in given.split(",") if word.strip())


def _numbers(given: Any) -> Any:
    """`1,2`, one number, or a list."""
    words = _words(given)
    if not isinstance(words, tuple):
        return words
    return tuple(int(word) if isinstance(word, str) and _DIGITS.fullmatch(word) else word for word in words)


def _schema(items: dict[str, Any], example: list[Any]) -> WithJsonSchema:
    return WithJsonSchema(
        {"anyOf": [{"type": "array", "items": items, "maxItems": ROUTE_WORDS_MAX}, {"type": "string"}], "example": example}
    )


_FEW: Final = Field(max_length=ROUTE_WORDS_MAX)
_Word: TypeAlias = Annotated[Name, Field(min_length=1)]
_Number: TypeAlias = Annotated[int, Field(ge=1, le=_NUMBER_MAX)]
Words: TypeAlias = Annotated[tuple[_Word, ...], _FEW, BeforeValidator(_words), _schema({"type": "string"}, ["budget*"])]
Numbers: TypeAlias = Annotated[tuple[_Number, ...], _FEW, BeforeValidator(_numbers), _schema({"type": "integer"}, [1])]
Recipients: TypeAlias = Annotated[tuple[_Word, ...], _FEW, BeforeValidator(_words), _schema({"type": "string"}, ["ops@example.com"])]
Url: TypeAlias = Annotated[str, Field(max_length=OUTBOUND_URL_CHARS_MAX)]
Secret: TypeAlias = Annotated[str, Field(max_length=CHANNEL_SECRET_CHARS_MAX)]
Key: TypeAlias = Annotated[str, Field(max_length=200)]


class SaidOfChannel(Input):
    """What is said of a channel; what is secret of it is shown to nobody again."""

    url: Url | None = Field(
        default=None,
        description="Where it leads, with the token that chats and providers put into it: all but mail. Secret.",
        json_schema_extra=SECRET,
    )
    to: Recipients | None = Field(default=None, description="Of mail: addresses. Of sms: one number, e.g. +390612345678.")
    headers: ScopeValues | None = Field(
        default=None,
        description="Of webhook, sms and alertmanager: headers that are sent along, NAME=VALUE or a JSON object. Secret.",
        json_schema_extra=SECRET,
    )
    username: Secret | None = Field(default=None, description="The same: the user of HTTP's basic authentication.")
    password: Secret | None = Field(default=None, description="His password. Secret.", json_schema_extra=SECRET)
    fields_: ScopeValues | None = Field(
        default=None,
        alias="fields",
        description="Of sms: the fields of the provider's request, NAME=VALUE or a JSON object; {to} and {text} stand for the number and "
        "the text. Secret.",
        json_schema_extra=SECRET,
    )
    format: Literal["json", "form"] | None = Field(default=None, description="Of sms: how the fields are sent; json when not given.")
    key: Key | None = Field(
        default=None,
        description="Of webhook: the key of its signatures, whsec_ and base64; one is made and shown this once when not given. Secret.",
        json_schema_extra=SECRET,
    )
    enabled: bool | None = Field(default=None, description="Whether notices are put into it.")

    def said(self) -> dict[str, Any]:
        """What was said, by the names that `alerting.channels` knows."""
        named = {
            "url": self.url, "to": self.to, "headers": self.headers, "username": self.username, "password": self.password,
            "fields": self.fields_, "format": self.format, "enabled": self.enabled,
        }  # fmt: skip
        return {name: value for name, value in named.items() if value is not None}


class ChannelNumber(Input):
    """Which channel."""

    no: int = Field(ge=1, le=_NUMBER_MAX, description="Its number (`channels list`).")


class RouteNumber(Input):
    """Which route."""

    no: int = Field(ge=1, le=_NUMBER_MAX, description="Its number (`alert-routes list`).")


class DeliveryNumber(Input):
    """Which delivery."""

    no: int = Field(ge=1, le=_NUMBER_MAX, description="Its number (`deliveries list`).")


class ShownChannel(Output):
    """A channel, without what is secret of it."""

    no: int | None = Field(description="Null: it is not stored.")
    name: str
    type: TypeName
    tenant: str | None = Field(description="Whose notices it carries; null: everybody's.")
    enabled: bool
    host: str | None = Field(description="Where it leads; null: by the mail server of the settings.")
    to: list[str] = Field(description="Recipients of mail, or the number of an SMS.")
    format: str | None = Field(description="Of sms: how the fields are sent.")
    headers: list[str] = Field(description="Names of the headers that are sent along.")
    fields: list[str] = Field(description="Of sms: names of the fields.")
    routed: bool | None = Field(description="Whether a route names it; false: it carries all that it may. Null: it does not stand.")
    revision: int | None
    made_at: At
    made_by: str
    changed_at: At
    changed_by: str


class ShownRoute(Output):
    """Notices of some kind go to some channels."""

    no: int | None = Field(description="Null: it is not stored.")
    name: str
    tenant: str | None = Field(description="Only notices about this tenant; null: about any, and about all.")
    channels: list[int] = Field(description="Numbers of the channels that they go to.")
    rules: list[str] = Field(description="Patterns of rules' names; none: all rules.")
    kinds: list[str] = Field(description="Kinds of rules; none: all.")
    min_severity: SeverityName
    labels: dict[str, str] = Field(description="Values by label that a notice must bear, `*` stands for anything.")
    resolved: bool = Field(description="Whether the end of an alert is told too.")
    enabled: bool
    revision: int | None
    made_at: At
    made_by: str
    changed_at: At
    changed_by: str


def shown_channel(one: Channel, *, routed: bool | None = None, stored: bool = True) -> dict[str, Any]:
    """A channel as answers show it."""
    return {
        "no": one.no if stored else None, "name": one.name, "type": one.type, "tenant": one.tenant, "enabled": one.enabled,
        "host": one.host or None, "to": list(one.to), "format": one.options.get("format", "json") if one.type == "sms" else None,
        "headers": _names(one.options.get("headers", "")), "fields": _names(one.options.get("fields", "")), "routed": routed,
        **_changes(one, stored=stored),
    }  # fmt: skip


def shown_route(one: Route, *, stored: bool = True) -> dict[str, Any]:
    """A route as answers show it."""
    return {
        "no": one.no if stored else None, "name": one.name, "tenant": one.tenant, "channels": list(one.channels),
        "rules": list(one.rules), "kinds": list(one.kinds), "min_severity": one.min_severity, "labels": dict(one.labels),
        "resolved": one.resolved, "enabled": one.enabled, **_changes(one, stored=stored),
    }  # fmt: skip


def _changes(one: Channel | Route, *, stored: bool) -> dict[str, Any]:
    return {
        "revision": one.revision if stored else None, "made_at": format_ns(one.made_ns), "made_by": one.made_by,
        "changed_at": format_ns(one.changed_ns), "changed_by": one.changed_by,
    }  # fmt: skip


def _names(text: str) -> list[str]:
    return [name for name in text.split(", ") if name]


def must_own(principal: Principal, tenant: str | None, what: str) -> None:
    """Refuse what carries notices that are not the principal's.

    Raises:
        NotFound: another tenant's.
        Forbidden: everybody's, and he is bound to some.
    """
    if tenant is None:
        principal.must_see_all(f"{what} without a tenant is for everybody's notices: name yours")
    else:
        principal.must_see(tenant)
