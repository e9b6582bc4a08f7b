"""`report`: what was spent in the last days. It asks the dashboard's operations; all numbers are theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple, get_args

import typer

from otel_finops.base.errors import BadInput
from otel_finops.base.times import format_ns, parse_ns
from otel_finops.base.zones import back, zone_of
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.operations.dashboard import KeyName
from otel_finops.operations.registry import Json
from otel_finops.surfaces.cli.generated import JsonOption, completed_list
from otel_finops.surfaces.cli.progress import shown
from otel_finops.surfaces.cli.runtime import guarded, write_json
from otel_finops.surfaces.cli.transport import Transport, transport_of

_BY: Final = "model,agent,tenant"
_DAYS_MAX: Final = 366
_TOP_MAX: Final = 100


def _complete_keys(incomplete: str) -> list[str]:
    return completed_list(incomplete, get_args(KeyName))


@guarded
def report(
    context: typer.Context,
    days: Annotated[int, typer.Option("--days", help="So many days, today among them.", min=1, max=_DAYS_MAX)] = 30,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant.")] = None,
    by: Annotated[
        str,
        typer.Option("--by", help="What cost most, by these keys of dashboard.top.", metavar="KEY,KEY", autocompletion=_complete_keys),
    ] = _BY,
    top: Annotated[int, typer.Option("--top", help="Lines of each list.", min=1, max=_TOP_MAX)] = 5,
    to: Annotated[str | None, typer.Option("--to", help="The days before this instant instead of those up to now.")] = None,
    zone: Annotated[str | None, typer.Option("--zone", help="IANA time zone in which days begin, e.g. Europe/Rome.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was spent in the last days: sums, change, a curve, and what cost most."""
    keys = tuple(dict.fromkeys(key.strip() for key in by.split(",") if key.strip()))
    common = {name: value for name, value in {"tenant": tenant, "to": to, "zone": zone}.items() if value is not None}
    with shown("report"):
        answers = ask(transport_of(context), days, keys, top, common)
    if as_json:
        write_json({"days": days, "tenant": tenant, **answers._asdict()})
        return
    from otel_finops.surfaces.cli.report_drawing import draw  # noqa: PLC0415 - `--help` does not need tables
    from otel_finops.surfaces.cli.tables import screen  # noqa: PLC0415

    draw(screen(), days, tenant, answers)


class Answers(NamedTuple):
    """What the dashboard says.

    Attributes:
        kpis: of `dashboard.kpis`; its `window` is the report's time.
        trend: of `dashboard.trend`, day by day.
        top: of `dashboard.top`, by key.
    """

    kpis: Json
    trend: Json
    top: Mapping[str, Json]


def ask(transport: Transport, days: int, keys: Sequence[str], top: int, common: Mapping[str, str]) -> Answers:
    """Ask for the last days, up to `to` or now; the time zone is the one that the dashboard uses."""

    def run(name: str, **more: Any) -> Json:
        one = OPERATIONS.named(name)
        return transport.run(one, one.input.model_validate({**common, **more}))

    first = run("dashboard.trend")
    if not first["pieces"]:
        raise BadInput("--to: there is no day before it")
    until_ns = parse_ns(first["pieces"][-1]["to"])
    since = format_ns(back("day", until_ns - 1, days - 1, zone_of(first["zone"])))
    trend = first if len(first["pieces"]) == days else run("dashboard.trend", **{"from": since})
    return Answers(
        run("dashboard.kpis", **{"from": since}), trend, {key: run("dashboard.top", by=key, limit=top, **{"from": since}) for key in keys}
    )
