"""Attribution over a trace: every span gets what itself, its nearest ancestor, or its own baggage and resource say (design 4.6).

One walk from the roots down; a span that says nothing shares its parent's mapping, so the walk is linear and a chain of
any length costs no recursion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from otel_finops.base.protocols import ANY_TENANT, DEFAULT_TENANT, covers
from otel_finops.genai.forest import Forest
from otel_finops.genai.kinds import GRAPH_NODE
from otel_finops.genai.sighting import CALL, Sighting, SpanKey

_UNNAMED_GRAPHS: Final = frozenset({"LangGraph", "Pregel", "CompiledGraph", "CompiledStateGraph"})
"""What graph libraries call a graph that nobody named: no agent's name."""


class Inheritance:
    """What holds for each span of a forest, by its number.

    Attributes:
        explicit: what the span and its ancestors say, nearest first; shared between spans, never written to.
        place: name of the nearest span at or above that is no model call; the step where nobody names one.
    """

    __slots__ = ("_sightings", "explicit", "place")

    def __init__(self, forest: Forest) -> None:
        sightings, parent = forest.sightings, forest.parent
        self._sightings = sightings
        self.explicit: list[dict[str, str]] = [{}] * len(sightings)
        self.place: list[str | None] = [None] * len(sightings)
        explicit, place = self.explicit, self.place
        graphs = _Graphs(forest)
        for node in forest.order:
            sighting, above = sightings[node], parent[node]
            inherited = explicit[above] if above >= 0 else {}
            own = graphs.said(node, above, inherited) if graphs.known else sighting.attribution
            explicit[node] = (inherited | own if inherited else own) if own else inherited
            if sighting.kind != CALL and sighting.name:
                place[node] = sighting.name
            elif above >= 0:
                place[node] = place[above]

    def full(self, node: int) -> dict[str, str]:
        """The whole attribution of one span, baggage, resource and the default tenant included."""
        sighting = self._sightings[node]
        return completed(sighting.defaults, self.explicit[node], self.place[node], sighting.speaks_for)

    def merged(self, nodes: Iterable[int]) -> dict[str, str]:
        """The attribution of one call seen by several spans: nearest known value, first node first.

        What any of the spans or their ancestors say beats the baggage and resources of all of them.
        """
        defaults: dict[str, str] = {}
        explicit: dict[str, str] = {}
        place: str | None = None
        speaks_for = ANY_TENANT
        for node in nodes:
            if self._sightings[node].speaks_for != ANY_TENANT:
                speaks_for = self._sightings[node].speaks_for
            defaults = self._sightings[node].defaults | defaults
            explicit = self.explicit[node] | explicit
            place = place or self.place[node]
        return completed(defaults, explicit, place, speaks_for)


class _Graphs:
    """The agents that graph libraries name only by the name of a graph's span.

    A graph called from another one's tool may carry the outer agent's name on all its spans: what a graph says of its agent counts only
    when it is not what its surroundings said already, and what it said wrongly is not believed below it either.
    """

    __slots__ = ("_sightings", "_wrong", "known")

    def __init__(self, forest: Forest) -> None:
        self._sightings = forest.sightings
        self._wrong: dict[int, str] = {}
        self.known = {forest.parent[node] for node, sighting in enumerate(forest.sightings) if sighting.operation == GRAPH_NODE}

    def said(self, node: int, above: int, inherited: Mapping[str, str]) -> dict[str, str]:
        """The attribution of a span that the graph library got right, with the graph's name as its agent."""
        sighting = self._sightings[node]
        own, wrong = sighting.attribution, self._wrong.get(above)
        agent = own.get("agent")
        if agent == wrong:
            agent = None
        if node in self.known and sighting.kind != CALL and sighting.name and sighting.name not in _UNNAMED_GRAPHS:
            if agent is not None and agent != inherited.get("agent"):
                return own
            wrong = own.get("agent", wrong)
            agent = sighting.name
        if wrong is not None and wrong != agent:
            self._wrong[node] = wrong
        return own if agent == own.get("agent") else _with_agent(own, agent)


def _with_agent(said: dict[str, str], agent: str | None) -> dict[str, str]:
    others = {name: value for name, value in said.items() if name != "agent"}
    return others if agent is None else {**others, "agent": agent}


def completed(defaults: Mapping[str, str], explicit: Mapping[str, str], place: str | None, speaks_for: str) -> dict[str, str]:
    """All that is known; a tenant that an ancestor names counts only if the span's own sender may put costs on it (`tenant_of`)."""
    known = {**defaults, **explicit}
    if place is not None and "step" not in known:
        known["step"] = place
    known["tenant"] = tenant_of(known.get("tenant"), speaks_for)
    return known


def tenant_of(named: str | None, speaks_for: str) -> str:
    """The tenant of a span for which one is named, or None."""
    return DEFAULT_TENANT if named is None or not covers(speaks_for, named) else named


def resolve(sightings: Iterable[Sighting]) -> dict[SpanKey, dict[str, str]]:
    """The full attribution of every span given, by span key.

    Each key of `ATTRIBUTION_KEYS` is taken from the nearest of the span itself and its ancestors within the trace, else from
    the span's own defaults (baggage, resource). The step falls back to the nearest span that is no model call and has a name,
    the span itself included; the tenant to `default`. Linear; independent of order and repetition.
    """
    forest = Forest(sightings)
    inheritance = Inheritance(forest)
    return {sighting.key: inheritance.full(node) for node, sighting in enumerate(forest.sightings)}
