"""What governance knows that is worth telling: thresholds of budgets, credits that run low, kill switches, policies that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Final

from otel_finops.alerting.amounts import in_words, money_figures
from otel_finops.alerting.findings import Finding
from otel_finops.alerting.rules import Rule
from otel_finops.base.clock import Clock
from otel_finops.base.money import format_usd
from otel_finops.base.times import NS_PER_HOUR, NS_PER_SECOND, format_ns
from otel_finops.governance.budget_store import followed_budgets
from otel_finops.governance.budgets import Budget
from otel_finops.governance.credit_desk import LowBalance
from otel_finops.governance.kill_switches import Switch, described
from otel_finops.governance.policies import Policy
from otel_finops.governance.policy_store import Failures
from otel_finops.governance.thresholds import Crossing, newest_crossings, standing_now
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

_LATE_NS: Final = 60 * NS_PER_SECOND
"""By how much what settlers record may show late: longer than any of their transactions takes."""
_LOW_SHOWN_MAX: Final = 1_000
_SECOND_CHARS: Final = len("2026-11-21T12:00:00")


class BudgetFeed:
    """Thresholds of budgets that are passed in the windows that run, and those that were passed since the last check and are no more.

    A budget has one finding for each window, with the highest threshold as its level: what jumps over three of them is told once.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._budgets = followed_budgets(store, clock)

    def __call__(self, rule: Rule, now_ns: int, since_ns: int) -> Sequence[Finding]:
        """See `findings.Feed`."""
        wanted = rule.params["budgets"]
        with self._store.read() as transaction:
            budgets = {one.no: one for one in self._budgets.seen_by(transaction) if one.enabled and (not wanted or one.no in wanted)}
            crossings = [*standing_now(transaction, budgets.values(), now_ns), *_lately(transaction, since_ns - _LATE_NS)]
        highest: dict[tuple[int, int], Crossing] = {}
        for one in crossings:
            budget, place = budgets.get(one.budget_no), (one.budget_no, one.start_ns)
            if budget is None or budget.counting != one.count_no or one.percent < rule.params["percent"]:
                continue
            if place not in highest or one.percent > highest[place].percent:
                highest[place] = one
        return [_crossed(rule, budgets[no], one) for (no, _), one in highest.items()]


def _lately(transaction: Transaction, since_ns: int) -> Iterable[Crossing]:
    """Those that were recorded since an instant, be they cleared or of a window that is over."""
    return takewhile(lambda one: one.crossed_ns > since_ns, newest_crossings(transaction, None))


def _crossed(rule: Rule, budget: Budget, one: Crossing) -> Finding:
    booked, limit = in_words(budget, one.booked), in_words(budget, one.limit)
    return Finding(
        key=f"budget:{budget.no}:{one.start_ns}",
        tenant=budget.tenant or "",
        title=f"{budget.name}: {one.percent} % of the budget spent",
        text=f"{booked} of {limit} were booked when {one.percent} % was passed at {_second(one.crossed_ns)} UTC.",
        labels={"budget": budget.name, "budget_no": str(budget.no)},
        figures={"percent": str(one.percent), **money_figures(budget, booked=one.booked, limit=one.limit)},
        level=one.percent,
        severity="critical" if one.percent >= rule.params["critical_percent"] else None,
        since_ns=one.crossed_ns,
        link=f"/budgets/{budget.no}",
    )


class CreditFeed:
    """Pools that hold less than they should.

    Args:
        alerts: the times that pools fell low, newest first (`CreditDesk.alerts`).
    """

    def __init__(self, alerts: Callable[[None, int, int], Sequence[LowBalance]]) -> None:
        self._alerts = alerts

    def __call__(self, rule: Rule, now_ns: int, since_ns: int) -> Sequence[Finding]:
        """See `findings.Feed`."""
        found = [one for one in self._alerts(None, 2**63 - 1, _LOW_SHOWN_MAX) if one.over_ns is None or one.at_ns > since_ns]
        wanted = rule.params["pools"]
        return [_low(one) for one in found if one.pool.is_open and (not wanted or one.pool.no in wanted)]


def _low(one: LowBalance) -> Finding:
    pool = one.pool
    level, low = (f"{format_usd(amount)} {pool.currency}" for amount in (one.level, one.low))
    return Finding(
        key=f"credit:{pool.no}:{one.no}",
        tenant=pool.tenant or "",
        title=f"{pool.name}: credits run low",
        text=f"{level} were left at {_second(one.at_ns)} UTC; people want to know below {low}.",
        labels={"pool": pool.name, "pool_no": str(pool.no)},
        figures={"level": format_usd(one.level), "low": format_usd(one.low)},
        since_ns=one.at_ns,
        link="/credits",
    )


class KillSwitchFeed:
    """Kill switches that are set.

    Args:
        switches: all of them (`KillSwitches.all`).
    """

    def __init__(self, switches: Callable[[], Sequence[Switch]]) -> None:
        self._switches = switches

    def __call__(self, rule: Rule, now_ns: int, since_ns: int) -> Sequence[Finding]:
        """See `findings.Feed`."""
        return [_stops(one) for one in self._switches()]


def _stops(one: Switch) -> Finding:
    what, by = described(one.target), f"{one.who} set it" if one.who else "the settings set it"
    return Finding(
        key=f"switch:{one.target.scope}:{one.target.name}:{one.target.tenant or ''}:{one.no or 0}",
        tenant=one.target.whose or "",
        title=f"Kill switch: {what}",
        text=f"It stops {what}; {by}: {one.why}",
        labels={"scope": one.target.scope, **({"name": one.target.name} if one.target.name else {})},
        since_ns=one.at_ns,
        link="/kill-switches",
    )


class PolicyFailureFeed:
    """Policies that could not be evaluated of late.

    Args:
        policies: those that stand.
        failures: of these, by number, how often they failed and when last.
    """

    def __init__(self, policies: Callable[[], Sequence[Policy]], failures: Callable[[Sequence[Policy]], dict[int, Failures]]) -> None:
        self._policies = policies
        self._failures = failures

    def __call__(self, rule: Rule, now_ns: int, since_ns: int) -> Sequence[Finding]:
        """See `findings.Feed`."""
        policies = {one.no: one for one in self._policies()}
        from_ns = now_ns - rule.params["hours"] * NS_PER_HOUR
        failed = self._failures(list(policies.values()))
        return [_failed(policies[no], one) for no, one in failed.items() if one.at_ns > from_ns]


def _failed(policy: Policy, one: Failures) -> Finding:
    return Finding(
        key=f"policy:{policy.no}",
        tenant=policy.tenant or "",
        title=f"{policy.name}: the policy cannot be evaluated",
        text=f"It failed {one.times} times in all, last at {_second(one.at_ns)} UTC: {one.reason}",
        labels={"policy": policy.name, "policy_no": str(policy.no)},
        figures={"failures": str(one.times)},
        link=f"/policies/{policy.no}",
    )


def _second(at_ns: int) -> str:
    return format_ns(at_ns)[:_SECOND_CHARS].replace("T", " ")
