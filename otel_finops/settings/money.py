"""The section `pricing`: whose stated costs are believed, who pays, what was agreed, and what a flat fee covers."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from otel_finops.base.limits import MONEY_RULES_MAX, NAME_CHARS_MAX
from otel_finops.base.times import parse_ns
from otel_finops.settings.section import Section

_FEE_MAX: Final = 10**9
"""Of any currency; more a month is a slip."""


def _moment(text: str) -> str:
    try:
        parse_ns(text)
    except (ValueError, OverflowError):
        raise ValueError("not an instant; write a date (2026-11-01) or RFC 3339 (2026-11-01T00:00:00Z)") from None
    return text


def _whole_pico(amount: Decimal) -> Decimal:
    if -int(amount.as_tuple().exponent) > 12:
        raise ValueError("has more than 12 decimal places")
    return amount


def currency_code(code: str) -> str:
    """The code itself; raises ValueError when it is no ISO 4217 code."""
    if len(code) != 3 or not (code.isascii() and code.isalpha() and code.isupper()):
        raise ValueError("not an ISO 4217 code; write three capital letters, e.g. EUR")
    return code


Moment: TypeAlias = Annotated[str, Field(max_length=64), AfterValidator(_moment)]
"""An instant; a date is midnight UTC."""
Currency: TypeAlias = Annotated[str, AfterValidator(currency_code)]
"""An ISO 4217 code."""
Named: TypeAlias = Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX)]
Names: TypeAlias = Annotated[tuple[Named, ...], Field(max_length=1_000)]


class CallSelector(Section):
    """Which calls are meant: those that fit every list that is not empty.

    Attributes:
        providers: families, e.g. `anthropic`, `azure`.
        models: names as spans carry them or price keys, lower or upper case; `*` stands for anything.
        tenants, services, environments, cost_centers, purposes, agents: as the ledger books them.
        users: by the ids that applications send.
        realms: of the sender's credential.
        tags: values of tags (`attribution.tags`) by key.
    """

    providers: Names = ()
    models: Names = ()
    tenants: Names = ()
    services: Names = ()
    environments: Names = ()
    cost_centers: Names = ()
    purposes: Names = ()
    agents: Names = ()
    users: Names = ()
    realms: Names = ()
    tags: dict[Named, Names] = Field(default={}, max_length=20)

    def says_something(self) -> bool:
        """Whether it leaves out any call at all."""
        return any(getattr(self, name) for name in CallSelector.model_fields)


class _Dated(Section):
    from_: Moment | None = Field(default=None, alias="from")
    to: Moment | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.from_ is not None and self.to is not None and parse_ns(self.to) <= parse_ns(self.from_):
            raise ValueError("`to` must lie behind `from`")
        return self

    @property
    def from_ns(self) -> int | None:
        """Inclusive; None: from the beginning."""
        return None if self.from_ is None else parse_ns(self.from_)

    @property
    def to_ns(self) -> int | None:
        """Exclusive; None: open."""
        return None if self.to is None else parse_ns(self.to)


class TrustedReports(CallSelector):
    """A source of stated costs that is believed like a provider's answer.

    Attributes:
        source: `litellm`, or the name that stands in a row's `reported_source`.
    """

    source: Named


class AccountRule(CallSelector):
    """Calls that one account at the provider pays for.

    Attributes:
        account: its name, which contract prices, discounts and subscriptions refer to.
    """

    account: Named


class DiscountRule(_Dated, CallSelector):
    """So many percent off everything that the selected calls are charged.

    Attributes:
        percent: above 0, at most 100.
        accounts: only calls that these accounts pay for.
    """

    percent: Annotated[Decimal, Field(gt=0, le=100), AfterValidator(_whole_pico)]
    accounts: Names = ()


class SubscriptionRule(_Dated, CallSelector):
    """A flat fee for a period, which covers the selected calls.

    Attributes:
        id: stands in `coverage_id` of covered rows.
        fee: for one period; 0 where somebody else pays it.
        currency: of the fee; converted at the rate of each period's first day.
        from_: start of the first period; the others begin on the same day of each month.
        accounts: only calls that these accounts pay for.
    """

    id: Named
    fee: Annotated[Decimal, Field(ge=0, le=_FEE_MAX), AfterValidator(_whole_pico)]
    currency: Currency = "USD"
    period: Literal["month"] = "month"
    accounts: Names = ()

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.from_ is None:
            raise ValueError("needs `from`, the day on which its first period begins")
        if not (self.says_something() or self.accounts):
            raise ValueError("must say which calls it covers: providers, models, accounts, tenants, services, ...")
        return self


class AllowanceRule(Section):
    """One project at a provider: calls that take from the same free allowances.

    Attributes:
        accounts: calls that these accounts pay for, as booked.
        realms: calls of these realms.
    """

    accounts: Names = ()
    realms: Names = ()

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if not (self.accounts or self.realms):
            raise ValueError("must say whose calls share the allowances: accounts, realms or both")
        return self


def _ids_once(rules: tuple[SubscriptionRule, ...]) -> tuple[SubscriptionRule, ...]:
    if len({rule.id for rule in rules}) != len(rules):
        raise ValueError("two subscriptions have the same id")
    return rules


class Pricing(Section):
    """Which cost of a call stands, and what is really paid (docs/pricing.md)."""

    trusted_reports: tuple[Named | TrustedReports, ...] = Field(
        default=(),
        max_length=MONEY_RULES_MAX,
        description="Sources of stated costs that are booked as `reported`, besides the answers of OpenRouter, Perplexity and xAI: "
        '`["litellm"]`, or with the calls that are meant: `[{"source": "litellm", "services": ["llm-proxy"]}]`.',
    )
    report_factor: float = Field(
        default=10.0,
        ge=1,
        le=1000,
        description="A reported cost stands when it lies between the computed price divided and multiplied by this.",
    )
    report_slack: float = Field(
        default=0.02,
        ge=0,
        le=1000,
        description="USD by which a reported cost may pass that upper bound: fees for requests, searches and tools that spans do not show.",
    )
    accounts: tuple[AccountRule, ...] = Field(
        default=(),
        max_length=MONEY_RULES_MAX,
        description="Who pays: the first that fits a call gives its `account`: "
        '`[{"account": "openai-eu", "providers": ["openai"], "tenants": ["acme"]}]`. Selectors: docs/pricing.md.',
    )
    discounts: tuple[DiscountRule, ...] = Field(
        default=(),
        max_length=MONEY_RULES_MAX,
        description="The first that fits a call at its start holds: "
        '`[{"percent": 12.5, "accounts": ["openai-eu"], "from": "2026-01-01"}]`.',
    )
    subscriptions: Annotated[tuple[SubscriptionRule, ...], AfterValidator(_ids_once)] = Field(
        default=(),
        max_length=MONEY_RULES_MAX,
        description="Flat fees; the first that fits a call at its start covers it: "
        '`[{"id": "coding", "providers": ["anthropic"], "services": ["coder"], "fee": 200, "currency": "EUR", "from": "2026-11-01"}]`.',
    )
    allowances: tuple[AllowanceRule, ...] = Field(
        default=(),
        max_length=MONEY_RULES_MAX,
        description="Projects at a provider, each with free allowances of its own; the first that fits a call holds: "
        '`[{"accounts": ["google-main"]}]`, or a realm: `[{"realms": ["default"]}]`. Booked by `ledger allowances` and by the clock.',
    )
