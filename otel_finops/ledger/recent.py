"""Traces that were journalled or settled a moment ago, kept in memory so that settling need not read and parse them again.

A trace is kept with its version, which every batch that adds a span raises: what is found here under the version that the
database names is what the journal holds, whoever wrote last. Nothing depends on what is kept, only how fast it is found.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from otel_finops.base.limits import RECENT_SPANS_MAX
from otel_finops.genai.sighting import Sighting


class Growth(NamedTuple):
    """What one commit added to a trace.

    Attributes:
        trace_no, trace_id: the trace's number and lower-case hex id; numbers of pruned traces may be given again.
        since: the version that the spans were added to, 0 for a new trace.
        added: the new spans in the order of their ids, users and sessions as references; None when they do not tell what
            stands, because one of them is a further version of another.
    """

    trace_no: int
    trace_id: str
    since: int
    added: list[Sighting] | None


class _Kept(NamedTuple):
    version: int
    trace_id: str
    sightings: list[Sighting]


class RecentTraces:
    """A bounded memory of whole traces, least recently used first out. Safe to use from many threads."""

    def __init__(self, spans_max: int = RECENT_SPANS_MAX) -> None:
        self._spans_max = spans_max
        self._spans = 0
        self._traces: OrderedDict[int, _Kept] = OrderedDict()
        self._guard = threading.Lock()

    def find(self, trace_no: int, version: int, trace_id: str) -> list[Sighting] | None:
        """Every span of the trace as it stands, in the order of span ids; None when it is not kept in this version."""
        with self._guard:
            kept = self._traces.get(trace_no)
            if kept is None or kept.version != version or kept.trace_id != trace_id:
                return None
            self._traces.move_to_end(trace_no)
            return kept.sightings

    def keep(self, trace_no: int, version: int, sightings: list[Sighting]) -> None:
        """Keep what was read of the journal at a version."""
        if sightings:
            with self._guard:
                self._put(trace_no, _Kept(version, sightings[0].trace_id, sightings))

    def forget(self, trace_nos: Iterable[int]) -> None:
        """Make room: these traces are settled, and few of them are read again."""
        with self._guard:
            for trace_no in trace_nos:
                self._drop(trace_no)

    def grow(self, growths: Iterable[Growth]) -> None:
        """Follow a commit; a trace of which not all earlier spans are kept is forgotten."""
        with self._guard:
            for trace_no, trace_id, since, added in growths:
                before = self._drop(trace_no)
                if added is None:
                    continue
                if since == 0:
                    self._put(trace_no, _Kept(1, trace_id, added))
                elif before is not None and before.version == since and before.trace_id == trace_id:
                    self._put(trace_no, _Kept(since + 1, trace_id, _merged(before.sightings, added)))

    def _put(self, trace_no: int, kept: _Kept) -> None:
        self._drop(trace_no)
        if len(kept.sightings) > self._spans_max:
            return
        self._traces[trace_no] = kept
        self._spans += len(kept.sightings)
        while self._spans > self._spans_max:
            _, oldest = self._traces.popitem(last=False)
            self._spans -= len(oldest.sightings)

    def _drop(self, trace_no: int) -> _Kept | None:
        kept = self._traces.pop(trace_no, None)
        if kept is not None:
            self._spans -= len(kept.sightings)
        return kept


def _merged(before: Sequence[Sighting], added: Sequence[Sighting]) -> list[Sighting]:
    return sorted((*before, *added), key=_span_id)


def _span_id(sighting: Sighting) -> str:
    return sighting.span_id
