"""Success, failure and cost by whatever outcomes are grouped by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import GROUPS_MAX, OUTCOMES_READ_MAX
from otel_finops.base.times import format_ns
from otel_finops.insight.outcomes import Outcome, Tally

_DATE_CHARS: Final = len("2026-11-21")
GROUP_KEYS: Final[Mapping[str, Callable[[Outcome], str | None]]] = {
    "name": lambda one: one.name,
    "tenant": lambda one: one.tenant,
    "agent": lambda one: one.agent,
    "workflow": lambda one: one.workflow,
    "service": lambda one: one.service,
    "environment": lambda one: one.environment,
    "provider": lambda one: one.made_by[0],
    "model": lambda one: one.made_by[1],
    "day": lambda one: format_ns(one.at_ns)[:_DATE_CHARS],
}
"""By what outcomes can be grouped; None where it is not known, or where several models worked together."""
Key = tuple[str | None, ...]


class OutcomeReport(NamedTuple):
    """Sums over outcomes.

    Attributes:
        groups: by key, dearest first.
        total: of all.
        without_cost: outcomes of which nothing is booked; they are in no sum.
    """

    groups: Sequence[tuple[Key, Tally]]
    total: Tally
    without_cost: int


def report_of(outcomes: Iterable[Outcome], group_by: Sequence[str] = ()) -> OutcomeReport:
    """The report.

    Raises:
        BadInput: an unknown key, more outcomes than `OUTCOMES_READ_MAX`, or more groups than `GROUPS_MAX`.
    """
    unknown = [name for name in group_by if name not in GROUP_KEYS]
    if unknown:
        raise BadInput(f"outcomes cannot be grouped by {unknown[0][:40]!r}; use one of {', '.join(GROUP_KEYS)}")
    keys = [GROUP_KEYS[name] for name in group_by]
    tallies: dict[Key, Tally] = {}
    total, without_cost = Tally(), 0
    for number, one in enumerate(outcomes):
        if number >= OUTCOMES_READ_MAX:
            raise BadInput(f"more than {OUTCOMES_READ_MAX} outcomes; narrow the time, or ask for one kind or tenant")
        if one.share is None:
            without_cost += 1
            continue
        key = tuple(read(one) for read in keys)
        if key not in tallies and len(tallies) >= GROUPS_MAX:
            raise BadInput(f"more than {GROUPS_MAX} groups; narrow the time, or group by fewer keys")
        tallies[key] = tallies.get(key, Tally()).with_one(one.success, one.share)
        total = total.with_one(one.success, one.share)
    ordered = sorted(tallies.items(), key=lambda item: (-item[1].whole.pico, tuple(name or "" for name in item[0])))
    return OutcomeReport(ordered, total, without_cost)
