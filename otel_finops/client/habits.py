"""How large calls usually are: what stands in for counts that a span does not say when it starts."""

from __future__ import annotations

from collections import OrderedDict
from math import ceil
from typing import Final, NamedTuple, TypeAlias

from otel_finops.client.usage import Usage

KINDS_MAX: Final = 512
"""Kinds of calls that one application remembers; beyond it those that were not made for longest are forgotten."""
_WEIGHT: Final = 0.25
"""Of the newest call in the running mean: half of it stems from the last three calls, so that a changed prompt shows soon."""


Kind: TypeAlias = tuple[str, ...]


class _Means(NamedTuple):
    input: float
    output: float


class Habits:
    """Running means of the tokens of finished calls by kind; two threads at once may forget one call, and nothing worse."""

    def __init__(self) -> None:
        self._means: OrderedDict[Kind, _Means] = OrderedDict()

    def learn(self, kind: Kind, used: Usage) -> None:
        """Take in what a finished call used."""
        before = self._means.pop(kind, None) or _Means(used.prompt, used.output)
        now = zip(before, (used.prompt, used.output), strict=True)
        self._means[kind] = _Means(*(old + _WEIGHT * (new - old) for old, new in now))
        if len(self._means) > KINDS_MAX:
            self._means.popitem(last=False)

    def size(self, kind: Kind) -> dict[str, int]:
        """The usual counts as fields of a decision; empty for a kind that was never seen to the end."""
        means = self._means.get(kind)
        return {"input_tokens": ceil(means.input), "max_output_tokens": ceil(means.output)} if means else {}
