"""T47: bodies that nobody would send crash nothing, and none costs more than a second or 100 MB."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

FUZZER = Path(__file__).with_name("fuzz_decoders.py")
RECORDED = Path(__file__).parent.parent / "data"
SEED = int(os.environ.get("FUZZ_SEED", "7"))
LARGEST_SEED = 40_000
_IDS = {"traceId", "spanId", "parentSpanId"}

needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="SKIPPED LOUDLY: atheris is not installed (dependency group `dev`, Linux on x86-64)"
)


def seeds(encoding: str, folder: Path) -> None:
    """Recorded requests, in protobuf as they came or in JSON."""
    folder.mkdir(parents=True)
    for number, path in enumerate(sorted(RECORDED.glob("*/*/*.binpb"))):
        body = path.read_bytes()
        if len(body) <= LARGEST_SEED:
            kind = ExportLogsServiceRequest if path.name.startswith("logs") else ExportTraceServiceRequest
            document = MessageToDict(kind.FromString(body), use_integers_for_enums=True)
            (folder / f"{number}").write_bytes(body if encoding == "protobuf" else json.dumps(with_hex_ids(document)).encode())


def with_hex_ids(part: Any) -> Any:
    """OTLP/JSON has ids in hex, where protobuf's JSON has base64."""
    if isinstance(part, list):
        return [with_hex_ids(one) for one in part]
    if isinstance(part, dict):
        return {name: b64decode(one).hex() if name in _IDS else with_hex_ids(one) for name, one in part.items()}
    return part


def fuzz(encoding: str, seconds: int, folder: Path, seed: int) -> dict[str, Any]:
    """Fuzz one decoder; its figures. A finding fails the test, with the way to it."""
    seeds(encoding, folder / "corpus")
    command = [sys.executable, str(FUZZER), encoding, str(folder), "--seconds", str(seconds), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * seconds + 120, check=False)
    found = sorted(path for path in folder.iterdir() if path.name.startswith(("crash-", "timeout-", "oom-")))
    again = f"{FUZZER} {encoding} {folder} --again {found[0] if found else ''}"
    assert done.returncode == 0, f"seed {seed}; {again}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    [executions] = re.findall(r"stat::number_of_executed_units:\s+(\d+)", done.stderr)
    grown = re.findall(r"cov: (\d+)", done.stderr)
    figures = json.loads((folder / "figures.json").read_text())
    return {
        "executions": int(executions),
        "seconds": seconds,
        "crashes": len(found),
        "coverage": [int(grown[0]), int(grown[-1])],
        **figures,
    }


@needs_atheris
@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_t47_no_body_breaks_a_decoder(encoding: str, tmp_path: Path) -> None:
    """Ten seconds each; the seed is printed with a finding and can be given as FUZZ_SEED."""
    figures = fuzz(encoding, 10, tmp_path, SEED)
    print(figures)
    assert figures["executions"] > 100
    shutil.rmtree(tmp_path / "corpus")


@needs_atheris
@pytest.mark.long
@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_t47_no_body_breaks_a_decoder_in_ten_minutes(encoding: str, tmp_path: Path) -> None:
    figures = fuzz(encoding, int(os.environ.get("FUZZ_SECONDS", "600")), tmp_path, SEED)
    print(figures)
    assert figures["executions"] > 2_000  # a core that is shared does a tenth of what it can
    shutil.rmtree(tmp_path / "corpus")
