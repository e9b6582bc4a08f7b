"""One file for each dialect. Order matters: the first that recognises a span reads it, so the more special stand first."""

from __future__ import annotations

from typing import Final

from otel_finops.genai.dialect import Dialect
from otel_finops.genai.dialects import (
    claude_code,
    codex,
    gemini_cli,
    genkit,
    google_adk,
    haystack,
    langfuse,
    langsmith,
    litellm,
    logfire,
    mastra,
    mistral_sdk,
    mlflow,
    openinference,
    openlit,
    openllmetry,
    semconv,
    semconv_legacy,
    vercel_ai,
)

BUILTIN: Final[tuple[Dialect, ...]] = (
    google_adk.DIALECT,
    haystack.DIALECT,
    mistral_sdk.DIALECT,
    mlflow.DIALECT,
    openlit.DIALECT,
    claude_code.DIALECT,
    codex.DIALECT,
    gemini_cli.DIALECT,
    genkit.DIALECT,
    mastra.DIALECT,
    vercel_ai.DIALECT,
    litellm.DIALECT,
    langsmith.DIALECT,
    logfire.DIALECT,
    openinference.DIALECT,
    openllmetry.DIALECT,
    langfuse.DIALECT,
    semconv_legacy.DIALECT,
    semconv.DIALECT,
)
