"""Which notice goes to which channels: plain values, nothing is read or written here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from otel_finops.alerting.notices import Notice, Severity
from otel_finops.governance.calls import fits

ChannelType: TypeAlias = Literal["webhook", "slack", "teams", "mail", "sms", "alertmanager"]
CHANNEL_TYPES: Final[tuple[ChannelType, ...]] = get_args(ChannelType)
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
"""From the least to the worst."""


class Channel(NamedTuple):
    """A way to people or machines; what is secret of it is stored apart.

    Attributes:
        no: its number; 0 before it is stored.
        name: unique among those of its tenant.
        type: how it speaks.
        tenant: whose notices it may carry; None: everybody's.
        enabled: whether notices are put into it.
        host: where it goes, for people, e.g. `hooks.slack.com`; "" for mail.
        to: recipients of mail, or the number that is sent an SMS.
        options: what else its type knows, by name; nothing secret.
        of_all: who made it sees all tenants.
    """

    no: int
    name: str
    type: ChannelType
    tenant: str | None = None
    enabled: bool = True
    host: str = ""
    to: tuple[str, ...] = ()
    options: Mapping[str, str] = {}
    of_all: bool = True
    revision: int = 0
    made_ns: int = 0
    made_by: str = ""
    changed_ns: int = 0
    changed_by: str = ""


class Route(NamedTuple):
    """Notices of some kind go to some channels.

    Attributes:
        no: its number; 0 before it is stored.
        name: unique among those of its tenant.
        tenant: only notices about this tenant; None: about any, and about all.
        channels: numbers of the channels.
        rules: patterns of rules' names, `*` stands for anything; () for all.
        kinds: of rules; () for all.
        min_severity: at least as bad.
        labels: values, by label, that a notice must bear; `*` stands for anything.
        resolved: whether the end of an alert is told too.
        enabled: whether it is gone by.
        of_all: who made it sees all tenants.
    """

    no: int
    name: str
    tenant: str | None = None
    channels: tuple[int, ...] = ()
    rules: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    min_severity: Severity = "info"
    labels: Mapping[str, str] = {}
    resolved: bool = True
    enabled: bool = True
    of_all: bool = True
    revision: int = 0
    made_ns: int = 0
    made_by: str = ""
    changed_ns: int = 0
    changed_by: str = ""

    def takes(self, notice: Notice) -> bool:
        """Whether a notice goes this way."""
        return (
            self.enabled
            and self.tenant in (None, notice.tenant)
            and (not self.rules or any(fits(pattern.lower(), notice.rule) for pattern in self.rules))
            and (not self.kinds or notice.kind in self.kinds)
            and SEVERITIES.index(notice.severity) >= SEVERITIES.index(self.min_severity)
            and (self.resolved or notice.state == "firing")
            and all(fits(pattern.lower(), notice.labels.get(name, "")) for name, pattern in self.labels.items())
        )


class Routing:
    """All channels and routes that stand at a revision.

    Attributes:
        revision: larger than that of every earlier state.
        channels, routes: by number.
    """

    def __init__(self, revision: int, channels: Iterable[Channel] = (), routes: Iterable[Route] = ()) -> None:
        self.revision = revision
        self.channels = {one.no: one for one in channels}
        self.routes = {one.no: one for one in routes}
        self._routed = frozenset(no for route in self.routes.values() for no in route.channels)

    def is_routed(self, no: int) -> bool:
        """Whether any route names a channel, be it switched off."""
        return no in self._routed

    def channels_for(self, notice: Notice) -> list[Channel]:
        """The enabled channels that are to carry a notice, each once, by number.

        A channel that no route names carries everything that it may; a tenant's channel never anything about others.
        """
        taken = {no for route in self.routes.values() if route.takes(notice) for no in route.channels}
        return [
            one
            for no, one in sorted(self.channels.items())
            if one.enabled and one.tenant in (None, notice.tenant) and (no in taken or no not in self._routed)
        ]
