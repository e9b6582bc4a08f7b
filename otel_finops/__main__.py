"""The command `otel-finops`: the commands that run the service itself; all others are made in `surfaces.cli`.

Rooms are imported where a command needs them, so that `--help` answers at once.
"""

from __future__ import annotations

import enum
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Annotated, Final

import typer

from otel_finops.base.logs import start_logging
from otel_finops.surfaces.cli.main import main as run_cli
from otel_finops.surfaces.cli.progress import shown
from otel_finops.surfaces.cli.runtime import guarded, settings_of, write_json

if TYPE_CHECKING:
    from otel_finops.app import Ports
    from otel_finops.settings.tree import Settings

_log: Final = logging.getLogger("otel_finops")

DEMO_DATABASE: Final = "sqlite:///otel-finops-demo.db"
"""Where the demo's ledger goes unless a database is set: made-up costs do not belong among real ones."""


class Signal(enum.StrEnum):
    """What a file holds."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"


@guarded
def serve(context: typer.Context) -> None:
    """Run the service: OTLP receivers, ledger, web side. Ends on SIGINT or SIGTERM, orderly."""
    settings = settings_of(context, serves=True)
    start_logging(settings.log.level, settings.log.format)
    _run_service(settings, _stop_event())


@guarded
def demo(
    context: typer.Context,
    rate: Annotated[float, typer.Option(help="Runs a second, all three applications together.", min=0.1, max=50.0)] = 2.0,
    seconds: Annotated[float, typer.Option(help="End by itself after this time; 0 runs until it is stopped.", min=0.0)] = 0.0,
    history: Annotated[bool, typer.Option(help="First write six weeks of a made-up company into the empty ledger.")] = False,
) -> None:
    """Run the service with realistic traffic: three agent applications with stock instrumentations and a provider on this machine."""
    from otel_finops.demo.traffic import make_apps, missing_modules, require_extra, run_demo_traffic  # noqa: PLC0415

    settings = settings_of(context, serves=True)
    if not history:
        require_extra(make_apps())
    start_logging(settings.log.level, settings.log.format)
    stop = _stop_event()
    if settings.database == type(settings.database)():
        settings = settings.model_copy(update={"database": settings.database.model_copy(update={"url": DEMO_DATABASE})})
    if history:
        settings = _with_history(settings)
    traffic = not missing_modules(make_apps())

    def send(ports: Ports, place: str) -> None:
        _print_urls(ports, place, traffic)
        if traffic:
            Thread(target=run_demo_traffic, args=(f"http://127.0.0.1:{ports.grpc}", stop, rate), name="demo").start()
        if seconds:
            Thread(target=_end_after, args=(stop, seconds), name="demo-end", daemon=True).start()

    _run_service(settings, stop, send)


@guarded
def ingest(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="OTLP files: .binpb, .json or .jsonl.", metavar="FILE...")],
    signal: Annotated[Signal, typer.Option(help="What the files hold. Calls are priced from traces and logs.")] = Signal.TRACES,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Take in OTLP files and settle them. Taking in the same files again changes nothing."""
    from otel_finops.app import open_core  # noqa: PLC0415
    from otel_finops.ingest import ingest_files  # noqa: PLC0415
    from otel_finops.otlp.files import check_readable  # noqa: PLC0415

    settings = settings_of(context)
    start_logging(settings.log.level, settings.log.format)
    check_readable(files)
    if signal is Signal.METRICS:
        _log.warning("%d files of metrics ignored: calls are priced from traces and logs", len(files))
        return
    with open_core(settings, "ingest") as core:
        from_logs = signal is Signal.LOGS
        intake, counted = (core.log_pipeline, core.metrics.log_counts) if from_logs else (core.pipeline, core.metrics.span_counts)
        with shown("ingest"):
            result = ingest_files(files, intake, counted, core.settler)
    if as_json:
        write_json(result._asdict())
    else:
        print(
            f"{result.received} {'log records' if from_logs else 'spans'} in {result.requests} requests: {result.journalled} new,"
            f" {result.duplicate} known, {result.rejected} refused{f', {result.ignored} without a call' if from_logs else ''};"
            f" {result.settled_traces} traces settled"
        )


def main() -> None:
    """The entry point."""
    run_cli({"serve": serve, "demo": demo, "ingest": ingest})


def _run_service(settings: Settings, stop: Event, started: Callable[[Ports, str], None] | None = None) -> None:
    from otel_finops.app import Service, open_core  # noqa: PLC0415

    with open_core(settings, "serve") as core:
        service = Service(core)
        ports = service.start()
        try:
            _log.info("ready: OTLP/gRPC on port %s, OTLP/HTTP on port %s, web on port %s, ledger %s", *ports, core.store.place)
            _show_first_admin(service.first_admin())
            if started is not None:
                started(ports, core.store.place)
            stop.wait()
            _log.info("stopping")
        finally:
            stop.set()
            service.stop()


def _with_history(settings: Settings) -> Settings:
    """Write the demo's story; returns the settings that its ledger is served under."""
    from otel_finops.demo.history import DAYS  # noqa: PLC0415
    from otel_finops.demo_ledger import demo_settings, fill_ledger  # noqa: PLC0415

    with shown("demo"):
        told = fill_ledger(settings, days=DAYS)
    print(f"made up: {told.calls} calls in {told.traces} traces of {told.days} days")
    return demo_settings(settings)


def _show_first_admin(token: str | None) -> None:
    """On standard output: the log goes to standard error, and no token belongs there."""
    if token is not None:
        print(
            f"""
Nobody is admin of this service yet, so a token for all tenants was made. It is shown this once and stored nowhere:

  {token}

Send it as `Authorization: Bearer TOKEN`. Who loses it makes another one on this machine:
otel-finops tokens create NAME --role admin --tenants '*'
""",
            flush=True,
        )


def _stop_event() -> Event:
    """Set by the first SIGINT or SIGTERM; a second one ends the process at once."""
    stop = Event()

    def ask(number: int, frame: object) -> None:
        if stop.is_set():
            sys.exit(128 + number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    return stop


def _end_after(stop: Event, seconds: float) -> None:
    stop.wait(seconds)
    stop.set()


def _print_urls(ports: Ports, place: str, traffic: bool) -> None:
    base = f"http://127.0.0.1:{ports.web}"
    web = f"""
  start page      {base}/
  spend by model  {base}/api/v1/spend?group_by=provider,model
  dearest traces  {base}/api/v1/traces
  metrics         {base}/metrics"""
    print(
        f"""
otel_finops is running with {"demo traffic; the first costs appear within ten seconds" if traffic else "what was made up"}.
{web if ports.web else ""}
  OTLP            grpc 127.0.0.1:{ports.grpc}, http 127.0.0.1:{ports.http}
  ledger          {place}

Stop with Ctrl-C.
""",
        flush=True,
    )


if __name__ == "__main__":
    main()
