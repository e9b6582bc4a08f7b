"""What an operator says about prices: overrides, contract prices and other names for models. They win over every list."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

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


NO_RULES = HouseRules()
