"""Rule 4a: one answer id with one set of numbers is one call, wherever it was seen; again in one scope, a gateway's cached answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from otel_finops.genai.roles.agreement import (
    OUTPUT_TOLERANCE,
    behind_gateway,
    drawn_from_few,
    gap_ns,
    models_of,
    near,
    readings_of,
    same_model,
    same_output,
)
from otel_finops.genai.roles.binding import bound_sets
from otel_finops.genai.roles.links import linked_areas
from otel_finops.genai.roles.scene import Scene
from otel_finops.genai.sighting import Sighting

MERGED: Final = "merge.response_id"
CACHED: Final = "gateway.cached_answer"
NEIGHBOURS_TRIED: Final = 3
"""Sightings that start next after one and may be the gateway's view of it: its own, and those of libraries around it."""
OUTPUTS_TRIED: Final = 8
"""Different outputs of one scope under one answer id that are told apart; the tolerance leaves three, broken-off streams more."""


def merge_by_response_id(scene: Scene) -> None:
    """Join calls with the same answer id, input (under either reading), output (within 2) and model, in any trace and service.

    An id alone joins nothing: local servers draw ids from a small range, and where an id looks like one of few (`drawn_from_few`),
    equal numbers with it do not either, unless something else binds the sightings (`bound_sets`). A repetition in the same scope is a
    cached answer and costs nothing, unless it is nested in the first or another service's view of it, which is one call seen twice.
    """
    areas = linked_areas(scene)
    by_id: dict[str, list[int]] = {}
    for node in scene.measured(scene.calls):
        response_id = scene.sightings[node].response_id
        if response_id is not None:
            by_id.setdefault(response_id, []).append(node)
    for response_id, nodes in by_id.items():
        if len(nodes) > 1:
            for alike in _alike(scene, nodes):
                for bound in bound_sets(scene, alike, areas) if drawn_from_few(response_id) else (alike,):
                    _fold(scene, bound)


def _fold(scene: Scene, nodes: list[int]) -> None:
    """Make one call of the first sighting in each scope, and copies of the later ones with the same output.

    One scope counts alike each time, so another output in it, however near, is another call: it is folded apart.
    """
    nodes.sort(key=lambda node: (scene.sightings[node].from_cache, scene.sightings[node].start_ns, node))
    for _ in range(OUTPUTS_TRIED):
        if nodes:
            nodes = _fold_first(scene, nodes)


def _fold_first(scene: Scene, nodes: list[int]) -> list[int]:
    """Fold the call of the earliest node; what is left over.

    Spans above one another belong to one request, which is the first one or as a whole a repetition of it: a scope that has not been
    seen yet may as well show the repetition.
    """
    first_of_scope: dict[str, int] = {}
    others: list[int] = []
    copies: list[int] = []
    for request in _requests(scene, nodes):
        new: list[int] = []
        again: list[int] = []
        for node in request:
            sighting = scene.sightings[node]
            first = first_of_scope.get(sighting.scope)
            if first is None:
                new.append(node)
            elif sighting.usage.get("output", 0) != scene.sightings[first].usage.get("output", 0):
                others.append(node)
            elif _one_call_seen_twice(scene, first, node):
                scene.join(first, node, MERGED)
            else:
                again.append(node)
        if again or (new and first_of_scope and _repeats(scene, new, nodes[0], copies)):
            _copy(scene, [*again, *new], nodes[0])
            copies += again + new
        else:
            others += _join_first(scene, new, nodes[0], first_of_scope)
    return others


def _join_first(scene: Scene, new: list[int], original: int, first_of_scope: dict[str, int]) -> list[int]:
    """Make sightings in new scopes part of the original's call; those with another output than their scope's first are left over."""
    others: list[int] = []
    for node in new:
        first = first_of_scope.setdefault(scene.sightings[node].scope, node)
        if scene.sightings[node].usage.get("output", 0) != scene.sightings[first].usage.get("output", 0):
            others.append(node)
        elif first == node or _one_call_seen_twice(scene, first, node):
            scene.join(original, node, MERGED)
        else:
            _copy(scene, [node], original)
    return others


def _copy(scene: Scene, nodes: list[int], original: int) -> None:
    """Make one copy of the original's answer of the sightings of one request."""
    for node in nodes[1:]:
        scene.join(nodes[0], node, MERGED)
    copy = scene.group_of[nodes[0]]
    copy.copy_of, copy.rule = scene.group_of[original], CACHED


