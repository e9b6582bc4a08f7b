"""Estimates: calls whose usage nobody told are charged what such calls used to take, by a run and never at arrival.

The statistic is the median, unit by unit, over the last calls of the same tenant, provider, model, operation and purpose whose
usage was told, in the days up to the end of the call's own day (UTC). It depends on what stands in the ledger and on nothing else.
Fewer calls than a sample must have give no estimate. A part is never more than its whole, since medians keep the order of what
they are taken of. When the usage comes late, settling takes the estimate back and charges what was used.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from otel_finops.base.limits import ESTIMATE_SAMPLES_MAX, ESTIMATES_REMEMBERED_MAX
from otel_finops.base.times import NS_PER_DAY, format_ns
from otel_finops.genai.sighting import Decision
from otel_finops.genai.usage import Usage
from otel_finops.ledger.booking import MISSING, Booking, repriced
from otel_finops.ledger.corrections import Corrected, Corrector, Selection
from otel_finops.ledger.entry import ESTIMATED, ROLE_CALL, Entry
from otel_finops.ledger.rows import entries_of_traces
from otel_finops.ledger.standing import fold
from otel_finops.store.unit_of_work import Transaction

REASONS: Final = frozenset({"no_usage", "no_usage_stream", "no_usage_timeout"})
"""Why a call is unpriced that can be estimated: what it used is not known, and all else is."""
RULE: Final = "estimate.median"
DAYS: Final = 30
SAMPLES: Final = 20
PATIENCE_DAYS: Final = 1.0
"""How long a run that nobody asked for leaves a call its time for its usage to come."""

_Place: TypeAlias = tuple[int, str]
_Kind: TypeAlias = tuple[str, str | None, str | None, str | None, str | None, int]
"""What calls must have in common: tenant, provider, model, operation, purpose, start of the day."""

_TOLD: Final = (
    "SELECT trace_no, span_id FROM entries WHERE tenant = ? AND started_ns >= ? AND started_ns < ? AND role = 'call' "
    "AND kind <> 'reversal' "
    "AND usage_source = 'reported' AND error_type IS NULL AND COALESCE(response_model, request_model) = ? "
    "AND COALESCE(provider, '') = ? AND COALESCE(operation, '') = ? AND COALESCE(purpose, '') = ? "
    "ORDER BY started_ns DESC, trace_id, span_id, shard, block_seq, idx LIMIT ? OFFSET ?"
)


class Habit(NamedTuple):
    """What such calls take: the median of `calls` of them, and the first and last day looked at."""

    usage: Usage
    calls: int
    first_day: str
    last_day: str

    @property
    def rule(self) -> str:
        """Where the estimate comes from, as the row's `usage_rule`."""
        return f"{RULE}: {self.calls} calls of this tenant, model, operation and purpose from {self.first_day} to {self.last_day}"


class Habits:
    """Looks habits up, and remembers them for the length of a run.

    Args:
        days: how many days before the call's own day are looked at.
        samples: how few calls give no estimate.
    """

    def __init__(self, days: int = DAYS, samples: int = SAMPLES) -> None:
        self._days = days
        self._samples = samples
        self._known: OrderedDict[_Kind, Habit | None] = OrderedDict()

    def learn(self, transaction: Transaction, nets: Sequence[Entry]) -> None:
        """Read what these calls' habits are."""
        kinds = dict.fromkeys(map(_kind_of, nets))
        for kind in kinds:
            if kind not in self._known:
                self._known[kind] = self._habit(transaction, kind)
            self._known.move_to_end(kind)
        while len(self._known) > max(ESTIMATES_REMEMBERED_MAX, len(kinds)):
            self._known.popitem(last=False)

    def of(self, net: Entry) -> Habit | None:
        """The habit of a call that was among those learnt last; None when too few such calls are known."""
        return self._known[_kind_of(net)]

    def _habit(self, transaction: Transaction, kind: _Kind) -> Habit | None:
        *_, day_ns = kind
        from_ns = day_ns - self._days * NS_PER_DAY
        told = _told(transaction, kind, from_ns)
        if len(told) < max(self._samples, 1):
            return None
        return Habit(_median(told), len(told), format_ns(from_ns)[:10], format_ns(day_ns)[:10])


