"""One run in full: its steps, tools, calls and failures, the runs below it at every depth, and the runs that links lead to.

All of it is read off the cost tree of the trace, so that the sums are the tree's. Nothing recurses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from otel_finops.base.limits import TREE_NODES_MAX
from otel_finops.genai.sighting import TOOL, Sighting, SpanKey
from otel_finops.genai.usage import total_tokens
from otel_finops.ledger.entry import ROLE_CALL, Entry
from otel_finops.trees.cost_tree import Grown, TreeSpan
from otel_finops.trees.figures import is_run, tool_name

_NONE: Final = -1


class RunLine(NamedTuple):
    """A run of a trace with its sums: over everything below it, and (`own_`) over what lies in no run below.

    Attributes:
        parent_run: span id of the nearest run above it, None for none (or none that is to be seen).
        depth: how many runs of those that are shown lie above it.
        agent, workflow: attribution.
        finish_reason: what its span says, else why its own last answer ended.
    """

    span_id: str
    parent_run: str | None
    depth: int
    kind: str
    name: str
    agent: str | None
    workflow: str | None
    started_ns: int
    duration_ns: int
    error_type: str | None
    finish_reason: str | None
    cost_pico: int
    own_pico: int
    calls: int
    own_calls: int
    tokens: int
    failed_calls: int
    unpriced_calls: int
    tools: int
    failed_tools: int


class RunStep(NamedTuple):
    """The calls of one step of one agent within a run; by first appearance."""

    step: str | None
    agent: str | None
    pico: int
    calls: int
    tokens: int
    failed_calls: int
    started_ns: int


class RunTool(NamedTuple):
    """How a tool was used within a run.

    Attributes:
        uses, failures: how often; a use that two libraries saw counts once.
        duration_ns: of all uses together; uses at the same time count each.
        pico, calls: of the model calls that lie below the uses.
        errors: how often it failed, by error.
    """

    tool: str
    uses: int
    failures: int
    duration_ns: int
    pico: int
    calls: int
    errors: Mapping[str, int]


class RunCall(NamedTuple):
    """A standing call within a run.

    Attributes:
        run: span id of the nearest run above.
        finish_reasons: as any span of the call says.
    """

    entry: Entry
    run: str
    name: str | None
    finish_reasons: tuple[str, ...]


class RunFailure(NamedTuple):
    """Something within a run that failed; kind is call, tool, agent or workflow."""

    span_id: str
    kind: str
    name: str | None
    error_type: str
    started_ns: int


class RunView(NamedTuple):
    """A run in full; lists in the order of the tree, each bounded by `limits.TREE_NODES_MAX`.

    Attributes:
        line: the run itself.
        spans: all that it is made of, its own span included.
        links: what its spans link to.
        omitted: by list, how many were left out; sums cover them.
    """

    line: RunLine
    steps: Sequence[RunStep]
    tools: Sequence[RunTool]
    calls: Sequence[RunCall]
    failures: Sequence[RunFailure]
    runs: Sequence[RunLine]
    spans: frozenset[str]
    links: Sequence[SpanKey]
    omitted: Mapping[str, int]


def find_run(grown: Grown, span_id: str) -> int | None:
    """The position of a run's span; None when there is no such span, or it is no run's."""
    for at, (_, known, _, _, sighting, _) in enumerate(grown.spans):
        if known == span_id and is_run(sighting):
            return at
    return None


def run_at_or_above(grown: Grown, at: int) -> int:
    """The position of the nearest run at or above a span, -1 for none."""
    while at != _NONE:
        if is_run(grown.spans[at][4]):
            return at
        at = grown.forest.parents[at]
    return _NONE


def runs_below(grown: Grown, at: int) -> Iterator[int]:
    """The positions of the uppermost runs below a span."""
    skip_from: int | None = None
    for position, depth in _below(grown, at):
        if skip_from is not None and depth > skip_from:
            continue
        skip_from = None
        if position != at and is_run(grown.spans[position][4]):
            skip_from = depth
            yield position


Names: TypeAlias = Mapping[str, tuple[str | None, str | None, str | None]]
"""Of runs by span id: agent and workflow as they inherit them, and why their last answer ended."""


def view(grown: Grown, at: int, names: Names) -> RunView:
    """The run at a position; of runs that are not in `names` it is told what the spans themselves say."""
    return _Reading(grown, at, names).view()


def _below(grown: Grown, at: int) -> Iterator[tuple[int, int]]:
    """A span and everything below it, with depths, parents before children."""
    order = iter(grown.order)
    top = next(depth for position, depth in order if position == at)
    yield at, top
    for position, depth in order:
        if depth <= top:
            return
        yield position, depth


class _Tally:
    """What one run adds up to."""

    __slots__ = ("calls", "ending", "failed_calls", "failed_tools", "own_calls", "own_pico", "tools", "unpriced_calls")

    def __init__(self) -> None:
        self.calls = self.own_calls = self.own_pico = self.failed_calls = self.unpriced_calls = self.tools = self.failed_tools = 0
        self.ending: tuple[tuple[int, str], str] | None = None

    def take(self, below: _Tally) -> None:
        """Add a run right below."""
        self.failed_calls += below.failed_calls
        self.unpriced_calls += below.unpriced_calls
        self.tools += below.tools
        self.failed_tools += below.failed_tools

    def count(self, entry: Entry, reasons: tuple[str, ...]) -> None:
        """Take one of the run's own calls."""
        self.own_calls += 1
        self.own_pico += entry.cost_pico or 0
        self.failed_calls += entry.error_type is not None
        self.unpriced_calls += entry.cost_pico is None
        if reasons:
            place = entry.started_ns + (entry.duration_ns or 0), entry.span_id
            if self.ending is None or self.ending[0] < place:
                self.ending = place, reasons[-1]