def _repeats(scene: Scene, new: list[int], original: int, copies: list[int]) -> bool:
    """Whether sightings in new scopes show a repetition and not the original: the cache's mark says so, or a nearer copy."""
    sightings = scene.sightings
    if any(sightings[node].from_cache for node in new) and not sightings[original].from_cache and not copies:
        return not any(near(sightings[node], sightings[original]) for node in new)
    first = sightings[new[0]]
    return any(gap_ns(first, sightings[copy]) < gap_ns(first, sightings[original]) for copy in copies[-NEIGHBOURS_TRIED:])


def _requests(scene: Scene, nodes: list[int]) -> list[list[int]]:
    """The nodes in their order, those in one line of ancestors together."""
    position, last = scene.forest.position, scene.forest.last
    request_of: dict[int, list[int]] = {}
    top: list[int] = []
    for node in sorted(nodes, key=position.__getitem__):
        if top and position[node] <= last[top[0]]:
            request_of[node] = request_of[top[0]]
        else:
            top, request_of[node] = [node], []
    requests: list[list[int]] = []
    for node in nodes:
        if not request_of[node]:
            requests.append(request_of[node])
        request_of[node].append(node)
    return requests


def _one_call_seen_twice(scene: Scene, first: int, again: int) -> bool:
    one, other = scene.sightings[first], scene.sightings[again]
    return scene.related(first, again) or (one.instance != other.instance and gap_ns(one, other) == 0)


def _alike(scene: Scene, nodes: list[int]) -> Iterator[list[int]]:
    """The sets of two or more nodes whose numbers and models agree; agreement carries over, so they are connected components."""
    if len(nodes) == 2:
        return iter([nodes] if _agree(scene.sightings[nodes[0]], scene.sightings[nodes[1]]) else [])
    leader = {node: node for node in nodes}

    def find(node: int) -> int:
        while leader[node] != node:
            leader[node] = leader[leader[node]]
            node = leader[node]
        return node

    by_reading: dict[int, list[int]] = {}
    for node in nodes:
        for reading in readings_of(scene.sightings[node]):
            by_reading.setdefault(reading, []).append(node)
    for equal_input in by_reading.values():
        for one, other in _agreeing(scene, equal_input):
            one, other = find(one), find(other)
            leader[max(one, other)] = min(one, other)
    sets: dict[int, list[int]] = {}
    for node in nodes:
        sets.setdefault(find(node), []).append(node)
    return (alike for alike in sets.values() if len(alike) > 1)


def _agree(one: Sighting, other: Sighting) -> bool:
    """What the components come to for two sightings."""
    if not same_output(one, other) or (same_model(one, other) is False and not behind_gateway(one, other)):
        return False
    return not set(readings_of(one)).isdisjoint(readings_of(other))


def _agreeing(scene: Scene, nodes: list[int]) -> Iterator[tuple[int, int]]:
    """Pairs that connect nodes of equal input whose outputs lie within one tolerance and whose models agree.

    A node without a model goes with the first one that has one; a broken-off stream with the smallest complete output.
    """
    for window in _windows(scene, nodes):
        by_model: dict[str, int] = {}
        unnamed: list[int] = []
        for node in window:
            names = models_of(scene.sightings[node])
            for name in names:
                yield by_model.setdefault(name, node), node
            if not names:
                unnamed.append(node)
        if len(by_model) > 1:
            yield from _aliases(scene, window)
        if unnamed:
            anchor = min(by_model.values(), default=unnamed[0])
            yield from ((anchor, node) for node in unnamed)


def _aliases(scene: Scene, nodes: list[int]) -> Iterator[tuple[int, int]]:
    """Neighbours in time of which one is a gateway's view: it knows the model by another name than who asked the gateway."""
    nodes = sorted(nodes, key=lambda node: (scene.sightings[node].start_ns, node))
    for at, node in enumerate(nodes):
        for other in nodes[at + 1 : at + 1 + NEIGHBOURS_TRIED]:
            if behind_gateway(scene.sightings[node], scene.sightings[other]):
                yield node, other


def _windows(scene: Scene, nodes: Iterable[int]) -> list[list[int]]:
    """Nodes by output, cut so that none lies further than the tolerance from the smallest of its window."""
    outputs = {node: scene.sightings[node].usage.get("output", 0) for node in nodes}
    whole = [node for node in outputs if not scene.sightings[node].partial]
    cut_off = [node for node in outputs if scene.sightings[node].partial] if whole else []
    windows: list[list[int]] = []
    start = 0
    for node in sorted(whole or outputs, key=lambda node: (outputs[node], node)):
        if not windows or outputs[node] > start + OUTPUT_TOLERANCE:
            windows.append([])
            start = outputs[node]
        windows[-1].append(node)
    windows[0] += cut_off
    return windows
