"""Question answering over documents: embeddings, retrieval, a streamed or one-piece answer, on OpenAI's APIs.

Instrumentation: `openinference-instrumentation-openai` (OpenInference).
"""

from __future__ import annotations

import json
from random import Random
from typing import Final

from openai import OpenAI
from openinference.instrumentation import using_attributes
from openinference.instrumentation.openai import OpenAIInstrumentor
from opentelemetry.trace import Tracer

from otel_finops.demo.application import TENANTS, passage, read_options, run_until_stopped, stage, start_tracing

_PASSAGES: Final = 6


class KnowledgeSearch:
    """Answers questions: embed, retrieve, generate; now and then it indexes a document."""

    def __init__(self, client: OpenAI) -> None:
        self._client = client

    def run(self, tracer: Tracer, rng: Random, number: int) -> None:
        """One question, or one document."""
        tenant, user = rng.choice(TENANTS), f"user-{rng.randrange(40):02d}"
        work = self._answer if rng.random() < 0.85 else self._index
        with (
            using_attributes(session_id=f"search-{rng.randrange(5000):04d}", user_id=user, metadata={"tenant": tenant}),
            stage(tracer, work.__name__.strip("_")) as span,
        ):
            span.set_attributes(
                {"openinference.span.kind": "CHAIN", "finops.tenant": tenant, "user.id": user, "finops.cost_center": "research"}
            )
            work(tracer, rng, number)

    def _index(self, tracer: Tracer, rng: Random, number: int) -> None:
        chunks = [passage(rng, f"Document {number}, part {part}", rng.randint(100, 400)) for part in range(rng.randint(4, 20))]
        with stage(tracer, "embed", openinference_span_kind="CHAIN", finops_step="embed"):
            self._client.embeddings.create(model="text-embedding-3-small", input=chunks)

    def _answer(self, tracer: Tracer, rng: Random, number: int) -> None:
        question = passage(rng, f"Question {number}", rng.randint(8, 30))
        with stage(tracer, "retrieve", openinference_span_kind="RETRIEVER", finops_step="retrieve"):
            self._client.embeddings.create(model="text-embedding-3-small", input=[question])
            found = [passage(rng, f"Passage {i}", rng.randint(80, 250)) for i in range(_PASSAGES)]
        with stage(tracer, "generate", openinference_span_kind="CHAIN", finops_step="generate"):
            self._generate(rng, json.dumps(found), question)

    def _generate(self, rng: Random, context: str, question: str) -> None:
        if rng.random() < 0.4:
            self._client.responses.create(model="gpt-4o-mini", instructions=context, input=question)
            return
        asked = self._client.chat.completions.create(
            model="gpt-4o-mini",
            messages=[{"role": "system", "content": context}, {"role": "user", "content": question}],
            stream=True,
            stream_options={"include_usage": True},
        )
        with asked as chunks:
            for _ in chunks:
                pass


def main() -> None:
    """Run until standard input closes."""
    options = read_options()
    provider = start_tracing("knowledge-search", "0.9.3", options)
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    client = OpenAI(base_url=f"{options.provider_url}/v1", api_key="demo", max_retries=1)
    run_until_stopped(options, provider, KnowledgeSearch(client).run)


if __name__ == "__main__":
    main()
