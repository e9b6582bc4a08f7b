"""Commands that are no operation: they stream, act on files, or end with an exit code of their own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from otel_finops.surfaces.cli.database_commands import db_backup, db_restore, db_upgrade
from otel_finops.surfaces.cli.generated import AlwaysJson
from otel_finops.surfaces.cli.policy_commands import policies_export, policies_import
from otel_finops.surfaces.cli.price_commands import fx_import, prices_diff, prices_refresh
from otel_finops.surfaces.cli.proofs import audit_head, audit_verify, ledger_head, ledger_verify
from otel_finops.surfaces.cli.report import report
from otel_finops.surfaces.cli.runtime import guarded, settings_of

if TYPE_CHECKING:
    from otel_finops.base.clock import Clock
    from otel_finops.pricing.engine import PriceEngine
    from otel_finops.settings import Settings


@guarded
def price(context: typer.Context, as_json: AlwaysJson = True) -> None:
    """Price records of standard input, one JSON object a line (docs/pricing.md)."""
    from otel_finops.pricing.calculator import price_lines  # noqa: PLC0415 - `--help` must not load the price rooms

    _calculate(context, price_lines)


@guarded
def resolve(context: typer.Context, as_json: AlwaysJson = True) -> None:
    """Find the price row of every model of standard input, one JSON object a line."""
    from otel_finops.pricing.calculator import resolve_lines  # noqa: PLC0415 - as above

    _calculate(context, resolve_lines)


def _calculate(context: typer.Context, calculator: Callable[[Iterable[str], PriceEngine, Clock], Iterator[str]]) -> None:
    from otel_finops.base.clock import SystemClock  # noqa: PLC0415 - as above

    engine = _engine(settings_of(context))
    lines = (raw.decode("utf-8", "replace") for raw in sys.stdin.buffer)
    for answer in calculator(lines, engine, SystemClock()):
        sys.stdout.write(answer.rstrip("\n") + "\n")
        sys.stdout.flush()


def _engine(settings: Settings) -> PriceEngine:
    """The price book of the settings' ledger, with its lists and house rules; where there is no ledger, that of the settings' list."""
    if not _has_ledger(settings.database.url):
        from otel_finops.pricing.engine import PriceEngine  # noqa: PLC0415 - as above

        return PriceEngine.load(settings.prices.path)
    from otel_finops.operations.local import open_room  # noqa: PLC0415 - a calculator without a ledger must not load the database rooms

    with open_room(settings) as room:
        return room.prices.fresh()


def _has_ledger(url: str) -> bool:
    """False for a SQLite file that is not there."""
    scheme, _, file = url.partition(":///")
    return not scheme.startswith("sqlite") or Path(file.partition("?")[0]).exists()


HAND_WRITTEN: Final[dict[tuple[str, ...], tuple[Callable[..., None], str | None]]] = {
    ("report",): (report, "dashboard"),
    ("price",): (price, None),
    ("resolve",): (resolve, None),
    ("prices", "refresh"): (prices_refresh, "prices"),
    ("prices", "diff"): (prices_diff, "prices"),
    ("fx", "import"): (fx_import, "fx"),
    ("policies", "export"): (policies_export, "policies"),
    ("policies", "import"): (policies_import, "policies"),
    ("ledger", "verify"): (ledger_verify, "ledger"),
    ("ledger", "head"): (ledger_head, "ledger"),
    ("audit", "verify"): (audit_verify, "audit"),
    ("audit", "head"): (audit_head, "audit"),
    ("db", "upgrade"): (db_upgrade, None),
    ("db", "backup"): (db_backup, None),
    ("db", "restore"): (db_restore, None),
}
"""Function and feature switch by the command's words; they stand in place of generated ones of the same words."""
