"""What only gateways do: ask several times for one answer, and answer from a cache."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from otel_finops.genai.roles.links import CLIMB_MAX, call_at_or_above
from otel_finops.genai.roles.scene import NONE, Scene
from otel_finops.genai.sighting import RANK_GATEWAY

MARKED: Final = "gateway.cache_mark"
LOOKED_UP: Final = "gateway.cache_lookup"
ATTEMPT: Final = "gateway.failed_attempt"

CACHE_LOOKUP: Final = ("litellm", "cache.get llm_response")
"""Scope and name of the span of a look-up in a gateway's cache, after which a call follows when nothing was found."""

_REQUEST: Final = re.compile(
    r"Received Proxy Server Request$"
    r"|POST \S*/(?:chat/completions|completions|responses|embeddings|messages|rerank|images/\w+|audio/\w+|\S+:(?:streamG|g)enerateContent)$"
)
"""Names of the spans in which a gateway serves one request."""


def fold_failed_attempts(scene: Scene) -> None:
    """A gateway's attempts that failed are no further calls beside the one that was answered in the same request, or the last one.

    Attempts belong together under one call of the application, else under one request to the gateway. Those that failed without
    an answer of the provider may be billed (time-outs), and stay calls without a price.
    """
    for nodes in _by_request(scene):
        nodes.sort(key=lambda node: (scene.sightings[node].start_ns, node))
        _fold(scene, nodes)


def _by_request(scene: Scene) -> Iterator[list[int]]:
    """The gateway's calls of each request in which one failed, by scope."""
    gateways = [node for node in scene.calls if scene.sightings[node].rank == RANK_GATEWAY]
    if not any(_is_failed_attempt(scene, node) for node in gateways):
        return
    grouped: dict[tuple[int, str], list[int]] = {}
    for node in gateways:
        request = _request(scene, node)
        if request != NONE:
            grouped.setdefault((request, scene.sightings[node].scope), []).append(node)
    yield from (nodes for nodes in grouped.values() if len(nodes) > 1)


def _request(scene: Scene, node: int) -> int:
    """The application's call that the gateway serves, else the gateway's span for the request; `NONE` in a library without a proxy."""
    above = scene.candidate_above[node]
    if above in scene.group_of and scene.sightings[above].rank != RANK_GATEWAY:
        return NONE if scene.tool_between(above, node) or scene.agent_between(above, node) else above
    at = scene.forest.parent[node]
    for _ in range(CLIMB_MAX):
        if at < 0:
            break
        if _REQUEST.match(scene.sightings[at].name):
            return at
        at = scene.forest.parent[at]
    return NONE


def _is_failed_attempt(scene: Scene, node: int) -> bool:
    """It failed with the provider's or the gateway's own answer, so that nothing was used."""
    sighting = scene.sightings[node]
    return sighting.error_type is not None and not sighting.usage and sighting.missing_reason is None


def _fold(scene: Scene, nodes: list[int]) -> None:
    """Walk from the last attempt to the first, so that each failed one finds what was asked next and answered, else the last."""
    last = answered = NONE
    for node in reversed(nodes):
        group = scene.group_of[node]
        if not _is_failed_attempt(scene, node):
            answered = node
        elif group.stands:
            counted = answered if answered != NONE else last
            if counted != NONE and scene.group_of[counted] is not group:
                group.attempt_of, group.rule = scene.group_of[counted], ATTEMPT
        last = last if last != NONE else node


def mark_cached_answers(scene: Scene) -> None:
    """What a gateway answered from its cache costs nothing, whether or not the call that was billed for it is known.

    The gateway marks it, or it writes only of the look-up: with no call of the gateway behind it the cache had the answer.
    """
    for node in scene.calls:
        group = scene.group_of[node]
        if scene.sightings[node].from_cache and group.stands:
            group.from_cache, group.rule = True, MARKED
    for node in _answered_by_lookup(scene):
        group = scene.group_of[node]
        if group.stands:
            group.from_cache, group.rule = True, LOOKED_UP


def _answered_by_lookup(scene: Scene) -> set[int]:
    """Calls of an application with usage, served by a gateway that looked into its cache and then asked nobody."""
    lookups = [node for node, sighting in enumerate(scene.sightings) if (sighting.scope, sighting.name) == CACHE_LOOKUP]
    if not lookups:
        return set()
    served = {call_at_or_above(scene, node) for node in lookups} - {NONE}
    served = {node for node in served if scene.sightings[node].usage and scene.sightings[node].rank != RANK_GATEWAY}
    asked = {scene.candidate_above[node] for node in scene.calls}
    return served - asked