class _Reading:
    """Reads one run off a tree."""

    def __init__(self, grown: Grown, at: int, names: Names) -> None:
        self._grown = grown
        self._at = at
        self._names = names
        self._said = _finish_reasons(grown.spans)
        self._run: dict[int, int] = {}
        self._mark: dict[int, int] = {}
        self._tallies: dict[int, _Tally] = {}
        self._above: dict[int, int] = {}
        self._depths: dict[int, int] = {}
        self._calls: list[RunCall] = []
        self._failures: list[RunFailure] = []
        self._tools: dict[str, list[int]] = {}
        self._errors: dict[str, Counter[str]] = {}

    def view(self) -> RunView:
        for position, _ in _below(self._grown, self._at):
            self._visit(position)
        for position in reversed(list(self._tallies)):
            above = self._above.get(position)
            if above is not None:
                self._tallies[above].take(self._tallies[position])
        runs = [self._line(position) for position in self._tallies]
        spans = [self._grown.spans[position] for position in self._run]
        sizes = {"calls": len(self._calls), "failures": len(self._failures), "runs": len(runs) - 1}
        return RunView(
            runs[0],
            list(_steps(self._calls)),
            [_tool(name, sums, self._errors[name]) for name, sums in self._tools.items()],
            self._calls[:TREE_NODES_MAX],
            self._failures[:TREE_NODES_MAX],
            runs[1 : TREE_NODES_MAX + 1],
            frozenset(span[1] for span in spans),
            [link for *_, sighting, _ in spans if sighting is not None for link in sighting.links],
            {name: size - TREE_NODES_MAX for name, size in sizes.items() if size > TREE_NODES_MAX},
        )

    def _visit(self, at: int) -> None:
        """Take a span whose parent was visited before."""
        *_, sighting, entry = self._grown.spans[at]
        parent = self._grown.forest.parents[at]
        run, mark = (_NONE, _NONE) if at == self._at else (self._run[parent], self._mark[parent])
        if sighting is not None and is_run(sighting):
            self._enter(at, run)
            run = mark = at
            if at != self._at and sighting.error_type is not None:
                self._failed(sighting, sighting.error_type)
        elif sighting is not None and sighting.kind == TOOL:
            if not self._repeats(sighting, mark):
                self._use(at, sighting, self._tallies[run])
            mark = at
        if entry is not None and entry.role == ROLE_CALL:
            self._call(at, sighting, entry, run)
        self._run[at], self._mark[at] = run, mark

    def _enter(self, at: int, above: int) -> None:
        self._tallies[at] = _Tally()
        self._depths[at] = 0
        if above != _NONE:
            self._above[at] = above
            self._depths[at] = self._depths[above] + 1

    def _repeats(self, tool: Sighting, mark: int) -> bool:
        outer = self._grown.spans[mark][4] if mark != _NONE else None
        return outer is not None and outer.kind == TOOL and tool_name(outer) == tool_name(tool)

    def _use(self, at: int, tool: Sighting, tally: _Tally) -> None:
        name, sums = tool_name(tool), self._grown.sums
        found = self._tools.setdefault(name, [0] * 5)
        errors = self._errors.setdefault(name, Counter())
        failed = tool.error_type is not None
        amounts = (1, int(failed), tool.end_ns - tool.start_ns, sums.pico[at], sums.calls[at])
        found[:] = [held + more for held, more in zip(found, amounts, strict=True)]
        tally.tools += 1
        if tool.error_type is not None:
            tally.failed_tools += 1
            errors[tool.error_type] += 1
            self._failed(tool, tool.error_type)

    def _call(self, at: int, sighting: Sighting | None, entry: Entry, run: int) -> None:
        span_id = self._grown.spans[at][1]
        name = None if sighting is None else sighting.name
        reasons = self._said.get(span_id, ())
        self._tallies[run].count(entry, reasons)
        self._calls.append(RunCall(entry, self._grown.spans[run][1], name, reasons))
        if entry.error_type is not None:
            self._failures.append(RunFailure(span_id, "call", name, entry.error_type, entry.started_ns))

    def _failed(self, sighting: Sighting, error_type: str) -> None:
        self._failures.append(RunFailure(sighting.span_id, sighting.kind, sighting.name, error_type, sighting.start_ns))

    def _line(self, at: int) -> RunLine:
        started_ns, span_id, _, _, sighting, _ = self._grown.spans[at]
        assert sighting is not None
        sums, tally, above = self._grown.sums, self._tallies[at], self._above.get(at)
        parent = run_at_or_above(self._grown, self._grown.forest.parents[at]) if above is None else above
        said = sighting.attribution.get
        ending = None if tally.ending is None else tally.ending[1]
        agent, workflow, ending = self._names.get(span_id) or (said("agent"), said("workflow"), ending)
        return RunLine(
            span_id,
            None if parent == _NONE else self._grown.spans[parent][1],
            self._depths[at],
            sighting.kind,
            sighting.name,
            agent,
            workflow,
            started_ns,
            sighting.end_ns - sighting.start_ns,
            sighting.error_type,
            sighting.finish_reasons[-1] if sighting.finish_reasons else ending,
            sums.pico[at],
            tally.own_pico,
            sums.calls[at],
            tally.own_calls,
            sums.tokens[at],
            tally.failed_calls,
            tally.unpriced_calls,
            tally.tools,
            tally.failed_tools,
        )


