"""How large calls usually are: what stands in for counts that a span does not say when it starts."""

from __future__ import annotations

from collections import OrderedDict
from math import ceil
from typing import Final, NamedTuple, TypeAlias

from otel_finops.base.money import format_usd, parse_usd
from otel_finops.client.usage import Usage

KINDS_MAX: Final = 512
"""Kinds of calls that one application remembers; beyond it those that were not made for longest are forgotten."""
_PARTS: Final = 4
"""The newest call is one of so many parts of the running mean: half of it stems from the last three calls; a changed prompt shows soon."""


Kind: TypeAlias = tuple[str, ...]


class _Means(NamedTuple):
    """Of tokens, and of pico-USD; None where no price was told yet."""

    input: float
    output: float
    pico: int | None = None


class Habits:
    """Running means of tokens and costs of finished calls by kind; two threads at once may forget one call, and nothing worse."""

    def __init__(self) -> None:
        self._means: OrderedDict[Kind, _Means] = OrderedDict()

    def learn(self, kind: Kind, used: Usage) -> None:
        """Take in what a finished call used."""
        before = self._means.pop(kind, None) or _Means(used.prompt, used.output)
        prompt = before.input + (used.prompt - before.input) / _PARTS
        self._means[kind] = _Means(prompt, before.output + (used.output - before.output) / _PARTS, before.pico)
        if len(self._means) > KINDS_MAX:
            self._means.popitem(last=False)

    def learn_cost(self, kind: Kind, usd: str) -> None:
        """Take in what it cost, a decimal string; of a kind that is remembered."""
        means, pico = self._means.get(kind), parse_usd(usd)
        if means is not None:
            before = pico if means.pico is None else means.pico
            self._means[kind] = means._replace(pico=before + (pico - before) // _PARTS)

    def size(self, kind: Kind) -> dict[str, int]:
        """The usual counts as fields of a decision; empty for a kind that was never seen to the end."""
        means = self._means.get(kind)
        return {"input_tokens": ceil(means.input), "max_output_tokens": ceil(means.output)} if means else {}

    def cost(self, kind: Kind) -> dict[str, str]:
        """The usual cost as a field of a decision, for calls that do not name their model; empty where none was told."""
        means = self._means.get(kind)
        return {"estimate_usd": format_usd(means.pico)} if means is not None and means.pico is not None else {}