def _kind_of(net: Entry) -> _Kind:
    model = net.response_model or net.request_model
    return net.tenant, net.provider, model, net.operation, net.purpose, net.started_ns - net.started_ns % NS_PER_DAY


def _told(transaction: Transaction, kind: _Kind, from_ns: int) -> list[Usage]:
    """What stands of the last calls of a kind whose usage was told, at most `ESTIMATE_SAMPLES_MAX`, however often they were revised."""
    tenant, provider, model, operation, purpose, day_ns = kind
    if model is None:
        return []
    asked = (tenant, from_ns, day_ns + NS_PER_DAY, model, provider or "", operation or "", purpose or "", ESTIMATE_SAMPLES_MAX)
    told: dict[_Place, Usage | None] = {}
    looked_at = 0
    while len(found := [usage for usage in told.values() if usage is not None]) < ESTIMATE_SAMPLES_MAX:
        rows = [(trace_no, bytes(span_id).hex()) for trace_no, span_id in transaction.execute(_TOLD, (*asked, looked_at))]
        if not rows:
            break
        looked_at += len(rows)
        stand = {(net.trace_no, net.span_id): net for net in fold(entries_of_traces(transaction, {place[0] for place in rows})).values()}
        for place in rows:
            told.setdefault(place, _usage_told(stand.get(place), kind))
    return found[:ESTIMATE_SAMPLES_MAX]


def _usage_told(net: Entry | None, kind: _Kind) -> Usage | None:
    """The usage of what stands for a span; None where nothing does, or something else than what was looked for."""
    if net is None or net.role != ROLE_CALL or net.usage_source != "reported" or net.error_type is not None:
        return None
    return net.usage if _kind_of(net)[:-1] == kind[:-1] else None


def _median(told: Sequence[Usage]) -> Usage:
    """The lower median of each unit; who does not name a unit used none of it."""
    middle = (len(told) - 1) // 2
    units = dict.fromkeys(unit for usage in told for unit in usage)
    medians = {unit: sorted(usage.get(unit, 0) for usage in told)[middle] for unit in units}
    return {unit: count for unit, count in medians.items() if count}


class _UsualUsage:
    """Every call without usage at the price of its habit."""

    verb = "estimate"

    def __init__(self, habits: Habits) -> None:
        self._habits = habits

    def wants(self, net: Entry) -> bool:
        """Only what is unpriced because its usage is missing."""
        return net.cost_pico is None and net.usage_source == MISSING and net.unpriced_reason in REASONS

    def prepare(self, transaction: Transaction, nets: Sequence[Entry]) -> None:
        """Read the habits of these calls."""
        self._habits.learn(transaction, nets)

    def target(self, booking: Booking, decision: Decision | None, net: Entry) -> Entry | None:
        """The row with the usage of its habit; as it stands where there is none, that has no price, or rules say what the call costs."""
        if decision is None or not booking.same_inputs(booking.fresh(decision, net.trace_no), net):
            return None
        habit = self._habits.of(net)
        if habit is None or not habit.usage:
            return net
        guess = booking.estimate(decision, net.trace_no, habit.usage, habit.rule)
        if guess.cost_method != ESTIMATED:
            return net
        return repriced(net, guess)._replace(usage=guess.usage, usage_source=guess.usage_source, usage_rule=guess.usage_rule)


def estimate(
    corrector: Corrector, selection: Selection, habits: Habits | None = None, *, who: str, why: str, dry_run: bool = False
) -> Corrected:
    """Charge calls without usage by what such calls used to take; a second run leaves what was estimated as it is.

    Raises:
        Busy, BadInput: see `Corrector.run`.
    """
    chosen = selection._replace(unpriced_only=True)
    return corrector.run(_UsualUsage(habits or Habits()), chosen, who=who, why=why, dry_run=dry_run)
