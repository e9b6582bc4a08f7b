"""What an alert rule hands to the channels: one thing worth telling, in the state in which it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

Severity: TypeAlias = Literal["info", "warning", "critical"]
State: TypeAlias = Literal["firing", "resolved"]


class Notice(NamedTuple):
    """One alert as people and machines are told of it.

    Attributes:
        notice_id: unique for this telling, the same in every attempt to deliver it and in every channel.
        alert_key: the same for all tellings of one alert, from firing to resolved and again: what deduplication goes by.
        rule: the name of the rule that says so.
        kind: of the rule, e.g. `budget` or `anomaly`.
        severity: how bad it is.
        state: whether it holds or is over.
        tenant: whose spend it is about; "" for all tenants'.
        title: one line.
        text: a few sentences with the figures.
        labels: short names to route and group by, e.g. budget, model.
        figures: decimal strings by name, money in USD.
        link: path of the page that shows it, below the service's public address; "" for none.
        started_ns: since when it holds, Unix nanoseconds.
        at_ns: when this was said.
    """

    notice_id: str
    alert_key: str
    rule: str
    kind: str
    severity: Severity
    state: State
    tenant: str
    title: str
    text: str
    labels: Mapping[str, str]
    figures: Mapping[str, str]
    link: str
    started_ns: int
    at_ns: int
