"""What is kept of a settled trace beside its entries: its runs, and sums by tenant, session and user; a pure function of the trace.

A run is one invocation of an agent or a workflow: its span and everything below it. A call or tool belongs to the nearest run above it,
and counts in that run and all above.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Final, NamedTuple

from otel_finops.genai.inheritance import completed, resolve, tenant_of
from otel_finops.genai.kinds import GRAPH_NODE
from otel_finops.genai.sighting import AGENT, TOOL, WORKFLOW, Sighting
from otel_finops.genai.usage import total_tokens
from otel_finops.ledger.entry import ROLE_CALL, Entry
from otel_finops.trees.cost_tree import mended_parents

RUN_KINDS: Final = frozenset({AGENT, WORKFLOW})
_MARKED: Final = frozenset({AGENT, WORKFLOW, TOOL})
_MAKES_AN_AGENT: Final = "create_agent"
"""Operation of a span that only sets an agent up: it is of kind agent, and no run."""
_AT: Final = {name: place for place, name in enumerate(Sighting._fields)}
_span_id: Final = itemgetter(_AT["span_id"])
_span_and_parent: Final = itemgetter(_AT["span_id"], _AT["parent_span_id"])
_operation: Final = itemgetter(_AT["operation"])
_finish: Final = itemgetter(_AT["finish_reasons"])
_KIND: Final = _AT["kind"]
"""Read by place: every settled span passes here."""


class Amounts(NamedTuple):
    """Sums over a run and everything below it; `own_calls` and `own_pico` over what lies in no run below."""

    calls: int = 0
    failed_calls: int = 0
    unpriced_calls: int = 0
    tokens: int = 0
    tools: int = 0
    failed_tools: int = 0
    cost_pico: int = 0
    own_calls: int = 0
    own_pico: int = 0


NOTHING: Final = Amounts()


class RunFigures(NamedTuple):
    """A run as it is listed.

    Attributes:
        span_id: of its span, lower-case hex; parent_run: of the nearest run above it, None for none.
        tenant: whose its own span is.
        kind: agent or workflow.
        user, session: references.
        error_type: of the run's own span; None: it did not fail.
        finish_reason: what the run's span says, else why the last answer of its own tenant ended that lies in no run below it; None
            where nobody says.
        children: runs right below it.
        amounts: of its own tenant; elsewhere: of other tenants whose calls lie below it.
    """

    span_id: str
    parent_run: str | None
    tenant: str
    kind: str
    name: str
    agent: str | None
    workflow: str | None
    service: str | None
    environment: str | None
    user: str | None
    session: str | None
    started_ns: int
    duration_ns: int
    error_type: str | None
    finish_reason: str | None
    children: int
    amounts: Amounts
    elsewhere: Mapping[str, Amounts]


class TraceSum(NamedTuple):
    """Sums over the standing calls of a trace with one tenant, session and user ('' for none)."""

    tenant: str
    session: str
    user: str
    calls: int
    failed_calls: int
    unpriced_calls: int
    tokens: int
    cost_pico: int
    started_ns: int
    ended_ns: int


def sums_of(standing: Iterable[Entry]) -> list[TraceSum]:
    """The sums of a trace, from what stands of it."""
    sums: dict[tuple[str, str, str], list[int]] = {}
    for entry in standing:
        if entry.role != ROLE_CALL:
            continue
        key = entry.tenant, entry.session or "", entry.user or ""
        ended_ns = entry.started_ns + (entry.duration_ns or 0)
        found = sums.get(key)
        if found is None:
            found = sums[key] = [0, 0, 0, 0, 0, entry.started_ns, ended_ns]
        found[0] += 1
        found[1] += entry.error_type is not None
        found[2] += entry.cost_pico is None
        found[3] += total_tokens(entry.usage)
        found[4] += entry.cost_pico or 0
        if entry.started_ns < found[5]:
            found[5] = entry.started_ns
        if ended_ns > found[6]:
            found[6] = ended_ns
    return [TraceSum(*key, *sums[key]) for key in sorted(sums)]


def runs_of(sightings: Sequence[Sighting], standing: Mapping[str, Entry]) -> list[RunFigures]:
    """The runs of a trace in one realm, in the order of their span ids.

    Args:
        sightings: every span as it stands.
        standing: what stands in the ledger, by span id.
    """
    marked = {one.span_id: one for one in sightings if one[_KIND] in _MARKED and one.operation != _MAKES_AN_AGENT}
    if not any(sighting.kind in RUN_KINDS for sighting in marked.values()):
        return []
    parents: dict[str, str | None] = dict(map(_span_and_parent, sightings))
    if not standing.keys() <= parents.keys():
        parents = {span_id: entry.parent_span_id for span_id, entry in standing.items()} | parents
    try:
        return _Trace(Ladder(parents, marked), sightings, standing).runs()
    except Circle:
        ladder = Ladder(mended_parents(sightings, standing.values()), marked, circles=True)
        return _Trace(ladder, sightings, standing).runs()


def is_run(sighting: Sighting | None) -> bool:
    """Whether a span is the invocation of an agent or a workflow."""
    return sighting is not None and sighting.kind in RUN_KINDS and sighting.operation != _MAKES_AN_AGENT


class Circle(Exception):
    """Parents go in a circle."""


class Ladder:
    """Which agent, workflow or tool a span lies in; every way up is walked once.

    Attributes:
        marked: the spans of agents, workflows and tools.
        circles: the parents went in circles, which are cut.
    """

    def __init__(self, parents: Mapping[str, str | None], marked: Mapping[str, Sighting], *, circles: bool = False) -> None:
        self.marked = marked
        self.circles = circles
        self._parents = parents
        self._nearest: dict[str | None, str | None] = {None: None, **{span_id: span_id for span_id in marked}}
        self._run: dict[str | None, str | None] = {None: None, **{id_: id_ for id_, one in marked.items() if one.kind in RUN_KINDS}}

    def parent(self, span_id: str) -> str | None:
        """The parent that a span names, or that is left of it where parents go in a circle."""
        return self._parents.get(span_id)

    def at_or_above(self, span_id: str | None) -> str | None:
        """The nearest marked span, the span itself included.

        Raises:
            Circle: there is a circle above it.
        """
        known, passed = self._nearest, []
        at = span_id
        while at is not None and at not in known:
            passed.append(at)
            if len(passed) > len(self._parents) + 1:
                raise Circle
            at = self._parents.get(at)
        found = known[at]
        for one in passed:
            known[one] = found
        return found

    def above(self, span_id: str) -> str | None:
        """The nearest marked span above this one."""
        return self.at_or_above(self._parents.get(span_id))

    def run_at_or_above(self, span_id: str | None) -> str | None:
        """The nearest run, the span itself included."""
        known = self._run
        if span_id in known:
            return known[span_id]
        passed: list[str | None] = [span_id]
        at = self.at_or_above(span_id)
        while at is not None and at not in known:
            passed.append(at)
            if len(passed) > len(self.marked) + 1:
                raise Circle
            at = self.above(at)
        found = known[at]
        for one in passed:
            known[one] = found
        return found

    def run_above(self, span_id: str) -> str | None:
        """The nearest run above this span."""
        return self.run_at_or_above(self._parents.get(span_id))

    def repeats(self, tool: Sighting) -> bool:
        """Whether this tool's span lies right in one of the same tool: another library, or the tool's server, saw the same use."""
        above = self.above(tool.span_id)
        outer = None if above is None else self.marked[above]
        return outer is not None and outer.kind == TOOL and tool_name(outer) == tool_name(tool)


def tool_name(sighting: Sighting) -> str:
    """The tool's name, else its span's."""
    return sighting.attribution.get("tool") or sighting.name


_CALLS, _FAILED, _UNPRICED, _TOKENS, _TOOLS, _FAILED_TOOLS, _COST, _OWN_CALLS, _OWN_COST = range(len(Amounts._fields))
_WHOLE: Final = _OWN_CALLS
"""Amounts before this place are those of everything below too."""


class _Trace:
    """Adds up the runs of one trace."""

    def __init__(self, ladder: Ladder, sightings: Sequence[Sighting], standing: Mapping[str, Entry]) -> None:
        self._ladder = ladder
        self._sightings = sightings
        self._standing = standing
        self._above = {id_: ladder.run_above(id_) for id_, sighting in ladder.marked.items() if sighting.kind in RUN_KINDS}
        self._order = _lowest_first(self._above)
        self._said = _Said(ladder, sightings)
        self._tenants = {run: self._tenant(run) for run in self._above}
        self._amounts: dict[str, dict[str, list[int]]] = {run: {self._tenants[run]: [0] * len(NOTHING)} for run in self._above}

    def runs(self) -> list[RunFigures]:
        """All runs."""
        self._take_calls()
        self._take_tools()
        children = dict.fromkeys(self._above, 0)
        for run in self._order:
            above = self._above[run]
            if above is not None:
                children[above] += 1
                for tenant, amounts in self._amounts[run].items():
                    held = self._held(above, tenant)
                    for place in range(_WHOLE):
                        held[place] += amounts[place]
        endings = self._endings()
        return [self._figures(run, children[run], endings.get(run)) for run in sorted(self._above)]

    def _take_calls(self) -> None:
        parent, nearest, marked = self._ladder.parent, self._ladder.run_at_or_above, self._ladder.marked
        for span_id, entry in self._standing.items():
            if entry.role != ROLE_CALL:
                continue
            run = nearest(span_id if span_id in marked else parent(span_id))  # the parent's is known, where it has other calls
            if run is not None:
                held = self._held(run, entry.tenant)
                cost = entry.cost_pico or 0
                held[_CALLS] += 1
                held[_FAILED] += entry.error_type is not None
                held[_UNPRICED] += entry.cost_pico is None
                held[_TOKENS] += total_tokens(entry.usage)
                held[_COST] += cost
                held[_OWN_CALLS] += 1
                held[_OWN_COST] += cost

    def _take_tools(self) -> None:
        """A tool is whose its span is."""
        for span_id, sighting in self._ladder.marked.items():
            run = self._ladder.run_above(span_id) if sighting.kind == TOOL else None
            if run is not None and not self._ladder.repeats(sighting):
                held = self._held(run, self._tenant(span_id))
                held[_TOOLS] += 1
                held[_FAILED_TOOLS] += sighting.error_type is not None

    def _held(self, run: str, tenant: str) -> list[int]:
        by_tenant = self._amounts[run]
        found = by_tenant.get(tenant)
        if found is None:
            found = by_tenant[tenant] = [0] * len(NOTHING)
        return found

    def _tenant(self, span_id: str) -> str:
        entry = self._standing.get(span_id)
        return self._said.tenant(span_id) if entry is None else entry.tenant

    def _endings(self) -> dict[str, str]:
        """Why the last answer of each run's own tenant ended; what another span of the same call tells counts where the call stands."""
        if not any(map(_finish, self._sightings)):
            return {}
        last: dict[str, tuple[tuple[int, str, bool, str], str]] = {}
        for sighting in self._sightings:
            if not sighting.finish_reasons:
                continue
            call = self._standing.get(counted_at(sighting, self._standing))
            run = None if call is None or call.role != ROLE_CALL else self._ladder.run_at_or_above(call.span_id)
            if run is None or call is None or call.tenant != self._tenants[run]:
                continue
            ended_ns = call.started_ns + (call.duration_ns or 0)
            place = ended_ns, call.span_id, call.span_id == sighting.span_id, sighting.span_id
            if run not in last or last[run][0] < place:
                last[run] = place, sighting.finish_reasons[-1]
        return {run: reason for run, (_, reason) in last.items()}

    def _figures(self, run: str, children: int, ending: str | None) -> RunFigures:
        sighting, said, tenant = self._ladder.marked[run], self._said.of(run), self._tenants[run]
        elsewhere = {name: Amounts(*values) for name, values in self._amounts[run].items() if name != tenant and any(values)}
        entry = self._standing.get(run)
        known = said.get if entry is None else {**said, **_attributed(entry)}.get
        return RunFigures(
            run,
            self._above[run],
            tenant,
            sighting.kind,
            sighting.name,
            known("agent"),
            known("workflow"),
            known("service"),
            known("environment"),
            known("user"),
            known("session"),
            sighting.start_ns,
            sighting.end_ns - sighting.start_ns,
            sighting.error_type,
            sighting.finish_reasons[-1] if sighting.finish_reasons else ending,
            children,
            Amounts(*self._amounts[run][tenant]),
            elsewhere,
        )


