"""Deliveries: what became of each notice in each channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from pydantic import Field

from otel_finops.base.times import format_ns
from otel_finops.identity.principals import Principal
from otel_finops.operations.channel_fields import DeliveryNumber, SeverityName
from otel_finops.operations.context import Context
from otel_finops.operations.fields import Name, Paged, place_cursor
from otel_finops.operations.registry import Changed, Input, Json, Output, Unchanged, operation
from otel_finops.operations.shapes import At

if TYPE_CHECKING:  # `--help` must not load the database rooms
    from otel_finops.alerting.delivery_log import Delivery, Tried

StatusName: TypeAlias = Literal["waiting", "delivered", "failed"]
_ORDER: Final = "deliveries.list"


class ShownDelivery(Output):
    """A notice on its way by one channel."""

    no: int
    channel: int
    channel_name: str = Field(description="How the channel was called first.")
    status: StatusName
    attempts: int = Field(description="Those that were begun.")
    said: str = Field(description="What came of the last attempt; empty before the first ended.")
    next_at: At | None = Field(description="Waiting: no attempt before.")
    under_way: bool = Field(description="A process attempts it, or did when it was last heard of.")
    done_at: At | None = Field(description="When it was delivered or given up.")
    made_at: At = Field(description="When it was put into the outbox, or somebody had it tried again.")
    notice_id: str = Field(description="The same in every attempt and in every channel; a webhook's `webhook-id`.")
    tenant: str | None = Field(description="Whom the notice is about; null: all tenants.")
    rule: str
    severity: SeverityName
    state: Literal["firing", "resolved"]
    title: str


class DeliveryQuery(Paged):
    """Which deliveries."""

    status: StatusName | None = Field(default=None, description="Only those of this status.")
    channel: int | None = Field(default=None, ge=1, le=2**63 - 1, description="Only those of the channel of this number.")
    rule: Name | None = Field(default=None, description="Only those of notices of this rule.")
    notice_id: Name | None = Field(default=None, description="Only those of this notice.")


class DeliveryPage(Output):
    """Deliveries, newest first."""

    deliveries: list[ShownDelivery]
    next_cursor: str | None


@operation(
    "deliveries.list",
    "deliveries",
    takes=DeliveryQuery,
    output=DeliveryPage,
    permission="view",
    feature="channels",
    summary="List what became of notices: what waits, what was delivered, what was given up and why.",
)
def listed(context: Context, principal: Principal, given: DeliveryQuery) -> Json:
    """Notices about the principal's tenants by channels of these; all for who sees all."""
    from otel_finops.alerting.delivery_log import Query  # noqa: PLC0415 - `--help` must not load the database rooms

    query = Query(given.status, given.channel, given.rule, given.notice_id)
    place = given.place(_ORDER)
    found = context.channels.deliveries(principal.tenants, query, place[0] if place else None, given.limit + 1)
    page = found[: given.limit]
    cursor = place_cursor(_ORDER, [page[-1].no]) if len(found) > given.limit else None
    return {"deliveries": [shown_delivery(one) for one in page], "next_cursor": cursor}


class ShownAttempt(Output):
    """An attempt that ended."""

    attempt: int = Field(description="1 is the first.")
    at: At
    duration_ms: int
    outcome: Literal["delivered", "again", "failed"] = Field(description="`again`: it was to be tried again.")
    code: int | None = Field(description="Status of HTTP or SMTP; null: there was no answer.")
    said: str


class DeliveryShown(Output):
    """A delivery, and its attempts."""

    delivery: ShownDelivery
    text: str = Field(description="What the notice says.")
    figures: dict[str, str]
    labels: dict[str, str]
    attempts: list[ShownAttempt] = Field(description="The last fifty, newest first.")


@operation(
    "deliveries.show",
    "deliveries/{no}",
    takes=DeliveryNumber,
    output=DeliveryShown,
    permission="view",
    feature="channels",
    summary="Show a delivery: what is told, and every attempt.",
)
def show(context: Context, principal: Principal, given: DeliveryNumber) -> Json:
    """The notice as it is told, and what came of each attempt."""
    delivery, attempts = context.channels.delivery(given.no, principal.tenants)
    return {
        "delivery": shown_delivery(delivery),
        "text": delivery.notice.text,
        "figures": dict(delivery.notice.figures),
        "labels": dict(delivery.notice.labels),
        "attempts": [_shown_attempt(one) for one in attempts],
    }


class Retry(DeliveryNumber):
    """Which delivery."""

    dry_run: bool = Field(default=False, description="Only say whether that can be done.")


class DeliveryAnswer(Output):
    """The delivery as it is now."""

    delivery: ShownDelivery
    changed: bool = Field(description="False: this was a dry run.")


@operation(
    "deliveries.retry",
    "deliveries/{no}/retry",
    takes=Retry,
    output=DeliveryAnswer,
    permission="manage",
    feature="channels",
    changes=True,
    agents=False,
    summary="Have a delivery that was given up attempted anew, with the same id.",
)
def retry(context: Context, principal: Principal, given: Retry) -> Changed | Unchanged:
    """It waits again, as if it had just been put into the outbox."""
    before, after = context.channels.try_again(given.no, principal.tenants, dry_run=given.dry_run)
    answer = {"delivery": shown_delivery(after), "changed": not given.dry_run}
    if given.dry_run:
        return Unchanged(answer)
    return Changed(answer, shown_delivery(before), shown_delivery(after), before.channel_tenant)


class Delivering(Input):
    """Whether to deliver."""

    dry_run: bool = Field(default=False, description="Deliver nothing; only say that it may be done.")


class Delivered(Output):
    """What came of the attempts."""

    delivered: int
    again: int = Field(description="Attempts that failed and will be made again.")
    failed: int = Field(description="Given up.")


@operation(
    "deliveries.run",
    "deliveries/run",
    takes=Delivering,
    output=Delivered,
    permission="manage",
    feature="channels",
    changes=True,
    runs=True,
    agents=False,
    summary="Attempt now what is due, as a running service does by itself.",
)
def run(context: Context, principal: Principal, given: Delivering) -> Changed | Unchanged:
    """Deliveries that another process attempts at this moment are left to it."""
    principal.must_see_all("deliveries.run attempts the deliveries of all tenants")
    if given.dry_run:
        return Unchanged({"delivered": 0, "again": 0, "failed": 0})
    done = context.channels.deliver()._asdict()
    return Changed(done, None, done)


def shown_delivery(one: Delivery) -> dict[str, Any]:
    """A delivery as answers show it."""
    return {
        "no": one.no, "channel": one.channel_no, "channel_name": one.channel_name, "status": one.status, "attempts": one.attempts,
        "said": one.said, "next_at": None if one.next_ns is None else format_ns(one.next_ns), "under_way": one.under_way,
        "done_at": None if one.done_ns is None else format_ns(one.done_ns), "made_at": format_ns(one.made_ns),
        "notice_id": one.notice.notice_id, "tenant": one.notice.tenant or None, "rule": one.notice.rule,
        "severity": one.notice.severity, "state": one.notice.state, "title": one.notice.title,
    }  # fmt: skip


def _shown_attempt(one: Tried) -> dict[str, Any]:
    return {
        "attempt": one.attempt, "at": format_ns(one.at_ns), "duration_ms": one.duration_ms, "outcome": one.outcome, "code": one.code,
        "said": one.said,
    }  # fmt: skip
