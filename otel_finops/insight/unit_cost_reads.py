"""What unit costs are made of, read from as little as knows it: sums that are kept by trace, and lines of calls where caches were used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

import orjson

from otel_finops.base.limits import DISTINCT_SUBJECTS_MAX, SPLIT_TRACES_MAX
from otel_finops.base.money import PICO_PER_USD
from otel_finops.base.progress import tell
from otel_finops.base.times import NS_PER_DAY
from otel_finops.genai.usage import WRITE_UNITS
from otel_finops.insight.cache_savings import READ, CacheTally, Line, Pair, Savings
from otel_finops.ledger.distinct import Distinct, Key
from otel_finops.ledger.entry import ROLE_CALL, Entry
from otel_finops.ledger.rolled_usage import rolled_usage
from otel_finops.ledger.rows import entries_of_traces
from otel_finops.ledger.spend import Question, Tally, from_pruned
from otel_finops.ledger.spend_entries import changed_calls, standing_charges
from otel_finops.ledger.standing import fold
from otel_finops.ledger.tables import DIMENSIONS
from otel_finops.store.unit_of_work import Row, Transaction

_TOLD_EVERY: Final = 50_000
_LAST_NS: Final = 2**63 - 1
_TENANT: Final = ("tenant",)
_KEPT: Final = "SELECT trace_no, tenant, session_ref, user_ref, calls, cost_usd, cost_pico, started_ns, ended_ns FROM trace_sums WHERE"
_STARTED: Final = 7
_ENDED: Final = 8
_LINES: Final = (
    "SELECT provider, COALESCE(response_model, request_model), cost_lines FROM entries e WHERE cost_pico <> 0 AND cost_lines LIKE ? AND "
)
_CACHED: Final = (READ, *WRITE_UNITS)


class _Group:
    """What is found of one tenant, or of all."""

    __slots__ = ("calls", "last", "money", "subjects", "traces")

    def __init__(self) -> None:
        self.calls = self.traces = 0
        self.last = -1
        self.money = [0, 0, 0]
        self.subjects: tuple[set[str], set[str]] = (set(), set())

    def take(self, trace_no: int, subjects: tuple[str, str], calls: int, pico: int) -> None:
        """Take calls; those of a trace follow each other."""
        self.calls += calls
        self.money[0] += pico
        if trace_no != self.last:
            self.last, self.traces = trace_no, self.traces + 1
        for place, subject in enumerate(subjects):
            if subject:
                self.subjects[place].add(subject)
                self.money[place + 1] += pico

    @property
    def is_small(self) -> bool:
        """Its sessions and users can be kept in memory."""
        return max(map(len, self.subjects)) <= DISTINCT_SUBJECTS_MAX

    @property
    def distinct(self) -> Distinct:
        return Distinct(self.traces, len(self.subjects[0]), len(self.subjects[1]), *self.money)


def kept_counts(
    transaction: Transaction, question: Question, lower: int, upper: int, sums: Mapping[Key, Tally]
) -> dict[Key, Distinct] | None:
    """What `ledger.distinct.distinct_counts` finds, from the sums that are kept by trace, five times fewer rows and narrow ones.

    Args:
        sums: what there is of each group, by which it shows whether the sums by trace are of all its calls: they may have been kept for a
            part of the traces only, and live as long as their trace and not as their entries.

    Returns:
        None where they cannot tell: other keys or filters than tenants, or not all calls.
    """
    if question.filters or question.group_by not in ((), _TENANT):
        return None
    if any(amounts.calls for _, amounts in from_pruned(transaction, question, lower, upper)):
        return None
    groups: dict[Key, _Group] = {}
    split: list[int] = []
    for trace_no, rows in groupby(_kept(transaction, question, lower, upper), itemgetter(0)):
        found = list(rows)
        if all(lower <= row[_STARTED] and row[_ENDED] < upper for row in found):
            for _, tenant, session, user, calls, usd, pico, *_times in found:
                _group(groups, question, tenant).take(trace_no, (session, user), calls, usd * PICO_PER_USD + pico)
        elif len(split) < SPLIT_TRACES_MAX:
            split.append(trace_no)
        else:
            return None
    for net in _calls_of(transaction, split, question, lower, upper):
        _group(groups, question, net.tenant).take(net.trace_no, (net.session or "", net.user or ""), 1, net.cost_pico or 0)
    return {key: group.distinct for key, group in groups.items()} if _all_there(groups, sums) else None


def _kept(transaction: Transaction, question: Question, lower: int, upper: int) -> Iterator[Row]:
    """Sums of calls some of which may have started in that time, trace by trace."""
    sql = f"{_KEPT} started_ns < ? AND ended_ns >= ?"
    values: list[int | str] = [upper, lower]
    if question.tenants is not None:
        sql += f" AND tenant IN ({', '.join('?' * len(question.tenants)) or 'NULL'})"
        values += sorted(question.tenants)
    for number, row in enumerate(transaction.iterate(f"{sql} ORDER BY trace_no", values), 1):
        if number % _TOLD_EVERY == 0:
            tell("traces", number)
        yield row


def _group(groups: dict[Key, _Group], question: Question, tenant: str) -> _Group:
    key = (tenant,) if question.group_by else ()
    found = groups.get(key)
    if found is None:
        found = groups[key] = _Group()
    return found


def _calls_of(transaction: Transaction, trace_nos: Sequence[int], question: Question, lower: int, upper: int) -> list[Entry]:
    """The standing calls of these traces that started in that time, trace by trace."""
    nets = fold(entries_of_traces(transaction, trace_nos)).values()
    tenants = question.tenants
    wanted = [
        net for net in nets if net.role == ROLE_CALL and lower <= net.started_ns < upper and (tenants is None or net.tenant in tenants)
    ]
    return sorted(wanted, key=lambda net: net.trace_no)


def _all_there(groups: Mapping[Key, _Group], sums: Mapping[Key, Tally]) -> bool:
    """Whether the calls are all that there are, by number and by money, and few enough sessions and users to tell apart."""
    known = {key: (one.calls, one.cost_pico) for key, one in sums.items()}
    return known == {key: (one.calls, one.money[0]) for key, one in groups.items()} and all(one.is_small for one in groups.values())


# --- caches ----------------------------------------------------------------------------------------------------------


def cache_savings(transaction: Transaction, question: Question, lower: int, upper: int) -> dict[Pair, Savings]:
    """What caches saved by calls that started in [lower, upper), by provider and model; only days are read on which there were any."""
    found = CacheTally()
    days = _days_with_caches(transaction, question, lower, upper)
    done, expected = 0, sum(days.values())
    for day_ns in sorted(days):
        for pair, lines in _cached_lines(transaction, question, max(lower, day_ns), min(upper, day_ns + NS_PER_DAY)):
            found.add(pair, lines)
        done += days[day_ns]
        tell("calls", done, expected)
    return found.by_model()


def _days_with_caches(transaction: Transaction, question: Question, lower: int, upper: int) -> dict[int, int]:
    """About how many calls are to be read, by the start of each day (UTC) that roll-ups have tokens of caches for."""
    known = {name: allowed for name, allowed in question.filters.items() if name in DIMENSIONS}
    first, last = max(0, lower - lower % NS_PER_DAY), min(_LAST_NS - NS_PER_DAY, upper)
    days: dict[int, int] = {}
    cached = set()
    for row in rolled_usage(transaction, question.tenants, first, -(-last // NS_PER_DAY) * NS_PER_DAY, known):
        days[row.bucket_ns] = days.get(row.bucket_ns, 0) + row.calls
        if any(row.usage.get(unit) for unit in _CACHED):
            cached.add(row.bucket_ns)
    return {day_ns: calls for day_ns, calls in days.items() if day_ns in cached}


def _cached_lines(transaction: Transaction, question: Question, lower: int, upper: int) -> Iterator[tuple[Pair, Sequence[Line]]]:
    """Cost lines of standing calls that have one of a cache."""
    where, values = standing_charges(transaction, question)
    for provider, model, lines in transaction.iterate(_LINES + where, ('%["cache_%', lower, upper, lower, upper, *values)):
        yield (provider, model), orjson.loads(lines)
    for net in changed_calls(transaction, question, lower, upper):
        if net.cost_pico:
            yield (net.provider, net.response_model or net.request_model), net.cost_lines
