"""How many traces, sessions and users calls belong to, and what the calls of each cost, straight from the entries.

Of calls whose entries were pruned nothing is counted, and nothing of their cost: parts and whole belong together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from otel_finops.base.errors import BadInput
from otel_finops.base.limits import DISTINCT_SUBJECTS_MAX, GROUPS_MAX
from otel_finops.ledger.entry import Entry
from otel_finops.ledger.exact_sum import SUM_PART, exact_sum
from otel_finops.ledger.spend import Question
from otel_finops.ledger.spend_entries import changed_calls, grouped, of_entry, standing_charges
from otel_finops.store.unit_of_work import Transaction

Key: TypeAlias = tuple[str, ...]
_SUBJECTS: Final = ("session_ref", "user_ref")


class Distinct(NamedTuple):
    """Of one group: `trace_pico` is what the calls cost, `session_pico` those that name a session, `user_pico` those that name a user."""

    traces: int
    sessions: int
    users: int
    trace_pico: int
    session_pico: int
    user_pico: int


class _Found:
    """What is found of one group."""

    __slots__ = ("money", "subjects", "trace_pico", "traces")

    def __init__(self) -> None:
        self.traces = self.trace_pico = 0
        self.subjects: tuple[set[str], set[str]] = (set(), set())
        self.money = [0, 0]

    @property
    def distinct(self) -> Distinct:
        return Distinct(self.traces, len(self.subjects[0]), len(self.subjects[1]), self.trace_pico, *self.money)


def distinct_counts(transaction: Transaction, question: Question, lower: int, upper: int) -> dict[Key, Distinct]:
    """By the question's keys, '' for not known, of standing calls that started in [lower, upper). Times are no keys here.

    Raises:
        BadInput: too many groups, or more sessions or users than are kept in memory.
    """
    found: dict[Key, _Found] = {}
    where, values = standing_charges(transaction, question)
    params = (lower, upper, lower, upper, *values)
    keys = [grouped(name) for name in question.group_by]
    for *key, traces, whole, rest in _grouped_rows(transaction, keys, f"COUNT(DISTINCT trace_no), {exact_sum('cost_pico')}", where, params):
        if traces:
            one = _of(found, key)
            one.traces += int(traces)
            one.trace_pico += _pico(whole, rest)
    named = f"{where} AND ({' OR '.join(f'{column} IS NOT NULL' for column in _SUBJECTS)})"
    for *key, session, user, whole, rest in _grouped_rows(transaction, [*keys, *_SUBJECTS], exact_sum("cost_pico"), named, params):
        _add(_of(found, key), (session, user), _pico(whole, rest))
    for key, traces_of_key in _add_changed(found, changed_calls(transaction, question, lower, upper), question.group_by).items():
        found[key].traces += len(traces_of_key)
    return {key: counted.distinct for key, counted in found.items()}


def _grouped_rows(transaction: Transaction, keys: Collection[str], sums: str, where: str, params: tuple[Any, ...]) -> Iterator[Any]:
    by = f" GROUP BY {', '.join(str(place + 1) for place in range(len(keys)))}" if keys else ""
    return transaction.iterate(f"SELECT {', '.join((*keys, sums))} FROM entries e WHERE {where}{by}", params)


def _add_changed(found: dict[Key, _Found], calls: Iterator[Entry], group_by: Collection[str]) -> dict[Key, set[int]]:
    """Add the calls of changed traces, which the sums above leave out; returns the traces of each group."""
    traces: dict[Key, set[int]] = {}
    for net in calls:
        key = tuple(of_entry(net, name) or "" for name in group_by)
        traces.setdefault(key, set()).add(net.trace_no)
        one = _of(found, key)
        one.trace_pico += net.cost_pico or 0
        _add(one, (net.session, net.user), net.cost_pico or 0)
    return traces


def _of(found: dict[Key, _Found], key: Collection[str]) -> _Found:
    known = found.get(tuple(key))
    if known is None:
        if len(found) >= GROUPS_MAX:
            raise BadInput(f"more than {GROUPS_MAX} groups; narrow the time, filter, or group by fewer keys")
        known = found[tuple(key)] = _Found()
    return known


def _pico(whole: int | None, rest: int | None) -> int:
    """The two parts of an exact sum; None of nothing but unpriced calls."""
    return int(whole or 0) * SUM_PART + int(rest or 0)


def _add(one: _Found, subjects: tuple[str | None, str | None], pico: int) -> None:
    """Add what calls of a session and a user cost, None for none."""
    for place, subject in enumerate(subjects):
        if subject is None:
            continue
        one.subjects[place].add(subject)
        one.money[place] += pico
        if len(one.subjects[place]) > DISTINCT_SUBJECTS_MAX:
            raise BadInput(f"more than {DISTINCT_SUBJECTS_MAX} sessions or users; narrow the time, or ask for one tenant")