def counted_at(sighting: Sighting, standing: Mapping[str, Entry]) -> str:
    """The span in whose call a sighting counts, as far as it lies in the same trace; else the span itself."""
    entry = standing.get(sighting.span_id)
    if entry is None or entry.counted_in is None or entry.counted_in[0] != sighting.trace_id:
        return sighting.span_id
    return entry.counted_in[1]


_ATTRIBUTED: Final = ("agent", "workflow", "service", "environment", "user", "session")


def _attributed(entry: Entry) -> dict[str, str]:
    return {name: value for name in _ATTRIBUTED if (value := getattr(entry, name)) is not None}


def _lowest_first(above: Mapping[str, str | None]) -> list[str]:
    """The runs, each before the one that it lies in.

    Raises:
        Circle: runs lie in each other.
    """
    depths: dict[str, int] = {}
    for run in above:
        passed: list[str] = []
        at: str | None = run
        while at is not None and at not in depths:
            passed.append(at)
            if len(passed) > len(above):
                raise Circle
            at = above[at]
        depth = -1 if at is None else depths[at]
        for one in reversed(passed):
            depth += 1
            depths[one] = depth
    return sorted(above, key=depths.__getitem__, reverse=True)


class _Said:
    """The attribution of runs' and tools' own spans, as `genai.inheritance` has it for every span, walked for these alone."""

    def __init__(self, ladder: Ladder, sightings: Sequence[Sighting]) -> None:
        self._ladder = ladder
        self._known: dict[str, dict[str, str]] = {}
        self._explicit: dict[str, Mapping[str, str]] = {}
        self._sightings = dict(zip(map(_span_id, sightings), sightings, strict=True))
        if ladder.circles or GRAPH_NODE in map(_operation, sightings):
            self._known = {span_id: said for (_, span_id), said in resolve(sightings).items()}

    def of(self, span_id: str) -> dict[str, str]:
        """The whole attribution of a span."""
        found = self._known.get(span_id)
        if found is None:
            sighting = self._sightings[span_id]
            found = self._known[span_id] = completed(sighting.defaults, self._heard(span_id), None, sighting.speaks_for)
        return found

    def tenant(self, span_id: str) -> str:
        """Of the whole attribution the tenant."""
        if span_id in self._known:
            return self._known[span_id]["tenant"]
        sighting = self._sightings[span_id]
        return tenant_of(self._heard(span_id).get("tenant", sighting.defaults.get("tenant")), sighting.speaks_for)

    def _heard(self, span_id: str) -> Mapping[str, str]:
        """What the span and its ancestors say."""
        known, passed = self._explicit, []
        at: str | None = span_id
        while at is not None and at in self._sightings and at not in known:
            passed.append(at)
            at = self._ladder.parent(at)
        said: Mapping[str, str] = {} if at is None else known.get(at, {})
        for one in reversed(passed):
            own = self._sightings[one].attribution
            said = known[one] = ({**said, **own} if said else own) if own else said
        return said
