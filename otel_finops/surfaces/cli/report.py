"""`report`: what was spent in the last days. It asks `spend.report` a few times; all numbers are that operation's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final, NamedTuple

import typer

from otel_finops.base.errors import BadInput
from otel_finops.base.times import format_ns, parse_ns
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.registry import Json
from otel_finops.surfaces.cli.generated import JsonOption, complete_keys
from otel_finops.surfaces.cli.progress import shown
from otel_finops.surfaces.cli.runtime import guarded, write_json
from otel_finops.surfaces.cli.transport import Transport, transport_of

_BY: Final = "model,agent,tenant"
_DAYS_MAX: Final = 366
_TOP_MAX: Final = 100
_NS_A_DAY: Final = 86_400 * 10**9


class Span(NamedTuple):
    """The days of a report: [from_ns, to_ns), the first from midnight UTC on, the last as far as it has come."""

    from_ns: int
    to_ns: int
    days: int

    def before(self) -> Span:
        """As many days before, up to the same time of the day, so that like is held against like."""
        back = self.days * _NS_A_DAY
        return Span(self.from_ns - back, self.to_ns - back, self.days)

    def dates(self) -> list[date]:
        """Every day."""
        first = _day(self.from_ns)
        return [first + timedelta(days=number) for number in range(self.days)]

    def as_input(self) -> dict[str, str]:
        """As operations take it."""
        return {"from": format_ns(self.from_ns), "to": format_ns(self.to_ns)}


def last_days(days: int, to: str | None) -> Span:
    """The days up to an instant, or up to now.

    Raises:
        BadInput: no instant, or so many days before it that time has not begun.
    """
    try:
        to_ns = int(datetime.now(UTC).timestamp()) * 10**9 if to is None else parse_ns(to)
    except ValueError:
        raise BadInput("--to: not an instant; write a date (2026-11-21) or RFC 3339 (2026-11-21T09:30:00Z)") from None
    first_ns = (to_ns - 1) // _NS_A_DAY * _NS_A_DAY - (days - 1) * _NS_A_DAY
    if first_ns < days * _NS_A_DAY:
        raise BadInput("--to: so early that there are no days before it")
    return Span(first_ns, to_ns, days)


@guarded
def report(
    context: typer.Context,
    days: Annotated[int, typer.Option("--days", help="So many days, today among them.", min=1, max=_DAYS_MAX)] = 30,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant.")] = None,
    by: Annotated[
        str,
        typer.Option("--by", help="What cost most, by these keys of spend.report.", metavar="KEY,KEY", autocompletion=complete_keys),
    ] = _BY,
    top: Annotated[int, typer.Option("--top", help="Lines of each list.", min=1, max=_TOP_MAX)] = 5,
    to: Annotated[str | None, typer.Option("--to", help="The days before this instant instead of those up to now.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was spent in the last days: sums, change, a curve, and what cost most."""
    span = last_days(days, to)
    keys = tuple(dict.fromkeys(key.strip() for key in by.split(",") if key.strip()))
    transport = transport_of(context)
    with shown("report"):
        answers = Answers.of(transport, span, keys, tenant)
    if as_json:
        write_json({**span.as_input(), "days": days, "tenant": tenant, **answers.to_json()})
        return
    from otel_finops.surfaces.cli.report_drawing import draw  # noqa: PLC0415 - `--help` does not need tables
    from otel_finops.surfaces.cli.tables import screen  # noqa: PLC0415

    draw(screen(), span, tenant, answers, top)


class Answers(NamedTuple):
    """What `spend.report` says: of the days, of those before, day by day, and by each key."""

    now: Json
    before: Json
    daily: Json
    by: Mapping[str, Json]

    @classmethod
    def of(cls, transport: Transport, span: Span, keys: Sequence[str], tenant: str | None) -> Answers:
        """Ask for all of it."""

        def ask(window: Span, group_by: str = "") -> Json:
            one = OPERATIONS.named("spend.report")
            whose = {} if tenant is None else {"tenant": tenant}
            grouped = {"group_by": group_by} if group_by else {}
            return transport.run(one, one.input.model_validate({**window.as_input(), **whose, **grouped}))

        return cls(ask(span), ask(span.before()), ask(span, "day"), {key: ask(span, key) for key in keys})

    def to_json(self) -> dict[str, Any]:
        """The answers as they came."""
        return self._asdict()


def _day(instant_ns: int) -> date:
    return datetime.fromtimestamp(instant_ns // 10**9, UTC).date()
