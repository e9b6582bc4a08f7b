"""What insight knows that is worth telling: budgets that will be exceeded, spend that stands out, bills that differ from the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from otel_finops.alerting.amounts import in_words, money_figures
from otel_finops.alerting.findings import Finding
from otel_finops.alerting.rules import Rule
from otel_finops.base.clock import Clock
from otel_finops.base.limits import ALERTS_OF_RULE_MAX
from otel_finops.base.money import format_usd, parse_usd
from otel_finops.base.protocols import ANY_TENANT
from otel_finops.base.times import NS_PER_DAY, NS_PER_HOUR, format_ns
from otel_finops.governance.budget_store import followed_budgets
from otel_finops.governance.budgets import Budget
from otel_finops.insight.anomaly_store import Finding as Anomaly
from otel_finops.insight.anomaly_store import State, Wanted, list_anomalies, standing_mutes
from otel_finops.insight.anomaly_words import said_of, sentence
from otel_finops.insight.capture import CaptureRate, capture_rates
from otel_finops.insight.forecast_store import StoredForecast, stored_forecasts
from otel_finops.store.engine import Store

_STALE_NS: Final = NS_PER_DAY
"""Forecasts that were not made anew for so long are of another time."""
_CAUSES_NAMED: Final = 3
_OPEN: Final[tuple[State, ...]] = ("open",)
_MINUTE_CHARS: Final = len("2026-11-21T12:00")
_DATE_CHARS: Final = len("2026-11-21")


class ForecastFeed:
    """Budgets that are forecast to pass so many percent of their limit before their window ends."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._budgets = followed_budgets(store, clock)

    def __call__(self, rule: Rule, now_ns: int, since_ns: int) -> Sequence[Finding]:
        """See `findings.Feed`; forecasts are made by a job of their own."""
        wanted = rule.params["budgets"]
        with self._store.read() as transaction:
            budgets = [one for one in self._budgets.seen_by(transaction) if one.enabled and (not wanted or one.no in wanted)]
            kept = stored_forecasts(transaction, budgets)
        found = ((one, kept[one.no]) for one in budgets if one.no in kept)
        return [_will(budget, forecast) for budget, forecast in found if _is_bad(rule, forecast, now_ns)]


def _is_bad(rule: Rule, one: StoredForecast, now_ns: int) -> bool:
    amount = one.low if "certain" in rule.params["sure"] else one.projected
    is_current = one.made_ns > now_ns - _STALE_NS and now_ns < one.window_end_ns
    return is_current and amount is not None and amount * 100 > one.limit * rule.params["percent"]


def _will(budget: Budget, one: StoredForecast) -> Finding:
    projected = one.projected or 0
    amounts = {"projected": projected, "limit": one.limit, "spent": one.spent}
    band = "" if one.low is None or one.high is None else f" ({in_words(budget, one.low)} to {in_words(budget, one.high)})"
    when = "" if one.exceeds_ns is None else f" It passes the limit about {_minute(one.exceeds_ns)}{_range(one)}."
    return Finding(
        key=f"forecast:{budget.no}:{one.window_end_ns if not budget.period.is_rolling else 0}",
        tenant=budget.tenant or "",
        title=f"{budget.name}: forecast to spend {_percent(projected, one.limit)} % of the budget",
        text=f"{in_words(budget, projected)}{band} by {_minute(one.window_end_ns)}, of a limit of {in_words(budget, one.limit)}; "
        f"{in_words(budget, one.spent)} are spent.{when}",
        labels={"budget": budget.name, "budget_no": str(budget.no)},
        figures={**money_figures(budget, **amounts), **({} if one.chance is None else {"chance": f"{one.chance:.2f}"})},
        link=f"/budgets/{budget.no}",
    )


def _percent(amount: int, limit: int) -> str:
    return str(round(Fraction(100 * amount, limit))) if limit else "any"


