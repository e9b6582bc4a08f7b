"""A batch job that summarises tickets with a shared, cached instruction, on Anthropic's messages API.

Instrumentation: `opentelemetry-instrumentation-anthropic` (OpenLLMetry), beside the spans that Anthropic's SDK makes by itself:
every call is seen twice, and must be charged once.
"""

from __future__ import annotations

from random import Random
from typing import Final

from anthropic import Anthropic
from anthropic.types import TextBlockParam
from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor
from opentelemetry.trace import Tracer

from otel_finops.demo.application import TENANTS, passage, read_options, run_until_stopped, stage, start_tracing

_STYLE: Final = "Summarise for the morning meeting. Name the customer, the trouble and the next step; be brief and factual. " * 80
_SYSTEM: Final[list[TextBlockParam]] = [{"type": "text", "text": _STYLE, "cache_control": {"type": "ephemeral"}}]


class NightlySummaries:
    """Summarises a tenant's tickets one by one, then writes a digest of the summaries."""

    def __init__(self, client: Anthropic) -> None:
        self._client = client

    def run(self, tracer: Tracer, rng: Random, number: int) -> None:
        """One tenant's night."""
        with stage(tracer, "nightly_summaries.workflow", traceloop_span_kind="workflow", traceloop_entity_name="nightly_summaries") as span:
            span.set_attributes({"finops.tenant": rng.choice(TENANTS), "finops.purpose": "reporting", "finops.cost_center": "operations"})
            summaries = [self._summarise(tracer, rng, f"Night {number}, ticket {ticket}") for ticket in range(rng.randint(2, 5))]
            self._digest(tracer, number, summaries)

    def _summarise(self, tracer: Tracer, rng: Random, title: str) -> str:
        with stage(tracer, "summarise.task", traceloop_span_kind="task", traceloop_entity_name="summarise"):
            ticket = passage(rng, title, rng.randint(150, 700))
            answer = self._client.messages.create(
                model="claude-haiku-4-5", max_tokens=512, system=_SYSTEM, messages=[{"role": "user", "content": ticket}]
            )
            return "".join(block.text for block in answer.content if block.type == "text")

    def _digest(self, tracer: Tracer, number: int, summaries: list[str]) -> None:
        with stage(tracer, "digest.task", traceloop_span_kind="task", traceloop_entity_name="digest"):
            content = f"Night {number}\n" + "\n".join(summaries)
            with self._client.messages.stream(
                model="claude-sonnet-4-5", max_tokens=1024, system=_SYSTEM, messages=[{"role": "user", "content": content}]
            ) as stream:
                for _ in stream.text_stream:
                    pass


def main() -> None:
    """Run until standard input closes."""
    options = read_options()
    provider = start_tracing("nightly-summaries", "1.1.0", options)
    AnthropicInstrumentor().instrument(tracer_provider=provider)
    client = Anthropic(base_url=options.provider_url, api_key="demo", max_retries=1)
    run_until_stopped(options, provider, NightlySummaries(client).run)


if __name__ == "__main__":
    main()
