"""One-to-one pairs of sightings from different scopes: closest first, whatever the order they came in, in near-linear time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from typing import Final, TypeAlias

from otel_finops.genai.roles.scene import Scene

Fits: TypeAlias = Callable[[int, int], bool]
"""Whether two sightings can be of one call, by what they say and what they were joined with so far."""

ANCESTORS_TRIED: Final = 4
"""Ancestors with equal numbers that are tried for a nested pair: a framework, its client and the vendor's library are three."""
NEIGHBOURS_TRIED: Final = 2
"""Neighbours in time tried on either side in one round."""
ROUNDS_MAX: Final = 3
"""Rounds of closest-first pairing before the rest is paired in the order of time."""
SCOPES_MAX: Final = 16
"""Scopes with equal numbers that are compared with each other; real set-ups have two or three."""


def nested_pairs(scene: Scene, nodes: list[int]) -> Iterator[tuple[int, int]]:
    """(ancestor, descendant) pairs of different scopes among the nodes, nearest ancestors only."""
    position, last, sightings = scene.forest.position, scene.forest.last, scene.sightings
    stack: list[int] = []
    for node in sorted(nodes, key=position.__getitem__):
        while stack and last[stack[-1]] < position[node]:
            stack.pop()
        for upper in stack[-1 : -ANCESTORS_TRIED - 1 : -1]:
            if sightings[upper].scope != sightings[node].scope:
                yield upper, node
        stack.append(node)


def pair_neighbours(scene: Scene, nodes: Iterable[int], fits: Fits, rule: str) -> None:
    """Join nodes of different scopes one to one: the closest starts first, then what is left in the order of time."""
    by_scope: dict[str, list[int]] = {}
    for node in nodes:
        by_scope.setdefault(scene.sightings[node].scope, []).append(node)
    if len(by_scope) < 2:
        return
    for mine, theirs in combinations(sorted(by_scope)[:SCOPES_MAX], 2):
        _pair_scopes(scene, by_scope[mine], by_scope[theirs], fits, rule)


def _pair_scopes(scene: Scene, mine: list[int], theirs: list[int], fits: Fits, rule: str) -> None:
    """Closest first for a few rounds; where a crowd started together, the rest in order, which pairs as many as can be."""
    for _ in range(ROUNDS_MAX):
        mine, theirs = _open(scene, mine, theirs), _open(scene, theirs, mine)
        if not mine or not theirs or not _closest_first(scene, mine, theirs, fits, rule):
            return
    _in_order(scene, _open(scene, mine, theirs), _open(scene, theirs, mine), fits, rule)


def _open(scene: Scene, nodes: list[int], others: list[int]) -> list[int]:
    """Those whose call was not yet seen by the others' scope, by start."""
    if not others:
        return []
    wanted = scene.sightings[others[0]].scope
    still = [node for node in nodes if wanted not in scene.group_of[node].scopes]
    still.sort(key=lambda node: (scene.sightings[node].start_ns, node))
    return still


def _closest_first(scene: Scene, mine: list[int], theirs: list[int], fits: Fits, rule: str) -> int:
    """One round; how many pairs it made."""
    starts = [scene.sightings[node].start_ns for node in theirs]
    pairs: list[tuple[int, int, int]] = []
    for one in mine:
        start = scene.sightings[one].start_ns
        at = bisect_left(starts, start)
        nearest = range(max(0, at - NEIGHBOURS_TRIED), min(len(theirs), at + NEIGHBOURS_TRIED))
        pairs += [(abs(starts[k] - start), one, theirs[k]) for k in nearest if fits(one, theirs[k])]
    return join_best(scene, pairs, fits, rule)


def _in_order(scene: Scene, mine: list[int], theirs: list[int], fits: Fits, rule: str) -> None:
    """Walk both lists by start and join what fits, letting go the one that ends first where it does not."""
    i = j = 0
    while i < len(mine) and j < len(theirs):
        one, other = mine[i], theirs[j]
        if fits(one, other):
            scene.join(one, other, rule)
            i, j = i + 1, j + 1
        elif scene.sightings[one].end_ns <= scene.sightings[other].end_ns:
            i += 1
        else:
            j += 1


def join_best(scene: Scene, pairs: Iterable[tuple[int, ...]], fits: Fits, rule: str) -> int:
    """Join (cost..., one, other) tuples, cheapest first, as far as they still fit; how many were joined."""
    joined = 0
    for *_, one, other in sorted(pairs):
        if fits(one, other):
            scene.join(one, other, rule)
            joined += 1
    return joined
