"""What is said of a trace as a whole: from when to when, whose calls cost what, what is counted elsewhere, where the money went."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from otel_finops.ledger.entry import ROLE_CALL

if TYPE_CHECKING:
    from otel_finops.trees.cost_tree import TreeSpan


class NameTotal(NamedTuple):
    """What the calls of one agent, tool or model cost; name None: they have none."""

    name: str | None
    pico: int
    calls: int
    tokens: int


class Facts(NamedTuple):
    """Facts over all spans of a trace, those included that are not told.

    Attributes:
        started_ns, ended_ns: of the first and the last; 0 where there are none.
        failed_spans: spans that say that they failed.
        copies: by role, how many spans repeat calls that are counted by themselves.
        agents, tools, models: the dearest first; each adds up to the total.
        dearest: the span that itself costs most; None where none costs anything.
    """

    spans: int
    calls: int
    tokens: int
    started_ns: int
    ended_ns: int
    failed_spans: int
    copies: dict[str, int]
    agents: Sequence[NameTotal]
    tools: Sequence[NameTotal]
    models: Sequence[NameTotal]
    dearest: str | None


def facts_of(spans: Sequence[TreeSpan], own_tokens: Iterable[int]) -> Facts:
    """The facts of a trace's spans.

    Args:
        own_tokens: of each span's own call, 0 for others.
    """
    sums: tuple[dict[str | None, list[int]], ...] = ({}, {}, {})
    copies: dict[str, int] = {}
    failed = calls = ended_ns = greatest = 0
    dearest: str | None = None
    for (start_ns, span_id, _, _, sighting, entry), tokens in zip(spans, own_tokens, strict=True):
        if sighting is not None:
            failed += sighting.error_type is not None
            ended_ns = max(ended_ns, sighting.end_ns)
        if entry is None:
            continue
        ended_ns = max(ended_ns, start_ns + (entry.duration_ns or 0))
        if entry.role != ROLE_CALL:
            copies[entry.role] = copies.get(entry.role, 0) + 1
            continue
        model = None if sighting is None else sighting.response_model or sighting.request_model
        pico = entry.cost_pico or 0
        calls += 1
        if pico > greatest:
            greatest, dearest = pico, span_id
        for name, totals in zip((entry.agent, entry.tool, model), sums, strict=True):
            total = totals.setdefault(name, [0, 0, 0])
            total[0] += pico
            total[1] += 1
            total[2] += tokens
    agents, tools, models = map(_dearest_first, sums)
    whole = sum(one.tokens for one in agents)
    first_ns = spans[0][0] if spans else 0
    return Facts(len(spans), calls, whole, first_ns, max(first_ns, ended_ns), failed, copies, agents, tools, models, dearest)


def _dearest_first(totals: dict[str | None, list[int]]) -> list[NameTotal]:
    return sorted((NameTotal(name, *sums) for name, sums in totals.items()), key=lambda one: (-one.pico, -one.calls, one.name or ""))
