"""Pools of credits in inputs and answers. Amounts are plain decimal strings in the pool's currency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from re import ASCII, fullmatch
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, Field

from otel_finops.base.limits import CREDIT_AMOUNT_UNITS_MAX
from otel_finops.base.money import PICO_PER_USD, format_usd, parse_usd
from otel_finops.base.times import format_ns
from otel_finops.operations.context import Context
from otel_finops.operations.fields import NAMED, Name
from otel_finops.operations.registry import Input, Output
from otel_finops.operations.scope_fields import ShownScope
from otel_finops.operations.shapes import At, Count

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.governance.credit_desk import GrantState, LowBalance, Movement, PoolState
    from otel_finops.governance.credits import Pool

AccountName: TypeAlias = Literal["balance", "owed", "source", "spend", "expired", "adjustment"]
MovementKind: TypeAlias = Literal["topup", "grant", "debit", "refund", "adjustment", "expiry", "conversion"]


_PLAIN: Final = r"^[0-9]{1,16}(\.[0-9]{1,12})?$"
_SIGNED: Final = r"^-?[0-9]{1,16}(\.[0-9]{1,12})?$"


def _amount(text: str, pattern: str = _PLAIN) -> str:
    if not fullmatch(pattern, text, ASCII):
        raise ValueError(
            "a plain decimal amount with at most 12 decimal places, e.g. 12.5" + (", not negative" if pattern == _PLAIN else "")
        )
    if abs(parse_usd(text)) > CREDIT_AMOUNT_UNITS_MAX * PICO_PER_USD:
        raise ValueError(f"at most {CREDIT_AMOUNT_UNITS_MAX} at a time")
    return text


def _more_than_nothing(text: str) -> str:
    if not parse_usd(_amount(text)):
        raise ValueError("must be more than 0")
    return text


def _signed(text: str) -> str:
    if not parse_usd(_amount(text, _SIGNED)):
        raise ValueError("must not be 0")
    return text


Amount: TypeAlias = Annotated[str, Field(max_length=32, json_schema_extra={"pattern": _PLAIN}), AfterValidator(_amount)]
PositiveAmount: TypeAlias = Annotated[str, Field(max_length=32, json_schema_extra={"pattern": _PLAIN}), AfterValidator(_more_than_nothing)]
SignedAmount: TypeAlias = Annotated[str, Field(max_length=32, json_schema_extra={"pattern": _SIGNED}), AfterValidator(_signed)]
ShownAmount: TypeAlias = Annotated[str, Field(pattern=r"^-?\d+(\.\d{1,12})?$", description="In the pool's currency.")]
WHY: Final[Any] = Field(min_length=1, max_length=500, description="Stands on record.", json_schema_extra=NAMED)
DRY_RUN: Final[Any] = Field(default=False, description="Check everything and say what would be done; nothing is stored.")


class PoolNumber(Input):
    """Which pool."""

    no: int = Field(ge=1, le=2**53, description="The pool's number, as credits.list shows it.")


class PoolStanding(Output):
    """How a pool stands."""

    balance: ShownAmount = Field(description="What it holds; of a hard pool never below 0.")
    owed: ShownAmount = Field(description="What calls cost beyond the balance of a hard pool: the next money that comes in pays it first.")
    held: ShownAmount = Field(description="For calls that are being made.")
    available: ShownAmount = Field(description="What may still be promised to calls: the balance less what is owed and held.")
    funded: ShownAmount = Field(description="Put in over all time.")
    spent: ShownAmount = Field(description="What its calls cost over all time.")
    expired: ShownAmount = Field(description="What lapsed of grants over all time.")
    adjusted: ShownAmount = Field(description="Put in, or taken out, without a call over all time.")
    next_expiry_at: At | None = Field(description="When the next grant with money left expires; null: none does.")
    is_low: bool = Field(description="The balance less what is owed lies below `low`.")


class ShownPool(Output):
    """A pool as it is defined."""

    no: int
    name: str
    tenant: str | None = Field(description="Whose it is; null: it pays calls of several.")
    scope: ShownScope
    currency: str
    hard: bool = Field(description="A call that it cannot pay is halted; a soft pool only tells.")
    low: ShownAmount | None = Field(description="Below which level an alert is recorded; null: none is.")
    from_: At | None = Field(alias="from", description="It pays calls that start at this instant or later; null: all.")
    to: At | None = Field(description="It pays calls that start before this instant; null: all.")
    open: bool = Field(description="False: it was closed and pays for no further call.")
    revision: int
    made_at: At
    made_by: str
    changed_at: At
    changed_by: str
    why: str = Field(description="The reason of the last change.")


class PoolNow(ShownPool):
    """A pool, and how it stands."""

    standing: PoolStanding


class PoolRow(Output):
    """A pool in a list: what it is for, and how it stands."""

    no: int
    name: str
    tenant: str | None = Field(description="Whose it is; null: it pays calls of several.")
    scope: ShownScope
    currency: str
    hard: bool
    open: bool
    balance: ShownAmount
    owed: ShownAmount
    held: ShownAmount
    available: ShownAmount = Field(description="What may still be promised to calls: the balance less what is owed and held.")
    low: ShownAmount | None
    is_low: bool
    next_expiry_at: At | None


class PoolAnswer(Output):
    """The pool as it is now, or of a dry run as it would be."""

    pool: PoolNow
    changed: bool = Field(description="False: it was so already, or this was a dry run.")


class MoneyAnswer(Output):
    """How the pool stood and how it stands, or of a dry run would stand."""

    no: int
    currency: str
    before: PoolStanding
    after: PoolStanding
    changed: bool = Field(description="False: this was a dry run.")


class Leg(Output):
    """What a movement puts into an account, or takes from it."""

    account: AccountName
    amount: ShownAmount


class ShownMovement(Output):
    """A movement of a pool's money; its legs come to 0."""

    no: int
    kind: MovementKind
    at: At
    amount: ShownAmount = Field(description="What it changed the balance and what is owed by, together.")
    balance: ShownAmount = Field(description="The balance after it.")
    legs: list[Leg]
    who: str | None = Field(description="Who moved it; null: calls that were booked, or the clock.")
    why: str | None
    calls: Count = Field(description="How many rows of the ledger moved it.")
    block: str | None = Field(description="The ledger's block that those rows are in, SHARD-BLOCK; null where no calls moved it.")
    grant: int | None = Field(description="The grant that it made, or that expired.")


