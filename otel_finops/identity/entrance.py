"""Who is let in, and by what: one object for a process, so that every listener knows the same tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.identity.live import NOTE_USES_EVERY_S, POLL_S, LiveTokens
from otel_finops.identity.principals import Principals
from otel_finops.identity.resolver import resolver_of
from otel_finops.identity.senders import Senders
from otel_finops.settings.tree import Settings
from otel_finops.store.engine import Store
from otel_finops.store.follower import Follower


class Entrance(NamedTuple):
    """What the listeners ask.

    Attributes:
        live: the stored tokens, to be followed; None where they are switched off.
        principals: for the API.
        senders: for spans.
    """

    live: LiveTokens | None
    principals: Principals
    senders: Senders

    def followers(self) -> Sequence[Follower]:
        """What keeps it up to date while the service runs."""
        if self.live is None:
            return ()
        tokens = Follower("the stored tokens", self.live.fresh, POLL_S)
        return tokens, Follower("the uses of tokens", self.live.keep_uses, NOTE_USES_EVERY_S)

    def close(self) -> None:
        """Write when stored tokens were last used, as far as that is not written yet."""
        if self.live is not None:
            self.live.keep_uses()


def entrance(settings: Settings, store: Store, clock: Clock) -> Entrance:
    """Who is let in by these settings, with the stored tokens of now.

    Raises:
        StartRefused: the settings name a resolver that is not there.
        Busy, Unavailable: the store's.
    """
    live = LiveTokens(store, clock) if settings.features.tokens else None
    if live is not None:
        live.fresh()
    resolver = resolver_of(settings.auth, clock)
    return Entrance(live, Principals(settings.auth, live, resolver), Senders(settings.auth, live, resolver))
