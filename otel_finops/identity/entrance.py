"""Who is let in, and by what: one object for a process, so that every listener knows the same tokens."""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

from otel_finops.base.clock import Clock
from otel_finops.base.errors import Busy, Unavailable
from otel_finops.identity.live import LiveTokens
from otel_finops.identity.principals import Principals
from otel_finops.identity.resolver import resolver_of
from otel_finops.identity.senders import Senders
from otel_finops.settings.tree import Settings
from otel_finops.store.engine import Store

_log: Final = logging.getLogger(__name__)


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

    def close(self) -> None:
        """Write when stored tokens were last used, as far as that is not written yet."""
        if self.live is None:
            return
        try:
            self.live.note_uses()
        except (Busy, Unavailable) as fault:
            _log.warning("when tokens were used in the last minute is not on record: %s", fault)


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
