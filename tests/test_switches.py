"""Every switch: what is off has no route, no command, no job and no metric, and all the rest works as if nothing were missing."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_finops.app import Core, Service, open_core
from otel_finops.base.protocols import Credential, ExportRequest
from otel_finops.base.times import NS_PER_SECOND
from otel_finops.client.costs import trace_cost
from otel_finops.client.service import Service as Client
from otel_finops.client.settings import ClientSettings
from otel_finops.ledger.reader import LedgerReader
from otel_finops.operations.catalogue import OPERATIONS
from otel_finops.settings import load
from otel_finops.settings.features import Features
from otel_finops.settings.tree import Settings
from otel_finops.surfaces.api.app import openapi
from otel_finops.surfaces.cli.table import command_table
from otel_finops.testing import NOON, FakeClock
from otel_finops.trees.projected import TraceFigures, fill

SWITCHES = tuple(Features.model_fields)
SURFACES = ("api", "console", "metrics")
"""Switches on which no operation hangs; all others take a room's verbs away."""
HALVES = [
    frozenset(name for number, name in enumerate(SWITCHES) if name != "api" and number >> bit & 1 == side)
    for bit in range(len(SWITCHES).bit_length())
    for side in (0, 1)
]
"""Which switches are off together, so that of any two there is a half with the one and without the other: a description takes a second."""
JOBS = {
    "refresh_prices": "prices",
    "spread_fees": "subscriptions",
    "estimate": "ledger",
    "allowances": "ledger",
    "close_periods": "ledger",
    "prune": "retention",
    "fill_budgets": "budgets",
    "forecast_budgets": "forecast",
    "sweep_pending": "budgets",
    "check_alerts": "alerts",
    "deliver": "channels",
}
"""The switch on which each job hangs; jobs that are not here run always."""
GAUGES = {
    "prices": "finops_watched_price_changes",
    "quarantine": "finops_quarantined_spans",
    "channels": "finops_deliveries_waiting",
}
"""Metrics that only a feature has."""
WITH_ALL_JOBS = {
    "OTEL_FINOPS_PRICES__REFRESH_FROM": "prices.json",
    "OTEL_FINOPS_LEDGER__ESTIMATE": "true",
    "OTEL_FINOPS_PRICING__SUBSCRIPTIONS": '[{"id": "seats", "fee": 20, "from": "2026-01-01", "providers": ["mistral"]}]',
    "OTEL_FINOPS_PRICING__ALLOWANCES": '[{"realms": ["default"]}]',
}


def switched(folder: Path, *off: str, **more: str) -> Settings:
    """Settings with these features off."""
    environ = {
        "OTEL_FINOPS_DATABASE__URL": f"sqlite:///{folder / 'ledger.db'}",
        "OTEL_FINOPS_DATABASE__RESERVE": "false",
        "OTEL_FINOPS_OTLP__GRPC_ADDRESS": "",
        "OTEL_FINOPS_OTLP__HTTP_ADDRESS": "127.0.0.1:0",
        "OTEL_FINOPS_HTTP__ADDRESS": "127.0.0.1:0",
        **{f"OTEL_FINOPS_FEATURES__{name.upper()}": "false" for name in off},
        **more,
    }
    return load(None, environ)


@contextmanager
def running(settings: Settings) -> Iterator[tuple[Core, str]]:
    """A service and the root of its pages."""
    with open_core(settings, "serve") as core:
        service = Service(core)
        ports = service.start()
        try:
            yield core, f"http://127.0.0.1:{ports.web}"
        finally:
            service.stop()


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as fault:
        return fault.code


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def one_call() -> ExportRequest:
    """A call of gpt-4o with 1,000 tokens in (2.50 USD a million) and 100 out (10 USD a million): 0.0035 USD."""
    request = ExportTraceServiceRequest()
    span = (
        request.resource_spans.add()
        .scope_spans.add()
        .spans.add(
            trace_id=b"t" * 16, span_id=b"s" * 8, name="chat gpt-4o", start_time_unix_nano=NOON, end_time_unix_nano=NOON + NS_PER_SECOND
        )
    )
    for key, value in (("gen_ai.operation.name", "chat"), ("gen_ai.provider.name", "openai"), ("gen_ai.request.model", "gpt-4o")):
        span.attributes.add(key=key).value.string_value = value
    for key, count in (("gen_ai.usage.input_tokens", 1000), ("gen_ai.usage.output_tokens", 100)):
        span.attributes.add(key=key).value.int_value = count
    return ExportRequest(request.SerializeToString(), "protobuf", Credential())


@pytest.mark.parametrize("name", SWITCHES)
def test_every_switch_takes_something_away(name: str) -> None:
    hanging = [one.name for one in OPERATIONS if one.feature == name]
    assert bool(hanging) is (name not in SURFACES)


@pytest.mark.parametrize("name", SWITCHES)
def test_what_is_off_has_no_command(name: str) -> None:
    commands = command_table(Features(**{name: False}))
    assert not {one.words for one in OPERATIONS if one.feature == name} & commands.keys()
    assert commands.keys() >= {one.words for one in OPERATIONS if one.feature != name}


