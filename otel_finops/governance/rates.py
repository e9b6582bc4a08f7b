"""Rates that calls are throttled to, counted in the store, so that all processes share them.

A rate of N calls in so many seconds lets N calls through at once, and from then on one each time that its share of the seconds is over
(the generic cell rate algorithm): one number is kept, when all that was taken will be there again. Nothing has to be counted anew at
midnight or at a full minute, and what lies in the past is as good as nothing at all.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from otel_finops.base.limits import RATES_SWEPT
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.governance.calls import GovernedCall
from otel_finops.store.unit_of_work import Transaction

RateOf: TypeAlias = Literal["all", "tenant", "user", "session", "trace", "agent", "service", "model"]
RATE_OF: Final[tuple[RateOf, ...]] = get_args(RateOf)
_OF_SEVERAL: Final = frozenset[RateOf](("all", "tenant", "model"))
CALLS_MAX: Final = 1_000_000
PER_S_MAX: Final = 86_400

_SKEW_NS: Final = 60 * NS_PER_SECOND
"""By so much the clocks of two processes may differ. What lies further ahead than it can ever be was taken before the clock went back."""

_FREE: Final = "SELECT free_ns FROM policy_rates WHERE policy_no = ? AND of = ?"
_TAKE: Final = (
    "INSERT INTO policy_rates (policy_no, of, free_ns) VALUES (?, ?, ?) ON CONFLICT (policy_no, of) DO UPDATE SET free_ns = "
    "CASE WHEN policy_rates.free_ns > ? AND policy_rates.free_ns <= ? THEN policy_rates.free_ns ELSE ? END + ? "
    "WHERE policy_rates.free_ns <= ? OR policy_rates.free_ns > ? RETURNING free_ns"
)
_GIVE_BACK: Final = "UPDATE policy_rates SET free_ns = free_ns - ? WHERE policy_no = ? AND of = ?"
_SWEEP: Final = (
    "DELETE FROM policy_rates WHERE (policy_no, of) IN (SELECT policy_no, of FROM policy_rates WHERE free_ns < ? ORDER BY free_ns LIMIT ?)"
)
_LOCK: Final = "SELECT pg_advisory_xact_lock(?)"
_LOCK_NO: Final = 5_270_411_906_007
"""Number of PostgreSQL's advisory lock for who takes of rates; any number that nobody else uses."""


class Rate(NamedTuple):
    """So many calls in so many seconds.

    Attributes:
        calls: at once at most, and then evenly.
        per_s: seconds.
        of: what has a rate of its own each: every tenant, agent, ..; `all`: all calls of the policy share one.
    """

    calls: int
    per_s: float
    of: RateOf = "all"

    @property
    def each_ns(self) -> int:
        """After how long one call is free again."""
        return max(1, round(self.per_s * NS_PER_SECOND / self.calls))

    @property
    def whole_ns(self) -> int:
        """After how long all of them are."""
        return self.each_ns * self.calls

    def key(self, call: GovernedCall) -> str:
        """Whose rate a call takes of; calls that do not say share one.

        Agents, people, traces and services are their tenant's: nobody uses up what another tenant's have by taking their names.
        """
        said = "" if self.of == "all" else call.said(self.of) or ""
        return said if self.of in _OF_SEVERAL else f"{len(call.tenant)}:{call.tenant}:{said}"

    def wait_s(self, free_ns: int, now_ns: int) -> float:
        """Seconds until a call may be made; 0: now."""
        if free_ns > now_ns + self.whole_ns + _SKEW_NS:
            return 0.0
        return max(0, free_ns - (now_ns + self.whole_ns - self.each_ns)) / NS_PER_SECOND


def lock(transaction: Transaction) -> None:
    """Let nobody else take of any rate until this transaction ends: it may take of several, for several calls, in any order.

    Whoever decides by what other calls came to holds it too.
    """
    if transaction.engine_name == "postgresql":
        transaction.execute(_LOCK, (_LOCK_NO,))


def look(transaction: Transaction, policy_no: int, rate: Rate, call: GovernedCall, now_ns: int) -> float:
    """Seconds until a call may be made, 0: now; nothing is taken."""
    rows = transaction.execute(_FREE, (policy_no, rate.key(call)))
    return rate.wait_s(int(rows[0][0]), now_ns) if rows else 0.0


def take(transaction: Transaction, policy_no: int, rate: Rate, call: GovernedCall, now_ns: int) -> float:
    """Take one call of a rate; where none is free, nothing is taken and the seconds until one is are given."""
    first, last, each = now_ns + rate.each_ns, now_ns + rate.whole_ns, rate.each_ns
    never = last + _SKEW_NS
    params = (policy_no, rate.key(call), first, now_ns, never, now_ns, each, last - each, never)
    taken = transaction.execute(_TAKE, params)
    if not taken:
        return look(transaction, policy_no, rate, call, now_ns) or each / NS_PER_SECOND
    if int(taken[0][0]) == first:
        transaction.execute(_SWEEP, (now_ns, RATES_SWEPT))
    return 0.0


def give_back(transaction: Transaction, policy_no: int, rate: Rate, call: GovernedCall) -> None:
    """Undo `take` in its transaction, where the call is not made after all."""
    transaction.execute(_GIVE_BACK, (rate.each_ns, policy_no, rate.key(call)))