class ShownGrant(Output):
    """Money that expires."""

    no: int
    amount: ShownAmount
    used: ShownAmount
    expired: ShownAmount
    left: ShownAmount
    expires_at: At


class ShownAlert(Output):
    """A pool fell below its `low`; recorded once until it has risen again."""

    no: int
    pool: int
    name: Name
    tenant: str | None
    currency: str
    low: ShownAmount
    level: ShownAmount = Field(description="The balance less what was owed then.")
    at: At
    over_at: At | None = Field(description="When it had enough again; null: it has not.")


def shown_pools(context: Context, pools: Sequence[Pool]) -> list[dict[str, Any]]:
    """Pools as answers show them, with clear ids in their scopes."""
    scopes = context.credits.clear([one.scope for one in pools])
    return [_shown(pool, scope) for pool, scope in zip(pools, scopes, strict=True)]


def pools_now(context: Context, pools: Sequence[Pool]) -> list[dict[str, Any]]:
    """The same with how they stand; one that is not stored holds nothing."""
    from otel_finops.governance.credit_desk import PoolState  # noqa: PLC0415 - `--help` must not load the database rooms

    states = context.credits.states(pools)
    shown = shown_pools(context, pools)
    return [{**said, "standing": standing(states.get(pool.no, PoolState()))} for pool, said in zip(pools, shown, strict=True)]


def pool_rows(context: Context, pools: Sequence[Pool]) -> list[dict[str, Any]]:
    """The same as rows of a list."""
    whole = pools_now(context, pools)
    return [{name: {**one, **one["standing"]}[name] for name in PoolRow.model_fields} for one in whole]


def _shown(pool: Pool, scope: Mapping[str, str]) -> dict[str, Any]:
    return {
        "no": pool.no,
        "name": pool.name,
        "tenant": pool.tenant,
        "scope": scope,
        "currency": pool.currency,
        "hard": pool.hard,
        "low": None if pool.low is None else format_usd(pool.low),
        "from": _at(pool.from_ns),
        "to": _at(pool.to_ns),
        "open": pool.is_open,
        "revision": pool.revision,
        "made_at": format_ns(pool.made_ns),
        "made_by": pool.made_by,
        "changed_at": format_ns(pool.changed_ns),
        "changed_by": pool.changed_by,
        "why": pool.why,
    }


def standing(state: PoolState) -> dict[str, Any]:
    """How a pool stands, as answers show it."""
    amounts = ("balance", "owed", "held", "available", "funded", "spent", "expired", "adjusted")
    shown = {name: format_usd(getattr(state, name)) for name in amounts}
    return {**shown, "next_expiry_at": _at(state.next_expiry_ns), "is_low": state.is_low}


def shown_movement(one: Movement) -> dict[str, Any]:
    """A movement as answers show it."""
    return {
        "no": one.no,
        "kind": one.kind,
        "at": format_ns(one.at_ns),
        "amount": format_usd(one.legs.get("balance", 0) + one.legs.get("owed", 0)),
        "balance": format_usd(one.after),
        "legs": [{"account": account, "amount": format_usd(amount)} for account, amount in one.legs.items()],
        "who": one.who or None,
        "why": one.why or None,
        "calls": one.calls,
        "block": None if one.shard is None else f"{one.shard}-{one.block_seq}",
        "grant": one.grant_no,
    }


def shown_grant(one: GrantState) -> dict[str, Any]:
    """A grant as answers show it."""
    amounts = {"amount": one.amount, "used": one.used, "expired": one.expired, "left": one.left}
    return {"no": one.no, **{name: format_usd(amount) for name, amount in amounts.items()}, "expires_at": format_ns(one.expires_ns)}


def shown_alert(one: LowBalance) -> dict[str, Any]:
    """An alert as answers show it."""
    return {
        "no": one.no,
        "pool": one.pool.no,
        "name": one.pool.name,
        "tenant": one.pool.tenant,
        "currency": one.pool.currency,
        "low": format_usd(one.low),
        "level": format_usd(one.level),
        "at": format_ns(one.at_ns),
        "over_at": _at(one.over_ns),
    }


def _at(instant_ns: int | None) -> str | None:
    return None if instant_ns is None else format_ns(instant_ns)
