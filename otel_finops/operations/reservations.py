"""Reservations: what decisions hold for calls, until their entries are booked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field

from otel_finops.base.limits import RESERVATION_ID_CHARS_MAX, UNITS_PER_CALL_MAX
from otel_finops.base.money import format_usd
from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Amount, Paged, TenantScoped, amount_of, place_cursor, place_of
from otel_finops.operations.registry import Input, Json, Output, operation
from otel_finops.operations.shapes import At, Count, Usd

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.governance.reservations import Reservation

StateName: TypeAlias = Literal["held", "settled", "booked", "expired", "released"]
_ORDER: Final = "reservations.list"


class ShownReservation(Output):
    """What is, or was, held for a call."""

    reservation_id: str = Field(description="That of its decision.")
    tenant: str
    state: StateName = Field(
        description="held: at the estimate; settled: at what it came to; then booked with its entry, expired, or released by the caller."
    )
    estimate_usd: Usd | None = Field(description="Null: nobody knew.")
    tokens: Count = Field(description="Prompt and most output.")
    actual_usd: Usd | None = Field(description="What the caller says it came to; null: it is not settled, or he did not say.")
    actual_tokens: Count | None
    made_at: At
    settled_at: At | None
    expires_at: At = Field(description="When it is given back unless something else happens before.")
    ended_at: At | None = Field(description="Null: it is held.")


class ReservationId(Input):
    """Which reservation."""

    reservation_id: Annotated[str, Field(min_length=1, max_length=RESERVATION_ID_CHARS_MAX)] = Field(
        description="The `reservation_id` of a decision."
    )


class SettleInput(ReservationId):
    """What a call came to."""

    actual_usd: Amount | None = Field(default=None, description="What the call came to; without it the estimate stays held.")
    tokens: Annotated[int, Field(ge=0, le=UNITS_PER_CALL_MAX)] | None = Field(
        default=None, description="Prompt and output tokens; without it those of the estimate stay held."
    )


@operation(
    "reservations.settle",
    "reservations/{reservation_id}/settle",
    takes=SettleInput,
    output=ShownReservation,
    permission="ingest",
    feature="decisions",
    changes=True,
    own_record=True,
    agents=False,
    summary="Say what a call came to: what is held for it becomes that, until its span is booked.",
)
def settle(context: Context, principal: Principal, given: SettleInput) -> Json:
    """Saying the same twice changes nothing."""
    actual = None if given.actual_usd is None else amount_of("actual_usd", given.actual_usd)
    return _shown(context.decisions.settle(given.reservation_id, actual, given.tokens, principal.tenants))


@operation(
    "reservations.release",
    "reservations/{reservation_id}/release",
    takes=ReservationId,
    output=ShownReservation,
    permission="ingest",
    feature="decisions",
    changes=True,
    own_record=True,
    agents=False,
    summary="Give back what is held for a call that is not made after all.",
)
def release(context: Context, principal: Principal, given: ReservationId) -> Json:
    """Of one that has ended nothing changes."""
    return _shown(context.decisions.release(given.reservation_id, principal.tenants))


class ReservationsInput(TenantScoped, Paged):
    """Which reservations."""

    state: StateName | None = Field(default=None, description="Only those in this state; held and settled ones are held now.")


class Reservations(Output):
    """Reservations, newest first."""

    reservations: list[ShownReservation]
    next_cursor: str | None


@operation(
    "reservations.list",
    "reservations",
    takes=ReservationsInput,
    output=Reservations,
    permission="view",
    feature="decisions",
    summary="List what decisions hold or held for calls, newest first.",
)
def listed(context: Context, principal: Principal, given: ReservationsInput) -> Json:
    """Those of the principal's tenants."""
    place: Any = place_of(given.cursor, _ORDER, refs=1)
    found = context.decisions.reservations(given.tenants(principal), given.state, place, given.limit + 1)
    page = found[: given.limit]
    return {
        "reservations": [_shown(one) for one in page],
        "next_cursor": place_cursor(_ORDER, [page[-1].made_ns, page[-1].id]) if len(found) > given.limit else None,
    }


@operation(
    "reservations.show",
    "reservations/{reservation_id}",
    takes=ReservationId,
    output=ShownReservation,
    permission="view",
    feature="decisions",
    summary="Show what is, or was, held for one call.",
)
def show(context: Context, principal: Principal, given: ReservationId) -> Json:
    """The decision of the same id says for which call."""
    return _shown(context.decisions.reservation(given.reservation_id, principal.tenants))


def _shown(one: Reservation) -> Json:
    return {
        "reservation_id": one.id,
        "tenant": one.tenant,
        "state": one.state,
        "estimate_usd": _usd(one.estimate_pico),
        "tokens": one.tokens,
        "actual_usd": _usd(one.actual_pico),
        "actual_tokens": one.actual_tokens,
        "made_at": format_ns(one.made_ns),
        "settled_at": _at(one.settled_ns),
        "expires_at": format_ns(one.expires_ns),
        "ended_at": _at(one.ended_ns),
    }


def _usd(pico: int | None) -> str | None:
    return None if pico is None else format_usd(pico)


def _at(instant_ns: int | None) -> str | None:
    return None if instant_ns is None else format_ns(instant_ns)
