"""Which attributes say who a span's cost belongs to, and how one span is asked.

A span speaks for itself (`Sighting.attribution`); the weaker `Sighting.defaults` hold what baggage and the resource say. Inheritance
from ancestors is decided over a whole trace, elsewhere.

Baggage that a span processor copies under its own key (`tenant.id`) cannot be told from an attribute the application set, so it counts as
the span's own word; copied under `baggage.<key>` it is a default. `service` and `environment` are read from the resource alone: some
instrumentations write made-up ones onto spans.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from otel_finops.base.limits import TAGS_MAX

BAGGAGE_PREFIX: Final = "baggage."

SPAN_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "agent": ("gen_ai.agent.name", "agent.name", "agent_name"),
    "step": ("finops.step",),
    "tool": ("gen_ai.tool.name",),
    "workflow": ("gen_ai.workflow.name",),
    "user": ("finops.user", "user.id", "enduser.id", "llm.user"),
    "session": ("gen_ai.conversation.id", "session.id", "thread_id"),
    "tenant": ("finops.tenant", "tenant.id", "tenant"),
    "cost_center": ("finops.cost_center", "cost_center", "team"),
    "purpose": ("finops.purpose",),
    "reservation": ("finops.reservation",),
}
"""Attributes by attribution key, best first; dialects add theirs behind."""

LAST_KEYS: Final[Mapping[str, tuple[str, ...]]] = {"agent": ("gen_ai.agent.id",)}
"""Asked after the dialects' keys: an id is a poor name."""

RESOURCE_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "service": ("service.name",),
    "environment": ("deployment.environment.name", "deployment.environment"),
}


@dataclass(frozen=True)
class AttributionSettings:
    """What an operator may change about attribution.

    Attributes:
        keys: attribution key -> attributes to read, best first; replaces our whole list for that key, the dialects' part included.
        defaults: attribution key -> value where neither the span, its ancestors, baggage nor the resource say anything.
        tags: attributes kept as tags, an allow-list of at most `limits.TAGS_MAX`; none by default, as tags may hold personal data.
    """

    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

    def span_keys(self, dialects: Iterable[Mapping[str, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
        """The attributes to read from spans, dialects' keys and the operator's wishes folded in."""
        parts = [SPAN_KEYS, *dialects, LAST_KEYS]
        names = dict.fromkeys(name for part in parts for name in part)
        merged = {name: tuple(dict.fromkeys(key for part in parts for key in part.get(name, ()))) for name in names}
        return merged | {name: tuple(keys) for name, keys in self.keys.items() if name not in RESOURCE_KEYS}

    def resource_keys(self, span_keys: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """The attributes to read from resources: all that spans may say, and service and environment."""
        own = {name: tuple(self.keys.get(name, keys)) for name, keys in RESOURCE_KEYS.items()}
        return {**span_keys, **own}

    def tag_keys(self) -> tuple[str, ...]:
        """The allow-list, bounded."""
        return self.tags[:TAGS_MAX]
