"""What binds sightings of equal numbers whose answer id may be an accident: ids such as `chatcmpl-417` are drawn again and again.

An honest second call must not become free because a local server drew the same small number twice. So such an id joins
sightings only where there is a second reason to think of one call, or of one cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from otel_finops.genai.roles.agreement import near
from otel_finops.genai.roles.scene import Scene
from otel_finops.genai.sighting import RANK_GATEWAY, Sighting

NEIGHBOURS_TRIED: Final = 3
"""Sightings that start next after one and may be the view of it from inside: a gateway's, and those of libraries around it."""
_NAMELESS: Final = "unknown_service"
"""How SDKs call a service that has no name: many do."""


def bound_sets(scene: Scene, nodes: list[int], areas: Mapping[str, str]) -> list[list[int]]:
    """The sets of sightings with one answer id and equal numbers that something else binds, too; each by start.

    Bound are those of one trace or of linked ones; those of one service, whose answers one cache may have repeated; gateways' among
    each other, with what it served at that time; and one that lies wholly within another scope's time, as a request that was passed
    on does. What a gateway marks as cached goes with the earliest sighting, for it costs nothing anyway.

    Args:
        areas: see `links.linked_areas`.
    """
    leader = {node: node for node in nodes}

    def find(node: int) -> int:
        while leader[node] != node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    def bind(one: int, other: int) -> None:
        one, other = find(one), find(other)
        leader[max(one, other)] = min(one, other)

    seen: dict[tuple[str, str], int] = {}
    for node in nodes:
        for place in _places(scene.sightings[node], areas):
            bind(seen.setdefault(place, node), node)
    by_start = sorted(nodes, key=lambda node: (scene.sightings[node].start_ns, node))
    for at, node in enumerate(by_start):
        for other in by_start[at + 1 : at + 1 + NEIGHBOURS_TRIED]:
            if _passed_on(scene.sightings[node], scene.sightings[other]):
                bind(node, other)
    sets: dict[int, list[int]] = {}
    for node in by_start:
        sets.setdefault(find(node), []).append(node)
    return _with_originals(scene, list(sets.values()))


def home(sighting: Sighting) -> str:
    """Whose answers one cache may have repeated: the service, in all its instances; the instance of one that has no name."""
    service = sighting.defaults.get("service")
    return service if service and not service.startswith(_NAMELESS) else sighting.instance


def _places(sighting: Sighting, areas: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Whatever else of a sighting another one may have in common with it."""
    yield "trace", areas.get(sighting.trace_id, sighting.trace_id)
    yield "home", home(sighting)
    if sighting.rank == RANK_GATEWAY:
        yield "gateway", sighting.scope


def _passed_on(one: Sighting, other: Sighting) -> bool:
    """The other, which starts no earlier, may show the same request further inside."""
    if RANK_GATEWAY in (one.rank, other.rank):
        return near(one, other)
    return one.scope != other.scope and one.start_ns < other.start_ns and other.end_ns < one.end_ns


def _with_originals(scene: Scene, sets: list[list[int]]) -> list[list[int]]:
    """Sets that begin with an answer marked as cached, put to the earliest set: whose answer it was is told there, if anywhere."""
    first, *later = sets
    apart: list[list[int]] = []
    for nodes in later:
        mark = next((scene.sightings[node] for node in nodes if scene.sightings[node].from_cache), None)
        if mark is not None and near(scene.sightings[nodes[0]], mark):
            first = first + nodes
        else:
            apart.append(nodes)
    return [first, *apart]


def bound(scene: Scene, one: int, other: int, areas: Mapping[str, str]) -> bool:
    """Whether something else than their answer id binds two sightings."""
    return len(bound_sets(scene, [one, other], areas)) == 1
