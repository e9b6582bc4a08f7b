"""Starts the demo's provider and applications, each application in a process of its own as instrumentations patch globally."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Final, NamedTuple

from otel_finops.base.errors import StartRefused
from otel_finops.demo.provider import FakeProvider

_log: Final = logging.getLogger(__name__)

INSTALL: Final = 'pip install "otel-finops[demo]"'
_STOP_S: Final = 8.0
_WATCH_S: Final = 0.5


class App(NamedTuple):
    """One of the applications.

    Attributes:
        name: its `service.name`.
        module: what is run by `python -m`.
        instrumentation: the stock package that makes its model spans.
        needs: modules that must be importable.
        share: its part of all runs.
    """

    name: str
    module: str
    instrumentation: str
    needs: tuple[str, ...]
    share: float


def make_apps() -> tuple[App, ...]:
    """The three applications."""
    return (
        App(
            "support-desk",
            "otel_finops.demo.support_agent",
            "opentelemetry-instrumentation-genai-openai",
            ("openai", "opentelemetry.instrumentation.genai.openai"),
            0.45,
        ),
        App(
            "knowledge-search",
            "otel_finops.demo.knowledge_search",
            "openinference-instrumentation-openai",
            ("openai", "openinference.instrumentation.openai"),
            0.45,
        ),
        App(
            "nightly-summaries",
            "otel_finops.demo.nightly_summaries",
            "opentelemetry-instrumentation-anthropic",
            ("anthropic", "opentelemetry.instrumentation.anthropic"),
            0.1,
        ),
    )


def missing_modules(apps: Iterable[App]) -> list[str]:
    """Modules that the applications need and that cannot be imported."""
    return sorted({module for app in apps for module in app.needs if not _importable(module)})


def require_extra(apps: Iterable[App]) -> None:
    """Raise `StartRefused`, saying what to install, when the demo's extra is missing."""
    missing = missing_modules(apps)
    if missing:
        raise StartRefused(f"the demo's applications need {', '.join(missing)}; install them with: {INSTALL}")


def run_demo_traffic(otlp_endpoint: str, stop_event: Event, rate: float = 2.0, *, seed: int = 1) -> None:
    """Send traffic until the event is set.

    Args:
        otlp_endpoint: OTLP/gRPC, e.g. `http://127.0.0.1:4317`.
        stop_event: ends it; the applications flush what they have, for a few seconds at most.
        rate: runs a second, all applications together; a run is a trace of 3 to 15 spans.
        seed: other seeds make other traffic.

    Raises:
        StartRefused: the extra `demo` is not installed.
    """
    apps = make_apps()
    require_extra(apps)
    provider = FakeProvider(seed)
    try:
        with _running(apps, otlp_endpoint, provider.url, rate, seed) as processes:
            while not stop_event.wait(_WATCH_S):
                _report_ended(processes)
    finally:
        provider.close()


@contextmanager
def _running(
    apps: Iterable[App], otlp_endpoint: str, provider_url: str, rate: float, seed: int
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for app in apps:
            processes[app.name] = _start(app, otlp_endpoint, provider_url, rate * app.share, seed)
        yield processes
    finally:
        _stop(processes.values())


def _start(app: App, otlp_endpoint: str, provider_url: str, runs_per_s: float, seed: int) -> subprocess.Popen[bytes]:
    options = {"otlp-endpoint": otlp_endpoint, "provider-url": provider_url, "runs-per-s": runs_per_s, "seed": seed}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    # A session of its own: an interrupt at the terminal is for the service, which then ends the applications in order.
    return subprocess.Popen([sys.executable, "-m", app.module, *arguments], stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603


def _stop(processes: Collection[subprocess.Popen[bytes]]) -> None:
    """Close their inputs, which ends them; after a while, end them."""
    for process in processes:
        if process.stdin:
            process.stdin.close()
    for process in processes:
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _report_ended(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    for name, process in list(processes.items()):
        if process.poll() is not None:
            _log.error("the demo application %s ended by itself with code %s", name, process.returncode)
            _stop([processes.pop(name)])


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
