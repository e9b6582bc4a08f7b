"""A support desk of two agents with tools and a handoff, on OpenAI's chat API.

Instrumentation: `opentelemetry-instrumentation-genai-openai`, OpenTelemetry's own, with agent, tool and step spans by hand as
the semantic conventions for agents describe them.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final

from openai import OpenAI
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.trace import SpanKind, Tracer

from otel_finops.demo.application import TENANTS, passage, read_options, run_until_stopped, stage, start_tracing

_MODELS: Final = ("gpt-4.1", "gpt-4o", "gpt-4.1")
_UNLISTED_MODEL: Final = "house-support-7b"
"""A model of one's own that no price book knows: its calls show up as unpriced."""
_TOOLS: Final = ("look_up_order", "search_manual", "check_refund")
_MANUAL: Final = "Company manual. " + "Refunds are granted within thirty days of delivery when the goods are unused. " * 60


class SupportDesk:
    """Answers tickets: triage classifies, a specialist looks things up with tools and answers."""

    def __init__(self, client: OpenAI) -> None:
        self._client = client

    def run(self, tracer: Tracer, rng: Random, number: int) -> None:
        """One ticket, from the request to the answer."""
        person = {
            "finops.tenant": rng.choice(TENANTS),
            "user.id": f"user-{rng.randrange(40):02d}",
            "session.id": f"ticket-{rng.randrange(10**6):06d}",
        }
        with stage(tracer, "POST /tickets", SpanKind.SERVER, http_request_method="POST", http_route="/tickets") as request:
            request.set_attributes({**person, "finops.cost_center": "support"})
            ticket = passage(rng, f"Ticket {number}", rng.randint(40, 300))
            self._triage(tracer, ticket)
            self._resolve(tracer, rng, ticket)

    def _triage(self, tracer: Tracer, ticket: str) -> None:
        with (
            stage(tracer, "invoke_agent triage", gen__ai_operation_name="invoke_agent", gen__ai_agent_name="triage"),
            stage(tracer, "classify", finops_step="classify"),
        ):
            self._client.chat.completions.create(
                model="gpt-5-mini",
                messages=[{"role": "system", "content": "Classify the ticket and hand it over."}, {"role": "user", "content": ticket}],
            )

    def _resolve(self, tracer: Tracer, rng: Random, ticket: str) -> None:
        model = _UNLISTED_MODEL if rng.random() < 0.05 else rng.choice(_MODELS)
        messages: list[Any] = [{"role": "system", "content": _MANUAL}, {"role": "user", "content": ticket}]
        with stage(tracer, "invoke_agent specialist", gen__ai_operation_name="invoke_agent", gen__ai_agent_name="specialist"):
            for _ in range(rng.randint(0, 3)):
                with stage(tracer, "look up", finops_step="look_up"):
                    self._look_up(tracer, rng, model, messages)
            with stage(tracer, "answer", finops_step="answer"):
                self._answer(rng, model, messages)

    def _look_up(self, tracer: Tracer, rng: Random, model: str, messages: list[Any]) -> None:
        name = rng.choice(_TOOLS)
        tool: Any = {
            "type": "function",
            "function": {"name": name, "parameters": {"type": "object", "properties": {"order": {"type": "string"}}}},
        }
        messages.append({"role": "user", "content": "Look up what you need."})
        answer = self._client.chat.completions.create(model=model, messages=messages, tools=[tool])
        for call in answer.choices[0].message.tool_calls or ():
            with stage(tracer, f"execute_tool {name}", gen__ai_operation_name="execute_tool", gen__ai_tool_name=name):
                found = passage(rng, f"Result of {name}", rng.randint(20, 200))
            messages.append({"role": "assistant", "tool_calls": [call.model_dump()]})
            messages.append({"role": "tool", "tool_call_id": call.id, "content": found})

    def _answer(self, rng: Random, model: str, messages: list[Any]) -> None:
        messages.append({"role": "user", "content": "Write the answer to the customer."})
        if rng.random() < 0.5:
            self._client.chat.completions.create(model=model, messages=messages)
            return
        with self._client.chat.completions.create(
            model=model, messages=messages, stream=True, stream_options={"include_usage": True}
        ) as chunks:
            for _ in chunks:
                pass


def main() -> None:
    """Run until standard input closes."""
    options = read_options()
    provider = start_tracing("support-desk", "2.4.0", options)
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    client = OpenAI(base_url=f"{options.provider_url}/v1", api_key="demo", max_retries=1)
    run_until_stopped(options, provider, SupportDesk(client).run)


if __name__ == "__main__":
    main()
