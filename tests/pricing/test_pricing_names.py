"""How a model's name becomes a row: one example for each rule, and what must never match."""

from __future__ import annotations

import pytest

from otel_finops.pricing.engine import PriceEngine


@pytest.mark.parametrize(
    ("provider", "model", "key", "kind"),
    [
        ("openai", "  GPT-4o\n", "gpt-4o", "exact"),
        ("azure.ai.openai", "gpt-4o", "azure/gpt-4o", "exact"),
        ("gcp.vertex_ai", "projects/p/locations/l/publishers/google/models/gemini-3.5-flash", "vertex_ai/gemini-3.5-flash", "exact"),
        ("gcp.gemini", "models/gemini-2.5-pro", "gemini/gemini-2.5-pro", "exact"),
        ("groq", "openai/gpt-oss-20b", "groq/openai/gpt-oss-20b", "exact"),
        ("aws.bedrock", "bedrock/converse/au.anthropic.claude-opus-5", "au.anthropic.claude-opus-5", "exact"),
        ("openai", "ft:gpt-4o-2024-08-06:acme:eval:AbC:ckpt-step-400", "ft:gpt-4o-2024-08-06", "exact"),
        (None, "litellm_proxy/azure/gpt-4o", "azure/gpt-4o", "exact"),
        (None, "anthropic/claude-opus-5", "claude-opus-5", "exact"),
        ("litellm", "bedrock/us.amazon.nova-lite-v1:0", "us.amazon.nova-lite-v1:0", "exact"),
        ("openai", "gpt-6-sol-20261002", "gpt-6-sol", "inferred"),
        ("anthropic", "claude-opus-5-5-20261010", "claude-opus-5-5", "inferred"),
        ("openrouter", "anthropic/claude-sonnet-4.5", "claude-sonnet-4-5", "inferred"),
        ("anthropic", "claude-3-opus-20240229", "claude-3-opus-20240229", "exact"),
        ("openrouter", "qwen/qwen3-max", "openrouter/qwen/qwen3-max", "exact"),
        (None, "openrouter/qwen/qwen3-max", "openrouter/qwen/qwen3-max", "exact"),
    ],
)
def test_found(engine: PriceEngine, provider: str | None, model: str, key: str, kind: str) -> None:
    match = engine.resolve(provider, model)
    assert match is not None
    assert (match.key, match.kind) == (key, kind)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o-mini-acme"),
        ("openai", "gpt-4"[:3]),
        ("openai", "gpt-4o-99999999"),
        ("openai", "gpt-4o-2024-13-45"),
        ("openai", "claude-opus-5"),
        ("anthropic", "gpt-4o"),
        ("aws.bedrock", "mars.anthropic.claude-opus-5"),
        ("openrouter", "qwen/qwen-of-nobody"),
        ("some-gateway", "gpt-4o"),
        ("openai", "ft:gpt-9:acme::id"),
        ("openai", "openai/"),
        ("openai", "x" * 10_000),
        (None, ""),
    ],
)
def test_not_found(engine: PriceEngine, provider: str | None, model: str) -> None:
    assert engine.resolve(provider, model) is None


def test_a_bedrock_region_has_its_own_row_where_the_list_has_one(engine: PriceEngine) -> None:
    in_frankfurt = engine.resolve("bedrock", "minimax.minimax-m2.5", region="eu-central-1")
    anywhere = engine.resolve("bedrock", "minimax.minimax-m2.5", region="xx-nowhere-1")
    assert in_frankfurt is not None
    assert anywhere is not None
    assert (in_frankfurt.key, anywhere.key) == ("bedrock/eu-central-1/minimax.minimax-m2.5", "minimax.minimax-m2.5")
