"""Which calls a rule about money means: those that fit every list that it gives."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias

from otel_finops.base.protocols import DEFAULT_TENANT
from otel_finops.genai.sighting import Sighting
from otel_finops.pricing.providers import canonical
from otel_finops.settings.money import CallSelector, DiscountRule, SubscriptionRule

_BY_ATTRIBUTION: Final = {
    "tenants": "tenant", "services": "service", "environments": "environment", "cost_centers": "cost_center", "purposes": "purpose",
    "agents": "agent",
}  # fmt: skip


UserRefs: TypeAlias = Mapping[str, Collection[str]]
"""The references under which users are booked, by the id that the application sends; one in each realm."""
_NOBODY: Final = frozenset({""})


class DescribedCall(NamedTuple):
    """Of a call that nobody has seen yet what `Sighting` says of one that was; attributes as there."""

    realm: str
    provider: str | None
    request_model: str | None
    response_model: str | None
    start_ns: int
    attribution: Mapping[str, str]
    tags: Mapping[str, str]
    reported_pico: int | None = None
    reported_source: str | None = None


class PaidCall(NamedTuple):
    """What rules about money may ask of a call.

    Attributes:
        realm: of the sender's credential.
        provider: family, None when unknown.
        models: names of the call, and the key of its price row.
        at_ns: its start.
        attribution: by `sighting.ATTRIBUTION_KEYS`, with what ancestors and the resource say.
        tags: allow-listed tags.
        reported_pico, reported_source: the cost that is stated, see `Sighting`.
    """

    realm: str
    provider: str | None
    models: tuple[str, ...]
    at_ns: int
    attribution: Mapping[str, str]
    tags: Mapping[str, str]
    reported_pico: int | None
    reported_source: str | None

    @classmethod
    def of(cls, sighting: Sighting | DescribedCall, price_key: str | None) -> PaidCall:
        """The call that a decided sighting shows, or that somebody describes."""
        names = (sighting.response_model, sighting.request_model, price_key)
        return cls(
            sighting.realm,
            sighting.provider,
            tuple([name for name in names if name is not None]),
            sighting.start_ns,
            sighting.attribution,
            sighting.tags,
            sighting.reported_pico,
            sighting.reported_source,
        )


class Selector(NamedTuple):
    """`settings.money.CallSelector`, ready to be asked; empty parts let every call pass."""

    providers: frozenset[str] = frozenset()
    models: re.Pattern[str] | None = None
    realms: frozenset[str] = frozenset()
    named: tuple[tuple[str, frozenset[str]], ...] = ()
    tags: tuple[tuple[str, frozenset[str]], ...] = ()
    users: frozenset[str] = frozenset()

    @classmethod
    def of(cls, given: CallSelector) -> Selector:
        """The selector that the settings describe."""
        named = ((key, frozenset(getattr(given, field))) for field, key in _BY_ATTRIBUTION.items())
        return cls(
            frozenset(map(canonical, given.providers)),
            _any_of(given.models) if given.models else None,
            frozenset(given.realms),
            tuple([(key, wanted) for key, wanted in named if wanted]),
            tuple([(key, frozenset(values)) for key, values in given.tags.items()]),
            frozenset(given.users),
        )

    @property
    def asks(self) -> frozenset[str]:
        """What of a call's attribution it looks at: `sighting.ATTRIBUTION_KEYS` that rows bear under the same name, and `tags`."""
        return frozenset((*(key for key, _ in self.named), *(["user"] if self.users else ()), *(["tags"] if self.tags else ())))

    def bound(self, refs: UserRefs) -> Selector:
        """The selector for rows that name users by reference; a user whom nobody has seen yet fits no call."""
        if not self.users:
            return self
        return self._replace(users=frozenset().union(*(refs.get(user, ()) for user in self.users)) or _NOBODY)

    def fits(self, call: PaidCall) -> bool:
        """Whether the rule means this call."""
        if self.providers and call.provider not in self.providers:
            return False
        if self.models is not None and not any(self.models.fullmatch(name.lower()) for name in call.models):
            return False
        if self.realms and call.realm not in self.realms:
            return False
        if self.users and call.attribution.get("user") not in self.users:
            return False
        if not all(_said(call, key) in wanted for key, wanted in self.named):
            return False
        return all(call.tags.get(key) in wanted for key, wanted in self.tags)


class Scope(NamedTuple):
    """The calls that something agreed speaks of: selected ones, of some accounts, within a time.

    Attributes:
        selector: which calls.
        accounts: only calls that these pay for; empty for all.
        from_ns, to_ns: start of the calls, [from_ns, to_ns); None = open.
    """

    selector: Selector
    accounts: frozenset[str] = frozenset()
    from_ns: int | None = None
    to_ns: int | None = None

    @classmethod
    def of(cls, given: DiscountRule | SubscriptionRule) -> Scope:
        """The scope that the settings describe."""
        return cls(Selector.of(given), frozenset(given.accounts), given.from_ns, given.to_ns)

    def bound(self, refs: UserRefs) -> Scope:
        """See `Selector.bound`."""
        return self._replace(selector=self.selector.bound(refs))

    def holds(self, call: PaidCall, account: str | None) -> bool:
        """Whether it speaks of this call, for which this account pays."""
        if (self.from_ns is not None and call.at_ns < self.from_ns) or (self.to_ns is not None and call.at_ns >= self.to_ns):
            return False
        return (not self.accounts or account in self.accounts) and self.selector.fits(call)


def _said(call: PaidCall, key: str) -> str | None:
    return call.attribution.get(key, DEFAULT_TENANT if key == "tenant" else None)


def _any_of(names: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(name.strip().lower()).replace(r"\*", ".*") for name in names), re.DOTALL)
