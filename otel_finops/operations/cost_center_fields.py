"""Cost centres and rules for shared costs in inputs and answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from otel_finops.base.errors import BadInput, Forbidden
from otel_finops.base.limits import SHARE_TARGETS_MAX
from otel_finops.base.money import format_usd
from otel_finops.base.times import format_ns, parse_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.fields import Name
from otel_finops.operations.registry import Input, Output
from otel_finops.operations.scope_fields import ScopeValues
from otel_finops.operations.shapes import At

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.insight.cost_centers import CostCenter, Rule

MethodName: TypeAlias = Literal["even", "proportional", "fixed", "tag"]
WeightName: TypeAlias = Literal["cost", "tokens", "calls"]
Due: TypeAlias = Literal["once", "month"]

_PERCENT: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,6})?")
_MILLIONTHS: Final = 10**6
_SIGNED: Final = r"^-?[0-9]{1,18}(\.[0-9]{1,12})?$"
_DAY: Final = r"^20[0-9][0-9]-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"


def _codes(given: Any) -> Any:
    """`search,ads`, or a list of codes."""
    if isinstance(given, str):
        given = [part.strip() for part in given.split(",") if part.strip()]
    if isinstance(given, list) and len(given) > SHARE_TARGETS_MAX:
        raise ValueError(f"more than {SHARE_TARGETS_MAX} cost centres")
    return given


def _day(text: str) -> str:
    try:
        parse_ns(text)
    except (ValueError, OverflowError):
        raise ValueError("no day; write e.g. 2026-11-01") from None
    return text


_CODES_SCHEMA: Final = {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}], "example": ["search", "ads"]}
Codes: TypeAlias = Annotated[list[Name], BeforeValidator(_codes), WithJsonSchema(_CODES_SCHEMA)]
SignedAmount: TypeAlias = Annotated[str, Field(pattern=_SIGNED, json_schema_extra={"example": "500"})]
Day: TypeAlias = Annotated[str, Field(pattern=_DAY, json_schema_extra={"example": "2026-11-01"}), AfterValidator(_day)]

CODE_TEXT: Final = "As calls bear it in `finops.cost_center`; it is never another."
PARENT_TEXT: Final = "The code of the cost centre that it is a part of"
TENANT_TEXT: Final = "Whose it is; not given: of all tenants, which needs a token for all."
DRY_TEXT: Final = "Check everything and say what would be done; nothing is stored."
REVISION_TEXT: Final = "Only if it is of this revision still: nobody's change is overwritten."
SOURCE_TEXT: Final = (
    "Which calls' cost is shared: DIMENSION=VALUE,DIMENSION=VALUE or a JSON object, by tenant, cost_center, provider, model, operation, "
    "agent, service and environment; all that are given must agree, an empty value stands for not known (`cost_center=`: what is not "
    "allocated). Each call is shared by the first rule that is for it."
)
AMOUNT_TEXT: Final = "Instead of `source`: USD that the ledger knows nothing of, a fee, or negative a credit."
EVERY_TEXT: Final = "When the amount falls due: once, on the day `from`, or on the first day of every month from then on."
METHOD_TEXT: Final = (
    "even: each target the same; proportional: by the targets' own cost, tokens or calls; fixed: by `shares`; tag: by what the calls "
    "with each value of the tag cost."
)
WEIGHT_TEXT: Final = "Of proportional rules: by which of their own figures the targets bear it."
TARGETS_TEXT: Final = (
    "Codes of the cost centres that bear it, a list or text like search,ads. Proportional rules without any: everyone with own cost. Of "
    "rules by tag: which values are taken as codes; not given: all that are."
)
SHARES_TEXT: Final = (
    "Of fixed rules: percents by code, CODE=PERCENT,CODE=PERCENT or a JSON object, with at most six places, at most 100 together. What "
    "they leave stays where it was."
)
TAG_TEXT: Final = "Of rules by tag: the tag's key, one of those that the ledger keeps."
VALUES_TEXT: Final = "Of rules by tag: the codes for which values stand, VALUE=CODE,VALUE=CODE or a JSON object."
FROM_TEXT: Final = "From which day (UTC) on it holds. A report takes the rules that hold on its first day."
TO_TEXT: Final = "Until before which day it holds; not given: for good."
PLACE_TEXT: Final = "Rules are asked in this order, those of one place in the order of their numbers."
ENABLED_TEXT: Final = "Whether it is asked."


class DefinitionNumber(Input):
    """Which one."""

    no: int = Field(ge=1, le=2**53, description="Its number, as the list shows it.")


class Deletion(DefinitionNumber):
    """Which one is taken away."""

    revision: int | None = Field(default=None, ge=1, description=REVISION_TEXT)
    dry_run: bool = Field(default=False, description="Only say what would be taken away.")


class Defined(Output):
    """What every definition has."""

    no: int
    tenant: str | None = Field(description="Null: of all tenants.")
    revision: int
    made_at: At
    made_by: str
    changed_at: At
    changed_by: str


class ShownCenter(Defined):
    """A cost centre."""

    code: str
    name: str
    owner: str | None
    department: str | None
    parent: str | None = Field(description="The code of the one that it is a part of.")
    path: list[str] = Field(description="The codes from the highest one down to itself.")


class ShownRule(Defined):
    """A rule for shared costs, a fee or a credit."""

    name: str
    source: dict[str, str] | None = Field(description="Null for one with an amount of its own.")
    amount_usd: str | None
    every: Due | None = Field(description="Null for one that shares what calls cost.")
    method: MethodName
    weight: WeightName
    targets: list[str]
    shares: dict[str, str] = Field(description="Percents by code.")
    tag: str | None
    values: dict[str, str]
    from_: str | None = Field(alias="from")
    to: str | None
    place: int
    enabled: bool


def shares_of(given: ScopeValues) -> dict[str, int]:
    """Percents as millionths of a percent; raises BadInput for what is none."""
    if wrong := [code for code, text in given.items() if not _PERCENT.fullmatch(text)]:
        raise BadInput(f"shares.{wrong[0][:40]}: a percent is a plain decimal with at most six places, e.g. 33.333333")
    return {code: _millionths(text) for code, text in given.items()}


def _millionths(text: str) -> int:
    whole, _, rest = text.partition(".")
    return int(whole) * _MILLIONTHS + int(rest.ljust(6, "0") or 0)


def _percent(share: int) -> str:
    return format_usd(share * _MILLIONTHS)


def owned(principal: Principal, tenant: str | None, what: str) -> None:
    """Refuse a definition for a tenant that is not the principal's, or for all where he sees some.

    Raises:
        NotFound: the tenant is not his to see.
        Forbidden: it would be of all tenants.
    """
    if tenant is not None:
        principal.must_see(tenant)
    elif principal.tenants is not None:
        raise Forbidden(f"{what} of all tenants needs a token for all; name yours in `tenant`.")


def sees(principal: Principal, one: CostCenter | Rule) -> bool:
    """Whether a definition is the principal's to see."""
    return principal.tenants is None or one.tenant in principal.tenants


