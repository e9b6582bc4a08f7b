"""A stock application, `openai` under `opentelemetry-instrument`, governed by a running service with no change of its code.

Its environment has the light distribution and nothing else of the product.
"""

from __future__ import annotations

import ast
import json
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bare_environment import ROOT, BareEnvironment, built
from e2e_service import Service, environment, eventually, http, running

from otel_finops.demo import provider as model_provider

APP = """
import sys
import openai

client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
for question in sys.stdin:
    try:
        answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": question}], max_tokens=32)
        print("answered", answer.choices[0].message.content[:12], flush=True)
    except Exception as fault:
        print("failed", type(fault).__name__, getattr(fault, "http_status", None), str(fault).replace(chr(10), " "), flush=True)
"""


class CountedProvider(model_provider.FakeProvider):
    """The provider, which never fails, and how many calls reached it."""

    calls = 0


@pytest.fixture(scope="module")
def provider() -> Iterator[CountedProvider]:
    with pytest.MonkeyPatch.context() as patch:

        def counted(seed: int, body: bytes, attempt: int) -> None:
            CountedProvider.calls += 1

        patch.setattr(model_provider, "fault_of", counted)
        made = CountedProvider()
        yield made
        made.close()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def enforcing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    database = f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.db'}"
    with running(database, ENFORCEMENT__MODE="enforce") as service:
        yield service


class StockApp:
    """The application, running; each question is one model call."""

    def __init__(self, place: BareEnvironment, script: Path, provider_url: str, **settings: str) -> None:
        script.write_text(APP, encoding="utf-8")
        start = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
        telemetry = {
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        env = {**environment({}), **telemetry, **settings, "PATH": str(place.python.parent)}
        env.pop("PYTHONPATH", None)
        self.process = subprocess.Popen(
            [place.python, "-c", start, str(place.python), str(script), provider_url + "/v1"],
            env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def ask(self) -> str:
        """What the application says to one question."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("Where is my order?\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def close(self) -> None:
        """End of questions."""
        self.process.communicate(timeout=30)


@pytest.fixture
def app(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, wheel: Path, enforcing: Service, provider: CountedProvider
) -> Iterator[StockApp]:
    libraries = ("openai", "opentelemetry-instrumentation-genai-openai", "opentelemetry-distro", "opentelemetry-exporter-otlp-proto-http")
    place = BareEnvironment(tmp_path_factory.mktemp("app") / "venv", wheel, libraries)
    traces = f"http://127.0.0.1:{enforcing.http_port}"
    running_app = StockApp(place, tmp_path / "app.py", provider.url, OTEL_FINOPS_URL=enforcing.web, OTEL_EXPORTER_OTLP_ENDPOINT=traces)
    try:
        yield running_app
    finally:
        running_app.process.kill()
        running_app.close()


def post(service: Service, path: str, **body: Any) -> dict[str, Any]:
    answer = http("POST", f"{service.web}/api/v1/{path}", json=body)
    assert answer.status_code in (200, 201), answer.text
    read: dict[str, Any] = answer.json()
    return read


def test_a_stock_application_is_stopped_with_no_change_of_its_code(app: StockApp, enforcing: Service, provider: CountedProvider) -> None:
    before = CountedProvider.calls
    assert app.ask().startswith("answered")
    assert CountedProvider.calls == before + 1
    entry = eventually(lambda: enforcing.get("usage")["entries"])[0]
    decision = enforcing.get("decisions")["decisions"][0]
    assert entry["reservation_id"] == decision["answer"]["reservation_id"]
    assert (decision["service"], decision["provider"], decision["model"]) == ("shop", "openai", "gpt-4o")

    held = f"reservations/{entry['reservation_id']}"
    assert eventually(lambda: (shown := enforcing.get(held))["state"] not in ("held", "settled") and shown)["state"] == "booked"

    budget = post(enforcing, "budgets", name="shop's month", amount="0.0001", scope={"service": "shop"}, hard=True)["budget"]
    stopped = eventually(lambda: (said := app.ask()).startswith("failed") and said)
    assert stopped.startswith("failed CallBlocked 402 The model call was not made")
    assert "shop's month" in stopped
    assert_stopped(app)

    post(enforcing, f"budgets/{budget['no']}/delete")
    assert eventually(lambda: (said := app.ask()).startswith("answered") and said)

    post(enforcing, "kill-switches", scope="provider", name="openai", why="the bill")
    assert eventually(lambda: (said := app.ask()).startswith("failed CallBlocked 402") and said)
    assert_stopped(app)

    enforcing.kill()
    assert app.ask().startswith("answered"), "fail-open: an application outlives the service"


def assert_stopped(app: StockApp) -> None:
    """Ask five times; the provider hears of none."""
    reached = CountedProvider.calls
    for _ in range(5):
        assert app.ask().startswith("failed CallBlocked")
    assert CountedProvider.calls == reached


def test_the_light_distribution_needs_opentelemetry_alone(tmp_path: Path, wheel: Path) -> None:
    """Every module of the client is imported, with warnings as errors; nothing of the service came along."""
    place = BareEnvironment(tmp_path / "venv", wheel, ("opentelemetry-api", "opentelemetry-sdk"))
    code = """
import importlib, importlib.metadata, json, pkgutil, sys
import otel_finops.client
for module in pkgutil.iter_modules(otel_finops.client.__path__):
    importlib.import_module("otel_finops.client." + module.name)
found = {name for name in ("pydantic", "sqlalchemy", "fastapi", "grpc", "urllib3", "orjson") if importlib.util.find_spec(name)}
points = [point.value for point in importlib.metadata.entry_points(group="opentelemetry_pre_instrument")]
ours = sorted(name for name in sys.modules if name.startswith("otel_finops.") and "client" not in name)
print(json.dumps([sorted(found), points, ours]))
"""
    assert json.loads(place.run(code)) == [
        [],
        ["otel_finops.client.enforce:load"],
        ["otel_finops.base", "otel_finops.base.errors", "otel_finops.base.money"],
    ]


def test_both_distributions_say_the_same() -> None:
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    light = tomllib.loads((ROOT / "packaging" / "client" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    group = "opentelemetry_pre_instrument"
    for field in ("version", "license", "requires-python", "authors"):
        assert light[field] == whole[field]
    assert light["entry-points"][group] == whole["entry-points"][group]
    assert {one for one in whole["dependencies"] if one.startswith("opentelemetry-sdk")} <= set(light["dependencies"])


def test_the_light_distribution_has_all_that_the_client_imports(wheel: Path) -> None:
    """A module of `base` that the client begins to use has to be named in packaging/client/pyproject.toml."""
    light = tomllib.loads((ROOT / "packaging" / "client" / "pyproject.toml").read_text(encoding="utf-8"))
    packed = set(light["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"].values())
    for path in (ROOT / "otel_finops" / "client").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("otel_finops.base."):
                assert f"{str(node.module).replace('.', '/')}.py" in packed
