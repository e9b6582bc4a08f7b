"""Logs as a second source (rule 15): where spans of a session carry usage they stand, and log records only repeat them and fill gaps.

A session is one of a service instance; what names none is told apart by its trace. Without usage in any span the records are the calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from otel_finops.genai.roles.agreement import OUTPUT_TOLERANCE, near, readings_of, same_model, same_output, same_provider
from otel_finops.genai.roles.pairing import Fits, pair_neighbours
from otel_finops.genai.roles.scene import Group, Scene
from otel_finops.genai.sighting import CALL, RANK_LOG, Sighting

REPEATS: Final = "log.repeats_span"
SPANS_KNOWN: Final = "log.spans_known"
LOGGED_DIALECTS: Final = frozenset({"claude_code", "codex", "gemini_cli"})
"""Dialects of spans whose senders write log records of the same calls, mostly in traces of their own."""

Source: TypeAlias = tuple[str, str, str]
"""(service instance, `session` or `trace`, its id)."""


def set_logs_aside(scene: Scene) -> None:
    """Take log records out of the calls and their groups where a call's span of their session, or of their trace, carries usage."""
    logs = [node for node in scene.calls if _is_log(scene, node)]
    if not logs:
        return
    spoken = {source for node in scene.measured(scene.calls) if not _is_log(scene, node) for source in _sources(scene, node)}
    aside = {node for node in logs if not spoken.isdisjoint(_sources(scene, node))}
    scene.calls = [node for node in scene.calls if node not in aside]
    scene.logs_aside = aside
    for node in aside:
        del scene.group_of[node]


def pair_logs(scene: Scene) -> None:
    """Join log records one to one to the calls that they show: with spans' calls where those stand, else with each other.

    They agree in the whole prompt and in the output, which one of them may count without reasoning; records of failures in the
    model. What was set aside and found no span repeats one that cannot be told.
    """
    scene.group_of.update({node: Group(node, scene.sightings[node]) for node in scene.logs_aside})
    nodes = [*scene.calls, *sorted(scene.logs_aside)]
    if not any(_is_log(scene, node) for node in nodes):
        return
    for outputs_agree in (same_output, _outputs_without_reasoning_agree):
        fits = _shown_by(scene, outputs_agree)
        for alike in _alike(scene, nodes, _by_prompt):
            pair_neighbours(scene, alike, fits, REPEATS)
    for alike in _alike(scene, nodes, _by_failed_model):
        pair_neighbours(scene, alike, _shown_by(scene, lambda one, other: True), REPEATS)
    scene.logs_aside = {node for node in scene.logs_aside if scene.logs_aside.issuperset(scene.group_of[node].members)}
    for node in scene.logs_aside:
        del scene.group_of[node]


def traces_told_by_logs(scene: Scene) -> set[str]:
    """Traces with a sum of calls that log records of their session show one by one: calls are known there."""
    told = {source for node in scene.calls if _is_log(scene, node) for source in _sources(scene, node)}
    if not told:
        return set()
    sums = (node for node in scene.candidates if scene.sightings[node].kind != CALL)
    return {scene.sightings[node].trace_id for node in sums if not told.isdisjoint(_sources(scene, node))}


def _is_log(scene: Scene, node: int) -> bool:
    return scene.sightings[node].rank == RANK_LOG


def _sources(scene: Scene, node: int) -> list[Source]:
    sighting = scene.sightings[node]
    found = [(sighting.instance, "trace", sighting.trace_id)]
    session = scene.inheritance.explicit[node].get("session") or sighting.defaults.get("session")
    if session:
        found.append((sighting.instance, "session", session))
    return found


def _alike(scene: Scene, nodes: Iterable[int], keys_of: Callable[[Sighting], Iterable[tuple[str, object]]]) -> list[list[int]]:
    """Calls under one key with a log record among them, keys in order."""
    grouped: dict[tuple[str, object], list[int]] = {}
    for node in nodes:
        if scene.group_of[node].stands:
            for key in keys_of(scene.sightings[node]):
                grouped.setdefault(key, []).append(node)
    alike = (grouped[key] for key in sorted(grouped, key=repr))
    return [members for members in alike if len(members) > 1 and any(_is_log(scene, node) for node in members)]


def _by_prompt(sighting: Sighting) -> Iterable[tuple[str, object]]:
    return {(sighting.instance, reading) for reading in readings_of(sighting)} if sighting.usage else ()


def _by_failed_model(sighting: Sighting) -> Iterable[tuple[str, object]]:
    failed = sighting.error_type is not None and not sighting.usage
    return ((sighting.instance, sighting.request_model or sighting.response_model),) if failed else ()


def _shown_by(scene: Scene, agree: Callable[[Sighting, Sighting], bool]) -> Fits:
    def fits(one: int, other: int) -> bool:
        mine, theirs = scene.sightings[one], scene.sightings[other]
        if RANK_LOG not in (mine.rank, theirs.rank) or not scene.may_join(one, other) or not near(mine, theirs):
            return False
        return agree(mine, theirs) and (same_model(mine, theirs) or (same_provider(mine, theirs) and same_model(mine, theirs) is None))

    return fits


def _outputs_without_reasoning_agree(one: Sighting, other: Sighting) -> bool:
    return any(abs(mine - theirs) <= OUTPUT_TOLERANCE for mine in outputs_of(one) for theirs in outputs_of(other))


def outputs_of(sighting: Sighting) -> tuple[int, ...]:
    """The output, and what a sender that leaves reasoning out would call the output."""
    output, reasoning = sighting.usage.get("output", 0), sighting.usage.get("reasoning", 0)
    return (output, output - reasoning) if reasoning else (output,)
