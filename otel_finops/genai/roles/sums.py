"""Rule 5: a model call that repeats the sum of the calls under it is a wrapper; an ancestor of other calls stays a call."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Final

from otel_finops.genai.roles.agreement import OUTPUT_TOLERANCE, drawn_from_few, ids_contradict, readings_of, says_anything
from otel_finops.genai.roles.below import Amounts, Below, gather
from otel_finops.genai.roles.scene import Group, Scene

SUM: Final = "wrapper.sum"


def mark_sums(scene: Scene) -> None:
    """Find call spans that repeat the sum of the calls under them: output within 2 tokens a call, input exactly.

    The input is the sum of the calls' prompts in one way of counting, the same for all of them (`below.Amounts`). A wrapper is no part
    of the sums above it. A single call with equal numbers is repeated too, unless a tool ran in between. Some senders leave out of a
    sum what agents and tools below have spent, so sums are looked for without those first, then with agents, then with tools too: but
    there only above a call that no tool made, for what runs in a call's own tools was asked by it and is no part of it (trap 4).
    """
    if not any(above >= 0 for above in scene.candidate_above.values()):
        return
    _mark(scene, lambda upper, lower: not (scene.tool_between(upper, lower) or scene.agent_between(upper, lower)))
    if any(scene.tools_above.values()) or any(scene.agents_above.values()):
        above_calls = _mark(scene, lambda upper, lower: not scene.tool_between(upper, lower))
        _mark(scene, None, above_calls)


def _mark(scene: Scene, crosses: Callable[[int, int], bool] | None, only: Container[int] | None = None) -> set[int]:
    """Mark the sums over what is seen through `crosses`, if in `only`; the spans above other calls than their own."""

    def counts(node: int) -> bool:
        group = scene.group_of.get(node)
        return group is not None and group.wraps is None and bool(scene.sightings[node].usage)

    above_calls: set[int] = set()
    for node, below in gather(scene, counts, crosses):
        if counts(node) and (only is None or node in only):
            group = scene.group_of[node]
            calls, sums = below.without(group)
            if calls:
                above_calls.add(node)
                _judge(scene, node, below, calls, sums)
    return above_calls


def _judge(scene: Scene, node: int, below: Below, calls: int, sums: Amounts) -> None:
    sighting, group = scene.sightings[node], scene.group_of[node]
    if not says_anything(sighting) or abs(sighting.usage.get("output", 0) - sums.output) > OUTPUT_TOLERANCE * calls:
        return
    if not set(sums.inputs).isdisjoint(readings_of(sighting)):
        _wrap(scene, node, group, below)
    elif _bears_an_answer(scene, node, below, calls):
        group.wraps, group.rule = (), SUM


def _bears_an_answer(scene: Scene, node: int, below: Below, calls: int) -> bool:
    """The span has the answer id of a call under it that its own instrumentation saw: its input may be a sum made wrongly (trap 16).

    An id from a small range tells nothing of a single call: an honest call's answer above it may have got the same one.
    """
    mine = scene.sightings[node]
    if mine.response_id is None or not mine.usage.get("output") or (calls == 1 and drawn_from_few(mine.response_id)):
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