@pytest.mark.parametrize("off", HALVES)
def test_what_is_off_is_not_described(off: frozenset[str]) -> None:
    document = openapi(Features(**dict.fromkeys(off, False)))
    described = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
    assert not described & {one.name for one in OPERATIONS if one.feature in off}
    assert described >= {one.name for one in OPERATIONS if one.feature not in off}


def test_without_an_api_nothing_is_described() -> None:
    assert not openapi(Features(api=False)).get("paths")


@pytest.mark.parametrize("name", SWITCHES)
def test_a_service_starts_without_it_and_answers_404_for_it(tmp_path: Path, name: str) -> None:
    with running(switched(tmp_path, name)) as (_, root):
        assert status(f"{root}/readyz") == 200
        assert status(f"{root}/metrics") == (404 if name == "metrics" else 200)
        for one in OPERATIONS:
            if "{" not in one.path and not one.changes and (one.feature == name or name == "api"):
                assert status(f"{root}/api/v1/{one.path}") == 404, one.name
        if name in GAUGES:
            assert GAUGES[name] not in page(f"{root}/metrics")
        assert status(f"{root}/api/v1/health") == (404 if name == "api" else 200)


def test_no_job_runs_for_what_is_off(tmp_path: Path) -> None:
    def jobs(*off: str) -> set[str]:
        with open_core(switched(tmp_path, *off, **WITH_ALL_JOBS), "serve") as core:
            return {job.name for job in Service(core)._scheduler.status()}

    everything = jobs()
    assert everything >= set(JOBS)
    for name in set(JOBS.values()):
        assert everything - jobs(name) == {job for job, switch in JOBS.items() if switch == name}


def test_runs_and_sessions_are_worked_out_while_either_is_on_and_anew_once_they_are_on_again(tmp_path: Path) -> None:
    def after(*off: str) -> tuple[bool, int, int]:
        """Whether there is a job that fills in what is missing; traces with sums; whether all are to be filled in."""
        with open_core(switched(tmp_path, *off), "serve") as core:
            filling = "fill_run_figures" in {job.name for job in Service(core)._scheduler.status()}
            core.pipeline(one_call())
            core.settler.settle_all()
            with core.store.write() as transaction:
                sums = transaction.execute("SELECT COUNT(*) FROM trace_sums")[0][0]
                missing = transaction.execute("SELECT COUNT(*) FROM counters WHERE name = 'run_figures_to_fill'")[0][0]
                if filling:
                    fill(transaction, TraceFigures(), 10)
            return filling, sums, missing

    assert after("runs", "sessions") == (False, 0, 1)
    assert after("runs") == (True, 0, 1)
    assert after() == (True, 1, 0)


def test_all_gauges_are_there_while_everything_is_on(tmp_path: Path) -> None:
    with running(switched(tmp_path)) as (_, root):
        text = page(f"{root}/metrics")
    assert all(name in text for name in GAUGES.values())


def test_with_everything_off_calls_are_still_received_and_priced(tmp_path: Path) -> None:
    with running(switched(tmp_path, *SWITCHES)) as (core, root):
        assert core.pipeline(one_call()).accepted == 1
        core.settler.settle_all()
        assert LedgerReader(core.store, core.subjects).spend(None).total_pico == 3_500_000_000
        assert status(f"{root}/readyz") == 200
        assert [status(f"{root}/{path}") for path in ("metrics", "api/v1/spend", "api/v1/openapi.json")] == [404] * 3


def test_with_metering_off_spans_are_answered_and_nothing_is_written(tmp_path: Path) -> None:
    with running(switched(tmp_path, OTEL_FINOPS_METERING__ENABLED="false")) as (core, root):
        assert core.pipeline(one_call()).accepted == 1
        with core.store.read() as transaction:
            shards = "leases WHERE name NOT LIKE 'job:%'"  # what runs by the clock has begun
            for table in ("journal", "traces", "entries", "blocks", "rollups", shards, "call_keys", "subjects"):
                assert transaction.execute(f"SELECT COUNT(*) FROM {table}") == [(0,)], table
        text = page(f"{root}/metrics")
        assert "finops_received_spans_total 1.0" in text
        assert "finops_ignored_spans_total 1.0" in text
        told = {part["name"]: (part["ok"], part["detail"]) for part in json.loads(page(f"{root}/api/v1/health"))["parts"]}
        assert told["metering"] == (True, "off: spans pass on unpriced, and nothing is booked")
        assert trace_cost("1" * 32, wait=5, service=Client(ClientSettings(root, timeout_s=10))) is None


def test_with_metering_off_nothing_is_read_of_spans(tmp_path: Path) -> None:
    with open_core(switched(tmp_path, OTEL_FINOPS_METERING__ENABLED="false"), "serve", FakeClock()) as core:
        assert (core.pipeline.wanted.exact, core.pipeline.wanted.prefixes) == (frozenset(), ())
