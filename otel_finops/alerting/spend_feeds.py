"""What the ledger's sums know that is worth telling: spend that is too fast, and calls that nobody can price."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Final, NamedTuple

from otel_finops.alerting.amounts import in_words, money_figures
from otel_finops.alerting.findings import Finding
from otel_finops.alerting.rules import Rule
from otel_finops.base.clock import Clock
from otel_finops.base.limits import ALERT_BURNING_BUDGETS_MAX
from otel_finops.base.money import format_usd, parse_usd
from otel_finops.base.times import NS_PER_HOUR, NS_PER_SECOND
from otel_finops.base.zones import date_in, zone_of
from otel_finops.governance.budget_store import followed_budgets
from otel_finops.governance.budgets import Budget, BudgetStatus
from otel_finops.governance.calls import fits
from otel_finops.governance.counts import amount
from otel_finops.governance.scopes import Scope
from otel_finops.governance.spending import StoredSpending, is_foreign
from otel_finops.ledger.fx_store import dated_rates
from otel_finops.ledger.spend import SPEND_KEYS, Question, Tally, tally
from otel_finops.pricing.engine import UNPRICED
from otel_finops.store.engine import Store
from otel_finops.store.unit_of_work import Transaction

_NS_PER_MINUTE: Final = 60 * NS_PER_SECOND
_MODELS_NAMED: Final = 3
_RAW_SUBJECTS: Final = ("user", "session")


class Pair(NamedTuple):
    """A long and a short window, in nanoseconds, and how many times faster than an even pace both must be."""

    long_ns: int
    short_ns: int
    factor: Fraction

    @classmethod
    def of(cls, said: str) -> Pair:
        """From a rule's parameter."""
        long, short, factor = said.split("/")
        return cls(int(long) * _NS_PER_MINUTE, int(short) * _NS_PER_MINUTE, Fraction(factor))


class Burn(NamedTuple):
    """Spend in both windows of a pair, and how many times an even pace that is."""

    pair: Pair
    long: int
    short: int
    long_times: Fraction
    short_times: Fraction

    @property
    def is_too_fast(self) -> bool:
        """In the long window, so that it matters, and in the short one, so that it goes on."""
        return self.long_times >= self.pair.factor and self.short_times >= self.pair.factor


def burn(pair: Pair, long: int, short: int, even_per_ns: Fraction) -> Burn:
    """How fast something is spent, against an even pace that is not 0."""
    return Burn(pair, long, short, long / (even_per_ns * pair.long_ns), short / (even_per_ns * pair.short_ns))


class SpendRateFeed:
    """Spend that is many times faster than what would last for a budget's window, or than a given pace."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._budgets = followed_budgets(store, clock)
        self._spending = StoredSpending()

    def __call__(self, rule: Rule, now_ns: int, since_ns: int) -> Sequence[Finding]:
        """See `findings.Feed`."""
        pairs = [Pair.of(said) for said in rule.params["windows"]]
        pace = parse_usd(rule.params["usd_per_hour"])
        with self._store.read() as transaction:
            if pace:
                return list(_beyond_pace(transaction, rule, pairs, Fraction(pace, NS_PER_HOUR), now_ns))
            return list(self._burning(transaction, rule, pairs, now_ns))

    def _burning(self, transaction: Transaction, rule: Rule, pairs: Sequence[Pair], now_ns: int) -> Iterator[Finding]:
        wanted = rule.params["budgets"]
        asked = [one for one in self._budgets.seen_by(transaction) if one.enabled and (not wanted or one.no in wanted)]
        asked = [one for one in asked if rule.sees(one.tenant or "") and is_readable(one.scope)]
        stands = self._spending.statuses(transaction, asked, now_ns)
        able = [one for one in asked if any(_may_burn(stands[one.no], pair, now_ns) for pair in pairs)]
        able.sort(key=lambda one: -stands[one.no].ratio)
        for budget in able[:ALERT_BURNING_BUDGETS_MAX]:
            status = stands[budget.no]
            burns = [
                _burn_of(transaction, budget, status, pair, now_ns) for pair in pairs if _may_burn(status, pair, now_ns)
            ]  # fmt: skip
            if fast := [one for one in burns if one.is_too_fast]:
                yield _burns(budget, status, max(fast, key=lambda one: one.long_times))


def is_readable(scope: Scope) -> bool:
    """Whether the ledger can sum up what a scope is for: all dimensions but traces and tags."""
    return all(name in SPEND_KEYS for name, _ in scope.parts)


def _may_burn(status: BudgetStatus, pair: Pair, now_ns: int) -> bool:
    """Whether the long window fits into the budget's, and what was booked since that began can be enough."""
    length_ns = status.window.end_ns - status.window.start_ns
    if status.limit <= 0 or status.fault is not None or status.filling or pair.long_ns > length_ns:
        return False
    return now_ns - status.window.start_ns < pair.long_ns or status.booked >= pair.factor * status.limit * pair.long_ns / length_ns


