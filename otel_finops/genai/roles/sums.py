"""Rule 5: a model call that repeats the sum of the calls under it is a wrapper; an ancestor of other calls stays a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from otel_finops.genai.roles.agreement import OUTPUT_TOLERANCE, ids_contradict, readings_of, says_anything
from otel_finops.genai.roles.below import Below, gather
from otel_finops.genai.roles.scene import Group, Scene

SUM: Final = "wrapper.sum"


def mark_sums(scene: Scene) -> None:
    """Find call spans whose output equals the sum of the calls under them (2 tokens a call) and whose input can be their sum.

    A wrapper is no part of the sums above it. A single call with equal numbers is repeated too, unless a tool ran in between. Some
    senders leave out of a sum what agents and tools below have spent, so sums are looked for without those first, then with all.
    """
    if not any(above >= 0 for above in scene.candidate_above.values()):
        return

    def crosses(upper: int, lower: int) -> bool:
        return not (scene.tool_between(upper, lower) or scene.agent_between(upper, lower))

    _mark(scene, crosses)
    _mark(scene, None)


def _mark(scene: Scene, crosses: Callable[[int, int], bool] | None) -> None:
    def counts(node: int) -> bool:
        group = scene.group_of.get(node)
        return group is not None and group.wraps is None and bool(scene.sightings[node].usage)

    for node, below in gather(scene, counts, crosses):
        if counts(node):
            group = scene.group_of[node]
            calls, output, low, high = below.without(group)
            sighting = scene.sightings[node]
            if not calls or not says_anything(sighting) or abs(sighting.usage.get("output", 0) - output) > OUTPUT_TOLERANCE * calls:
                continue
            if any(low <= reading <= high for reading in readings_of(sighting)):
                _wrap(scene, node, group, below)
            elif _bears_an_answer(scene, node, below):
                group.wraps, group.rule = (), SUM


def _bears_an_answer(scene: Scene, node: int, below: Below) -> bool:
    """The span has the answer id of a call under it that its own instrumentation saw: its input may be a sum made wrongly (trap 16)."""
    mine = scene.sightings[node]
    if mine.response_id is None or not mine.usage.get("output"):
        return False
    return any(group.response_id == mine.response_id and mine.scope in group.scopes for group in below.groups if node not in group.members)


def _wrap(scene: Scene, node: int, group: Group, below: Below) -> None:
    repeated = tuple(other for other in below.groups if other is not group) if len(below.groups) <= 2 else ()
    if len(repeated) == 1 and not _repeats(scene, node, repeated[0]):
        return
    group.wraps, group.rule = (repeated if len(repeated) == 1 else ()), SUM
    if len(repeated) == 1:
        repeated[0].echoes.append(group)


def _repeats(scene: Scene, node: int, group: Group) -> bool:
    """One equal call below is repeated, unless a tool ran in between or one instrumentation saw two different answers.

    Two instrumentations may see two ids of one answer: gateways write their own. What saw the span's own call beside the other one has
    seen two equal calls: a gateway that asked again.
    """
    mine = scene.sightings[node]
    for member in group.members:
        if scene.sightings[member].scope == mine.scope and ids_contradict(mine, scene.sightings[member]):
            return False
    if _seen_apart(scene, scene.group_of[node], group):
        return False
    return any(scene.forest.is_above(node, member) and not scene.tool_between(node, member) for member in group.members)


def _seen_apart(scene: Scene, one: Group, other: Group) -> bool:
    """One instrumentation has a span of each of the two calls, neither above the other."""
    common = one.scopes & other.scopes
    if not common:
        return False
    mine, theirs = ([node for node in group.members if scene.sightings[node].scope in common] for group in (one, other))
    return any(scene.sightings[a].scope == scene.sightings[b].scope and not scene.related(a, b) for a in mine for b in theirs)
