"""What an operator says about prices: overrides, contract prices and other names for models. They win over every list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias, TypeVar

from otel_finops.pricing.snapshot import Fields

Layer: TypeAlias = Literal["override", "contract"]


class Override(NamedTuple):
    """A price that the operator set, or agreed with a vendor.

    Attributes:
        rule_id: the stored rule's id.
        layer: `override` wins over `contract`, that over every list.
        provider: the family that bills (`providers.canonical`), None for any.
        model: the model's name as spans carry it, or a price key; lower case.
        account: whose contract it is: a credential or an account at the provider; None for all calls.
        fields: prices by LiteLLM's field names, USD for one unit. They replace those of the row that the name finds; a name that
            no list knows is priced by them alone. An explicit 0 is free.
        valid_from_ns, valid_to_ns: from when (inclusive) to when (exclusive) it holds, Unix nanoseconds; None = open.
    """

    rule_id: str
    layer: Layer
    provider: str | None
    model: str
    account: str | None
    fields: Fields
    valid_from_ns: int | None = None
    valid_to_ns: int | None = None


class Alias(NamedTuple):
    """Another name of a priced model: an Azure deployment, a Bedrock application profile, a fine-tune, a gateway's name.

    Attributes:
        rule_id: the stored rule's id.
        provider: the family (`providers.canonical`) under which the name occurs, None for any.
        name: the name as spans carry it, lower case.
        target: the key of the price row that it stands for.
        valid_from_ns, valid_to_ns: from when (inclusive) to when (exclusive) it holds, Unix nanoseconds; None = open.
    """

    rule_id: str
    provider: str | None
    name: str
    target: str
    valid_from_ns: int | None = None
    valid_to_ns: int | None = None


class HouseRules(NamedTuple):
    """All rules of an installation, oldest first: of two that speak of one call in one layer, the later wins."""

    overrides: tuple[Override, ...] = ()
    aliases: tuple[Alias, ...] = ()

    def moments_ns(self) -> set[int]:
        """Instants at which some rule begins or ends."""
        prices = ((rule.valid_from_ns, rule.valid_to_ns) for rule in self.overrides)
        names = ((rule.valid_from_ns, rule.valid_to_ns) for rule in self.aliases)
        return {moment for ends in (*prices, *names) for moment in ends if moment is not None}


NO_RULES = HouseRules()
LIST_PRICES = "\0list"
"""As the account that pays: nobody's contract holds, so that the price is that of the lists and the operator's overrides."""


_Rule = TypeVar("_Rule", Override, Alias)


class Rulings:
    """The rules by the names of which they speak. False when there are none."""

    def __init__(self, rules: HouseRules) -> None:
        self._aliases: dict[str, list[Alias]] = {}
        self._overrides: dict[str, list[Override]] = {}
        for alias in rules.aliases:
            self._aliases.setdefault(alias.name, []).append(alias)
        for override in rules.overrides:
            self._overrides.setdefault(override.model, []).append(override)
        self.knows_accounts = any(override.account is not None or override.layer == "contract" for override in rules.overrides)

    def __bool__(self) -> bool:
        return bool(self._aliases or self._overrides)

    def target(self, families: Sequence[str], names: Sequence[str], at_ns: int) -> str | None:
        """The price key that one of the names stands for at the moment: an alias for the provider before one for all, then the later."""
        found = None
        for name in names:
            speaking = _speaking(self._aliases.get(name, ()), families, at_ns)
            found = max(speaking, key=lambda ranked: ranked[:2], default=None)
            if found is not None:
                return found[2].target
        return None

    def prices(self, families: Sequence[str], names: Sequence[str], at_ns: int, account: str | None) -> Iterator[Override]:
        """The contract price and the override that hold for a call, in this order: one for the account before one for all,
        one for the provider before one for all, then the later."""
        rules = [rule for name in dict.fromkeys(names) for rule in self._overrides.get(name, ())]
        speaking = [ranked for ranked in _speaking(rules, families, at_ns) if ranked[2].account in (None, account)]
        for layer in ("override",) if account == LIST_PRICES else ("contract", "override"):
            in_layer = (ranked for ranked in speaking if ranked[2].layer == layer)
            best = max(in_layer, key=lambda ranked: (ranked[2].account is not None, *ranked[:2]), default=None)
            if best is not None:
                yield best[2]


def _speaking(rules: Sequence[_Rule], families: Sequence[str], at_ns: int) -> list[tuple[bool, int, _Rule]]:
    """The rules that hold at the moment for one of the families, each with whether it names the provider and its place in the order."""
    return [
        (rule.provider is not None, place, rule)
        for place, rule in enumerate(rules)
        if (rule.provider is None or rule.provider in families) and _holds(rule, at_ns)
    ]


def _holds(rule: Override | Alias, at_ns: int) -> bool:
    return (rule.valid_from_ns is None or rule.valid_from_ns <= at_ns) and (rule.valid_to_ns is None or at_ns < rule.valid_to_ns)