def _burn_of(transaction: Transaction, budget: Budget, status: BudgetStatus, pair: Pair, now_ns: int) -> Burn:
    even = Fraction(status.limit, status.window.end_ns - status.window.start_ns)
    long, short = (_spent(transaction, budget, now_ns - length_ns, now_ns) for length_ns in (pair.long_ns, pair.short_ns))
    return burn(pair, long, short, even)


def _spent(transaction: Transaction, budget: Budget, from_ns: int, to_ns: int) -> int:
    """What calls of a budget that started in a span of time came to, in its unit; money at the rate of the last day."""
    scope = dict(budget.scope.parts)
    pattern = scope.pop("model", None)
    tenant = scope.pop("tenant", None)
    filters = {name: tuple(value.split(" ")) if name in _RAW_SUBJECTS else (value,) for name, value in scope.items()}
    by = () if pattern is None else ("model",)
    found = tally(transaction, Question(None if tenant is None else (tenant,), by, from_ns, to_ns, filters))
    kept = [one for key, one in found.items() if pattern is None or fits(pattern, key[0])]
    sums = tuple(sum(getattr(one, name) for one in kept) for name in ("cost_pico", "tokens", "calls"))
    if not is_foreign(budget):
        return amount(budget.kind, (sums[0], sums[1], sums[2]))
    day = date_in(to_ns, zone_of(budget.period.zone)).isoformat()
    return dated_rates(transaction, budget.currency, [day]).from_usd(sums[0], day)


def _burns(budget: Budget, status: BudgetStatus, one: Burn) -> Finding:
    minutes = one.pair.long_ns // _NS_PER_MINUTE, one.pair.short_ns // _NS_PER_MINUTE
    return Finding(
        key=f"rate:{budget.no}",
        tenant=budget.tenant or "",
        title=f"{budget.name}: spent {_times(one.long_times)} times too fast",
        text=f"{in_words(budget, one.long)} in the last {minutes[0]} minutes and {in_words(budget, one.short)} in the last {minutes[1]} "
        f"are {_times(one.long_times)} and {_times(one.short_times)} times an even pace of {in_words(budget, status.limit)} in its window. "
        f"{_left(budget, status, one)}",
        labels={"budget": budget.name, "budget_no": str(budget.no)},
        figures={
            "times": _times(one.long_times), "long_minutes": str(minutes[0]), "short_minutes": str(minutes[1]),
            **money_figures(budget, spent_long=one.long, spent_short=one.short, limit=status.limit, remaining=status.remaining),
        },
        link=f"/budgets/{budget.no}",
    )  # fmt: skip


