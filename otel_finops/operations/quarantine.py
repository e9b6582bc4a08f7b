"""Spans that cannot be recorded: see them, have them retried after the fault is mended, or give them up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, Field

from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Name, Paged, place_cursor
from otel_finops.operations.registry import Changed, Input, Json, Output, operation
from otel_finops.operations.shapes import At, Count

if TYPE_CHECKING:  # the room loads a database toolkit, which `--help` must not wait for
    from otel_finops.ledger.quarantine import Held

_ALL: Final = "all"
_ORDER: Final = "quarantine"
_DIGITS_MAX: Final = 18


def _number_or_all(text: str) -> str:
    if text != _ALL and not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise ValueError("write the number that quarantine.list shows, or 'all'")
    return text


NumberOrAll: TypeAlias = Annotated[str, AfterValidator(_number_or_all), Field(json_schema_extra={"pattern": r"^(all|\d{1,18})$"})]


class QuarantineQuery(Paged):
    """Which spans."""

    realm: Name | None = Field(default=None, description="Only this realm: the tenant of the senders' token, or `default`.")


class HeldSpan(Output):
    """A span in quarantine."""

    no: int
    realm: str
    trace_id: str
    span_id: str
    reason: str = Field(description="Type and place of the error.")
    held_since: At
    retryable: bool = Field(description="False: only its ids could be kept.")


class HeldPage(Output):
    """A page of spans, newest first."""

    spans: list[HeldSpan]
    next_cursor: str | None


class Which(Input):
    """One span, or all that the principal may see."""

    no: NumberOrAll = Field(description="The span's number, as quarantine.list shows it, or `all`.")

    def number(self) -> int | None:
        """The number; None for all."""
        return None if self.no == _ALL else int(self.no)


class RetriedSpans(Output):
    """What became of them."""

    journalled: Count = Field(description="Spans that are in the ledger's journal now.")
    duplicate: Count = Field(description="Spans that were there already: their senders had sent them again.")
    held: list[HeldSpan] = Field(description="Spans that still cannot be recorded, with the error of now.")
    stopped: str | None = Field(description="Why the rest was not tried; null when all were.")


class DroppedSpans(Output):
    """What was given up."""

    dropped: Count


@operation(
    "quarantine.list",
    "quarantine",
    takes=QuarantineQuery,
    output=HeldPage,
    permission="view",
    feature="quarantine",
    summary="List spans that cannot be recorded and are kept apart.",
)
def held(context: Context, principal: Principal, given: QuarantineQuery) -> Json:
    """A page of the spans of the principal's own realms; those of the shared realm are shown to who sees all tenants."""
    place = given.place(_ORDER)
    found = context.quarantine.held(principal.tenants, realm=given.realm, before_no=place[0] if place else None, limit=given.limit + 1)
    page = found[: given.limit]
    return {"spans": _shown(page), "next_cursor": place_cursor(_ORDER, [page[-1].no]) if len(found) > len(page) else None}


@operation(
    "quarantine.retry",
    "quarantine/{no}/retry",
    takes=Which,
    output=RetriedSpans,
    permission="manage",
    feature="quarantine",
    changes=True,
    runs=True,
    summary="Record a span in quarantine, or all of them, once more.",
)
def retry(context: Context, principal: Principal, given: Which) -> Changed:
    """What can be recorded leaves the quarantine and is settled like any late span."""
    done = context.quarantine.retry(principal.tenants, given.number())
    answer = {
        "journalled": done.recorded.journalled,
        "duplicate": done.recorded.duplicates,
        "held": _shown(done.held),
        "stopped": done.fault,
    }
    return Changed(answer, _shown(done.tried), answer)


@operation(
    "quarantine.drop",
    "quarantine/{no}/drop",
    takes=Which,
    output=DroppedSpans,
    permission="manage",
    feature="quarantine",
    changes=True,
    agents=False,
    summary="Give up a span in quarantine, or all of them, for ever.",
)
def drop(context: Context, principal: Principal, given: Which) -> Changed:
    """They are gone afterwards; the audit trail names them."""
    dropped = context.quarantine.drop(principal.tenants, given.number())
    return Changed({"dropped": len(dropped)}, _shown(dropped), [])


def _shown(spans: Sequence[Held]) -> list[dict[str, Any]]:
    return [
        {
            "no": one.no,
            "realm": one.realm,
            "trace_id": one.trace_id,
            "span_id": one.span_id,
            "reason": one.reason,
            "held_since": format_ns(one.since_ns),
            "retryable": one.retryable,
        }
        for one in spans
    ]
