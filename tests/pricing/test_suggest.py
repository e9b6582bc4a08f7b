"""Suggestions help people; they are quick, bounded, and come from the same provider first."""

from __future__ import annotations

import time

import pytest

from otel_finops.pricing.book import PriceBook
from otel_finops.pricing.suggest import SUGGESTED_MAX, NearestKeys


@pytest.fixture(scope="module")
def nearest() -> NearestKeys:
    return NearestKeys.of(PriceBook.load())


@pytest.mark.parametrize(
    ("name", "provider", "first"),
    [
        ("claude-sonet-4-5", "anthropic", "claude-sonnet-4-5"),
        ("gpt-4oo", "azure.ai.openai", "azure/gpt-4o"),
        ("gpt-4oo", "openai", "gpt-4o"),
        ("my-gpt-4o-mini-deployment", "azure", "azure/gpt-4o-mini"),
        ("GPT-4O-Mini-Acme ", None, "gpt-4o-mini"),
        ("publishers/meta/models/llama-99-maas", "gcp.vertex_ai", "vertex_ai/meta/llama-3.1-8b-instruct-maas"),
    ],
)
def test_the_key_that_was_probably_meant_comes_first(nearest: NearestKeys, name: str, provider: str | None, first: str) -> None:
    found = nearest.of_name(name, provider)
    assert found[0] == first
    assert len(found) <= SUGGESTED_MAX


@pytest.mark.parametrize("name", ["", "unknown", "zzzqqq", "//", "acme/private-model", "漢字"])
def test_nothing_is_suggested_for_what_is_like_nothing(nearest: NearestKeys, name: str) -> None:
    assert nearest.of_name(name) == []


def test_a_hundred_long_names_take_no_time(nearest: NearestKeys) -> None:
    """Some 20 ms where nothing else runs; the bound holds on a busy machine."""
    names = [f"gpt-claude-gemini-llama-mistral-{number}-instruct-preview" + "x-ai" * 100 for number in range(100)]
    began = time.thread_time()
    for name in names:
        nearest.of_name(name, "openai")
    assert time.thread_time() - began < 0.5
