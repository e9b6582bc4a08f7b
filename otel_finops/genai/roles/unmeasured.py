"""Calls without usage that another span shows with its usage are no further, unpriced calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from otel_finops.genai.roles.agreement import behind_gateway, drawn_from_few, gap_ns, models_contradict, models_of, near, same_model
from otel_finops.genai.roles.below import gather
from otel_finops.genai.roles.binding import bound
from otel_finops.genai.roles.links import linked_areas
from otel_finops.genai.roles.pairing import Fits, pair_neighbours
from otel_finops.genai.roles.scene import Group, Scene
from otel_finops.genai.sighting import RANK_GATEWAY

SAME_ID: Final = "merge.response_id_no_usage"
NESTED: Final = "merge.nested_no_usage"
BESIDE: Final = "merge.beside_no_usage"
ABOVE: Final = "wrapper.no_usage"

GROUPS_TRIED: Final = 64
"""Calls under one without usage that are compared with it; above more than one it is a wrapper anyway."""


def merge_unmeasured(scene: Scene) -> None:
    """Attach calls without usage: by answer id, then to what lies under them, then to a neighbour of another scope.

    A failed attempt (error, no usage) beside or under others stays a call of its own, which costs nothing (trap 11).
    """
    if all(scene.sightings[node].usage for node in scene.calls):
        return
    _join_by_id(scene)
    for measured in (True, False):
        _take_what_is_below(scene, measured=measured)
    _join_neighbours(scene)


def _alone(scene: Scene, node: int) -> bool:
    """A call without usage that no rule has placed yet."""
    group = scene.group_of.get(node)
    return group is not None and len(group.members) == 1 and group.stands and not scene.sightings[node].usage


def _uncounted(scene: Scene, node: int) -> bool:
    """A call of which no sighting has shown usage yet, several of them though there may be."""
    group = scene.group_of.get(node)
    return group is not None and group.stands and not scene.measured(group.members)


def _failed(scene: Scene, node: int) -> bool:
    sighting = scene.sightings[node]
    return sighting.error_type is not None and not sighting.usage


def _join_by_id(scene: Scene) -> None:
    by_id: dict[str, list[int]] = {}
    for node in scene.calls:
        response_id = scene.sightings[node].response_id
        if response_id is not None:
            by_id.setdefault(response_id, []).append(node)
    fits, areas = _without_usage(scene, need_model=False), linked_areas(scene)

    def found(one: int, other: int) -> bool:
        return _within_reach(scene, one, other, areas) and fits(one, other)

    for nodes in by_id.values():
        if len(nodes) > 1 and any(_uncounted(scene, node) for node in nodes):
            pair_neighbours(scene, nodes, found, SAME_ID)


def _within_reach(scene: Scene, one: int, other: int, areas: Mapping[str, str]) -> bool:
    """Whether such calls are always decided together (`ledger.call_keys`): otherwise the company of the day would decide.

    Across traces that are not linked only a gateway's call is found by its answer id alone, or a call that has no usage either: by
    an id that may be an accident only where something else binds them.
    """
    mine, theirs = scene.sightings[one], scene.sightings[other]
    if mine.trace_id == theirs.trace_id or areas.get(mine.trace_id, mine.trace_id) == areas.get(theirs.trace_id):
        return True
    if not all(not sighting.usage or sighting.rank == RANK_GATEWAY for sighting in (mine, theirs)):
        return False
    return not drawn_from_few(mine.response_id or "") or bound(scene, one, other, areas)


def _take_what_is_below(scene: Scene, *, measured: bool) -> None:
    """Join a call without usage to the one call under it (with usage first, else without); over several it is a wrapper."""

    def counts(node: int) -> bool:
        group = scene.group_of.get(node)
        return group is not None and group.wraps is None and bool(scene.sightings[node].usage) is measured

    def crosses(upper: int, lower: int) -> bool:
        return not (scene.tool_between(upper, lower) or scene.agent_between(upper, lower))

    if not any(_alone(scene, upper) for upper in scene.candidate_above.values()):
        return
    for node, below in gather(scene, counts, crosses):
        if _alone(scene, node):
            groups = [group for group in islice(below.groups, GROUPS_TRIED) if group is not scene.group_of[node]]
            _attach(scene, node, [group for group in groups if measured or _failed(scene, group.members[0]) is _failed(scene, node)])


def _attach(scene: Scene, node: int, groups: list[Group]) -> None:
    """Join the call to the only one that it can be; a failed one, whose attempts all failed, to the last attempt."""
    alike = sorted((group for group in groups if not _contradicts(scene, node, group)), key=lambda group: group.members[0])
    if alike and all(_failed(scene, group.members[0]) for group in alike):
        alike = [max(alike, key=lambda group: (scene.sightings[group.members[0]].start_ns, group.members[0]))]
    if len(alike) == 1 and scene.may_join(node, alike[0].members[0]):
        scene.join(node, alike[0].members[0], NESTED)
    elif alike:
        group = scene.group_of[node]
        group.wraps, group.rule = (tuple(alike) if len(alike) == 1 else ()), ABOVE


def _contradicts(scene: Scene, node: int, group: Group) -> bool:
    sighting = scene.sightings[node]
    return any(models_contradict(sighting, scene.sightings[member]) for member in group.members)


def _join_neighbours(scene: Scene) -> None:
    for nodes in _neighbourhoods(scene):
        pair_neighbours(scene, nodes, _without_usage(scene, need_model=True), BESIDE)


def _neighbourhoods(scene: Scene) -> Iterator[list[int]]:
    """Calls of one trace and model, failures apart, where some have no usage."""
    traces = {scene.sightings[node].trace_id for node in scene.calls if _uncounted(scene, node)}
    grouped: dict[tuple[str, str, bool], list[int]] = {}
    for node in scene.calls:
        sighting = scene.sightings[node]
        if sighting.trace_id in traces:
            for model in models_of(sighting):
                grouped.setdefault((sighting.trace_id, model, _failed(scene, node)), []).append(node)
    yield from (nodes for nodes in grouped.values() if len(nodes) > 1 and any(_uncounted(scene, node) for node in nodes))


def _without_usage(scene: Scene, *, need_model: bool) -> Fits:
    """Two spans can show one call: one of them without usage wherever it was seen, at one time, of one model.

    Neighbours (`need_model`) are not above one another and not in the runs of two agents side by side: with nothing but model and time
    to tell by, another agent's call is another call.
    """

    def fits(one: int, other: int) -> bool:
        mine, theirs = scene.sightings[one], scene.sightings[other]
        if not (_uncounted(scene, one) or _uncounted(scene, other)) or not scene.may_join(one, other):
            return False
        if need_model:
            at_one_time = same_model(mine, theirs) is True and gap_ns(mine, theirs) == 0
            return at_one_time and not scene.related(one, other) and not scene.agents_apart(one, other)
        return near(mine, theirs) and (same_model(mine, theirs) is not False or behind_gateway(mine, theirs))

    return fits
