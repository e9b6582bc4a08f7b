"""Which calls were reported under each candidate, gathered from the leaves up; near-linear whatever the shape of the trees."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from otel_finops.genai.roles.agreement import readings_of
from otel_finops.genai.roles.scene import NONE, Group, Scene
from otel_finops.genai.usage import prompt_tokens


class Below:
    """The distinct calls under one span, with their sums.

    Attributes:
        groups: the calls, copies included; a call seen by several spans counts once.
        output: sum of their outputs.
        input_low, input_high: sums of their whole prompts under the smallest and the largest reading.
    """

    __slots__ = ("groups", "input_high", "input_low", "output")

    def __init__(self) -> None:
        self.groups: dict[Group, tuple[int, int, int]] = {}
        self.output = self.input_low = self.input_high = 0

    def add(self, group: Group, amounts: tuple[int, int, int]) -> None:
        """Count a call, once."""
        if group not in self.groups:
            self.groups[group] = amounts
            self.output += amounts[0]
            self.input_low += amounts[1]
            self.input_high += amounts[2]

    def without(self, group: Group) -> tuple[int, int, int, int]:
        """(calls, output, input_low, input_high) of all but one group."""
        output, low, high = self.groups.get(group, (0, 0, 0))
        return len(self.groups) - (group in self.groups), self.output - output, self.input_low - low, self.input_high - high

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


def _amounts(scene: Scene, node: int) -> tuple[int, int, int]:
    """Output, smallest and largest reading of the prompt over all sightings of the node's call.

    The smallest is without the cached tokens: a sum above may have lost them.
    """
    inputs = []
    for member in scene.group_of[node].members:
        sighting = scene.sightings[member]
        if sighting.usage:
            inputs += [*readings_of(sighting), prompt_tokens(sighting.usage), sighting.usage.get("input_uncached", 0)]
    return scene.sightings[node].usage.get("output", 0), min(inputs, default=0), max(inputs, default=0)