def _range(one: StoredForecast) -> str:
    if one.earliest_ns is None:
        return ""
    return f", not before {_minute(one.earliest_ns)}" + ("" if one.latest_ns is None else f" and not after {_minute(one.latest_ns)}")


def _minute(at_ns: int) -> str:
    return f"{format_ns(at_ns)[:_MINUTE_CHARS].replace('T', ' ')} UTC"


class AnomalyFeed:
    """Days and hours of spend that stand out, that nobody has acknowledged or muted."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, rule: Rule, now_ns: int, since_ns: int) -> Sequence[Finding]:
        """See `findings.Feed`; each is told once, since it belongs to a time that passes."""
        from_ns = max(0, now_ns - rule.params["hours"] * NS_PER_HOUR)
        tenants = None if rule.tenant is None else (rule.tenant,)
        with self._store.read() as transaction:
            wanted = Wanted(tenants, states=_OPEN, from_ns=from_ns, limit=ALERTS_OF_RULE_MAX)
            found = list_anomalies(transaction, wanted)
            mutes = standing_mutes(transaction, None, now_ns)
        least, scopes = parse_usd(rule.params["usd"]), rule.params["scopes"]
        return [
            _stands_out(one)
            for one in found
            if abs(one.value - one.expected) >= least
            and (not scopes or one.scope.kind in scopes)
            and not any(mute.covers(one, now_ns) for mute in mutes)
        ]


def _stands_out(one: Anomaly) -> Finding:
    scope = one.scope
    return Finding(
        key=f"anomaly:{one.no}",
        tenant="" if scope.tenant == ANY_TENANT else scope.tenant,
        title=f"Unusual spend of {said_of(*scope)} in the {one.step} from {_minute(one.start_ns)}",
        text=sentence(one.value, one.expected, one.drivers),
        labels={"scope": scope.kind, "step": one.step, **({scope.kind: scope.name} if scope.name else {})},
        figures={"value": format_usd(one.value), "expected": format_usd(one.expected), "score": f"{one.score:.2f}"},
        since_ns=one.start_ns,
        link=f"/anomalies/{one.no}",
        lasting=False,
    )


class CaptureFeed:
    """Bills of which the ledger has too little, or more than there is."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, rule: Rule, now_ns: int, since_ns: int) -> Sequence[Finding]:
        """See `findings.Feed`; bills are held against the ledger by a job of their own."""
        low, high = (Fraction(rule.params[name]) / 100 for name in ("percent", "over_percent"))
        from_ns = now_ns - rule.params["days"] * NS_PER_DAY
        with self._store.read() as transaction:
            found = [one for one in capture_rates(transaction, None) if one.billed_pico > 0 and one.to_ns > from_ns]
        return [_differs(one) for one in found if not low <= Fraction(one.booked_pico, one.billed_pico) <= high]


def _differs(one: CaptureRate) -> Finding:
    percent = f"{100 * one.booked_pico / one.billed_pico:.1f}"
    worst = sorted(one.causes.items(), key=lambda item: (-abs(item[1]), item[0]))
    causes = ", ".join(f"{cause.replace('_', ' ')} {format_usd(pico)} USD" for cause, pico in worst[:_CAUSES_NAMED] if pico)
    days = f"{format_ns(one.from_ns)[:_DATE_CHARS]} to {format_ns(one.to_ns - 1)[:_DATE_CHARS]}"
    return Finding(
        key=f"bill:{one.name}",
        tenant=one.tenant,
        title=f"{one.name}: the ledger has {percent} % of the bill",
        text=f"{format_usd(one.booked_pico)} USD of {format_usd(one.billed_pico)} USD billed for {days}"
        + (f": {causes}." if causes else "."),
        labels={"bill": one.name, "provider": one.provider},
        figures={"percent": percent, "billed": format_usd(one.billed_pico), "booked": format_usd(one.booked_pico)},
        link="/reconciliation",
    )