def _tool(name: str, sums: Sequence[int], errors: Mapping[str, int]) -> RunTool:
    uses, failures, duration_ns, pico, calls = sums
    return RunTool(name, uses, failures, duration_ns, pico, calls, dict(errors))


def _finish_reasons(spans: Sequence[TreeSpan]) -> dict[str, tuple[str, ...]]:
    """Why the answers of each call ended: as its span says, else as another span of the same call does, the first by id."""
    own: dict[str, tuple[str, ...]] = {}
    others: dict[str, tuple[str, tuple[str, ...]]] = {}
    for *_, sighting, entry in spans:
        if sighting is None or not sighting.finish_reasons:
            continue
        if entry is None or entry.role == ROLE_CALL or entry.counted_in is None:
            own[sighting.span_id] = sighting.finish_reasons
        elif entry.counted_in[0] == sighting.trace_id:
            told = sighting.span_id, sighting.finish_reasons
            others[entry.counted_in[1]] = min(told, others.get(entry.counted_in[1], told))
    return {span_id: reasons for span_id, (_, reasons) in others.items()} | own


def _steps(calls: Sequence[RunCall]) -> Iterator[RunStep]:
    """By when they began."""
    totals: dict[tuple[str | None, str | None], list[int]] = {}
    for call in calls:
        entry = call.entry
        total = totals.setdefault((entry.step, entry.agent), [0, 0, 0, 0, entry.started_ns])
        total[0] += entry.cost_pico or 0
        total[1] += 1
        total[2] += total_tokens(entry.usage)
        total[3] += entry.error_type is not None
        total[4] = min(total[4], entry.started_ns)
    for key in sorted(totals, key=lambda key: (totals[key][4], key[0] or "", key[1] or "")):
        pico, count, tokens, failed, started_ns = totals[key]
        yield RunStep(*key, pico, count, tokens, failed, started_ns)
