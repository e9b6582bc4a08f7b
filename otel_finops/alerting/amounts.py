"""Amounts of budgets in words and figures: money in its currency, tokens, calls."""

from __future__ import annotations

from otel_finops.base.money import format_usd
from otel_finops.governance.budgets import Budget


def figure(budget: Budget, amount: int) -> str:
    """An amount as a plain decimal string: exact."""
    return format_usd(amount) if budget.kind == "money" else str(amount)


def in_words(budget: Budget, amount: int) -> str:
    """An amount with its unit, e.g. `8.5 USD` or `1200 tokens`."""
    return f"{figure(budget, amount)} {budget.currency if budget.kind == 'money' else budget.kind}"


def money_figures(budget: Budget, **amounts: int) -> dict[str, str]:
    """Amounts by name, with what they are counted in."""
    return {
        **{name: figure(budget, amount) for name, amount in amounts.items()},
        "unit": budget.currency if budget.kind == "money" else budget.kind,
    }
