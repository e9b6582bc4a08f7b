"""Rule 3: agents, workflows and tools that report usage repeat their calls'; only where no call is known they stand for them."""

from __future__ import annotations

from typing import Final, NamedTuple

from otel_finops.genai.roles.agreement import readings_of, same_output
from otel_finops.genai.roles.below import gather
from otel_finops.genai.roles.log_source import traces_told_by_logs
from otel_finops.genai.roles.scene import NONE, Group, Scene
from otel_finops.genai.sighting import CALL, Sighting

REPEATS: Final = "aggregate.calls_known"
STANDS: Final = "aggregate.outermost"
INNER: Final = "aggregate.inner"


class Aggregate(NamedTuple):
    """What becomes of a span that is no call and has usage.

    Attributes:
        stands: it is charged as a call.
        group, outermost: the one call, or the outer span, that is charged instead; both None where it is not one.
        rule: the rule that said so.
    """

    stands: bool
    rule: str
    group: Group | None = None
    outermost: int | None = None


def judge_aggregates(scene: Scene) -> dict[int, Aggregate]:
    """What becomes of every candidate that is no call, by its number.

    A call that was not refused, priced or not, in its trace or a linked one makes it a wrapper; else the outermost span is charged
    and those in it are not. Any call does, an embedding or rerank that a tool made too: how much of a total such calls explain
    cannot be told from it, and tokens must not be charged twice. Where the total is the larger, the coverage report says so.
    """
    if all(scene.sightings[node].kind == CALL for node in scene.candidates):
        return {}
    known = _traces_with_calls(scene) | traces_told_by_logs(scene)
    outermost: dict[int, int] = {}
    judged: dict[int, Aggregate] = {}
    repeated = _repeated_calls(scene) if known else {}
    for node in scene.candidates:
        over = outermost.get(scene.candidate_above[node], NONE)
        if scene.sightings[node].kind == CALL:
            outermost[node] = over
        elif scene.sightings[node].trace_id in known:
            judged[node] = Aggregate(False, REPEATS, group=repeated.get(node))
        else:
            outermost[node] = node if over == NONE else over
            judged[node] = Aggregate(True, STANDS) if over == NONE else Aggregate(False, INNER, outermost=over)
    return judged


def _traces_with_calls(scene: Scene) -> set[str]:
    """Traces that have a call themselves or are linked, in either direction, with one that has."""
    with_calls = {scene.sightings[node].trace_id for node in scene.calls if not _came_to_nothing(scene.sightings[node])}
    linked: set[str] = set()
    for sighting in scene.sightings:
        for trace_id, _ in sighting.links:
            if trace_id in with_calls:
                linked.add(sighting.trace_id)
            if sighting.trace_id in with_calls:
                linked.add(trace_id)
    return with_calls | linked


def _came_to_nothing(call: Sighting) -> bool:
    """The provider's own error without usage: whoever reports usage beside it had it from a call that is not known."""
    return call.error_type is not None and not call.usage and call.missing_reason is None


def _repeated_calls(scene: Scene) -> dict[int, Group]:
    """The one call that an aggregate repeats: the only one under it, else the only one of its trace with its numbers."""

    def counts(node: int) -> bool:
        group = scene.group_of.get(node)
        return group is not None and group.stands

    repeated: dict[int, Group] = {}
    several: set[int] = set()
    for node, below in gather(scene, counts):
        if scene.sightings[node].kind != CALL:
            if len(below.groups) == 1:
                repeated[node] = next(iter(below.groups))
            else:
                several.add(node)
    by_numbers: dict[tuple[str, int], list[int]] = {}
    for node in scene.measured(scene.calls):
        if counts(node):
            for reading in set(readings_of(scene.sightings[node])):
                by_numbers.setdefault((scene.sightings[node].trace_id, reading), []).append(node)
    for node in scene.candidates:
        if scene.sightings[node].kind != CALL and node not in repeated and node not in several:
            beside = _equal_call(scene, node, by_numbers)
            if beside is not None:
                repeated[node] = beside
    return repeated


def _equal_call(scene: Scene, node: int, by_numbers: dict[tuple[str, int], list[int]]) -> Group | None:
    sighting = scene.sightings[node]
    equal: set[Group] = set()
    for reading in readings_of(sighting):
        for other in by_numbers.get((sighting.trace_id, reading), ())[:EQUAL_TRIED]:
            if same_output(sighting, scene.sightings[other]):
                equal.add(scene.group_of[other])
    return equal.pop() if len(equal) == 1 else None


EQUAL_TRIED: Final = 16
"""Calls with an aggregate's prompt that are compared with it; more than one equal call names none anyway."""
