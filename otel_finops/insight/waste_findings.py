"""Claims brought together: one finding for each agent, model and kind of waste, with its dearest traces and what would have stopped it."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from otel_finops.base.limits import WASTE_GROUPS_MAX, WASTE_TRACES_SHOWN
from otel_finops.base.money import PICO_PER_USD
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.governance.ready_policies import ready
from otel_finops.insight.waste import Claim, Kind, Price, WasteCall, claims_of, is_short
from otel_finops.settings.waste import Waste

_MICRO: Final = PICO_PER_USD // 10**6
"""Limits of policies have six decimals."""
_MINUTE_NS: Final = 60 * NS_PER_SECOND
_CHEAPER: Final = 2
"""A smaller model is worth naming when it costs at most half."""
_SHORT_SHARE: Final = 0.9
"""Of an agent's calls of a model: where every tenth answer is long, the model is there for those."""
_READY: Final[Mapping[Kind, str]] = {
    "runaway_loop": "runaway-trace-calls",
    "repeated_calls": "runaway-trace-calls",
    "billed_retries": "runaway-trace-minute",
    "growing_context": "runaway-trace-cost",
    "failing_agent": "runaway-trace-cost",
}


class Where(NamedTuple):
    """Whose waste it is, and where it came about; None for not known, or for several beyond those that are told apart."""

    kind: Kind
    tenant: str
    service: str | None = None
    agent: str | None = None
    step: str | None = None
    provider: str | None = None
    model: str | None = None


class Before(NamedTuple):
    """How far a trace was when waste began in it: its calls, those of the last minute, its cost (pico-USD).

    Attributes:
        needed: how many calls of the whole trace are not claimed on.
    """

    calls: int = 0
    calls_per_minute: int = 0
    pico: int = 0
    needed: int = 0


class TraceWaste(NamedTuple):
    """What of a trace was for nothing; ordered by that."""

    pico: int
    trace_id: str
    before: Before


class Policy(NamedTuple):
    """A policy that would have stopped the waste, as `policies.create` takes it.

    Attributes:
        ready: the name of a policy that ships with the product.
        action: what it does.
        limit: the number in its condition: where the dearest trace was when the waste began.
        downgrade_to: the model to call instead.
        scope: for which calls.
    """

    name: str
    ready: str | None
    action: str
    limit: str | None
    downgrade_to: str | None
    scope: Mapping[str, str]


class Finding(NamedTuple):
    """Waste of one kind in one place.

    Attributes:
        pico: pico-USD.
        calls: how many were claimed on.
        traces: how many; dearest: some of them, dearest first.
        first_ns, last_ns: start of the first and of the last such call.
        policy: None: no policy stops this.
        instead: the smaller model, of oversized ones.
    """

    where: Where
    pico: int
    calls: int
    traces: int
    first_ns: int
    last_ns: int
    dearest: Sequence[TraceWaste]
    policy: Policy | None
    instead: str | None = None


class _Group:
    """What is found of one place."""

    __slots__ = ("calls", "dearest", "first_ns", "instead", "last_ns", "pico", "seen", "traces")

    def __init__(self) -> None:
        self.pico = self.calls = self.traces = self.seen = self.last_ns = 0
        self.first_ns = 2**63 - 1
        self.instead: str | None = None
        self.dearest: list[TraceWaste] = []

    def take(self, claims: Sequence[Claim], trace_id: str, before: Before) -> None:
        """Take the claims on one trace."""
        pico = sum(claim.pico for claim in claims)
        self.pico += pico
        self.calls += len(claims)
        self.traces += 1
        self.first_ns = min(self.first_ns, *(claim.call.started_ns for claim in claims))
        self.last_ns = max(self.last_ns, *(claim.call.started_ns for claim in claims))
        heapq.heappush(self.dearest, TraceWaste(pico, trace_id, before))
        if len(self.dearest) > WASTE_TRACES_SHOWN:
            heapq.heappop(self.dearest)


