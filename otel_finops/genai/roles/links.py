"""Span links between the trees of a neighbourhood: whose request a gateway's span follows."""

from __future__ import annotations

from typing import Final

from otel_finops.genai.roles.scene import NONE, Scene
from otel_finops.genai.sighting import CALL, SpanKey

LINKS_TRIED: Final = 4
"""Links of one span that are followed: a span follows one request, batches follow many and say nothing of one."""
CLIMB_MAX: Final = 16
"""Ancestors that are climbed from a linked span to the call that it belongs to: HTTP and gateway spans between are a few."""


def links_above(scene: Scene) -> dict[int, tuple[int, ...]]:
    """For each span with links at or above it, the spans at the other ends of the nearest ones; ends that are not known are left out."""
    sightings, forest = scene.sightings, scene.forest
    if not any(sighting.links for sighting in sightings):
        return {}
    number: dict[SpanKey, int] = {sighting.key: node for node, sighting in enumerate(sightings)}
    ends: dict[int, tuple[int, ...]] = {}
    for node in forest.order:
        links = sightings[node].links
        if links:
            ends[node] = tuple([number[link] for link in sorted(links)[:LINKS_TRIED] if link in number])
        elif forest.parent[node] in ends:
            ends[node] = ends[forest.parent[node]]
    return ends


def call_at_or_above(scene: Scene, node: int) -> int:
    """The call that a span is, or that it is a part of: the nearest at or above it; `NONE` without one."""
    for _ in range(CLIMB_MAX):
        if node < 0:
            break
        if node in scene.group_of and scene.sightings[node].kind == CALL:
            return node
        node = scene.forest.parent[node]
    return NONE


def linked_areas(scene: Scene) -> dict[str, str]:
    """For each trace that is linked with another one, in either direction and over any number of links, one name for them all."""
    leader: dict[str, str] = {}

    def find(trace_id: str) -> str:
        while leader.setdefault(trace_id, trace_id) != trace_id:
            leader[trace_id] = leader[leader[trace_id]]
            trace_id = leader[trace_id]
        return trace_id

    for sighting in scene.sightings:
        for trace_id, _ in sighting.links:
            if trace_id != sighting.trace_id:
                one, other = find(sighting.trace_id), find(trace_id)
                leader[max(one, other)] = min(one, other)
    return {trace_id: find(trace_id) for trace_id in list(leader)}
