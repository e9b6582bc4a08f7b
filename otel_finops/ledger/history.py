"""The history of one span in the ledger: every entry of it in order, what each changed, and who asked for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from otel_finops.genai.sighting import Sighting
from otel_finops.ledger.correction_runs import CorrectionRun, run_of_block
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.journal import standing_sighting, traces_with_id
from otel_finops.ledger.rows import entries_about_span
from otel_finops.ledger.standing import Standing, fold, follow
from otel_finops.ledger.tenants import Tenants, restricted
from otel_finops.store.unit_of_work import Transaction


class Step(NamedTuple):
    """One entry of a span.

    Attributes:
        before, after: what stood of the span without and with it; None for nothing.
        run: the run of corrections that wrote it, None for settling.
    """

    entry: Entry
    before: Entry | None
    after: Entry | None
    run: CorrectionRun | None


class History(NamedTuple):
    """A span's entries.

    Attributes:
        steps: in the order in which they were booked, one at least.
        sighting: the span as it was seen, None when the journal no longer holds it.
        counted: standing rows of the same trace that are counted in this span.
        realms: in which there are entries of this span that are to be seen; this is the first, or the one asked for.
    """

    steps: Sequence[Step]
    sighting: Sighting | None
    counted: Sequence[Entry]
    realms: Sequence[str]


def history_of(transaction: Transaction, trace_id: str, span_id: str, tenants: Tenants, realm: str | None = None) -> History | None:
    """The history of a span; None when there is no entry of it, or its tenant is not to be seen.

    A span belongs to the tenant with which it stands, else with which it stood last: its whole history is that tenant's.
    """
    traces = {trace.realm: trace for trace in traces_with_id(transaction, trace_id)}
    found = {name: entries_about_span(transaction, trace.trace_no, span_id) for name, trace in traces.items()}
    allowed = restricted(tenants)
    steps = {name: _steps(transaction, [entry for entry in entries if entry.span_id == span_id]) for name, entries in found.items()}
    realms = [name for name in sorted(steps) if steps[name] and (allowed is None or _owner(steps[name]) in allowed)]
    chosen = realm or (realms[0] if realms else None)
    if chosen not in realms or chosen is None:
        return None
    counted = [net for net in fold(found[chosen]).values() if net.counted_in == (trace_id, span_id) and _may(net, allowed)]
    return History(steps[chosen], standing_sighting(transaction, traces[chosen], span_id), counted, realms)


def _may(entry: Entry, allowed: Collection[str] | None) -> bool:
    return allowed is None or entry.tenant in allowed


def _owner(steps: Sequence[Step]) -> str:
    last = steps[-1]
    return (last.after or last.before or last.entry).tenant


def _steps(transaction: Transaction, entries: Sequence[Entry]) -> list[Step]:
    state: Standing | None = None
    steps = []
    for entry in entries:
        before = None if state is None else state.net
        state = follow(state, entry)
        steps.append(Step(entry, before, state.net, run_of_block(transaction, entry.shard, entry.block_seq)))
    return steps


CHANGES_TOLD: Final = (
    "tenant", "role", "counted_in", "operation", "provider", "request_model", "response_model", "usage", "service_tier", "region",
    "error_type", "cost_pico", "cost_method", "price_key", "price_version", "unpriced_reason", "agent", "step", "tool", "workflow", "user",
    "session", "cost_center", "purpose", "service", "environment",
)  # fmt: skip
"""What may change from one state to the next and is told."""


def changed(step: Step) -> list[str]:
    """Which of `CHANGES_TOLD` an entry changed; nothing where nothing stood before or after."""
    if step.before is None or step.after is None:
        return []
    return [name for name in CHANGES_TOLD if getattr(step.before, name) != getattr(step.after, name)]
