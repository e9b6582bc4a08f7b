"""The state that the rules work on: the forest, and the groups of sightings found to be one call."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property, lru_cache

from otel_finops.genai.forest import Forest
from otel_finops.genai.inheritance import Inheritance
from otel_finops.genai.sighting import AGENT, CALL, TOOL, Sighting

NONE = -1


@lru_cache(maxsize=1024)
def _only(scope: str) -> frozenset[str]:
    return frozenset((scope,))


class Group:
    """Sightings of one call.

    Attributes:
        members: their numbers in the forest.
        scopes: their instrumentation scopes; one sighting per scope, unless a rule with stronger evidence joined them.
        response_id: the answer id that those have which have one; there are never two.
        copy_of: the group whose answer a gateway gave again; such a group costs nothing.
        from_cache: a gateway's cache answered; whose answer that was is known only with `copy_of`.
        attempt_of: the group that a failed attempt of a gateway belongs to; None for all else.
        echoes: wrappers that repeat just this call, and may know more of it.
        wraps: None for a call; for a wrapper the groups that it repeats (empty when unknown).
        rule: the rule that made it a copy, attempt or wrapper.
    """

    __slots__ = ("attempt_of", "copy_of", "echoes", "from_cache", "members", "response_id", "rule", "scopes", "wraps")

    def __init__(self, node: int, sighting: Sighting) -> None:
        self.members = [node]
        self.scopes: frozenset[str] | set[str] = _only(sighting.scope)
        self.response_id = sighting.response_id
        self.copy_of: Group | None = None
        self.echoes: list[Group] = []
        self.from_cache = False
        self.attempt_of: Group | None = None
        self.wraps: tuple[Group, ...] | None = None
        self.rule: str | None = None

    @property
    def stands(self) -> bool:
        """It is a call that is charged."""
        return self.copy_of is None and self.wraps is None and not self.from_cache and self.attempt_of is None


class Scene:
    """A neighbourhood while it is being decided.

    Attributes:
        forest, inheritance: its trees and what is inherited in them.
        sightings: those of the forest, by number.
        candidates: numbers of all spans that get a decision, parents before children.
        calls: those of kind call, by number.
        candidate_above: number of the nearest strict ancestor that is a candidate, for every candidate.
        tools_above, agents_above: how many tools (agents) are among a candidate's ancestors.
        group_of: the group of each call.
        joined_by: the rule that put a call into its group.
        nearest_agents: number of the nearest agent's span at or above each span, `NONE` without one; made when first asked for.
        logs_aside: log records that are no calls since spans of their session are; in the end those that no span's call explains.
    """

    def __init__(self, forest: Forest, inheritance: Inheritance, house: frozenset[int] | None = None) -> None:
        """
        Args:
            forest, inheritance: of all that is known.
            house: the spans that may become candidates; None for all.
        """
        self.forest = forest
        self._house = house
        self.inheritance = inheritance
        self.sightings: list[Sighting] = forest.sightings
        self.candidates: list[int] = []
        self.candidate_above: dict[int, int] = {}
        self.tools_above: dict[int, int] = {}
        self.agents_above: dict[int, int] = {}
        self._find_candidates()
        self.calls: list[int] = sorted(node for node in self.candidates if self.sightings[node].kind == CALL)
        self.group_of: dict[int, Group] = {node: Group(node, self.sightings[node]) for node in self.calls}
        self.joined_by: dict[int, str] = {}
        self.logs_aside: set[int] = set()

    def _find_candidates(self) -> None:
        """One walk down carries (nearest candidate, tools, agents) at or above each span."""
        sightings, parent = self.sightings, self.forest.parent
        carried: list[tuple[int, int, int]] = [(NONE, 0, 0)] * len(sightings)
        at_root = (NONE, 0, 0)
        for node in self.forest.order:
            above, sighting = parent[node], sightings[node]
            state = carried[above] if above >= 0 else at_root
            if sighting.is_candidate and (self._house is None or node in self._house):
                self.candidates.append(node)
                self.candidate_above[node], self.tools_above[node], self.agents_above[node] = state
                state = (node, state[1], state[2])
            if sighting.kind == TOOL:
                state = (state[0], state[1] + 1, state[2])
            elif sighting.kind == AGENT:
                state = (state[0], state[1], state[2] + 1)
            carried[node] = state

    def tool_between(self, upper: int, lower: int) -> bool:
        """A tool's run lies between two nested candidates: what happens in it is not the call above it (trap 4)."""
        inside = self.tools_above[upper] + (self.sightings[upper].kind == TOOL)
        return self.tools_above[lower] > inside

    def agent_between(self, upper: int, lower: int) -> bool:
        """An agent's run lies between two nested candidates."""
        inside = self.agents_above[upper] + (self.sightings[upper].kind == AGENT)
        return self.agents_above[lower] > inside

    def agents_apart(self, one: int, other: int) -> bool:
        """Both run under an agent, and neither agent's run is a part of the other's: what happens in one is not in the other."""
        mine, theirs = self.nearest_agents[one], self.nearest_agents[other]
        return mine != theirs and NONE not in (mine, theirs) and not self.related(mine, theirs)

    @cached_property
    def nearest_agents(self) -> list[int]:
        """See the class."""
        nearest = [NONE] * len(self.sightings)
        for node in self.forest.order:
            above = self.forest.parent[node]
            nearest[node] = node if self.sightings[node].kind == AGENT else nearest[above] if above >= 0 else NONE
        return nearest

    def related(self, one: int, other: int) -> bool:
        """One is above the other."""
        return self.forest.is_above(one, other) or self.forest.is_above(other, one)

    def may_join(self, one: int, other: int) -> bool:
        """The groups of two calls can become one: no common scope, no wrapper, no two answer ids, no call with its own copy."""
        mine, theirs = self.group_of[one], self.group_of[other]
        if mine is theirs or mine.wraps is not None or theirs.wraps is not None or not mine.scopes.isdisjoint(theirs.scopes):
            return False
        if mine.copy_of is theirs or theirs.copy_of is mine:
            return False
        return mine.response_id is None or theirs.response_id is None or mine.response_id == theirs.response_id

    def join(self, one: int, other: int, rule: str) -> None:
        """Make one group of the groups of two calls."""
        mine, theirs = self.group_of[one], self.group_of[other]
        for node in (one, other):
            self.joined_by.setdefault(node, rule)
        if mine is theirs:
            return
        if len(mine.members) < len(theirs.members):
            mine, theirs = theirs, mine
        mine.members += theirs.members
        mine.echoes += theirs.echoes
        if isinstance(mine.scopes, frozenset):  # those of single sightings are shared
            mine.scopes = set(mine.scopes)
        mine.scopes |= theirs.scopes
        mine.response_id = mine.response_id or theirs.response_id
        if mine.copy_of is None and theirs.copy_of is not None:
            mine.copy_of, mine.rule = theirs.copy_of, theirs.rule
        for node in theirs.members:
            self.group_of[node] = mine

    def measured(self, nodes: Iterable[int]) -> list[int]:
        """Those of the nodes that carry usage."""
        return [node for node in nodes if self.sightings[node].usage]
