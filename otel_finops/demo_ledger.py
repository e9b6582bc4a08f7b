"""Fills an empty ledger with the demo's story (`demo.history`): the service's own parts on a clock that is set."""

from __future__ import annotations

from typing import Final

from otel_finops.app import Core, open_core
from otel_finops.base.clock import Clock, SystemClock
from otel_finops.base.errors import StartRefused
from otel_finops.demo.history import PlayedClock, Span, Told, write_history
from otel_finops.demo.management import Management
from otel_finops.demo.notices import NoticeDesk
from otel_finops.operations.local import make_context
from otel_finops.settings.tree import Settings

_LEAST_USD: Final = 2.0
_LOOK_BACK_DAYS: Final = 8
"""Nothing comes late in the story, so that a week is enough; the story looks once a week at least."""


def demo_settings(settings: Settings) -> Settings:
    """The settings under which the demo's ledger is served, where nothing else is said: what is decided holds, and of a company this small
    what stands out by less than two dollars is no finding.
    """
    changed: dict[str, object] = {}
    if settings.enforcement == type(settings.enforcement)():
        changed["enforcement"] = settings.enforcement.model_copy(update={"mode": "enforce"})
    if settings.anomalies == type(settings.anomalies)():
        changed["anomalies"] = settings.anomalies.model_copy(update={"least_usd": _LEAST_USD})
    return settings.model_copy(update=changed)


def fill_ledger(settings: Settings, *, days: int, seed: int = 1, clock: Clock | None = None) -> Told:
    """Write the story that ends now into the ledger that the settings name.

    Args:
        clock: says when the story ends; the machine's when not given.

    Raises:
        StartRefused: the ledger cannot be opened, or holds calls already: made-up costs do not belong among others.
    """
    span = Span.until((clock or SystemClock()).now_ns(), days)
    played = PlayedClock(span.from_ns)
    with NoticeDesk() as desk, open_core(_quiet(demo_settings(settings), desk), "demo", played) as core:
        _must_be_empty(core)
        context = make_context(core.settings, core.store, core.subjects, core.prices, core.clock, anywhere=True)
        management = Management(context, seed=seed, hook=desk.url)
        return write_history(span, played, core.pipeline, core.settler, management, seed=seed)


def _quiet(settings: Settings, desk: NoticeDesk) -> Settings:
    """The settings under which the story is told: decisions hold, notices come to the desk, and nothing goes elsewhere."""
    enforcement = settings.enforcement.model_copy(update={"mode": "enforce"})
    anomalies = settings.anomalies.model_copy(update={"look_back": _LOOK_BACK_DAYS})
    outbound = settings.outbound.model_copy(update={"networks": (desk.network,), "ports": (443, desk.port)})
    telemetry = type(settings.telemetry)()
    return settings.model_copy(update={"enforcement": enforcement, "anomalies": anomalies, "outbound": outbound, "telemetry": telemetry})


def _must_be_empty(core: Core) -> None:
    with core.store.read() as transaction:
        if transaction.execute("SELECT 1 FROM traces LIMIT 1"):
            raise StartRefused(
                f"the ledger {core.store.place} holds calls already, and the demo's story is written into an empty one alone; "
                "name another one by --database, or leave --history out"
            )
