"""The vendors' SDKs with stock instrumentations: which calls a decision stops, as a process of its own tells.

    python stock_libraries.py

Instrumentations change the SDKs for the whole process, and not all of them undo it: those that do not come last. One JSON object of
outcomes is printed.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import sys
from collections.abc import AsyncIterable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from fake_service import FakeService
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_finops.client.enforce import EnforcingProcessor
from otel_finops.client.faults import CallBlocked, CallStopped
from otel_finops.client.settings import ClientSettings
from otel_finops.demo import provider as model_provider

MESSAGES: Final = [{"role": "user", "content": "Where is my order?"}]
CHAT: Final[dict[str, Any]] = {"model": "gpt-4o", "messages": MESSAGES}
CLAUDE: Final[dict[str, Any]] = {"model": "claude-sonnet-4-5", "messages": MESSAGES, "max_tokens": 64}


class Outcome(NamedTuple):
    """What became of one call.

    Attributes:
        end: `made`, or the name of the exception that the application saw.
        provider: calls that reached the provider.
        asked: decisions that were asked for.
        spans: that were exported.
    """

    end: str
    provider: int
    asked: int
    spans: int


def _drained(stream: Any) -> None:
    for _ in stream:
        pass


def _in_loop(client: Any, call: Callable[[Any], Any]) -> None:
    async def run() -> None:
        async with client:
            answer = await call(client)
            if isinstance(answer, AsyncIterable):
                async for _ in answer:
                    pass

    asyncio.run(run())


def _message_stream(client: Any) -> None:
    with client.messages.stream(**CLAUDE) as stream:
        stream.get_final_message()


OPENAI_CALLS: Final[dict[str, Callable[[Any], Any]]] = {
    "chat": lambda c: c().chat.completions.create(**CHAT),
    "streamed chat": lambda c: _drained(c().chat.completions.create(**CHAT, stream=True)),
    "chat in a loop": lambda c: _in_loop(c("Async"), lambda one: one.chat.completions.create(**CHAT)),
    "streamed chat in a loop": lambda c: _in_loop(c("Async"), lambda one: one.chat.completions.create(**CHAT, stream=True)),
    "embeddings": lambda c: c().embeddings.create(model="text-embedding-3-small", input="order"),
    "responses": lambda c: c().responses.create(model="gpt-4o", input="Where is my order?"),
    "responses in a loop": lambda c: _in_loop(c("Async"), lambda one: one.responses.create(model="gpt-4o", input="Where?")),
}
ANTHROPIC_CALLS: Final[dict[str, Callable[[Any], Any]]] = {
    "messages": lambda c: c().messages.create(**CLAUDE),
    "streamed messages": lambda c: _drained(c().messages.create(**CLAUDE, stream=True)),
    "message stream": lambda c: _message_stream(c()),
    "messages in a loop": lambda c: _in_loop(c("Async"), lambda one: one.messages.create(**CLAUDE)),
}


class Library(NamedTuple):
    """An instrumentation, and what is known of it.

    Attributes:
        name: its distribution.
        vendor: whose SDK it instruments, `openai` or `anthropic`.
        instrumentor: `MODULE:CLASS`; empty for what is switched on otherwise.
        late: calls whose spans it writes after the answer.
        stays: it does not undo what it did to the SDK.
    """

    name: str
    vendor: str
    instrumentor: str = ""
    late: tuple[str, ...] = ()
    stays: bool = False

    @property
    def calls(self) -> dict[str, Callable[[Any], Any]]:
        """What it instruments."""
        return OPENAI_CALLS if self.vendor == "openai" else ANTHROPIC_CALLS


_GENAI: Final = "opentelemetry.instrumentation.genai"
HEARD: Final = (
    Library("opentelemetry-instrumentation-genai-openai", "openai", f"{_GENAI}.openai:OpenAIInstrumentor"),
    Library("opentelemetry-instrumentation-genai-anthropic", "anthropic", f"{_GENAI}.anthropic:AnthropicInstrumentor"),
    Library(
        "opentelemetry-instrumentation-openai", "openai", "opentelemetry.instrumentation.openai:OpenAIInstrumentor",
        late=("responses", "responses in a loop"), stays=True,
    ),
    Library(
        "opentelemetry-instrumentation-anthropic", "anthropic",
        "opentelemetry.instrumentation.anthropic:AnthropicInstrumentor",
    ),
)  # fmt: skip
"""They let an exception through that is raised when their span starts."""
_OPENINFERENCE: Final = "openinference.instrumentation"
SWALLOWED: Final = (
    Library("openinference-instrumentation-openai", "openai", f"{_OPENINFERENCE}.openai:OpenAIInstrumentor"),
    Library("openinference-instrumentation-anthropic", "anthropic", f"{_OPENINFERENCE}.anthropic:AnthropicInstrumentor"),
    Library("logfire (OpenAI)", "openai"),
    Library("logfire (Anthropic)", "anthropic"),
    Library("anthropic's own spans", "anthropic"),
)
"""They do not, and call the provider without a span."""


class Switched(SpanProcessor):
    """Hands on to whichever processor is wanted now."""

    target: SpanProcessor

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.target.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        self.target.on_end(span)


class Stage:
    """The service, the provider, and a tracer provider with an exporter and a switchable processor."""

    def __init__(self) -> None:
        self.reached = 0
        model_provider.fault_of = self._reached  # type: ignore[assignment]
        self.service, self.provider = FakeService(), model_provider.FakeProvider()
        self.switched, self.exported = Switched(), InMemorySpanExporter()
        settings: dict[str, Any] = {"url": self.service.url, "timeout_s": 20.0}
        self.processors = {
            "plain": EnforcingProcessor(ClientSettings(**settings)),
            "insisting": EnforcingProcessor(ClientSettings(**settings, insist=True)),
        }
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(self.switched)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exported))

    def _reached(self, seed: int, body: bytes, attempt: int) -> None:
        """Stands where the provider decides on failures: there are none, and each call is counted."""
        self.reached += 1

    @contextmanager
    def clients(self, library: Library) -> Iterator[Callable[..., Any]]:
        """What makes clients as the vendor's documentation does, instrumented; the argument `Async` for those that run in a loop."""
        module = importlib.import_module(library.vendor)
        options: dict[str, Any] = {"api_key": "none", "max_retries": 0, "base_url": self.provider.url}
        names = {"openai": "OpenAI", "anthropic": "Anthropic"}
        if library.vendor == "openai":
            options["base_url"] += "/v1"
        if library.name == "anthropic's own spans":
            options["open_telemetry"] = {"tracer_provider": self.tracer_provider}
        instrument, undo = self._instrument(library)

        @functools.cache
        def kept() -> Any:
            return new("")

        def new(kind: str) -> Any:
            client = getattr(module, kind + names[library.vendor])(**options)
            instrument(client)
            return client

        try:
            yield lambda kind="": new(kind) if kind else kept()
        finally:
            undo()

    def _instrument(self, library: Library) -> tuple[Callable[[Any], object], Callable[[], object]]:
        """What is done to each client, and what undoes what was done to all."""
        if library.instrumentor:
            module, _, name = library.instrumentor.partition(":")
            instrumentor = getattr(importlib.import_module(module), name)()
            instrumentor.instrument(tracer_provider=self.tracer_provider)
            return lambda client: None, instrumentor.uninstrument
        if not library.name.startswith("logfire"):
            return lambda client: None, lambda: None
        processors = [self.switched, SimpleSpanProcessor(self.exported)]
        logfire = importlib.import_module("logfire")
        one = logfire.configure(
            local=True, send_to_logfire=False, console=False, additional_span_processors=processors, inspect_arguments=False
        )
        return getattr(one, f"instrument_{library.vendor}"), lambda: None

    def outcomes(self, call: Callable[[], object], heard: bool) -> dict[str, Outcome]:
        """Make one call when it is blocked; and where that is heard, when it is allowed, else when it is blocked with insistence."""
        blocked = {"blocked": self.outcome(call, "block", "plain")}
        return blocked | (
            {"allowed": self.outcome(call, "allow", "plain")} if heard else {"insisted": self.outcome(call, "block", "insisting")}
        )

    def outcome(self, call: Callable[[], object], action: str, processor: str) -> Outcome:
        """Make one call."""
        self.service.action, self.switched.target = action, self.processors[processor]
        self.service.asked.clear()
        self.exported.clear()
        self.reached, end = 0, "made"
        try:
            call()
        except (CallBlocked, CallStopped) as fault:
            end = type(fault).__name__
        except Exception as fault:
            end = f"{type(fault).__name__}: {fault}"
        return Outcome(end, self.reached, len(self.service.decisions), len(self.exported.get_finished_spans()))


def main() -> None:
    """Make all calls of all libraries."""
    stage = Stage()
    outcomes: dict[str, dict[str, dict[str, Outcome]]] = {}
    for library in sorted((*HEARD, *SWALLOWED), key=lambda one: bool(one.stays)):
        with stage.clients(library) as clients:
            made = {name: functools.partial(call, clients) for name, call in library.calls.items()}
            outcomes[library.name] = {name: stage.outcomes(call, library in HEARD) for name, call in made.items()}
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    main()
