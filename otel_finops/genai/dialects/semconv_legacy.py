"""The OpenTelemetry GenAI conventions as they were before 1.37: `gen_ai.system`, prompt and completion tokens, `gen_ai.openai.*`.

Official packages still send them unless they are told otherwise, and several senders mix old and new names on one span (a vendor's SDK
writes `prompt_tokens` beside `output_tokens`), so old and new names of a count are one convention here, newest first.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from otel_finops.genai.dialect import CountTable, KeyTable, TableDialect, joined_counts
from otel_finops.genai.dialects import semconv

COUNTS: Final[CountTable] = {
    "input": ("gen_ai.usage.prompt_tokens",),
    "output": ("gen_ai.usage.completion_tokens",),
    "total": ("llm.usage.total_tokens", "mistral_ai.request.total_tokens"),
    "cache_read": ("gen_ai.usage.cache_read_input_tokens",),
    "cache_write": ("gen_ai.usage.cache_creation_input_tokens", "gen_ai.usage.cache_write_input_tokens"),
}

_OLD: Final = KeyTable(
    texts={
        "tier_served": ("gen_ai.openai.response.service_tier",),
        "tier_asked": ("gen_ai.openai.request.service_tier",),
        "host": ("gen_ai.openai.api_base",),
    },
    providers=("gen_ai.system",),
)

TABLE: Final = KeyTable(
    texts=semconv.TABLE.before(_OLD).texts,
    providers=semconv.TABLE.before(_OLD).providers,
    counts=(joined_counts(semconv.COUNTS, COUNTS),),
    streaming=semconv.TABLE.streaming,
    stream_marks=semconv.TABLE.stream_marks,
    finish=semconv.TABLE.finish,
    http_status=semconv.TABLE.http_status,
    costs=semconv.TABLE.costs,
)

_OLD_KEYS: Final = TABLE.keys() - semconv.TABLE.keys()


def _recognises(keys: Collection[str], scope: str) -> bool:
    return semconv.has_marks(keys, scope) and not _OLD_KEYS.isdisjoint(keys)


DIALECT: Final = TableDialect(name="semconv_legacy", table=TABLE, recognises=_recognises, scopes=semconv.SCOPES)