class Findings:
    """Looks at traces one after the other.

    Args:
        rules: the thresholds.
        price: what calls would have cost otherwise.
        smaller: the next smaller model, by (provider, model, moment).
        kinds: of which findings are wanted.
    """

    def __init__(self, rules: Waste, price: Price, smaller: Callable[[str | None, str, int], str | None], kinds: frozenset[Kind]) -> None:
        self._rules, self._price, self._smaller, self._kinds = rules, price, smaller, kinds
        self._groups: dict[Where, _Group] = {}

    def look_at(self, trace_id: str, calls: Iterable[WasteCall]) -> None:
        """Take the standing calls of a trace, of whatever tenants."""
        by_tenant: dict[str, list[WasteCall]] = {}
        for call in calls:
            by_tenant.setdefault(call.tenant, []).append(call)
        for tenant, own in by_tenant.items():
            by_place: dict[Where, list[Claim]] = {}
            for claim in (*claims_of(own, self._rules, self._price), *self._oversized(own)):
                if claim.kind in self._kinds:
                    by_place.setdefault(self._known(_place(claim.kind, tenant, claim.call)), []).append(claim)
            scene = _Scene(own) if by_place else None
            for where, claims in by_place.items():
                assert scene is not None
                self._groups.setdefault(where, _Group()).take(claims, trace_id, scene.before(claims))

    def take_run(self, where: Where, claims: Sequence[Claim], trace_id: str) -> None:
        """Take what a run or a trace cost that failed."""
        self._groups.setdefault(self._known(where), _Group()).take(claims, trace_id, Before())

    def all(self, succeeded: Mapping[Where, int] = {}) -> list[Finding]:
        """What was found, dearest first.

        Args:
            succeeded: of failing agents, the most that a run of theirs cost that did not fail, pico-USD.
        """
        found = [
            self._finding(where, group, succeeded.get(where, 0)) for where, group in self._groups.items() if self._counts(where, group)
        ]
        return sorted(found, key=lambda one: (-one.pico, tuple(part or "" for part in one.where)))

    def _oversized(self, calls: Sequence[WasteCall]) -> Iterator[Claim]:
        """Short answers for which a smaller model costs half or less; and, in passing, how many calls each place has at all."""
        if "oversized_model" not in self._kinds:
            return
        for call in calls:
            if call.model is None or (instead := self._smaller(call.provider, call.model, call.started_ns)) is None:
                continue
            group = self._groups.setdefault(self._known(_place("oversized_model", call.tenant, call)), _Group())
            group.seen += 1
            group.instead = instead
            if not is_short(call, self._rules):
                continue
            actual, otherwise = self._price(call, call.usage, None), self._price(call, call.usage, instead)
            if actual is not None and otherwise is not None and actual >= _CHEAPER * otherwise and call.cost > 0:
                yield Claim("oversized_model", call, min(call.cost, actual - otherwise))

    def _counts(self, where: Where, group: _Group) -> bool:
        if where.kind != "oversized_model":
            return group.pico > 0
        return group.calls >= self._rules.short_calls and group.calls >= _SHORT_SHARE * group.seen

    def _known(self, where: Where) -> Where:
        return where if where in self._groups or len(self._groups) < WASTE_GROUPS_MAX else Where(where.kind, where.tenant)

    def _finding(self, where: Where, group: _Group, succeeded: int) -> Finding:
        dearest = sorted(group.dearest, reverse=True)
        policy = policy_for(where, dearest[0], group.instead, succeeded)
        return Finding(where, group.pico, group.calls, group.traces, group.first_ns, group.last_ns, dearest, policy, group.instead)


class _Scene:
    """The calls of one tenant in a trace, to tell how far it was at some moment."""

    def __init__(self, calls: Sequence[WasteCall]) -> None:
        self._calls = sorted(calls, key=lambda call: (call.started_ns, call.span_id))
        self._starts = [call.started_ns for call in self._calls]

    def before(self, claims: Sequence[Claim]) -> Before:
        """How far it was at the first call of which half or more is claimed, of retries at the second: the first failed unforeseen."""
        ordered = sorted(claims, key=lambda claim: (claim.call.started_ns, claim.call.span_id))
        first = next((claim.call for claim in ordered if 2 * claim.pico >= claim.call.cost), ordered[0].call)
        if ordered[0].kind == "billed_retries" and len(ordered) > 1:
            first = ordered[1].call
        at = self._calls.index(first, bisect_left(self._starts, first.started_ns))
        within = at - bisect_left(self._starts, first.started_ns - _MINUTE_NS)
        return Before(at, within, sum(call.cost for call in self._calls[:at]), len(self._calls) - len(claims))


def _place(kind: Kind, tenant: str, call: WasteCall) -> Where:
    step = None if call.agent is not None else call.step
    return Where(kind, tenant, call.service, call.agent, step, call.provider, call.model)


def policy_for(where: Where, dearest: TraceWaste, instead: str | None, succeeded: int = 0) -> Policy | None:
    """The policy that would have stopped the dearest trace where its waste began; None: what helps is no policy."""
    scope = {"tenant": where.tenant, **{name: value for name in ("agent", "service") if (value := getattr(where, name)) is not None}}
    if where.kind == "oversized_model" and instead is not None and where.model is not None:
        return Policy(f"{where.model} to {instead}", None, "downgrade", None, instead, {**scope, "model": where.model})
    name = _READY.get(where.kind)
    base = None if name is None else ready(name)
    if base is None:
        return None
    return Policy(base.name, base.name, base.action, _limit(where.kind, dearest, succeeded), None, scope)


def _limit(kind: Kind, dearest: TraceWaste, succeeded: int) -> str:
    """The number at which the policy speaks: where the dearest trace was, and no run that succeeded came to."""
    if kind == "runaway_loop":
        return str(max(1, dearest.before.calls))
    if kind == "repeated_calls":
        return str(max(1, dearest.before.needed))
    if kind == "billed_retries":
        return str(max(1, dearest.before.calls_per_minute))
    if kind == "growing_context":
        return _usd(dearest.before.pico)
    return _usd(succeeded if 0 < succeeded < dearest.pico else dearest.pico // 2)


def _usd(pico: int) -> str:
    """An amount as a policy's limit: rounded down to what it can say, never 0, and with a point, as conditions have amounts."""
    micros = max(1, pico // _MICRO)
    return f"{micros // 10**6}.{micros % 10**6:06d}"
