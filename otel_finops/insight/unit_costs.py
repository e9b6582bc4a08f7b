"""What a call, a trace, a session, a user, a thousand tokens cost on average, and how much of the prompts comes from caches."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from otel_finops.base.errors import BadInput
from otel_finops.base.money import divide_half_even
from otel_finops.insight.cache_savings import Pair, Savings
from otel_finops.insight.outcome_reads import OutcomeQuery, read_outcomes
from otel_finops.insight.outcome_report import report_of
from otel_finops.insight.outcomes import Tally
from otel_finops.insight.unit_cost_reads import cache_savings, kept_counts
from otel_finops.ledger.distinct import Distinct, Key, distinct_counts
from otel_finops.ledger.reader import by_reference
from otel_finops.ledger.spend import SPEND_KEYS, Question, tally
from otel_finops.ledger.spend_entries import Amounts
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

GROUP_KEYS: Final = tuple(name for name in SPEND_KEYS if name not in ("day", "hour", "period", "user", "session"))
"""By what unit costs are told apart: not by sessions and users, which are what they count."""
_NOTHING: Final = Distinct(0, 0, 0, 0, 0, 0)


class Units(NamedTuple):
    """Standing calls of one group, and what of them there is; costs are pico-USD, half-even, None where there is nothing to divide by.

    Attributes:
        amounts: cost, calls, tokens, unpriced calls, prompt tokens and those read from a cache.
        distinct: traces, sessions and users of calls whose entries are there, and what those calls cost.
    """

    amounts: Amounts
    distinct: Distinct

    @property
    def per_call(self) -> int | None:
        """Of all standing calls, failed and unpriced ones too."""
        return _each(self.amounts.amount, self.amounts.calls)

    @property
    def per_trace(self) -> int | None:
        """Of traces with such calls: what of them is not pruned, for each trace that is not."""
        return _each(self.distinct.trace_pico, self.distinct.traces)

    @property
    def per_session(self) -> int | None:
        """What the calls cost that name a session, for each session."""
        return _each(self.distinct.session_pico, self.distinct.sessions)

    @property
    def per_user(self) -> int | None:
        """What the calls cost that name a user, for each user."""
        return _each(self.distinct.user_pico, self.distinct.users)

    @property
    def per_1k_tokens(self) -> int | None:
        """Of prompt and output together."""
        return _each(1000 * self.amounts.amount, self.amounts.tokens)

    @property
    def cache_hit_rate(self) -> float | None:
        """Which share of the prompts' tokens was read from a cache."""
        return self.amounts.cache_read / self.amounts.prompt if self.amounts.prompt else None


class UnitAsked(NamedTuple):
    """What is asked.

    Attributes:
        tenants: whose; None for all.
        from_ns, to_ns: start of the calls, from inclusive, to exclusive; outcomes: when they came out.
        group_by: of `GROUP_KEYS`.
        filters: allowed values by key of spend reports; users and sessions as clear values.
    """

    tenants: Collection[str] | None
    from_ns: int
    to_ns: int
    group_by: tuple[str, ...] = ()
    filters: Mapping[str, Collection[str]] = {}


class UnitReport(NamedTuple):
    """The answer.

    Attributes:
        groups: by key ('' for not known), dearest first.
        total: of all; a trace, session or user that several groups share is one.
        savings: of caches, by provider and model, most saved first.
        outcomes: by kind; None where filters are about calls, of which outcomes say nothing.
    """

    groups: Sequence[tuple[Key, Units]]
    total: Units
    savings: Mapping[Pair, Savings]
    outcomes: Mapping[str, Tally] | None


class UnitCostDesk:
    """Reads unit costs; every report is of one snapshot."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def report(self, asked: UnitAsked) -> UnitReport:
        """The report.

        Raises:
            BadInput: an unknown key, too many groups, sessions, users or outcomes, or an hour cut of which rows were pruned.
        """
        for name in asked.group_by:
            if name not in GROUP_KEYS:
                raise BadInput(f"unit costs cannot be grouped by {name[:40]!r}; use one of {', '.join(GROUP_KEYS)}")
        with self._store.read() as transaction:
            filters = by_reference(transaction, asked.filters)
            question = Question(asked.tenants, asked.group_by, asked.from_ns, asked.to_ns, filters, with_cache=True).checked()
            groups = _units(transaction, question, asked)
            total = groups[()] if not asked.group_by else _units(transaction, question._replace(group_by=()), asked)[()]
            savings = cache_savings(transaction, question, asked.from_ns, asked.to_ns)
            outcomes = None if asked.filters else _outcomes(transaction, asked)
        ordered = sorted(groups.items(), key=lambda item: (-item[1].amounts.amount, item[0]))
        return UnitReport(ordered, total, savings, outcomes)


def _units(transaction: Transaction, question: Question, asked: UnitAsked) -> dict[Key, Units]:
    sums = tally(transaction, question)
    counts = kept_counts(transaction, question, asked.from_ns, asked.to_ns, sums)
    if counts is None:
        counts = distinct_counts(transaction, question, asked.from_ns, asked.to_ns)
    keys = sums.keys() | ({()} if not question.group_by else ())
    return {key: Units(sums[key].amounts if key in sums else Amounts(0), counts.get(key, _NOTHING)) for key in keys}


def _outcomes(transaction: Transaction, asked: UnitAsked) -> Mapping[str, Tally]:
    report = report_of(read_outcomes(transaction, OutcomeQuery(asked.tenants, asked.from_ns, asked.to_ns)), ("name",))
    return {name or "": found for (name,), found in report.groups}


def _each(pico: int, count: int) -> int | None:
    return divide_half_even(pico, count) if count else None
