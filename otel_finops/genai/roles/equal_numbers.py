"""Rule 4b: equal numbers seen by different scopes at one time are one call; nested ones first, then neighbours, one to one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias

from otel_finops.genai.roles.agreement import evidence, readings_of
from otel_finops.genai.roles.links import call_at_or_above, linked_areas, links_above
from otel_finops.genai.roles.pairing import join_best, nested_pairs, pair_neighbours
from otel_finops.genai.roles.scene import Scene

NESTED: Final = "merge.nested_numbers"
BESIDE: Final = "merge.equal_numbers"
LINKED: Final = "merge.linked_numbers"

Place: TypeAlias = tuple[object, ...]


def merge_by_numbers(scene: Scene) -> None:
    """Join calls of different scopes with equal input under either reading, output within 2, provider family or model agreeing.

    Intervals overlap or are at most 2 s apart. Within a trace and across linked ones whatever the services, across other traces
    within one service instance.
    Two spans of one scope are never joined: equal parallel calls are real.
    """
    alike = _equal_inputs(scene)
    if not alike:
        return
    _merge_nested(scene, alike)
    _merge_linked(scene, alike)
    for place in (_same_parent, _same_trace, _same_instance):
        for exact in (True, False):
            alike = _still_open(scene, alike)
            for nodes in _grouped(scene, alike, place, exact=exact):
                pair_neighbours(scene, nodes, lambda one, other: _fits_beside(scene, one, other), BESIDE)


def _equal_inputs(scene: Scene) -> list[list[int]]:
    """Calls with one whole prompt, under one reading or another, where several scopes saw it; by prompt."""
    measured = scene.measured(scene.calls)
    if len({scene.sightings[node].scope for node in measured}) < 2:
        return []
    by_reading: dict[int, list[int]] = {}
    for node in measured:
        for reading in set(readings_of(scene.sightings[node])):
            by_reading.setdefault(reading, []).append(node)
    return _still_open(scene, [by_reading[reading] for reading in sorted(by_reading)])


def _still_open(scene: Scene, alike: list[list[int]]) -> list[list[int]]:
    """What is left to pair: calls that some scope among their equals has not been joined to."""
    left: list[list[int]] = []
    for nodes in alike:
        if len(nodes) > 1:
            scopes = {scene.sightings[node].scope for node in nodes}
            if len(scopes) > 1:
                seen_by_all = {group: scopes <= group.scopes for group in {scene.group_of[node] for node in nodes}}
                waiting = [node for node in nodes if not seen_by_all[scene.group_of[node]]]
                if len(waiting) > 1:
                    left.append(waiting)
    return left


def _merge_nested(scene: Scene, alike: list[list[int]]) -> None:
    depth, sightings = scene.forest.depth, scene.sightings
    pairs: list[tuple[int, ...]] = []
    for nodes in alike:
        for upper, lower in nested_pairs(scene, nodes):
            if _fits_nested(scene, upper, lower):
                apart = abs(sightings[upper].start_ns - sightings[lower].start_ns)
                pairs.append((depth[lower] - depth[upper], apart, upper, lower))
    join_best(scene, pairs, lambda upper, lower: _fits_nested(scene, upper, lower), NESTED)


def _fits_nested(scene: Scene, upper: int, lower: int) -> bool:
    return (
        scene.may_join(upper, lower)
        and not scene.tool_between(upper, lower)
        and evidence(scene.sightings[upper], scene.sightings[lower], bound=True)
    )


def _merge_linked(scene: Scene, alike: list[list[int]]) -> None:
    """A gateway that does not continue the application's trace links to it: to the call, to a span in it, or to its trace alone.

    The exact link comes first; then what is left in traces that are linked, one to one like neighbours.
    """
    links = links_above(scene)
    if not links:
        return
    sightings = scene.sightings
    pairs: list[tuple[int, ...]] = []
    for nodes in alike:
        equals = set(nodes)
        for node in nodes:
            for target in links.get(node, ()):
                other = call_at_or_above(scene, target)
                if other in equals and _fits_linked(scene, node, other):
                    pairs.append((abs(sightings[node].start_ns - sightings[other].start_ns), min(node, other), max(node, other)))
    join_best(scene, pairs, lambda one, other: _fits_linked(scene, one, other), LINKED)
    areas = linked_areas(scene)
    for nodes in _still_open(scene, alike):
        by_area: dict[str, list[int]] = {}
        for node in nodes:
            area = areas.get(sightings[node].trace_id)
            if area is not None:
                by_area.setdefault(area, []).append(node)
        for members in by_area.values():
            pair_neighbours(scene, members, lambda one, other: _fits_across(scene, one, other), LINKED)


def _fits_linked(scene: Scene, one: int, other: int) -> bool:
    return (
        scene.may_join(one, other) and not scene.related(one, other) and evidence(scene.sightings[one], scene.sightings[other], bound=True)
    )


def _fits_across(scene: Scene, one: int, other: int) -> bool:
    return scene.sightings[one].trace_id != scene.sightings[other].trace_id and _fits_linked(scene, one, other)


def _fits_beside(scene: Scene, one: int, other: int) -> bool:
    return (
        scene.may_join(one, other) and not scene.related(one, other) and evidence(scene.sightings[one], scene.sightings[other], bound=False)
    )


def _grouped(scene: Scene, alike: Iterable[list[int]], place: Callable[[Scene, int], Place], *, exact: bool) -> Iterator[list[int]]:
    """Calls of one prompt in one place (and of one output, when exact)."""
    for nodes in alike:
        grouped: dict[Place, list[int]] = {}
        for node in nodes:
            output = scene.sightings[node].usage.get("output", 0) if exact else -1
            grouped.setdefault((*place(scene, node), output), []).append(node)
        yield from (members for members in grouped.values() if len(members) > 1)


def _same_parent(scene: Scene, node: int) -> Place:
    sighting = scene.sightings[node]
    return sighting.trace_id, sighting.parent_span_id


def _same_trace(scene: Scene, node: int) -> Place:
    return (scene.sightings[node].trace_id,)


def _same_instance(scene: Scene, node: int) -> Place:
    return (scene.sightings[node].instance,)
