"""Which sightings of a neighbourhood stand in the ledger as calls, and which repeat them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from otel_finops.base.protocols import DEFAULT_TENANT
from otel_finops.genai.forest import Forest
from otel_finops.genai.inheritance import Inheritance
from otel_finops.genai.roles.aggregates import Aggregate, judge_aggregates
from otel_finops.genai.roles.answer_ids import merge_by_response_id
from otel_finops.genai.roles.equal_numbers import merge_by_numbers
from otel_finops.genai.roles.facts import Places, informed_first, merged_facts
from otel_finops.genai.roles.gateways import CACHE_LOOKUP, fold_failed_attempts, mark_cached_answers
from otel_finops.genai.roles.log_source import SPANS_KNOWN, pair_logs, set_logs_aside
from otel_finops.genai.roles.scene import NONE, Group, Scene
from otel_finops.genai.roles.sums import mark_sums
from otel_finops.genai.roles.unmeasured import merge_unmeasured
from otel_finops.genai.sighting import Decision, Sighting, SpanKey

CALL_ROLE: Final = "call"
DUPLICATE_ROLE: Final = "duplicate"
WRAPPER_ROLE: Final = "wrapper"
COPY_ROLE: Final = "gateway_copy"

SINGLE: Final = "call.single"
MERGED: Final = "call.merged"

RULES: Final[tuple[Callable[[Scene], None], ...]] = (
    set_logs_aside,
    merge_by_response_id,
    merge_by_numbers,
    mark_sums,
    merge_unmeasured,
    mark_cached_answers,
    fold_failed_attempts,
    pair_logs,
)
"""The rules over call spans, strongest evidence first; each may only add to what stands before it."""

_ATTRIBUTION: Final = Sighting._fields.index("attribution")
_DEFAULTS: Final = Sighting._fields.index("defaults")


def decide(sightings: Iterable[Sighting]) -> list[Decision]:
    """One decision for every candidate of a neighbourhood of one realm, sorted by (trace id, span id).

    Pure: neither the order of the sightings nor repetitions change the answer. Skeletons take part as ancestors, ends of links and
    a gateway's look-ups only, and get no decision. Senders that do not speak for the same tenants meet only in the tenants that both
    name: nobody may make a stranger's call his own, or his own call a copy of a stranger's.
    """
    forest = Forest(_that_matter(list(sightings)))
    inheritance = Inheritance(forest)
    decisions = [decision for house in _houses(forest, inheritance) for decision in _decide(Scene(forest, inheritance, house))]
    return sorted(decisions, key=_place)


def _that_matter(sightings: list[Sighting]) -> list[Sighting]:
    """Without skeletons that have nothing below them and that no rule reads: half of what applications send.

    Where there are links, any span may be the end of one.
    """
    if any(sighting.links for sighting in sightings):
        return sightings
    parents = {one.parent_span_id for one in sightings}
    return [one for one in sightings if one.genai or one.span_id in parents or (one.scope, one.name) == CACHE_LOOKUP]


def _decide(scene: Scene) -> list[Decision]:
    for rule in RULES:
        rule(scene)
    return _Verdict(scene, judge_aggregates(scene)).decisions()


def _houses(forest: Forest, inheritance: Inheritance) -> list[frozenset[int] | None]:
    """The spans to decide together: all (None) when one kind of credential sent them.

    Otherwise those of each kind of credential, but for tenants that several kinds name: their spans are decided together, whoever
    sent them. So a stranger who links to a trace changes at most what he may put costs on anyway. Spans that name no tenant stay
    with their senders.
    """
    if len({sighting.speaks_for for sighting in forest.sightings}) <= 1:
        return [None]
    tenants = {node: inheritance.full(node)["tenant"] for node, sighting in enumerate(forest.sightings) if sighting.is_candidate}
    speakers: dict[str, set[str]] = {}
    for node, tenant in tenants.items():
        speakers.setdefault(tenant, set()).add(forest.sightings[node].speaks_for)
    houses: dict[tuple[str, str], set[int]] = {}
    for node, tenant in tenants.items():
        shared = tenant != DEFAULT_TENANT and len(speakers[tenant]) > 1
        houses.setdefault(("tenant", tenant) if shared else ("sender", forest.sightings[node].speaks_for), set()).add(node)
    return [frozenset(houses[key]) for key in sorted(houses)]


def _place(decision: Decision) -> SpanKey:
    return decision.sighting.key


class _Verdict:
    """Turns the groups that the rules left into decisions."""

    def __init__(self, scene: Scene, aggregates: dict[int, Aggregate]) -> None:
        self._scene = scene
        self._aggregates = aggregates
        self._places = Places(scene)
        self._stands_at: dict[Group, int] = {}
        self._model_above: list[int] | None = None

    def decisions(self) -> list[Decision]:
        return [self._aggregate(node) if node in self._aggregates else self._call(node) for node in sorted(self._scene.candidates)]

    def _call(self, node: int) -> Decision:
        if node in self._scene.logs_aside:
            return Decision(self._own(node), DUPLICATE_ROLE, None, SPANS_KNOWN)
        group = self._scene.group_of[node]
        if not group.stands:
            role = _role(group)
            return Decision(self._own(node), role, self._counted_in(group), group.rule or role)
        standing = self._standing(group)
        if node != standing:
            return Decision(self._own(node), DUPLICATE_ROLE, self._key(standing), self._scene.joined_by[node])
        rule = SINGLE if len(group.members) == 1 else MERGED
        facts = self._own(node) if len(group.members) == 1 and not group.echoes else self._merged(node, group)
        return Decision(self._modelled(node, facts), CALL_ROLE, None, rule)

    def _aggregate(self, node: int) -> Decision:
        judged = self._aggregates[node]
        if judged.stands:
            return Decision(self._modelled(node, self._own(node)), CALL_ROLE, None, judged.rule)
        counted = self._key(judged.outermost) if judged.outermost is not None else None
        if judged.group is not None:
            counted = self._key(self._standing(judged.group))
        return Decision(self._own(node), WRAPPER_ROLE, counted, judged.rule)

    def _counted_in(self, group: Group) -> SpanKey | None:
        """The call that is charged instead of a copy or wrapper; None when it is not one."""
        at: Group = group
        for _ in range(_HOPS_MAX):
            if at.stands:
                return self._key(self._standing(at))
            if at.copy_of is not None:
                at = at.copy_of
            elif at.attempt_of is not None:
                at = at.attempt_of
            elif at.wraps:
                at = at.wraps[0]
            else:
                return None
            at = self._scene.group_of[at.members[0]]  # the group may have been joined to another since
        return None

    def _standing(self, group: Group) -> int:
        if len(group.members) == 1:
            return group.members[0]
        if group not in self._stands_at:
            self._stands_at[group] = self._places.best_first(group.members)[0]
        return self._stands_at[group]

    def _key(self, node: int) -> SpanKey:
        return self._scene.sightings[node].key

    def _own(self, node: int) -> Sighting:
        """The span's own facts with its full attribution, the defaults folded in."""
        sighting = self._scene.sightings[node]
        return Sighting._make((*sighting[:_ATTRIBUTION], self._scene.inheritance.full(node), {}, *sighting[_DEFAULTS + 1 :]))

    def _merged(self, node: int, group: Group) -> Sighting:
        placed = self._places.best_first(group.members)
        known = [*group.members, *(member for echo in group.echoes for member in echo.members)]
        informed = informed_first([self._scene.sightings[member] for member in known])
        return merged_facts(self._scene.sightings[node], informed, self._scene.inheritance.merged(placed))

    def _modelled(self, node: int, call: Sighting) -> Sighting:
        """A call that names no model takes its nearest ancestor's (rule 8), and the provider with it."""
        if call.price_models or call.request_model is not None or call.response_model is not None:
            return call
        above = self._nearest_model(node)
        if above == NONE:
            return call
        source = self._scene.sightings[above]
        filled: dict[str, Any] = {"request_model": source.request_model, "price_models": source.price_models}
        if call.provider is None:
            filled["provider"] = source.provider
        return call._replace(**filled)

    def _nearest_model(self, node: int) -> int:
        if self._model_above is None:
            forest = self._scene.forest
            self._model_above = nearest = [NONE] * len(forest.sightings)
            for at in forest.order:
                above = forest.parent[at]
                if above >= 0:
                    nearest[at] = above if forest.sightings[above].price_models else nearest[above]
        return self._model_above[node]


def _role(group: Group) -> str:
    """The role of a group that is no call."""
    if group.wraps is not None:
        return WRAPPER_ROLE
    return DUPLICATE_ROLE if group.attempt_of is not None else COPY_ROLE


_HOPS_MAX: Final = 8
"""Wrapper of a copy of a call ...: further than this nobody's chain goes, and a ring ends."""
