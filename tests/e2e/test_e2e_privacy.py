"""T49: what people wrote, what tools were given and what models answered reach no disk, log, metric or page with default settings."""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_service import JSON, PROTOBUF, Service, http, running
from e2e_spans import SECOND, body, calls, json_body, put, recorded, trace_id
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_backend import Backend, grpc_backend

SECRETS = ("ada.lovelace@example.org", "4929-1234-5678-9012", "zanzibar-prompt-zanzibar", "kumquat-argument-kumquat")
TEXT = f"please write to {SECRETS[0]} about card {SECRETS[1]}: {SECRETS[2]} {SECRETS[3]}"
CONTENT_KEYS = (
    "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions", "gen_ai.prompt.0.content",
    "gen_ai.completion.0.content", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "gen_ai.tool.description",
    "gen_ai.agent.description", "input.value", "output.value", "llm.input_messages.0.message.content", "llm.prompts",
    "llm.invocation_parameters", "retrieval.documents.0.document.content", "embedding.embeddings.0.embedding.text",
    "traceloop.entity.input", "traceloop.entity.output", "ai.prompt", "ai.prompt.messages", "ai.response.text", "ai.toolCall.args",
    "ai.toolCall.result", "langfuse.observation.input", "langfuse.observation.output", "mlflow.spanInputs", "mlflow.spanOutputs",
    "request_data", "response_data", "all_messages_events", "final_result", "tool_arguments", "tool_response", "error.message",
    "http.request.body", "db.statement", "url.full", "exception.message", "metadata", "langfuse.trace.metadata.note", "tag.tags",
)  # fmt: skip
"""Where instrumentations put content."""


def spiced(span: Any, index: int) -> None:
    """Content wherever a span can hold it, but in its name and its ids."""
    for key in CONTENT_KEYS:
        put(span, key, TEXT)
    put(span, "gen_ai.input.messages.parsed", [TEXT, TEXT])
    span.status.code, span.status.message = 2, TEXT
    for name in ("exception", "gen_ai.content.prompt", "gen_ai.user.message", "gen_ai.choice"):
        event = span.events.add(name=name, time_unix_nano=span.start_time_unix_nano)
        for key in ("exception.message", "exception.stacktrace", "gen_ai.prompt", "content"):
            event.attributes.add(key=key).value.string_value = TEXT
    link = span.links.add(trace_id=b"\1" * 16, span_id=b"\2" * 8)
    link.attributes.add(key="note").value.string_value = TEXT


def logs() -> bytes:
    """An event of a coding assistant, and one that nobody knows, both with content in body and attributes."""
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    scope.scope.name = "com.anthropic.claude_code.events"
    for name in ("claude_code.api_request", "claude_code.user_prompt", "anything.else"):
        record = scope.log_records.add(time_unix_nano=time.time_ns() - SECOND, event_name=name)
        record.body.string_value = TEXT
        said = {"event.name": name.split(".")[1], "model": "claude-sonnet-4-5", "prompt": TEXT, "tool_parameters": TEXT, "error": TEXT}
        for key, value in said.items():
            record.attributes.add(key=key).value.string_value = value
        for key in ("input_tokens", "output_tokens"):
            record.attributes.add(key=key).value.int_value = 12
    return request.SerializeToString()


def forms(secret: str) -> Iterator[bytes]:
    """A text as it could stand in a file."""
    yield from (secret.encode(), secret.encode("utf-16-le"), secret.upper().encode(), secret.replace("@", "%40").encode())
    yield from (base64.b64encode(secret.encode()[skip:])[4:-4] for skip in range(3))


def hits(where: str, content: bytes) -> list[str]:
    return [f"{secret} in {where}" for secret in SECRETS if any(form in content for form in forms(secret))]


def send_everything(service: Service) -> None:
    service.send(body(trace_id(1, 490), 3, spiced))
    service.call(body(trace_id(2, 490), 3, spiced, genai=False))
    service.post(json_body(trace_id(3, 490), {key: {"stringValue": TEXT} for key in CONTENT_KEYS}), JSON)
    service.post(json_body(trace_id(4, 490), {"gen_ai.usage.input_tokens": {"stringValue": TEXT}}), JSON)  # a count that is a text
    service.send(gzip.compress(body(trace_id(5, 490), 1, spiced)), {**PROTOBUF, "content-encoding": "gzip"})
    service.post(TEXT.encode())  # undecodable
    service.post(json.dumps({"resourceSpans": TEXT}).encode(), JSON)
    assert http("POST", service.traces_url.replace("traces", "logs"), content=logs(), headers=PROTOBUF).status_code == 200


def with_content_of_libraries(corpus: Path) -> list[bytes]:
    """Recorded requests of all libraries with our text in place of all long ones, but for the ARNs that name models."""
    made = []
    for request in recorded(corpus, "otel-", "traceloop", "openinference", "vercel", "langfuse", "logfire", "pydantic"):
        for of_resource in request.resource_spans:
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    for attribute in span.attributes:
                        text = attribute.value.string_value
                        if len(text) > 60 and not text.startswith(("{", "[", "arn:")):
                            attribute.value.string_value = TEXT
        made.append(ExportTraceServiceRequest.SerializeToString(request))
    return made


def files(folder: Path, but: str = "") -> Iterator[tuple[str, bytes]]:
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and not (but and path.name.startswith(but))]
    yield from ((path.name, path.read_bytes()) for path in found)


def pages(service: Service) -> Iterator[tuple[str, bytes]]:
    """What a reader can see."""
    yield "metrics", http("GET", f"{service.web}/metrics").content
    traces = [trace_id(number, 490).hex() for number in range(1, 6)]
    paths = ["traces", "spend?group_by=provider,model", "usage", "health", "coverage", *(f"traces/{trace}" for trace in traces)]
    for path in paths:
        yield path, http("GET", f"{service.web}/api/v1/{path}").content


@pytest.mark.parametrize("forward", ["nowhere", "inline", "spool"])
def test_t49_content_is_on_no_disk_log_metric_or_page(tmp_path: Path, corpus: Path, forward: str) -> None:
    """The queue on disk alone, where somebody asked for it, holds whole requests (docs/forwarding.md)."""
    backend, found = Backend(), list[str]()
    with grpc_backend(backend) as hop:
        settings = {} if forward == "nowhere" else {"FORWARD__ENDPOINT": hop, "FORWARD__MODE": forward}
        with running(f"sqlite:///{tmp_path / 'ledger.db'}", **settings, FORWARD__SPOOL_PATH=str(tmp_path / "spool")) as service:
            send_everything(service)
            for one in with_content_of_libraries(corpus):
                service.send(one)
            assert service.settled().number("SELECT COUNT(*) FROM entries") > 10
            looked = [*files(tmp_path, but="spool"), *pages(service)]
            service.stop()
            looked += [*files(tmp_path, but="spool"), ("log", service.log.encode())]
            looked += [("export", "".join(service.database.command("ledger", "export")).encode())]
    for where, content in looked:
        found += hits(where, content)
    size = sum(len(content) for _, content in looked)
    print(f"T49, forwarding {forward}: {len(found)} hits in {len(looked)} files and pages of {size / 1e6:.1f} MB")
    assert found == []
    assert {name for name, _ in looked} >= {"ledger.db", "ledger.db-wal", "metrics", "log"}


def test_t49_the_search_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "spool").write_bytes(calls(trace_id(6, 490), 1, spiced).SerializeToString())
    assert len(hits("spool", dict(files(tmp_path))["spool"])) == len(SECRETS)