def _left(budget: Budget, status: BudgetStatus, one: Burn) -> str:
    if status.remaining <= 0:
        return "Nothing is left of the budget."
    hours = _hours(status.remaining * one.pair.long_ns // one.long)
    return f"At this rate the {in_words(budget, status.remaining)} that are left last {hours} hours."


def _beyond_pace(transaction: Transaction, rule: Rule, pairs: Sequence[Pair], even: Fraction, now_ns: int) -> Iterator[Finding]:
    """What is spent faster than a given pace, for each value of the rule's dimensions."""
    by = tuple(rule.params["by"])
    fast: dict[tuple[str, ...], Burn] = {}
    for pair in pairs:
        long, short = (_costs(transaction, rule, by, now_ns - length_ns, now_ns) for length_ns in (pair.long_ns, pair.short_ns))
        for key, pico in long.items():
            one = burn(pair, pico, short.get(key, 0), even)
            if one.is_too_fast and (key not in fast or one.long_times > fast[key].long_times):
                fast[key] = one
    for key, one in fast.items():
        yield _spends(rule, dict(zip(by, key, strict=True)), one, even)


def _costs(transaction: Transaction, rule: Rule, by: tuple[str, ...], from_ns: int, to_ns: int) -> dict[tuple[str, ...], int]:
    found = tally(transaction, Question(_whose(rule), by, from_ns, to_ns))
    return {key: one.cost_pico for key, one in found.items()}


def _spends(rule: Rule, labels: Mapping[str, str], one: Burn, even: Fraction) -> Finding:
    minutes = one.pair.long_ns // _NS_PER_MINUTE, one.pair.short_ns // _NS_PER_MINUTE
    return Finding(
        key="pace" + "".join(f":{name}={value}" for name, value in labels.items()),
        tenant=labels.get("tenant") or rule.tenant or "",
        title=f"{_said(labels)}: spent {_times(one.long_times)} times too fast",
        text=f"{format_usd(one.long)} USD in the last {minutes[0]} minutes and {format_usd(one.short)} USD in the last {minutes[1]} are "
        f"{_times(one.long_times)} and {_times(one.short_times)} times {format_usd(int(even * NS_PER_HOUR))} USD an hour.",
        labels=labels,
        figures={
            "times": _times(one.long_times), "spent_long": format_usd(one.long), "spent_short": format_usd(one.short),
            "long_minutes": str(minutes[0]), "short_minutes": str(minutes[1]),
        },
        link="/explore",
    )  # fmt: skip


class UnpricedFeed:
    """Tokens that nobody can price: spend is more than what is shown."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, rule: Rule, now_ns: int, since_ns: int) -> Sequence[Finding]:
        """See `findings.Feed`."""
        by, hours = tuple(rule.params["by"]), rule.params["hours"]
        from_ns = now_ns - now_ns % NS_PER_HOUR - (hours - 1) * NS_PER_HOUR
        share, least = Fraction(rule.params["percent"]) / 100, rule.params["tokens"]
        with self._store.read() as transaction:
            found = tally(transaction, Question(_whose(rule), by, from_ns, None))
            too_many = {
                key: one for key, one in found.items() if one.unpriced_tokens >= max(1, least) and one.unpriced_tokens > share * one.tokens
            }
            return [
                _unpriced(rule, dict(zip(by, key, strict=True)), one, hours, _models(transaction, rule, by, key, from_ns))
                for key, one in too_many.items()
            ]


def _models(transaction: Transaction, rule: Rule, by: tuple[str, ...], key: tuple[str, ...], from_ns: int) -> list[str]:
    """The models with most unpriced tokens."""
    filters: dict[str, Collection[str]] = {name: (value,) for name, value in zip(by, key, strict=True)}
    found = tally(transaction, Question(_whose(rule), ("provider", "model"), from_ns, None, {**filters, "cost_method": (UNPRICED,)}))
    worst = sorted(found.items(), key=lambda item: (-item[1].unpriced_tokens, item[0]))
    return [f"{model or 'no model'} of {provider or 'no provider'}" for (provider, model), _ in worst[:_MODELS_NAMED]]


def _unpriced(rule: Rule, labels: Mapping[str, str], one: Tally, hours: int, models: Iterable[str]) -> Finding:
    percent = f"{100 * one.unpriced_tokens / one.tokens:.1f}"
    return Finding(
        key="unpriced" + "".join(f":{name}={value}" for name, value in labels.items()),
        tenant=labels.get("tenant") or rule.tenant or "",
        title=f"{_said(labels)}: {percent} % of the tokens have no price",
        text=f"{one.unpriced_tokens} of {one.tokens} tokens and {one.unpriced_calls} of {one.calls} calls of the last {hours} hours could "
        f"not be priced, most of them of {', '.join(models)}. What they cost is in no sum.",
        labels=labels,
        figures={"percent": percent, "unpriced_tokens": str(one.unpriced_tokens), "unpriced_calls": str(one.unpriced_calls)},
        link="/prices/unpriced",
    )


def _whose(rule: Rule) -> tuple[str, ...] | None:
    return None if rule.tenant is None else (rule.tenant,)


def _said(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value or 'unknown'}" for name, value in labels.items()) or "All spend"


def _times(times: Fraction) -> str:
    return f"{float(times):.1f}"


def _hours(length_ns: int) -> str:
    return f"{length_ns / NS_PER_HOUR:.1f}"
