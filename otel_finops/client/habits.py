"""How large calls usually are: what stands in for counts that a span does not say when it starts."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from math import ceil
from typing import Any, Final, NamedTuple, TypeAlias

KINDS_MAX: Final = 512
"""Kinds of calls that one application remembers; beyond it those that were not made for longest are forgotten."""
_WEIGHT: Final = 0.25
"""Of the newest call in the running mean: half of it stems from the last three calls, so that a changed prompt shows soon."""

_INPUT: Final = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt", "llm.usage.prompt_tokens")
_OUTPUT: Final = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion")

Kind: TypeAlias = tuple[str, ...]


class Used(NamedTuple):
    """Tokens of one call."""

    input: int
    output: int


class _Means(NamedTuple):
    input: float
    output: float


class Habits:
    """Running means of the tokens of finished calls by kind; made for many threads."""

    def __init__(self) -> None:
        self._means: OrderedDict[Kind, _Means] = OrderedDict()
        self._lock = threading.Lock()

    def learn(self, kind: Kind, attributes: Mapping[str, Any]) -> None:
        """Take in what a finished call used; a span that says nothing teaches nothing."""
        used = used_of(attributes)
        if used is None:
            return
        with self._lock:
            before = self._means.pop(kind, None) or _Means(*used)
            self._means[kind] = _Means(*(old + _WEIGHT * (new - old) for old, new in zip(before, used, strict=True)))
            if len(self._means) > KINDS_MAX:
                self._means.popitem(last=False)

    def size(self, kind: Kind) -> dict[str, int]:
        """The usual counts as fields of a decision; empty for a kind that was never seen to the end."""
        means = self._means.get(kind)
        return {"input_tokens": ceil(means.input), "max_output_tokens": ceil(means.output)} if means else {}


def used_of(attributes: Mapping[str, Any]) -> Used | None:
    """The tokens that a finished call's span tells; None when it lacks either count."""
    prompt, output = _count(attributes, _INPUT), _count(attributes, _OUTPUT)
    return None if prompt is None or output is None else Used(prompt, output)


def _count(attributes: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    value = next((attributes[key] for key in keys if key in attributes), None)
    return value if isinstance(value, int) and value >= 0 else None
