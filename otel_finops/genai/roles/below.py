"""Which calls were reported under each candidate, gathered from the leaves up; near-linear whatever the shape of the trees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias

from otel_finops.genai.roles.agreement import readings_of
from otel_finops.genai.roles.scene import NONE, Group, Scene
from otel_finops.genai.usage import prompt_tokens

Inputs: TypeAlias = tuple[int, int, int, int]


class Amounts(NamedTuple):
    """Tokens of a call, or of several.

    Attributes:
        output: generated tokens.
        inputs: the prompt without cached tokens; as its sender wrote it; whole, as it was understood; and with the cached tokens
            beside what was written. Who sums up counts all calls in one way, so sums in different ways are kept apart.
    """

    output: int
    inputs: Inputs


class Below:
    """The distinct calls under one span, with their sums.

    Attributes:
        groups: the calls, copies included; a call seen by several spans counts once.
        output: sum of their outputs.
        inputs: sums of their prompts, one for each way of counting (`Amounts.inputs`).
    """

    __slots__ = ("groups", "inputs", "output")

    def __init__(self) -> None:
        self.groups: dict[Group, Amounts] = {}
        self.output = 0
        self.inputs: Inputs = (0, 0, 0, 0)

    def add(self, group: Group, amounts: Amounts) -> None:
        """Count a call, once."""
        if group not in self.groups:
            self.groups[group] = amounts
            self.output += amounts.output
            self.inputs = _plus(self.inputs, amounts.inputs)

    def without(self, group: Group) -> tuple[int, Amounts]:
        """How many calls there are, and their sums, without one group."""
        own = self.groups.get(group)
        if own is None:
            return len(self.groups), Amounts(self.output, self.inputs)
        return len(self.groups) - 1, Amounts(self.output - own.output, _minus(self.inputs, own.inputs))

    def absorb(self, other: Below) -> Below:
        """Both together; the smaller is poured into the larger, so that each call moves few times."""
        large, small = (self, other) if len(self.groups) >= len(other.groups) else (other, self)
        for group, amounts in small.groups.items():
            large.add(group, amounts)
        return large


def gather(scene: Scene, counts: Callable[[int], bool], crosses: Callable[[int, int], bool] | None = None) -> Iterator[tuple[int, Below]]:
    """Each candidate that has counted calls under it, with them, leaves first.

    A call counts when `counts(its number)` says so after the candidate was handed out, so that a caller can make a wrapper of
    it first. What lies under a pair for which `crosses(upper, lower)` is false is not seen from `upper`. A handed-out `Below` is
    valid until the next one is asked for.
    """
    below: dict[int, Below] = {}
    for node in reversed(scene.candidates):
        found = below.pop(node, None)
        if found is not None:
            yield node, found
        above = scene.candidate_above[node]
        if above == NONE or (crosses is not None and not crosses(above, node)):
            continue
        if counts(node):
            if found is None:
                found = Below()
            found.add(scene.group_of[node], _amounts(scene, node))
        if found is not None:
            known = below.get(above)
            below[above] = found if known is None else known.absorb(found)


def _amounts(scene: Scene, node: int) -> Amounts:
    """Of the node's call, over all its sightings: what one of them lost or counted twice shows as the lowest or highest."""
    low, high, uncached, whole = [], [], [], []
    for member in scene.group_of[node].members:
        sighting = scene.sightings[member]
        if sighting.usage:
            readings = readings_of(sighting)
            low.append(min(readings))
            high.append(max(readings))
            uncached.append(sighting.usage.get("input_uncached", 0))
            whole.append(prompt_tokens(sighting.usage))
    inputs = (min(uncached, default=0), min(low, default=0), max(whole, default=0), max(high, default=0))
    return Amounts(scene.sightings[node].usage.get("output", 0), inputs)


def _plus(one: Inputs, other: Inputs) -> Inputs:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]


def _minus(one: Inputs, other: Inputs) -> Inputs:
    return one[0] - other[0], one[1] - other[1], one[2] - other[2], one[3] - other[3]
