"""Channels, notices and deliverers for tests of alerting."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from otel_finops.alerting.channel_rows import followed_routing
from otel_finops.alerting.channel_secrets import Secrets
from otel_finops.alerting.channel_store import ChannelStore
from otel_finops.alerting.channels import Given
from otel_finops.alerting.deliver import Deliverer
from otel_finops.alerting.notices import Notice, Severity, State
from otel_finops.alerting.outbox import put
from otel_finops.alerting.routes import Channel
from otel_finops.alerting.sealing import Sealer
from otel_finops.alerting.senders import Attempt
from otel_finops.base.clock import Clock
from otel_finops.base.outbound import Rules
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.identity.principals import Editor
from otel_finops.settings.channels import Channels
from otel_finops.store.engine import Store
from otel_finops.testing import NOON

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
"""32 bytes: 0123456789abcdef, twice."""
ANN = Editor("ann")
MAX = Editor("max", ("acme",))
INSIDE = Rules.of(["127.0.0.0/8"], (), range(1, 65_536))
HOOK = "https://hooks.example.com/services/T00/B00/s3cr3t-t0k3n"


def notice(
    notice_id: str = "n1", *, key: str = "budget:1:80", tenant: str = "acme", severity: Severity = "warning", state: State = "firing",
    rule: str = "budgets", kind: str = "budget", title: str = "Budget all of it is at 80 %", at_s: int = 0,
    labels: dict[str, str] | None = None,
) -> Notice:  # fmt: skip
    """A budget of 1,000 USD of which 812.50 are spent."""
    return Notice(
        notice_id, key, rule, kind, severity, state, tenant, title, "812.50 of 1000 USD are spent; the month has nine days to go.",
        {"budget": "all of it"} if labels is None else labels, {"spent_usd": "812.5", "limit_usd": "1000"}, "/budgets/1",
        NOON - 60 * NS_PER_SECOND, NOON + at_s * NS_PER_SECOND,
    )  # fmt: skip


def channel_store(store: Store, clock: Clock, settings: Channels | None = None, rules: Rules = INSIDE) -> ChannelStore:
    """Channels of a store, their secrets sealed by `KEY`."""
    return ChannelStore(store, clock, Sealer([KEY], None), settings or Channels(), rules)


def slack(channels: ChannelStore, name: str = "ops", tenant: str | None = None, url: str = HOOK, editor: Editor = ANN) -> Channel:
    """A chat."""
    return channels.create_channel("slack", tenant, Given({"name": name, "url": url}), editor)[0]


def told(store: Store, clock: Clock, *notices: Notice) -> list[int]:
    """Put notices into the outbox, each in a transaction of its own; the numbers of the deliveries."""
    routing, made = followed_routing(store, clock), list[int]()
    for one in notices:
        with store.write() as transaction:
            made += put(transaction, one, routing.seen_by(transaction))
    return made


class Ear:
    """A teller that only hears; thread-safe.

    Attributes:
        heard: channel and id of each attempt.
    """

    def __init__(self, answers: Callable[[Channel, Notice], Attempt] | None = None) -> None:
        self.heard: list[tuple[str, str]] = []
        self._answers = answers or (lambda channel, notice: Attempt("delivered", "heard"))
        self._lock = threading.Lock()

    def tell(self, channel: Channel, secrets: Secrets, notice: Notice) -> Attempt:
        with self._lock:
            self.heard.append((channel.name, notice.notice_id))
        return self._answers(channel, notice)

    @property
    def ids(self) -> Sequence[str]:
        return [notice_id for _, notice_id in self.heard]


def deliverer(store: Store, clock: Clock, ear: Ear, *, patience_s: float = 86_400) -> Deliverer:
    """One whose delays do not vary."""
    return Deliverer(
        store, clock, ear, channel_store(store, clock).secrets, clock.now_ns, patience_s=patience_s, vary=lambda: 1.0
    )  # fmt: skip
