"""The facts to book for a call that several spans saw: where it stands, whose numbers, which gaps are filled (design 4.3)."""

from __future__ import annotations

from typing import Any, Final

from otel_finops.genai.reported import trust_rank
from otel_finops.genai.roles.agreement import same_model
from otel_finops.genai.roles.scene import Scene
from otel_finops.genai.sighting import AGENT, RANK_GATEWAY, RANK_LOG, Sighting
from otel_finops.genai.usage import INPUT_PARTS, OTHER_UNITS, OUTPUT_PARTS, PROMPT_UNITS, WRITE_UNITS, Usage

_FAR: Final = 1 << 62
_AT: Final = {field: number for number, field in enumerate(Sighting._fields)}
_GAPS: Final = tuple(
    _AT[field]
    for field in (
        "operation", "request_model", "response_model", "response_id", "service_tier", "speed", "streaming", "error_type", "missing_reason",
    )
)  # fmt: skip
_REGION: Final = (_AT["region"], _AT["region_kind"])
_REPORT: Final = (_AT["reported_pico"], _AT["reported_source"])
_FROM_BEST: Final = tuple(_AT[field] for field in ("input_readings", "usage_source", "usage_rule", "partial"))
_MISSING_REASON: Final = _AT["missing_reason"]
_PROVIDER: Final = _AT["provider"]
_PRICE_MODELS: Final = _AT["price_models"]
_MODELS: Final = (_AT["request_model"], _AT["response_model"], _PRICE_MODELS)
_USAGE: Final = _AT["usage"]
_ATTRIBUTION: Final = _AT["attribution"]
_DEFAULTS: Final = _AT["defaults"]
_TAGS: Final = _AT["tags"]
_FINISH: Final = _AT["finish_reasons"]
_WEAK_PROVIDER: Final = "openai"
"""A format more than a provider: instrumentations say it for every compatible endpoint, so another sighting's word beats it."""


class Places:
    """How near each span is to an agent; computed once, when the first merged call asks."""

    __slots__ = ("_distance", "_scene")

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._distance: list[int] | None = None

    def best_first(self, nodes: list[int]) -> list[int]:
        """Nearest under an agent's span, then where an agent is named at all, then most ancestors, earliest start, smallest id.

        Log records come after all spans.
        """
        if len(nodes) == 1:
            return nodes
        distance = self._distances()
        explicit, depth, sightings = self._scene.inheritance.explicit, self._scene.forest.depth, self._scene.sightings
        return sorted(
            nodes,
            key=lambda n: (sightings[n].rank == RANK_LOG, distance[n], "agent" not in explicit[n], -depth[n], sightings[n].start_ns, n),
        )

    def _distances(self) -> list[int]:
        if self._distance is None:
            forest = self._scene.forest
            self._distance = distance = [_FAR] * len(forest.sightings)
            for node in forest.order:
                above = forest.parent[node]
                if forest.sightings[node].kind == AGENT:
                    distance[node] = 0
                elif above >= 0 and distance[above] < _FAR:
                    distance[node] = distance[above] + 1
        return self._distance


def informed_first(sightings: list[Sighting]) -> list[Sighting]:
    """The sightings of one call, best-informed first: most usage units, then rank, then smallest ids.

    Estimates and broken-off streams come after what was reported whole.
    """
    return sorted(sightings, key=lambda s: (not s.usage, s.usage_source != "reported", s.partial, -len(s.usage), s.rank, s.key))


def merged_facts(standing: Sighting, informed: list[Sighting], attribution: dict[str, str]) -> Sighting:
    """The standing span with the facts of the whole call.

    Numbers come from the first of `informed`; the others fill what it does not say, in their order. `attribution` is full.
    """
    best = informed[0]
    facts: list[Any] = list(standing)
    for field in _GAPS:
        facts[field] = _first(informed, field)
    facts[_FINISH] = next((s.finish_reasons for s in informed if s.finish_reasons), ())
    reporter = min(informed, key=lambda s: (s.reported_pico is None, s.reported_source is None, trust_rank(s.reported_source)))
    for (field, companion), source in (
        (_REGION, next((s for s in informed if s.region is not None), best)),
        (_REPORT, reporter),
    ):
        facts[field], facts[companion] = source[field], source[companion]
    for field in _FROM_BEST:
        facts[field] = best[field]
    if best.usage:
        facts[_MISSING_REASON] = None
    gateway = _behind_alias(informed)
    if gateway is None:
        facts[_PROVIDER], facts[_PRICE_MODELS] = _provider(informed), _price_models(informed)
    else:
        facts[_PROVIDER] = gateway.provider or _provider(informed)
        for field in _MODELS:
            facts[field] = gateway[field]
    facts[_USAGE] = merged_usage(informed)
    facts[_ATTRIBUTION], facts[_DEFAULTS] = attribution, {}
    if any(s.tags for s in informed):
        facts[_TAGS] = {name: value for s in (*reversed(informed), standing) for name, value in s.tags.items()}
    return Sighting._make(facts)


def _behind_alias(informed: list[Sighting]) -> Sighting | None:
    """The gateway's sighting, if the others only know an alias of the model that it called; None where all agree."""
    for gateway in informed:
        if gateway.rank == RANK_GATEWAY and gateway.price_models and gateway.usage:
            if any(other.rank < RANK_GATEWAY and same_model(gateway, other) is False for other in informed):
                return gateway
            break
    return None


def merged_usage(informed: list[Sighting]) -> Usage:
    """One set of disjoint counts: never a sum over sightings.

    The prompt is one sighting's whole breakdown, the most detailed one (who lost the cache split counted the same tokens as
    uncached); the output is the best-informed one's; parts and units that are no tokens fill in where they fit.
    """
    measured = [sighting.usage for sighting in informed if sighting.usage]
    if not measured:
        return {}
    best = measured[0]
    if all(other == best for other in measured):
        return best
    prompt = max(measured, key=_prompt_detail)  # of equals the first, which is the best-informed
    usage: Usage = {unit: prompt[unit] for unit in (*PROMPT_UNITS, *INPUT_PARTS) if unit in prompt}
    if "output" in best:
        usage["output"] = best["output"]
    for other in measured:
        _fill(usage, other, INPUT_PARTS, usage.get("input_uncached", 0))
        _fill(usage, other, OUTPUT_PARTS, usage.get("output", 0))
        _fill(usage, other, OTHER_UNITS, _FAR)
    return usage


def _fill(usage: Usage, other: Usage, units: tuple[str, ...], at_most: int) -> None:
    for unit in units:
        if unit in other and unit not in usage and other[unit] <= at_most:
            usage[unit] = other[unit]


def _prompt_detail(usage: Usage) -> tuple[int, bool]:
    """How much a breakdown says: kinds of prompt tokens, and whether cache writes are known to live longer than 5 minutes."""
    return sum(unit in usage for unit in PROMPT_UNITS), any(unit in usage for unit in WRITE_UNITS[1:])


def _first(informed: list[Sighting], field: int) -> Any:
    for sighting in informed:
        value = sighting[field]
        if value is not None:
            return value
    return None


def _provider(informed: list[Sighting]) -> str | None:
    named = [s.provider for s in informed if s.provider is not None]
    return next((name for name in named if name != _WEAK_PROVIDER), named[0] if named else None)


def _price_models(informed: list[Sighting]) -> tuple[str, ...]:
    """Names to price by: first those of sightings that know which model answered, since the others may name an alias."""
    ordered = [s for s in informed if s.response_model is not None] + [s for s in informed if s.response_model is None]
    return tuple(dict.fromkeys([name for s in ordered for name in s.price_models]))