def shown_center(one: CostCenter, above: list[CostCenter]) -> dict[str, Any]:
    """A cost centre as answers show it; `above` are those that it is a part of, nearest first."""
    return {
        **_known(one), "code": one.code, "name": one.name, "owner": one.owner, "department": one.department, "parent": one.parent,
        "path": [*(higher.code for higher in reversed(above)), one.code],
    }  # fmt: skip


def shown_rule(one: Rule) -> dict[str, Any]:
    """A rule as answers show it."""
    return {
        **_known(one),
        "name": one.name,
        "source": None if one.source is None else dict(one.source),
        "amount_usd": None if one.amount is None else format_usd(one.amount),
        "every": None if one.amount is None else "month" if one.monthly else "once",
        "method": one.method,
        "weight": one.weight,
        "targets": list(one.targets),
        "shares": {code: _percent(share) for code, share in one.shares.items()},
        "tag": one.tag,
        "values": dict(one.values),
        "from": one.from_day,
        "to": one.to_day,
        "place": one.place,
        "enabled": one.enabled,
    }


def _known(one: CostCenter | Rule) -> Mapping[str, Any]:
    return {
        "no": one.no, "tenant": one.tenant, "revision": one.revision, "made_at": format_ns(one.made_ns), "made_by": one.made_by,
        "changed_at": format_ns(one.changed_ns), "changed_by": one.changed_by,
    }  # fmt: skip
