"""Rule 5: a model call that repeats the sum of the calls under it is a wrapper; an ancestor of other calls stays a call."""

from __future__ import annotations

from typing import Final

from otel_finops.genai.roles.agreement import OUTPUT_TOLERANCE, ids_contradict, readings_of, says_anything
from otel_finops.genai.roles.below import Below, gather
from otel_finops.genai.roles.scene import Group, Scene

SUM: Final = "wrapper.sum"


def mark_sums(scene: Scene) -> None:
    """Find call spans whose output equals the sum of the calls under them (2 tokens a call) and whose input can be their sum.

    A wrapper is no part of the sums above it. A single call with equal numbers is repeated too, unless a tool ran in between.
    """
    if not any(above >= 0 for above in scene.candidate_above.values()):
        return

    def counts(node: int) -> bool:
        group = scene.group_of.get(node)
        return group is not None and group.wraps is None and bool(scene.sightings[node].usage)

    for node, below in gather(scene, counts):
        if counts(node):
            group = scene.group_of[node]
            calls, output, low, high = below.without(group)
            if calls and _is_sum(scene, node, (calls, output, low, high)):
                _wrap(scene, node, group, below)


def _is_sum(scene: Scene, node: int, total: tuple[int, int, int, int]) -> bool:
    calls, output, low, high = total
    sighting = scene.sightings[node]
    if not says_anything(sighting) or abs(sighting.usage.get("output", 0) - output) > OUTPUT_TOLERANCE * calls:
        return False
    return any(low <= reading <= high for reading in readings_of(sighting))


def _wrap(scene: Scene, node: int, group: Group, below: Below) -> None:
    repeated = tuple(other for other in below.groups if other is not group) if len(below.groups) <= 2 else ()
    if len(repeated) == 1 and not _repeats(scene, node, repeated[0]):
        return
    group.wraps, group.rule = (repeated if len(repeated) == 1 else ()), SUM


def _repeats(scene: Scene, node: int, group: Group) -> bool:
    """One equal call below is repeated, unless a tool ran in between or one instrumentation saw two different answers.

    Two instrumentations may see two ids of one answer: gateways write their own.
    """
    mine = scene.sightings[node]
    for member in group.members:
        if scene.sightings[member].scope == mine.scope and ids_contradict(mine, scene.sightings[member]):
            return False
    return any(scene.forest.is_above(node, member) and not scene.tool_between(node, member) for member in group.members)
