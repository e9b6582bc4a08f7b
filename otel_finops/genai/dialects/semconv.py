"""The current OpenTelemetry GenAI conventions (`gen_ai.provider.name`, cache and reasoning attributes), and who speaks them.

The table holds the names since version 1.37 of the conventions, with the two spellings of cache writes; older names are in
`semconv_legacy`. There is no version number to key on, and senders' schema URLs are wrong, so spans are known by their keys.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from otel_finops.genai.dialect import CountTable, KeyTable, ScopeTraits, TableDialect
from otel_finops.genai.sighting import RANK_VENDOR_SDK

COUNTS: Final[CountTable] = {
    "input": ("gen_ai.usage.input_tokens",),
    "output": ("gen_ai.usage.output_tokens",),
    "total": ("gen_ai.usage.total_tokens",),
    "cache_read": ("gen_ai.usage.cache_read.input_tokens",),
    "cache_write": ("gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens"),
    "cache_write_5m": ("anthropic.usage.cache_creation.ephemeral_5m_input_tokens",),
    "cache_write_1h": ("anthropic.usage.cache_creation.ephemeral_1h_input_tokens",),
    "reasoning": ("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
    "audio_in": ("gen_ai.usage.audio.input_tokens",),
    "image_in": ("gen_ai.usage.image.input_tokens",),
    "video_in": ("gen_ai.usage.video.input_tokens",),
    "audio_out": ("gen_ai.usage.audio.output_tokens",),
    "image_out": ("gen_ai.usage.image.output_tokens",),
    "video_out": ("gen_ai.usage.video.output_tokens",),
}

TABLE: Final = KeyTable(
    texts={
        "operation": ("gen_ai.operation.name",),
        "request_model": ("gen_ai.request.model",),
        "response_model": ("gen_ai.response.model",),
        "response_id": ("gen_ai.response.id",),
        "tier_served": ("openai.response.service_tier", "anthropic.response.service_tier"),
        "tier_asked": ("openai.request.service_tier",),
        "region": ("cloud.region",),
        "error_type": ("error.type",),
        "host": ("server.address",),
    },
    providers=("gen_ai.provider.name",),
    counts=(COUNTS,),
    streaming=("gen_ai.request.stream", "gen_ai.is_streaming"),
    stream_marks=("gen_ai.response.time_to_first_chunk",),
    finish=("gen_ai.response.finish_reasons", "anthropic.message.stop_reason"),
    http_status=("http.response.status_code", "http.status_code"),
    costs=("gen_ai.cost.total_cost", "operation.cost", "gen_ai.usage.cost"),
)

MARKS: Final = frozenset({
    "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.system", "gen_ai.request.model", "gen_ai.response.model", "gen_ai.response.id",
    "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens",
})  # fmt: skip
"""Keys that make a span a GenAI span. An agent's or conversation's name is not among them: applications copy those onto every span."""

SCOPES: Final = {
    "com.anthropic.sdk.python": ScopeTraits(rank=RANK_VENDOR_SDK),
    "com.anthropic.sdk.python.bedrock": ScopeTraits(rank=RANK_VENDOR_SDK),
    "com.anthropic.sdk.python.vertex": ScopeTraits(rank=RANK_VENDOR_SDK),
    "opentelemetry.instrumentation.botocore.bedrock-runtime": ScopeTraits(exclusive=frozenset({"bedrock"})),
    "otel_finops.client.estimate": ScopeTraits(estimates_streams=True),
}


def has_marks(keys: Collection[str], scope: str) -> bool:
    """A span with any key that only GenAI spans have."""
    return not MARKS.isdisjoint(keys)


DIALECT: Final = TableDialect(name="semconv", table=TABLE, recognises=has_marks, scopes=SCOPES)
